package egress

import (
	"net/netip"
	"testing"

	"hearth/compute/sandbox/wire"
)

func TestReach(t *testing.T) {
	own := []netip.Addr{netip.MustParseAddr("9.9.9.9"), netip.MustParseAddr("2a00::9")}
	list := []string{"1.1.1.0/24", "8.8.8.8", "192.168.0.0/16", "2606:4700::/32", "example.org", "*.example.net"}
	for _, c := range []struct {
		law   string
		mode  wire.Egress
		to    string
		named bool
		open  bool
	}{
		{"none closes all", wire.EgressNone, "1.1.1.1:443", false, false},
		{"none closes also what a name stands for", wire.EgressNone, "1.1.1.1:443", true, false},
		{"open is open", wire.EgressOpen, "1.2.3.4:443", false, true},
		{"open is open in IPv6", wire.EgressOpen, "[2606:4700::1]:443", false, true},
		{"what is listed is open", wire.EgressAllow, "1.1.1.77:443", false, true},
		{"an address that is listed is open", wire.EgressAllow, "8.8.8.8:53", false, true},
		{"its neighbour isn't", wire.EgressAllow, "8.8.4.4:53", false, false},
		{"what a listed name stands for is open", wire.EgressAllow, "5.6.7.8:80", true, true},
		{"a private address stays closed, listed or not", wire.EgressAllow, "192.168.1.1:80", false, false},
		{"nor does a name open it", wire.EgressOpen, "192.168.1.1:80", true, false},
		{"10/8 is closed", wire.EgressOpen, "10.1.2.3:80", false, false},
		{"172.16/12 is closed to its end", wire.EgressOpen, "172.31.255.255:80", false, false},
		{"172.32 isn't part of it", wire.EgressOpen, "172.32.0.1:80", false, true},
		{"loopback is closed", wire.EgressOpen, "127.0.0.1:80", false, false},
		{"all of loopback is", wire.EgressOpen, "127.9.9.9:80", false, false},
		{"this host is closed", wire.EgressOpen, "0.0.0.0:80", false, false},
		{"a cloud's metadata are closed", wire.EgressOpen, "169.254.169.254:80", false, false},
		{"carriers' addresses are closed", wire.EgressOpen, "100.64.0.1:80", false, false},
		{"100.128 isn't theirs", wire.EgressOpen, "100.128.0.1:80", false, true},
		{"multicast is closed", wire.EgressOpen, "239.255.255.250:1900", false, false},
		{"broadcast is closed", wire.EgressOpen, "255.255.255.255:67", false, false},
		{"the host's own public address is closed", wire.EgressOpen, "9.9.9.9:443", false, false},
		{"in IPv6 too", wire.EgressOpen, "[2a00::9]:443", false, false},
		{"an IPv4 address in IPv6's clothes is what it is", wire.EgressOpen, "[::ffff:10.0.0.1]:80", false, false},
		{"the host's own in such clothes", wire.EgressOpen, "[::ffff:9.9.9.9]:80", false, false},
		{"NAT64 is closed", wire.EgressOpen, "[64:ff9b::a00:1]:80", false, false},
		{"6to4 is closed", wire.EgressOpen, "[2002:a00:1::]:80", false, false},
		{"Teredo is closed", wire.EgressOpen, "[2001::1]:80", false, false},
		{"unique local addresses are closed", wire.EgressOpen, "[fd00::1]:80", false, false},
		{"link-local is closed", wire.EgressOpen, "[fe80::1]:80", false, false},
		{"loopback of IPv6 is closed", wire.EgressOpen, "[::1]:80", false, false},
		{"mail between servers is closed", wire.EgressOpen, "1.2.3.4:25", false, false},
		{"submission over TLS is closed", wire.EgressOpen, "1.2.3.4:465", false, false},
		{"submission is closed", wire.EgressOpen, "1.2.3.4:587", false, false},
		{"mail is closed to what is listed", wire.EgressAllow, "1.1.1.1:25", true, false},
	} {
		var allow []string
		if c.mode == wire.EgressAllow {
			allow = list
		}
		p, err := Parse(c.mode, allow)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Reach(netip.MustParseAddrPort(c.to), c.named, own); (err == nil) != c.open {
			t.Errorf("%s: %s: %v", c.law, c.to, err)
		}
	}
}

func TestName(t *testing.T) {
	p, err := Parse(wire.EgressAllow, []string{"Example.org.", "*.example.net"})
	if err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]bool{
		"example.org": true, "EXAMPLE.ORG.": true, "www.example.org": false, "badexample.org": false,
		"www.example.net": true, "a.b.example.net": true, "example.net": false, ".example.net": false, "evil-example.net": false, "": false,
	} {
		if p.Name(name) != open {
			t.Errorf("%q: open is %t", name, !open)
		}
	}
	if (Policy{}).Name("example.org") || (Policy{}).Names() {
		t.Error("a policy of nothing answers names")
	}
}

func TestAListThatIsNoneIsRefused(t *testing.T) {
	for _, allow := range [][]string{{"*"}, {""}, {"a..b"}, {"http://x"}, {"1.2.3.4/33"}, {"*.*.x"}, make([]string, maxAllow+1)} {
		if _, err := Parse(wire.EgressAllow, allow); err == nil {
			t.Errorf("%.60q is taken", allow)
		}
	}
	if _, err := Parse("wide", nil); err == nil {
		t.Error("an unknown policy is taken")
	}
	if _, err := Parse(wire.EgressOpen, []string{"a.b"}); err == nil {
		t.Error("a list beside an open policy is taken")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("*.example.org", "example.org")
	f.Fuzz(func(t *testing.T, allow, name string) {
		p, err := Parse(wire.EgressAllow, []string{allow})
		if err != nil {
			return
		}
		p.Name(name)
		for _, x := range []string{"10.0.0.1:1", "[::1]:1", "[fd00::1]:1"} {
			if p.Reach(netip.MustParseAddrPort(x), true, nil) == nil {
				t.Fatalf("%q opens %s", allow, x)
			}
		}
	})
}
