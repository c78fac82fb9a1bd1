package client

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/core/grant"
	"hearth/core/quote"
	"hearth/p2p"
	"hearth/storage/host"
	"hearth/storage/index"
	"hearth/storage/remote"
)

const chainID = "hearth-test"

// A machine is a real storage host behind streams that can be made to misbehave.
// It is also what the test's market knows of it: one lease, and who paid what.
type machine struct {
	t     testing.TB
	name  string
	lease uint64
	key   ed25519.PublicKey
	owner ed25519.PublicKey // of its lease; those from foreign on are anybody's
	addrs []string
	store *host.Host
	srv   *host.Server

	dead    atomic.Bool  // refuses streams, and ends those there are
	deaf    atomic.Bool  // takes bytes and doesn't answer while it lasts
	garbage atomic.Bool  // flips a bit in what it sends
	broke   atomic.Bool  // its lease has no money
	unsure  atomic.Bool  // doesn't sign
	gone    atomic.Bool  // the lease is closed
	stingy  atomic.Bool  // says of every byte it should send that it isn't paid
	slow    atomic.Int64 // nanoseconds before each read of what a client sends, and each write
	dieAt   atomic.Int64 // dies after so many bytes more in either direction; 0: never
	opened  atomic.Int64
	asked   atomic.Int64 // bytes sent to clients

	mu      sync.Mutex
	in, out int64 // paid
	flyIn   int64 // paid for and on their way
	flyOut  int64
	usedIn  int64
	usedOut int64
	ahead   int64 // the most that was ever paid ahead
	units   uint64
	root    [32]byte
	covered chan struct{}
}

// A fleet is a network of machines, a market and a dialer.
type fleet struct {
	t        testing.TB
	key      ed25519.PrivateKey // the client's, of its peer and its statements
	machines []*machine
	chunk    uint64
	dir      string
	node     *p2p.Node    // dials in the stead of the fleet
	ahead    atomic.Int64 // the fleet's clock, ahead of the machine's
	mu       sync.Mutex
	needs    []Need
}

func (f *fleet) now() time.Time { return time.Now().Add(time.Duration(f.ahead.Load())) }

// pass lets time go by for all, and has the hosts do what is due.
func (f *fleet) pass(d time.Duration) {
	f.ahead.Add(int64(d))
	for _, m := range f.machines {
		if err := m.store.Sweep(); err != nil {
			f.t.Error(err)
		}
	}
}

func newFleet(t testing.TB, n int, capacity int64) *fleet {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return newFleetAt(t, key, "", n, capacity)
}

// newFleetAt is a fleet whose machines keep their shards in dir, or in memory
// where it is empty.
func newFleetAt(t testing.TB, key ed25519.PrivateKey, dir string, n int, capacity int64) *fleet {
	t.Helper()
	f := &fleet{t: t, key: key, chunk: 256 << 10, dir: dir}
	for i := range n {
		f.add(i, capacity)
	}
	return f
}

func (f *fleet) add(i int, capacity int64) {
	key, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.t.Fatal(err)
	}
	m := &machine{t: f.t, name: fmt.Sprintf("hearth1host%02d", i), lease: uint64(i + 1), key: key, owner: f.key.Public().(ed25519.PublicKey), covered: make(chan struct{})}
	c := host.Config{Dir: "/" + m.name, FS: vfs.NewMem(), Capacity: capacity, VolumeSize: 16 << 20, Now: f.now}
	if f.dir != "" {
		c = host.Config{Dir: filepath.Join(f.dir, m.name), Capacity: capacity, Now: f.now}
	}
	m.store, err = host.Open(c)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		m.deaf.Store(false)
		m.store.Close()
	})
	m.srv, err = host.NewServer(host.ServerConfig{Host: m.store, Meter: m, Leases: m, ChainID: chainID, Patience: 20 * time.Second, Pause: 5 * time.Minute})
	if err != nil {
		f.t.Fatal(err)
	}
	f.machines = append(f.machines, m)
}

// client is a new process on the same network, over the index at path.
func (f *fleet) client(t testing.TB, path string, change func(*Config)) *Client {
	t.Helper()
	x, err := index.Open(index.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	c := Config{
		Index: x, Market: f, Dialer: f, Class: erasure.Class{K: 3, N: 6}, Now: f.now,
		// No host is slow or gone by chance, however busy the machine; who fails isn't waited for long.
		Patience: time.Second, Slow: time.Hour, Pause: 5 * time.Minute, Retry: 100 * time.Millisecond, Stall: 200 * time.Millisecond,
	}
	if change != nil {
		change(&c)
	}
	cl, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	if err := x.MakeBucket(t.Context(), "town"); err != nil && fault.CodeOf(err) != fault.Exists {
		t.Fatal(err)
	}
	return cl
}

func newClient(t testing.TB, f *fleet) *Client {
	return f.client(t, filepath.Join(t.TempDir(), "index.db"), nil)
}

// stored is how many shards all machines hold under statements.
func (f *fleet) stored() (bytes uint64) {
	for _, m := range f.machines {
		m.mu.Lock()
		bytes += m.units
		m.mu.Unlock()
	}
	return bytes
}

// The market.

func (f *fleet) Hosts(_ context.Context, n Need) ([]remote.Pair, error) {
	f.mu.Lock()
	f.needs = append(f.needs, n)
	f.mu.Unlock()
	var out []remote.Pair
	for _, m := range f.machines {
		if !slices.Contains(n.Used, m.name) && !n.Avoid[m.name] && !m.gone.Load() && len(out) < n.Want+n.Spares {
			out = append(out, &bargain{m, f})
		}
	}
	if len(out) < n.Least {
		return nil, fault.New(fault.NotEnoughHosts, "%d of %d hosts found", len(out), n.Want)
	}
	return out, nil
}

func (f *fleet) Lease(_ context.Context, id uint64) (remote.Pair, error) {
	if id == 0 || id > uint64(len(f.machines)) || f.machines[id-1].gone.Load() {
		return nil, fault.New(fault.NoLease, "there is no lease %d", id)
	}
	return &bargain{f.machines[id-1], f}, nil
}

// A bargain is the client's side of a machine's lease.
type bargain struct {
	m *machine
	f *fleet
}

func (b *bargain) Lease() uint64  { return b.m.lease }
func (b *bargain) Host() string   { return b.m.name }
func (b *bargain) Peer() p2p.Peer { return p2p.Peer{Key: b.m.key, Addrs: b.m.addrs} }
func (b *bargain) Chunk() uint64  { return b.f.chunk }

func (b *bargain) Grant() (grant.Grant, ed25519.PublicKey, []byte) {
	key := b.f.key.Public().(ed25519.PublicKey)
	g := grant.Grant{Lease: b.m.lease, Peer: [32]byte(key), Until: b.f.now().Unix() + 3600}
	return g, key, g.Sign(chainID, b.f.key)
}

func (b *bargain) Pay(ctx context.Context, in, out uint64) error {
	if in+out > b.Chunk() {
		b.m.t.Errorf("%d bytes paid at once, at most %d should be", in+out, b.Chunk())
	}
	if b.m.broke.Load() {
		return fault.New(fault.NoFunds, "the lease has no money")
	}
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	b.m.in, b.m.out = b.m.in+int64(in), b.m.out+int64(out)
	b.m.flyIn, b.m.flyOut = b.m.flyIn+int64(in), b.m.flyOut+int64(out)
	b.m.ahead = max(b.m.ahead, b.m.in-b.m.usedIn+b.m.out-b.m.usedOut)
	close(b.m.covered)
	b.m.covered = make(chan struct{})
	return ctx.Err()
}

func (b *bargain) Over(in, out uint64) {
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	b.m.flyIn, b.m.flyOut = b.m.flyIn-int64(in), b.m.flyOut-int64(out)
}

func (b *bargain) Resync(context.Context) error {
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	b.m.in, b.m.out = b.m.usedIn+b.m.flyIn, b.m.usedOut+b.m.flyOut
	return nil
}

func (b *bargain) State(context.Context) (uint64, [32]byte, error) {
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	return b.m.units, b.m.root, nil
}

func (b *bargain) Cover(_ context.Context, units uint64, root [32]byte) error {
	m := b.m
	if m.dead.Load() || m.unsure.Load() {
		return fault.New(fault.HostUnreachable, "%s doesn't answer", m.name)
	}
	if err := m.store.Covers(m.lease, quote.Units{units}, root); err != nil {
		return err
	}
	if err := m.store.Commit(m.lease, quote.Units{units}, root); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.units, m.root = units, root
	return nil
}

// The meter and the mandates of the machine.

func (m *machine) Take(_, in, out uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stingy.Load() && out > 0 || m.usedIn+int64(in) > m.in || m.usedOut+int64(out) > m.out {
		return fault.New(fault.Unpaid, "%d in and %d out aren't paid", in, out)
	}
	m.usedIn, m.usedOut = m.usedIn+int64(in), m.usedOut+int64(out)
	return nil
}

func (m *machine) Covered(uint64) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.covered
}

func (m *machine) Allowed(_ context.Context, _ quote.Kind, lease uint64, key ed25519.PublicKey) error {
	if lease < foreign && !m.owner.Equal(key) {
		return fault.New(fault.MandateRefused, "lease %d is somebody else's", lease)
	}
	return nil
}

func (m *machine) MayRemove(context.Context, uint64, ed25519.PublicKey) error { return nil }

// OpenBulk connects to a machine.
func (f *fleet) OpenBulk(ctx context.Context, peer p2p.Peer, protocol string) (p2p.Stream, error) {
	if f.node != nil {
		return f.node.OpenBulk(ctx, peer, protocol)
	}
	i := slices.IndexFunc(f.machines, func(m *machine) bool { return m.key.Equal(peer.Key) })
	m := f.machines[i]
	if m.dead.Load() {
		return nil, errors.New("connection refused")
	}
	if protocol != host.Protocol {
		return nil, fmt.Errorf("protocol %s", protocol)
	}
	m.opened.Add(1)
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
		m.srv.Serve(context.Background(), &conn{Conn: far, key: f.key.Public().(ed25519.PublicKey), m: m})
	}()
	return &conn{Conn: near, key: m.key}, nil
}

// A conn is one end of a stream; the machine's end misbehaves as it is told.
type conn struct {
	net.Conn
	key ed25519.PublicKey
	m   *machine // nil at the client's end
}

func (c *conn) Remote() ed25519.PublicKey { return c.key }
func (c *conn) RemoteIP() string          { return "127.0.0.1" }

// trouble does what is due before n bytes pass.
func (c *conn) trouble(n int) error {
	if c.m == nil {
		return nil
	}
	if at := c.m.dieAt.Load(); at > 0 && c.m.dieAt.Add(-int64(n)) <= 0 {
		c.m.dead.Store(true)
	}
	if c.m.dead.Load() {
		c.Conn.Close()
		return io.ErrClosedPipe
	}
	time.Sleep(time.Duration(c.m.slow.Load()))
	return nil
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if e := c.trouble(n); e != nil {
		return 0, e
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	if err := c.trouble(len(p)); err != nil {
		return 0, err
	}
	if c.m != nil {
		for c.m.deaf.Load() {
			time.Sleep(time.Millisecond)
		}
		c.m.asked.Add(int64(len(p)))
		if c.m.garbage.Load() && len(p) > 1000 {
			p = slices.Clone(p)
			p[len(p)/2] ^= 4
		}
	}
	return c.Conn.Write(p)
}
