package node

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"hearth/core/instance"
	"hearth/internal/size"
	"hearth/storage/host"
)

// LimitSettings say how much of the line and of the machine a host may use. Rates are
// bytes a second like `2MB`, or bits like `16Mbit`; empty or `none`: no limit.
type LimitSettings struct {
	Up         string   `toml:"up"`
	Down       string   `toml:"down"`
	CPU        string   `toml:"cpu"`         // cores that strangers' programs share; empty or none: all there are
	Memory     string   `toml:"memory"`      // that they may have in all; empty or none: as under instances
	WhenActive string   `toml:"when_active"` // what becomes of them while somebody uses the machine: go, slow, pause; empty: go
	ActiveFor  string   `toml:"active_for"`  // how long somebody counts as there after the last key; empty: 5m
	Schedule   []string `toml:"schedule"`    // hours in which something else holds; the first that fits counts
	Paused     bool     `toml:"paused"`      // no new data, calls and instances, until resumed
}

// limits are LimitSettings as the program uses them.
type limits struct {
	always    allowance
	hours     []hours
	when      string // go, slow, pause
	activeFor time.Duration
}

// allowance is what the owner allows at one moment.
type allowance struct {
	host.Limits
	cpu     uint64 // thousandths of a core that strangers' programs share; 0: all
	memory  uint64 // bytes that they may have in all; 0: what the settings of instances say
	compute string // whether new ones are taken: go, idle (while nobody uses the machine), pause
}

// Words for what strangers' programs may do.
const (
	paceGo    = "go"
	paceSlow  = "slow"  // what runs gives way to all else
	paceIdle  = "idle"  // nothing new while somebody uses the machine
	pacePause = "pause" // nothing new; as when_active, what runs stands still as well
)

// hours are one line of a schedule: on some days from one time of day to another,
// past midnight if that is earlier, in the machine's own time.
type hours struct {
	days     [7]bool // by time.Weekday, on which they begin
	from, to int     // minutes of the day
	up, down *int64  // nil: as always
	cpu      *uint64 // nil: as always
	compute  string  // empty: as always
	pause    bool
}

// leastRate is what a host needs to be of use: a block takes four seconds then.
const leastRate = 64 << 10

// leastCores is what strangers' programs need to get anywhere, in thousandths of a core.
const leastCores = 50

const (
	defaultActiveFor = "5m"
	leastActiveFor   = time.Minute
	mostActiveFor    = 24 * time.Hour
)

func (s LimitSettings) parse() (l limits, err error) {
	l.always.Paused, l.always.compute = s.Paused, paceGo
	if l.always.Up, err = ParseRate(s.Up); err != nil {
		return l, fmt.Errorf("up: %w", err)
	}
	if l.always.Down, err = ParseRate(s.Down); err != nil {
		return l, fmt.Errorf("down: %w", err)
	}
	if l.always.cpu, err = parseCores(s.CPU); err != nil {
		return l, fmt.Errorf("cpu: %w", err)
	}
	if !unlimited(s.Memory) {
		if l.always.memory, err = size.Parse(s.Memory); err == nil && (l.always.memory < instance.MinMemory || l.always.memory > instance.MaxBytes) {
			err = fmt.Errorf("%q: at least 16 MiB are needed; to take nothing new, pause it", s.Memory)
		}
		if err != nil {
			return l, fmt.Errorf("memory: %w", err)
		}
	}
	switch l.when = cmp.Or(s.WhenActive, paceGo); l.when {
	case paceGo, paceSlow, pacePause:
	default:
		return l, fmt.Errorf("when_active: %q is neither go, slow nor pause", s.WhenActive)
	}
	if l.activeFor, err = time.ParseDuration(cmp.Or(s.ActiveFor, defaultActiveFor)); err != nil || l.activeFor < leastActiveFor || l.activeFor > mostActiveFor {
		return l, fmt.Errorf("active_for: %q isn't a time from a minute to a day, like 5m", s.ActiveFor)
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
func (l limits) at(t time.Time) allowance {
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
		if h.cpu != nil {
			now.cpu = *h.cpu
		}
		now.compute = cmp.Or(h.compute, now.compute)
		now.Paused = now.Paused || h.pause
		break
	}
	return now
}

// watches says whether anything hangs on somebody's using the machine.
func (l limits) watches() bool {
	idle := func(h hours) bool { return h.compute == paceIdle }
	return l.when != paceGo || slices.ContainsFunc(l.hours, idle)
}

// A pace is what strangers' programs may do at one moment.
type pace struct {
	closed bool // no new call and no new instance is taken
	slow   bool // what runs gives way to all else
	frozen bool // what runs stands still, for the owner's sake
}

// pace is what follows for strangers' programs from what is allowed now, and from
// whether somebody uses the machine.
func (l limits) pace(now allowance, active bool) pace {
	return pace{
		closed: now.Paused || now.compute == pacePause || active && (now.compute == paceIdle || l.when == pacePause),
		slow:   active && l.when == paceSlow,
		frozen: active && l.when == pacePause,
	}
}

// word is the pace for people and programs that ask.
func (p pace) word() string {
	switch {
	case p.frozen:
		return "paused"
	case p.closed && p.slow:
		return "closed and slow"
	case p.closed:
		return "closed"
	case p.slow:
		return paceSlow
	}
	return paceGo
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
	if unlimited(text) {
		return 0, nil
	}
	text = strings.TrimSuffix(text, "/s")
	divide := uint64(1)
	if bits, ok := strings.CutSuffix(text, "bit"); ok {
		text, divide = bits+"b", 8
	}
	n, err := size.Parse(text)
	if err != nil {
		return 0, fmt.Errorf("rate %q: write it like 2MB or 16Mbit, per second, or none", s)
	}
	if n/divide < leastRate {
		return 0, fmt.Errorf("rate %q: a host needs at least 64 KiB/s; to take no new data, pause it", s)
	}
	return int64(n / divide), nil
}

// unlimited says whether people mean that there is no limit.
func unlimited(s string) bool {
	s = strings.ToLower(strings.TrimSpace(s))
	return s == "" || s == "none" || s == "0"
}

// parseCores reads a number of cores, like `1.5`, as thousandths; empty or `none` is 0,
// no limit.
func parseCores(s string) (uint64, error) {
	if unlimited(s) {
		return 0, nil
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || !(n > 0) || n > instance.MaxCPU/1000 {
		return 0, fmt.Errorf("%q isn't a number of cores, like 1.5, or none", s)
	}
	thousandths := uint64(math.Round(n * 1000))
	if thousandths < leastCores {
		return 0, fmt.Errorf("%q: at least 0.05 cores are needed; to take nothing new, pause it", s)
	}
	return thousandths, nil
}

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// parseHours reads `[DAYS] HH:MM-HH:MM [up=RATE] [down=RATE] [cpu=CORES]
// [compute=pause|idle] [pause]`; days are like `mon-fri` or `sat,sun`.
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
		if err := h.read(word); err != nil {
			return h, err
		}
	}
	return h, nil
}

// read takes one word of what holds in these hours.
func (h *hours) read(word string) error {
	name, value, _ := strings.Cut(word, "=")
	switch name {
	case "pause":
		h.pause = true
	case "up", "down":
		bytes, err := ParseRate(value)
		if err != nil {
			return err
		}
		if name == "up" {
			h.up = &bytes
		} else {
			h.down = &bytes
		}
	case "cpu":
		cores, err := parseCores(value)
		if err != nil {
			return fmt.Errorf("cpu: %w", err)
		}
		h.cpu = &cores
	case "compute":
		if value != paceGo && value != paceIdle && value != pacePause {
			return fmt.Errorf("%q: it is compute=pause, compute=idle or compute=go", word)
		}
		h.compute = value
	default:
		return fmt.Errorf("%q is neither up=, down=, cpu=, compute= nor pause", word)
	}
	return nil
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
