// Package owner tells whether somebody uses this machine for themselves: at a keyboard, a
// mouse or a terminal, or by programs that aren't hearth's. What it goes by is gathered
// from the system (see Gather), what follows is pure. It looks at when something was
// touched and how often, never at what was typed.
package owner

import "time"

const (
	// heavy is the share of all cores that others' programs use where somebody uses the
	// machine, in two looks one after the other.
	heavy = 0.2
	looks = 2
	// ahead is how far in the future a time may be before it is taken for wrong.
	ahead = time.Minute
	// shortest is the time between two looks in which a load can be told from a moment's.
	shortest = 5 * time.Second
)

// A Process is one that hearth has started, by its number and when it began: numbers come again.
type Process struct {
	ID    int
	Began uint64
}

// Facts are what a machine shows at one moment.
type Facts struct {
	At      time.Time
	Touched time.Time                 // when a terminal or an input device was last used; zero: there is none
	Reports uint64                    // what keyboards and mice have reported so far
	Busy    time.Duration             // computed by all programs since the machine began
	Ours    map[Process]time.Duration // computed by hearth's, each since it began
	Cores   int
}

// A Watch is what looks so far have shown. The zero Watch has seen nothing. It is a value:
// a look gives another.
type Watch struct {
	last Facts
	busy int       // looks in a row in which others' programs computed much
	seen time.Time // when somebody was last seen to use the machine
	sign string
}

// Look takes what is to be seen now.
func (w Watch) Look(now Facts) Watch {
	before := w.last
	if t := now.Touched; t.Before(now.At.Add(ahead)) && t.After(w.seen) {
		w.see(t, "a terminal or an input device is in use")
	}
	if passed := now.At.Sub(before.At); !before.At.IsZero() && passed >= 0 && passed < shortest {
		return w
	}
	w.last = now
	if before.At.IsZero() || now.At.Before(before.At) {
		return w // nothing to compare with
	}
	if now.Reports != before.Reports {
		w.see(now.At, "a keyboard or a mouse is in use")
	}
	w.busy++
	if others(before, now) < heavy {
		w.busy = 0
	}
	if w.busy >= looks {
		w.see(now.At, "other programs are computing")
	}
	return w
}

func (w *Watch) see(at time.Time, sign string) { w.seen, w.sign = at, sign }

// Active says whether somebody has used the machine within a time, and by what sign.
func (w Watch) Active(now time.Time, within time.Duration) (sign string, active bool) {
	if w.seen.IsZero() || now.Sub(w.seen) >= within {
		return "", false
	}
	return w.sign, true
}

// others is the share of the machine that programs other than hearth's had between two moments.
func others(before, now Facts) float64 {
	all := now.Busy - before.Busy
	for p, used := range now.Ours {
		all -= max(0, used-before.Ours[p])
	}
	whole := now.At.Sub(before.At) * time.Duration(max(now.Cores, 1))
	return max(0, all.Seconds()) / whole.Seconds()
}
