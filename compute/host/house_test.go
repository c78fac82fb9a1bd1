package host

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"hearth/compute/wasm"
	"hearth/compute/wire"
	"hearth/core/call"
	"hearth/core/fault"
	"hearth/core/grant"
	"hearth/core/quote"
	"hearth/core/store"
	"hearth/p2p"
)

const (
	chainID = "hearth-00000000000000000000"
	plenty  = 1 << 50
)

func key(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(append(make([]byte, ed25519.SeedSize-1), n))
}

func public(n byte) ed25519.PublicKey { return key(n).Public().(ed25519.PublicKey) }

// Who is who.
const (
	hosts = iota + 1
	owner
	peer
)

// till is a Meter and a Leases in memory: leases 1 and 2 of one client, who has
// paid for bytes and gas apart.
type till struct {
	mu            sync.Mutex
	bytes, gas    uint64 // paid
	in, out       uint64
	ran, held     uint64
	holds         int
	endedTwice    bool
	covered       chan struct{}
	everythingFor error
}

func (m *till) Take(_, in, out uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.in+m.out+in+out > m.bytes {
		return fault.New(fault.Unpaid, "%d bytes used, %d paid", m.in+m.out, m.bytes)
	}
	m.in += in
	m.out += out
	return nil
}

func (m *till) Hold(_, gas uint64) (func(uint64), error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ran+m.held+gas > m.gas {
		return nil, fault.New(fault.Unpaid, "%d gas used, %d paid", m.ran+m.held, m.gas)
	}
	m.held += gas
	m.holds++
	ended := false
	return func(used uint64) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.endedTwice = m.endedTwice || ended
		ended = true
		m.held -= gas
		m.ran += used
	}, nil
}

func (m *till) Covered(uint64) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.covered
}

func (m *till) pay(bytes, gas uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bytes += bytes
	m.gas += gas
	close(m.covered)
	m.covered = make(chan struct{})
}

func (m *till) Allowed(_ context.Context, kind quote.Kind, lease uint64, k ed25519.PublicKey) error {
	switch {
	case m.everythingFor != nil:
		return m.everythingFor
	case kind != quote.Compute || lease != 1 && lease != 2:
		return fault.New(fault.NoLease, "lease %d isn't known", lease)
	case !public(owner).Equal(k):
		return fault.New(fault.MandateRefused, "not the client's key")
	}
	return nil
}

// counted is what the till has counted.
type counted struct {
	in, out, ran, held uint64
	holds              int
}

func (m *till) counted() counted {
	m.mu.Lock()
	defer m.mu.Unlock()
	return counted{m.in, m.out, m.ran, m.held, m.holds}
}

// works is an Engine in memory: modules are whatever bytes, and do what run does.
type works struct {
	mu      sync.Mutex
	modules map[[32]byte]bool
	refuse  error // of Add
	run     func(ctx context.Context, c wasm.Call) (wasm.Result, error)
}

func (e *works) Add(_ context.Context, module []byte) (wasm.Info, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.refuse != nil {
		return wasm.Info{}, e.refuse
	}
	digest := sha256.Sum256(module)
	e.modules[digest] = true
	return wasm.Info{Digest: digest, Size: int64(len(module))}, nil
}

func (e *works) Info(digest [32]byte) (wasm.Info, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return wasm.Info{Digest: digest}, e.modules[digest]
}

func (e *works) Call(ctx context.Context, digest [32]byte, c wasm.Call) (wasm.Result, error) {
	if _, ok := e.Info(digest); !ok {
		return wasm.Result{}, fault.New(fault.NoModule, "it isn't here")
	}
	return e.run(ctx, c)
}

// echo gives back its input.
func echo(_ context.Context, c wasm.Call) (wasm.Result, error) {
	return wasm.Result{Output: bytes.Clone(c.Input), Log: []byte("a word"), Gas: 1000}, nil
}

// fill puts out as many bytes as its first argument says.
func fill(_ context.Context, c wasm.Call) (wasm.Result, error) {
	n, err := strconv.Atoi(c.Args[0])
	return wasm.Result{Output: make([]byte, n), Gas: 1}, err
}

// house is a host with what is around it.
type house struct {
	t     testing.TB
	srv   *Server
	till  *till
	works *works
}

func newHouse(t testing.TB, c Config) *house {
	h := &house{t: t, till: &till{covered: make(chan struct{}), bytes: plenty, gas: plenty}, works: &works{modules: map[[32]byte]bool{}, run: echo}}
	c.Meter, c.Leases, c.ChainID, c.Key = h.till, h.till, chainID, key(hosts)
	if c.Engine == nil {
		c.Engine = h.works
	}
	if c.Patience == 0 {
		c.Patience = time.Millisecond
	}
	srv, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	h.srv = srv
	t.Cleanup(func() {
		if n := srv.budget.used.Load(); n != 0 {
			t.Errorf("%d bytes are never given back", n)
		}
		if got := h.till.counted(); got.held != 0 || h.till.endedTwice {
			t.Errorf("%d gas stay held, one call ended twice: %v", got.held, h.till.endedTwice)
		}
	})
	return h
}

// module is one that the works have.
func (h *house) module() [32]byte {
	info, err := h.works.Add(h.t.Context(), []byte("a module"))
	if err != nil {
		h.t.Fatal(err)
	}
	return info.Digest
}

type pipe struct {
	net.Conn
	remote ed25519.PublicKey
}

func (p pipe) Remote() ed25519.PublicKey { return p.remote }
func (pipe) RemoteIP() string            { return "192.0.2.1" }

// A guest is the client's end of one stream.
type guest struct {
	t testing.TB
	net.Conn
	done chan struct{} // closed when the host has ended the stream
	stop func()        // the host
}

func slip(lease uint64) *wire.Grant {
	g := grant.Grant{Lease: lease, Peer: [32]byte(public(peer)), Until: time.Now().Unix() + 3600}
	return &wire.Grant{Lease: lease, Peer: public(peer), Until: g.Until, Key: public(owner), Sig: g.Sign(chainID, key(owner))}
}

// knock opens a stream on which nothing is shown yet.
func (h *house) knock() *guest {
	near, far := net.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	g := &guest{t: h.t, Conn: near, done: make(chan struct{}), stop: cancel}
	go func() {
		defer close(g.done)
		h.srv.Serve(ctx, pipe{far, public(peer)})
		far.Close()
	}()
	h.t.Cleanup(func() {
		near.Close()
		cancel()
		<-g.done
	})
	return g
}

// guest opens a stream and shows grants for both leases.
func (h *house) guest() *guest {
	h.t.Helper()
	g := h.knock()
	for _, lease := range []uint64{1, 2} {
		_, err := g.ask(&wire.Request{Lease: lease, Grant: slip(lease)}, nil)
		want(h.t, "a request that asks nothing", err, fault.BadRequest)
	}
	return g
}

func want(t testing.TB, what string, err error, code fault.Code) {
	t.Helper()
	if fault.CodeOf(err) != code {
		t.Errorf("%s: %v, not %q", what, err, code)
	}
}

// ask sends a request and what belongs to it, and reads the answer.
func (g *guest) ask(r *wire.Request, body []byte) (*wire.Response, error) {
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		if p2p.WriteFrame(g, r) == nil && len(body) > 0 {
			g.Write(body)
		}
	}()
	var a wire.Response
	if err := p2p.ReadFrame(g, &a, p2p.MaxFrame); err != nil {
		return nil, err
	}
	if a.Code != "" {
		return nil, fault.New(fault.Code(a.Code), "%s", a.Reason)
	}
	<-sent
	return &a, nil
}

func putReq(digest []byte, size int) *wire.Request {
	return &wire.Request{Lease: 1, Ask: &wire.Request_Put{Put: &wire.Put{Digest: digest, Size: uint64(size)}}}
}

func (g *guest) put(module []byte) error {
	digest := sha256.Sum256(module)
	_, err := g.ask(putReq(digest[:], len(module)), module)
	return err
}

// wish is a call that a host takes.
func wish(module [32]byte, input int) *wire.Call {
	return &wire.Call{
		Module: module[:], Args: []string{"f"}, Env: []string{"A=b"}, Input: uint64(input), Now: 1e18, Seed: make([]byte, 32),
		Gas: 1_000_000, Pages: 16, MaxOutput: 1 << 20, Deadline: 10_000,
	}
}

func callReq(c *wire.Call) *wire.Request {
	return &wire.Request{Lease: 1, Ask: &wire.Request_Call{Call: c}}
}

func fetchReq(lease uint64) *wire.Request {
	return &wire.Request{Lease: lease, Ask: &wire.Request_Fetch{Fetch: &wire.Fetch{}}}
}

// run has a call run, and checks what the host signs as a client does. Its store is
// behind the input.
func (g *guest) run(w *wire.Call, body []byte) (*wire.Done, error) {
	g.t.Helper()
	r, err := g.ask(callReq(w), body)
	if err != nil {
		return nil, err
	}
	d := r.GetDone()
	if d == nil {
		g.t.Fatal("no outcome")
	}
	c := call.Call{
		Module: [32]byte(w.Module), Args: w.Args, Env: w.Env, Input: sha256.Sum256(body[:w.Input]), Now: w.Now, Seed: [32]byte(w.Seed),
		Gas: w.Gas, Pages: w.Pages, MaxOutput: w.MaxOutput, StoreMax: w.StoreMax,
	}
	o := call.Outcome{Exit: d.Exit, Gas: d.Gas, Output: [32]byte(d.Output), Bytes: d.OutputBytes, Fault: fault.Code(d.Fault), StoreBytes: d.StoreBytes}
	if w.StoreMax > 0 {
		c.Store, o.Store = store.Digest(body[w.Input:]), [32]byte(d.Store)
	}
	if err := o.Check(c); err != nil {
		g.t.Error(err)
	}
	if err := o.Verify(chainID, c.Digest(), public(hosts), d.Sig); err != nil {
		g.t.Error(err)
	}
	return d, nil
}

// fetch takes what the call before has put out.
func (g *guest) fetch(lease uint64, d *wire.Done) (output, log []byte, err error) {
	if _, err := g.ask(fetchReq(lease), nil); err != nil {
		return nil, nil, err
	}
	b := make([]byte, d.OutputBytes+d.LogBytes)
	_, err = io.ReadFull(g, b)
	return b[:d.OutputBytes], b[d.OutputBytes:], err
}

// ends says whether the host has ended the stream.
func (g *guest) ends(what string) {
	g.t.Helper()
	if _, err := g.Read(make([]byte, 1)); err == nil {
		g.t.Errorf("%s: the host goes on talking", what)
	}
	<-g.done
}

// goesOn says whether the host still answers.
func (g *guest) goesOn(what string) {
	g.t.Helper()
	_, err := g.ask(&wire.Request{Lease: 1}, nil)
	want(g.t, what+": the stream is lost", err, fault.BadRequest)
}
