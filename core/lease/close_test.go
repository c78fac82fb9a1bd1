package lease_test

import (
	"testing"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/quote"
)

func closed(t *testing.T, l lease.Lease, by lease.Side, at int64) lease.Lease {
	t.Helper()
	after, err := l.Close(by, on(at), params)
	if err != nil {
		t.Fatal(err)
	}
	return after
}

func TestWhoMayEndALeaseAndWhen(t *testing.T) {
	l := running(t, 100_000, 7*day)
	noticed := closed(t, l, lease.ByHost, now)
	ended := closed(t, l, lease.ByClient, now)
	gone, _, err := ended.Finish(on(ended.EndsAt))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		l      lease.Lease
		by     lease.Side
		at     int64
		want   fault.Code
		closed int64 // when earning stops
		ends   int64
	}{
		{"its client, any time", l, lease.ByClient, now + 5, "", now + 5, now + 5 + day},
		{"its host, with notice", l, lease.ByHost, now + 5, "", now + 5 + day, now + 5 + day},
		{"its client, not a second time", ended, lease.ByClient, now + 5, fault.LeaseClosed, now, now + day},
		{"its host, after the client", ended, lease.ByHost, now + 5, fault.LeaseClosed, now, now + day},
		{"its host, not a second time", noticed, lease.ByHost, now + 5, fault.LeaseClosed, now + day, now + day},
		{"its client during a short notice gains nothing", noticed, lease.ByClient, now + 5, fault.LeaseClosed, now + day, now + day},
		{"nobody once it is closed", gone, lease.ByClient, now + 2*day, fault.LeaseClosed, now, now + day},
	} {
		after, err := tt.l.Close(tt.by, on(tt.at), params)
		if got := fault.CodeOf(err); got != tt.want || after.ClosedAt != tt.closed || after.EndsAt != tt.ends {
			t.Errorf("%s: %q, earns until %d, ends %d", tt.name, got, after.ClosedAt-now, after.EndsAt-now)
		}
	}
}

func TestAClientCutsALongNoticeShort(t *testing.T) {
	l := post(t, opened(quote.Storage, 10_000_000), said(1, 0, gib(1), now+7*day), now)
	l = closed(t, l, lease.ByHost, now)
	if l.ClosedAt != now+14*day {
		t.Fatalf("notice of %d s", l.ClosedAt-now)
	}
	l = closed(t, l, lease.ByClient, now+hour)
	if l.Earned(on(now+7*day)) != hour || l.EndsAt != now+hour+day {
		t.Errorf("earned %d, ends after %d s", l.Earned(on(now+7*day)), l.EndsAt-now)
	}
}

func TestAHostUnderNoticeStillEarns(t *testing.T) {
	l := closed(t, running(t, 1_000_000, 7*day), lease.ByHost, now)
	if l.Earned(on(now+day)) != day || l.Earned(on(now+2*day)) != day {
		t.Errorf("a day of notice earned %d, two %d", l.Earned(on(now+day)), l.Earned(on(now+2*day)))
	}
}

func TestFinishingGivesTheRestBackOnce(t *testing.T) {
	l := closed(t, running(t, 100_000, 7*day), lease.ByClient, now+hour)
	if _, f, err := l.Finish(on(l.EndsAt - 1)); fault.CodeOf(err) != fault.BadRequest || f != (lease.Flow{}) {
		t.Errorf("a second early: %+v, %v", f, err)
	}
	done, f, err := l.Finish(on(l.EndsAt))
	want := lease.Flow{ToHost: hour - hour/10, Commission: hour / 10, ToPurse: 100_000 - hour}
	if err != nil || f != want || done.State != lease.Closed || done.Held() != 0 {
		t.Errorf("%+v, %v, %s, %d held", f, err, done.State, done.Held())
	}
	whole(t, done)
	if _, f, err := done.Finish(on(l.EndsAt + 1)); err == nil || f != (lease.Flow{}) {
		t.Errorf("a second time: %+v", f)
	}
	if after, f := done.Settle(on(now+365*day), 1_000_000, params); f != (lease.Flow{}) || after != done {
		t.Errorf("settling a closed lease moved %+v", f)
	}
	if !done.Ended() || l.Ended() {
		t.Error("only a closed lease has ended")
	}
}

func TestAnAgreedEnd(t *testing.T) {
	base := post(t, opened(quote.Relay, 100_000), said(1, 1_000, gib(1), now+7*day), now)
	paid, _ := base.Settle(on(now+500), 0, params)
	for _, tt := range []struct {
		name  string
		l     lease.Lease
		total money.Amount
		want  fault.Code
		flow  lease.Flow
	}{
		{"before anything was said: all goes back", opened(quote.Relay, 10_000), 0, "", lease.Flow{ToPurse: 10_000}},
		{"at the posted total", base, 1_000, "", lease.Flow{ToHost: 900, Commission: 100, ToPurse: 99_000}},
		{"at more", base, 5_000, "", lease.Flow{ToHost: 4_500, Commission: 500, ToPurse: 95_000}},
		{"at more than there is", base, money.Max, "", lease.Flow{ToHost: 90_000, Commission: 10_000}},
		{"at less than was posted", base, 999, fault.BadStatement, lease.Flow{}},
		{"at less than was paid: that stays paid", paid, 1_200, "", lease.Flow{ToPurse: 98_500}},
		{"while closing", closed(t, base, lease.ByClient, now), 1_000, "", lease.Flow{ToHost: 900, Commission: 100, ToPurse: 99_000}},
	} {
		after, f, err := tt.l.CloseAgreed(tt.total, on(now+500))
		if got := fault.CodeOf(err); got != tt.want || f != tt.flow {
			t.Errorf("%s: %q, %+v", tt.name, got, f)
		}
		if err == nil && (after.State != lease.Closed || after.Held() != 0 || after.ClosedAt != now+500) {
			t.Errorf("%s: %+v", tt.name, after)
		}
		whole(t, after)
	}
	done, _, err := base.CloseAgreed(1_000, on(now))
	if err != nil {
		t.Fatal(err)
	}
	if _, f, err := done.CloseAgreed(2_000, on(now)); fault.CodeOf(err) != fault.LeaseClosed || f != (lease.Flow{}) {
		t.Errorf("a second time: %+v, %v", f, err)
	}
}

func TestWhenAClosedLeaseIsForgotten(t *testing.T) {
	l := closed(t, running(t, 100_000, hour), lease.ByClient, now)
	if l.Prunable(now+365*day, params) {
		t.Error("a lease that is still closing")
	}
	done, _, err := l.Finish(on(now + 2*day))
	if err != nil {
		t.Fatal(err)
	}
	if done.Prunable(now+9*day-1, params) || !done.Prunable(now+9*day, params) {
		t.Error("seven days after its end, not before")
	}
}
