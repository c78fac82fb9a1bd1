package node

import (
	"net"
	"net/netip"
	"slices"

	"hearth/core/fault"
	"hearth/p2p"
)

// Announce turns the `ip:port` that others reach a node at into the endpoints it
// tells them: control on the port, bulk on the next one, as with P2PSettings.Listen.
// Behind a router both ports must be passed on, and as TCP and UDP.
func Announce(at string) ([]string, error) {
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		return nil, fault.New(fault.BadConfig, "announce %q: %w", at, err)
	}
	if ip, err := netip.ParseAddr(host); err != nil || ip.IsUnspecified() || ip.IsMulticast() {
		return nil, fault.New(fault.BadConfig, "announce %q: %q is no address that others can use", at, host)
	}
	if p, err := net.LookupPort("tcp", port); err != nil || p == 0 || p == 65535 {
		return nil, fault.New(fault.BadConfig, "announce %q: the port must be one from 1 to 65534", at)
	}
	control, bulk, err := listeners(at)
	return append(control, bulk...), err
}

// reach says how others get here as far as a node can tell by itself: a public
// address, or one that its owner has named, is taken for what it says.
func (n *Node) reach() string {
	if !n.terms.host {
		return "unknown"
	}
	if n.settings.Local || len(n.settings.P2P.Announce) > 0 || slices.ContainsFunc(p2p.IPs(n.net.Addrs()), p2p.Public) {
		return "direct"
	}
	return "unknown"
}
