package market

import (
	"context"
	"testing"
	"time"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/market/wire"
)

func TestARefundIsPaidAtOnce(t *testing.T) {
	w, s, b, p := deal(t, money.Ember)
	must(t, p.Pay(t.Context(), firstWindow, 0))
	must(t, s.Take(p.Lease(), 128<<10, 0)) // 125 uember; 250 were paid ahead
	id := p.Lease()
	must(t, p.Refund(t.Context()))
	if free, _ := w.Purse(t.Context(), "client"); free != money.Ember-125 || w.lease(id).State != lease.Closed {
		t.Errorf("%d are in the purse, the lease is %s", free, w.lease(id).State)
	}
	if w.Paid("host") != 125-12 {
		t.Errorf("the host has %d", w.Paid("host"))
	}
	if err := p.Pay(t.Context(), mib, 0); fault.CodeOf(err) != fault.LeaseClosed {
		t.Error(err)
	}
	if b.j.get(id).Newest.Seq != 0 {
		t.Error("a closed lease is kept")
	}
	// A new one can be opened.
	if again := b.pairs(mib)[0]; again.Lease() == id {
		t.Error("the old lease came back")
	}
}

func TestConsentToAnEndEndsTheTrade(t *testing.T) {
	w, s, b, p := deal(t, money.Ember)
	must(t, p.Pay(t.Context(), firstWindow, 0))
	ask := func(key bool) *wire.Response {
		g, pub, sig := p.Grant()
		if !key {
			sig[0] ^= 1
		}
		return s.answer(t.Context(), b.node.Key(), &wire.Request{Ask: &wire.Request_Refund{Refund: &wire.Refund{Lease: g.Lease, Until: g.Until, Key: pub, Sig: sig}}})
	}
	if res := ask(false); res.Code != string(fault.BadSignature) {
		t.Fatal("anybody can end a lease")
	}
	consent := ask(true)
	if consent.Code != "" {
		t.Fatal(consent.Reason)
	}
	s.crash()
	must(t, s.Allowed(t.Context(), quote.Storage, p.Lease(), b.key()))
	refused(t, s.Take(p.Lease(), 1, 0), fault.LeaseClosed)
	refused(t, p.Pay(t.Context(), 10*mib, 0), fault.LeaseClosed)
	if again := ask(true); again.GetRefund().GetTotal() != consent.GetRefund().GetTotal() {
		t.Error("the same question has another answer")
	}
	if done, err := s.Settle(t.Context()); err != nil || done.Posted != 0 {
		t.Error("more was posted than was agreed", done, err)
	}
	must(t, p.Refund(t.Context()))
	if w.lease(p.Lease()).State != lease.Closed {
		t.Error("not closed")
	}
}

func TestALeaseWithDataIsClosedTheSlowWay(t *testing.T) {
	w, s, b, p := deal(t, money.Ember)
	store(t, s, p, mib, rootNo(1))
	must(t, p.Refund(t.Context()))
	l := w.lease(p.Lease())
	if l.State != lease.Closing {
		t.Fatal(l.State)
	}
	refused(t, p.Pay(t.Context(), 10*mib, 0), fault.LeaseClosed)
	// The host posts what it has before it is too late, then lets go of the data.
	w.Follow(s.Changed)
	s.Changed(l)
	if !s.lookAll(t.Context()) || w.lease(l.ID).Seq != s.newest(l.ID).Seq {
		t.Error("the newest statement of a closing lease isn't posted")
	}
	w.Advance(11 * time.Second)
	if !s.lookAll(t.Context()) || s.shelf.dropped() != 1 || s.newest(l.ID).Seq != 0 {
		t.Error("the data of a closed lease is still there")
	}
	b.Changed(w.lease(l.ID))
	b.renew(t.Context(), online)
	if b.Newest(l.ID).Seq != 0 {
		t.Error("the client keeps a closed lease")
	}
}

func TestRunDoesWhatCantWait(t *testing.T) {
	w, s, b, p := deal(t, money.Ember)
	must(t, p.Pay(t.Context(), firstWindow, 0))
	w.Follow(s.Changed)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	must(t, b.closeLease(t.Context(), p.Lease(), nil, 0))
	until(t, "the newest statement is posted", func() bool { return w.lease(p.Lease()).Seq == 1 })
	cancel()
	<-ended
}

func TestWhatClosedMeanwhileDoesntStopAHost(t *testing.T) {
	w, s, _, p := deal(t, money.Ember)
	store(t, s, p, mib, rootNo(1))
	id := p.Lease()
	w.End(id)
	must(t, s.shelf.Drop(id)) // the crash was between the drop and the journal
	must(t, s.current().Close())
	s.start()
	if s.newest(id).Seq != 0 {
		t.Error("a closed lease is kept")
	}
}

// A ledger that shows no lease where one was in use a moment ago is behind, or
// lies: the data stays until that can be true.
func TestALeaseThatVanishesTooEarlyIsKept(t *testing.T) {
	w, s, _, p := deal(t, money.Ember)
	store(t, s, p, mib, rootNo(1))
	id := p.Lease()
	w.End(id)
	w.Forget(id)
	must(t, s.current().Close())
	s.start()
	if s.newest(id).Seq == 0 || s.shelf.dropped() > 0 {
		t.Fatal("data was dropped though the lease can't be gone")
	}
	w.Advance(time.Minute)
	if !s.lookAll(t.Context()) || s.newest(id).Seq != 0 || s.shelf.dropped() == 0 {
		t.Error("it is still there after the time in which leases are forgotten")
	}
}
