package lease_test

import (
	"math"
	"testing"

	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"
)

// Whatever the figures, up to the edges of their types, a lease's laws hold and
// every uember that goes in comes out once.
func FuzzALife(f *testing.F) {
	f.Add(uint64(10_000), uint64(5_000), uint64(quote.GiB), uint64(money.RateUnit), int64(now), int64(now+hour), uint64(100_000), int64(hour), uint8(0))
	f.Add(uint64(math.MaxUint64), uint64(math.MaxUint64), uint64(math.MaxUint64), uint64(math.MaxUint64), int64(math.MaxInt64), int64(math.MaxInt64),
		uint64(math.MaxUint64), int64(math.MaxInt64), uint8(1))
	f.Add(uint64(10_000), uint64(math.MaxUint64), uint64(math.MaxUint64), uint64(1), int64(0), int64(math.MaxInt64), uint64(math.MaxUint64), int64(day), uint8(2))
	f.Add(uint64(math.MaxUint64-1), uint64(9), uint64(1), uint64(1), int64(now), int64(now), uint64(5), int64(0), uint8(3))
	f.Fuzz(func(t *testing.T, in, total, units, price uint64, asOf, runs int64, purse uint64, later int64, end uint8) {
		if later < 0 || later > 100*365*day {
			later = day
		}
		at := now + later
		l := opened(quote.Kind(1+end%5), money.Amount(in))
		l.Prices.Unit[0] = price
		l, _ = l.Post(statement.Statement{Lease: 7, Seq: 1, Total: money.Amount(total), Units: quote.Units{units}, AsOf: asOf, RunsUntil: runs}, on(now), params)
		whole(t, l)
		var from, to money.Amount
		count := func(f lease.Flow) {
			whole(t, l)
			from += f.FromPurse
			to += f.ToHost + f.Commission + f.ToPurse
			if from > money.Amount(purse) {
				t.Fatalf("%d refilled from a purse of %d", from, purse)
			}
			if l.In != money.Amount(in)+from || l.In-l.Held() != to {
				t.Fatalf("%d in, %d held, %d out", l.In, l.Held(), to)
			}
		}
		var flow lease.Flow
		l, flow = l.Settle(on(at), money.Amount(purse), params)
		count(flow)
		l, flow = l.Settle(on(at), money.Amount(purse)-from, params)
		count(flow)
		switch end % 3 {
		case 0:
			l, _ = l.Close(lease.ByClient, on(at), params)
		case 1:
			l, _ = l.Close(lease.ByHost, on(at), params)
		case 2:
			var err error
			if l, flow, err = l.CloseAgreed(l.Total, on(at)); err != nil {
				t.Fatal(err)
			}
			count(flow)
		}
		if l.State == lease.Closing {
			var err error
			if l, flow, err = l.Finish(on(l.EndsAt)); err != nil {
				t.Fatal(err)
			}
			count(flow)
		}
		if l.State != lease.Closed || l.Held() != 0 {
			t.Fatalf("it ends %s with %d in it", l.State, l.Held())
		}
	})
}
