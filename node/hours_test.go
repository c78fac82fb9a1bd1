package node

import (
	"testing"
	"time"

	"hearth/storage/host"
)

func TestTheFirstLineOfTheScheduleThatFitsCounts(t *testing.T) {
	l, err := LimitSettings{Up: "2MB", Down: "none", Schedule: []string{
		"mon-fri 08:00-18:00 up=512KB down=8Mbit", "sat,sun 09:00-21:30 pause", "22:00-06:00 up=none",
	}}.parse()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at   string // 2026-11-16 is a Monday
		want host.Limits
	}{
		{"2026-11-16 07:59", host.Limits{Up: 2e6}},
		{"2026-11-16 08:00", host.Limits{Up: 512e3, Down: 1e6}},
		{"2026-11-20 17:59", host.Limits{Up: 512e3, Down: 1e6}},
		{"2026-11-20 18:00", host.Limits{Up: 2e6}},
		{"2026-11-20 22:00", host.Limits{}},
		{"2026-11-21 05:59", host.Limits{}},
		{"2026-11-21 06:00", host.Limits{Up: 2e6}},
		{"2026-11-21 12:00", host.Limits{Up: 2e6, Paused: true}},
		{"2026-11-22 21:29", host.Limits{Up: 2e6, Paused: true}},
		{"2026-11-22 21:30", host.Limits{Up: 2e6}},
	} {
		at, err := time.Parse("2006-01-02 15:04", c.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.at(at); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.at, got, c.want)
		}
	}
}

// Hours that end on the next day belong to the day on which they begin.
func TestHoursPastMidnightBelongToTheDayTheyBeginOn(t *testing.T) {
	h, err := parseHours("fri 22:00-06:00 pause")
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]bool{
		"2026-11-19 23:00": false, "2026-11-20 05:00": false, "2026-11-20 23:00": true, "2026-11-21 05:00": true, "2026-11-21 23:00": false,
	} {
		when, err := time.Parse("2006-01-02 15:04", at)
		if err != nil {
			t.Fatal(err)
		}
		if h.hold(when) != want {
			t.Errorf("%s: %v", at, !want)
		}
	}
}

func TestDaysMayGoRoundTheWeek(t *testing.T) {
	days, err := parseDays("sat-mon")
	if want := [7]bool{0: true, 1: true, 6: true}; err != nil || days != want {
		t.Errorf("%v, %v", days, err)
	}
}

func TestWhatIsNoLimitIsRefused(t *testing.T) {
	for _, s := range []LimitSettings{
		{Up: "fast"},
		{Down: "10KB"},
		{Up: "100kbit"},
		{Schedule: []string{"08:00-18:00"}},
		{Schedule: []string{"8-18 pause"}},
		{Schedule: []string{"someday 08:00-18:00 pause"}},
		{Schedule: []string{"08:00-25:00 pause"}},
		{Schedule: []string{"08:00-18:00 slow"}},
		{Schedule: []string{""}},
		{Schedule: []string{"08:00-18:00 up=1"}},
		{Schedule: []string{"08:0-18:00 pause"}},
	} {
		if _, err := s.parse(); err == nil {
			t.Errorf("%+v passes", s)
		}
	}
}

func FuzzParseHours(f *testing.F) {
	f.Add("mon-fri 08:00-18:00 up=1MB down=4MB")
	f.Add("22:00-06:00 pause")
	f.Fuzz(func(t *testing.T, line string) {
		h, err := parseHours(line)
		if err == nil && (h.from < 0 || h.from > 1440 || h.to < 0 || h.to > 1440 || h.days == [7]bool{}) {
			t.Errorf("%q gives %+v", line, h)
		}
	})
}
