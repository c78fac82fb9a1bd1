package lease_test

import (
	"testing"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"
)

const (
	hour = 3600
	day  = 24 * hour
	now  = 1_800_000_000
)

// params are the real network's.
var params = lease.Params{
	MinDeposit: 10_000, MaxUntil: 90 * day, MaxQuote: day, MaxRun: 7 * day, StorageReserve: 14 * day, OtherReserve: day,
	CloseTime: day, StorageNotice: 14 * day, OtherNotice: day, PruneTime: 7 * day, MandateWindow: 30 * day,
	CommunityShare: 500, MaxOpen: 50, MaxPost: 100, MaxSettle: 100,
}

// on is both clocks of a host that has proven every second.
func on(at int64) lease.Clock { return lease.Clock{Now: at, Proven: at} }

// A GiB costs one uember a second.
var prices = quote.Prices{Unit: [quote.Dims]uint64{uint64(money.RateUnit)}}

func gib(n uint64) quote.Units { return quote.Units{n * quote.GiB} }

// opened is a lease with amount in it and no statement.
func opened(kind quote.Kind, amount money.Amount) lease.Lease {
	return lease.New(7, "client", quote.Quote{Host: "host", Kind: kind, Prices: prices}, now+90*day, amount, now)
}

// said is a statement of the lease as of now.
func said(seq uint64, total money.Amount, units quote.Units, runs int64) statement.Statement {
	return statement.Statement{Lease: 7, Seq: seq, Total: total, Units: units, AsOf: now, RunsUntil: runs}
}

// running is a relay lease with amount in it whose one GiB is agreed for a time.
func running(t *testing.T, amount money.Amount, seconds int64) lease.Lease {
	t.Helper()
	return post(t, opened(quote.Relay, amount), said(1, 0, gib(1), now+seconds), now)
}

func post(t *testing.T, l lease.Lease, s statement.Statement, at int64) lease.Lease {
	t.Helper()
	after, err := l.Post(s, on(at), params)
	if err != nil {
		t.Fatal(err)
	}
	whole(t, after)
	return after
}

// whole fails the test when a law of the lease is broken.
func whole(t interface{ Fatal(...any) }, l lease.Lease) {
	if err := l.Check(); err != nil {
		t.Fatal(err)
	}
}

func TestWhichTermsOpenALease(t *testing.T) {
	for _, tt := range []struct {
		name   string
		amount money.Amount
		until  int64
		want   fault.Code
	}{
		{"the least", 10_000, now + 1, ""},
		{"the longest", 10_000, now + 90*day, ""},
		{"a uember short", 9_999, now + day, fault.BadRequest},
		{"prices that hold for no time", 10_000, now, fault.BadRequest},
		{"prices that held", 10_000, now - 1, fault.BadRequest},
		{"prices for too long", 10_000, now + 90*day + 1, fault.BadRequest},
	} {
		if got := fault.CodeOf(params.CheckOpen(tt.amount, tt.until, now)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestNothingIsEarnedBeforeAStatement(t *testing.T) {
	l := opened(quote.Storage, 10_000)
	after, f := l.Settle(on(now+365*day), 1_000_000, params)
	if f != (lease.Flow{}) || after != l {
		t.Errorf("a year without a statement moved %+v", f)
	}
}

func TestWhichStatesTakeMoney(t *testing.T) {
	for state, want := range map[lease.State]fault.Code{
		lease.Open: "", lease.Low: "", lease.Closing: fault.LeaseClosed, lease.Closed: fault.LeaseClosed,
	} {
		l := opened(quote.Relay, 10_000)
		l.State = state
		after, err := l.Fund(5, on(now), params)
		if got := fault.CodeOf(err); got != want {
			t.Errorf("%s: %q, want %q", state, got, want)
		}
		if err == nil && after.In != 10_005 || err != nil && after != l {
			t.Errorf("%s: %d in it after", state, after.In)
		}
	}
	l := opened(quote.Relay, money.Max-1)
	if _, err := l.Fund(2, on(now), params); fault.CodeOf(err) != fault.BadRequest {
		t.Errorf("more than fits: %v", err)
	}
	if _, err := l.Fund(0, on(now), params); fault.CodeOf(err) != fault.BadRequest {
		t.Errorf("nothing: %v", err)
	}
}

func TestMoneyLiftsALeaseOutOfLow(t *testing.T) {
	// A day of one GiB is the reserve.
	l := running(t, day-1, hour)
	if l.State != lease.Low {
		t.Fatalf("a uember below its reserve it is %s", l.State)
	}
	if l, err := l.Fund(1, on(now), params); err != nil || l.State != lease.Open {
		t.Errorf("at its reserve it is %s, %v", l.State, err)
	}
}

func TestStatesHaveNames(t *testing.T) {
	for s, want := range map[lease.State]string{
		0: "unknown", lease.Open: "open", lease.Low: "low", lease.Closing: "closing", lease.Closed: "closed", 9: "unknown",
	} {
		if s.String() != want {
			t.Errorf("state %d is called %q", s, s)
		}
	}
}
