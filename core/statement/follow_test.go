package statement_test

import (
	"math"
	"testing"

	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"

	"pgregory.net/rapid"
)

const now = 1_800_000_000

// A GiB costs one uember a second.
var prices = quote.Prices{Unit: [quote.Dims]uint64{uint64(money.RateUnit)}}

func gib(n uint64) quote.Units { return quote.Units{n * quote.GiB} }

// known is the newest statement: two GiB since an hour ago, agreed for a day.
func known() statement.Statement {
	return statement.Statement{ChainID: net, Lease: 7, Seq: 5, Total: 100, Units: gib(2), Root: [32]byte{1}, AsOf: now - 3600, RunsUntil: now + 86_400}
}

func TestWhichStatementMayFollow(t *testing.T) {
	const rent = 2 * 3600
	for _, tt := range []struct {
		name string
		next func(s *statement.Statement)
		want fault.Code
	}{
		{"a higher number alone", func(*statement.Statement) {}, ""},
		{"more traffic", func(s *statement.Statement) { s.Total += 50 }, ""},
		{"numbers may be left out", func(s *statement.Statement) { s.Seq += 100 }, ""},
		{"the same number: another device was first", func(s *statement.Statement) { s.Seq = 5 }, fault.Stale},
		{"an old number, whatever it says", func(s *statement.Statement) { s.Seq, s.Total = 4, 0 }, fault.Stale},
		{"another lease", func(s *statement.Statement) { s.Lease = 8 }, fault.BadStatement},
		{"another network", func(s *statement.Statement) { s.ChainID = "hearth-x" }, fault.BadStatement},
		{"a total that falls", func(s *statement.Statement) { s.Total = 99 }, fault.BadStatement},
		{"a time that falls", func(s *statement.Statement) { s.AsOf-- }, fault.BadStatement},
		{"run time taken back", func(s *statement.Statement) { s.RunsUntil-- }, fault.BadStatement},
		{"all the lease holds", func(s *statement.Statement) { s.Total = 1_000_000 }, ""},
		{"a uember more", func(s *statement.Statement) { s.Total = 1_000_001 }, fault.NoFunds},
		{"up to now, with the rent", func(s *statement.Statement) { s.AsOf, s.Total = now, 100+rent }, ""},
		{"up to now, a uember short", func(s *statement.Statement) { s.AsOf, s.Total = now, 100+rent-1 }, fault.BadStatement},
		{"other units from now on, with the rent", func(s *statement.Statement) { s.AsOf, s.Total, s.Units = now, 100+rent, gib(9) }, ""},
		{"other units without the rent", func(s *statement.Statement) { s.AsOf, s.Units = now, gib(9) }, fault.BadStatement},
		{"fewer units in the past", func(s *statement.Statement) { s.Units = gib(1) }, fault.BadStatement},
		{"another root with the same units", func(s *statement.Statement) { s.Root = [32]byte{2} }, ""},
		{"a clock a little ahead", func(s *statement.Statement) { s.AsOf, s.Total = now+statement.Skew, 100+rent+2*statement.Skew }, ""},
		{"a clock too far ahead", func(s *statement.Statement) { s.AsOf, s.Total = now+statement.Skew+1, 1_000_000 }, fault.BadStatement},
		{"other units as of a clock a little behind", func(s *statement.Statement) {
			s.AsOf, s.Total, s.Units = now-statement.Skew, 100+rent, gib(1)
		}, ""},
		{"other units as of a clock too far behind", func(s *statement.Statement) {
			s.AsOf, s.Total, s.Units = now-statement.Skew-1, 100+rent, gib(1)
		}, fault.BadStatement},
	} {
		next := known()
		next.Seq++
		tt.next(&next)
		if got := fault.CodeOf(known().Follow(next, prices, 1_000_000, now)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestNothingIsOwedBeforeTheFirstStatement(t *testing.T) {
	zero := statement.Statement{ChainID: net, Lease: 7}
	first := statement.Statement{ChainID: net, Lease: 7, Seq: 1, Units: gib(4), AsOf: now, RunsUntil: now + 600}
	if err := zero.Follow(first, prices, 10_000, now); err != nil {
		t.Errorf("first statement: %v", err)
	}
	first.AsOf = 0
	if got := fault.CodeOf(zero.Follow(first, prices, 10_000, now)); got != fault.BadStatement {
		t.Errorf("a first statement that reserves since the epoch: %q", got)
	}
}

func TestNobodyPaysRentPastTheRunTime(t *testing.T) {
	s := known()
	s.RunsUntil = s.AsOf + 10
	if got := s.Rent(prices, now+1_000_000); got != 20 {
		t.Errorf("ten seconds of two GiB cost %d", got)
	}
	if got := s.Rent(prices, s.AsOf-1); got != 0 {
		t.Errorf("time that runs back costs %d", got)
	}
	s.RunsUntil = s.AsOf - 10
	if got := s.Rent(prices, now); got != 0 {
		t.Errorf("run time that ended before costs %d", got)
	}
}

// Rounding up at each statement favours the host by less than a uember, and
// many statements never owe less than one.
func TestRentInPartsNeverOwesLess(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := quote.Prices{Unit: [quote.Dims]uint64{rapid.Uint64Range(0, 1<<45).Draw(t, "price")}}
		s := known()
		whole := s.Rent(p, now)
		var parts money.Amount
		at := s
		cuts := rapid.SliceOfN(rapid.Int64Range(s.AsOf, now), 0, 8).Draw(t, "cuts")
		for _, c := range append(cuts, now) {
			if c > at.AsOf {
				parts += at.Rent(p, c)
				at.AsOf = c
			}
		}
		if parts < whole || parts > whole+money.Amount(len(cuts)) {
			t.Fatalf("in one %d, in %d parts %d", whole, len(cuts)+1, parts)
		}
	})
}

func TestOnlyUnitsAndRootNeedTheHost(t *testing.T) {
	s := known()
	same := s
	same.Seq, same.Total, same.AsOf, same.RunsUntil = 9, 999, now, now+999_999
	if s.Changes(same) {
		t.Error("a payment asks for the host's signature")
	}
	units, root := s, s
	units.Units[1]++
	root.Root[0]++
	if !s.Changes(units) || !s.Changes(root) {
		t.Error("units or root change without the host's signature")
	}
}

// Two devices sign at once: whichever the host takes first wins, the other is
// stale, and on the newer one it may follow.
func TestTwoDevicesAtOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := known()
		propose := func(name string, on statement.Statement) statement.Statement {
			on.Seq++
			on.Total += money.Amount(rapid.Uint64Range(0, 1000).Draw(t, name))
			return on
		}
		first, second := propose("first", base), propose("second", base)
		if rapid.Bool().Draw(t, "the other way round") {
			first, second = second, first
		}
		if err := base.Follow(first, prices, 1_000_000, now); err != nil {
			t.Fatal(err)
		}
		if got := fault.CodeOf(first.Follow(second, prices, 1_000_000, now)); got != fault.Stale {
			t.Fatalf("the second of two: %q", got)
		}
		again := propose("again", first)
		if err := first.Follow(again, prices, 1_000_000, now); err != nil {
			t.Fatalf("built on the newest: %v", err)
		}
	})
}

// At the edges of its types the rule still holds: nothing wraps into consent.
func FuzzFollow(f *testing.F) {
	f.Add(uint64(5), uint64(100), uint64(2), int64(now-3600), int64(now), uint64(6), uint64(8000), uint64(2), int64(now), int64(now+600), uint64(10_000))
	f.Add(uint64(math.MaxUint64), uint64(math.MaxUint64), uint64(math.MaxUint64), int64(math.MaxInt64), int64(math.MaxInt64),
		uint64(math.MaxUint64), uint64(math.MaxUint64), uint64(math.MaxUint64), int64(math.MaxInt64), int64(math.MaxInt64), uint64(math.MaxUint64))
	f.Add(uint64(0), uint64(0), uint64(math.MaxUint64), int64(0), int64(math.MaxInt64), uint64(1), uint64(1), uint64(0), int64(now), int64(math.MaxInt64), uint64(1))
	f.Fuzz(func(t *testing.T, seq, total, units uint64, asOf, runs int64, seq2, total2, units2 uint64, asOf2, runs2 int64, funded uint64) {
		if asOf < 0 || asOf > now+statement.Skew || runs < 0 {
			return // no statement that was accepted is like that
		}
		s := statement.Statement{Seq: seq, Total: money.Amount(total), Units: quote.Units{units}, AsOf: asOf, RunsUntil: runs}
		next := statement.Statement{Seq: seq2, Total: money.Amount(total2), Units: quote.Units{units2}, AsOf: asOf2, RunsUntil: runs2}
		if s.Follow(next, prices, money.Amount(funded), now) != nil {
			return
		}
		switch {
		case next.Seq <= s.Seq, next.Total < s.Total, next.AsOf < s.AsOf, next.RunsUntil < s.RunsUntil:
			t.Errorf("%+v follows %+v and falls", next, s)
		case next.Total > money.Amount(funded):
			t.Errorf("%+v passes %d", next, funded)
		case next.AsOf > now+statement.Skew:
			t.Errorf("%+v is from the future", next)
		case next.AsOf > s.AsOf && next.Total-s.Total < s.Rent(prices, next.AsOf):
			t.Errorf("%+v follows %+v without its rent", next, s)
		}
	})
}
