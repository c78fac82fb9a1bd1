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
		if got := l.at(at).Limits; got != c.want {
			t.Errorf("%s: %+v, want %+v", c.at, got, c.want)
		}
	}
}

// What isn't said of some hours is as it always is.
func TestAScheduleGovernsWhatIsComputedToo(t *testing.T) {
	l, err := LimitSettings{CPU: "1.5", Memory: "2GiB", Schedule: []string{
		"08:00-12:00 cpu=0.25", "12:00-13:00 compute=pause", "13:00-18:00 up=1MB compute=idle", "20:00-21:00 cpu=none", "22:00-23:00 pause",
	}}.parse()
	if err != nil {
		t.Fatal(err)
	}
	for hour, want := range map[int]allowance{
		7:  {cpu: 1500, memory: 2 << 30, compute: paceGo},
		8:  {cpu: 250, memory: 2 << 30, compute: paceGo},
		12: {cpu: 1500, memory: 2 << 30, compute: pacePause},
		13: {Limits: host.Limits{Up: 1e6}, cpu: 1500, memory: 2 << 30, compute: paceIdle},
		20: {memory: 2 << 30, compute: paceGo},
		22: {Limits: host.Limits{Paused: true}, cpu: 1500, memory: 2 << 30, compute: paceGo},
	} {
		if got := l.at(time.Date(2026, 11, 16, hour, 30, 0, 0, time.UTC)); got != want {
			t.Errorf("%d:30: %+v, want %+v", hour, got, want)
		}
	}
	if !l.watches() {
		t.Error("idle hangs on whether somebody uses the machine")
	}
}

func TestWhatStrangersProgramsMayDo(t *testing.T) {
	open, night, idle, off := allowance{compute: paceGo}, allowance{compute: pacePause}, allowance{compute: paceIdle}, allowance{Limits: host.Limits{Paused: true}, compute: paceGo}
	for _, c := range []struct {
		name   string
		now    allowance
		when   string
		active bool
		want   pace
		word   string
	}{
		{"nobody is there", open, pacePause, false, pace{}, "go"},
		{"somebody is, and doesn't mind", open, paceGo, true, pace{}, "go"},
		{"they give way", open, paceSlow, true, pace{slow: true}, "slow"},
		{"they stand still", open, pacePause, true, pace{closed: true, frozen: true}, "paused"},
		{"hours without anything new: what runs goes on", night, pacePause, false, pace{closed: true}, "closed"},
		{"the same, and somebody is there", night, paceSlow, true, pace{closed: true, slow: true}, "closed and slow"},
		{"only while nobody is there, and somebody is", idle, paceGo, true, pace{closed: true}, "closed"},
		{"only while nobody is there, and nobody is", idle, paceGo, false, pace{}, "go"},
		{"a paused host takes nothing new", off, paceGo, false, pace{closed: true}, "closed"},
	} {
		got := limits{when: c.when}.pace(c.now, c.active)
		if got != c.want || got.word() != c.word {
			t.Errorf("%s: %+v %q", c.name, got, got.word())
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
		{CPU: "many"},
		{CPU: "-1"},
		{CPU: "nan"},
		{CPU: "0.01"},
		{CPU: "1000000"},
		{Memory: "1MiB"},
		{Memory: "much"},
		{WhenActive: "stop"},
		{ActiveFor: "5"},
		{ActiveFor: "1s"},
		{ActiveFor: "25h"},
		{Schedule: []string{"08:00-18:00 cpu=x"}},
		{Schedule: []string{"08:00-18:00 compute=stop"}},
		{Schedule: []string{"08:00-18:00 compute"}},
		{Schedule: []string{"08:00-18:00 memory=1GiB"}},
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
