package volume

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"

	"hearth/core/fault"
	"hearth/core/proof"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"
)

const names = 8 // how many shards a history is about

// told is what a history has been told: which shards are stored, and how often
// each has begun to be freed.
type told struct {
	ids   [names]sync.Mutex // one change of a shard at a time
	mu    sync.Mutex
	acked map[uint64]bool
	frees map[uint64]int
}

// Everything acknowledged survives a power loss at any point, whatever part of
// the rest the disk has kept; and the store goes on from there.
func TestPowerLoss(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs := vfs.NewCrashableMem()
		seed := rapid.Uint64().Draw(t, "seed")
		rng := rand.New(rand.NewPCG(seed, 1))
		know := &told{acked: map[uint64]bool{}, frees: map[uint64]int{}}
		for range rapid.IntRange(1, 3).Draw(t, "lives") {
			s, err := Open(Config{Dir: "host", FS: fs, Capacity: 32 << 20, VolumeSize: 2*page + proof.MaxShard, Ballast: 64 << 10})
			if err != nil {
				t.Fatal(err)
			}
			know.check(t, s)
			clone := live(t, s, fs, know, rng)
			s.Close()
			fs = clone
		}
		s, err := Open(Config{Dir: "host", FS: fs, Capacity: 32 << 20, VolumeSize: 2*page + proof.MaxShard, Ballast: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		know.check(t, s)
	})
}

func sizeOf(id uint64) int { return int(id*7919%(600<<10)) + 1 }

// live lets writers run and cuts the power somewhere among them.
func live(t *rapid.T, s *Store, fs *vfs.MemFS, know *told, rng *rand.Rand) *vfs.MemFS {
	steps := make(chan func()) // unbuffered: all but the last few are done at the cut
	var wg sync.WaitGroup
	for range 3 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for step := range steps {
				step()
			}
		}()
	}
	n := rapid.IntRange(1, 16).Draw(t, "steps")
	cut := rapid.IntRange(0, n-1).Draw(t, "cut")
	unsynced := rapid.SampledFrom([]int{0, 50, 100}).Draw(t, "unsynced percent")
	var clone *vfs.MemFS
	var after *told
	for i := range n {
		id := rng.Uint64N(names)
		switch rng.IntN(6) {
		case 0:
			steps <- func() { s.Compact(context.Background(), atOnce) }
		case 1, 2:
			steps <- func() { know.free(s, id) }
		default:
			steps <- func() { know.put(s, id) }
		}
		if i == cut {
			after = know.copy() // before the clone: what is told later may be lost
			clone = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: rng})
			after.forget(know)
		}
	}
	close(steps)
	wg.Wait()
	know.acked = after.acked
	return clone
}

func (k *told) put(s *Store, id uint64) {
	k.ids[id].Lock()
	defer k.ids[id].Unlock()
	data, root := shard(id, sizeOf(id))
	err := receive(s, data, root)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.acked[id] = k.acked[id] || err == nil
}

func (k *told) free(s *Store, id uint64) {
	k.ids[id].Lock()
	defer k.ids[id].Unlock()
	_, root := shard(id, sizeOf(id))
	k.mu.Lock()
	k.acked[id] = false
	k.frees[id]++
	k.mu.Unlock()
	s.Apply(func(tx *Tx) error { return tx.Free(root) })
}

func (k *told) copy() *told {
	k.mu.Lock()
	defer k.mu.Unlock()
	return &told{acked: maps.Clone(k.acked), frees: maps.Clone(k.frees)}
}

// forget drops from k what may have been freed between its copy and now.
func (k *told) forget(now *told) {
	now.mu.Lock()
	defer now.mu.Unlock()
	for id := range k.acked {
		if k.frees[id] != now.frees[id] {
			k.acked[id] = false
		}
	}
}

// check finds every acknowledged shard whole, and every other whole or not at all.
func (k *told) check(t *rapid.T, s *Store) {
	var stored, shards int64
	for id := range uint64(names) {
		data, root := shard(id, sizeOf(id))
		got, err := load(s, root)
		switch {
		case err == nil && bytes.Equal(got, data):
			stored += int64(len(data))
			shards++
		case fault.CodeOf(err) == fault.NotFound && !k.acked[id]:
		default:
			t.Fatalf("shard %d, acknowledged %v: %v", id, k.acked[id], err)
		}
	}
	if st := s.Stats(); st.Stored != stored || st.Shards != shards {
		t.Fatalf("stats %+v, there are %d bytes in %d shards", st, stored, shards)
	}
}

func TestIndexIsRebuiltFromVolumes(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, Config{Dir: "host", FS: fs})
	// A shard whose bytes pretend to be a volume with a record in it.
	evil, evilRoot := shard(99, 100)
	p, _ := s.reserve(1, false)
	forged := make([]byte, 4*page)
	copy(forged[2*page:], evil)
	record{lease: 1, root: evilRoot, size: 100, sums: []uint32{0}}.append(forged[page:page], salt{})
	s.release(p)
	if err := receive(s, forged, proof.Sum(forged)); err != nil {
		t.Fatal(err)
	}
	for i := range 12 {
		data, root := shard(uint64(i), sizeOf(uint64(i)))
		if err := receive(s, data, root); err != nil {
			t.Fatal(err)
		}
	}
	_, gone := shard(5, sizeOf(5))
	s.Apply(func(tx *Tx) error { return tx.Free(gone) })
	// One that was never finished: it has no header.
	torn, root := shard(50, 500<<10)
	s.Receive(root, 500<<10, 7, bytes.NewReader(torn[:400<<10]), nil)
	// And one behind it that was.
	last, lastRoot := shard(51, 5000)
	if err := receive(s, last, lastRoot); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := fs.RemoveAll("host/index"); err != nil {
		t.Fatal(err)
	}
	s = open(t, Config{Dir: "host", FS: fs})
	for i := range uint64(12) {
		data, root := shard(i, sizeOf(i))
		if got, err := load(s, root); i != 5 && (err != nil || !bytes.Equal(got, data)) {
			t.Errorf("shard %d: %v", i, err)
		}
	}
	if got, err := load(s, lastRoot); err != nil || !bytes.Equal(got, last) {
		t.Error("the shard behind the torn one is lost:", err)
	}
	_, err := s.Lookup(evilRoot)
	want(t, "forged record", err, fault.NotFound)
	adopted := 0
	err = s.Adopt(func(_ *Tx, lease uint64, e Entry) error {
		if lease != 7 {
			return fmt.Errorf("lease %d", lease)
		}
		adopted++
		return nil
	})
	if err != nil || adopted < 13 {
		t.Errorf("%d adopted: %v", adopted, err)
	}
	again := 0
	if s.Adopt(func(*Tx, uint64, Entry) error { again++; return nil }); again != 0 {
		t.Error("adopted twice")
	}
}

func TestFullDiskLosesNothing(t *testing.T) {
	disk := newSmallDisk(vfs.NewMem(), 12<<20)
	c := Config{Dir: "host", FS: disk, Capacity: 1 << 30, Step: 1 << 20, Ballast: 256 << 10}
	s := open(t, c)
	var held []uint64
	var err error
	for id := uint64(0); err == nil; id++ {
		data, root := shard(id, 700<<10)
		if err = receive(s, data, root); err == nil {
			held = append(held, id)
		}
	}
	want(t, "full disk", err, fault.DiskFull)
	if len(held) < 5 {
		t.Fatalf("only %d shards fit", len(held))
	}
	used := s.Stats().Used
	// Not a byte is left, not even for the index: only the ballast.
	disk.mu.Lock()
	disk.room = disk.used()
	disk.mu.Unlock()
	all := func(s *Store) {
		t.Helper()
		for _, id := range held {
			data, root := shard(id, 700<<10)
			if got, err := load(s, root); err != nil || !bytes.Equal(got, data) {
				t.Errorf("shard %d: %v", id, err)
			}
		}
	}
	all(s)
	for i := range 300 {
		if err := s.Apply(func(tx *Tx) error { tx.Set([]byte{'x', byte(i)}, make([]byte, 300)); return nil }); err != nil {
			t.Fatal("the index couldn't write on its ballast:", err)
		}
	}
	if !s.Stats().DiskFull {
		t.Error("the ballast is still there")
	}
	data, root := shard(1000, 100)
	want(t, "no ballast", receive(s, data, root), fault.DiskFull)
	if got := s.Stats().Used; got != used {
		t.Errorf("%d used, %d before", got, used)
	}
	all(s)
	s.Close()
	s = open(t, c)
	all(s)
	want(t, "no ballast, opened again", receive(s, data, root), fault.DiskFull)
	// Room again: it goes on by itself.
	disk.setRoom(64 << 20)
	if err := receive(s, data, root); err != nil || s.Stats().DiskFull {
		t.Error("room again, still refused:", err)
	}
	all(s)
}

func TestTheBallastIsNoHole(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, Config{Dir: "host", FS: fs, Capacity: 64 << 20, Ballast: 1 << 20})
	defer s.Close()
	f, err := fs.Open("host/ballast")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil || len(b) < 1<<20 {
		t.Fatal(len(b), err)
	}
	page := make([]byte, 4096)
	for at := 0; at < len(b); at += len(page) {
		if bytes.Equal(b[at:at+len(page)], page) {
			t.Fatalf("nothing but zeros at %d: a copy leaves them out", at)
		}
	}
}
