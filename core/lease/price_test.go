package lease_test

import (
	"testing"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/quote"
)

// dear asks ten times as much.
var dear = quote.Prices{Unit: [quote.Dims]uint64{10 * uint64(money.RateUnit)}}

func reprice(t *testing.T, l lease.Lease, p quote.Prices, at int64) lease.Lease {
	t.Helper()
	after, err := l.Reprice(p, at+90*day, at)
	if err != nil {
		t.Fatal(err)
	}
	return after
}

// A host can't keep an old statement back and have it priced by a new quote,
// nor a client.
func TestNewPricesNeverReachBack(t *testing.T) {
	s := said(1, 0, gib(1), now+2*hour)
	l := opened(quote.Relay, 1_000_000)
	first := post(t, l, s, now)
	for name, l := range map[string]lease.Lease{
		"posted, then repriced": reprice(t, first, dear, now+hour),
		"repriced, then posted": post(t, reprice(t, l, dear, now+hour), s, now+hour),
	} {
		if got := l.Earned(on(now + 2*hour)); got != 2*hour {
			t.Errorf("%s: two hours came to %d", name, got)
		}
		next := said(2, hour, gib(1), now+3*hour)
		next.AsOf = now + hour
		if l = post(t, l, next, now+hour); l.Earned(on(now+2*hour)) != 11*hour {
			t.Errorf("%s: an hour at each price came to %d", name, l.Earned(on(now+2*hour)))
		}
	}
}

func TestOneChangeOfPricesAtATime(t *testing.T) {
	l := reprice(t, running(t, 1_000_000, day), dear, now+hour)
	cheap := quote.Prices{}
	if _, err := l.Reprice(cheap, now+day, now+2*hour); fault.CodeOf(err) != fault.BadRequest {
		t.Errorf("a third price before a statement under the second: %v", err)
	}
	if same, err := l.Reprice(dear, now+200*day, now+2*hour); err != nil || same.Until != now+200*day || same.PricedAt != l.PricedAt {
		t.Errorf("the same prices for longer: %v", err)
	}
	taken := said(2, hour, gib(1), now+day)
	taken.AsOf = now + hour
	l = reprice(t, post(t, l, taken, now+2*hour), cheap, now+2*hour)
	if l.PricesAt(now+2*hour-1) != dear || l.PricesAt(now+2*hour) != cheap {
		t.Error("the second price doesn't hold up to the third")
	}
}

func TestARepricedLeaseEarnsNothingByIt(t *testing.T) {
	l := opened(quote.Relay, 10_000)
	if got := reprice(t, l, dear, now).Earned(on(now + 365*day)); got != 0 {
		t.Errorf("a quote alone earned %d", got)
	}
}

func TestAnEndingLeaseTakesNoPrices(t *testing.T) {
	l, err := running(t, 100_000, hour).Close(lease.ByHost, on(now), params)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Reprice(dear, now+day, now); fault.CodeOf(err) != fault.LeaseClosed {
		t.Errorf("closing: %v", err)
	}
}
