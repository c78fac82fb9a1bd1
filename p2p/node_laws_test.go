package p2p

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"hearth/core/fault"
	"hearth/internal/badnet"
)

func TestBulkRunsDirectlyAndControlDoesNot(t *testing.T) {
	host, client := hostNode(t, nil), node(t, nil)
	bulk, err := client.OpenBulk(limited(t), peerOf(host), testProtocol)
	if err != nil || !isDirect(bulk) {
		t.Fatalf("bulk: %v", err)
	}
	defer bulk.Close()
	control, err := client.Open(limited(t), peerOf(host), testProtocol)
	if err != nil || isDirect(control) {
		t.Fatalf("control: %v", err)
	}
	defer control.Close()
	ping(t, bulk)
	ping(t, control)
}

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

func TestAPeerWithAnotherKindOfKeyIsRefused(t *testing.T) {
	host := hostNode(t, nil)
	_, bulk := kinds(host)
	e, _ := parseEndpoint(bulk[0])
	key, _, err := crypto.GenerateSecp256k1Key(nil)
	if err != nil {
		t.Fatal(err)
	}
	id, err := libp2ptls.NewIdentity(key)
	if err != nil {
		t.Fatal(err)
	}
	config, _ := id.ConfigForPeer("")
	config.NextProtos = []string{bulkALPN}
	if d, err := rawBulk(e.hostport, config); err == nil {
		_, err = d.ask(testProtocol)
		if err == nil {
			t.Error("a stream was opened")
		}
	}
}

// rawBulk is a direct connection by hand.
func rawBulk(addr string, config *tls.Config) (*direct, error) {
	c, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(5 * time.Second))
	return &direct{Conn: c, records: newRecords()}, nil
}

// bulkConfig is TLS as key's owner.
func bulkConfig(t *testing.T, n *Node) *tls.Config {
	t.Helper()
	config, _ := n.bulk.config("")
	return config
}

func TestBrokenChunksEndTheConnection(t *testing.T) {
	host, client := hostNode(t, nil), node(t, nil)
	_, bulk := kinds(host)
	e, _ := parseEndpoint(bulk[0])
	for name, send := range map[string]func(d *direct){
		"data before open":      func(d *direct) { d.send(chunkData, []byte("x")) },
		"an open without name":  func(d *direct) { d.send(chunkOpen, nil) },
		"an open of a long one": func(d *direct) { d.send(chunkOpen, make([]byte, maxName+1)) },
		"an unknown kind":       func(d *direct) { d.send(200, []byte("x")) },
		"an open inside": func(d *direct) {
			d.ask(testProtocol)
			d.send(chunkOpen, []byte(testProtocol))
		},
		"an end with bytes": func(d *direct) {
			d.ask(testProtocol)
			d.send(chunkEnd, []byte("x"))
		},
		"a chunk above the limit": func(d *direct) {
			d.ask(testProtocol)
			d.Conn.Write([]byte{chunkData, 0xff, 0xff, 0xff})
		},
	} {
		d, err := rawBulk(e.hostport, bulkConfig(t, client))
		if err != nil {
			t.Fatal(err)
		}
		send(d)
		for err == nil {
			_, err = d.Conn.Read(make([]byte, 100))
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("%s: the connection goes on", name)
		}
		d.hangUp()
	}
}

func TestFallbackWhereTheDirectEndpointDoesNotAnswer(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for name, prepare := range map[string]func(p *badnet.Proxy) string{
		"nobody listens":   func(*badnet.Proxy) string { return closed.Addr().String() },
		"somebody is deaf": func(p *badnet.Proxy) string { p.Silence(true); return p.Addr() },
		"it is refused":    func(p *badnet.Proxy) string { p.Refuse(true); return p.Addr() },
	} {
		t.Run(name, func(t *testing.T) {
			host := hostNode(t, nil)
			client := node(t, func(c *Config) { c.BulkDialTimeout = 100 * time.Millisecond })
			control, bulk := kinds(host)
			e, _ := parseEndpoint(bulk[0])
			proxy, err := badnet.New(e.hostport)
			if err != nil {
				t.Fatal(err)
			}
			defer proxy.Close()
			at, port, _ := net.SplitHostPort(prepare(proxy))
			p := Peer{Key: host.Key(), Addrs: append(control, "/ip4/"+at+"/tcp/"+port+"/tls")}
			for range 3 {
				s, err := client.OpenBulk(limited(t), p, testProtocol)
				if err != nil {
					t.Fatal(err)
				}
				if isDirect(s) {
					t.Fatal("the stream is direct")
				}
				ping(t, s)
				s.Close()
			}
			if !client.bulk.isDeaf(string(p.Key) + net.JoinHostPort(at, port)) {
				t.Error("the endpoint would be tried again at once")
			}
		})
	}
}

func TestADeafEndpointIsTriedAgainLater(t *testing.T) {
	host := hostNode(t, nil)
	client := node(t, func(c *Config) { c.BulkDialTimeout, c.BulkRetry = 100*time.Millisecond, 200*time.Millisecond })
	control, bulk := kinds(host)
	e, _ := parseEndpoint(bulk[0])
	proxy, err := badnet.New(e.hostport)
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	proxy.Silence(true)
	p := Peer{Key: host.Key(), Addrs: append(control, fmt.Sprintf("/ip4/127.0.0.1/tcp/%d/tls", proxy.Port()))}
	open := func() bool {
		s, err := client.OpenBulk(limited(t), p, testProtocol)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		ping(t, s)
		return isDirect(s)
	}
	if open() {
		t.Fatal("direct through silence")
	}
	proxy.Silence(false)
	eventually(t, "the endpoint is used again", open)
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
		c.Listen, c.BulkListen = nil, bulk
		for _, a := range control {
			c.Listen = append(c.Listen, a)
		}
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

func TestConnectionsAreKeptForTheNextStream(t *testing.T) {
	host := hostNode(t, nil)
	client := node(t, func(c *Config) { c.Limits.BulkIdlePerPeer = 2 })
	var streams []Stream
	for range 4 {
		s, err := client.OpenBulk(limited(t), peerOf(host), testProtocol)
		if err != nil {
			t.Fatal(err)
		}
		ping(t, s)
		streams = append(streams, s)
	}
	for _, s := range streams {
		s.Close()
	}
	live := func() int {
		client.bulk.mu.Lock()
		defer client.bulk.mu.Unlock()
		return len(client.bulk.live)
	}
	eventually(t, "two connections are kept and two ended", func() bool {
		client.bulk.mu.Lock()
		defer client.bulk.mu.Unlock()
		return client.bulk.kept == 2 && len(client.bulk.live) == 2
	})
	s, err := client.OpenBulk(limited(t), peerOf(host), testProtocol)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ping(t, s)
	if live() != 2 {
		t.Errorf("%d connections: a kept one was not used", live())
	}
}

func TestAFailedStreamIsNotKept(t *testing.T) {
	host, client := hostNode(t, nil), node(t, nil)
	s, err := client.OpenBulk(limited(t), peerOf(host), testProtocol)
	if err != nil {
		t.Fatal(err)
	}
	s.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	s.Read(make([]byte, 1))
	s.Close()
	eventually(t, "the connection has ended on both sides", func() bool {
		for _, n := range []*Node{host, client} {
			n.bulk.mu.Lock()
			live := len(n.bulk.live)
			n.bulk.mu.Unlock()
			if live > 0 {
				return false
			}
		}
		return true
	})
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

func TestCloseEndsEverythingSoon(t *testing.T) {
	host, client := hostNode(t, nil), node(t, nil)
	host.Handle("/test/stubborn/1", func(ctx context.Context, s Stream) { io.Copy(io.Discard, s) })
	host.Handle("/test/polite/1", func(ctx context.Context, s Stream) {
		<-ctx.Done()
		s.Write([]byte("goodbye"))
	})
	var streams []Stream
	for _, open := range []opener{(*Node).Open, (*Node).OpenBulk} {
		for _, p := range []string{"/test/stubborn/1", "/test/polite/1"} {
			s, err := open(client, limited(t), peerOf(host), p)
			if err != nil {
				t.Fatal(err)
			}
			s.Write([]byte("x"))
			s.SetDeadline(time.Now().Add(10 * time.Second))
			streams = append(streams, s)
		}
	}
	eventually(t, "all streams are served", func() bool { return served(t, host) == len(streams) })
	start := time.Now()
	if err := host.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	for i, s := range streams {
		b, err := io.ReadAll(s)
		if i%2 == 1 && string(b) != "goodbye" {
			t.Errorf("stream %d: a handler that heeds its context got %q through, %v", i, b, err)
		}
		s.Close()
	}
	if _, err := client.OpenBulk(limited(t), peerOf(host), testProtocol); err == nil {
		t.Error("a closed node answers")
	}
	if err := host.Close(); err != nil {
		t.Error(err)
	}
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
