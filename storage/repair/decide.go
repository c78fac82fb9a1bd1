// Package repair keeps slabs whole: it looks at the hosts and leases that hold
// their shards, decides which shards are to be made anew elsewhere and when, and
// has that done. The decisions are pure and the same for an owner's node and for
// a steward. It refuses to call a shard lost because this machine has heard
// nothing: what isn't known stays unknown, and a slab of which too few shards can
// be read is left alone, since its hosts may come back.
package repair

import (
	"log/slog"
	"time"

	"hearth/core/erasure"
)

// A Standing is what is known of a shard's place.
type Standing uint8

// The standings.
const (
	Unknown Standing = iota // nothing was heard yet: neither well nor lost
	Well                    // it served lately
	Leaving                 // it serves, and won't for ever: notice was given, or its price passes the ceiling
	Away                    // it hasn't answered for long; it may come back
	Gone                    // the lease is closed, the host stayed away for good, or it doesn't serve
	Pending                 // the shard has no place
)

var standings = [...]string{"unknown", "well", "leaving", "away", "gone", "pending"}

func (s Standing) String() string { return standings[s] }

// missing says that nobody can read the shard now.
func (s Standing) missing() bool { return s == Away || s == Gone || s == Pending }

// An Urgency orders repairs.
type Urgency uint8

// The urgencies.
const (
	None    Urgency = iota
	Routine         // shards move from hosts that leave, or have left for good
	Due             // fewer than k + (n-k)/2 shards are left
	Urgent          // fewer than k + 3(n-k)/10
	Beyond          // fewer than k can be read: it waits for its hosts
)

var urgencies = [...]string{"none", "routine", "due", "urgent", "beyond"}

func (u Urgency) String() string { return urgencies[u] }

// LogValue is its name.
func (u Urgency) LogValue() slog.Value { return slog.StringValue(u.String()) }

// A Plan is what should become of a slab.
type Plan struct {
	Urgency Urgency
	Make    []int // shards that can't be read, to be made from others
	Move    []int // shards that can still be read where they are
}

// Enough is the number of shards below which a slab is repaired, Few that below
// which it is at once.
func Enough(c erasure.Class) int { return c.K + (c.N-c.K)/2 }

// Few is below Enough.
func Few(c erasure.Class) int { return c.K + 3*(c.N-c.K)/10 }

// Decide says what to do for a slab whose shards stand so. What isn't known
// doesn't count as missing, so that it alone never sets off a repair.
func Decide(c erasure.Class, shards []Standing) Plan {
	var p Plan
	left := len(shards)
	for _, s := range shards {
		if s.missing() {
			left--
		}
	}
	switch {
	case left < c.K:
		return Plan{Urgency: Beyond}
	case left < Few(c):
		p.Urgency = Urgent
	case left < Enough(c):
		p.Urgency = Due
	}
	for i, s := range shards {
		switch {
		case s == Leaving:
			p.Move = append(p.Move, i)
		case s == Gone, s.missing() && p.Urgency >= Due:
			p.Make = append(p.Make, i)
		}
	}
	if p.Urgency == None && len(p.Make)+len(p.Move) > 0 {
		p.Urgency = Routine
	}
	return p
}

// Rules are how long things may take. The zero value is no rules: see Defaults.
type Rules struct {
	Patience  time.Duration // with a silent host before its shards count as missing
	GiveUp    time.Duration // after which a silent host is gone for good
	Contacts  int           // failures in a row that a silent host needs as well, and half as many successes to be back
	Refusals  int           // reads in a row that a host answers and doesn't serve, for Patience, before it is left
	Shun      time.Duration // for which nothing new is put at a host that was left
	Audit     time.Duration // in which every shard is read once
	Renew     time.Duration // before the end of a price at which a new one is asked for
	Backoff   time.Duration // after a repair that failed, doubled with each more
	MostDelay time.Duration // up to this
}

// Defaults are the rules of a network.
func Defaults() Rules {
	return Rules{
		Patience: 4 * time.Hour, GiveUp: 5 * 24 * time.Hour, Contacts: 4, Refusals: 3, Shun: 14 * 24 * time.Hour,
		Audit: 14 * 24 * time.Hour, Renew: 7 * 24 * time.Hour, Backoff: time.Hour, MostDelay: 24 * time.Hour,
	}
}

// Local are the rules of a cloud on one machine.
func Local() Rules {
	return Rules{
		Patience: 10 * time.Second, GiveUp: 25 * time.Second, Contacts: 2, Refusals: 3, Shun: 10 * time.Minute,
		Audit: 5 * time.Minute, Renew: 7 * 24 * time.Hour, Backoff: 5 * time.Second, MostDelay: 2 * time.Minute,
	}
}

// Delay is how long a repair waits that has failed so many times.
func (r Rules) Delay(failed int) time.Duration {
	d := r.Backoff
	for ; failed > 1 && d < r.MostDelay; failed-- {
		d *= 2
	}
	return min(d, r.MostDelay)
}

// An Answer is how a host took a question.
type Answer uint8

// The answers.
const (
	Served  Answer = iota // what was asked for, with its proof
	Silent                // no answer, or not in time
	Refused               // an answer, and not what was asked for
	Lost                  // it says that it doesn't have it, or what it has is damaged or wrong
	Nothing               // the trouble was on this side: it says nothing of the host
)

var answers = [...]string{"served", "silent", "refused", "lost", "nothing"}

func (a Answer) String() string { return answers[a] }

// A Host is what was learned of a host by asking it. The zero value is a host
// that was never asked.
type Host struct {
	Heard     bool      // it has answered, ever
	Asked     bool      // it was asked
	SilentAt  time.Time // when the present silence was noticed first
	Fails     int       // questions in a row without an answer
	Wells     int       // and with one
	Refusals  int       // reads in a row that it answered and didn't serve
	RefusedAt time.Time // when the first of them was
	Down      bool      // it counts as away
}

// Hear takes in an answer. A host that is away has to answer a few times before
// it counts as back, so that one which comes and goes isn't moved to and fro.
func (h Host) Hear(a Answer, now time.Time, r Rules) Host {
	switch a {
	case Nothing:
		return h
	case Silent:
		h.Asked, h.Wells = true, 0
		if h.Fails == 0 {
			h.SilentAt = now
		}
		h.Fails++
		if h.Fails >= r.Contacts && now.Sub(h.SilentAt) >= r.Patience {
			h.Down = true
		}
		return h
	case Refused:
		if h.Refusals == 0 {
			h.RefusedAt = now
		}
		h.Refusals++
	case Served:
		h.Refusals = 0
	}
	h.Heard, h.Asked, h.Fails = true, true, 0
	if h.Wells++; h.Down && 2*h.Wells >= r.Contacts {
		h.Down = false
	}
	return h
}

// Left says that a host is given up, though its lease may be open: it stayed away
// for good, or it answers and doesn't serve.
func (h Host) Left(now time.Time, r Rules) bool {
	return h.Down && now.Sub(h.SilentAt) >= r.GiveUp || h.Refusals >= r.Refusals && now.Sub(h.RefusedAt) >= r.Patience
}

// A Lease is what is known of the bargain that a shard lies under.
type Lease struct {
	Known   bool // the ledger shows it
	Closed  bool // proved
	Ending  bool // proved: it is closing, or its host leaves the network
	TooDear bool // the host asks more than the ceiling for the time to come
}

// Stand puts together what is known of a place.
func Stand(h Host, l Lease, now time.Time, r Rules) Standing {
	switch {
	case l.Closed:
		return Gone
	case h.Left(now, r):
		return Gone
	case h.Down:
		return Away
	case l.Ending || l.TooDear:
		return Leaving
	case !l.Known || !h.Heard || h.Fails > 0:
		return Unknown
	}
	return Well
}
