package bargain_test

import (
	"math"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"

	"pgregory.net/rapid"
)

// A host puts its newest statement on the ledger.
func (w *world) post(t *rapid.T) {
	if p := w.somePair(t); p.lease(w).ID != 0 {
		_ = w.hostPosts(p) // whether it can is a law
	}
}

// A host posts an old statement that it accepted once, or one for the second time.
func (w *world) postOld(t *rapid.T) {
	p := w.somePair(t)
	before := p.lease(w)
	if before.ID == 0 || len(p.accepted) == 0 {
		return
	}
	s := w.notary.host(rapid.SampledFrom(p.accepted).Draw(t, "statement"), p.host.key)
	err := w.ledger.post(w.notary, p.host.key, s)
	if s.Seq <= before.Seq {
		refused(t, "an old statement", err, fault.Stale, fault.LeaseClosed, fault.MandateRefused)
	}
}

// A client posts what both have signed, or tries with what only it has.
func (w *world) clientPosts(t *rapid.T) {
	p := w.somePair(t)
	if p.lease(w).ID == 0 || len(p.signed) == 0 {
		return
	}
	if rapid.Bool().Draw(t, "only its own signature") {
		s := rapid.SampledFrom(p.signed).Draw(t, "statement").Signed
		s.HostSig = nil
		refused(t, "a statement without its host", w.ledger.post(w.notary, p.host.key, s), fault.BadSignature)
		return
	}
	for _, s := range p.accepted {
		if len(s.HostSig) > 0 && rapid.Bool().Draw(t, "post it") {
			_ = w.ledger.post(w.notary, p.host.key, s)
		}
	}
}

// Somebody changes a signed statement, or signs with a key that may not.
func (w *world) forgery(t *rapid.T) {
	p := w.somePair(t)
	before := p.lease(w)
	if before.ID == 0 || len(p.signed) == 0 {
		return
	}
	s := rapid.SampledFrom(p.signed).Draw(t, "statement").Signed
	want := fault.BadSignature
	switch rapid.IntRange(0, 3).Draw(t, "forgery") {
	case 0:
		s.Total += money.Amount(rapid.Uint64Range(1, 1<<40).Draw(t, "more"))
	case 1:
		s.Seq += 100
	case 2:
		s.RunsUntil += 30 * day
	case 3:
		s.Seq, want = math.MaxUint64, fault.MandateRefused
		s = w.notary.client(s.Statement, strangeKey)
	}
	refused(t, "a forgery", w.ledger.post(w.notary, p.host.key, w.notary.host(s, p.host.key)), want)
	if p.lease(w) != before {
		t.Fatal("a forgery changed the lease")
	}
	if _, err := w.accept(p, s, p.sells.mem.newest.Seq, nothing); want == fault.BadSignature {
		refused(t, "a forgery, by the host", err, want)
	}
}

// A thief has a device's key and a host of its own: it signs all there is and
// more. The lease is lost, and of the purse no more than the mandate allows.
func (w *world) theft(t *rapid.T, p *pair) {
	n := rapid.IntRange(0, steward).Draw(t, "key")
	l := p.lease(w)
	if l.State == lease.Closed {
		return
	}
	p.cheated = true
	s := w.sign(p, statement.Statement{
		ChainID: net, Lease: p.id, Seq: l.Seq + 1 + uint64(len(p.signed)), Total: max(l.Total, money.Amount(rapid.SampledFrom([]uint64{0, 1e9, math.MaxUint64}).Draw(t, "total"))),
		Units: quote.Units{rapid.SampledFrom([]uint64{0, 1 << 40, math.MaxUint64}).Draw(t, "units")}, AsOf: max(l.AsOf, w.ledger.now),
		RunsUntil: rapid.SampledFrom([]int64{w.ledger.now + day, math.MaxInt64}).Draw(t, "runs until"),
	}, p.client.devices[n].key)
	if w.ledger.post(w.notary, p.host.key, w.notary.host(s, p.host.key)) != nil {
		return
	}
	for range 3 {
		w.must(t, w.ledger.settle(p.id))
		w.pass(rapid.SampledFrom([]int64{0, hour, day}).Draw(t, "later"))
	}
}

// A host posts a proposal that it has refused. It may only win what was signed.
func (w *world) hostCheats(t *rapid.T, p *pair) {
	if len(p.signed) > 0 {
		p.cheated = true
		s := rapid.SampledFrom(p.signed).Draw(t, "statement").Signed
		_ = w.ledger.post(w.notary, p.host.key, w.notary.host(s, p.host.key))
	}
}

// foulPlay ends the protection of a lease, so it is seldom.
func (w *world) foulPlay(t *rapid.T) {
	p := w.somePair(t)
	if p.lease(w).ID == 0 {
		return
	}
	switch rapid.IntRange(0, 7).Draw(t, "foul play") {
	case 0:
		w.theft(t, p)
	case 1:
		w.hostCheats(t, p)
	}
}

// A device proposes whatever it likes. What an honest host takes of it must not
// hurt the host.
func (w *world) wildProposal(t *rapid.T) {
	p, n := w.somePair(t), someDevice(t)
	newest := p.sells.mem.newest
	next, now := newest.Statement, w.ledger.now
	next.Seq += rapid.SampledFrom([]uint64{0, 1, 1, 1, 2, 50}).Draw(t, "seq")
	next.Total += rapid.SampledFrom([]money.Amount{0, 0, 1, 100, 10_000, 1_000_000, math.MaxUint64}).Draw(t, "total")
	next.AsOf += rapid.SampledFrom([]int64{0, 0, 0, 1, hour, now - next.AsOf, now - next.AsOf + 100, now - next.AsOf + day, -1}).Draw(t, "as of")
	next.RunsUntil += rapid.SampledFrom([]int64{0, 0, 1, now - next.RunsUntil, now - next.RunsUntil + 7*day, 100 * day, -1}).Draw(t, "runs until")
	next.Units[0] = rapid.SampledFrom([]uint64{next.Units[0], next.Units[0], 0, 1 << 30, math.MaxUint64}).Draw(t, "units")
	s := w.sign(p, next, p.client.devices[n].key)
	if _, err := w.accept(p, s, newest.Seq, anyMishap.Draw(t, "mishap")); err == nil {
		p.given = max(p.given, money.SubFloor(next.Total, p.sells.mem.rent))
	}
	p.buys[0].synced, p.buys[1].synced = false, false
}
