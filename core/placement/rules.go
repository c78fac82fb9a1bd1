package placement

import (
	"net/netip"
	"slices"
	"strconv"
)

func number(n int) string { return strconv.Itoa(n) }

// rules are a wish with how many young hosts a slab may have.
type rules struct {
	Wish
	young int
}

// An attempt is an order to go through the candidates in, again and again, and
// how many shards of the slab one region may hold each time.
type attempt struct {
	order   []Candidate
	regions []int
}

// attempts go from the best choice to what is only just allowed: the later ones
// take the hosts first that stand in the fewest others' way.
func (r rules) attempts(fit []Candidate) []attempt {
	spare := r.Class.N - r.Class.K
	all := r.Class.N + r.Spares
	spread := []int{
		max(1, spare/2), // a region's loss leaves half of what may be lost
		spare,           // a region's loss leaves enough
		all,
	}
	if r.Local {
		spread = []int{all}
	}
	if r.Plain {
		return []attempt{{fit, []int{all}}}
	}
	return []attempt{
		{fit, spread},
		{r.loneFirst(fit), spread},
		{matureFirst(fit), []int{all}},
	}
}

// mature is how many hosts that are not young the slab could have.
func (r rules) mature(fit []Candidate) int {
	var old []Candidate
	for _, c := range fit {
		if !c.Young {
			old = append(old, c)
		}
	}
	alone := rules{Wish: r.Wish, young: r.Class.N}
	alone.Want, alone.Spares, alone.Used = len(old), 0, nil
	for _, c := range r.Used {
		if !c.Young {
			alone.Used = append(alone.Used, c)
		}
	}
	return len(alone.take(attempt{old, []int{len(fit) + len(r.Used)}}).hosts) + len(alone.Used)
}

func matureFirst(fit []Candidate) []Candidate {
	order := slices.Clone(fit)
	slices.SortStableFunc(order, func(a, b Candidate) int {
		switch {
		case a.Young == b.Young:
			return 0
		case b.Young:
			return -1
		}
		return 1
	})
	return order
}

// loneFirst puts those first that share owner and networks with the fewest others.
func (r rules) loneFirst(fit []Candidate) []Candidate {
	shared := map[string]int{}
	for _, c := range fit {
		for _, k := range r.keys(c) {
			shared[k]++
		}
	}
	crowd := make(map[string]int, len(fit))
	for _, c := range fit {
		for _, k := range r.keys(c) {
			crowd[c.Host] += shared[k] - 1
		}
	}
	order := slices.Clone(fit)
	slices.SortStableFunc(order, func(a, b Candidate) int { return crowd[a.Host] - crowd[b.Host] })
	return order
}

// A pick is a choice in the making.
type pick struct {
	hosts   []string
	because map[Reason]int
	taken   map[string]bool // owners and networks
	regions map[string]int
	young   int
}

// take goes through the candidates in order and takes whom the rules allow.
func (r rules) take(try attempt) *pick {
	p := &pick{taken: map[string]bool{}, regions: map[string]int{}}
	for _, c := range r.Used {
		p.add(r, c)
	}
	rest := try.order
	for _, region := range try.regions {
		var left []Candidate
		p.because = map[Reason]int{}
		for _, c := range rest {
			if len(p.hosts) == r.Want+r.Spares {
				return p
			}
			if reason, ok := r.allow(p, c, region); !ok {
				p.because[reason]++
				left = append(left, c)
				continue
			}
			p.add(r, c)
			p.hosts = append(p.hosts, c.Host)
		}
		rest = left
	}
	return p
}

func (p *pick) add(r rules, c Candidate) {
	for _, k := range r.keys(c) {
		p.taken[k] = true
	}
	p.regions[c.Region]++
	if c.Young {
		p.young++
	}
}

func (r rules) allow(p *pick, c Candidate, region int) (Reason, bool) {
	for i, k := range r.keys(c) {
		if !p.taken[k] {
			continue
		}
		if i == 0 {
			return Owner, false
		}
		return Network, false
	}
	if c.Young && p.young >= r.young {
		return Newcomer, false
	}
	// The last round of an attempt has room for every region, so no reason is needed.
	return "", p.regions[c.Region] < region
}

// keys are what no two hosts of a slab may share: the owner, then the networks.
// Hosts that say no address are all in one unknown network. A local cloud is exempt.
func (r rules) keys(c Candidate) []string {
	if r.Local {
		return nil
	}
	owner := c.Owner
	if owner == "" {
		owner = c.Host
	}
	keys := []string{"owner " + owner}
	for _, a := range c.Addrs {
		keys = append(keys, NetworkOf(a))
	}
	if len(keys) == 1 {
		keys = append(keys, NetworkOf(netip.Addr{}))
	}
	slices.Sort(keys[1:])
	return slices.Compact(keys)
}

// NetworkOf names the network that counts as one place: the /24 of an IPv4
// address, the /48 of an IPv6 one.
func NetworkOf(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	n := 48
	if a.Is4() {
		n = 24
	}
	prefix, err := a.Prefix(n)
	if err != nil {
		return "unknown network"
	}
	return prefix.String()
}
