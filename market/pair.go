package market

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"sync"
	"time"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/grant"
	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"
	"hearth/p2p"
)

// A Pair is one bargain as its client sees it. Its methods may be called
// together; they take turns.
type Pair struct {
	c    *Client
	turn chan struct{} // see lock

	mu     sync.Mutex // guards what follows; never held while waiting
	peer   p2p.Peer
	lease  lease.Lease // proved
	told   lease.Lease // what a block said, a hint
	rec    Record      // Newest is the one with the highest number that was ever signed here
	base   statement.Statement
	synced bool       // base is what both sides go by
	stream p2p.Stream // the open exchange; who has the turn uses it
	over   error      // not nil: the pair is of no more use
	count  count
	flying quote.Use    // paid for, and not over: a host's count has some of it, or all, or nothing
	blurry bool         // what was under way at the last sync may be counted otherwise now
	others money.Amount // of what is paid ahead: other devices paid it for themselves
	moved  time.Time    // when the host's addresses were looked up again
}

// lock waits for the turn.
func (p *Pair) lock(ctx context.Context) error {
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

// learn takes a proved record, unless it is older than the one known.
func (p *Pair) learn(l lease.Lease) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !behind(l, p.lease) {
		p.lease = l
	}
}

// hear takes what a block told of the lease: it is read with proof before it counts.
func (p *Pair) hear(l lease.Lease) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = l
}

// refresh reads the lease, proved.
func (p *Pair) refresh(ctx context.Context) (lease.Lease, error) {
	l, err := p.c.c.Ledger.Lease(ctx, p.Lease())
	if err != nil {
		return l, err
	}
	p.learn(l)
	return p.terms(), nil
}

// Until is the end of the time that is signed for what is reserved.
func (p *Pair) Until() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Unix(max(p.base.RunsUntil, p.rec.Newest.RunsUntil), 0)
}

// Grant gives what lets this node's peer act on the lease.
func (p *Pair) Grant() (g grant.Grant, key ed25519.PublicKey, sig []byte) {
	g = grant.Grant{Lease: p.Lease(), Peer: [32]byte(p.c.c.Dialer.Key()), Until: p.c.now() + grant.MaxSeconds/2}
	return g, p.c.key(), g.Sign(p.c.c.Ledger.ChainID(), p.c.c.Key)
}

// Chunk is the most that one Pay should ask for.
func (p *Pair) Chunk() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return min(window(p.rec.Bytes()), 1<<20)
}

// State is what is stored by the newest statement.
func (p *Pair) State(ctx context.Context) (units uint64, root [32]byte, err error) {
	all, root, err := p.Reserved(ctx)
	return all[0], root, err
}

// Reserved is what is reserved by the newest statement, and its root.
func (p *Pair) Reserved(ctx context.Context) (units quote.Units, root [32]byte, err error) {
	if err := p.lock(ctx); err != nil {
		return units, root, err
	}
	defer p.unlock()
	if err := p.sync(ctx); err != nil {
		return units, root, err
	}
	return p.base.Units, p.base.Root, nil
}

// Pay makes sure that so many bytes more are paid ahead, in to the host and out
// of it. It counts them, and as on their way until Over: who doesn't use them
// calls Resync after that.
func (p *Pair) Pay(ctx context.Context, in, out uint64) error {
	return p.PayFor(ctx, quote.Use{In: in, Out: out})
}

// PayFor is Pay for gas as well. A call's whole limit is paid ahead, and on its way
// until Ran.
func (p *Pair) PayFor(ctx context.Context, use quote.Use) error {
	if p.spend(use) {
		return nil
	}
	if err := p.lock(ctx); err != nil {
		return err
	}
	defer p.unlock()
	// Others may spend what was just paid: then it is paid once more.
	for range 8 {
		if err := p.sync(ctx); err != nil {
			return err
		}
		if p.spend(use) {
			return nil
		}
		err := p.propose(ctx, func(next *statement.Statement, now int64) (money.Amount, error) {
			next.Total = max(next.Total, p.needs(p.ahead(use)))
			return 0, nil
		})
		if err != nil {
			return err
		}
	}
	return fault.New(fault.Unpaid, "pay lease %d: %d bytes in, %d out, %d gas aren't covered", p.Lease(), use.In, use.Out, use.Gas)
}

// ahead is what is paid for so that use is covered, and some that comes after it.
// Calls vary in their limit and use little of it, so gas has a window beside that.
// The caller holds mu.
func (p *Pair) ahead(use quote.Use) quote.Use {
	bytes := window(p.rec.Bytes())
	if use.In > 0 {
		use.In = max(use.In, bytes)
	}
	if use.Out > 0 {
		use.Out = max(use.Out, bytes)
	}
	if use.Gas > 0 {
		use = use.Plus(quote.Use{Gas: gasWindow(p.rec.Gas)})
	}
	return use
}

// spend counts use if it is paid for.
func (p *Pair) spend(use quote.Use) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.synced || p.needs(use) > p.base.Total {
		return false
	}
	p.rec.Use = p.rec.Plus(use)
	p.count.most = p.count.most.Plus(use)
	p.flying = p.flying.Plus(use)
	return true
}

// needs is what has to be signed for so much more use of this device. The caller
// holds mu.
func (p *Pair) needs(use quote.Use) money.Amount {
	return money.AddCap(money.AddCap(p.rec.Rent, p.others), p.prices().Owed(p.rec.Plus(use)))
}

// Over says that bytes that were paid for are on their way no more.
func (p *Pair) Over(in, out uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flying = p.flying.Less(quote.Use{In: in, Out: out})
}

// Ran says that the gas that was paid for a call is on its way no more, and counts
// back what the call didn't use. Who doesn't know, because the call broke off, says
// that it used all of it and calls Resync after that. It is told once a call.
func (p *Pair) Ran(gas, used uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	gas = min(gas, p.flying.Gas)
	unused := quote.Use{Gas: gas - min(used, gas)}
	p.flying.Gas -= gas
	p.rec.Use = p.rec.Less(unused)
	p.count.most = p.count.most.Less(unused)
}

// Cover signs how many bytes are stored and their root, which the host has staged.
// It returns once the host has signed too.
func (p *Pair) Cover(ctx context.Context, units uint64, root [32]byte) error {
	return p.Reserve(ctx, quote.Units{units}, root)
}

// Reserve is Cover for what has several dimensions.
func (p *Pair) Reserve(ctx context.Context, units quote.Units, root [32]byte) error {
	if err := p.lock(ctx); err != nil {
		return err
	}
	defer p.unlock()
	if err := p.sync(ctx); err != nil {
		return err
	}
	began := p.base
	want := began
	want.Units, want.Root = units, root
	if !began.Changes(want) {
		return nil
	}
	return p.propose(ctx, func(next *statement.Statement, now int64) (money.Amount, error) {
		switch {
		case !p.base.Changes(want):
			return 0, p.arrived(began) // an earlier try, after all
		case began.Changes(p.base):
			return 0, fault.New(fault.Stale, "cover lease %d: another device has changed it", p.lease.ID)
		}
		rent := p.advance(next, now, online)
		next.Units, next.Root = want.Units, want.Root
		return rent, nil
	})
}

// arrived says that what changed began is what both go by now. The host must have
// signed it, where it is the newest. The caller holds mu.
func (p *Pair) arrived(began statement.Statement) error {
	own := p.rec.Newest.Statement == p.base && p.c.key().Equal(ed25519.PublicKey(p.rec.Newest.ClientKey))
	if own && began.Changes(p.base) && p.rec.Agreed.Statement != p.base {
		return fault.New(fault.BadSignature, "cover lease %d: the host goes by statement %d and hasn't signed it", p.lease.ID, p.base.Seq)
	}
	return errDone
}

// runsOut says whether less than half of ahead seconds is left of what was signed.
// Stored bytes need no run time: they earn what is proven.
func runsOut(kind quote.Kind, s statement.Statement, now, ahead int64) bool {
	return kind != quote.Storage && s.Units != (quote.Units{}) && s.RunsUntil <= now+ahead/2
}

// renew signs run time up to ahead seconds from now, where it runs out.
func (p *Pair) renew(ctx context.Context, ahead int64) error {
	if err := p.lock(ctx); err != nil {
		return err
	}
	defer p.unlock()
	if err := p.sync(ctx); err != nil {
		return err
	}
	return p.propose(ctx, func(next *statement.Statement, now int64) (money.Amount, error) {
		if !runsOut(p.lease.Kind, *next, now, ahead) {
			return 0, errDone
		}
		if now < next.RunsUntil { // unbroken: time goes on being counted from AsOf
			next.RunsUntil = now + ahead
			return 0, nil
		}
		return p.advance(next, now, ahead), nil
	})
}

// advance moves next's time to now and adds the rent up to it. The caller holds mu.
func (p *Pair) advance(next *statement.Statement, now, ahead int64) (rent money.Amount) {
	if now > next.AsOf {
		rent = p.base.Rent(p.lease.SignedPrices(p.base.AsOf), now)
		next.AsOf = now
		next.Total = money.AddCap(next.Total, rent)
	}
	next.RunsUntil = max(next.RunsUntil, now+ahead)
	return rent
}

// hostKey is what the host signs with: the key in its record on the ledger.
func (p *Pair) hostKey() ed25519.PublicKey { return p.Peer().Key }

// fund puts what next needs into the lease, or as much of it as the purse holds.
// cause is why: it stays the answer where the purse is empty.
func (p *Pair) fund(ctx context.Context, l lease.Lease, next statement.Statement, params lease.Params, cause error) error {
	now := p.c.now()
	want := money.AddCap(money.AddCap(next.Total, run(l, next, now+drift)), needed(l.Kind, l.Prices, next.Units, windows(18), params))
	amount := max(money.SubFloor(want, l.Funded()), 1)
	purse, err := p.c.c.Ledger.Purse(ctx, p.c.c.Account)
	if err != nil {
		return err
	}
	if purse == 0 {
		return fmt.Errorf("%w; the purse is empty, %d uember are missing", cause, amount)
	}
	fund := []chain.FundLease{{Lease: l.ID, Amount: min(amount, purse)}}
	if err := p.c.send(ctx, nil, fund, params); err != nil {
		return err
	}
	_, err = p.refresh(ctx)
	return err
}
