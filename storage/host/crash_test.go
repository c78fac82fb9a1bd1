package host

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"hearth/core/fault"
	"hearth/core/proof"
	"hearth/core/quote"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"
)

// bargain is what client and market know of one lease: their own disks don't fail.
type bargain struct {
	signed map[uint64]bool // shards under the newest statement
	root   proof.Hash
	units  uint64
	next   map[uint64]bool // the staged change
	nextAt proof.Hash
	put    map[uint64]bool // pending shards
	past   []version       // what the ledger may still go by, oldest first; only where hosts prove
}

// version is one tree of a lease.
type version struct {
	root proof.Hash
	has  map[uint64]bool
}

// town is a host with its leases, and a power switch.
type town struct {
	t      *rapid.T
	fs     *vfs.MemFS
	h      *Host
	now    *clock
	rng    *rand.Rand
	trash  time.Duration
	leases []*bargain
	proves bool
}

func townSize(id uint64) int { return int(id*1237%40000) + 1 }

func (w *town) open() {
	h, err := Open(Config{
		Dir: "host", FS: w.fs, Capacity: 32 << 20, VolumeSize: 8 << 20, Ballast: 64 << 10, Now: w.now.now, PendingTTL: time.Hour, Trees: 8, Trash: w.trash, Posted: w.proves,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.h = h
}

// crash cuts the power and starts again: market reconciles every lease.
func (w *town) crash(clone *vfs.MemFS) {
	w.h.Close()
	w.fs = clone
	w.open()
	for i, b := range w.leases {
		if err := w.h.Reconcile(uint64(i), b.root); err != nil {
			w.t.Fatal(err)
		}
		b.next = nil
		for id := range b.put {
			if b.signed[id] {
				delete(b.put, id)
			}
		}
	}
}

func (w *town) clone() *vfs.MemFS {
	return w.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: w.rng.IntN(3) * 50, RNG: w.rng})
}

// check compares the host with what everybody knows.
func (w *town) check() {
	needed := map[uint64]bool{}
	var bytes int64
	for i, b := range w.leases {
		all := maps.Clone(b.signed)
		maps.Copy(all, b.put)
		for id := range all {
			_, root := shard(id, townSize(id))
			if has(w.t, w.h, uint64(i), root) != 1 {
				w.t.Fatalf("lease %d lost shard %d", i, id)
			}
			if err := w.h.Check(root); err != nil {
				w.t.Fatal(err)
			}
			needed[id] = true
		}
		for _, v := range b.past {
			maps.Copy(needed, v.has)
			w.proven(uint64(i), v)
		}
		if err := w.h.Covers(uint64(i), quote.Units{b.units}, b.root); err != nil {
			w.t.Fatal(err)
		}
	}
	for id := range needed {
		bytes += int64(townSize(id))
	}
	if s := w.h.Stats(); s.Stored-s.Trash != bytes || w.trash == 0 && s.Shards != int64(len(needed)) {
		w.t.Fatalf("the host holds %+v, needed are %d shards of %d bytes", s, len(needed), bytes)
	}
}

func (w *town) step() {
	lease := rapid.Uint64Range(0, uint64(len(w.leases)-1)).Draw(w.t, "lease")
	b := w.leases[lease]
	last := 7
	if w.proves {
		last = 9
	}
	switch rapid.IntRange(0, last).Draw(w.t, "step") {
	case 0, 1, 2:
		id := rapid.Uint64Range(0, 9).Draw(w.t, "shard")
		data, root := shard(id, townSize(id))
		err := w.h.Put(lease, root, int64(len(data)), bytes.NewReader(data))
		switch {
		case err != nil:
			w.t.Fatal(err)
		case !b.signed[id]:
			b.put[id] = true
		}
	case 3, 4:
		w.stage(lease, b)
	case 5:
		if b.next == nil {
			return
		}
		units := uint64(0)
		for id := range b.next {
			units += uint64(townSize(id))
		}
		if err := w.h.Covers(lease, quote.Units{units}, b.nextAt); err != nil {
			w.t.Fatal(err)
		}
		// Both have signed. What follows may be cut off by a loss of power.
		if w.proves {
			b.past = append(b.past, version{b.root, b.signed})
		}
		b.signed, b.root, b.units, b.next = b.next, b.nextAt, units, nil
		for id := range b.signed {
			delete(b.put, id)
		}
		done := make(chan error)
		go func() { done <- w.h.Commit(lease, quote.Units{units}, b.root) }()
		if rapid.Bool().Draw(w.t, "cut") {
			clone := w.clone()
			<-done
			w.crash(clone)
		} else if err := <-done; err != nil {
			w.t.Fatal(err)
		}
	case 6:
		w.crash(w.clone())
	case 7:
		w.now.pass(2 * time.Hour)
		for _, b := range w.leases {
			b.put, b.next = map[uint64]bool{}, nil
		}
		if err := w.h.Sweep(); err != nil {
			w.t.Fatal(err)
		}
		if err := w.h.EmptyTrash(0); err != nil {
			w.t.Fatal(err)
		}
	default:
		w.posted(lease, b)
	}
}

func (w *town) stage(lease uint64, b *bargain) {
	next := maps.Clone(b.signed)
	var add, remove []proof.Hash
	for _, id := range slices.Sorted(maps.Keys(b.put)) {
		if !b.signed[id] && rapid.Bool().Draw(w.t, "add") {
			_, root := shard(id, townSize(id))
			add = append(add, root)
			next[id] = true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(b.signed)) {
		if rapid.Bool().Draw(w.t, "remove") {
			_, root := shard(id, townSize(id))
			remove = append(remove, root)
			delete(next, id)
		}
	}
	root, steps, err := w.h.Stage(lease, add, remove)
	if err != nil {
		w.t.Fatal(err)
	}
	if got, err := proof.Follow(b.root, steps); err != nil || got != root {
		w.t.Fatalf("steps don't lead from what was signed to the root: %v", err)
	}
	if root != b.root {
		b.next, b.nextAt = next, root
	}
}

// Whatever happens, and wherever the power fails: what both have signed and what
// was put is here, its tree has the signed root, and nothing else takes room.
func TestTheBargainSurvivesPowerLoss(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &town{t: t, fs: vfs.NewCrashableMem(), now: newClock(), rng: rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))}
		for range 3 {
			w.leases = append(w.leases, &bargain{signed: map[uint64]bool{}, put: map[uint64]bool{}, root: proof.EmptyRoot()})
		}
		w.trash = rapid.SampledFrom([]time.Duration{0, time.Hour}).Draw(t, "trash")
		w.open()
		defer func() { w.h.Close() }()
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			w.step()
			w.check()
		}
	})
}

// A drop that the power has cut off goes on at the next start.
func TestADropGoesOnAfterPowerLoss(t *testing.T) {
	fs := vfs.NewCrashableMem()
	h := open(t, Config{FS: fs})
	root, units := proof.EmptyRoot(), uint64(0)
	for batch := range uint64(4) {
		var add []proof.Hash
		for i := range uint64(400) {
			add = append(add, put(t, h, 1, batch*400+i, 10))
		}
		change(t, h, 1, &units, &root, add, nil)
	}
	done := make(chan error)
	go func() { done <- h.Drop(1) }()
	for h.Stats().Shards == 1600 {
		time.Sleep(time.Millisecond)
	}
	clone := fs.CrashClone(vfs.CrashCloneCfg{})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	h = open(t, Config{FS: clone})
	if s := h.Stats(); s.Shards != 0 || s.Used != 0 {
		t.Errorf("left: %+v", s)
	}
	_, _, err := h.Stage(1, nil, nil)
	want(t, "a lease that was dropped is as one that never was", err, fault.CodeOf(nil))
}
