package remote

import (
	"context"
	"crypto/ed25519"
	"net"
	"strings"
	"testing"
	"time"

	"hearth/core/fault"
	"hearth/core/grant"
	"hearth/core/proof"
	"hearth/p2p"
	"hearth/storage/wire"
)

// A liar is a host that answers what the test says, and a bargain with it.
type liar struct {
	answer  func(r *wire.Request, s net.Conn) // on the stream of the request
	units   uint64
	root    [32]byte
	covered bool
	resyncs int
	dispute error // why payments don't come about
}

func (*liar) Lease() uint64                               { return 1 }
func (*liar) Host() string                                { return "hearth1liar" }
func (*liar) Peer() p2p.Peer                              { return p2p.Peer{} }
func (*liar) Chunk() uint64                               { return 1 << 20 }
func (l *liar) Pay(context.Context, uint64, uint64) error { return l.dispute }
func (*liar) Over(uint64, uint64)                         {}
func (l *liar) Resync(context.Context) error              { l.resyncs++; return nil }
func (*liar) Grant() (grant.Grant, ed25519.PublicKey, []byte) {
	return grant.Grant{}, nil, nil
}
func (l *liar) State(context.Context) (uint64, [32]byte, error) { return l.units, l.root, nil }
func (l *liar) Cover(_ context.Context, units uint64, root [32]byte) error {
	l.covered = true
	return nil
}

type pipe struct{ net.Conn }

func (pipe) Remote() ed25519.PublicKey { return nil }
func (pipe) RemoteIP() string          { return "" }

func (l *liar) OpenBulk(context.Context, p2p.Peer, string) (p2p.Stream, error) {
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		for {
			var r wire.Request
			if p2p.ReadFrame(far, &r, maxFrame) != nil {
				return
			}
			l.answer(&r, far)
		}
	}()
	return pipe{near}, nil
}

func newLiar(t *testing.T) (*liar, *Host) {
	t.Helper()
	l := &liar{}
	h, err := New(Config{Pair: l, Dialer: l, Pause: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return l, h
}

func shard(n int) ([]byte, proof.Hash, proof.Tree) {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i / 7)
	}
	root, tree := proof.Build(b)
	return b, root, tree
}

func TestWrongBlocksAreGarbage(t *testing.T) {
	b, root, tree := shard(600 << 10)
	good := func() (*wire.Got, []byte) {
		return &wire.Got{Size: uint64(len(b)), Outboard: proof.Pack(tree.Blocks), Bytes: uint64(len(b))}, append([]byte(nil), b...)
	}
	for name, c := range map[string]struct {
		lie  func(g *wire.Got, body []byte)
		code fault.Code
	}{
		"the truth":           {func(*wire.Got, []byte) {}, ""},
		"another size":        {func(g *wire.Got, _ []byte) { g.Size++ }, fault.BadFrame},
		"fewer bytes":         {func(g *wire.Got, _ []byte) { g.Bytes-- }, fault.BadFrame},
		"far more bytes":      {func(g *wire.Got, _ []byte) { g.Bytes = 1 << 60 }, fault.BadFrame},
		"no outboard":         {func(g *wire.Got, _ []byte) { g.Outboard = nil }, fault.BadFrame},
		"another outboard":    {func(g *wire.Got, _ []byte) { g.Outboard[40] ^= 1 }, fault.DamagedShard},
		"a flipped bit":       {func(_ *wire.Got, p []byte) { p[300<<10] ^= 1 }, fault.DamagedShard},
		"no answer but a yes": {func(g *wire.Got, _ []byte) { *g = wire.Got{} }, fault.BadFrame},
	} {
		l, h := newLiar(t)
		l.answer = func(r *wire.Request, s net.Conn) {
			g, body := good()
			c.lie(g, body)
			p2p.WriteFrame(s, &wire.Response{Answer: &wire.Response_Got{Got: g}})
			s.Write(body)
		}
		into := make([]byte, len(b))
		verified := 0
		err := h.Get(t.Context(), root, int64(len(b)), 0, into, func(n int) { verified += n })
		if fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (Classify(err) != Garbage || verified >= len(b)) {
			t.Errorf("%s: class %s, %d bytes taken for right", name, Classify(err), verified)
		}
	}
}

func TestWrongRangesAreGarbage(t *testing.T) {
	b, root, tree := shard(600 << 10)
	l, h := newLiar(t)
	lie := func(*wire.Ranged, []byte) {}
	l.answer = func(r *wire.Request, s net.Conn) {
		ask := r.GetRange()
		at := int(ask.Offset) / proof.BlockSize * proof.BlockSize
		data, path, err := tree.Prove(b[at:min(at+proof.BlockSize, len(b))], int64(ask.Offset), int64(ask.Span))
		if err != nil {
			t.Error(err)
		}
		data = append([]byte(nil), data...)
		g := &wire.Ranged{Size: uint64(len(b)), Path: proof.Pack(path), Bytes: uint64(len(data))}
		lie(g, data)
		p2p.WriteFrame(s, &wire.Response{Answer: &wire.Response_Ranged{Ranged: g}})
		s.Write(data)
	}
	data, lo, err := h.Range(t.Context(), root, int64(len(b)), 100_000, 4096)
	if err != nil || string(data) != string(b[lo:lo+4096]) {
		t.Fatalf("the truth: %v", err)
	}
	for name, f := range map[string]func(*wire.Ranged, []byte){
		"a flipped bit": func(_ *wire.Ranged, p []byte) { p[0] ^= 1 },
		"a short path":  func(g *wire.Ranged, _ []byte) { g.Path = g.Path[32:] },
		"a long path":   func(g *wire.Ranged, _ []byte) { g.Path = make([]byte, 32*1000) },
		"other bytes":   func(g *wire.Ranged, _ []byte) { g.Bytes = 1 },
	} {
		lie = f
		if _, _, err := h.Range(t.Context(), root, int64(len(b)), 100_000, 4096); Classify(err) != Garbage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A host that stages another change than the one asked for gets no signature.
func TestOtherChangesAreNotSigned(t *testing.T) {
	mine, other := proof.Shard{Size: 1000, Root: proof.Hash{1}}, proof.Shard{Size: 1000, Root: proof.Hash{2}}
	tree := proof.NewSumTree([]proof.Shard{{Size: 5, Root: proof.Hash{9}}})
	staged := func(add []proof.Shard, remove []proof.Hash) *wire.Staged {
		c, err := tree.Stage(add, remove)
		if err != nil {
			t.Fatal(err)
		}
		return &wire.Staged{Root: c.Root[:], Steps: c.EncodeSteps()}
	}
	honest := staged([]proof.Shard{mine}, nil)
	for name, s := range map[string]*wire.Staged{
		"another shard":       staged([]proof.Shard{other}, nil),
		"one more":            staged([]proof.Shard{mine, other}, nil),
		"one that leaves too": staged([]proof.Shard{mine}, []proof.Hash{{9}}),
		"a larger one":        staged([]proof.Shard{{Size: 2000, Root: mine.Root}}, nil),
		"no step":             {Root: honest.Root},
		"another root":        {Root: make([]byte, 32), Steps: honest.Steps},
		"no root":             {Steps: honest.Steps},
		"half a step":         {Root: honest.Root, Steps: [][]byte{honest.Steps[0][:20]}},
		"nothing":             nil,
	} {
		l, h := newLiar(t)
		l.units = tree.Bytes()
		l.root, _ = tree.Root()
		l.answer = func(_ *wire.Request, c net.Conn) {
			p2p.WriteFrame(c, &wire.Response{Answer: &wire.Response_Staged{Staged: s}})
		}
		err := h.Change(t.Context(), []proof.Shard{mine}, nil)
		if l.covered || Classify(err) != Garbage {
			t.Errorf("%s: signed %v, %v", name, l.covered, err)
		}
	}
	l, h := newLiar(t)
	l.units = tree.Bytes()
	l.root, _ = tree.Root()
	l.answer = func(_ *wire.Request, c net.Conn) {
		p2p.WriteFrame(c, &wire.Response{Answer: &wire.Response_Staged{Staged: honest}})
	}
	if err := h.Change(t.Context(), []proof.Shard{mine}, nil); err != nil || !l.covered {
		t.Errorf("the change that was asked for: %v", err)
	}
}

func TestRefusalsKeepTheirCode(t *testing.T) {
	l, h := newLiar(t)
	code, reason := "host_full", "no room"
	l.answer = func(_ *wire.Request, s net.Conn) {
		p2p.WriteFrame(s, &wire.Response{Code: code, Reason: reason})
	}
	_, root, _ := shard(1000)
	for _, c := range []struct {
		code  string
		want  fault.Code
		class Class
	}{
		{"host_full", fault.HostFull, Full},
		{"busy", fault.Busy, Busy},
		{"not_found", fault.NotFound, Lost},
		{"damaged_shard", fault.DamagedShard, Lost},
		{"no such code", fault.HostRefused, Refused},
		{"internal", fault.HostRefused, Refused},
	} {
		code = c.code
		if _, err := h.Stat(t.Context(), []proof.Hash{root}); fault.CodeOf(err) != c.want || Classify(err) != c.class {
			t.Errorf("%s: %s, %v", c.code, Classify(err), err)
		}
	}
	reason = strings.Repeat("\x1b[31m", 10_000)
	if _, err := h.Stat(t.Context(), []proof.Hash{root}); len(err.Error()) > 2000 || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("a host's words are repeated as they are: %d bytes", len(err.Error()))
	}
	// What isn't paid for in the host's eyes is counted anew, once.
	code, reason = "unpaid", ""
	if _, err := h.Stat(t.Context(), []proof.Hash{root}); fault.CodeOf(err) != fault.Unpaid || l.resyncs == 0 {
		t.Errorf("%d times counted anew, %v", l.resyncs, err)
	}
	l.answer = func(_ *wire.Request, s net.Conn) {
		p2p.WriteFrame(s, &wire.Response{Answer: &wire.Response_Held{Held: &wire.Held{Held: []bool{true, true}}}})
	}
	if _, err := h.Stat(t.Context(), []proof.Hash{root}); Classify(err) != Garbage {
		t.Errorf("two answers to one question: %v", err)
	}
}

func TestAnIdleStreamThatEndedIsReplaced(t *testing.T) {
	l, h := newLiar(t)
	n := 0
	l.answer = func(_ *wire.Request, s net.Conn) {
		n++
		p2p.WriteFrame(s, &wire.Response{Answer: &wire.Response_Held{Held: &wire.Held{Held: []bool{true}}}})
		s.Close()
	}
	for range 3 {
		if _, err := h.Stat(t.Context(), []proof.Hash{{}}); err != nil {
			t.Fatal(err)
		}
	}
	if n != 3 {
		t.Errorf("%d requests were answered", n)
	}
}

// A host that takes no payment and has no reason for it doesn't serve. That says
// nothing of the shards it holds, and is its answer. What has a reason keeps its class.
func TestADisputedPaymentIsNoLostShard(t *testing.T) {
	l, h := newLiar(t)
	b, root, _ := shard(1000)
	for _, c := range []struct {
		code  fault.Code
		class Class
		said  bool
	}{
		{fault.BadStatement, Refused, true},
		{fault.BadFrame, Refused, true},
		{fault.BadSignature, Refused, true},
		{fault.NoFunds, Unpaid, false},
		{fault.Busy, Busy, false},
		{fault.LeaseClosed, Lost, false},
		{fault.HostUnreachable, Unreachable, false},
	} {
		l.dispute = fault.New(c.code, "of a payment")
		_, _, err := h.Range(t.Context(), root, int64(len(b)), 0, proof.LeafSize)
		if fault.CodeOf(err) != c.code || Classify(err) != c.class || Said(err) != c.said {
			t.Errorf("%s: %s, said: %v, %v", c.code, Classify(err), Said(err), err)
		}
	}
}
