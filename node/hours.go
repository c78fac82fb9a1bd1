package node

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"hearth/storage/host"
)

// LimitSettings say how much of the line a host may use. Rates are bytes a second
// like `2MB`, or bits like `16Mbit`; empty or `none`: no limit.
type LimitSettings struct {
	Up       string   `toml:"up"`
	Down     string   `toml:"down"`
	Schedule []string `toml:"schedule"` // hours in which something else holds; the first that fits counts
	Paused   bool     `toml:"paused"`   // no new data, until resumed
}

// limits are LimitSettings as the program uses them.
type limits struct {
	always host.Limits
	hours  []hours
}

// hours are one line of a schedule: on some days from one time of day to another,
// past midnight if that is earlier, in the machine's own time.
type hours struct {
	days     [7]bool // by time.Weekday, on which they begin
	from, to int     // minutes of the day
	up, down *int64  // nil: as always
	pause    bool
}

// leastRate is what a host needs to be of use: a block takes four seconds then.
const leastRate = 64 << 10

func (s LimitSettings) parse() (l limits, err error) {
	l.always.Paused = s.Paused
	if l.always.Up, err = ParseRate(s.Up); err != nil {
		return l, fmt.Errorf("up: %w", err)
	}
	if l.always.Down, err = ParseRate(s.Down); err != nil {
		return l, fmt.Errorf("down: %w", err)
	}
	for _, line := range s.Schedule {
		h, err := parseHours(line)
		if err != nil {
			return l, fmt.Errorf("schedule %q: %w", line, err)
		}
		l.hours = append(l.hours, h)
	}
	return l, nil
}

// at is what holds at a moment.
func (l limits) at(t time.Time) host.Limits {
	now := l.always
	for _, h := range l.hours {
		if !h.hold(t) {
			continue
		}
		if h.up != nil {
			now.Up = *h.up
		}
		if h.down != nil {
			now.Down = *h.down
		}
		now.Paused = now.Paused || h.pause
		break
	}
	return now
}

func (h hours) hold(t time.Time) bool {
	minute, today := t.Hour()*60+t.Minute(), t.Weekday()
	yesterday := (today + 6) % 7
	if h.from < h.to {
		return h.days[today] && minute >= h.from && minute < h.to
	}
	return h.days[today] && minute >= h.from || h.days[yesterday] && minute < h.to
}

// ParseRate reads a rate: `2MB`, `500KiB/s`, `16Mbit`; empty or `none` is 0, no limit.
func ParseRate(s string) (int64, error) {
	text := strings.ToLower(strings.ReplaceAll(strings.TrimSpace(s), " ", ""))
	if text == "" || text == "none" || text == "0" {
		return 0, nil
	}
	text = strings.TrimSuffix(text, "/s")
	divide := uint64(1)
	if bits, ok := strings.CutSuffix(text, "bit"); ok {
		text, divide = bits+"b", 8
	}
	n, err := ParseSize(text)
	if err != nil {
		return 0, fmt.Errorf("rate %q: write it like 2MB or 16Mbit, per second, or none", s)
	}
	if n/divide < leastRate {
		return 0, fmt.Errorf("rate %q: a host needs at least 64 KiB/s; to take no new data, pause it", s)
	}
	return int64(n / divide), nil
}

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// parseHours reads `[DAYS] HH:MM-HH:MM [up=RATE] [down=RATE] [pause]`; days are like
// `mon-fri` or `sat,sun`.
func parseHours(line string) (h hours, err error) {
	words := strings.Fields(strings.ToLower(line))
	if len(words) > 0 && !strings.Contains(words[0], ":") {
		if h.days, err = parseDays(words[0]); err != nil {
			return h, err
		}
		words = words[1:]
	} else {
		h.days = [7]bool{true, true, true, true, true, true, true}
	}
	if len(words) < 2 {
		return h, fmt.Errorf("it has the form `[mon-fri] 08:00-18:00 up=1MB down=4MB`, or `22:00-06:00 pause`")
	}
	from, to, ok := strings.Cut(words[0], "-")
	if !ok {
		return h, fmt.Errorf("%q isn't a time like 08:00-18:00", words[0])
	}
	if h.from, err = minutes(from); err != nil {
		return h, err
	}
	if h.to, err = minutes(to); err != nil {
		return h, err
	}
	for _, word := range words[1:] {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "pause":
			h.pause = true
			continue
		case "up", "down":
		default:
			return h, fmt.Errorf("%q is neither up=, down= nor pause", word)
		}
		bytes, err := ParseRate(value)
		if err != nil {
			return h, err
		}
		if name == "up" {
			h.up = &bytes
		} else {
			h.down = &bytes
		}
	}
	return h, nil
}

// minutes reads a time of day; 24:00 is its end.
func minutes(s string) (int, error) {
	hour, minute, ok := strings.Cut(s, ":")
	h, herr := strconv.Atoi(hour)
	m, merr := strconv.Atoi(minute)
	if !ok || herr != nil || merr != nil || len(minute) != 2 || h < 0 || m < 0 || m > 59 || h*60+m > 24*60 {
		return 0, fmt.Errorf("%q isn't a time of day like 08:00", s)
	}
	return h*60 + m, nil
}

func parseDays(s string) (days [7]bool, err error) {
	number := func(name string) (int, error) {
		for i, d := range dayNames {
			if d == name {
				return i, nil
			}
		}
		return 0, fmt.Errorf("%q isn't a day: they are mon tue wed thu fri sat sun", name)
	}
	if s == "daily" {
		return [7]bool{true, true, true, true, true, true, true}, nil
	}
	for _, part := range strings.Split(s, ",") {
		first, last, ok := strings.Cut(part, "-")
		if !ok {
			last = first
		}
		a, err := number(first)
		if err != nil {
			return days, err
		}
		b, err := number(last)
		if err != nil {
			return days, err
		}
		for days[b] = true; a != b; a = (a + 1) % 7 {
			days[a] = true
		}
	}
	return days, nil
}
