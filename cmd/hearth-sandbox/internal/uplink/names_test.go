//go:build linux && (amd64 || arm64)

package uplink

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"hearth/compute/sandbox/egress"
	"hearth/compute/sandbox/wire"
)

// server answers every question about example.org with addrs.
func server(t *testing.T, addrs ...string) *net.Resolver {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 4096)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			r := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true}, Questions: m.Questions}
			if !strings.HasSuffix(q.Name.String(), "example.org.") {
				r.RCode = dnsmessage.RCodeNameError
			} else if q.Type == dnsmessage.TypeA {
				for _, a := range addrs {
					r.Answers = append(r.Answers, dnsmessage.Resource{
						Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 5},
						Body:   &dnsmessage.AResource{A: netip.MustParseAddr(a).As4()},
					})
				}
			}
			if out, err := r.Pack(); err == nil {
				c.WriteTo(out, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", c.LocalAddr().String())
	}}
}

func question(t *testing.T, name string, kind dnsmessage.Type) []byte {
	t.Helper()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}},
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestNamesAreAnsweredAsThePolicySays(t *testing.T) {
	resolver := server(t, "1.2.3.4", "10.0.0.1", "127.0.0.1", "5.6.7.8")
	home := server(t, "10.0.0.1", "192.168.1.2")
	both := []string{"1.2.3.4", "5.6.7.8"}
	for _, c := range []struct {
		law   string
		mode  wire.Egress
		allow []string
		name  string
		kind  dnsmessage.Type
		code  dnsmessage.RCode
		want  []string
		from  *net.Resolver // default resolver
	}{
		{"public addresses, and no others", wire.EgressOpen, nil, "example.org.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, both, nil},
		{"a name that isn't", wire.EgressOpen, nil, "nothing.test.", dnsmessage.TypeA, dnsmessage.RCodeNameError, nil, nil},
		{"addresses of IPv6 exist and are none", wire.EgressOpen, nil, "example.org.", dnsmessage.TypeAAAA, dnsmessage.RCodeSuccess, nil, nil},
		{"a listed name", wire.EgressAllow, []string{"*.example.org"}, "www.example.org.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, both, nil},
		{"a name that isn't listed", wire.EgressAllow, []string{"*.example.org"}, "example.org.", dnsmessage.TypeA, dnsmessage.RCodeRefused, nil, nil},
		{"a name of the house is as one that isn't", wire.EgressOpen, nil, "example.org.", dnsmessage.TypeA, dnsmessage.RCodeNameError, nil, home},
		{"also where something else is asked", wire.EgressOpen, nil, "example.org.", dnsmessage.TypeAAAA, dnsmessage.RCodeNameError, nil, home},
		{"no name without egress", wire.EgressNone, nil, "example.org.", dnsmessage.TypeA, dnsmessage.RCodeRefused, nil, nil},
	} {
		p, err := egress.Parse(c.mode, c.allow)
		if err != nil {
			t.Fatal(err)
		}
		u := &Uplink{c: Config{Policy: p, Resolver: cmp.Or(c.from, resolver)}, ctx: t.Context()}
		var m dnsmessage.Message
		if err := m.Unpack(u.answer(question(t, c.name, c.kind))); err != nil {
			t.Fatalf("%s: %v", c.law, err)
		}
		var got []string
		for _, a := range m.Answers {
			got = append(got, netip.AddrFrom4(a.Body.(*dnsmessage.AResource).A).String())
		}
		slices.Sort(got)
		if m.RCode != c.code || !slices.Equal(got, c.want) || m.ID != 7 || !m.Response {
			t.Errorf("%s: %v %v", c.law, m.RCode, got)
		}
		for _, a := range both {
			if held := u.named.holds(netip.MustParseAddr(a), time.Now()); held != (c.want != nil) {
				t.Errorf("%s: %s is open: %t", c.law, a, held)
			}
		}
		if u.named.holds(netip.MustParseAddr("10.0.0.1"), time.Now()) {
			t.Errorf("%s: a private address is open", c.law)
		}
	}
}

func TestALeaseEndsAndThereAreNotTooMany(t *testing.T) {
	var l leases
	now := time.Now()
	a := netip.MustParseAddr("1.2.3.4")
	l.add([]netip.Addr{a}, now)
	if !l.holds(a, now.Add(leaseFor-1)) || l.holds(a, now.Add(leaseFor)) {
		t.Error("it holds for another time")
	}
	for i := range 3 * maxLeases {
		l.add([]netip.Addr{netip.AddrFrom4([4]byte{1, byte(i >> 16), byte(i >> 8), byte(i)})}, now)
	}
	if len(l.until) > maxLeases {
		t.Errorf("%d leases", len(l.until))
	}
}

func FuzzAnswer(f *testing.F) {
	p, err := egress.Parse(wire.EgressAllow, []string{"example.org"})
	if err != nil {
		f.Fatal(err)
	}
	nowhere := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, fmt.Errorf("nowhere") }}
	u := &Uplink{c: Config{Policy: p, Resolver: nowhere}, ctx: f.Context()}
	f.Add([]byte{0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'a', 0, 0, 1, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if a := u.answer(b); a != nil {
			var m dnsmessage.Message
			if err := m.Unpack(a); err != nil {
				t.Fatal(err)
			}
		}
	})
}
