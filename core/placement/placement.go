// Package placement chooses the hosts of a slab. Facts and a wish come in, a
// list of hosts or the reasons why there are too few go out; the same input
// always gives the same choice.
//
// No two shards of a slab lie on one owner or in one network, newcomers hold few
// once there are others, and regions share. It refuses to bend the rules to fill
// a slab; only the spread over regions gives way where there are too few.
package placement

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
	"strings"

	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/core/quote"
)

// Candidate is what is known of a host.
type Candidate struct {
	Host     string // its account; two candidates of one host count once
	Owner    string // empty: the host itself
	Addrs    []netip.Addr
	Region   string // empty: unknown, which is a region too
	Prices   quote.Prices
	Free     int64 // bytes
	Young    bool  // not 30 days old, or its bond below the target
	Measured int   // own measurements, 1 (bad) to 1000; 0: none yet
}

// Wish is what hosts are chosen for.
type Wish struct {
	Seed    [32]byte // the slab: other slabs get other hosts
	Class   erasure.Class
	Want    int   // hosts to find, up to N minus Used
	Spares  int   // more to fall back on
	Shard   int64 // bytes each has to take
	Ceiling quote.Prices
	Used    []Candidate     // hold a shard of the slab already
	Avoid   map[string]bool // hosts that were tried or are mistrusted
	Local   bool            // a local cloud: one machine may be many hosts
	// Plain counts nothing but names: neither prices (within the ceiling all are the
	// same) nor measurements, age or regions. Who has the ledger's list can check
	// such a choice.
	Plain bool
}

// Choice is a decision: hosts in the order in which they take shards.
type Choice struct {
	Hosts  []string
	Spares []string // maybe fewer than wished
}

// A Reason says why a candidate wasn't chosen.
type Reason string

// The reasons, in the order in which they are looked at.
const (
	Used      Reason = "hold a shard of it already"
	Avoided   Reason = "failed just now"
	Expensive Reason = "ask too much"
	Full      Reason = "have no room"
	Owner     Reason = "share an owner"
	Network   Reason = "share a network"
	Newcomer  Reason = "are too new"
)

var reasons = []Reason{Used, Avoided, Expensive, Full, Owner, Network, Newcomer}

// Shortage is why there are too few hosts. It comes with the code not_enough_hosts.
type Shortage struct {
	Want, Found int
	Because     map[Reason]int // hosts that could not be taken
}

func (s *Shortage) Error() string {
	var b strings.Builder
	for _, r := range reasons {
		if n := s.Because[r]; n > 0 {
			if b.Len() > 0 {
				b.WriteString(", ")
			}
			b.WriteString(number(n) + " " + string(r))
		}
	}
	if b.Len() == 0 {
		b.WriteString("no others are known")
	}
	return number(s.Found) + " of " + number(s.Want) + " hosts found: " + b.String()
}

// Choose finds hosts for a slab.
func Choose(candidates []Candidate, w Wish) (Choice, error) {
	if err := w.Class.Validate(); err != nil {
		return Choice{}, fault.New(fault.CodeOf(err), "choose hosts: %w", err)
	}
	if w.Want < 0 || w.Want+len(w.Used) > w.Class.N || w.Spares < 0 || w.Shard < 0 {
		return Choice{}, fault.New(fault.BadRequest, "choose hosts: %d beside %d of %s", w.Want, len(w.Used), w.Class)
	}
	fit, because := w.fit(candidates)
	rank(fit, w.Seed, w.Plain)
	r := rules{Wish: w, young: len(fit) + len(w.Used)}
	if !w.Plain && r.mature(fit) >= w.Class.N {
		r.young = (w.Class.N - w.Class.K) / 2
	}
	var best *pick
	for _, try := range r.attempts(fit) {
		p := r.take(try)
		if best == nil || len(p.hosts) > len(best.hosts) {
			best = p
		}
		if len(p.hosts) >= w.Want {
			break
		}
	}
	if len(best.hosts) < w.Want {
		for reason, n := range best.because {
			because[reason] += n
		}
		return Choice{}, fault.New(fault.NotEnoughHosts, "choose hosts: %w", &Shortage{Want: w.Want, Found: len(best.hosts), Because: because})
	}
	return Choice{Hosts: best.hosts[:w.Want:w.Want], Spares: best.hosts[w.Want:]}, nil
}

// fit leaves the candidates that could hold a shard by themselves.
func (w Wish) fit(candidates []Candidate) ([]Candidate, map[Reason]int) {
	because := map[Reason]int{}
	used, seen := map[string]bool{}, map[string]bool{}
	for _, c := range w.Used {
		used[c.Host] = true
	}
	var fit []Candidate
	for _, c := range candidates {
		switch {
		case seen[c.Host]:
		case used[c.Host]:
			because[Used]++
		case w.Avoid[c.Host]:
			because[Avoided]++
		case !c.Prices.Within(w.Ceiling):
			because[Expensive]++
		case c.Free < w.Shard:
			because[Full]++
		default:
			fit = append(fit, c)
		}
		seen[c.Host] = true
	}
	return fit, because
}

// rank orders candidates by weighted rendezvous hashing: each host draws a
// number from the seed, and the cheap and well measured ones draw luckier. So
// load spreads by merit, and a host that comes or goes moves only its own share.
// A plain ranking is by the draw alone.
func rank(list []Candidate, seed [32]byte, plain bool) {
	cheapest := math.Inf(1)
	for _, c := range list {
		cheapest = min(cheapest, cost(c.Prices))
	}
	luck := make(map[string]float64, len(list))
	for _, c := range list {
		h := sha256.Sum256(append(seed[:], c.Host...))
		u := (float64(binary.BigEndian.Uint64(h[:])>>11) + 1) / (1<<53 + 1) // in (0, 1)
		measured := c.Measured
		if measured <= 0 {
			measured = 500
		}
		cheap := cheapest / cost(c.Prices)
		weight := cheap * cheap * float64(min(measured, 1000)) / 1000
		if plain {
			weight = 1
		}
		luck[c.Host] = -math.Log(u) / weight
	}
	slices.SortFunc(list, func(a, b Candidate) int {
		switch x, y := luck[a.Host], luck[b.Host]; {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return strings.Compare(a.Host, b.Host)
	})
}

// cost is what a GiB comes to that is brought, kept for 30 days and read once.
func cost(p quote.Prices) float64 {
	const month = 30 * 24 * 3600
	return 1 + float64(p.Unit[0])*month/1e12 + float64(p.In) + float64(p.Out)
}
