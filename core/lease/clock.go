package lease

import (
	"math"

	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/quote"
)

// A Clock shows both times that a lease may earn by.
type Clock struct {
	Now    int64 // block time, unix seconds
	Proven int64 // seconds that the lease's host has proven in all
}

// AtMost is what the clocks show at most, for who doesn't know what the host has
// proven: every second since the newest statement was agreed.
func (l Lease) AtMost(now int64) Clock {
	c := Clock{Now: now, Proven: l.Clock0}
	if l.Clock0 != stopped {
		c.Proven += max(0, now-max(l.AsOf, l.OpenedAt))
	}
	return c
}

// stopped is the Clock0 of a lease that earns no more stored time: no proven
// clock comes that far.
const stopped = math.MaxInt64

// Accrued is what time has earned beside the statement's total. Stored bytes
// earn only time that their host has proven; all else earns signed time since AsOf.
func (l Lease) Accrued(c Clock) money.Amount {
	if l.Kind == quote.Storage {
		return l.fold(c).Acc.Amount()
	}
	end := min(c.Now, l.RunsUntil)
	if l.ClosedAt > 0 {
		end = min(end, l.ClosedAt)
	}
	return l.Rate.Over(end - l.AsOf)
}

// fold puts what the rate has earned on the proven clock so far into Acc, so that
// the rate can change.
func (l Lease) fold(c Clock) Lease {
	if l.Kind == quote.Storage && c.Proven > l.Clock0 {
		l.Acc = l.Acc.Add(l.Rate.Times(c.Proven - l.Clock0))
		l.Clock0 = c.Proven
	}
	return l
}

// stop ends earning on the proven clock.
func (l Lease) stop(c Clock) Lease {
	if l.Kind == quote.Storage {
		l = l.fold(c)
		l.Clock0 = stopped
	}
	return l
}

// Weight is the rate by which a lease is drawn when its host must prove what it
// stores: that of stored bytes which still earn.
func (l Lease) Weight() money.Rate {
	if l.Kind != quote.Storage || l.State == Closed || l.Clock0 == stopped {
		return 0
	}
	return l.Rate
}

// SignedPrices are those by which statements as of a time carry rent in their
// total: the unit prices of stored bytes aren't among them, whose rent is proven
// and not signed.
func (l Lease) SignedPrices(asOf int64) quote.Prices {
	p := l.PricesAt(asOf)
	if l.Kind == quote.Storage {
		p.Unit = [quote.Dims]uint64{}
	}
	return p
}

// Earned is all that the host has earned by now. It never falls below what was
// paid out and never passes what the lease holds.
func (l Lease) Earned(c Clock) money.Amount {
	return max(l.Out, min(money.AddCap(l.Total, l.Accrued(c)), l.Funded()))
}

// Free is what is neither earned nor refunded.
func (l Lease) Free(c Clock) money.Amount { return money.SubFloor(l.Funded(), l.Earned(c)) }

// Lose takes note that the host of a storage lease has lost what is stored: it
// earns no more until the next statement. was is the rate it had, for the loss to its client.
func (l Lease) Lose(c Clock, p Params) (after Lease, was money.Rate, err error) {
	switch {
	case l.Kind != quote.Storage:
		return l, 0, fault.New(fault.BadRequest, "lose lease %d: it stores nothing, it is for %s", l.ID, l.Kind)
	case l.State == Closed:
		return l, 0, fault.New(fault.LeaseClosed, "lose lease %d: it is closed", l.ID)
	case l.Rate == 0:
		return l, 0, fault.New(fault.BadRequest, "lose lease %d: nothing in it earns", l.ID)
	}
	was = l.Rate
	l = l.fold(c)
	l.Rate = 0
	return l.rate(c, p), was, nil
}
