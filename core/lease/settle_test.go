package lease_test

import (
	"testing"

	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/quote"

	"pgregory.net/rapid"
)

func TestTheRemainderFavoursTheHost(t *testing.T) {
	for _, tt := range []struct {
		total, host, commission money.Amount
	}{
		{0, 0, 0}, {1, 1, 0}, {9, 9, 0}, {10, 9, 1}, {19, 18, 1}, {20, 18, 2}, {10_000, 9_000, 1_000},
	} {
		l := post(t, opened(quote.Relay, 10_000), said(1, tt.total, quote.Units{}, 0), now)
		l, f := l.Settle(on(now), 0, params)
		if f != (lease.Flow{ToHost: tt.host, Commission: tt.commission}) || l.Commission != tt.commission {
			t.Errorf("of %d: %+v", tt.total, f)
		}
	}
}

// Cutting a payout in pieces changes nobody's share.
func TestSettlingOftenPaysWhatSettlingOncePays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := opened(quote.Relay, money.Amount(rapid.Uint64Range(10_000, 200_000).Draw(t, "in")))
		l.Prices.Unit[0] = rapid.Uint64Range(0, 1<<42).Draw(t, "price")
		total := money.Amount(rapid.Uint64Range(0, 150_000).Draw(t, "total"))
		l, err := l.Post(said(1, total, gib(rapid.Uint64Range(0, 3).Draw(t, "GiB")), now+2*day), on(now), params)
		if err != nil {
			t.Fatal(err)
		}
		end := now + rapid.Int64Range(0, 3*day).Draw(t, "end")
		once, flow := l.Settle(on(end), 0, params)

		var sum lease.Flow
		often, at := l, int64(now)
		for range rapid.IntRange(0, 20).Draw(t, "times") {
			at = min(end, at+rapid.Int64Range(0, day/4).Draw(t, "later"))
			var f lease.Flow
			often, f = often.Settle(on(at), 0, params)
			sum.ToHost, sum.Commission = sum.ToHost+f.ToHost, sum.Commission+f.Commission
			whole(t, often)
		}
		often, f := often.Settle(on(end), 0, params)
		sum.ToHost, sum.Commission = sum.ToHost+f.ToHost, sum.Commission+f.Commission
		// An empty lease closes when it is found empty: earning ended there all the same.
		if sum != flow || often.Out != once.Out || often.Commission != once.Commission {
			t.Fatalf("once %+v, often %+v", flow, sum)
		}
		whole(t, once)
		if again, f := once.Settle(on(end), 0, params); f != (lease.Flow{}) || again.Out != once.Out {
			t.Fatalf("settled twice at once it paid %+v more", f)
		}
	})
}

func TestRefills(t *testing.T) {
	for _, tt := range []struct {
		name          string
		in            money.Amount
		seconds       int64 // that one GiB has run
		purse         money.Amount
		refill, after money.Amount // after: what is free then
		state         lease.State
	}{
		{"enough in it", 2 * day, hour, 1_000_000, 0, 2*day - hour, lease.Open},
		{"exactly its reserve", day + hour, hour, 1_000_000, 0, day, lease.Open},
		{"a uember below: up to twice the reserve", day + hour - 1, hour, 1_000_000, day + 1, 2 * day, lease.Open},
		{"as far as the purse goes", day, hour, 7, 7, day - hour + 7, lease.Low},
		{"an empty purse", day, hour, 0, 0, day - hour, lease.Low},
		{"what is owed above all it held is made good", 10_000, 20_000, 1_000_000, 10_000 + 2*day, 2 * day, lease.Open},
		{"empty, as the purse", 10_000, 20_000, 0, 0, 0, lease.Closing},
	} {
		l := running(t, tt.in, 7*day)
		after, f := l.Settle(on(now+tt.seconds), tt.purse, params)
		if f.FromPurse != tt.refill || after.Free(on(now+tt.seconds)) != tt.after || after.State != tt.state {
			t.Errorf("%s: took %d, %d are free, it is %s", tt.name, f.FromPurse, after.Free(on(now+tt.seconds)), after.State)
		}
		whole(t, after)
	}
}

func TestASmallLeaseKeepsHalfTheLeastDeposit(t *testing.T) {
	l := post(t, opened(quote.Relay, 10_000), said(1, 5_001, quote.Units{}, 0), now)
	if _, f := l.Settle(on(now), 1_000_000, params); f.FromPurse != 5_001 {
		t.Errorf("took %d", f.FromPurse)
	}
}

func TestAnEndingLeaseTakesNothingFromThePurse(t *testing.T) {
	l := running(t, 10_000, day)
	l, err := l.Close(lease.ByHost, on(now), params)
	if err != nil {
		t.Fatal(err)
	}
	if _, f := l.Settle(on(now+9_999), 1_000_000, params); f.FromPurse != 0 || f.ToHost+f.Commission != 9_999 {
		t.Errorf("moved %+v", f)
	}
}
