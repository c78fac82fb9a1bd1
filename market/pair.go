package market

import (
	"context"
	"crypto/ed25519"
	"sync"
	"time"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/grant"
	"hearth/core/lease"
	"hearth/core/mandate"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"
	"hearth/p2p"
)

// A Pair is one bargain as its client sees it. Its methods may be called
// together; they take turns.
type Pair struct {
	c *Client

	turn   chan struct{} // made by take; see lock
	once   sync.Once
	mu     sync.Mutex // guards what follows; never held while waiting
	peer   p2p.Peer
	lease  lease.Lease
	rec    Record              // Newest is the one with the highest number that was ever signed here
	base   statement.Statement // what both sides go by
	synced bool
	stream p2p.Stream // the open exchange, used by whoever has the turn
}

// lock waits for the turn.
func (p *Pair) lock(ctx context.Context) error {
	p.once.Do(func() { p.turn = make(chan struct{}, 1) })
	select {
	case p.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *Pair) unlock() { <-p.turn }

// Lease is the lease's number.
func (p *Pair) Lease() uint64 { return p.terms().ID }

// Host is the host's account.
func (p *Pair) Host() string { return p.terms().Host }

// Peer is how the host is reached.
func (p *Pair) Peer() p2p.Peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.peer
}

func (p *Pair) terms() lease.Lease {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lease
}

// prices are those of the statement both go by. The caller holds mu.
func (p *Pair) prices() quote.Prices { return p.lease.PricesAt(p.base.AsOf) }

func (p *Pair) learn(l lease.Lease) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lease = l
}

// Grant gives what lets this node's peer act on the lease.
func (p *Pair) Grant() (g grant.Grant, key ed25519.PublicKey, sig []byte) {
	g = grant.Grant{Lease: p.Lease(), Peer: [32]byte(p.c.c.Dialer.Key()), Until: time.Now().Unix() + grant.MaxSeconds/2}
	return g, p.c.c.Key.Public().(ed25519.PublicKey), g.Sign(p.c.c.Ledger.ChainID(), p.c.c.Key)
}

// Chunk is the most that one Pay should ask for.
func (p *Pair) Chunk() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return min(window(p.rec.In+p.rec.Out), 1<<20)
}

// State is what is reserved and stored by the newest statement.
func (p *Pair) State(ctx context.Context) (units uint64, root [32]byte, err error) {
	if err := p.lock(ctx); err != nil {
		return 0, root, err
	}
	defer p.unlock()
	if err := p.sync(ctx); err != nil {
		return 0, root, err
	}
	return p.base.Units[0], p.base.Root, nil
}

// Pay makes sure that so many bytes more are paid ahead, in to the host and out
// of it. It counts them: who doesn't use them calls Resync.
func (p *Pair) Pay(ctx context.Context, in, out uint64) error {
	if p.spend(in, out) {
		return nil
	}
	if err := p.lock(ctx); err != nil {
		return err
	}
	defer p.unlock()
	if err := p.sync(ctx); err != nil {
		return err
	}
	if p.spend(in, out) { // another call has paid meanwhile
		return nil
	}
	err := p.propose(ctx, func(next *statement.Statement, now int64) money.Amount {
		ahead := window(p.rec.In + p.rec.Out)
		payIn, payOut := in, out
		if in > 0 {
			payIn = max(in, ahead)
		}
		if out > 0 {
			payOut = max(out, ahead)
		}
		next.Total = max(next.Total, money.AddCap(p.rec.Rent, p.prices().Traffic(p.rec.In+payIn, p.rec.Out+payOut)))
		return 0
	})
	if err != nil {
		return err
	}
	if !p.spend(in, out) {
		return fault.New(fault.Unpaid, "pay lease %d: %d bytes in, %d out aren't covered", p.Lease(), in, out)
	}
	return nil
}

// spend counts traffic if it is paid for.
func (p *Pair) spend(in, out uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.synced || money.AddCap(p.rec.Rent, p.prices().Traffic(p.rec.In+in, p.rec.Out+out)) > p.base.Total {
		return false
	}
	p.rec.In += in
	p.rec.Out += out
	return true
}

// Cover signs new units and a new root, which the host has staged. It returns
// once the host has signed too.
func (p *Pair) Cover(ctx context.Context, units uint64, root [32]byte) error {
	if err := p.lock(ctx); err != nil {
		return err
	}
	defer p.unlock()
	if err := p.sync(ctx); err != nil {
		return err
	}
	return p.propose(ctx, func(next *statement.Statement, now int64) money.Amount {
		rent := p.advance(next, now, online)
		next.Units, next.Root = quote.Units{units}, root
		return rent
	})
}

// renew signs run time up to ahead seconds from now, where less than half is left.
func (p *Pair) renew(ctx context.Context, ahead int64) error {
	if err := p.lock(ctx); err != nil {
		return err
	}
	defer p.unlock()
	if err := p.sync(ctx); err != nil {
		return err
	}
	if p.base.RunsUntil > time.Now().Unix()+ahead/2 || p.base.Units == (quote.Units{}) {
		return nil
	}
	return p.propose(ctx, func(next *statement.Statement, now int64) money.Amount {
		if now < next.RunsUntil { // unbroken: time goes on being counted from AsOf
			next.RunsUntil = now + ahead
			return 0
		}
		return p.advance(next, now, ahead)
	})
}

// advance moves next's time to now and adds the rent up to it.
func (p *Pair) advance(next *statement.Statement, now, ahead int64) (rent money.Amount) {
	if now > next.AsOf {
		rent = p.base.Rent(p.prices(), now)
		next.AsOf = now
		next.Total = money.AddCap(next.Total, rent)
	}
	next.RunsUntil = max(next.RunsUntil, now+ahead)
	return rent
}

// propose signs and exchanges the statement that change makes of the newest one;
// change returns the rent it added. A lease without money is funded once; a
// statement of another device is taken over once.
func (p *Pair) propose(ctx context.Context, change func(next *statement.Statement, now int64) money.Amount) error {
	var funded, caughtUp bool
	for {
		err := p.exchange(ctx, change)
		switch code := fault.CodeOf(err); {
		case (code == fault.NoFunds || code == fault.LeaseLow) && !funded:
			funded = true
			if err := p.fund(ctx); err != nil {
				return err
			}
		case code == fault.Stale && !caughtUp:
			caughtUp = true
			p.mu.Lock()
			p.synced = false
			p.mu.Unlock()
			if err := p.sync(ctx); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// exchange makes one statement, makes it durable, and sends it.
func (p *Pair) exchange(ctx context.Context, change func(next *statement.Statement, now int64) money.Amount) error {
	p.mu.Lock()
	now := time.Now().Unix()
	next := p.base
	next.Seq, next.Total = max(p.base.Seq, p.rec.Newest.Seq)+1, max(p.base.Total, p.rec.Newest.Total)
	rent := change(&next, now)
	base, prices, id := p.base, p.lease.PricesAt(p.base.AsOf), p.lease.ID
	funded := p.lease.Funded()
	p.mu.Unlock()
	if err := base.Follow(next, prices, funded, now); err != nil {
		return err
	}
	signed := next.SignClient(p.c.c.Key)
	p.mu.Lock()
	rec := p.rec
	rec.Newest, rec.Rent = signed, rec.Rent+rent
	p.mu.Unlock()
	if err := p.c.j.append(id, rec); err != nil {
		return err
	}
	p.mu.Lock()
	p.rec.Newest = signed // its number and total are used up, whatever becomes of it
	p.mu.Unlock()
	accepted, err := p.send(ctx, signed)
	if err != nil {
		p.mu.Lock()
		p.synced = false
		p.mu.Unlock()
		return err
	}
	if base.Changes(next) {
		host, err := p.hostKey()
		if err != nil {
			return err
		}
		signed.HostSig = accepted.HostSig
		if err := signed.CheckHost(host); err != nil {
			return err
		}
		rec.Newest = signed
		if err := p.c.j.append(id, rec); err != nil {
			return err
		}
	}
	p.mu.Lock()
	p.rec.Newest, p.rec.Rent, p.base = signed, rec.Rent, next
	p.mu.Unlock()
	return nil
}

func (p *Pair) hostKey() (ed25519.PublicKey, error) {
	key := p.Peer().Key
	if len(key) != ed25519.PublicKeySize {
		return nil, fault.New(fault.BadSignature, "host %s has no key", p.Host())
	}
	return key, nil
}

// Resync asks the host for the newest statement and its count of traffic, after
// something broke off.
func (p *Pair) Resync(ctx context.Context) error {
	if err := p.lock(ctx); err != nil {
		return err
	}
	defer p.unlock()
	p.mu.Lock()
	p.synced = false
	p.mu.Unlock()
	return p.sync(ctx)
}

// sync learns what the host goes by, unless that is known. The caller has the turn.
func (p *Pair) sync(ctx context.Context) error {
	p.mu.Lock()
	done := p.synced
	p.mu.Unlock()
	if done {
		return nil
	}
	newest, st, err := p.askState(ctx)
	if err != nil {
		return err
	}
	if newest.Seq > 0 {
		if err := p.ours(ctx, newest); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	rec := p.rec
	// What the host counts is believed as far as it was signed for: it can claim
	// no more than it could have kept anyway.
	rent, in, out := money.Amount(st.Rent), st.InBytes, st.OutBytes
	if money.AddCap(rent, p.prices().Traffic(in, out)) > newest.Total {
		return fault.New(fault.HostRefused, "lease %d: the host counts more than was signed", p.lease.ID)
	}
	if newest.Seq >= rec.Newest.Seq {
		rec.Newest = newest
	}
	rec.Rent, rec.In, rec.Out = rent, in, out
	p.rec, p.base, p.synced = rec, newest.Statement, true
	if newest.Seq == 0 {
		p.base = statement.Statement{ChainID: p.c.c.Ledger.ChainID(), Lease: p.lease.ID}
	}
	return nil
}

// ours checks that a statement was signed by a key of this account.
func (p *Pair) ours(ctx context.Context, s statement.Signed) error {
	if s.Lease != p.Lease() {
		return fault.New(fault.BadStatement, "lease %d: the host sent a statement of lease %d", p.Lease(), s.Lease)
	}
	if err := s.CheckClient(p.c.c.Ledger.ChainID()); err != nil {
		return err
	}
	if own := p.c.c.Key.Public().(ed25519.PublicKey); own.Equal(ed25519.PublicKey(s.ClientKey)) {
		return nil
	}
	m, err := p.c.c.Ledger.Mandate(ctx, p.c.c.Account, [32]byte(s.ClientKey))
	if err != nil {
		return err
	}
	if m.Ops&mandate.Sign == 0 {
		return fault.New(fault.BadSignature, "lease %d: the newest statement is signed by a key that may not sign", p.Lease())
	}
	return nil
}

// fund puts more into the lease.
func (p *Pair) fund(ctx context.Context) error {
	params, err := p.c.rules.get(ctx)
	if err != nil {
		return err
	}
	l, err := p.c.c.Ledger.Lease(ctx, p.Lease())
	if err != nil {
		return err
	}
	p.learn(l)
	p.mu.Lock()
	units, base := p.base.Units, p.base.Total
	p.mu.Unlock()
	amount := money.AddCap(needed(l.Prices, units, 16*lastWindow, params), money.SubFloor(base, l.Funded()))
	fund := []chain.FundLease{{Lease: l.ID, Amount: amount}}
	if err := p.c.send(ctx, nil, fund, params); err != nil {
		return err
	}
	if l, err = p.c.c.Ledger.Lease(ctx, l.ID); err != nil {
		return err
	}
	p.learn(l)
	return nil
}
