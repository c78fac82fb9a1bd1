package steward

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"hearth/chain"
	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/core/mandate"
	"hearth/core/money"
	"hearth/core/placement"
	"hearth/core/quote"
	"hearth/market"
	"hearth/market/markettest"
	"hearth/p2p"
	"hearth/storage/client"
	"hearth/storage/host"
	"hearth/storage/index"
	"hearth/storage/remote"
	"hearth/storage/repair"
	"hearth/wallet"
)

var (
	prices  = quote.Prices{Unit: [quote.Dims]uint64{1000}, In: 1000, Out: 1000}
	ceiling = quote.Prices{Unit: [quote.Dims]uint64{2000}, In: 2000, Out: 2000}
	dear    = quote.Prices{Unit: [quote.Dims]uint64{3000}, In: 3000, Out: 3000}

	quick = repair.Rules{
		Patience: 300 * time.Millisecond, GiveUp: 700 * time.Millisecond, Contacts: 2, Refusals: 3, Audit: time.Minute,
		Renew: time.Hour, Backoff: 100 * time.Millisecond, MostDelay: time.Second,
	}
)

func newKey(t testing.TB) ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// world is a ledger, real hosts with real stores, one owner and his stewards.
type world struct {
	*markettest.Ledger
	t     *testing.T
	hosts map[string]*machine
	owner *owner
	log   *slog.Logger
}

func newWorld(t *testing.T, hosts int) *world {
	w := &world{Ledger: markettest.New(), t: t, hosts: map[string]*machine{}, log: slog.New(slog.DiscardHandler)}
	if os.Getenv("STEWARD_LOG") != "" {
		w.log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	for i := range hosts {
		w.host(fmt.Sprintf("host%02d", i), "", prices)
	}
	w.owner = w.newOwner("owner")
	return w
}

func (w *world) node(key ed25519.PrivateKey, listens bool) *p2p.Node {
	c := p2p.Config{Key: key, Network: markettest.ChainID, AnnounceLoopback: true, DialTimeout: 20 * time.Second}
	if listens {
		c.Listen, c.BulkListen = []string{"/ip4/127.0.0.1/tcp/0"}, []string{"/ip4/127.0.0.1/tcp/0/tls"}
	}
	n, err := p2p.New(c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { n.Close() })
	return n
}

// machine is a host.
type machine struct {
	name   string
	node   *p2p.Node
	store  *host.Host
	market *market.Host
}

func (w *world) host(name, owner string, p quote.Prices) *machine {
	key := newKey(w.t)
	m := &machine{name: name, node: w.node(key, true)}
	var err error
	if m.store, err = host.Open(host.Config{Dir: "/" + name, FS: vfs.NewMem(), Capacity: 1 << 30, VolumeSize: 16 << 20}); err != nil {
		w.t.Fatal(err)
	}
	m.market, err = market.NewHost(market.HostConfig{
		Dir: w.t.TempDir(), Ledger: w, Account: markettest.Signer{Name: name}, Key: key,
		Prices: map[quote.Kind]quote.Prices{quote.Storage: p}, Streets: map[quote.Kind]market.Street{quote.Storage: m.store},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { m.node.Close(); m.market.Close(); m.store.Close() })
	door, err := host.NewServer(host.ServerConfig{Host: m.store, Meter: m.market, Leases: m.market, ChainID: markettest.ChainID})
	if err != nil {
		w.t.Fatal(err)
	}
	m.node.Handle(market.Protocol, m.market.Serve)
	m.node.Handle(host.Protocol, door.Serve)
	w.Ledger.FollowKeys(m.market.MandateChanged)
	w.AddHost(chain.Host{Address: name, Owner: owner, Key: [32]byte(key.Public().(ed25519.PublicKey)), Roles: 1}, m.node.Addrs())
	w.hosts[name] = m
	return m
}

// die takes a host off the network for good.
func (m *machine) die() { m.node.Close() }

// owner is a client.
type owner struct {
	w      *world
	name   string
	key    *wallet.Spending
	node   *p2p.Node
	market *market.Client
	index  *index.Index
	files  *client.Client
	patron *Patron
}

func spending(t testing.TB) *wallet.Spending {
	phrase, err := wallet.NewPhrase()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := wallet.Derive(phrase, 1)
	if err != nil {
		t.Fatal(err)
	}
	return keys.Spending()
}

func (w *world) newOwner(name string) *owner {
	w.Deposit(name, 1000*money.Ember)
	o := &owner{w: w, name: name, key: spending(w.t), node: w.node(newKey(w.t), false)}
	w.Grant(mandate.Mandate{
		Grantor: name, Key: [32]byte(o.key.Public()), Ops: mandate.All, Cap: 1 << 60, Until: w.Clock().Unix() + 1<<30,
		Ceilings: map[quote.Kind]quote.Prices{quote.Storage: ceiling},
	})
	dir := w.t.TempDir()
	var err error
	o.market, err = market.NewClient(market.ClientConfig{
		Dir: dir, Ledger: w, Dialer: o.node, Account: name, Key: o.key.Key(), Signer: chain.PaidBy(o.key, name),
		Ceilings: map[quote.Kind]quote.Prices{quote.Storage: ceiling}, Log: w.log,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if o.index, err = index.Open(index.Config{Path: filepath.Join(dir, "index.db")}); err != nil {
		w.t.Fatal(err)
	}
	o.files, err = client.New(w.t.Context(), client.Config{
		Index: o.index, Market: o, Dialer: o.node, Class: erasure.Class{K: 2, N: 4}, Pause: 3 * time.Second, Stall: 200 * time.Millisecond, Log: w.log,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { o.files.Close(); o.index.Close(); o.market.Close() })
	if err := o.index.MakeBucket(w.t.Context(), "town"); err != nil {
		w.t.Fatal(err)
	}
	asks, err := NewClient(ClientConfig{ChainID: markettest.ChainID, Account: name, Key: o.key.Key(), Net: o.node})
	if err != nil {
		w.t.Fatal(err)
	}
	o.patron, err = NewPatron(PatronConfig{
		Path: filepath.Join(dir, "stewards.json"), Account: name, Client: asks, Index: o.index, Bank: bank{w, name}, Ledger: w,
		Offers: func(ctx context.Context) ([]market.Offer, error) { return o.market.Offers(ctx, quote.Storage, true) },
		Read:   o.files.Read, Local: true, Log: w.log,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return o
}

// Hosts and Lease make an owner his client's market.
func (o *owner) Hosts(ctx context.Context, need client.Need) ([]remote.Pair, error) {
	offers, err := o.market.Offers(ctx, quote.Storage, false)
	if err != nil {
		return nil, err
	}
	w := placement.Wish{Class: need.Class, Want: need.Want, Ceiling: ceiling, Avoid: need.Avoid, Local: true}
	for _, u := range need.Used {
		w.Used = append(w.Used, placement.Candidate{Host: u})
	}
	choice, err := placement.Choose(candidates(offers), w)
	if err != nil {
		return nil, err
	}
	var picked []market.Offer
	for _, name := range choice.Hosts {
		for _, of := range offers {
			if of.Host.Address == name {
				picked = append(picked, of)
			}
		}
	}
	pairs, err := o.market.Open(ctx, picked, need.Bytes)
	out := make([]remote.Pair, len(pairs))
	for i, p := range pairs {
		out[i] = p
	}
	return out, err
}

func (o *owner) Lease(ctx context.Context, id uint64) (remote.Pair, error) {
	return o.market.Lease(ctx, id)
}

// bank gives mandates on the test's ledger.
type bank struct {
	w    *world
	name string
}

func (b bank) Entrust(_ context.Context, m mandate.Mandate) error { b.w.Grant(m); return nil }

func (b bank) Revoke(_ context.Context, key [32]byte) error {
	b.w.Revoke(b.name, ed25519.PublicKey(key[:]))
	return nil
}

var ref = index.Ref{Bucket: "town", Key: "k"}

func content(n int) []byte {
	b := make([]byte, n)
	mrand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

func (o *owner) put(b []byte) {
	o.w.t.Helper()
	res, err := o.files.Put(o.w.t.Context(), ref, bytes.NewReader(b), client.PutOptions{Size: int64(len(b))})
	if err != nil || res.Pending > 0 {
		o.w.t.Fatalf("%d pending, %v", res.Pending, err)
	}
}

func (o *owner) reads(want []byte) {
	o.w.t.Helper()
	var got bytes.Buffer
	if _, err := o.files.Get(o.w.t.Context(), ref, &got, client.GetOptions{}); err != nil {
		o.w.t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		o.w.t.Fatal("other bytes come back")
	}
}

// slab is the owner's one.
func (o *owner) slab() Slab {
	o.w.t.Helper()
	list, err := o.index.SlabsAfter(o.w.t.Context(), index.SlabID{}, 10)
	if err != nil || len(list) != 1 {
		o.w.t.Fatalf("%d slabs, %v", len(list), err)
	}
	s, err := o.patron.slab(o.w.t.Context(), list[0].ID)
	if err != nil {
		o.w.t.Fatal(err)
	}
	return s
}

// butler is a steward on a node of its own, which is a host too.
type butler struct {
	*Steward
	w    *world
	name string
	node *p2p.Node
	c    Config
	stop func()
}

// steward makes one. What it holds as a host is nothing: it takes no data.
func (w *world) steward(name string, change ...func(*Config)) *butler {
	key := newKey(w.t)
	b := &butler{w: w, name: name, node: w.node(key, true)}
	b.c = Config{
		Dir: w.t.TempDir(), Account: name, Ledger: w, Net: b.node, Spending: spending(w.t), Local: true, Rules: quick,
		Every: 50 * time.Millisecond, Log: w.log,
	}
	for _, f := range change {
		f(&b.c)
	}
	w.AddHost(chain.Host{Address: name, Key: [32]byte(key.Public().(ed25519.PublicKey)), Roles: 1 << 5}, b.node.Addrs())
	b.start()
	w.t.Cleanup(func() { b.stop() })
	return b
}

func (b *butler) start() {
	s, err := New(b.c)
	if err != nil {
		b.w.t.Fatal(err)
	}
	b.Steward = s
	b.node.Handle(Protocol, s.Serve)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	for { // Run is there before anybody hires
		s.mu.Lock()
		up := s.run != nil
		s.mu.Unlock()
		if up {
			break
		}
		time.Sleep(time.Millisecond)
	}
	stopped := false
	b.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			<-done
			if err := s.Close(); err != nil {
				b.w.t.Error(err)
			}
		}
	}
}

// job is work for the owner by hand, under a mandate that may say anything.
func (b *butler) job(m mandate.Mandate) *job {
	b.w.t.Helper()
	j := &job{s: b.Steward, account: "owner", mandate: m}
	if err := j.open(m); err != nil {
		b.w.t.Fatal(err)
	}
	b.w.t.Cleanup(j.close)
	return j
}

func (w *world) limits() Limits {
	return Limits{Cap: 100 * money.Ember, Until: w.Clock().Unix() + 3600, Ceiling: ceiling}
}

func (w *world) hire(b *butler) {
	w.t.Helper()
	if _, err := w.owner.patron.Hire(w.t.Context(), b.name, w.limits()); err != nil {
		w.t.Fatal(err)
	}
	w.owner.patron.Tend(w.t.Context())
	if h := w.owner.patron.List()[0]; h.Trouble != "" {
		w.t.Fatal(h.Trouble)
	}
}

// soon waits for something.
func soon(t *testing.T, what string, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

// acts are those a steward has to tell of.
func (b *butler) acts(account string) []Act {
	list, _, err := b.store.report(account, 0, 100)
	if err != nil {
		b.w.t.Fatal(err)
	}
	return list
}

func wantCode(t *testing.T, err error, code fault.Code) {
	t.Helper()
	if fault.CodeOf(err) != code {
		t.Errorf("code %q, want %q: %v", fault.CodeOf(err), code, err)
	}
}

// chooseOne is the draw for shard 1 of a slab.
func chooseOne(s Slab, offers []market.Offer, avoid map[string]bool) (string, error) {
	c, err := placement.Choose(candidates(offers), wish(s, s.At, 1, offers, avoid, ceiling, true))
	if err != nil {
		return "", err
	}
	return c.Hosts[0], nil
}
