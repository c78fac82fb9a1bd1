package market

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"sync"
	"testing"
	"time"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/mandate"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"
	"hearth/market/markettest"
	"hearth/market/wire"
	"hearth/p2p"
)

// Prices at which a window of 256 KiB costs 250 uember, and a MiB stored 1 uember a second.
var prices = quote.Prices{Unit: [quote.Dims]uint64{1024 * money.RateUnit}, In: 1_024_000, Out: 1_024_000}

// priced is the same, and a uember for a million units of gas.
var priced = quote.Prices{Unit: prices.Unit, In: prices.In, Out: prices.Out, Gas: quote.Tgas / 1_000_000}

const mib = 1 << 20

// world is a ledger, hosts and clients on real nodes.
type world struct {
	*markettest.Ledger
	t      testing.TB
	kind   quote.Kind // what is sold
	prices quote.Prices
}

func newWorld(t testing.TB) *world {
	w := &world{markettest.New(), t, quote.Storage, prices}
	t.Cleanup(func() {
		if err := w.Check(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newNode(t testing.TB, key ed25519.PrivateKey, listens bool) *p2p.Node {
	t.Helper()
	c := p2p.Config{Key: key, Network: markettest.ChainID}
	if listens {
		c.Listen = []string{"/ip4/127.0.0.1/tcp/0"}
	}
	n, err := p2p.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// shelf is a street that stores nothing: what is staged, and what was committed.
type shelf struct {
	mu     sync.Mutex
	staged map[uint64]map[[32]byte]quote.Units
	now    map[uint64][32]byte
	drops  []uint64
	broken error // what Commit answers
}

func newShelf() *shelf {
	return &shelf{staged: map[uint64]map[[32]byte]quote.Units{}, now: map[uint64][32]byte{}}
}

func (s *shelf) Free() uint64 { return 1 << 40 }

func (s *shelf) stage(lease, units uint64, root [32]byte) {
	s.stageUnits(lease, quote.Units{units}, root)
}

func (s *shelf) stageUnits(lease uint64, units quote.Units, root [32]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.staged[lease] == nil {
		s.staged[lease] = map[[32]byte]quote.Units{}
	}
	s.staged[lease][root] = units
}

func (s *shelf) Covers(lease uint64, units quote.Units, root [32]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if staged, ok := s.staged[lease][root]; ok && staged == units || !ok && s.now[lease] == root {
		return nil
	}
	return fault.New(fault.Stale, "cover lease %d: nothing such is staged", lease)
}

func (s *shelf) Commit(lease uint64, _ quote.Units, root [32]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return s.broken
	}
	s.now[lease] = root
	delete(s.staged, lease)
	return nil
}

func (s *shelf) Reconcile(lease uint64, root [32]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.staged[lease][root]; !ok && s.now[lease] != root {
		return fault.New(fault.DamagedFile, "reconcile lease %d: the root is another", lease)
	}
	s.now[lease] = root
	delete(s.staged, lease)
	return nil
}

func (s *shelf) Drop(lease uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drops = append(s.drops, lease)
	delete(s.now, lease)
	delete(s.staged, lease)
	return nil
}

func (s *shelf) root(lease uint64) [32]byte { s.mu.Lock(); defer s.mu.Unlock(); return s.now[lease] }

func (s *shelf) dropped() int { s.mu.Lock(); defer s.mu.Unlock(); return len(s.drops) }

// seller is a host on a node of its own.
type seller struct {
	*Host
	w     *world
	name  string
	node  *p2p.Node
	shelf *shelf
	c     HostConfig

	mu  sync.Mutex
	lie func(req *wire.Request, res *wire.Response) *wire.Response // nil: the truth; to answer nil is to hang up

	streams []p2p.Stream // those of a host that was restarted are cut
}

func (w *world) host(name string, change ...func(*HostConfig)) *seller {
	w.t.Helper()
	key := newKey(w.t)
	s := &seller{w: w, name: name, node: newNode(w.t, key, true), shelf: newShelf()}
	s.c = HostConfig{
		Dir: w.t.TempDir(), Ledger: w, Account: markettest.Signer{Name: name}, Key: key, clock: w.Clock,
		Prices: map[quote.Kind]quote.Prices{w.kind: w.prices}, Streets: map[quote.Kind]Street{w.kind: s.shelf},
	}
	for _, f := range change {
		f(&s.c)
	}
	s.start()
	w.AddHost(chain.Host{Address: name, Key: [32]byte(key.Public().(ed25519.PublicKey)), Roles: 1 << (w.kind - 1)}, s.node.Addrs())
	w.t.Cleanup(func() { s.current().Close() })
	return s
}

func (s *seller) start() {
	s.w.t.Helper()
	h, err := NewHost(s.c)
	if err != nil {
		s.w.t.Fatal(err)
	}
	if err := h.Reconcile(s.w.t.Context()); err != nil {
		s.w.t.Fatal(err)
	}
	s.mu.Lock()
	s.Host = h
	old := s.streams
	s.streams = nil
	s.mu.Unlock()
	for _, st := range old {
		st.Close()
	}
	s.node.Handle(Protocol, func(ctx context.Context, st p2p.Stream) { s.serve(ctx, h, st) })
}

// crash ends the host without a word to its journal, and starts it again.
func (s *seller) crash() {
	s.w.t.Helper()
	h := s.current()
	h.mu.Lock()
	clear(h.bargains) // so that Close writes nothing
	h.mu.Unlock()
	h.Close()
	s.start()
}

func (s *seller) current() *Host { s.mu.Lock(); defer s.mu.Unlock(); return s.Host }

func (s *seller) lies(f func(*wire.Request, *wire.Response) *wire.Response) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lie = f
}

func (s *seller) serve(ctx context.Context, h *Host, st p2p.Stream) {
	s.mu.Lock()
	honest, current := s.lie == nil, s.Host == h
	s.streams = append(s.streams, st)
	s.mu.Unlock()
	switch {
	case !current:
	case honest:
		h.Serve(ctx, st)
	default:
		lying{st, s, h}.serve(ctx)
	}
}

// lying serves by the protocol, and asks before each answer whether to lie.
type lying struct {
	p2p.Stream
	s *seller
	h *Host
}

func (l lying) serve(ctx context.Context) {
	for {
		var req wire.Request
		l.SetReadDeadline(time.Now().Add(2 * time.Minute))
		if err := p2p.ReadFrame(l.Stream, &req, maxFrame); err != nil {
			return
		}
		res := l.h.answer(ctx, l.Remote(), &req)
		l.s.mu.Lock()
		lie, current := l.s.lie, l.s.Host == l.h
		l.s.mu.Unlock()
		if lie != nil {
			res = lie(&req, res)
		}
		if res == nil || !current || p2p.WriteFrame(l.Stream, res) != nil {
			return
		}
	}
}

// buyer is a client's device on a node of its own.
type buyer struct {
	*Client
	w    *world
	node *p2p.Node
	c    ClientConfig
}

// client makes an account with a purse, and its first device.
func (w *world) client(account string, purse money.Amount) *buyer {
	w.t.Helper()
	w.Deposit(account, purse)
	return w.device(account)
}

func (w *world) device(account string) *buyer {
	w.t.Helper()
	key := newKey(w.t)
	pub := key.Public().(ed25519.PublicKey)
	ceiling := map[quote.Kind]quote.Prices{w.kind: w.prices}
	w.Grant(mandate.Mandate{Grantor: account, Key: [32]byte(pub), Ops: mandate.All, Ceilings: ceiling, Cap: 1 << 60, Until: w.Clock().Unix() + 1<<30})
	b := &buyer{w: w, node: newNode(w.t, newKey(w.t), false)}
	b.c = ClientConfig{
		Dir: w.t.TempDir(), Ledger: w, Dialer: b.node, Account: account, Key: key,
		Signer: markettest.Signer{Name: fmt.Sprintf("%s-%x", account, pub[:4]), Key: pub}, Ceilings: ceiling, clock: w.Clock,
	}
	b.start()
	w.t.Cleanup(func() { b.Client.Close() })
	return b
}

func (b *buyer) start() {
	b.w.t.Helper()
	var err error
	if b.Client, err = NewClient(b.c); err != nil {
		b.w.t.Fatal(err)
	}
}

func (b *buyer) restart() {
	b.w.t.Helper()
	if err := b.Client.Close(); err != nil {
		b.w.t.Fatal(err)
	}
	b.start()
}

// pairs opens a lease with every host that offers one.
func (b *buyer) pairs(bytes uint64) []*Pair {
	b.w.t.Helper()
	offers, err := b.Offers(b.w.t.Context(), b.w.kind, true)
	if err != nil {
		b.w.t.Fatal(err)
	}
	pairs, err := b.Open(b.w.t.Context(), offers, bytes)
	if err != nil {
		b.w.t.Fatal(err)
	}
	return pairs
}

// deal is one client with one host, over storage.
func deal(t testing.TB, purse money.Amount) (*world, *seller, *buyer, *Pair) {
	t.Helper()
	return dealIn(t, quote.Storage, purse)
}

// dealIn is the same over any kind.
func dealIn(t testing.TB, kind quote.Kind, purse money.Amount) (*world, *seller, *buyer, *Pair) {
	t.Helper()
	w := newWorld(t)
	w.kind = kind
	s := w.host("host")
	b := w.client("client", purse)
	return w, s, b, b.pairs(mib)[0]
}

// functions is a deal over calls, which reserve nothing.
func functions(t testing.TB, purse money.Amount) (*world, *seller, *buyer, *Pair) {
	t.Helper()
	w := newWorld(t)
	w.kind, w.prices = quote.Compute, priced
	s := w.host("host")
	b := w.client("client", purse)
	return w, s, b, b.pairs(mib)[0]
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func refused(t testing.TB, err error, code fault.Code) {
	t.Helper()
	if fault.CodeOf(err) != code {
		t.Fatalf("got %v (%s), want %s", err, fault.CodeOf(err), code)
	}
}

func rootNo(n byte) (r [32]byte) { r[0] = n; return r }

// store stages n bytes in all and has them covered.
func store(t testing.TB, s *seller, p *Pair, units uint64, root [32]byte) {
	t.Helper()
	s.shelf.stage(p.Lease(), units, root)
	must(t, p.Cover(t.Context(), units, root))
}

func (w *world) lease(id uint64) lease.Lease {
	w.t.Helper()
	l, err := w.Ledger.Lease(w.t.Context(), id)
	must(w.t, err)
	return l
}

func (s *seller) newest(id uint64) statement.Signed { return s.current().j.get(id).Newest }
