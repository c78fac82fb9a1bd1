package client

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/compute/wire"
	"hearth/core/call"
	"hearth/core/fault"
	"hearth/core/grant"
	"hearth/core/quote"
	"hearth/core/store"
	"hearth/p2p"
)

const chainID = "hearth-00000000000000000000"

// A host is one that does as it should unless the test says otherwise, and the
// bargain with it: what is paid for must be over once, and a call that broke off
// be learned of before the next.
type host struct {
	t   testing.TB
	key ed25519.PrivateKey
	n   byte

	owner string // default: itself

	mu      sync.Mutex
	modules map[[32]byte]bool
	calls   int // asked for
	puts    int

	instead func(s net.Conn, r *wire.Request) bool // of what follows, where it says so
	twist   func(o *call.Outcome)                  // before it is signed
	forge   func(d *wire.Done)                     // after that
	output  func(b []byte) []byte                  // on its way
	stored  func(b []byte) []byte                  // on its way: what a store has become
	during  func()                                 // a call
	silent  bool                                   // takes everything and says nothing
	down    bool

	flying   quote.Use
	broken   bool // the client can't know what its last call used
	resyncs  int
	deaf     error // of Resync
	penury   error // of PayFor
	payments int   // for calls
	rans     int
}

func (h *host) Lease() uint64 { return uint64(h.n) }
func (h *host) Host() string  { return fmt.Sprintf("hearth1host%d", h.n) }
func (h *host) Owner() string {
	if h.owner != "" {
		return h.owner
	}
	return h.Host()
}
func (h *host) Peer() p2p.Peer { return p2p.Peer{Key: h.key.Public().(ed25519.PublicKey)} }

func (h *host) Grant() (grant.Grant, ed25519.PublicKey, []byte) {
	return grant.Grant{Lease: h.Lease()}, nil, nil
}

func (h *host) Prices() quote.Prices { return quote.Prices{In: 1 << 30, Out: 2 << 30, Gas: quote.Tgas} }

func (h *host) PayFor(_ context.Context, use quote.Use) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.penury != nil {
		return h.penury
	}
	if use.Gas > 0 {
		if h.payments++; h.broken && h.deaf == nil {
			h.t.Error("a call is paid for, and nobody has asked what the one before used")
		}
	}
	h.flying = h.flying.Plus(use)
	return nil
}

func (h *host) Over(in, out uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if in > h.flying.In || out > h.flying.Out {
		h.t.Errorf("%d in and %d out are over, %+v were paid for", in, out, h.flying)
	}
	h.flying = h.flying.Less(quote.Use{In: in, Out: out})
}

func (h *host) Ran(gas, used uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rans++; gas > h.flying.Gas || used > gas {
		h.t.Errorf("%d gas of %d are over, %d were paid for", used, gas, h.flying.Gas)
	}
	h.flying = h.flying.Less(quote.Use{Gas: gas})
	h.broken = h.broken || used == gas
}

func (h *host) Resync(context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.resyncs++
	if h.deaf == nil {
		h.broken = false
	}
	return h.deaf
}

// asked is how many calls it was asked for.
func (h *host) asked() int { h.mu.Lock(); defer h.mu.Unlock(); return h.calls }

func (h *host) serve(s net.Conn) {
	defer s.Close()
	if h.silent {
		io.Copy(io.Discard, s)
		return
	}
	var made []byte
	for {
		var r wire.Request
		if p2p.ReadFrame(s, &r, p2p.MaxFrame) != nil {
			return
		}
		if r.GetCall() != nil {
			h.mu.Lock()
			h.calls++
			h.mu.Unlock()
		}
		if h.instead != nil && h.instead(s, &r) {
			continue
		}
		var err error
		switch ask := r.Ask.(type) {
		case *wire.Request_Put:
			err = h.put(s, ask.Put)
		case *wire.Request_Call:
			made, err = h.call(s, ask.Call)
		case *wire.Request_Fetch:
			if p2p.WriteFrame(s, &wire.Response{}) == nil {
				_, err = s.Write(made)
			}
		}
		if err != nil {
			return
		}
	}
}

func (h *host) put(s net.Conn, ask *wire.Put) error {
	module := make([]byte, ask.Size)
	if _, err := io.ReadFull(s, module); err != nil {
		return err
	}
	h.mu.Lock()
	h.modules[sha256.Sum256(module)] = true
	h.puts++
	h.mu.Unlock()
	return p2p.WriteFrame(s, &wire.Response{})
}

// call gives back the input in capitals.
func (h *host) call(s net.Conn, ask *wire.Call) ([]byte, error) {
	input, kept := make([]byte, ask.Input), make([]byte, ask.Store)
	for _, b := range [][]byte{input, kept} {
		if _, err := io.ReadFull(s, b); err != nil {
			return nil, err
		}
	}
	h.mu.Lock()
	known := h.modules[[32]byte(ask.Module)]
	h.mu.Unlock()
	if !known {
		return nil, p2p.WriteFrame(s, &wire.Response{Code: string(fault.NoModule), Reason: "it isn't here"})
	}
	if h.during != nil {
		h.during()
	}
	c := call.Call{
		Module: [32]byte(ask.Module), Args: ask.Args, Env: ask.Env, Input: sha256.Sum256(input), Now: ask.Now, Seed: [32]byte(ask.Seed),
		Gas: ask.Gas, Pages: ask.Pages, MaxOutput: ask.MaxOutput, StoreMax: ask.StoreMax,
	}
	if ask.StoreMax > 0 {
		c.Store = store.Digest(kept)
	}
	output, log := bytes.ToUpper(input), []byte(strings.Join(ask.Args, " "))
	changed := counted(kept, ask.StoreMax)
	o := c.Ended(0, 12345, "", output, changed)
	if h.twist != nil {
		h.twist(&o)
	}
	d := &wire.Done{
		Exit: o.Exit, Gas: o.Gas, Output: o.Output[:], OutputBytes: o.Bytes, Fault: string(o.Fault), LogBytes: uint64(len(log)),
		StoreBytes: o.StoreBytes, Sig: o.Sign(chainID, c.Digest(), h.key),
	}
	if ask.StoreMax > 0 {
		d.Store = o.Store[:]
	}
	if h.forge != nil {
		h.forge(d)
	}
	if h.output != nil {
		output = h.output(output)
	}
	if h.stored != nil {
		changed = h.stored(changed)
	}
	return slices.Concat(output, log, changed), p2p.WriteFrame(s, &wire.Response{Answer: &wire.Response_Done{Done: d}})
}

// counted is what a store becomes in which a function has counted its calls, nil where
// it hasn't one.
func counted(b []byte, most uint64) []byte {
	s, err := store.Decode(b, int(most))
	if err != nil {
		return nil
	}
	had, _ := s.Get("calls")
	n, _ := strconv.Atoi(string(had))
	s.Set("calls", []byte(strconv.Itoa(n+1)))
	return s.Encode()
}

type pipe struct{ net.Conn }

func (pipe) Remote() ed25519.PublicKey { return nil }
func (pipe) RemoteIP() string          { return "" }

// A town is hosts, a Market and a Dialer that know them, and a Blobs in memory.
type town struct {
	t     testing.TB
	hosts []*host

	mu      sync.Mutex
	looked  int // for hosts
	serving sync.WaitGroup
	kept    map[string][]byte
	version map[string]int
	swaps   func(name string) // before one is looked at
	broken  map[string]error  // of Read
}

func newTown(t testing.TB, hosts int) *town {
	w := &town{t: t, kept: map[string][]byte{}, version: map[string]int{}, broken: map[string]error{}}
	for i := range hosts {
		seed := append(make([]byte, ed25519.SeedSize-1), byte(i+1))
		w.hosts = append(w.hosts, &host{t: t, key: ed25519.NewKeyFromSeed(seed), n: byte(i + 1), modules: map[[32]byte]bool{}})
	}
	t.Cleanup(func() {
		w.serving.Wait()
		for _, h := range w.hosts {
			if h.flying != (quote.Use{}) || h.rans != h.payments {
				t.Errorf("%s: %+v are on their way for ever; %d calls were paid for, %d ran", h.Host(), h.flying, h.payments, h.rans)
			}
		}
	})
	return w
}

func (w *town) Hosts(_ context.Context, most int, avoid []string) ([]Pair, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looked++
	var out []Pair
	for _, h := range w.hosts {
		if len(out) < most && !slices.Contains(avoid, h.Host()) {
			out = append(out, h)
		}
	}
	return out, nil
}

func (w *town) Open(_ context.Context, peer p2p.Peer, protocol string) (p2p.Stream, error) {
	for _, h := range w.hosts {
		if h.Peer().Key.Equal(peer.Key) && !h.down && protocol == Protocol {
			near, far := net.Pipe()
			w.serving.Go(func() { h.serve(far) })
			return pipe{near}, nil
		}
	}
	return nil, errors.New("nobody answers")
}

func (w *town) OpenBulk(ctx context.Context, peer p2p.Peer, protocol string) (p2p.Stream, error) {
	return w.Open(ctx, peer, protocol)
}

func (w *town) Keep(_ context.Context, name string, b []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kept[name] = bytes.Clone(b)
	w.version[name]++
	return nil
}

func (w *town) Load(ctx context.Context, name string, to io.Writer) (string, error) {
	w.mu.Lock()
	version := strconv.Itoa(w.version[name])
	w.mu.Unlock()
	return version, w.Read(ctx, name, to)
}

func (w *town) Swap(_ context.Context, name string, b []byte, version string) error {
	if w.swaps != nil {
		w.swaps(name)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, there := w.kept[name]; there != (version != "") || there && strconv.Itoa(w.version[name]) != version {
		return fault.New(fault.Exists, "another version was put since")
	}
	w.kept[name] = bytes.Clone(b)
	w.version[name]++
	return nil
}

func (w *town) Read(_ context.Context, name string, to io.Writer) error {
	w.mu.Lock()
	b, ok := w.kept[name]
	err := w.broken[name]
	w.mu.Unlock()
	switch {
	case err != nil:
		return err
	case !ok:
		return fault.New(fault.NotFound, "there is no object %q", name)
	}
	for piece := range slices.Chunk(b, 1000) {
		if _, err := to.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

func (w *town) Drop(_ context.Context, name string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.kept, name)
	return nil
}

func (w *town) Names(_ context.Context, prefix string) (names []string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for n := range w.kept {
		if strings.HasPrefix(n, prefix) {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names, nil
}

// client is one of the town's people, with the function f.
func (w *town) client(change ...func(c *Config)) *Client {
	w.t.Helper()
	c := Config{Dir: w.t.TempDir(), Market: w, Blobs: w, Dialer: w, ChainID: chainID, Pause: 5 * time.Second}
	for _, f := range change {
		f(&c)
	}
	x, err := New(c)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := x.Deploy(w.t.Context(), Function{Name: "f"}, module(1)); err != nil {
		w.t.Fatal(err)
	}
	return x
}

// module is one of many that do nothing.
func module(n byte) []byte { return append([]byte("\x00asm\x01\x00\x00\x00"), 0, 2, 1, 'a'+n) }

func want(t testing.TB, what string, err error, code fault.Code) {
	t.Helper()
	if fault.CodeOf(err) != code {
		t.Errorf("%s: %v, not %q", what, err, code)
	}
}
