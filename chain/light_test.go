package chain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"

	"hearth/core/fault"
)

func began() time.Time { return time.Now().Add(-time.Hour).Truncate(time.Millisecond).UTC() }

func dial(t testing.TB, l *ledger, c Config, servers ...*server) *Client {
	t.Helper()
	cl, err := tryDial(l, c, servers...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cl.Close() })
	return cl
}

func tryDial(l *ledger, c Config, servers ...*server) (*Client, error) {
	c.Network = l.name(servers...)
	if c.Patience == 0 {
		c.Patience = 2 * time.Minute
	}
	c.Poll = 5 * time.Millisecond
	return Dial(context.Background(), c)
}

func TestNewestBlockIsVerifiedFromTheGenesis(t *testing.T) {
	l := newLedger(t, 4, began())
	l.grow(30)
	c := dial(t, l, Config{}, l.serve())
	height, at, err := c.Now(t.Context())
	if err != nil || height != 31 || !at.Equal(l.blocks[30].Time) {
		t.Errorf("block %d of %v, %v", height, at, err)
	}
}

func TestValidatorsMayAllChangeOneByOne(t *testing.T) {
	l := newLedger(t, 4, began())
	for range 12 { // each time the newest replaces a third or more
		old := l.next.Copy()
		fresh := l.newValidators(2)
		l.next = fresh
		if err := l.next.UpdateWithChangeSet(old.Validators[:2]); err != nil {
			t.Fatal(err)
		}
		l.grow(3)
	}
	c := dial(t, l, Config{}, l.serve())
	if height, _, err := c.Now(t.Context()); err != nil || height != int64(len(l.blocks)) {
		t.Errorf("block %d, %v", height, err)
	}
}

func TestAnotherNetworksNodeIsRefused(t *testing.T) {
	here, there := newLedger(t, 1, began()), newLedger(t, 1, began())
	wrong, right := there.serve(), here.serve()
	if _, err := tryDial(here, Config{}, wrong); fault.CodeOf(err) != fault.WrongNetwork {
		t.Errorf("only another network's node: %v", err)
	}
	if c, err := tryDial(here, Config{}, wrong, right); err != nil {
		t.Errorf("one right node: %v", err)
	} else if _, _, err := c.Now(t.Context()); err != nil {
		t.Error(err)
	}
	// The right name over blocks that the genesis' validators never signed.
	there.chainID, there.genesis = here.chainID, here.genesis
	forged := newLedger(t, 1, began())
	forged.chainID, forged.genesis, forged.blocks, forged.states = here.chainID, here.genesis, nil, nil
	forged.make(state{[]byte("k"), []byte("v")}, began())
	if _, err := tryDial(here, Config{}, forged.serve()); fault.CodeOf(err) != fault.LedgerLies {
		t.Errorf("forged first block: %v", err)
	}
}

func TestNobodyAnswers(t *testing.T) {
	l := newLedger(t, 1, began())
	s := l.serve()
	c := dial(t, l, Config{}, s)
	s.Close()
	if _, _, err := c.Now(t.Context()); fault.CodeOf(err) != fault.LedgerDown {
		t.Error(err)
	}
	if _, err := tryDial(l, Config{}, s); fault.CodeOf(err) != fault.LedgerDown {
		t.Error(err)
	}
	for _, n := range c.Status(t.Context()) {
		if fault.CodeOf(n.Err) != fault.LedgerDown {
			t.Errorf("%+v", n)
		}
	}
}

func TestARestartGoesOnFromWhatItKept(t *testing.T) {
	l := newLedger(t, 3, began())
	l.grow(9)
	s, dir := l.serve(), t.TempDir()
	c := dial(t, l, Config{Dir: dir}, s)
	if _, _, err := c.Now(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	asked := s.count("genesis_chunked")
	again := dial(t, l, Config{Dir: dir}, s)
	if again.trust.newest.Height != 10 || s.count("genesis_chunked") != asked {
		t.Errorf("it trusts block %d", again.trust.newest.Height)
	}
	l.grow(1)
	if h, _, err := again.Now(t.Context()); err != nil || h != 11 {
		t.Errorf("block %d, %v", h, err)
	}
	// A damaged file is no trust at all: begin at the genesis.
	path := filepath.Join(dir, "trusted-block")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	third := dial(t, l, Config{Dir: dir}, s)
	if s.count("genesis_chunked") != asked+1 || third.trust.newest.Height != 1 {
		t.Error("a damaged file was believed")
	}
}

func TestWhoSleptTooLongNeedsACheckpoint(t *testing.T) {
	now := time.Now()
	l := newLedger(t, 2, now.Add(-40*24*time.Hour).UTC())
	l.step = time.Hour * 24
	l.grow(38)
	a, b := l.serve(), l.serve()
	newest := l.blocks[len(l.blocks)-1]
	good := &Checkpoint{newest.Height, newest.Hash()}

	if _, err := tryDial(l, Config{}, a, b); fault.CodeOf(err) != fault.TrustExpired {
		t.Errorf("no checkpoint: %v", err)
	}
	if _, err := tryDial(l, Config{Checkpoint: good}, a); fault.CodeOf(err) != fault.TrustExpired {
		t.Errorf("one node confirms: %v", err)
	}
	bad := &Checkpoint{newest.Height, append([]byte{1}, newest.Hash()[1:]...)}
	if _, err := tryDial(l, Config{Checkpoint: bad}, a, b); fault.CodeOf(err) != fault.TrustExpired {
		t.Errorf("another block: %v", err)
	}
	old := &Checkpoint{10, l.blocks[9].Hash()}
	if _, err := tryDial(l, Config{Checkpoint: old}, a, b); fault.CodeOf(err) != fault.TrustExpired {
		t.Errorf("an old checkpoint: %v", err)
	}
	dir := t.TempDir()
	c, err := tryDial(l, Config{Checkpoint: good, Dir: dir}, a, b)
	if err != nil {
		t.Fatal(err)
	}
	if h, _, err := c.Now(t.Context()); err != nil || h != newest.Height {
		t.Errorf("block %d, %v", h, err)
	}
	// The same while it runs: its clock jumps.
	c.c.now = func() time.Time { return now.Add(20 * 24 * time.Hour) }
	l.grow(1)
	if _, _, err := c.Now(t.Context()); fault.CodeOf(err) != fault.TrustExpired {
		t.Errorf("asleep: %v", err)
	}
}

func TestAProvedRead(t *testing.T) {
	l := newLedger(t, 3, began())
	l.grow(5)
	s := l.serve()
	c := dial(t, l, Config{}, s)
	var once sync.Once
	s.lies(func(method string, _ map[string]json.RawMessage, result any) (any, bool) {
		if method == "abci_query" { // answered already: the header that commits to it comes later
			once.Do(func() { time.AfterFunc(20*time.Millisecond, func() { l.grow(1) }) })
		}
		return result, false
	})
	value, at, err := c.prove(t.Context(), "market", []byte("k"), 0)
	if err != nil || string(value) != "v1" || at != 6 {
		t.Errorf("%s at %d, %v", value, at, err)
	}
}

// A node may change any part of its answers; nothing of it is believed.
func TestLiesAreNoticed(t *testing.T) {
	type lie = func(method string, params map[string]json.RawMessage, result any) (any, bool)
	query := func(change func(r *abci.ResponseQuery)) lie {
		return func(method string, _ map[string]json.RawMessage, result any) (any, bool) {
			if q, ok := result.(queryAnswer); ok && method == "abci_query" {
				change(&q.Response)
				return q, false
			}
			return result, false
		}
	}
	for name, tt := range map[string]struct {
		lie  lie
		code fault.Code
	}{
		"another balance":  {query(func(r *abci.ResponseQuery) { r.Value = []byte("v9") }), fault.LedgerLies},
		"nothing there":    {query(func(r *abci.ResponseQuery) { r.Value = nil }), fault.LedgerLies},
		"no proof":         {query(func(r *abci.ResponseQuery) { r.ProofOps = nil }), fault.LedgerLies},
		"an older state":   {query(func(r *abci.ResponseQuery) { r.Height -= 4 }), fault.LedgerDown},
		"another's height": {query(func(r *abci.ResponseQuery) { r.Height-- }), fault.LedgerLies},
		"another header": {func(_ string, _ map[string]json.RawMessage, result any) (any, bool) {
			if a, ok := result.(commitAnswer); ok {
				h := *a.Header
				h.AppHash = []byte("forged app hash forged app hash!")
				a.Header = &h
				return a, false
			}
			return result, false
		}, fault.LedgerLies},
		"unsigned": {func(_ string, _ map[string]json.RawMessage, result any) (any, bool) {
			if a, ok := result.(commitAnswer); ok {
				c := a.Commit.Clone()
				for i := range c.Signatures {
					c.Signatures[i].Signature[3] ^= 1
				}
				a.Commit = c
				return a, false
			}
			return result, false
		}, fault.LedgerLies},
		"garbage": {func(_ string, _ map[string]json.RawMessage, _ any) (any, bool) { return "x", false }, fault.LedgerDown},
		"silence": {func(_ string, _ map[string]json.RawMessage, _ any) (any, bool) { return nil, true }, fault.LedgerDown},
		"too much": {func(_ string, _ map[string]json.RawMessage, _ any) (any, bool) {
			return strings.Repeat("x", largeAnswer+1), false
		}, fault.LedgerDown},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(t, 3, began())
			l.states[0].value = []byte("v0")
			l.blocks, l.states = nil, nil
			for i := range 8 {
				l.make(state{[]byte("k"), fmt.Appendf(nil, "v%d", i)}, began().Add(time.Duration(i)*time.Second))
			}
			bad, good := l.serve(), l.serve()
			alone, both := dial(t, l, Config{}, bad), dial(t, l, Config{}, bad, good)
			if name == "an older state" { // is waited out: it may become new enough
				alone.c.Patience = 300 * time.Millisecond
			}
			if _, _, err := both.Now(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, _, err := alone.Now(t.Context()); err != nil {
				t.Fatal(err)
			}
			l.make(state{[]byte("k"), []byte("v8")}, began().Add(time.Minute))
			var once sync.Once
			bad.lies(func(method string, params map[string]json.RawMessage, result any) (any, bool) {
				if method == "abci_query" { // answered already: the header that commits to it comes later
					once.Do(func() { time.AfterFunc(50*time.Millisecond, func() { l.grow(1) }) })
				}
				return tt.lie(method, params, result)
			})
			if v, at, err := alone.prove(t.Context(), "market", []byte("k"), 0); fault.CodeOf(err) != tt.code {
				t.Errorf("alone: %s at %d, %v, want %s", v, at, err, tt.code)
			}
			if v, _, err := both.prove(t.Context(), "market", []byte("k"), 8); err != nil || string(v) != "v7" {
				t.Errorf("with an honest node: %s, %v", v, err)
			}
		})
	}
}

func TestTwoSignedBlocksOfOneHeightAreNotBelieved(t *testing.T) {
	l := newLedger(t, 3, began())
	l.grow(3)
	fork := *newLedger(t, 3, began())
	fork.chainID, fork.genesis, fork.privs, fork.vals, fork.next = l.chainID, l.genesis, l.privs, l.vals, l.next
	fork.blocks, fork.states = append(fork.blocks[:0:0], l.blocks...), append(fork.states[:0:0], l.states...)
	l.grow(1)
	fork.make(state{[]byte("k"), []byte("other")}, l.blocks[3].Time.Add(time.Millisecond))
	a, b := l.serve(), fork.serve()
	c := dial(t, l, Config{}, a, b)
	if _, err := c.header(t.Context(), 5); fault.CodeOf(err) != fault.LedgerLies {
		t.Errorf("header: %v", err)
	}
}

// when is a block's time.
func (l *ledger) when(height int64) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.blocks[height-1].Time
}

func TestFollowSkipsNothing(t *testing.T) {
	l := newLedger(t, 2, began())
	l.grow(60)
	s := l.serve()
	for h := int64(1); h <= 80; h++ {
		l.events[h] = []abci.Event{
			{Type: "hearth.hosts.v1.EventHostGone", Attributes: []abci.EventAttribute{{Key: "address", Value: fmt.Sprintf("%q", fmt.Sprint(h))}, {Key: "msg_index", Value: "0"}}},
			{Type: "transfer", Attributes: []abci.EventAttribute{{Key: "amount", Value: "1uember"}}},
		}
	}
	c := dial(t, l, Config{}, s)
	if _, _, err := c.Now(t.Context()); err != nil { // then it trusts 61, and block 5 lies below
		t.Fatal(err)
	}
	delete(c.trust.blocks, 1)
	want, done := int64(5), errors.New("enough")
	err := c.Follow(t.Context(), 5, func(b Block) error {
		if b.Height != want || !b.Time.Equal(l.when(want)) {
			t.Errorf("block %d of %v, want %d", b.Height, b.Time, want)
		}
		if len(b.Changes) != 1 || b.Changes[0] != (HostGone{fmt.Sprint(want)}) {
			t.Errorf("block %d: %v", b.Height, b.Changes)
		}
		switch want {
		case 20: // the node goes away for a while
			gone := 0
			s.lies(func(_ string, _ map[string]json.RawMessage, r any) (any, bool) { gone++; return r, gone < 4 })
		case 61:
			time.AfterFunc(10*time.Millisecond, func() { l.grow(10) })
		case 71:
			return done
		}
		want++
		return nil
	})
	if !errors.Is(err, done) {
		t.Error(err)
	}
}

func TestAPastThatDoesNotFitIsRefused(t *testing.T) {
	l := newLedger(t, 2, began())
	l.grow(60)
	other := newLedger(t, 2, began())
	other.grow(60)
	s := l.serve()
	c := dial(t, l, Config{}, s)
	b, err := c.header(t.Context(), 50)
	if err != nil {
		t.Fatal(err)
	}
	s.lies(func(method string, p map[string]json.RawMessage, r any) (any, bool) {
		if method == "blockchain" {
			r, _ = other.answer(method, p)
		}
		return r, false
	})
	if _, err := c.past(t.Context(), 10, b); fault.CodeOf(err) != fault.LedgerLies {
		t.Error(err)
	}
}

// DESIGN: a light client catches up in under 10 ms.
func BenchmarkCatchUp(b *testing.B) {
	l := newLedger(b, 4, began())
	l.grow(1000)
	s := l.serve()
	c := dial(b, l, Config{}, s)
	first := c.trust.newest
	for b.Loop() {
		c.trust.restart(first)
		if h, _, err := c.Now(b.Context()); err != nil || h != 1001 {
			b.Fatal(h, err)
		}
	}
}
