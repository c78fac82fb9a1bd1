package market

import (
	"context"
	"testing"
	"time"

	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/quote"
)

// What runs is signed for and paid: a host knows at any time whether it is.
func TestAHostKnowsWhetherTimeIsPaid(t *testing.T) {
	w, s, b, p := dealIn(t, quote.Compute, 1000*money.Ember)
	id := p.Lease()
	runs := func() error { return s.current().Runs(t.Context(), id) }
	refused(t, runs(), fault.NoLease)
	store(t, s, p, mib, rootNo(1))
	must(t, runs())
	w.Advance(online*time.Second + time.Second)
	refused(t, runs(), fault.Unpaid)
	s.crash()
	refused(t, runs(), fault.Unpaid)
	b.renew(t.Context(), online)
	must(t, runs())
	s.crash()
	must(t, runs())
	w.SetDown(true)
	s.crash() // it starts by what is signed
	must(t, runs())
	w.SetDown(false)
	must(t, b.closeLease(t.Context(), id, nil, 0))
	w.Advance(time.Minute)
	w.Follow(s.Changed)
	must1(s.Settle(t.Context()))
	refused(t, runs(), fault.LeaseClosed)
}

// Nobody signs for what a host says that it doesn't have.
func TestTimeIsSignedOnlyForWhatTheHostHas(t *testing.T) {
	w, s, b, p := dealIn(t, quote.Compute, 1000*money.Ember)
	store(t, s, p, mib, rootNo(1))
	lost := fault.New(fault.Stale, "it shows nothing")
	asked := 0
	b.Client.c.Holds = func(context.Context, *Pair, time.Duration) error {
		asked++
		return lost
	}
	b.renew(t.Context(), online)
	if asked != 0 {
		t.Error("asked though more than half is left")
	}
	w.Advance(400 * time.Second)
	until := s.newest(p.Lease()).RunsUntil
	b.renew(t.Context(), online)
	b.Leave(t.Context())
	if n := s.newest(p.Lease()).RunsUntil; n != until || asked != 2 {
		t.Errorf("signed until %d, %d before; asked %d times", n, until, asked)
	}
	lost = nil
	b.renew(t.Context(), online)
	if n := s.newest(p.Lease()).RunsUntil; n <= until {
		t.Error("it is there again, and its time isn't signed")
	}
}

// A host that isn't signed on for a while is owed what was signed before, and nothing of
// the time between.
func TestTimeThatNobodySignsIsNotOwed(t *testing.T) {
	w, s, b, p := dealIn(t, quote.Compute, 1000*money.Ember)
	store(t, s, p, mib, rootNo(1))
	before := s.newest(p.Lease())
	var asked time.Duration
	stands := fault.New(fault.HostRefused, "its owner uses the machine")
	b.Client.c.Holds = func(_ context.Context, _ *Pair, ahead time.Duration) error {
		asked = ahead
		return stands
	}
	w.Advance(2 * time.Hour)
	b.renew(t.Context(), online)
	if n := s.newest(p.Lease()); n.Seq != before.Seq || asked != online*time.Second {
		t.Errorf("statement %d, %d before; asked for %s", n.Seq, before.Seq, asked)
	}
	stands = nil
	b.renew(t.Context(), online)
	n := s.newest(p.Lease())
	if owed := n.Total - before.Total; owed != money.Amount(before.RunsUntil-before.AsOf) || n.RunsUntil <= before.RunsUntil {
		t.Errorf("%d are owed for %d s that were signed", owed, before.RunsUntil-before.AsOf)
	}
	must(t, s.Runs(t.Context(), p.Lease()))
}

// A host whose folder was brought back without what runs there has lost that, and
// nothing else; stored bytes it must have.
func TestAHostThatHasLostItsInstancesStarts(t *testing.T) {
	for kind, code := range map[quote.Kind]fault.Code{quote.Compute: "", quote.Storage: fault.DamagedFile} {
		_, s, _, p := dealIn(t, kind, 1000*money.Ember)
		store(t, s, p, mib, rootNo(1))
		must(t, s.shelf.Drop(p.Lease()))
		must(t, s.Host.Close())
		h := must1(NewHost(s.c))
		if err := h.Reconcile(t.Context()); code == "" && err != nil || code != "" && fault.CodeOf(err) != code {
			t.Errorf("%s: %v", kind, err)
		}
		must(t, h.Close())
		if code != "" {
			continue
		}
		s.start()
		must(t, p.Reserve(t.Context(), quote.Units{}, [32]byte{}))
		if n := s.newest(p.Lease()); n.Units != (quote.Units{}) {
			t.Errorf("%v are signed for", n.Units)
		}
	}
}

// A lease of a time when a host sold calls only can't have the machine for nothing; its
// client takes the prices of now, and any that are better.
func TestNobodyRentsAMachineAtPricesOfBeforeItWasRentedOut(t *testing.T) {
	w := newWorld(t)
	w.kind, w.prices = quote.Compute, priced
	w.prices.Unit = [quote.Dims]uint64{}
	s := w.host("host")
	w.prices = priced
	b := w.client("client", 1000*money.Ember)
	p := b.pairs(mib)[0]
	must(t, p.Pay(t.Context(), mib, 0))
	asks := func(times uint64) {
		t.Helper()
		next := priced
		next.Unit[0] = next.Unit[0] * times / 4
		s.c.Prices = map[quote.Kind]quote.Prices{quote.Compute: next}
		s.crash()
	}
	asks(2)
	units := quote.Units{mib}
	s.shelf.stageUnits(p.Lease(), units, rootNo(1))
	refused(t, p.Reserve(t.Context(), units, rootNo(1)), fault.QuoteExpired)
	must(t, p.Pay(t.Context(), 2*mib, 0)) // calls go on as before
	rent := func(n uint64, root byte, pays uint64) {
		t.Helper()
		offers := must1(b.Offers(t.Context(), quote.Compute, true))
		q := must1(b.Rent(t.Context(), offers[0], quote.Units{mib}))
		s.shelf.stageUnits(q.Lease(), quote.Units{n * mib}, rootNo(root))
		must(t, q.Reserve(t.Context(), quote.Units{n * mib}, rootNo(root)))
		must1(s.Settle(t.Context()))
		if l := w.lease(q.Lease()); q.Lease() != p.Lease() || l.Prices.Unit[0] != priced.Unit[0]*pays/4 || l.Rate != l.Prices.Rate(quote.Units{n * mib}) {
			t.Errorf("lease %d at %d, %d for what is reserved", q.Lease(), l.Prices.Unit[0], l.Rate)
		}
		w.Advance(time.Minute)
	}
	rent(1, 1, 2)
	asks(4)
	rent(2, 2, 2) // it was promised to be cheaper
	asks(1)
	rent(3, 3, 1)
}

// Room is kept only under a lease that can take something.
func TestALeaseThatIsEndingOrEmptyTakesNothingNew(t *testing.T) {
	w, s, b, p := dealIn(t, quote.Compute, 1000*money.Ember)
	id := p.Lease()
	takes := func() error { return s.current().Takes(t.Context(), id) }
	must(t, takes())
	store(t, s, p, mib, rootNo(1))
	must(t, takes())
	b.Leave(t.Context())
	w.Advance(time.Duration(w.lease(id).Funded()-s.newest(id).Total) * time.Second)
	refused(t, takes(), fault.NoFunds)
	must1(s.Settle(t.Context())) // fills it from the purse
	must(t, takes())
	w.Follow(s.Changed)
	must(t, b.closeLease(t.Context(), id, nil, 0))
	refused(t, takes(), fault.LeaseClosed)
	refused(t, s.current().Takes(t.Context(), id+1), fault.NoLease)
}

// A week may be signed ahead that the lease doesn't hold: it runs as long as it does.
func TestNothingRunsLongerThanTheMoneyLasts(t *testing.T) {
	w, s, b, p := dealIn(t, quote.Compute, 1000*money.Ember)
	store(t, s, p, mib, rootNo(1))
	b.Leave(t.Context())
	left := int64(w.lease(p.Lease()).Funded() - s.newest(p.Lease()).Total)
	if left >= offline {
		t.Fatalf("the lease holds %d, a week costs %d: choose less", left, offline)
	}
	w.Advance(time.Duration(left-20) * time.Second)
	must(t, s.Runs(t.Context(), p.Lease()))
	w.Advance(40 * time.Second)
	refused(t, s.Runs(t.Context(), p.Lease()), fault.NoFunds)
	must1(s.Settle(t.Context())) // fills it from the purse
	must(t, s.Runs(t.Context(), p.Lease()))
}
