package p2p

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"testing"
	"time"
)

const testProtocol = "/test/echo/1"

func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

// node starts a node with what the test changes in its Config.
func node(t testing.TB, change func(*Config)) *Node {
	t.Helper()
	c := Config{Key: newKey(t), Network: "hearth-test", BulkDialTimeout: 30 * time.Second}
	if change != nil {
		change(&c)
	}
	n, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// both listens for control and bulk streams on loopback.
func both(c *Config) {
	c.Listen = []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"}
	c.BulkListen = []string{"/ip4/127.0.0.1/tcp/0/tls"}
}

// hostNode listens and echoes.
func hostNode(t testing.TB, change func(*Config)) *Node {
	t.Helper()
	n := node(t, func(c *Config) {
		both(c)
		if change != nil {
			change(c)
		}
	})
	n.Handle(testProtocol, echo)
	return n
}

func echo(_ context.Context, s Stream) { io.Copy(s, s) }

// peerOf is what others know of n.
func peerOf(n *Node) Peer { return Peer{Key: n.Key(), Addrs: n.Addrs()} }

// kinds splits n's addresses.
func kinds(n *Node) (control, bulk []string) {
	for _, a := range n.Addrs() {
		if e, err := parseEndpoint(a); err == nil && e.kind == kindBulk {
			bulk = append(bulk, a)
		} else {
			control = append(control, a)
		}
	}
	return control, bulk
}

func limited(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("it never came true that %s", what)
}

// isDirect reports whether s runs over a connection of its own.
func isDirect(s Stream) bool {
	_, ok := s.(*stream).pipe.(*direct)
	return ok
}

// ping checks that s carries bytes there and back.
func ping(t testing.TB, s Stream) {
	t.Helper()
	s.SetDeadline(time.Now().Add(2 * time.Minute))
	if _, err := s.Write([]byte("hearth")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 6)
	if _, err := io.ReadFull(s, b); err != nil || string(b) != "hearth" {
		t.Fatalf("got %q, %v", b, err)
	}
	s.SetDeadline(time.Time{})
}
