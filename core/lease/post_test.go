package lease_test

import (
	"math"
	"testing"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"
)

func TestWhichStatementsArePosted(t *testing.T) {
	l := post(t, opened(quote.Relay, 100_000), said(5, 100, gib(1), now+hour), now)
	for _, tt := range []struct {
		name string
		make func(s *statement.Statement)
		want fault.Code
	}{
		{"a newer one", func(*statement.Statement) {}, ""},
		{"one that leaves out numbers", func(s *statement.Statement) { s.Seq = 500 }, ""},
		{"the same again", func(s *statement.Statement) { s.Seq = 5 }, fault.Stale},
		{"an older one", func(s *statement.Statement) { s.Seq = 4 }, fault.Stale},
		{"an older one with a forged total", func(s *statement.Statement) { s.Seq, s.Total = 4, 100_000 }, fault.Stale},
		{"of another lease", func(s *statement.Statement) { s.Lease = 8 }, fault.BadStatement},
		{"a total that falls", func(s *statement.Statement) { s.Total = 99 }, fault.BadStatement},
		{"a time that falls", func(s *statement.Statement) { s.AsOf-- }, fault.BadStatement},
		{"run time taken back", func(s *statement.Statement) { s.RunsUntil-- }, fault.BadStatement},
		{"more than the lease holds", func(s *statement.Statement) { s.Total = money.Max }, ""},
	} {
		s := said(6, 100, gib(1), now+hour)
		tt.make(&s)
		after, err := l.Post(s, on(now), params)
		if got := fault.CodeOf(err); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		if err != nil && after != l {
			t.Errorf("%s: refused, and the lease changed", tt.name)
		}
	}
}

func TestAnOverdrawnStatementIsCapped(t *testing.T) {
	l := post(t, opened(quote.Relay, 10_000), said(1, money.Max, gib(1), now+hour), now)
	l, f := l.Settle(on(now), 0, params)
	if f != (lease.Flow{ToHost: 9_000, Commission: 1_000}) || l.Out != 10_000 {
		t.Errorf("moved %+v", f)
	}
	if l.State != lease.Closing {
		t.Errorf("an empty lease is %s", l.State)
	}
	l, f, err := l.Finish(on(l.EndsAt))
	if err != nil || f != (lease.Flow{}) {
		t.Errorf("finished with %+v, %v", f, err)
	}
	whole(t, l)
}

func TestADeadHostEarnsNothingPastTheRunTime(t *testing.T) {
	l := running(t, 100_000, hour)
	for _, tt := range []struct {
		at   int64
		want money.Amount
	}{
		{now - day, 0}, {now, 0}, {now + 1, 1}, {now + hour, hour}, {now + hour + 1, hour}, {now + 365*day, hour}, {math.MaxInt64, hour},
	} {
		if got := l.Earned(on(tt.at)); got != tt.want {
			t.Errorf("%d s later it has earned %d, want %d", tt.at-now, got, tt.want)
		}
	}
}

// Run time signed too far ahead is cut, and the total it comes with is not lost.
func TestRunTimeIsCutToWhatMayBeAhead(t *testing.T) {
	l := post(t, opened(quote.Relay, 10_000_000), said(1, 100, gib(1), math.MaxInt64), now)
	if l.RunsUntil != now+params.MaxRun || l.Total != 100 {
		t.Fatalf("runs %d s ahead with a total of %d", l.RunsUntil-now, l.Total)
	}
	if got := l.Earned(on(now + 365*day)); got != 100+money.Amount(params.MaxRun) {
		t.Errorf("earned %d", got)
	}
	l = post(t, l, said(2, 200, gib(1), math.MaxInt64), now+day)
	if l.RunsUntil != now+day+params.MaxRun || l.Total != 200 {
		t.Errorf("the next one runs %d s ahead with a total of %d", l.RunsUntil-now-day, l.Total)
	}
}

func TestPostingWhileClosing(t *testing.T) {
	l := running(t, 100_000, hour)
	l, err := l.Close(lease.ByClient, on(now+60), params)
	if err != nil {
		t.Fatal(err)
	}
	// The host had a newer statement in hand.
	l = post(t, l, said(9, 5_000, gib(1), now+2*hour), now+day)
	if got := l.Earned(on(now + day)); got != 5_060 {
		t.Errorf("earned %d: the newer total, and time up to the close", got)
	}
	l, f, err := l.Finish(on(now + day + 60))
	if err != nil || f.ToHost+f.Commission != 5_060 || f.ToPurse != 100_000-5_060 {
		t.Errorf("finished with %+v, %v", f, err)
	}
	if _, err := l.Post(said(10, 9_000, gib(1), now+2*hour), on(now+2*day), params); fault.CodeOf(err) != fault.LeaseClosed {
		t.Errorf("posting to a closed lease: %v", err)
	}
}

// A statement with fewer units that came late can't take back what was paid,
// and nothing more is paid until it has caught up.
func TestWhatWasPaidStaysPaid(t *testing.T) {
	l := running(t, 100_000, hour)
	l, f := l.Settle(on(now+hour), 0, params)
	if f.ToHost+f.Commission != hour {
		t.Fatalf("paid %+v", f)
	}
	less := said(2, 60, quote.Units{}, now+hour)
	less.AsOf = now + 60
	l = post(t, l, less, now+hour)
	if l.Earned(on(now+hour)) != hour || l.Out != hour {
		t.Errorf("earned %d, paid %d", l.Earned(on(now+hour)), l.Out)
	}
	if _, f := l.Settle(on(now+hour), 0, params); f != (lease.Flow{}) {
		t.Errorf("paid again: %+v", f)
	}
}
