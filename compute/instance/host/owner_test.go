package host

import (
	"testing"
	"time"

	"hearth/core/fault"
	"hearth/core/instance"
	"hearth/core/quote"
)

func TestWhatStoodStillWhilePaidIsOwed(t *testing.T) {
	noon := time.Date(2026, 11, 16, 12, 0, 0, 0, time.UTC)
	type step struct {
		after                time.Duration
		still, earns, lapsed bool
		owed                 time.Duration
	}
	for name, steps := range map[string][]step{
		"nothing happens": {{0, false, true, false, 0}, {time.Hour, false, true, false, 0}},
		"signed time that stands still, and runs on": {
			{0, true, true, false, 0},
			{time.Minute, true, true, false, time.Minute},
			{time.Hour, false, true, false, time.Hour + time.Minute},
			{time.Hour, false, true, false, time.Hour + time.Minute}, // it is signed: not given back yet
		},
		"what isn't signed isn't owed": {{0, true, false, true, 0}, {time.Hour, true, false, true, 0}, {time.Hour, false, false, true, 0}},
		"what runs unpaid is given back, and no more": {
			{0, true, true, false, 0},
			{90 * time.Second, false, true, false, 90 * time.Second},
			{time.Minute, false, false, true, 30 * time.Second},
			{time.Minute, false, false, true, 0},
		},
		"a machine that slept hasn't run": {
			{0, true, true, false, 0},
			{time.Hour, false, true, false, time.Hour},
			{24 * time.Hour, false, false, true, 59 * time.Minute},
		},
		"a lease without money has nothing given back": {
			{0, true, true, false, 0},
			{time.Hour, false, true, false, time.Hour},
			{time.Minute, false, false, false, time.Hour},
		},
		"a clock that goes back": {{0, true, true, false, 0}, {-time.Hour, true, true, false, 0}, {time.Minute, true, true, false, time.Minute}},
	} {
		d, now := debt{}, noon
		for i, s := range steps {
			now = now.Add(s.after)
			if d = d.at(now, s.still, s.earns, s.lapsed); d.owed != s.owed {
				t.Errorf("%s, step %d: %v is owed, want %v", name, i, d.owed, s.owed)
			}
		}
	}
}

// What is owed is owed after a crash too, give or take a minute, to the client's good.
func TestADebtOutlivesTheNode(t *testing.T) {
	s := newShelf(t)
	what := spec(1000, 64<<20)
	r, err := s.add(7, 1, what)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.commit(7, r.Root()); err != nil {
		t.Fatal(err)
	}
	count := func(after time.Duration, still, earns bool) time.Duration {
		t.Helper()
		s.at = s.at.Add(after)
		owed, err := s.count(7, still, earns, !earns)
		if err != nil {
			t.Fatal(err)
		}
		return owed
	}
	count(0, true, true)
	for range 100 {
		count(5*time.Second, true, true)
	}
	s.open()
	if owed := count(time.Second, true, true); owed != 501*time.Second {
		t.Errorf("%v is owed after a crash", owed)
	}
	if owed := count(time.Hour, false, true); owed != time.Hour+501*time.Second {
		t.Errorf("%v is owed when it runs again", owed)
	}
	s.open()
	if owed := count(time.Hour, false, true); owed != time.Hour+501*time.Second {
		t.Errorf("%v is owed after another", owed)
	}
	for range 30 {
		count(time.Minute, false, false)
	}
	left := s.owes(7)
	s.open()
	if owed := s.owes(7); left <= 0 || owed < left || owed > left+2*time.Minute {
		t.Errorf("%v is owed, %v before the crash", owed, left)
	}
	if err := s.drop(7); err != nil {
		t.Fatal(err)
	}
	if owed := s.owes(7); owed != 0 {
		t.Errorf("%v is owed to a lease that ended", owed)
	}
	if _, err := s.count(8, true, true, false); err != nil || s.owes(8) != 0 {
		t.Errorf("a lease without anything: %v", err)
	}
}

// Less than is reserved takes nothing from anybody, and gives nobody more.
func TestWhoAllowsLessTakesNothingAway(t *testing.T) {
	s := newShelf(t)
	r, err := s.add(7, 1, spec(1500, 512<<20))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.commit(7, r.Root()); err != nil {
		t.Fatal(err)
	}
	less := quote.Units{quote.GiB, 128 << 20, 8 << 30}
	if left := s.free(less); left[0] != 0 || left[1] != 0 {
		t.Errorf("%v are left", left)
	}
	another := spec(1, 16<<20)
	_, err = s.stage(8, less, func(r instance.Roster) (instance.Roster, *instance.Spec, error) {
		return r.With(instance.Entry{ID: instance.ID{2}, Spec: another.Digest(), Units: another.Units()}), &another, nil
	})
	if fault.CodeOf(err) != fault.HostFull || s.roster(7).Root() != r.Root() {
		t.Errorf("more was given, or what is signed was taken: %v", err)
	}
	_, err = s.stage(7, less, func(r instance.Roster) (instance.Roster, *instance.Spec, error) {
		return r.Without(instance.ID{1}), nil, nil
	})
	if err != nil {
		t.Errorf("to reserve less: %v", err)
	}
}
