package keeper

import (
	"context"
	"errors"

	"cosmossdk.io/collections"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/mandate"
	"hearth/core/money"
	"hearth/core/quote"
	hoststypes "hearth/ledger/hosts/types"
	"hearth/ledger/market/types"
	"hearth/ledger/refusal"
)

// OpenLeases opens and funds leases out of the client's purse, all or nothing.
func (k MsgServer) OpenLeases(ctx context.Context, m *types.MsgOpenLeases) (_ *types.MsgOpenLeasesResponse, err error) {
	defer refusal.In(&err)
	if _, err := k.c.Addresses.StringToBytes(m.Client); err != nil {
		return nil, fault.New(fault.BadRequest, "open leases: client %q: %w", m.Client, err)
	}
	b, err := k.open(ctx)
	if err != nil {
		return nil, err
	}
	if n := len(m.Open) + len(m.Fund); n == 0 || n > b.rules.MaxOpen {
		return nil, fault.New(fault.TooLarge, "open leases: %d of them, allowed are 1 to %d", n, b.rules.MaxOpen)
	}
	by, err := k.mandateOf(ctx, m.Signer, m.Client)
	if err != nil {
		return nil, err
	}
	o := opening{book: b, client: m.Client, by: by}
	for _, l := range m.Open {
		if err := o.open(ctx, l); err != nil {
			return nil, err
		}
	}
	for _, l := range m.Fund {
		if err := o.fund(ctx, l); err != nil {
			return nil, err
		}
	}
	if err := o.pay(ctx); err != nil {
		return nil, err
	}
	return &types.MsgOpenLeasesResponse{Ids: o.ids}, b.close(ctx)
}

// opening is one MsgOpenLeases at work.
type opening struct {
	*book
	client string
	by     *mandate.Mandate // nil: the client itself
	spent  money.Amount
	ids    []uint64
}

func (o *opening) open(ctx context.Context, m types.OpenLease) error {
	if err := o.may(mandate.Open); err != nil {
		return err
	}
	q, err := o.quote(ctx, m.Quote)
	if err != nil {
		return err
	}
	if err := o.rules.CheckOpen(money.Amount(m.Amount), m.Until, o.now); err != nil {
		return err
	}
	id, err := o.k.nextID.Next(ctx)
	if err != nil {
		return err
	}
	l := lease.New(id, o.client, q.Quote, m.Until, money.Amount(m.Amount), o.now)
	pair := pairKey(l)
	switch other, err := o.k.pairs.Get(ctx, pair); {
	case err == nil:
		return fault.New(fault.Exists, "open lease: %s has lease %d for %s with %s already", o.client, other, l.Kind, l.Host)
	case !errors.Is(err, collections.ErrNotFound):
		return err
	}
	if err := o.k.pairs.Set(ctx, pair, id); err != nil {
		return err
	}
	if err := o.k.byClient.Set(ctx, collections.Join(l.Client, id)); err != nil {
		return err
	}
	if err := o.k.byHost.Set(ctx, collections.Join(l.Host, id)); err != nil {
		return err
	}
	o.ids = append(o.ids, id)
	o.spent = money.AddCap(o.spent, money.Amount(m.Amount))
	return o.put(ctx, lease.Lease{}, l, "opened")
}

func (o *opening) fund(ctx context.Context, m types.FundLease) error {
	before, err := o.k.lease(ctx, m.Lease)
	if err != nil {
		return err
	}
	if before.Client != o.client {
		return fault.New(fault.Unauthorized, "fund lease %d: it isn't of %s", m.Lease, o.client)
	}
	if m.Amount == 0 && m.Quote == nil {
		return fault.New(fault.BadRequest, "fund lease %d: neither money nor a quote", m.Lease)
	}
	l := before
	if m.Quote != nil {
		if l, err = o.renew(ctx, l, *m.Quote, m.Until); err != nil {
			return err
		}
	}
	if m.Amount > 0 {
		if err := o.may(mandate.Fund); err != nil {
			return err
		}
		clock, err := o.clock(ctx, l)
		if err != nil {
			return err
		}
		if l, err = l.Fund(money.Amount(m.Amount), clock, o.rules); err != nil {
			return err
		}
		o.spent = money.AddCap(o.spent, money.Amount(m.Amount))
	}
	return o.put(ctx, before, l, "funded")
}

// renew takes a new quote for a lease.
func (o *opening) renew(ctx context.Context, l lease.Lease, m types.Quote, until int64) (lease.Lease, error) {
	if err := o.may(mandate.Renew); err != nil {
		return l, err
	}
	if m.Host != l.Host || m.Kind != uint32(l.Kind) {
		return l, fault.New(fault.BadRequest, "renew lease %d: the quote is of another host or kind", l.ID)
	}
	q, err := o.quote(ctx, m)
	if err != nil {
		return l, err
	}
	if err := o.rules.CheckOpen(o.rules.MinDeposit, until, o.now); err != nil {
		return l, err
	}
	return l.Reprice(q.Prices, until, o.now)
}

func (o *opening) may(op mandate.Op) error {
	if o.by == nil {
		return nil
	}
	return o.by.May(op, o.now)
}

// quote checks a quote: its host's, of this network, good now, within the ceilings.
func (o *opening) quote(ctx context.Context, m types.Quote) (quote.Signed, error) {
	q, err := m.Core(chainID(ctx))
	if err != nil {
		return q, err
	}
	h, err := o.k.c.Hosts.Host(ctx, q.Host)
	if err != nil {
		return q, err
	}
	if err := offers(h, q.Kind); err != nil {
		return q, err
	}
	charge(ctx)
	if err := q.Check(q.ChainID, h.Key, o.now, o.rules.MaxQuote); err != nil {
		return q, err
	}
	if o.by != nil {
		return q, o.by.Buys(q.Kind, q.Prices)
	}
	return q, nil
}

// offers says whether a host takes leases of a kind.
func offers(h hoststypes.Host, kind quote.Kind) error {
	switch {
	case h.LeavingAt != 0:
		return fault.New(fault.HostRefused, "host %s: it is leaving", h.Address)
	case h.Roles&(1<<(kind-1)) == 0:
		return fault.New(fault.HostRefused, "host %s: it doesn't offer %s", h.Address, kind)
	}
	return nil
}

// pay takes what was spent out of the purse and counts it against the mandate.
func (o *opening) pay(ctx context.Context) error {
	if o.spent == 0 {
		return nil
	}
	if err := o.k.changePurse(ctx, o.client, 0, o.spent); err != nil {
		return err
	}
	if o.by == nil {
		return nil
	}
	m, err := o.by.Spend(o.spent, o.now, o.rules.MandateWindow)
	if err != nil {
		return err
	}
	return o.k.setMandate(ctx, m)
}
