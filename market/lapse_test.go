package market

import (
	"testing"
	"time"

	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/quote"
)

const week = 7 * 24 * time.Hour

// Whoever signs no more run time has its data kept for a while, then as long as a
// notice takes, and no longer.
func TestDataOfAClientThatIsGoneIsDropped(t *testing.T) {
	w, s, _, p := dealIn(t, quote.Compute, 1000*money.Ember)
	w.Follow(s.Changed)
	store(t, s, p, mib, rootNo(1))
	id := p.Lease()
	settle := func(notified int, state lease.State) {
		t.Helper()
		done, err := s.Settle(t.Context())
		must(t, err)
		if got := w.lease(id).State; done.Notified != notified || got != state {
			t.Fatalf("%d notices, the lease is %s; want %d, %s", done.Notified, got, notified, state)
		}
	}
	w.Advance(online*time.Second + week - 10*time.Second)
	settle(0, lease.Open) // a moment is left of the time
	w.Advance(time.Minute)
	settle(1, lease.Closing)
	settle(0, lease.Closing) // once is enough
	if s.shelf.root(id) != rootNo(1) {
		t.Error("the data went with the notice, not with the end")
	}
	if paid := w.Paid("host") + w.Paid("host")/9; paid < online-2 || paid > online+1 {
		t.Errorf("the host was paid %d for %d s of run time", paid, online)
	}
	w.Advance(21 * time.Second)
	if !s.lookAll(t.Context()) || w.lease(id).State != lease.Closed || s.shelf.dropped() != 1 || s.newest(id).Seq != 0 {
		t.Error("the data is still there after the notice")
	}
}

// A host that was away itself waits for its clients before it says they are gone.
func TestAHostsOwnAbsenceIsNobodysLapse(t *testing.T) {
	w, s, b, p := dealIn(t, quote.Compute, 1000*money.Ember)
	store(t, s, p, mib, rootNo(1))
	must(t, s.current().Close())
	w.Advance(4 * week)
	s.start()
	if done, err := s.Settle(t.Context()); err != nil || done.Notified != 0 {
		t.Fatal(done, err)
	}
	b.renew(t.Context(), online)
	w.Advance(settleIn + time.Minute)
	if done, err := s.Settle(t.Context()); err != nil || done.Notified != 0 || w.lease(p.Lease()).State != lease.Open {
		t.Error("a client that is back is shown the door", done, err)
	}
}

// Stored bytes are paid by the ledger as long as they are proven: their client may
// stay away until the lease is empty.
func TestStoredDataDoesNotLapse(t *testing.T) {
	w, s, _, p := deal(t, 1000*money.Ember)
	store(t, s, p, mib, rootNo(1))
	w.Advance(8 * week)
	if done, err := s.Settle(t.Context()); err != nil || done.Notified != 0 || w.lease(p.Lease()).State != lease.Open {
		t.Error(done, err)
	}
}

// Where nothing is stored there is nothing to be rid of, and a lease that its
// client ends needs no notice.
func TestOnlyDataLapses(t *testing.T) {
	w, s, b, p := dealIn(t, quote.Compute, 1000*money.Ember)
	must(t, p.Pay(t.Context(), firstWindow, 0))
	w.Advance(8 * week)
	if done, err := s.Settle(t.Context()); err != nil || done.Notified != 0 {
		t.Fatal("an empty lease", done, err)
	}
	p = b.pairs(mib)[0]
	store(t, s, p, mib, rootNo(1))
	must(t, b.closeLease(t.Context(), p.Lease(), nil, 0))
	w.SetRules(func(r *lease.Params) { r.CloseTime = 1 << 30 })
	w.Advance(5 * time.Second)
	if done, err := s.Settle(t.Context()); err != nil || done.Notified != 0 {
		t.Error("a lease that is closing", done, err)
	}
}
