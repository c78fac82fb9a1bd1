package host

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hearth/core/fault"
	"hearth/core/grant"
	"hearth/core/proof"
	"hearth/core/quote"
	"hearth/p2p"
	"hearth/storage/wire"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const chainID = "hearth-00000000000000000000"

// till is a Meter and a Leases in memory: one lease, what is paid ahead for it.
type till struct {
	mu      sync.Mutex
	owner   ed25519.PublicKey
	reader  ed25519.PublicKey // of lease 2, if there is one
	paid    uint64
	in, out uint64
	covered chan struct{}
	keeps   atomic.Bool  // its client's key may add only
	waits   atomic.Int32 // how often somebody has waited for a payment
}

func (m *till) Take(_, in, out uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.in+m.out+in+out > m.paid {
		return fault.New(fault.Unpaid, "%d used, %d paid", m.in+m.out, m.paid)
	}
	m.in += in
	m.out += out
	return nil
}

func (m *till) Covered(uint64) <-chan struct{} {
	m.waits.Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.covered
}

func (m *till) Allowed(_ context.Context, _ quote.Kind, lease uint64, key ed25519.PublicKey) error {
	if lease == 2 && m.reader != nil && m.reader.Equal(key) {
		return nil
	}
	if lease != 1 {
		return fault.New(fault.NoLease, "lease %d isn't known", lease)
	}
	if !m.owner.Equal(key) {
		return fault.New(fault.MandateRefused, "not the client's key")
	}
	return nil
}

func (m *till) MayRemove(ctx context.Context, lease uint64, key ed25519.PublicKey) error {
	if m.keeps.Load() {
		return fault.New(fault.MandateRefused, "it may not remove")
	}
	return m.Allowed(ctx, quote.Storage, lease, key)
}

func (m *till) pay(n uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.paid += n
	close(m.covered)
	m.covered = make(chan struct{})
}

func (m *till) used() (in, out uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.in, m.out
}

func key(t testing.TB) ed25519.PrivateKey {
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func node(t testing.TB, listen bool) *p2p.Node {
	c := p2p.Config{Key: key(t), Network: chainID, AnnounceLoopback: true, DialTimeout: time.Minute}
	if listen {
		c.Listen, c.BulkListen = []string{"/ip4/127.0.0.1/tcp/0"}, []string{"/ip4/127.0.0.1/tcp/0/tls"}
	}
	n, err := p2p.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// door is a host with its server, and a client beside it.
type door struct {
	t     testing.TB
	host  *Host
	srv   *Server
	till  *till
	owner ed25519.PrivateKey
	nodes [2]*p2p.Node // host, client
}

func newDoor(t testing.TB, c Config, s ServerConfig) *door {
	d := &door{t: t, host: open(t, c), owner: key(t), nodes: [2]*p2p.Node{node(t, true), node(t, false)}}
	d.till = &till{owner: d.owner.Public().(ed25519.PublicKey), covered: make(chan struct{})}
	s.Host, s.Meter, s.Leases, s.Clients, s.ChainID = d.host, d.till, d.till, d.till, chainID
	if s.Patience == 0 {
		s.Patience = 20 * time.Millisecond
	}
	srv, err := NewServer(s)
	if err != nil {
		t.Fatal(err)
	}
	d.srv = srv
	d.nodes[0].Handle(Protocol, srv.Serve)
	return d
}

// eventually waits until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never came true that %s", what)
		}
	}
}

func (d *door) grant() *wire.Grant {
	g := grant.Grant{Lease: 1, Peer: [32]byte(d.nodes[1].Key()), Until: time.Now().Unix() + 3600}
	return &wire.Grant{
		Lease: g.Lease, Peer: g.Peer[:], Until: g.Until, Key: d.owner.Public().(ed25519.PublicKey), Sig: g.Sign(chainID, d.owner),
	}
}

func (d *door) knock() p2p.Stream {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	s, err := d.nodes[1].OpenBulk(ctx, p2p.Peer{Key: d.nodes[0].Key(), Addrs: d.nodes[0].Addrs()}, Protocol)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { s.Close() })
	s.SetDeadline(time.Now().Add(2 * time.Minute))
	return s
}

// stream is a stream on which the grant has been given.
func (d *door) stream() p2p.Stream {
	d.t.Helper()
	s := d.knock()
	if _, err := ask(s, &wire.Request{Lease: 1, Grant: d.grant()}); err != nil {
		d.t.Fatal(err)
	}
	return s
}

func ask(s p2p.Stream, r *wire.Request) (*wire.Response, error) {
	if err := p2p.WriteFrame(s, r); err != nil {
		return nil, err
	}
	return answer(s)
}

func answer(s p2p.Stream) (*wire.Response, error) {
	var r wire.Response
	if err := p2p.ReadFrame(s, &r, p2p.MaxFrame); err != nil {
		return nil, err
	}
	if r.Code != "" {
		return nil, fault.New(fault.Code(r.Code), "%s", r.Reason)
	}
	return &r, nil
}

func putReq(root proof.Hash, size int) *wire.Request {
	return &wire.Request{Lease: 1, Ask: &wire.Request_Put{Put: &wire.Put{Root: root[:], Size: uint64(size)}}}
}

func send(s p2p.Stream, root proof.Hash, data []byte) error {
	if err := p2p.WriteFrame(s, putReq(root, len(data))); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() { s.Write(data); close(done) }()
	_, err := answer(s)
	if err == nil {
		<-done
	}
	return err
}

func getReq(root proof.Hash, first, count uint32) *wire.Request {
	return &wire.Request{Lease: 1, Ask: &wire.Request_Get{Get: &wire.Get{Root: root[:], First: first, Count: count}}}
}

func rangeReq(root proof.Hash, off, span uint64) *wire.Request {
	return &wire.Request{Lease: 1, Ask: &wire.Request_Range{Range: &wire.Range{Root: root[:], Offset: off, Span: span}}}
}

func statReq(roots ...proof.Hash) *wire.Request {
	q := &wire.Stat{}
	for _, r := range roots {
		q.Roots = append(q.Roots, r[:])
	}
	return &wire.Request{Lease: 1, Ask: &wire.Request_Stat{Stat: q}}
}

func fetch(s p2p.Stream, root proof.Hash, size int64, first, count uint32) ([]byte, error) {
	r, err := ask(s, getReq(root, first, count))
	if err != nil {
		return nil, err
	}
	tree, err := proof.UnpackTree(size, r.GetGot().GetOutboard())
	if err != nil {
		return nil, err
	}
	if err := tree.Check(root); err != nil {
		return nil, err
	}
	data := make([]byte, r.GetGot().GetBytes())
	if _, err := io.ReadFull(s, data); err != nil {
		return nil, err
	}
	for i, rest := int(first), data; len(rest) > 0; i++ {
		n := min(len(rest), proof.BlockSize)
		if err := tree.VerifyBlock(root, i, rest[:n]); err != nil {
			return nil, err
		}
		rest = rest[n:]
	}
	return data, nil
}

func TestAClientStoresAndReads(t *testing.T) {
	d := newDoor(t, Config{}, ServerConfig{})
	d.till.pay(100 << 20)
	s := d.stream()
	size := 3<<20 + 17
	data, root := shard(1, size)
	for range 2 { // sent twice is held once
		if err := send(s, root, data); err != nil {
			t.Fatal(err)
		}
	}
	if in, _ := d.till.used(); in != 2*uint64(size) {
		t.Errorf("%d bytes counted in, want %d", in, 2*size)
	}
	r, err := ask(s, statReq(root, proof.Hash{1}))
	if held := r.GetHeld().GetHeld(); err != nil || len(held) != 2 || !held[0] || held[1] {
		t.Errorf("held %v, %v", held, err)
	}
	r, err = ask(s, &wire.Request{Lease: 1, Ask: &wire.Request_Stage{Stage: &wire.Stage{Add: [][]byte{root[:]}}}})
	if err != nil {
		t.Fatal(err)
	}
	steps, err := proof.DecodeSteps(r.GetStaged().GetSteps())
	if err != nil {
		t.Fatal(err)
	}
	next, grown, err := proof.FollowExactly(proof.EmptyRoot(), steps, []proof.Shard{{Size: int64(size), Root: root}}, nil)
	if err != nil || !bytes.Equal(next[:], r.GetStaged().GetRoot()) {
		t.Fatal("steps:", err)
	}
	if err := d.host.Covers(1, quote.Units{uint64(grown)}, next); err != nil {
		t.Fatal(err)
	}
	if err := d.host.Commit(1, quote.Units{uint64(grown)}, next); err != nil {
		t.Fatal(err)
	}
	all, err := fetch(s, root, int64(size), 0, 0)
	if err != nil || !bytes.Equal(all, data) {
		t.Error("get:", err)
	}
	some, err := fetch(s, root, int64(size), 12, 99)
	if err != nil || !bytes.Equal(some, data[12*proof.BlockSize:]) {
		t.Error("get from block 12:", err)
	}
	r, err = ask(s, rangeReq(root, 1<<20+5000, 64<<10))
	if err != nil {
		t.Fatal(err)
	}
	part := make([]byte, r.GetRanged().GetBytes())
	io.ReadFull(s, part)
	path, err := proof.Unpack(r.GetRanged().GetPath(), 20)
	if err != nil {
		t.Fatal(err)
	}
	if err := proof.Verify(root, int64(size), 1<<20+5000, 64<<10, part, path); err != nil {
		t.Error("range:", err)
	}
	want := uint64(len(all) + len(some) + len(part))
	if _, out := d.till.used(); out != want {
		t.Errorf("%d bytes counted out, want %d", out, want)
	}
	eventually(t, "what was sent is counted as served", func() bool { return d.host.Stats().Served == int64(want) })
}

func TestNothingFlowsUnpaid(t *testing.T) {
	d := newDoor(t, Config{}, ServerConfig{})
	data, root := shard(1, 2<<20)
	want(t, "put", send(d.stream(), root, data), fault.Unpaid)
	d.till.pay(1 << 20) // half of it: the rest doesn't come
	want(t, "put", send(d.stream(), root, data), fault.Unpaid)
	if in, _ := d.till.used(); in != 1<<20 || d.host.Stats().Used != 0 {
		t.Errorf("%d bytes taken, %+v", in, d.host.Stats())
	}
	d.till.pay(2 << 20)
	s := d.stream()
	if err := send(s, root, data); err != nil {
		t.Fatal(err)
	}
	_, err := ask(s, getReq(root, 0, 0))
	want(t, "get", err, fault.Unpaid)
	_, err = ask(s, rangeReq(root, 0, 1024))
	want(t, "range", err, fault.Unpaid)
	if _, err := ask(s, statReq(root)); err != nil {
		t.Error("the stream is lost after a refusal:", err)
	}
	d.till.pay(proof.BlockSize + 100)
	if _, err := fetch(s, root, 2<<20, 0, 0); err == nil {
		t.Error("more came than was paid")
	}
	if _, out := d.till.used(); out != proof.BlockSize {
		t.Errorf("%d bytes were counted out", out)
	}
}

func TestAPaymentBesideTheBytesIsWaitedFor(t *testing.T) {
	d := newDoor(t, Config{}, ServerConfig{Patience: 2 * time.Minute})
	data, root := shard(1, 4<<20)
	go func() {
		for range 16 {
			time.Sleep(time.Millisecond)
			d.till.pay(proof.BlockSize)
		}
	}()
	if err := send(d.stream(), root, data); err != nil {
		t.Fatal(err)
	}
}

func TestOnlyWhoHasAGrantIsServed(t *testing.T) {
	d := newDoor(t, Config{}, ServerConfig{})
	d.till.pay(100 << 20)
	stranger := key(t)
	for _, c := range []struct {
		name   string
		change func(r *wire.Request)
		code   fault.Code
	}{
		{"none", func(r *wire.Request) { r.Grant = nil }, fault.Unauthorized},
		{"for another lease", func(r *wire.Request) { r.Lease = 2 }, fault.Unauthorized},
		{"of another peer", func(r *wire.Request) { r.Grant.Peer = d.nodes[0].Key() }, fault.Unauthorized},
		{"without a peer", func(r *wire.Request) { r.Grant.Peer = nil }, fault.Unauthorized},
		{"changed", func(r *wire.Request) { r.Grant.Until++ }, fault.BadSignature},
		{"signed by another key", func(r *wire.Request) { r.Grant.Key = stranger.Public().(ed25519.PublicKey) }, fault.BadSignature},
		{"without a key", func(r *wire.Request) { r.Grant.Key = nil }, fault.BadSignature},
		{"run out", func(r *wire.Request) { sign(d, r, d.owner, chainID, time.Now().Unix()-1) }, fault.Unauthorized},
		{"for ever", func(r *wire.Request) { sign(d, r, d.owner, chainID, time.Now().Unix()+1<<30) }, fault.Unauthorized},
		{"for another network", func(r *wire.Request) { sign(d, r, d.owner, "other", time.Now().Unix()+60) }, fault.BadSignature},
		{"of somebody without a mandate", func(r *wire.Request) { sign(d, r, stranger, chainID, time.Now().Unix()+60) }, fault.MandateRefused},
	} {
		r := statReq(proof.Hash{})
		r.Grant = d.grant()
		c.change(r)
		_, err := ask(d.knock(), r)
		want(t, c.name, err, c.code)
	}
	r := statReq(proof.Hash{})
	r.Grant = d.grant()
	if _, err := ask(d.knock(), r); err != nil {
		t.Error("a good grant with the first request:", err)
	}
}

func sign(d *door, r *wire.Request, k ed25519.PrivateKey, chain string, until int64) {
	g := grant.Grant{Lease: 1, Peer: [32]byte(d.nodes[1].Key()), Until: until}
	r.Grant.Until, r.Grant.Key, r.Grant.Sig = until, k.Public().(ed25519.PublicKey), g.Sign(chain, k)
}

func TestAGrantEndsInTheMiddleOfAStream(t *testing.T) {
	now := newClock()
	now.set(time.Now())
	d := newDoor(t, Config{Now: now.now}, ServerConfig{})
	s := d.stream()
	if _, err := ask(s, statReq(proof.Hash{})); err != nil {
		t.Fatal(err)
	}
	now.pass(2 * time.Hour)
	_, err := ask(s, statReq(proof.Hash{}))
	want(t, "run out", err, fault.Unauthorized)
}

func TestRefusals(t *testing.T) {
	d := newDoor(t, Config{Capacity: 6 << 20, MaxPending: 64 << 20}, ServerConfig{})
	d.till.pay(1 << 30)
	data, root := shard(1, 4<<20)
	if err := send(d.stream(), root, data); err != nil {
		t.Fatal(err)
	}
	other, otherRoot := shard(2, 4<<20)
	want(t, "no room", send(d.stream(), otherRoot, other), fault.HostFull)
	want(t, "wrong bytes", send(d.stream(), otherRoot, other[:100]), fault.BadFrame)
	for name, r := range map[string]*wire.Request{
		"a shard without bytes":     putReq(root, 0),
		"a shard that is too large": putReq(root, proof.MaxShard+1),
	} {
		_, err := ask(d.stream(), r)
		want(t, name, err, fault.TooLarge)
	}
	s := d.stream()
	short := statReq(root)
	short.GetStat().Roots[0] = root[:31]
	many := statReq(make([]proof.Hash, proof.MaxSteps+1)...)
	for _, c := range []struct {
		name string
		r    *wire.Request
		code fault.Code
	}{
		{"get of nothing", getReq(proof.Hash{1}, 0, 0), fault.NotFound},
		{"get behind the end", getReq(root, 16, 0), fault.BadRequest},
		{"range behind the end", rangeReq(root, 4<<20, 1024), fault.BadRequest},
		{"range of no power of two", rangeReq(root, 0, 3000), fault.BadRequest},
		{"range of more than a block", rangeReq(root, 0, 1<<20), fault.BadRequest},
		{"range at a huge offset", rangeReq(root, 1<<63, 1024), fault.BadRequest},
		{"range of nothing", rangeReq(proof.Hash{1}, 0, 1024), fault.NotFound},
		{"no question", &wire.Request{Lease: 1}, fault.BadRequest},
		{"a short root", short, fault.BadRequest},
		{"too many roots", many, fault.TooLarge},
	} {
		_, err := ask(s, c.r)
		want(t, c.name, err, c.code)
	}
	if _, err := fetch(s, root, 4<<20, 0, 0); err != nil {
		t.Error("after all that:", err)
	}
	s.Write([]byte{0, 0, 0, 2, 0xff, 0xff})
	_, err := answer(s)
	want(t, "garbage", err, fault.BadFrame)
	if _, err := answer(s); err == nil {
		t.Error("the stream goes on after garbage")
	}
}

func TestADamagedBlockIsNeitherServedNorPaid(t *testing.T) {
	fs := vfs.NewMem()
	d := newDoor(t, Config{FS: fs}, ServerConfig{})
	d.till.pay(1 << 30)
	data, root := shard(1, 1<<20)
	s := d.stream()
	if err := send(s, root, data); err != nil {
		t.Fatal(err)
	}
	f, err := fs.OpenReadWrite("host/volumes/00000001.volume", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, 16<<20)
	n, _ := f.ReadAt(raw, 0)
	at := bytes.Index(raw[:n], data[300<<10:300<<10+64]) // in the second block
	f.WriteAt([]byte{^data[300<<10]}, int64(at))
	f.Close()
	_, err = ask(s, rangeReq(root, 300<<10, 1024))
	want(t, "range", err, fault.DamagedShard)
	eventually(t, "the shard is marked", func() bool { return d.host.Stats().Bad > 0 })
	_, err = ask(s, getReq(root, 0, 0))
	want(t, "get", err, fault.DamagedShard)
	if _, out := d.till.used(); out != 0 {
		t.Errorf("%d bytes of it were paid", out)
	}
	r, err := ask(s, statReq(root))
	if err != nil || r.GetHeld().GetHeld()[0] {
		t.Error("stat says that it is held", err)
	}
	if err := send(s, root, data); err != nil {
		t.Fatal(err)
	}
	if got, err := fetch(s, root, 1<<20, 0, 0); err != nil || !bytes.Equal(got, data) {
		t.Error("sent again:", err)
	}
}

func TestACutUploadLeavesNothing(t *testing.T) {
	d := newDoor(t, Config{}, ServerConfig{})
	d.till.pay(1 << 30)
	data, root := shard(1, 1<<20)
	s := d.stream()
	p2p.WriteFrame(s, putReq(root, len(data)))
	s.Write(data[:700<<10])
	eventually(t, "the upload has begun", func() bool { return d.host.Stats().Pending > 0 })
	s.Close()
	eventually(t, "nothing of it is left", func() bool { return d.host.Stats().Pending == 0 && d.host.Stats().Used == 0 })
	if err := send(d.stream(), root, data); err != nil {
		t.Error(err)
	}
}

func TestRequestsAtOnceAreBounded(t *testing.T) {
	d := newDoor(t, Config{}, ServerConfig{PerPeer: 2, Patience: 2 * time.Minute})
	data, root := shard(1, 1000)
	var waiting []p2p.Stream
	for range 2 {
		s := d.stream()
		p2p.WriteFrame(s, putReq(root, 1000)) // waits for its payment
		waiting = append(waiting, s)
	}
	eventually(t, "both wait for their payment", func() bool { return d.till.waits.Load() >= 2 })
	var err error
	s := d.knock()
	for fault.CodeOf(err) != fault.Busy {
		r := statReq(root)
		r.Grant = d.grant()
		_, err = ask(s, r)
	}
	d.till.pay(2000)
	for _, s := range waiting {
		s.Write(data)
		if _, err := answer(s); err != nil {
			t.Error(err)
		}
	}
	for {
		r := statReq(root)
		r.Grant = d.grant()
		if _, err := ask(s, r); err == nil {
			break
		}
	}
}

// A steward's key brings shards and takes none away.
func TestAKeyThatMayOnlyKeepRemovesNothing(t *testing.T) {
	d := newDoor(t, Config{}, ServerConfig{})
	d.till.pay(1 << 30)
	s := d.stream()
	data := bytes.Repeat([]byte{7}, 5000)
	root, _ := proof.Build(data)
	if err := send(s, root, data); err != nil {
		t.Fatal(err)
	}
	stage := func(add, remove [][]byte) error {
		_, err := ask(s, &wire.Request{Lease: 1, Ask: &wire.Request_Stage{Stage: &wire.Stage{Add: add, Remove: remove}}})
		return err
	}
	d.till.keeps.Store(true)
	if err := stage([][]byte{root[:]}, nil); err != nil {
		t.Fatal(err)
	}
	r, err := ask(s, &wire.Request{Lease: 1, Ask: &wire.Request_Stage{Stage: &wire.Stage{Add: [][]byte{root[:]}}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.host.Commit(1, quote.Units{5000}, [32]byte(r.GetStaged().Root)); err != nil {
		t.Fatal(err)
	}
	if err := stage(nil, [][]byte{root[:]}); fault.CodeOf(err) != fault.MandateRefused {
		t.Errorf("a removal: %v", err)
	}
	d.till.keeps.Store(false)
	if err := stage(nil, [][]byte{root[:]}); err != nil {
		t.Errorf("a removal by who may: %v", err)
	}
}
