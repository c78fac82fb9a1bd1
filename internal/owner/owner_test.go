package owner

import (
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 16, 12, 0, 0, 0, time.UTC)

// quiet is a machine of four cores on which nobody does anything.
func quiet(after time.Duration) Facts {
	return Facts{At: noon.Add(after), Reports: 7, Busy: time.Hour, Cores: 4, Ours: map[Process]time.Duration{{1, 1}: time.Minute}}
}

const look = 15 * time.Second

func TestWhoTouchesTheMachineUsesItForAWhile(t *testing.T) {
	f := quiet(0)
	f.Touched = noon.Add(-2 * time.Minute)
	w := Watch{}.Look(f)
	for after, want := range map[time.Duration]bool{0: true, 2*time.Minute + 59*time.Second: true, 3 * time.Minute: false} {
		if sign, active := w.Active(noon.Add(after), 5*time.Minute); active != want || active == (sign == "") {
			t.Errorf("%v later: %v %q", after, active, sign)
		}
	}
}

func TestNobodyIsSeenWhereNothingHappens(t *testing.T) {
	w := Watch{}
	for n := range 10 {
		w = w.Look(quiet(time.Duration(n) * look))
	}
	if sign, active := w.Active(noon.Add(9*look), time.Hour); active {
		t.Errorf("by what: %q", sign)
	}
	if _, active := (Watch{}).Active(noon, time.Hour); active {
		t.Error("nothing was looked at")
	}
}

func TestKeyboardsAndMiceThatReportAreInUse(t *testing.T) {
	f := quiet(look)
	f.Reports++
	w := Watch{}.Look(quiet(0)).Look(f)
	if sign, active := w.Active(noon.Add(look), time.Minute); !active {
		t.Errorf("nobody: %q", sign)
	}
}

// A count at the first look says nothing: it may be of last week.
func TestTheFirstLookComparesWithNothing(t *testing.T) {
	f := quiet(0)
	f.Busy = 1000 * time.Hour
	if sign, active := (Watch{}).Look(f).Active(noon, time.Hour); active {
		t.Errorf("by what: %q", sign)
	}
}

func TestATimeInTheFutureIsWrong(t *testing.T) {
	f := quiet(0)
	f.Touched = noon.Add(time.Hour)
	if _, active := (Watch{}).Look(f).Active(noon, time.Minute); active {
		t.Error("a clock that was set back keeps the owner there")
	}
}

func TestWhatOthersProgramsCompute(t *testing.T) {
	me, gone, fresh := Process{1, 1}, Process{2, 1}, Process{2, 9}
	for _, c := range []struct {
		name   string
		all    time.Duration // in each look, of 4 x 15 s
		ours   func(n int) map[Process]time.Duration
		active bool
	}{
		{"a game", 20 * time.Second, nil, true},
		{"a little of everything", 10 * time.Second, nil, false},
		{"all of it is ours", 60 * time.Second, func(n int) map[Process]time.Duration {
			return map[Process]time.Duration{me: time.Duration(n) * time.Minute}
		}, false},
		{"a game beside ours", 60 * time.Second, func(n int) map[Process]time.Duration {
			return map[Process]time.Duration{me: time.Duration(n) * 40 * time.Second}
		}, true},
		{"ours that has ended takes nothing back", 10 * time.Second, func(n int) map[Process]time.Duration {
			if n == 0 {
				return map[Process]time.Duration{gone: 1000 * time.Hour}
			}
			return map[Process]time.Duration{fresh: time.Second}
		}, false},
	} {
		w := Watch{}
		for n := range 4 {
			f := quiet(time.Duration(n) * look)
			f.Busy += time.Duration(n) * c.all
			if c.ours != nil {
				f.Ours = c.ours(n)
			}
			w = w.Look(f)
		}
		if sign, active := w.Active(noon.Add(3*look), time.Minute); active != c.active {
			t.Errorf("%s: %v %q", c.name, active, sign)
		}
	}
}

// Looks right after each other say nothing of a load, and lose nothing of what comes between.
func TestLooksInAHurryAreOne(t *testing.T) {
	w, at, busy := Watch{}, time.Duration(0), time.Duration(0)
	for range 20 {
		f := quiet(at)
		f.Busy += busy
		w = w.Look(f)
		at, busy = at+200*time.Millisecond, busy+800*time.Millisecond // all four cores
	}
	if sign, active := w.Active(noon.Add(at), time.Hour); active {
		t.Errorf("four seconds are enough: %q", sign)
	}
	for range 5 {
		f := quiet(at)
		f.Busy += busy
		w = w.Look(f)
		at, busy = at+look, busy+4*look
	}
	if _, active := w.Active(noon.Add(at), time.Hour); !active {
		t.Error("a minute isn't")
	}
}

// One look with much load is a backup that begins, or a page that opens.
func TestAMomentOfLoadIsNobody(t *testing.T) {
	w := Watch{}
	busy := time.Duration(0)
	for n := range 20 {
		f := quiet(time.Duration(n) * look)
		if n%2 == 1 {
			busy += time.Minute
		}
		f.Busy += busy
		w = w.Look(f)
	}
	if sign, active := w.Active(noon.Add(19*look), time.Hour); active {
		t.Errorf("by what: %q", sign)
	}
}
