package host

import (
	"math/rand/v2"
	"slices"
	"testing"

	"hearth/core/fault"
	"hearth/core/proof"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"
)

// proven checks that a leaf of a version can be proved under its root.
func (w *town) proven(lease uint64, v version) {
	var total uint64
	for id := range v.has {
		total += uint64(proof.NumLeaves(int64(townSize(id))))
	}
	if total == 0 {
		return
	}
	n := w.rng.Uint64N(total)
	a, err := w.h.Prove(lease, v.root, n)
	if err != nil {
		w.t.Fatalf("lease %d, root %x: %v", lease, v.root[:8], err)
	}
	if err := a.Verify(v.root, total, n); err != nil {
		w.t.Fatal(err)
	}
}

// posted has the ledger take one of the statements that both have signed.
func (w *town) posted(lease uint64, b *bargain) {
	i := rapid.IntRange(0, len(b.past)).Draw(w.t, "posted")
	newest := i == len(b.past)
	v := version{b.root, b.signed}
	if !newest {
		v = b.past[i]
	}
	if err := w.h.Posted(lease, v.root, newest); err != nil {
		w.t.Fatal(err)
	}
	if newest {
		b.past = nil
		return
	}
	oldest := slices.IndexFunc(b.past, func(p version) bool { return p.root == v.root })
	b.past = b.past[oldest:]
}

// Whatever a client signs and removes, whichever of the statements the ledger
// has, and wherever the power fails: the host can prove every tree that the
// ledger may go by, and keeps nothing else.
func TestWhatTheLedgerGoesByIsKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &town{
			t: t, fs: vfs.NewCrashableMem(), now: newClock(), rng: rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)), proves: true,
		}
		for range 3 {
			w.leases = append(w.leases, &bargain{signed: map[uint64]bool{}, put: map[uint64]bool{}, root: proof.EmptyRoot()})
		}
		w.open()
		defer func() { w.h.Close() }()
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			w.step()
			w.check()
		}
		for lease := range uint64(3) {
			if err := w.h.Drop(lease); err != nil {
				t.Fatal(err)
			}
		}
		if s := w.h.Stats(); s.Stored != 0 || s.Kept != 0 || s.Pending != 0 {
			t.Fatalf("left after all leases have ended: %+v", s)
		}
		for _, kind := range []byte{keyPast, keyKept, keyNeed, keySlot} {
			if err := w.h.store.Each([]byte{kind}, func(key, _ []byte) error { t.Fatalf("left: %x", key); return nil }); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// What a client removes stays until the ledger has the statement, and goes then.
func TestRemovedShardsWaitForTheLedger(t *testing.T) {
	fs := vfs.NewMem()
	h := open(t, Config{FS: fs, Posted: true})
	root, units := proof.EmptyRoot(), uint64(0)
	a, b := put(t, h, 1, 1, 3000), put(t, h, 1, 2, 5000)
	change(t, h, 1, &units, &root, []proof.Hash{a, b}, nil)
	before := root
	if err := h.Posted(1, before, true); err != nil {
		t.Fatal(err)
	}
	change(t, h, 1, &units, &root, nil, []proof.Hash{a})
	if s := h.Stats(); s.Stored != 8000 || s.Kept != 3000 {
		t.Fatalf("before the ledger knows: %+v", s)
	}
	if has(t, h, 1, a) != 0 {
		t.Error("a removed shard still counts as the lease's")
	}
	h.Close()
	h = open(t, Config{FS: fs, Posted: true})
	if s := h.Stats(); s.Kept != 3000 {
		t.Fatalf("after a restart: %+v", s)
	}
	if p, err := h.Prove(1, before, 0); err != nil || p.Verify(before, 3+5, 0) != nil {
		t.Fatalf("prove what is posted: %v", err)
	}
	want(t, "a root that nobody has signed", h.Posted(1, [32]byte{9}, false), fault.NotFound)
	if err := h.Posted(1, root, false); err != nil {
		t.Fatal(err)
	}
	if s := h.Stats(); s.Stored != 5000 || s.Kept != 0 {
		t.Fatalf("once the ledger knows: %+v", s)
	}
	_, err := h.Prove(1, before, 0)
	want(t, "a root of the past", err, fault.Stale)
}
