package bargain_test

import (
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/statement"
)

// crash loses what a device had only in memory.
func (v *view) crash() { v.mem, v.synced = v.disk, false }

// sync learns what the host goes by and has counted. A host can claim no more
// than was signed for.
func (w *world) sync(p *pair, n int) {
	v, sold := &p.buys[n], p.sells.mem
	if v.synced {
		return
	}
	v.base = sold.newest.Statement
	v.mem.rent, v.mem.got, v.synced = sold.rent, sold.served, true
}

// propose lets device n make a statement out of the newest one, make it durable,
// and send it. change gives the rent that it added.
func (w *world) propose(p *pair, n int, what mishap, change func(next *statement.Statement, now int64) money.Amount) error {
	w.sync(p, n)
	v, d := &p.buys[n], p.client.devices[n]
	now := w.ledger.now + d.skew
	next := v.base
	next.Seq = max(v.base.Seq, v.mem.newest.Seq) + 1 // a number that was signed once is used up
	rent := change(&next, now)
	l := p.lease(w)
	if err := v.base.Follow(next, l.SignedPrices(v.base.AsOf), l.Funded(), now); err != nil {
		return err
	}
	s := w.sign(p, next, d.key)
	p.exposed = max(p.exposed, money.SubFloor(next.Total, v.mem.rent+rent))
	v.mem.newest = s
	v.disk = v.mem // fsync before it leaves
	if what == askLost {
		v.synced = false
		return fault.New(fault.HostUnreachable, "lease %d: no answer", p.id)
	}
	accepted, err := w.accept(p, s, v.base.Seq, what)
	if err != nil || what == answerLost || what == crashAfter {
		v.synced = false
		return err
	}
	v.base, v.mem.newest, v.mem.rent = accepted.Statement, accepted, v.mem.rent+rent
	v.disk = v.mem
	return nil
}

// sign signs and remembers what could be claimed by it.
func (w *world) sign(p *pair, s statement.Statement, k signer) statement.Signed {
	out := w.notary.client(s, k)
	p.signed = append(p.signed, promise{out, p.lease(w).PricesAt(s.AsOf).Rate(s.Units)})
	return out
}

// pay signs for a window of traffic ahead of what the device has got.
func (w *world) pay(p *pair, n int, what mishap) error {
	return w.propose(p, n, what, func(next *statement.Statement, _ int64) money.Amount {
		v := p.buys[n].mem
		next.Total = max(next.Total, v.rent+v.got+window)
		return 0
	})
}

// advance moves next's time to now, with the rent up to it.
func (w *world) advance(p *pair, n int, next *statement.Statement, now, ahead int64) (rent money.Amount) {
	if now > next.AsOf {
		base := p.buys[n].base
		rent = base.Rent(p.lease(w).SignedPrices(base.AsOf), now)
		next.AsOf = now
		next.Total = money.AddCap(next.Total, rent)
	}
	next.RunsUntil = max(next.RunsUntil, now+ahead)
	return rent
}
