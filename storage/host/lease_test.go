package host

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"hearth/core/fault"
	"hearth/core/proof"
	"hearth/core/quote"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func shard(seed uint64, size int) ([]byte, proof.Hash) {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	b := make([]byte, size)
	rand.NewChaCha8(key).Read(b)
	return b, proof.Sum(b)
}

// clock is a time that tests move, and that a host looks at meanwhile.
type clock struct{ at atomic.Int64 } // unix nanoseconds

func (c *clock) now() time.Time { return time.Unix(0, c.at.Load()) }

func (c *clock) pass(d time.Duration) { c.at.Add(int64(d)) }

func (c *clock) set(t time.Time) { c.at.Store(t.UnixNano()) }

func newClock() *clock {
	c := new(clock)
	c.set(time.Unix(1_000_000, 0))
	return c
}

func open(t testing.TB, c Config) *Host {
	t.Helper()
	if c.Dir == "" {
		c.Dir = "host"
	}
	if c.FS == nil {
		c.FS = vfs.NewMem()
	}
	if c.Capacity == 0 {
		c.Capacity = 64 << 20
	}
	if c.VolumeSize == 0 {
		c.VolumeSize = 8 << 20
	}
	if c.Ballast == 0 {
		c.Ballast = 64 << 10
	}
	h, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func put(t testing.TB, h *Host, lease, seed uint64, size int) proof.Hash {
	t.Helper()
	data, root := shard(seed, size)
	if err := h.Put(lease, root, int64(size), bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	return root
}

// change stages and commits as market does, and follows the root as a client does.
func change(t testing.TB, h *Host, lease uint64, units *uint64, root *proof.Hash, add, remove []proof.Hash) {
	t.Helper()
	next, steps, err := h.Stage(lease, add, remove)
	if err != nil {
		t.Fatal(err)
	}
	got, err := proof.Follow(*root, steps)
	if err != nil || got != next {
		t.Fatalf("the steps don't lead to the root: %v", err)
	}
	for _, s := range steps {
		*units += uint64(s.To.Size) - uint64(s.From.Size)
	}
	*root = next
	if err := h.Covers(lease, quote.Units{*units}, next); err != nil {
		t.Fatal(err)
	}
	if err := h.Commit(lease, quote.Units{*units}, next); err != nil {
		t.Fatal(err)
	}
}

func want(t testing.TB, what string, err error, code fault.Code) {
	t.Helper()
	if fault.CodeOf(err) != code {
		t.Errorf("%s: got %v, want code %q", what, err, code)
	}
}

// tester is what tests and histories have in common.
type tester interface {
	Helper()
	Fatal(...any)
}

func has(t tester, h *Host, lease uint64, roots ...proof.Hash) int {
	t.Helper()
	held, err := h.Held(lease, roots)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, yes := range held {
		if yes {
			n++
		}
	}
	return n
}

func TestAChangeTakesEffectWithItsStatement(t *testing.T) {
	fs := vfs.NewMem()
	h := open(t, Config{FS: fs})
	a, b := put(t, h, 1, 1, 5000), put(t, h, 1, 2, 300<<10)
	if got := h.Stats().Pending; got != 5000+300<<10 {
		t.Errorf("%d pending", got)
	}
	root, units := proof.EmptyRoot(), uint64(0)
	change(t, h, 1, &units, &root, []proof.Hash{a, b}, nil)
	if s := h.Stats(); s.Pending != 0 || s.Stored != int64(units) {
		t.Errorf("covered: %+v", s)
	}
	c := put(t, h, 1, 3, 100)
	next, _, err := h.Stage(1, []proof.Hash{c}, []proof.Hash{a})
	if err != nil {
		t.Fatal(err)
	}
	if has(t, h, 1, a, b, c) != 3 {
		t.Error("a staged removal has removed")
	}
	want(t, "other units", h.Covers(1, quote.Units{units}, next), fault.BadStatement)
	want(t, "another root", h.Covers(1, quote.Units{units}, proof.Hash{1}), fault.Stale)
	want(t, "commit of another root", h.Commit(1, quote.Units{units}, proof.Hash{1}), fault.Stale)
	units = units + 100 - 5000
	if err := h.Covers(1, quote.Units{units}, next); err != nil {
		t.Fatal(err)
	}
	for range 2 { // to commit twice is to commit once
		if err := h.Commit(1, quote.Units{units}, next); err != nil {
			t.Fatal(err)
		}
	}
	h.store.Each([]byte{keyStaged}, func(key, _ []byte) error {
		t.Errorf("staged change %x has outlived its commit", key)
		return nil
	})
	if has(t, h, 1, a) != 0 || has(t, h, 1, b, c) != 2 || h.Stats().Shards != 2 {
		t.Error("the removed shard is still there, or another isn't")
	}
	h.Close()
	h = open(t, Config{FS: fs})
	if err := h.Reconcile(1, next); err != nil {
		t.Error(err)
	}
	want(t, "a root that was never signed", h.Reconcile(1, proof.Hash{9}), fault.DamagedFile)
	if err := h.Covers(1, quote.Units{units}, next); err != nil {
		t.Error("reopened:", err)
	}
}

func TestStageRefuses(t *testing.T) {
	h := open(t, Config{})
	a := put(t, h, 1, 1, 5000)
	root, units := proof.EmptyRoot(), uint64(0)
	change(t, h, 1, &units, &root, []proof.Hash{a}, nil)
	b := put(t, h, 1, 2, 5000)
	for _, c := range []struct {
		name        string
		lease       uint64
		add, remove []proof.Hash
		code        fault.Code
	}{
		{"a shard that was never put", 1, []proof.Hash{{1}}, nil, fault.NotFound},
		{"a shard put under another lease", 2, []proof.Hash{b}, nil, fault.NotFound},
		{"a shard that is covered already", 1, []proof.Hash{a}, nil, fault.Exists},
		{"the same shard twice", 1, []proof.Hash{b, b}, nil, fault.Exists},
		{"removing what isn't there", 1, nil, []proof.Hash{b}, fault.NotFound},
		{"removing another lease's", 2, nil, []proof.Hash{a}, fault.NotFound},
		{"too many", 1, make([]proof.Hash, proof.MaxSteps+1), nil, fault.TooLarge},
	} {
		_, _, err := h.Stage(c.lease, c.add, c.remove)
		want(t, c.name, err, c.code)
	}
	same, steps, err := h.Stage(1, nil, nil)
	if err != nil || same != root || len(steps) != 0 {
		t.Errorf("no change: %x, %d steps, %v", same, len(steps), err)
	}
}

func TestOneOfSeveralStagedChangesWins(t *testing.T) {
	h := open(t, Config{})
	var roots, staged []proof.Hash
	for i := range uint64(maxStaged + 3) {
		root := put(t, h, 1, i, 1000)
		next, _, err := h.Stage(1, []proof.Hash{root}, nil)
		if err != nil {
			t.Fatal(err)
		}
		roots, staged = append(roots, root), append(staged, next)
		if i == 2 {
			if err := h.Covers(1, quote.Units{1000}, next); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The one that the market was told to sign has outlived the others of its age.
	if err := h.Commit(1, quote.Units{1000}, staged[2]); err != nil {
		t.Fatal(err)
	}
	last := staged[len(staged)-1]
	want(t, "the loser", h.Covers(1, quote.Units{1000}, last), fault.Stale)
	// The loser's shard is still here: it is staged again, and nothing is sent twice.
	next, _, err := h.Stage(1, roots[len(roots)-1:], nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Commit(1, quote.Units{2000}, next); err != nil {
		t.Fatal(err)
	}
}

func TestAShardUnderTwoLeasesIsKeptForBoth(t *testing.T) {
	h := open(t, Config{})
	a := put(t, h, 1, 1, 5000)
	if put(t, h, 2, 1, 5000) != a || h.Stats().Shards != 1 {
		t.Fatal("the same bytes are stored twice")
	}
	var units [3]uint64
	roots := [3]proof.Hash{1: proof.EmptyRoot(), 2: proof.EmptyRoot()}
	for lease := range uint64(2) {
		lease++
		change(t, h, lease, &units[lease], &roots[lease], []proof.Hash{a}, nil)
	}
	change(t, h, 1, &units[1], &roots[1], nil, []proof.Hash{a})
	if has(t, h, 1, a) != 0 || has(t, h, 2, a) != 1 {
		t.Error("one lease's removal touched the other's shard, or didn't remove")
	}
	if err := h.Drop(2); err != nil {
		t.Fatal(err)
	}
	if h.Stats().Shards != 0 || h.Stats().Used != 0 {
		t.Errorf("nobody needs it any more: %+v", h.Stats())
	}
}

func TestPendingShardsExpire(t *testing.T) {
	now := newClock()
	fs := vfs.NewMem()
	h := open(t, Config{FS: fs, Now: now.now, PendingTTL: time.Minute})
	a, b, c := put(t, h, 1, 1, 5000), put(t, h, 1, 2, 5000), put(t, h, 1, 3, 5000)
	now.pass(40 * time.Second)
	put(t, h, 1, 2, 5000) // put again: it waits anew
	staged, _, err := h.Stage(1, []proof.Hash{c}, nil)
	if err != nil {
		t.Fatal(err)
	}
	now.pass(40 * time.Second)
	if err := h.Sweep(); err != nil {
		t.Fatal(err)
	}
	if has(t, h, 1, a) != 0 || has(t, h, 1, b) != 1 {
		t.Error("the old one must go, the one put again must stay")
	}
	if has(t, h, 1, c) != 1 {
		t.Error("a staged shard went before its change")
	}
	if err := h.Covers(1, quote.Units{5000}, staged); err != nil {
		t.Fatal(err)
	}
	now.pass(10 * time.Minute)
	if err := h.Sweep(); err != nil {
		t.Fatal(err)
	}
	if has(t, h, 1, b) != 0 || has(t, h, 1, c) != 1 {
		t.Error("what the market may be signing must stay, the rest must go")
	}
	h.Close()
	// After a restart the host can't know whether it was signed.
	h = open(t, Config{FS: fs, Now: now.now, PendingTTL: time.Minute})
	if err := h.Sweep(); err != nil || has(t, h, 1, c) != 1 {
		t.Fatal("swept before it was reconciled", err)
	}
	if err := h.Reconcile(1, staged); err != nil {
		t.Fatal(err)
	}
	if err := h.Covers(1, quote.Units{5000}, staged); err != nil {
		t.Error("not rolled forward:", err)
	}
	now.pass(time.Hour)
	if err := h.Sweep(); err != nil || has(t, h, 1, c) != 1 || h.Stats().Pending != 0 {
		t.Error("a covered shard has expired", err)
	}
}

func TestAChangeThatWasNotSignedIsForgotten(t *testing.T) {
	now := newClock()
	fs := vfs.NewMem()
	h := open(t, Config{FS: fs, Now: now.now})
	a := put(t, h, 1, 1, 5000)
	next, _, err := h.Stage(1, []proof.Hash{a}, nil)
	if err != nil {
		t.Fatal(err)
	}
	h.Close()
	h = open(t, Config{FS: fs, Now: now.now})
	if err := h.Reconcile(1, [32]byte{}); err != nil {
		t.Fatal(err)
	}
	want(t, "forgotten", h.Covers(1, quote.Units{5000}, next), fault.Stale)
	if has(t, h, 1, a) != 1 {
		t.Error("its shard waits for another statement")
	}
	now.pass(25 * time.Hour)
	if err := h.Sweep(); err != nil || h.Stats().Shards != 0 || h.Stats().Pending != 0 {
		t.Error("it waits for ever:", h.Stats(), err)
	}
}

func TestPendingBytesOfALeaseAreBounded(t *testing.T) {
	h := open(t, Config{MaxPending: proof.MaxShard})
	a := put(t, h, 1, 1, 3<<20)
	data, b := shard(2, 2<<20)
	err := h.Put(1, b, 2<<20, bytes.NewReader(data))
	want(t, "too much waits", err, fault.Busy)
	if err := h.Put(2, b, 2<<20, bytes.NewReader(data)); err != nil {
		t.Error("another lease:", err)
	}
	root, units := proof.EmptyRoot(), uint64(0)
	change(t, h, 1, &units, &root, []proof.Hash{a}, nil)
	if err := h.Put(1, b, 2<<20, bytes.NewReader(data)); err != nil {
		t.Error("after the statement:", err)
	}
	if err := h.Put(1, b, 2<<20, io.LimitReader(bytes.NewReader(data), 1000)); err == nil {
		t.Error("half a shard was taken")
	}
	if got := h.Stats().Pending; got != 4<<20 {
		t.Errorf("%d pending", got)
	}
}

func TestADroppedLeaseLeavesNothing(t *testing.T) {
	fs := vfs.NewMem()
	h := open(t, Config{FS: fs})
	root, units := proof.EmptyRoot(), uint64(0)
	for batch := range uint64(3) {
		var add []proof.Hash
		for i := range uint64(300) {
			add = append(add, put(t, h, 1, batch*300+i, 10))
		}
		change(t, h, 1, &units, &root, add, nil)
	}
	last := put(t, h, 1, 5000, 10)
	if _, _, err := h.Stage(1, []proof.Hash{last}, nil); err != nil {
		t.Fatal(err)
	}
	put(t, h, 2, 6000, 10)
	if err := h.Drop(1); err != nil {
		t.Fatal(err)
	}
	if s := h.Stats(); s.Shards != 1 || s.Pending != 10 {
		t.Errorf("left: %+v", s)
	}
	keys := 0
	for _, kind := range []byte{keyTree, keySlot, keyPending, keyStaged, keyEnding} {
		h.store.Each(leaseKey(kind, 1), func(key, _ []byte) error { keys++; return nil })
	}
	if keys != 0 {
		t.Errorf("%d keys left", keys)
	}
	if err := h.Drop(1); err != nil {
		t.Error("dropping nothing:", err)
	}
}

func TestChallengesAreAnswered(t *testing.T) {
	h := open(t, Config{})
	root, units := proof.EmptyRoot(), uint64(0)
	var add []proof.Hash
	for i, size := range []int{1, 1024, 300 << 10, 1 << 20, 777} {
		add = append(add, put(t, h, 1, uint64(i), size))
	}
	change(t, h, 1, &units, &root, add, nil)
	change(t, h, 1, &units, &root, nil, add[1:2])
	s, err := h.shelf(1)
	if err != nil {
		t.Fatal(err)
	}
	tree := s.tree
	h.giveBack(s)
	_, total := tree.Root()
	for n := uint64(0); n < total; n += 97 {
		a, err := h.Prove(1, root, n)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Verify(root, total, n); err != nil {
			t.Fatalf("leaf %d: %v", n, err)
		}
	}
	_, err = h.Prove(1, root, total)
	want(t, "beyond the last leaf", err, fault.Stale)
	_, err = h.Prove(1, proof.EmptyRoot(), 0)
	want(t, "an old root", err, fault.Stale)
}

func TestTreesAreLoadedAndForgotten(t *testing.T) {
	h := open(t, Config{Trees: 20})
	const leases = 10
	var units [leases]uint64
	var roots [leases]proof.Hash
	for round := range uint64(4) {
		for lease := range uint64(leases) {
			if round == 0 {
				roots[lease] = proof.EmptyRoot()
			}
			add := []proof.Hash{
				put(t, h, lease, round<<32|lease<<8, 100), put(t, h, lease, round<<32|lease<<8|1, 200),
				put(t, h, lease, round<<32|lease<<8|2, 300),
			}
			var remove []proof.Hash
			if round > 0 {
				_, old := shard((round-1)<<32|lease<<8, 100)
				remove = append(remove, old)
			}
			change(t, h, lease, &units[lease], &roots[lease], add, remove)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.slots > 20 || len(h.shelves) == leases {
		t.Errorf("%d slots of %d trees in memory", h.slots, len(h.shelves))
	}
}
