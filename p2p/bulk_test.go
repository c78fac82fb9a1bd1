package p2p

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"

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
	c.SetDeadline(time.Now().Add(time.Minute))
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
