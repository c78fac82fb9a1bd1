package keeper

import (
	"context"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/mandate"
	"hearth/core/money"
	"hearth/core/quote"
	hostskeeper "hearth/ledger/hosts/keeper"
	"hearth/ledger/market/types"
	proofskeeper "hearth/ledger/proofs/keeper"
)

// A book notes what the leases of one message or one block do to hosts and to
// the commons, so that a hundred leases of one host are one payment. Leases,
// purses and mandates are written at once; close writes the rest.
type book struct {
	k     Keeper
	rules lease.Params
	now   int64

	order      []string // hosts as they came: the order of writes is part of the state's history
	shares     map[string]*share
	paid       money.Amount
	commission money.Amount
}

// share is what one host has in a book.
type share struct {
	paid     money.Amount
	was, is  hostskeeper.Leased
	standing *proofskeeper.Standing // nil: nobody has asked yet
}

// with is what the host has leased out after one of its leases has changed, and
// whether it fits. It must: a sum that stays at its largest would not come down
// to the right figure again, and a host could lower its bond by that.
func (s *share) with(before, after lease.Lease) (hostskeeper.Leased, bool) {
	is := s.is
	rate := &is.Other
	if after.Kind == quote.Storage {
		rate = &is.Storage
	}
	sum, fits := money.Add(money.Amount(*rate-before.Rate), money.Amount(after.Rate))
	*rate = money.Rate(sum)
	if before.ID == 0 {
		is.Leases++
	}
	if after.State == lease.Closed && before.State != lease.Closed {
		is.Leases--
	}
	return is, fits
}

func (k Keeper) open(ctx context.Context) (*book, error) {
	p, err := k.params.Get(ctx)
	if err != nil {
		return nil, err
	}
	return &book{k: k, rules: p.Rules(), now: now(ctx), shares: map[string]*share{}}, nil
}

// clock is what a lease earns by. The host of stored bytes is judged first.
func (b *book) clock(ctx context.Context, l lease.Lease) (lease.Clock, error) {
	c := lease.Clock{Now: b.now}
	if l.Kind != quote.Storage {
		return c, nil
	}
	s, err := b.standing(ctx, l.Host)
	c.Proven = s.Proven
	return c, err
}

// standing judges a host, once in a book.
func (b *book) standing(ctx context.Context, host string) (proofskeeper.Standing, error) {
	of, err := b.share(ctx, host)
	if err != nil {
		return proofskeeper.Standing{}, err
	}
	if of.standing == nil {
		s, err := b.k.c.Proofs.Judge(ctx, host)
		if err != nil {
			return proofskeeper.Standing{}, err
		}
		of.standing = &s
	}
	return *of.standing, nil
}

// frozen refuses a change of what a host stores while it has to prove it: else it
// could choose what is drawn.
func (b *book) frozen(ctx context.Context, before, after lease.Lease) error {
	if after.Kind != quote.Storage || before.Weight() == after.Weight() && (before.Root == after.Root || after.Weight() == 0) {
		return nil
	}
	s, err := b.standing(ctx, after.Host)
	if err == nil && s.Frozen {
		err = fault.New(fault.Frozen, "lease %d: its host has still to prove what it stores, by %d", after.ID, s.Until)
	}
	return err
}

// weigh has a storage lease drawn by its rate from now on, and gives its client
// what is its share of bonds that the host has lost.
func (b *book) weigh(ctx context.Context, before, after lease.Lease) error {
	if before.Weight() == 0 && after.Weight() == 0 {
		return nil
	}
	share, err := b.k.c.Proofs.Weigh(ctx, after.Host, after.ID, after.Weight())
	if err != nil {
		return err
	}
	return b.k.Compensate(ctx, after.Client, share)
}

func (b *book) share(ctx context.Context, host string) (*share, error) {
	if s := b.shares[host]; s != nil {
		return s, nil
	}
	l, err := b.k.c.Hosts.Leased(ctx, host)
	if err != nil {
		return nil, err
	}
	s := &share{was: l, is: l}
	b.shares[host] = s
	b.order = append(b.order, host)
	return s, nil
}

// put writes a lease as it is after a change, says so, and sees to its end.
// before is the zero Lease for a new one.
func (b *book) put(ctx context.Context, before, after lease.Lease, reason string) error {
	if after == before {
		return nil
	}
	if err := b.frozen(ctx, before, after); err != nil {
		return err
	}
	k := b.k
	record := types.FromLease(after)
	if err := k.leases.Set(ctx, after.ID, record); err != nil {
		return err
	}
	if err := b.weigh(ctx, before, after); err != nil {
		return err
	}
	s, err := b.share(ctx, after.Host)
	if err != nil {
		return err
	}
	is, fits := s.with(before, after)
	if !fits {
		return fault.New(fault.BadStatement, "lease %d: the rates of host %s don't fit 64 bits", after.ID, after.Host)
	}
	s.is = is
	switch {
	case after.State == lease.Closed && before.State != lease.Closed:
		if err := k.pairs.Remove(ctx, pairKey(after)); err != nil {
			return err
		}
		if err := k.remindOfLease(ctx, after.EndsAt+b.rules.PruneTime, after.ID); err != nil {
			return err
		}
	case after.State == lease.Closing && after.EndsAt != before.EndsAt:
		if err := k.remindOfLease(ctx, after.EndsAt, after.ID); err != nil {
			return err
		}
	}
	return emit(ctx, &types.EventLease{Lease: record, Reason: reason})
}

// move carries out what a settlement or an end has decided for l.
func (b *book) move(ctx context.Context, l lease.Lease, f lease.Flow) error {
	if f.FromPurse != 0 || f.ToPurse != 0 {
		if err := b.k.changePurse(ctx, l.Client, f.ToPurse, f.FromPurse); err != nil {
			return err
		}
	}
	if f.FromPurse != 0 {
		if err := b.spend(ctx, l, f.FromPurse); err != nil {
			return err
		}
	}
	if f.ToHost == 0 && f.Commission == 0 {
		return nil
	}
	s, err := b.share(ctx, l.Host)
	if err != nil {
		return err
	}
	s.paid = money.AddCap(s.paid, f.ToHost)
	b.paid = money.AddCap(b.paid, f.ToHost)
	b.commission = money.AddCap(b.commission, f.Commission)
	return emit(ctx, &types.EventPaid{Lease: l.ID, Host: l.Host, Amount: uint64(f.ToHost), Commission: uint64(f.Commission)})
}

// refill is what l may take out of its client's purse: no more than the mandate
// of the key that signed for it has left.
func (b *book) refill(ctx context.Context, l lease.Lease) (money.Amount, error) {
	if l.Key == [32]byte{} || l.State == lease.Closing || l.State == lease.Closed {
		return 0, nil
	}
	m, err := b.k.mandate(ctx, l.Client, l.Key[:])
	if fault.CodeOf(err) == fault.MandateRefused || err == nil && m.May(mandate.Sign, b.now) != nil {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	p, err := b.k.purse(ctx, l.Client)
	return min(p, m.Left(b.now, b.rules.MandateWindow)), err
}

// spend counts a refill against the mandate of the lease's key.
func (b *book) spend(ctx context.Context, l lease.Lease, amount money.Amount) error {
	m, err := b.k.mandate(ctx, l.Client, l.Key[:])
	if err != nil {
		return err
	}
	if m, err = m.Spend(amount, b.now, b.rules.MandateWindow); err != nil {
		return err
	}
	return b.k.setMandate(ctx, m)
}

// close pays the hosts and the commons.
func (b *book) close(ctx context.Context) error {
	c := b.k.c
	for _, host := range b.order {
		s := b.shares[host]
		if s.is != s.was {
			if err := c.Hosts.SetLeased(ctx, host, s.is); err != nil {
				return err
			}
		}
		if err := c.Hosts.Pay(ctx, types.ModuleName, host, s.paid); err != nil {
			return err
		}
	}
	commons := money.Amount(money.MulDiv(uint64(b.commission), b.rules.CommunityShare, 1000))
	if commons > 0 {
		if err := c.Commons.FundCommunityPool(ctx, b.k.coins(commons), c.Accounts.GetModuleAddress(types.ModuleName)); err != nil {
			return err
		}
	}
	if rest := b.commission - commons; rest > 0 {
		return c.Bank.SendCoinsFromModuleToModule(ctx, types.ModuleName, c.FeeCollector, b.k.coins(rest))
	}
	return nil
}
