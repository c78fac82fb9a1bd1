package market

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"testing"
	"time"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/mandate"
	"hearth/core/money"
)

// keeper is a second key of the account, which may add and not take away.
func keeper(w *world, account string) *buyer {
	b := w.device(account)
	m := must1(w.Mandate(w.t.Context(), account, [32]byte(b.key())))
	m.Ops = mandate.Keep
	w.Revoke(account, b.key())
	w.Grant(m)
	return b
}

func TestAKeyThatMayOnlyKeepLowersNothing(t *testing.T) {
	w, s, _, p := deal(t, money.Ember)
	store(t, s, p, 2*mib, rootNo(1))
	k := keeper(w, "client")
	q := k.pairs(mib)[0]
	s.shelf.stage(q.Lease(), mib, rootNo(2))
	refused(t, q.Cover(t.Context(), mib, rootNo(2)), fault.MandateRefused)
	refused(t, s.MayRemove(t.Context(), q.Lease(), k.Client.key()), fault.MandateRefused)
	refused(t, q.Refund(t.Context()), fault.MandateRefused)
	must(t, q.Resync(t.Context()))
	store(t, s, q, 3*mib, rootNo(3))
	if n := s.newest(p.Lease()); n.Units[0] != 3*mib || !k.key().Equal(ed25519.PublicKey(n.ClientKey)) {
		t.Errorf("%+v", n)
	}
}

// runs has a host settle and post by itself until the test ends.
func runs(t *testing.T, s *seller) {
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })
}

// While a removal waits for the ledger, the owner goes on: only who has to wait does.
func TestARemovalThatIsPostedStopsNobodyElse(t *testing.T) {
	w, s, _, p := deal(t, money.Ember)
	store(t, s, p, 4*mib, rootNo(1))
	must1(s.Settle(t.Context()))
	store(t, s, p, mib, rootNo(2)) // not posted
	q := keeper(w, "client").pairs(mib)[0]
	paid := make(chan error, 1)
	go func() { paid <- q.Pay(t.Context(), 0, mib) }()
	for end := time.Now().Add(time.Minute); !s.asked(p.Lease()); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the keeper hasn't asked")
		}
	}
	must(t, p.Pay(t.Context(), 64<<10, 0))
	store(t, s, p, mib/2, rootNo(3))
	select {
	case err := <-paid:
		t.Fatalf("the keeper has paid: %v", err)
	default:
	}
	s.lookAll(t.Context())
	must(t, <-paid)
	if l := w.lease(p.Lease()); l.Units[0] != mib/2 {
		t.Errorf("%d bytes are posted", l.Units[0])
	}
}

// asked says whether a removal is to be posted.
func (s *seller) asked(lease uint64) bool {
	h := s.current()
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.looks[lease]
}

// What the owner has removed is posted before a key without the right signs on:
// else its statements could never be, and the host would prove against an old root.
func TestARemovalIsPostedBeforeAKeeperSigns(t *testing.T) {
	w, s, _, p := deal(t, money.Ember)
	store(t, s, p, 4*mib, rootNo(1))
	must1(s.Settle(t.Context()))
	if l := w.lease(p.Lease()); l.Units[0] != 4*mib {
		t.Fatalf("%d bytes are posted", l.Units[0])
	}
	store(t, s, p, mib, rootNo(2)) // not posted
	runs(t, s)
	q := keeper(w, "client").pairs(mib)[0]
	store(t, s, q, 2*mib, rootNo(3))
	if l := w.lease(p.Lease()); l.Units[0] != mib {
		t.Errorf("%d bytes are posted", l.Units[0])
	}
	must1(s.Settle(t.Context()))
	if l := w.lease(p.Lease()); l.Units[0] != 2*mib {
		t.Errorf("the keeper's statement isn't: %d", l.Units[0])
	}
}

// A key without the right may find a removal that isn't posted also when it only
// pays: its statement becomes the newest, and the only one that can be posted.
func TestARemovalIsPostedBeforeAKeeperPays(t *testing.T) {
	w, s, _, p := deal(t, money.Ember)
	store(t, s, p, 4*mib, rootNo(1))
	must1(s.Settle(t.Context()))
	store(t, s, p, mib, rootNo(2)) // not posted
	runs(t, s)
	q := keeper(w, "client").pairs(mib)[0]
	must(t, q.Pay(t.Context(), 0, mib))
	if n := s.newest(p.Lease()); n.ClientKey == nil || bytes.Equal(n.ClientKey, p.c.key()) {
		t.Fatal("the keeper has signed nothing")
	}
	must1(s.Settle(t.Context()))
	if l := w.lease(p.Lease()); l.Units[0] != mib || l.Seq != s.newest(p.Lease()).Seq {
		t.Errorf("posted are %d bytes of statement %d, signed is statement %d", l.Units[0], l.Seq, s.newest(p.Lease()).Seq)
	}
}

func (p *Pair) counted() (in, out uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rec.In, p.rec.Out
}

// What one device has paid for and not used yet is still there when another has
// signed in between.
func TestTrafficOnItsWayStaysPaid(t *testing.T) {
	w, s, _, p := deal(t, money.Ember)
	must(t, p.Resync(t.Context()))
	q := w.device("client").pairs(mib)[0]
	var flying, read uint64
	for range 10 {
		n := p.Chunk()
		must(t, p.Pay(t.Context(), n, 0))
		flying += n
		n = q.Chunk()
		must(t, q.Pay(t.Context(), 0, n))
		must(t, s.Take(p.Lease(), 0, n))
		q.Over(0, n)
		read += n
	}
	must(t, s.Take(p.Lease(), flying, 0))
	p.Over(flying, 0)
	must(t, p.Resync(t.Context()))
	if in, out := p.counted(); in != flying || out != read {
		t.Errorf("%d and %d bytes are counted, %d and %d were used", in, out, flying, read)
	}
}

// What was paid for and never flows is free again once it is over.
func TestTrafficThatNeverFlowsIsGivenBack(t *testing.T) {
	_, s, _, p := deal(t, money.Ember)
	must(t, p.Resync(t.Context()))
	must(t, p.Pay(t.Context(), 64<<10, 0))
	must(t, p.Resync(t.Context()))
	if in, _ := p.counted(); in != 64<<10 {
		t.Fatalf("%d bytes are on their way", in)
	}
	p.Over(64<<10, 0)
	total := s.newest(p.Lease()).Total
	must(t, p.Resync(t.Context()))
	must(t, p.Pay(t.Context(), 64<<10, 0))
	if now := s.newest(p.Lease()).Total; now != total {
		t.Errorf("it was paid for again: %d, then %d", total, now)
	}
}

// Numbers of statements that were refused are used up, so that a device may be
// behind under a higher number than the newest. It notices that too.
func TestADeviceBehindUnderAHigherNumberCatchesUp(t *testing.T) {
	w, s, _, p := deal(t, money.Ember)
	q := w.device("client").pairs(mib)[0]
	must(t, q.Pay(t.Context(), 64<<10, 0))
	q.mu.Lock()
	q.rec.Newest.Seq += 10
	q.mu.Unlock()
	store(t, s, p, mib, rootNo(1))
	must(t, p.Pay(t.Context(), mib, 0))
	must(t, q.Pay(t.Context(), 2*mib, 0))
	if n := s.newest(p.Lease()); !q.c.key().Equal(ed25519.PublicKey(n.ClientKey)) || n.Root != rootNo(1) {
		t.Errorf("%+v", n)
	}
}

// A read waits for a block. That a host posts and is paid is told of every lease now
// and then, and holds nobody up; that a lease ends does.
func TestOnlyPressingNewsIsReadBeforePaying(t *testing.T) {
	w, s, b, p := deal(t, money.Ember)
	must(t, p.Pay(t.Context(), 64<<10, 0))
	must(t, s.Take(p.Lease(), 64<<10, 0))
	must1(s.Settle(t.Context()))
	l := w.lease(p.Lease())
	if !behind(p.terms(), l) {
		t.Fatal("nothing was posted")
	}
	b.Changed(l)
	s.Changed(l)
	_, before := w.Counts()
	must(t, p.Pay(t.Context(), 16*mib, 0))
	if _, after := w.Counts(); after != before {
		t.Errorf("%d reads for a payment", after-before)
	}
	l.State = lease.Closing
	b.Changed(l)
	must(t, p.Pay(t.Context(), 64*mib, 0))
	if _, after := w.Counts(); after == before {
		t.Error("news of an end wasn't read")
	}
}

// What a device has left of its own it uses after a restart too, though another has
// signed in between.
func TestARestartAbandonsNothingThatWasPaid(t *testing.T) {
	w, s, b, p := deal(t, money.Ember)
	must(t, p.Pay(t.Context(), 64<<10, 0))
	must(t, s.Take(p.Lease(), 64<<10, 0))
	q := w.device("client").pairs(mib)[0]
	for range 4 {
		must(t, q.Pay(t.Context(), 0, 64<<10))
		must(t, s.Take(p.Lease(), 0, 64<<10))
		q.Over(0, 64<<10)
	}
	left := s.newest(p.Lease()).Total
	b.restart()
	p = b.pairs(mib)[0]
	must(t, p.Pay(t.Context(), 64<<10, 0))
	if now := s.newest(p.Lease()).Total; now != left {
		t.Errorf("%d are signed, it were %d and a window of them unused", now, left)
	}
}
