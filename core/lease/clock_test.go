package lease_test

import (
	"math"
	"testing"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/quote"

	"pgregory.net/rapid"
)

// proven shows a time at which a host has proven so much in all.
func proven(at, seconds int64) lease.Clock { return lease.Clock{Now: at, Proven: seconds} }

// stored is a storage lease of one GiB, posted when its host had proven 1000 s.
func stored(t *testing.T, amount money.Amount) lease.Lease {
	t.Helper()
	l, err := opened(quote.Storage, amount).Post(said(1, 0, gib(1), 0), proven(now, 1000), params)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestStoredBytesEarnOnlyProvenTime(t *testing.T) {
	l := stored(t, 10*day)
	for _, tt := range []struct {
		name string
		at   lease.Clock
		want money.Amount
	}{
		{"nothing by waiting", proven(now+365*day, 1000), 0},
		{"nothing for what was proven before", proven(now, 0), 0},
		{"every proven second, run time or not", proven(now+5, 1000+day), day},
		{"no more than it holds", proven(now, math.MaxInt64-1), 10 * day},
	} {
		if got := l.Earned(tt.at); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestANewRateEarnsFromTheNextProvenPeriod(t *testing.T) {
	l := stored(t, 100*day)
	next := said(2, 0, gib(3), 0)
	l, err := l.Post(next, proven(now+day, 1000+day), params)
	if err != nil {
		t.Fatal(err)
	}
	if got := l.Earned(proven(now+9*day, 1000+day)); got != day {
		t.Errorf("by the post %d was earned, want %d", got, day)
	}
	if got := l.Earned(proven(now+9*day, 1000+2*day)); got != 4*day {
		t.Errorf("a period later %d, want %d", got, 4*day)
	}
}

func TestAClientThatClosesStopsTheProvenClock(t *testing.T) {
	l := stored(t, 100*day)
	after, err := l.Close(lease.ByClient, proven(now+day, 1000+day), params)
	if err != nil || after.Earned(proven(now+2*day, 1000+2*day)) != day {
		t.Errorf("%d earned, %v", after.Earned(proven(now+2*day, 1000+2*day)), err)
	}
	// A statement that the host still posts counts with its total, not with its time.
	if after, err = after.Post(said(2, 7, gib(1), 0), proven(now+day+hour, 1000+day), params); err != nil {
		t.Fatal(err)
	}
	done, flow, err := after.Finish(proven(after.EndsAt, 1000+3*day))
	if err != nil || done.Out != day+7 || flow.ToPurse != 99*day-7 {
		t.Errorf("%d paid, %+v, %v", done.Out, flow, err)
	}
	whole(t, done)
	// A notice doesn't stop it: the host proves and earns to the end.
	noticed, err := l.Close(lease.ByHost, proven(now, 1000), params)
	if err != nil || noticed.Earned(proven(now+14*day, 1000+14*day)) != 14*day {
		t.Errorf("under notice %d, %v", noticed.Earned(proven(now+14*day, 1000+14*day)), err)
	}
}

func TestAnAgreedEndKeepsWhatWasProven(t *testing.T) {
	l, flow, err := stored(t, 100*day).CloseAgreed(5, proven(now+day, 1000+day))
	if err != nil || l.Out != day+5 || flow.ToPurse != 99*day-5 {
		t.Errorf("%d paid, %+v, %v", l.Out, flow, err)
	}
	whole(t, l)
}

func TestALostLeaseEarnsNothingUntilTheNextStatement(t *testing.T) {
	l, was, err := stored(t, 100*day).Lose(proven(now+day, 1000+day), params)
	if err != nil || was != money.RateUnit || l.Rate != 0 {
		t.Fatalf("rate %d, was %d, %v", l.Rate, was, err)
	}
	if got := l.Earned(proven(now+9*day, 1000+9*day)); got != day {
		t.Errorf("a lost lease earned %d, want %d", got, day)
	}
	if _, _, err := l.Lose(proven(now, 1000+day), params); fault.CodeOf(err) != fault.BadRequest {
		t.Errorf("lost twice: %v", err)
	}
	if l, err = l.Post(said(2, 0, gib(1), 0), proven(now+9*day, 1000+9*day), params); err != nil || l.Rate != money.RateUnit {
		t.Fatal(l.Rate, err)
	}
	if got := l.Earned(proven(now+10*day, 1000+10*day)); got != 2*day {
		t.Errorf("healed it earned %d, want %d", got, 2*day)
	}
	if _, _, err := running(t, 100_000, hour).Lose(on(now), params); fault.CodeOf(err) != fault.BadRequest {
		t.Errorf("a lost relay: %v", err)
	}
}

func TestStorageStatementsCarryNoRent(t *testing.T) {
	if p := stored(t, day).SignedPrices(now); p.Unit != [quote.Dims]uint64{} {
		t.Error("stored bytes have a signed price")
	}
	if running(t, day, hour).SignedPrices(now) != prices {
		t.Error("other kinds have lost theirs")
	}
}

// However often the rate changes, what is earned is the sum of rate times proven
// time, rounded down once.
func TestChangingTheRateOftenLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := opened(quote.Storage, money.Max)
		l.Prices.Unit[0] = rapid.Uint64Range(1, 1<<44).Draw(t, "price")
		var sum money.Product
		var clock int64
		for seq := range uint64(rapid.IntRange(1, 20).Draw(t, "posts")) {
			units := quote.Units{rapid.Uint64Range(0, 1<<44).Draw(t, "units")}
			var err error
			if l, err = l.Post(said(seq+1, 0, units, 0), proven(now, clock), params); err != nil {
				t.Fatal(err)
			}
			later := rapid.Int64Range(0, 1<<32).Draw(t, "proven")
			sum = sum.Add(l.Rate.Times(later))
			clock += later
			if got := l.Accrued(proven(now, clock)); got != sum.Amount() {
				t.Fatalf("%d, want %d", got, sum.Amount())
			}
		}
	})
}

func TestWhoDoesNotKnowTheProofsAssumesTheMost(t *testing.T) {
	l := stored(t, 100*day)
	if got := l.AtMost(now + 5*day); got != proven(now+5*day, 1000+5*day) {
		t.Errorf("%+v", got)
	}
	stopped, err := l.Close(lease.ByClient, proven(now+day, 1000+day), params)
	if err != nil || stopped.Earned(stopped.AtMost(now+50*day)) != day {
		t.Error("a stopped clock goes on", err)
	}
}
