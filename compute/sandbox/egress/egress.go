// Package egress decides what an instance may reach. It is pure: names are
// resolved and connections made by whoever asks it.
package egress

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"hearth/compute/sandbox/wire"
)

// maxAllow bounds a list of what is allowed.
const maxAllow = 256

// A Policy says what is open. The zero Policy closes all.
type Policy struct {
	mode     wire.Egress
	names    []string // lower case, no dot at the end; "*.x" for what is below x
	prefixes []netip.Prefix
}

// Parse reads a policy. Allow is a list of names, *.names, addresses and prefixes.
func Parse(mode wire.Egress, allow []string) (Policy, error) {
	p := Policy{mode: mode}
	switch mode {
	case wire.EgressNone, wire.EgressOpen:
		if len(allow) > 0 {
			return Policy{}, fmt.Errorf("egress %q has no list", mode)
		}
		return p, nil
	case wire.EgressAllow:
	default:
		return Policy{}, fmt.Errorf("egress %q is none that is known", mode)
	}
	if len(allow) > maxAllow {
		return Policy{}, fmt.Errorf("egress allows %d names, limit %d", len(allow), maxAllow)
	}
	for _, a := range allow {
		if prefix, err := netip.ParsePrefix(a); err == nil {
			p.prefixes = append(p.prefixes, prefix.Masked())
			continue
		}
		if addr, err := netip.ParseAddr(a); err == nil {
			p.prefixes = append(p.prefixes, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		name := plain(a)
		if !valid(strings.TrimPrefix(name, "*.")) {
			return Policy{}, fmt.Errorf("egress allows %q, which is no name, address or prefix", a)
		}
		p.names = append(p.names, name)
	}
	return p, nil
}

// Names says whether any name is answered.
func (p Policy) Names() bool { return p.mode != wire.EgressNone }

// Name says whether a name may be resolved.
func (p Policy) Name(name string) bool {
	name = plain(name)
	switch p.mode {
	case wire.EgressOpen:
		return true
	case wire.EgressAllow:
		return slices.ContainsFunc(p.names, func(pattern string) bool {
			below, wild := strings.CutPrefix(pattern, "*")
			return wild && len(name) > len(below) && strings.HasSuffix(name, below) || name == pattern
		})
	default:
		return false
	}
}

// Reach says why an instance may not send to an address, or nil. named: the
// address is what a name that may be resolved stands for. own are the host's
// own addresses, which stay closed although they may be public.
func (p Policy) Reach(to netip.AddrPort, named bool, own []netip.Addr) error {
	addr := to.Addr().Unmap()
	switch {
	case p.mode == wire.EgressNone:
		return fmt.Errorf("reach %s: the instance has no network", to)
	case !Public(addr):
		return fmt.Errorf("reach %s: the address isn't public", to)
	case slices.Contains(own, addr):
		return fmt.Errorf("reach %s: it is the host's own", to)
	case slices.Contains(mail, to.Port()):
		return fmt.Errorf("reach %s: mail is closed", to)
	case p.mode == wire.EgressOpen || named:
		return nil
	case slices.ContainsFunc(p.prefixes, func(x netip.Prefix) bool { return x.Contains(addr) }):
		return nil
	default:
		return fmt.Errorf("reach %s: not on the list of what is allowed", to)
	}
}

// mail is what spam goes through.
var mail = []uint16{25, 465, 587}

// Public says whether an address is one of the public Internet, to which a
// stranger's program may talk from a house without touching the house.
func Public(a netip.Addr) bool {
	a = a.Unmap()
	if a.Zone() != "" {
		return false
	}
	in := func(x netip.Prefix) bool { return x.Contains(a) }
	if a.Is4() {
		return !slices.ContainsFunc(closed4, in)
	}
	return global6.Contains(a) && !slices.ContainsFunc(closed6, in)
}

var (
	closed4 = prefixes(
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
		"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
		"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4")
	// What is global in IPv6; all else is ours, nobody's, or stands for an IPv4 address.
	global6 = netip.MustParsePrefix("2000::/3")
	closed6 = prefixes("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)

func prefixes(s ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(s))
	for i := range s {
		all[i] = netip.MustParsePrefix(s[i])
	}
	return all
}

func plain(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// valid says whether name is written as host names are.
func valid(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}
