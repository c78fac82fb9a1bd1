package p2p

import (
	"slices"
	"strings"
	"testing"

	ma "github.com/multiformats/go-multiaddr"

	"hearth/core/fault"
)

func TestAddressesAreOfThreeKinds(t *testing.T) {
	for s, want := range map[string]int{
		"/ip4/1.2.3.4/tcp/4001":           kindTCP,
		"/ip6/2001:db8::1/tcp/4001":       kindTCP,
		"/ip4/1.2.3.4/udp/4001/quic-v1":   kindQUIC,
		"/ip4/1.2.3.4/tcp/4002/tls":       kindBulk,
		"/dns4/host.example/tcp/4002/tls": kindBulk,
	} {
		e, err := parseEndpoint(s)
		if err != nil || e.kind != want {
			t.Errorf("%s: kind %d, want %d, %v", s, e.kind, want, err)
		}
	}
	for _, s := range []string{
		"", "1.2.3.4:4001", "/ip4/1.2.3.4", "/ip4/1.2.3.4/tcp/99999", "/tcp/4001", "/unix/run/x",
		"/ip4/1.2.3.4/tcp/4001/ws", "/ip4/1.2.3.4/udp/4001",
		"/ip4/1.2.3.4/tcp/4001/p2p/12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5",
	} {
		if _, err := parseEndpoint(s); fault.CodeOf(err) != fault.BadRequest {
			t.Errorf("%q: %v, want bad_request", s, err)
		}
	}
}

func TestAddressListsAreBounded(t *testing.T) {
	ok := "/ip4/1.2.3.4/tcp/4001"
	if err := CheckAddrs(slices.Repeat([]string{ok}, MaxAddrs)); err != nil {
		t.Error(err)
	}
	if err := CheckAddrs(slices.Repeat([]string{ok}, MaxAddrs+1)); fault.CodeOf(err) != fault.TooLarge {
		t.Errorf("one too many: %v", err)
	}
	long := "/dns4/" + strings.Repeat("a", MaxAddrLen) + "/tcp/1"
	if err := CheckAddrs([]string{long}); fault.CodeOf(err) != fault.TooLarge {
		t.Errorf("too long: %v", err)
	}
	for _, addrs := range [][]string{{long}, slices.Repeat([]string{ok}, MaxAddrs+1)} {
		if _, _, err := (Peer{Key: publicOf(newKey(t)), Addrs: addrs}).contact(); fault.CodeOf(err) != fault.TooLarge {
			t.Errorf("a peer with it: %v", err)
		}
	}
}

func TestAnAddressOfANewFormIsLeftOut(t *testing.T) {
	p := Peer{Key: publicOf(newKey(t)), Addrs: []string{"/future/1", "/ip4/1.2.3.4/tcp/1/tls", "/ip4/1.2.3.4/tcp/2"}}
	c, _, err := p.contact()
	if err != nil || len(c.control) != 1 || len(c.bulk) != 1 {
		t.Fatalf("%d control, %d bulk, %v", len(c.control), len(c.bulk), err)
	}
}

func TestWhatIsAnnounced(t *testing.T) {
	for _, c := range []struct {
		name     string
		have     []string
		loopback bool
		want     []string
	}{
		{"loopback only where there is nothing else", []string{"/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1"}, false, []string{"/ip4/10.0.0.1/tcp/1"}},
		{"loopback as the last resort", []string{"/ip4/127.0.0.1/tcp/1"}, false, []string{"/ip4/127.0.0.1/tcp/1"}},
		{"loopback when it is wanted", []string{"/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1"}, true, []string{"/ip4/10.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1"}},
		{
			"public before private, direct before tcp before quic",
			[]string{"/ip4/10.0.0.1/tcp/1", "/ip4/8.8.8.8/udp/1/quic-v1", "/ip4/8.8.8.8/tcp/1", "/ip4/8.8.8.8/tcp/2/tls"},
			false,
			[]string{"/ip4/8.8.8.8/tcp/2/tls", "/ip4/8.8.8.8/tcp/1", "/ip4/8.8.8.8/udp/1/quic-v1", "/ip4/10.0.0.1/tcp/1"},
		},
		{"each once, none of another kind", []string{"/ip4/8.8.8.8/tcp/1", "/ip4/8.8.8.8/tcp/1", "/ip4/8.8.8.8/tcp/1/ws"}, false, []string{"/ip4/8.8.8.8/tcp/1"}},
	} {
		var have []ma.Multiaddr
		for _, s := range c.have {
			have = append(have, ma.StringCast(s))
		}
		if got := texts(choose(have, c.loopback)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func FuzzParseEndpoint(f *testing.F) {
	f.Add("/ip4/1.2.3.4/tcp/4002/tls")
	f.Add("/dns6/host.example/udp/4001/quic-v1")
	f.Fuzz(func(t *testing.T, s string) {
		e, err := parseEndpoint(s)
		if err != nil {
			return
		}
		again, err := parseEndpoint(e.addr.String())
		if err != nil || again.kind != e.kind || again.hostport != e.hostport {
			t.Fatalf("%q reads as %v, then as %v (%v)", s, e, again, err)
		}
	})
}
