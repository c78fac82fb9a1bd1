package s3

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/core/grant"
	"hearth/core/quote"
	"hearth/p2p"
	"hearth/storage/client"
	"hearth/storage/host"
	"hearth/storage/index"
	"hearth/storage/remote"
)

const chainID = "hearth-test"

// A town is a few real storage hosts in this process, with a market that knows
// them and is paid whatever it asks.
type town struct {
	key   ed25519.PrivateKey
	hosts []*house
}

type house struct {
	name    string
	lease   uint64
	key     ed25519.PublicKey
	store   *host.Host
	srv     *host.Server
	mu      sync.Mutex
	units   uint64
	root    [32]byte
	in, out uint64 // paid and not used
	covered chan struct{}
}

func newTown(t testing.TB, n int) *town {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := &town{key: key}
	for i := range n {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		h := &house{name: fmt.Sprintf("hearth1host%02d", i), lease: uint64(i + 1), key: public, covered: make(chan struct{})}
		if h.store, err = host.Open(host.Config{Dir: "/" + h.name, FS: vfs.NewMem(), Capacity: 1 << 30, VolumeSize: 16 << 20}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.store.Close() })
		if h.srv, err = host.NewServer(host.ServerConfig{Host: h.store, Meter: h, Leases: h, ChainID: chainID}); err != nil {
			t.Fatal(err)
		}
		w.hosts = append(w.hosts, h)
	}
	return w
}

// client is one that stores 3 of 6 in the town.
func (w *town) client(t testing.TB) *client.Client {
	t.Helper()
	x, err := index.Open(index.Config{Path: filepath.Join(t.TempDir(), "index.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	c, err := client.New(t.Context(), client.Config{Index: x, Market: w, Dialer: w, Class: erasure.Class{K: 3, N: 6}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// stored is what all hosts hold under statements.
func (w *town) stored() (n uint64) {
	for _, h := range w.hosts {
		h.mu.Lock()
		n += h.units
		h.mu.Unlock()
	}
	return n
}

func (w *town) Hosts(_ context.Context, n client.Need) ([]remote.Pair, error) {
	var out []remote.Pair
	for _, h := range w.hosts {
		if !slices.Contains(n.Used, h.name) && !n.Avoid[h.name] && len(out) < n.Want+n.Spares {
			out = append(out, &deal{h, w})
		}
	}
	if len(out) < n.Least {
		return nil, fault.New(fault.NotEnoughHosts, "%d hosts", len(out))
	}
	return out, nil
}

func (w *town) Lease(_ context.Context, id uint64) (remote.Pair, error) {
	return &deal{w.hosts[id-1], w}, nil
}

type stream struct {
	net.Conn
	key ed25519.PublicKey
}

func (s stream) Remote() ed25519.PublicKey { return s.key }
func (s stream) RemoteIP() string          { return "127.0.0.1" }

func (w *town) OpenBulk(_ context.Context, peer p2p.Peer, _ string) (p2p.Stream, error) {
	h := w.hosts[slices.IndexFunc(w.hosts, func(h *house) bool { return h.key.Equal(peer.Key) })]
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	far, err := l.Accept()
	if err != nil {
		return nil, err
	}
	go func() {
		defer far.Close()
		h.srv.Serve(context.Background(), stream{far, w.key.Public().(ed25519.PublicKey)})
	}()
	return stream{near, h.key}, nil
}

type deal struct {
	h *house
	w *town
}

func (d *deal) Lease() uint64  { return d.h.lease }
func (d *deal) Host() string   { return d.h.name }
func (d *deal) Peer() p2p.Peer { return p2p.Peer{Key: d.h.key} }
func (d *deal) Chunk() uint64  { return 4 << 20 }

func (d *deal) Grant() (grant.Grant, ed25519.PublicKey, []byte) {
	key := d.w.key.Public().(ed25519.PublicKey)
	g := grant.Grant{Lease: d.h.lease, Peer: [32]byte(key), Until: time.Now().Unix() + 3600}
	return g, key, g.Sign(chainID, d.w.key)
}

func (d *deal) Pay(_ context.Context, in, out uint64) error {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	d.h.in, d.h.out = d.h.in+in, d.h.out+out
	close(d.h.covered)
	d.h.covered = make(chan struct{})
	return nil
}

func (d *deal) Over(uint64, uint64) {}

func (d *deal) Resync(context.Context) error { return nil }

func (d *deal) State(context.Context) (uint64, [32]byte, error) {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	return d.h.units, d.h.root, nil
}

func (d *deal) Cover(_ context.Context, units uint64, root [32]byte) error {
	if err := d.h.store.Covers(d.h.lease, quote.Units{units}, root); err != nil {
		return err
	}
	if err := d.h.store.Commit(d.h.lease, quote.Units{units}, root); err != nil {
		return err
	}
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	d.h.units, d.h.root = units, root
	return nil
}

func (h *house) Take(_, in, out uint64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if in > h.in || out > h.out {
		return fault.New(fault.Unpaid, "%d in and %d out aren't paid", in, out)
	}
	h.in, h.out = h.in-in, h.out-out
	return nil
}

func (h *house) Covered(uint64) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.covered
}

func (h *house) Allowed(context.Context, quote.Kind, uint64, ed25519.PublicKey) error { return nil }

func (h *house) MayRemove(context.Context, uint64, ed25519.PublicKey) error { return nil }
