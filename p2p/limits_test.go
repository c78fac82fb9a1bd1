package p2p

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"

	"hearth/core/fault"
)

// values reads every series of c, named "name label label".
func values(t testing.TB, c prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := c.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			all[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return all
}

// served counts the streams that n serves.
func served(t testing.TB, n *Node) int {
	reg := prometheus.NewRegistry()
	reg.MustRegister(n.metrics.streams)
	v := values(t, reg)
	return int(v["hearth_p2p_streams control in"] + v["hearth_p2p_streams bulk in"])
}

// refused counts what n has refused.
func refused(t testing.TB, n *Node, what string) int {
	reg := prometheus.NewRegistry()
	reg.MustRegister(n.metrics.refusals)
	return int(values(t, reg)["hearth_p2p_refusals_total "+what])
}

// waits serves until its stream or node ends.
func waits(ctx context.Context, s Stream) { io.Copy(io.Discard, s) }

// stillServes checks that somebody else is served by host.
func stillServes(t *testing.T, host *Node) {
	t.Helper()
	other := node(t, nil)
	for _, open := range []opener{(*Node).Open, (*Node).OpenBulk} {
		s, err := open(other, limited(t), peerOf(host), testProtocol)
		if err != nil {
			t.Fatalf("another peer: %v", err)
		}
		ping(t, s)
		s.Close()
	}
}

func TestAFloodOfStreamsIsRefused(t *testing.T) {
	host := hostNode(t, func(c *Config) { c.Limits.StreamsPerPeer = 20 })
	client := node(t, nil)
	host.Handle("/test/wait/1", func(ctx context.Context, s Stream) {
		s.Write([]byte("x"))
		waits(ctx, s)
	})
	control, _ := kinds(host)
	busy := 0
	for range 60 {
		s, err := client.Open(limited(t), Peer{Key: host.Key(), Addrs: control}, "/test/wait/1")
		if err == nil {
			defer s.Close()
			s.SetDeadline(time.Now().Add(2 * time.Minute))
			s.Write([]byte("x"))
			_, err = s.Read(make([]byte, 1))
		}
		if fault.CodeOf(err) == fault.Busy {
			busy++
		}
	}
	if n := served(t, host); n > 20 {
		t.Errorf("%d streams are served, limit 20", n)
	}
	if busy < 40 {
		t.Errorf("%d of 60 streams were told busy", busy)
	}
	if refused(t, host, "stream") < 40 {
		t.Error("the refusals were not counted")
	}
	stillServes(t, host)
}

func TestAFloodOfConnectionsIsRefused(t *testing.T) {
	host := hostNode(t, func(c *Config) { c.Limits.ConnsPerPeer = 4 })
	client := node(t, func(c *Config) { c.Limits.ConnsPerPeer = 100 })
	id, _ := peerID(host.Key())
	control, _ := kinds(host)
	host.Handle(testProtocol, echo)
	client.host.Peerstore().AddAddr(id, ma.StringCast(control[0]), time.Hour)
	for range 12 {
		// Each dial insists on a connection of its own.
		c, err := dialAnother(client, id, ma.StringCast(control[0]))
		if err == nil {
			defer c.Close()
		}
	}
	eventually(t, "the refusals are counted", func() bool { return refused(t, host, "connection") >= 8 })
	self, _ := peerID(client.Key())
	if n := len(host.host.Network().ConnsToPeer(self)); n > 4 {
		t.Errorf("%d connections, limit 4", n)
	}
	stillServes(t, host)
}

// dialAnother connects to id past libp2p's rule of one connection a peer.
func dialAnother(n *Node, id peer.ID, addr ma.Multiaddr) (io.Closer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return n.host.Network().(*swarm.Swarm).TransportForDialing(addr).Dial(ctx, addr, id)
}

func TestBulkConnectionsOfAPeerAreBounded(t *testing.T) {
	host, client := hostNode(t, func(c *Config) { c.Limits.BulkConnsPerPeer = 3 }), node(t, nil)
	for range 3 {
		s, err := client.OpenBulk(limited(t), peerOf(host), testProtocol)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		ping(t, s)
	}
	if _, err := client.OpenBulk(limited(t), peerOf(host), testProtocol); fault.CodeOf(err) != fault.Busy {
		t.Errorf("a fourth: %v, want busy", err)
	}
	stillServes(t, host)
}

func TestConnectionsBeforeTheHandshakeAreCounted(t *testing.T) {
	for name, change := range map[string]func(*Limits){
		"in all": func(l *Limits) { l.BulkConns = 5 },
		"per IP": func(l *Limits) { l.BulkConnsPerIP = 5 },
	} {
		t.Run(name, func(t *testing.T) {
			host := hostNode(t, func(c *Config) { change(&c.Limits) })
			_, bulk := kinds(host)
			e, _ := parseEndpoint(bulk[0])
			var silent []net.Conn
			for range 5 {
				c, err := net.Dial("tcp", e.hostport)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				silent = append(silent, c)
			}
			eventually(t, "all five are counted", func() bool {
				host.bulk.mu.Lock()
				defer host.bulk.mu.Unlock()
				return len(host.bulk.raw) == 5
			})
			sixth, err := net.Dial("tcp", e.hostport)
			if err != nil {
				t.Fatal(err)
			}
			defer sixth.Close()
			sixth.SetReadDeadline(time.Now().Add(time.Minute))
			if _, err := sixth.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("a sixth connection: %v", err)
			}
			stillServes(t, host) // over libp2p
			for _, c := range silent {
				c.Close()
			}
			client := node(t, nil)
			eventually(t, "the room is given back", func() bool {
				s, err := client.OpenBulk(limited(t), Peer{Key: host.Key(), Addrs: bulk}, testProtocol)
				if err != nil {
					return false
				}
				defer s.Close()
				return isDirect(s)
			})
		})
	}
}

func TestAHandshakeWithoutOurProtocolIsRefused(t *testing.T) {
	host, client := hostNode(t, nil), node(t, nil)
	_, bulk := kinds(host)
	e, _ := parseEndpoint(bulk[0])
	for _, alpn := range [][]string{nil, {"h2"}} {
		config := bulkConfig(t, client)
		config.NextProtos = alpn
		d, err := rawBulk(e.hostport, config)
		if err == nil {
			_, err = d.ask(testProtocol)
		}
		if err == nil {
			t.Errorf("ALPN %v: a stream was opened", alpn)
		}
	}
	plain, err := tls.Dial("tcp", e.hostport, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{bulkALPN}})
	if err == nil {
		plain.SetDeadline(time.Now().Add(time.Minute))
		if _, err = plain.Read(make([]byte, 1)); err == nil {
			t.Error("a client without a certificate is served")
		}
		plain.Close()
	}
}

func TestASubnetCountsAsOneAddress(t *testing.T) {
	for a, want := range map[string]string{
		"1.2.3.4":            "1.2.3.4/32",
		"::ffff:1.2.3.4":     "1.2.3.4/32",
		"2001:db8:1:22ff::9": "2001:db8:1:2200::/56",
		"fe80::1%eth0":       "fe80::/56",
	} {
		if got := subnet(netip.MustParseAddr(a)).String(); got != want {
			t.Errorf("%s: %s, want %s", a, got, want)
		}
	}
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	host := hostNode(t, func(c *Config) { c.IdleTimeout = 3 * time.Second })
	client := node(t, nil)
	control, _ := kinds(host)
	p := Peer{Key: host.Key(), Addrs: control}
	busy, err := node(t, nil).Open(limited(t), p, testProtocol)
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	ping(t, busy)
	s, err := client.Open(limited(t), p, testProtocol)
	if err != nil {
		t.Fatal(err)
	}
	ping(t, s)
	s.Close()
	id, _ := peerID(host.Key())
	eventually(t, "the idle connection has ended", func() bool {
		return client.host.Network().Connectedness(id) == network.NotConnected
	})
	ping(t, busy)
}

func TestEverythingIsCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	host := hostNode(t, nil)
	client := node(t, func(c *Config) { c.Metrics = reg })
	for _, open := range []opener{(*Node).Open, (*Node).OpenBulk} {
		s, err := open(client, limited(t), peerOf(host), testProtocol)
		if err != nil {
			t.Fatal(err)
		}
		ping(t, s)
		defer s.Close()
	}
	got := values(t, reg)
	for name, want := range map[string]float64{
		"hearth_p2p_streams control out":              1,
		"hearth_p2p_streams bulk out":                 1,
		"hearth_p2p_stream_bytes_total sent control":  6,
		"hearth_p2p_stream_bytes_total received bulk": 6,
		"hearth_p2p_dials_total control ok":           1,
		"hearth_p2p_dials_total bulk ok":              1,
		"hearth_p2p_dials_total bulk failed":          0,
	} {
		if got[name] != want {
			t.Errorf("%s: %v, want %v (%v)", name, got[name], want, got)
		}
	}
}
