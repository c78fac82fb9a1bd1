package market

import (
	"testing"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"
	"hearth/market/markettest"
)

func TestWhatALeaseCanTake(t *testing.T) {
	const now = 1_000_000
	open := lease.Lease{ID: 1, Kind: quote.Compute, Prices: prices, In: 100_000, State: lease.Open}
	prev := statement.Statement{Lease: 1, Seq: 1, Total: 10, Units: quote.Units{10 * mib}, AsOf: now - 100, RunsUntil: now + 500}
	for _, tt := range []struct {
		name   string
		lease  func(l *lease.Lease)
		change func(s *statement.Statement)
		code   fault.Code
	}{
		{name: "traffic", change: func(s *statement.Statement) { s.Total = 90_000 }},
		{name: "traffic that leaves the run time unpaid", change: func(s *statement.Statement) { s.Total = 99_001 }, code: fault.NoFunds},
		{name: "a week ahead", change: func(s *statement.Statement) { s.RunsUntil = now + 7*86400 }},
		{name: "more than a week ahead", change: func(s *statement.Statement) { s.RunsUntil = now + 7*86400 + 1 }, code: fault.BadStatement},
		{name: "more data", change: func(s *statement.Statement) { s.AsOf = now; s.Total += 1000; s.Units[0]++ }},
		{name: "more data that eats the reserve", change: func(s *statement.Statement) { s.AsOf = now; s.Total += 1000; s.Units[0] = 2000 * mib }, code: fault.LeaseLow},
		{name: "more data without run time", lease: func(*lease.Lease) {}, change: func(s *statement.Statement) { s.AsOf = now; s.Total += 1000; s.Units[0]++; s.RunsUntil = now + 100 }, code: fault.BadStatement},
		{name: "more stored bytes without run time", lease: func(l *lease.Lease) { l.Kind = quote.Storage }, change: func(s *statement.Statement) { s.AsOf = now; s.Units[0]++; s.RunsUntil = 0 }},
		{name: "stored bytes whose proven rent takes the rest", lease: func(l *lease.Lease) { l.Kind, l.Acc = quote.Storage, money.Rate(money.RateUnit).Times(99_000) }, change: func(s *statement.Statement) { s.Total = 1001 }, code: fault.NoFunds},
		{name: "less data without run time", change: func(s *statement.Statement) { s.AsOf = now; s.Total += 1000; s.Units[0]--; s.RunsUntil = now }},
		{name: "anything once it is closed", lease: func(l *lease.Lease) { l.State = lease.Closed }, code: fault.LeaseClosed},
		{name: "anything once its client has closed", lease: func(l *lease.Lease) { l.State, l.ClosedAt = lease.Closing, now }, code: fault.LeaseClosed},
		{name: "traffic while a notice runs", lease: func(l *lease.Lease) { l.State, l.ClosedAt = lease.Closing, now+50 }},
		{name: "more data while a notice runs", lease: func(l *lease.Lease) { l.State, l.ClosedAt = lease.Closing, now+50 }, change: func(s *statement.Statement) { s.AsOf = now; s.Total += 1000; s.Units[0]++ }, code: fault.LeaseClosed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, before, next := open, prev, prev
			if tt.lease != nil {
				tt.lease(&l)
			}
			next.Seq++
			if tt.change != nil {
				tt.change(&next)
			}
			before.RunsUntil = min(before.RunsUntil, next.RunsUntil)
			refused(t, follows(l, before, next, now, markettest.Rules()), tt.code)
		})
	}
}

func TestOlderRecordsAreKnown(t *testing.T) {
	base := lease.Lease{In: 5, Out: 5, Refunded: 5, Seq: 5, PricedAt: 5, State: lease.Closing}
	if behind(base, base) {
		t.Error("a record is not behind itself")
	}
	for i, f := range []func(l *lease.Lease){
		func(l *lease.Lease) { l.In-- }, func(l *lease.Lease) { l.Out-- }, func(l *lease.Lease) { l.Refunded-- },
		func(l *lease.Lease) { l.Seq-- }, func(l *lease.Lease) { l.PricedAt-- }, func(l *lease.Lease) { l.State = lease.Open },
	} {
		older := base
		f(&older)
		if !behind(older, base) || behind(base, older) {
			t.Error(i)
		}
	}
	low, open := lease.Lease{State: lease.Low}, lease.Lease{State: lease.Open}
	if behind(low, open) || behind(open, low) {
		t.Error("open and low come and go")
	}
}

func TestTheWindowIsBounded(t *testing.T) {
	for exchanged, want := range map[uint64]uint64{0: firstWindow, 1: firstWindow, 300 << 10: 300 << 10, 5 << 20: 5 << 20, 1 << 50: lastWindow} {
		if got := window(exchanged); got != want {
			t.Errorf("after %d bytes %d are paid ahead, not %d", exchanged, got, want)
		}
	}
}

func TestTheWindowOfGasIsBounded(t *testing.T) {
	for used, want := range map[uint64]uint64{0: firstGas, 1: firstGas, 3 * firstGas: 3 * firstGas, 1 << 60: lastGas} {
		if got := gasWindow(used); got != want {
			t.Errorf("after %d gas %d are paid ahead, not %d", used, got, want)
		}
	}
}

func TestAHostsCountIsBelievedWithinReason(t *testing.T) {
	before, asked := quote.Use{In: 1 << 40, Gas: 1 << 50}, quote.Use{In: 7 * mib, Out: 3 * mib, Gas: lastGas}
	believes := func(c count, host quote.Use, ours bool) bool { return c.believes(host, host, ours) }
	var c count
	if !c.believes(before, before, true) {
		t.Error("what was before is not known here")
	}
	c.most = c.most.Plus(asked)
	for _, tt := range []struct {
		name string
		more quote.Use
		ours bool
		want bool
	}{
		{"what was asked for", asked, true, true},
		{"two windows of traffic more", asked.Plus(quote.Use{Out: mostUnasked}), true, true},
		{"a byte more than that", asked.Plus(quote.Use{Out: mostUnasked + 1}), true, false},
		{"two windows of gas more", asked.Plus(quote.Use{Gas: mostUnaskedGas}), true, true},
		{"a unit of gas more than that", asked.Plus(quote.Use{Gas: mostUnaskedGas + 1}), true, false},
		{"what another device may have used", quote.Use{In: 1 << 50, Gas: 1 << 60}, false, true},
	} {
		if got := believes(c, before.Plus(tt.more), tt.ours); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
