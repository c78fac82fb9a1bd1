package node

import (
	"net/netip"
	"slices"
	"testing"

	"hearth/core/fault"
	"hearth/p2p"
)

// What is announced is what a node listens at: control over TCP and QUIC, bulk
// on the next port.
func TestAnnounceNamesEveryEndpoint(t *testing.T) {
	for at, want := range map[string][]string{
		"203.0.113.7:4001":   {"/ip4/203.0.113.7/tcp/4001", "/ip4/203.0.113.7/udp/4001/quic-v1", "/ip4/203.0.113.7/tcp/4002/tls"},
		"[2001:db8::7]:4001": {"/ip6/2001:db8::7/tcp/4001", "/ip6/2001:db8::7/udp/4001/quic-v1", "/ip6/2001:db8::7/tcp/4002/tls"},
	} {
		got, err := Announce(at)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Announce(%q) = %v, %v", at, got, err)
		}
		if err := p2p.CheckAddrs(got); err != nil {
			t.Errorf("Announce(%q): peers refuse it: %v", at, err)
		}
	}
	for _, at := range []string{"", "203.0.113.7", "0.0.0.0:4001", "[::]:4001", "224.0.0.1:1", "203.0.113.7:0", "203.0.113.7:65535", "203.0.113.7:x", "name:4001"} {
		if got, err := Announce(at); fault.CodeOf(err) != fault.BadConfig {
			t.Errorf("Announce(%q) = %v, %v", at, got, err)
		}
	}
}

// Every house has a 192.168.1.2: hosts aren't neighbours because of it.
func TestPrivateAddressesSayNothingBesidePublicOnes(t *testing.T) {
	ip := netip.MustParseAddr
	for _, c := range []struct {
		list []string
		want []netip.Addr
	}{
		{[]string{"/ip4/192.168.1.2/tcp/1", "/ip4/8.8.4.4/tcp/1", "/ip4/172.17.0.1/tcp/1", "/ip4/100.64.0.1/tcp/1"}, []netip.Addr{ip("8.8.4.4")}},
		{[]string{"/ip4/10.0.0.1/tcp/1", "/ip6/fd00::1/tcp/1"}, []netip.Addr{ip("10.0.0.1"), ip("fd00::1")}},
		{[]string{"/ip4/127.0.0.1/tcp/1", "/ip6/2606:4700::1/tcp/1"}, []netip.Addr{ip("2606:4700::1")}},
		{[]string{"nonsense", "/dns/host.example/tcp/1"}, nil},
	} {
		if got := p2p.IPs(c.list); !slices.Equal(got, c.want) {
			t.Errorf("IPs(%v) = %v, want %v", c.list, got, c.want)
		}
	}
}
