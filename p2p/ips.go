package p2p

import (
	"net/netip"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// carriers are the addresses of carriers' own networks (RFC 6598).
var carriers = netip.MustParsePrefix("100.64.0.0/10")

// Public says whether an address may be reached from anywhere.
func Public(a netip.Addr) bool { return a.IsGlobalUnicast() && !a.IsPrivate() && !carriers.Contains(a) }

// IPs are the addresses among multiaddrs. A machine's private ones say nothing of
// where it stands when it has a public one too: everybody's are alike.
func IPs(list []string) []netip.Addr {
	var all, wide []netip.Addr
	for _, s := range list {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			continue
		}
		ip, err := manet.ToIP(a)
		if err != nil {
			continue
		}
		addr, ok := netip.AddrFromSlice(ip)
		if !ok {
			continue
		}
		addr = addr.Unmap()
		all = append(all, addr)
		if Public(addr) {
			wide = append(wide, addr)
		}
	}
	if len(wide) > 0 {
		return wide
	}
	return all
}
