package client

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"hearth/core/erasure"
	"hearth/p2p"
	"hearth/storage/host"
)

// overP2P gives every machine of a fleet a node with a direct endpoint, and the
// fleet a node to dial with.
func overP2P(t testing.TB, f *fleet) {
	t.Helper()
	start := func(key ed25519.PrivateKey, listen bool) *p2p.Node {
		c := p2p.Config{Key: key, Network: chainID, DialTimeout: time.Minute}
		if listen {
			c.Listen = []string{"/ip4/127.0.0.1/tcp/0"}
			c.BulkListen = []string{"/ip4/127.0.0.1/tcp/0/tls"}
		}
		n, err := p2p.New(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		return n
	}
	for _, m := range f.machines {
		pub, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		n := start(key, true)
		n.Handle(host.Protocol, m.srv.Serve)
		m.key, m.addrs = pub, n.Addrs()
	}
	f.node = start(f.key, false)
}

func TestOverRealNodes(t *testing.T) {
	f := newFleet(t, 7, gib)
	overP2P(t, f)
	c := newClient(t, f)
	b := random(20<<20 + 5)
	put(t, c, ref, b)
	wantContent(t, c, ref, b)
	f.machines[1].key = f.machines[2].key // somebody else answers there now
	c.Close()
	wantContent(t, c, ref, b)
}

// The whole way over real nodes and hosts of this process, 10 of 20.
func BenchmarkPutGet(b *testing.B) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	f := newFleetAt(b, key, b.TempDir(), 22, 4<<30)
	overP2P(b, f)
	f.chunk = 1 << 20
	c := f.client(b, filepath.Join(b.TempDir(), "index.db"), func(c *Config) { c.Class = erasure.DefaultClass })
	data := random(200 << 20)
	for _, size := range []int{64 << 10, 1 << 20, len(data)} {
		b.Run(fmt.Sprintf("put-%dKiB", size>>10), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				put(b, c, ref, data[:size])
			}
		})
		b.Run(fmt.Sprintf("get-%dKiB", size>>10), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				if _, err := c.Get(b.Context(), ref, discard{}, GetOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("range-of-%dKiB", size>>10), func(b *testing.B) {
			for b.Loop() {
				if _, err := c.Get(b.Context(), ref, discard{}, GetOptions{Offset: 1000, Length: 60 << 10}); err != nil {
					b.Fatal(err)
				}
			}
		})
		c.Work(b.Context())
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
