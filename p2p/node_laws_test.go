package p2p

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"hearth/core/fault"
	"hearth/internal/badnet"
)

func TestAWrongIdentityIsRefusedAtTheHandshake(t *testing.T) {
	host, client := hostNode(t, nil), node(t, nil)
	control, bulk := kinds(host)
	for name, addrs := range map[string][]string{"control": control, "bulk": bulk, "both": host.Addrs()} {
		stranger := Peer{Key: publicOf(newKey(t)), Addrs: addrs}
		if s, err := client.OpenBulk(limited(t), stranger, testProtocol); fault.CodeOf(err) != fault.HostUnreachable {
			t.Errorf("%s: got %v, %v", name, s, err)
		}
	}
}

func TestAPeerThatIsDownIsUnreachableAndNotDeaf(t *testing.T) {
	host, client := hostNode(t, nil), node(t, nil)
	p := peerOf(host)
	host.Close()
	for _, open := range []opener{(*Node).Open, (*Node).OpenBulk} {
		if _, err := open(client, limited(t), p, testProtocol); fault.CodeOf(err) != fault.HostUnreachable {
			t.Errorf("got %v", err)
		}
	}
	if len(client.bulk.deaf) > 0 {
		t.Error("a peer that is down counts as deaf")
	}
	if _, err := client.Open(limited(t), Peer{Key: p.Key}, testProtocol); fault.CodeOf(err) != fault.HostUnreachable {
		t.Errorf("without an address: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := client.OpenBulk(ctx, p, testProtocol); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestAHostThatComesBackIsReachedAtOnce(t *testing.T) {
	key := newKey(t)
	host := hostNode(t, func(c *Config) { c.Key = key })
	client := node(t, nil)
	p := peerOf(host)
	s, err := client.OpenBulk(limited(t), p, testProtocol)
	if err != nil {
		t.Fatal(err)
	}
	ping(t, s)
	s.Close()
	host.Close()
	if _, err := client.OpenBulk(limited(t), p, testProtocol); err == nil {
		t.Fatal("the host is down, yet it answers")
	}
	control, bulk := kinds(host)
	hostNode(t, func(c *Config) {
		c.Key = key
		c.Listen, c.BulkListen = slices.Clone(control), bulk
	})
	s, err = client.OpenBulk(limited(t), p, testProtocol)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ping(t, s)
	if !isDirect(s) {
		t.Error("not over the direct endpoint")
	}
}

func TestACallAsksAndAnswers(t *testing.T) {
	host, client := hostNode(t, nil), node(t, nil)
	host.Handle("/test/call/1", func(_ context.Context, s Stream) {
		var m wrapperspb.StringValue
		if ReadFrame(s, &m, 100) == nil {
			WriteFrame(s, wrapperspb.String(strings.ToUpper(m.Value)))
		}
	})
	var got wrapperspb.StringValue
	if err := client.Call(limited(t), peerOf(host), "/test/call/1", wrapperspb.String("hearth"), &got, 100); err != nil || got.Value != "HEARTH" {
		t.Errorf("got %q, %v", got.Value, err)
	}
	err := client.Call(limited(t), peerOf(host), "/test/call/1", wrapperspb.String("hearth"), &got, 3)
	if fault.CodeOf(err) != fault.TooLarge {
		t.Errorf("an answer above the limit: %v", err)
	}
}

func TestANodeFindsAThirdOne(t *testing.T) {
	first, second := hostNode(t, nil), hostNode(t, nil)
	client, elsewhere := node(t, nil), node(t, func(c *Config) { c.Network = "hearth-other" })
	for _, n := range []*Node{second, client, elsewhere} {
		if err := n.Bootstrap(limited(t), []Peer{peerOf(first)}); err != nil {
			t.Fatal(err)
		}
	}
	var addrs []string
	eventually(t, "the client finds the second host", func() bool {
		var err error
		addrs, err = client.Find(limited(t), second.Key())
		return err == nil
	})
	if want := second.Addrs(); !slices.Equal(addrs, want) {
		t.Errorf("found %v, want %v", addrs, want)
	}
	s, err := client.OpenBulk(limited(t), Peer{Key: second.Key(), Addrs: addrs}, testProtocol)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ping(t, s)
	if _, err := elsewhere.Find(limited(t), second.Key()); fault.CodeOf(err) != fault.HostUnreachable {
		t.Errorf("a node of another network: %v", err)
	}
	if _, err := client.Find(limited(t), publicOf(newKey(t))); fault.CodeOf(err) != fault.HostUnreachable {
		t.Errorf("a node that isn't there: %v", err)
	}
}

func TestBootstrapNeedsOneThatAnswers(t *testing.T) {
	host, client := hostNode(t, nil), node(t, nil)
	gone := hostNode(t, nil)
	lost := peerOf(gone)
	gone.Close()
	if err := client.Bootstrap(limited(t), []Peer{lost}); fault.CodeOf(err) != fault.HostUnreachable {
		t.Errorf("none answers: %v", err)
	}
	if err := client.Bootstrap(limited(t), []Peer{lost, peerOf(host)}); err != nil {
		t.Errorf("one answers: %v", err)
	}
}

func TestWhatIsAnnouncedIsWhatIsListenedOn(t *testing.T) {
	host := hostNode(t, nil)
	control, bulk := kinds(host)
	if len(control) != 2 || len(bulk) != 1 {
		t.Errorf("announced %v", host.Addrs())
	}
	want := []string{"/dns4/host.example/tcp/1", "/ip4/203.0.113.5/tcp/2/tls"}
	behind := hostNode(t, func(c *Config) { c.Announce = want })
	if got := behind.Addrs(); !slices.Equal(got, want) {
		t.Errorf("announced %v, want %v", got, want)
	}
	if got := node(t, nil).Addrs(); len(got) != 0 {
		t.Errorf("a node that doesn't listen announces %v", got)
	}
}

func TestANodeOnEveryInterfaceAnnouncesRealAddresses(t *testing.T) {
	host := hostNode(t, func(c *Config) {
		c.Listen, c.BulkListen = []string{"/ip4/0.0.0.0/tcp/0"}, []string{"/ip4/0.0.0.0/tcp/0/tls"}
	})
	control, bulk := kinds(host)
	if len(control) == 0 || len(bulk) == 0 {
		t.Fatalf("announced %v", host.Addrs())
	}
	for _, a := range host.Addrs() {
		if strings.Contains(a, "/0.0.0.0/") {
			t.Errorf("announced %s", a)
		}
	}
}

func TestACutConnectionIsNotAnEnd(t *testing.T) {
	for name, open := range map[string]opener{"control": (*Node).Open, "bulk": (*Node).OpenBulk} {
		t.Run(name, func(t *testing.T) {
			host := hostNode(t, func(c *Config) { c.Listen = c.Listen[:1] })
			client := node(t, nil)
			cut := make(chan error, 1)
			host.Handle(testProtocol, func(_ context.Context, s Stream) {
				_, err := io.Copy(s, s)
				cut <- err
			})
			p := Peer{Key: host.Key()}
			var proxies []*badnet.Proxy
			for _, a := range host.Addrs() {
				e, _ := parseEndpoint(a)
				proxy, err := badnet.New(e.hostport)
				if err != nil {
					t.Fatal(err)
				}
				defer proxy.Close()
				proxies = append(proxies, proxy)
				end := map[int]string{kindTCP: "", kindBulk: "/tls"}[e.kind]
				p.Addrs = append(p.Addrs, fmt.Sprintf("/ip4/127.0.0.1/tcp/%d%s", proxy.Port(), end))
			}
			s, err := open(client, limited(t), p, testProtocol)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			ping(t, s)
			for _, proxy := range proxies {
				proxy.Cut()
			}
			s.SetDeadline(time.Now().Add(2 * time.Minute))
			if _, err := s.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("the client reads %v", err)
			}
			if err := <-cut; err == nil {
				t.Error("the host takes it for an end")
			}
		})
	}
}

func TestErrorsSayWhatFailedOnOneLine(t *testing.T) {
	host, client := hostNode(t, nil), node(t, nil)
	stranger := Peer{Key: publicOf(newKey(t)), Addrs: host.Addrs()}
	_, err := client.OpenBulk(limited(t), stranger, testProtocol)
	want := "open " + testProtocol + " to " + stranger.String()
	if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %q", err)
	}
}

func TestCloseEndsEverythingSoon(t *testing.T) {
	for name, tt := range map[string]struct {
		farewell time.Duration
		handler  Handler
		want     string
	}{
		"who heeds the end gets the last word": {time.Hour, func(ctx context.Context, s Stream) {
			<-ctx.Done()
			s.Write([]byte("goodbye"))
		}, "goodbye"},
		"who doesn't is cut off": {farewell, waits, ""},
	} {
		t.Run(name, func(t *testing.T) {
			host, client := hostNode(t, nil), node(t, nil)
			host.farewell = tt.farewell
			host.Handle("/test/last/1", tt.handler)
			var streams []Stream
			for _, open := range []opener{(*Node).Open, (*Node).OpenBulk} {
				s, err := open(client, limited(t), peerOf(host), "/test/last/1")
				if err != nil {
					t.Fatal(err)
				}
				s.Write([]byte("x"))
				s.SetDeadline(time.Now().Add(2 * time.Minute))
				streams = append(streams, s)
			}
			eventually(t, "all streams are served", func() bool { return served(t, host) == len(streams) })
			if err := host.Close(); err != nil { // also when connections don't end in time
				t.Error(err)
			}
			for i, s := range streams {
				if b, err := io.ReadAll(s); string(b) != tt.want {
					t.Errorf("stream %d: got %q through, %v", i, b, err)
				}
				s.Close()
			}
			s, err := client.OpenBulk(limited(t), peerOf(host), testProtocol)
			if err == nil { // over a connection whose end it hasn't noticed
				s.SetDeadline(time.Now().Add(2 * time.Minute))
				s.Write([]byte("x"))
				_, err = s.Read(make([]byte, 1))
				s.Close()
			}
			if err == nil {
				t.Error("a closed node answers")
			}
			if err := host.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAClosedNodeLeavesNothingBehind(t *testing.T) {
	run := func() {
		host, client := hostNode(t, nil), node(t, nil)
		for _, open := range []opener{(*Node).Open, (*Node).OpenBulk} {
			s, err := open(client, limited(t), peerOf(host), testProtocol)
			if err != nil {
				t.Fatal(err)
			}
			ping(t, s)
			s.Close()
		}
		host.Close()
		client.Close()
	}
	run() // libraries start what stays at their first use
	before := runtime.NumGoroutine()
	for range 3 {
		run()
	}
	eventually(t, "the goroutines are gone", func() bool { return runtime.NumGoroutine() <= before+5 })
}

func TestANewNodeNeedsItsConfig(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	reg := prometheus.NewRegistry()
	if _, err := newMetrics(reg); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"no key":             func(c *Config) { c.Key = nil },
		"no network":         func(c *Config) { c.Network = "" },
		"a bad address":      func(c *Config) { c.Listen = []string{"127.0.0.1:1"} },
		"a bulk without tls": func(c *Config) { c.BulkListen = []string{"/ip4/127.0.0.1/tcp/0"} },
		"a taken port": func(c *Config) {
			c.BulkListen = []string{fmt.Sprintf("/ip4/127.0.0.1/tcp/%d/tls", taken.Addr().(*net.TCPAddr).Port)}
		},
		"a bad announcement": func(c *Config) { c.Announce = []string{"example.com"} },
		"metrics taken":      func(c *Config) { c.Metrics = reg },
	} {
		c := Config{Key: newKey(t), Network: "hearth-test"}
		change(&c)
		if n, err := New(c); err == nil {
			n.Close()
			t.Errorf("%s: it started", name)
		}
	}
}

func TestAnAddressThatIsTakenIsNamedSo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	_, key, _ := ed25519.GenerateKey(nil)
	for name, c := range map[string]Config{
		"bulk":    {BulkListen: []string{fmt.Sprintf("/ip4/127.0.0.1/tcp/%d/tls", port)}},
		"control": {Listen: []string{fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port)}},
		"one of several": {Listen: []string{
			"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0", fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port),
		}},
	} {
		c.Key, c.Network = key, "hearth-test"
		n, err := New(c)
		if fault.CodeOf(err) != fault.AddressTaken {
			t.Errorf("%s: %v", name, err)
		}
		if n != nil {
			n.Close()
		}
	}
}

// A node reaches its own handlers by a door of their own, and never by the network.
func TestANodeReachesItself(t *testing.T) {
	n := hostNode(t, nil)
	if _, err := n.Open(t.Context(), Peer{Key: n.Key(), Addrs: n.Addrs()}, testProtocol); err == nil {
		t.Error("it has dialed itself")
	}
	s, err := n.OpenOwn(testProtocol)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if other, err := n.OpenOwn(testProtocol); err != nil || s == other { // callers compare streams
		t.Errorf("two streams are one, or %v", err)
	} else {
		other.Close()
	}
	if !s.Remote().Equal(n.Key()) {
		t.Errorf("it is %x", s.Remote())
	}
	go s.Write([]byte("echo"))
	b := make([]byte, 4)
	if _, err := io.ReadFull(s, b); err != nil || string(b) != "echo" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := n.OpenOwn("/test/nobody/1"); fault.CodeOf(err) != fault.HostRefused {
		t.Error(err)
	}
}
