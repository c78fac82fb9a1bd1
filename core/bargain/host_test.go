package bargain_test

import (
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/mandate"
	"hearth/core/money"
	"hearth/core/statement"
)

// crashHost loses what the host had only in memory. Traffic it forgets is its loss,
// and less than what was paid ahead.
func (p *pair) crashHost() {
	p.lost += p.sells.mem.served - p.sells.disk.served
	p.sells.mem = p.sells.disk
}

// A mishap is what goes wrong while a statement is exchanged.
type mishap uint8

const (
	nothing mishap = iota
	askLost
	crashBefore // of the host, before it has made the statement durable
	crashAfter  // of the host, before it has answered
	answerLost
)

// accept is the host's judgement of a statement that was made out of number
// base. It answers with the newest one it holds, also where it refuses.
func (w *world) accept(p *pair, s statement.Signed, base uint64, what mishap) (statement.Signed, error) {
	newest := p.sells.mem.newest
	now := w.ledger.now + p.host.skew
	l := p.lease(w)
	if err := w.notary.checkClient(s); err != nil {
		return newest, err
	}
	if err := w.ledger.mandates[holder{l.Client, [32]byte(s.ClientKey)}].May(mandate.Sign, w.ledger.now); err != nil {
		return newest, err
	}
	switch {
	case l.ID == 0:
		return newest, fault.New(fault.NoLease, "lease %d is forgotten", p.id)
	case l.State == lease.Closed || l.State == lease.Closing && l.ClosedAt <= w.ledger.now:
		return newest, fault.New(fault.LeaseClosed, "lease %d is %s", p.id, l.State)
	case base != newest.Seq: // numbers that were lost on the way leave gaps, so s.Seq alone can't tell
		return newest, fault.New(fault.Stale, "lease %d: number %d is known already", p.id, newest.Seq)
	case s.RunsUntil > now+rules.MaxRun:
		return newest, fault.New(fault.BadStatement, "lease %d: it runs too far ahead", p.id)
	}
	prices := l.SignedPrices(newest.AsOf)
	if err := newest.Follow(s.Statement, prices, l.Funded(), now); err != nil {
		return newest, err
	}
	if what == crashBefore {
		p.crashHost()
		return newest, fault.New(fault.HostUnreachable, "lease %d: no answer", p.id)
	}
	next := p.sells.mem
	next.newest = s
	if s.AsOf > newest.AsOf {
		next.rent += newest.Rent(prices, s.AsOf)
	}
	if newest.Changes(s.Statement) {
		next.newest = w.notary.host(s, p.host.key)
	}
	p.sells.mem, p.sells.disk = next, next // fsync before anything is done on the strength of it
	p.accepted = append(p.accepted, next.newest)
	p.taken = taken{newest.Statement, s.Statement, now, prices.Rate(newest.Units)}
	if what == crashAfter {
		p.crashHost()
	}
	return next.newest, nil
}

// serve lets traffic flow, if it is paid ahead. The count is made durable before
// a window of it could be forgotten.
func (w *world) serve(p *pair, amount money.Amount) bool {
	m := &p.sells.mem
	l := p.lease(w)
	if l.ID == 0 || l.State == lease.Closed || m.rent+m.served+amount > m.newest.Total {
		return false
	}
	if m.served+amount > p.sells.disk.served+window {
		p.sells.disk = *m
	}
	m.served += amount
	p.served += amount
	return true
}

// hostPosts puts the host's newest statement on the ledger.
func (w *world) hostPosts(p *pair) error {
	s := p.sells.mem.newest
	if s.Seq <= p.lease(w).Seq {
		return nil
	}
	return w.ledger.post(w.notary, p.host.key, w.notary.host(s, p.host.key))
}
