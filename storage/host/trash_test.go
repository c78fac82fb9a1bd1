package host

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"hearth/core/fault"
	"hearth/core/proof"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func sameTrash(t *testing.T, h *Host, shards, trash int64) {
	t.Helper()
	if s := h.Stats(); s.Shards != shards || s.Trash != trash {
		t.Errorf("%d shards, %d bytes of trash; want %d, %d", s.Shards, s.Trash, shards, trash)
	}
}

func TestTrashStaysForItsTime(t *testing.T) {
	now, fs := newClock(), vfs.NewMem()
	c := Config{FS: fs, Now: now.now, Trash: time.Hour}
	h := open(t, c)
	a, b := put(t, h, 1, 1, 5000), put(t, h, 1, 2, 7000)
	root, units := proof.EmptyRoot(), uint64(0)
	change(t, h, 1, &units, &root, []proof.Hash{a, b}, nil)
	change(t, h, 1, &units, &root, nil, []proof.Hash{a})
	sameTrash(t, h, 2, 5000)
	if has(t, h, 1, a) != 0 {
		t.Error("the lease still has what it has removed")
	}
	if err := h.Check(a); err != nil {
		t.Error("trash can't be read:", err)
	}
	if err := h.EmptyTrash(0); err != nil {
		t.Fatal(err)
	}
	sameTrash(t, h, 2, 5000)
	h.Close()
	h = open(t, c)
	sameTrash(t, h, 2, 5000)
	now.pass(2 * time.Hour)
	if err := h.EmptyTrash(0); err != nil {
		t.Fatal(err)
	}
	sameTrash(t, h, 1, 0)
}

func TestWhatIsPutAgainIsNoTrash(t *testing.T) {
	now := newClock()
	h := open(t, Config{Now: now.now, Trash: time.Hour})
	root, units := proof.EmptyRoot(), uint64(0)
	a := put(t, h, 1, 1, 5000)
	change(t, h, 1, &units, &root, []proof.Hash{a}, nil)
	change(t, h, 1, &units, &root, nil, []proof.Hash{a})
	other, otherUnits := proof.EmptyRoot(), uint64(0)
	put(t, h, 2, 1, 5000)
	change(t, h, 2, &otherUnits, &other, []proof.Hash{a}, nil)
	sameTrash(t, h, 1, 0)
	now.pass(2 * time.Hour)
	if err := h.EmptyTrash(0); err != nil {
		t.Fatal(err)
	}
	sameTrash(t, h, 1, 0)
	if has(t, h, 2, a) != 1 {
		t.Error("it was thrown away though a lease needs it")
	}
	if err := h.Drop(2); err != nil {
		t.Fatal(err)
	}
	sameTrash(t, h, 1, 5000)
}

func TestTrashGivesWayToShards(t *testing.T) {
	h := open(t, Config{Trash: time.Hour, MaxPending: 64 << 20, Capacity: 12 << 20, FS: vfs.Default, Dir: t.TempDir()})
	var add []proof.Hash
	root, units := proof.EmptyRoot(), uint64(0)
	for i := range uint64(10) {
		add = append(add, put(t, h, 1, i, 1<<20))
	}
	change(t, h, 1, &units, &root, add, nil)
	change(t, h, 1, &units, &root, nil, add[:8])
	if free := h.Free(); free < 9<<20 {
		t.Errorf("trash takes room away from those who pay: %d bytes are free", free)
	}
	for i := range uint64(4) {
		put(t, h, 1, 100+i, 2<<20)
	}
	if has(t, h, 1, add[8:]...) != 2 {
		t.Error("more than trash was thrown away")
	}
}

// What a root on the ledger still covers is no trash: it isn't thrown away for want
// of room.
func TestWhatTheLedgerNeedsIsNoTrash(t *testing.T) {
	h := open(t, Config{MaxPending: 64 << 20, Capacity: 8 << 20, Trash: time.Hour, Posted: true})
	root, units := proof.EmptyRoot(), uint64(0)
	a, b := put(t, h, 1, 1, 3<<20), put(t, h, 1, 2, 3<<20)
	change(t, h, 1, &units, &root, []proof.Hash{a, b}, nil)
	if err := h.Posted(1, root, true); err != nil {
		t.Fatal(err)
	}
	change(t, h, 1, &units, &root, nil, []proof.Hash{a, b})
	data, fresh := shard(3, 3<<20)
	want(t, "no room beside what is kept", h.Put(1, fresh, int64(len(data)), bytes.NewReader(data)), fault.HostFull)
	sameTrash(t, h, 2, 0)
	if err := h.Posted(1, root, true); err != nil {
		t.Fatal(err)
	}
	sameTrash(t, h, 2, 6<<20)
}

func TestScrubbingTellsTheLeasesOfDamage(t *testing.T) {
	var mu sync.Mutex
	told := map[uint64]proof.Hash{}
	fs := vfs.NewMem()
	c := Config{FS: fs, Pace: 1 << 40, Damaged: func(lease uint64, root proof.Hash) {
		mu.Lock()
		defer mu.Unlock()
		told[lease] = root
	}}
	h := open(t, c)
	whole, rotten := put(t, h, 1, 1, 300<<10), put(t, h, 1, 2, 300<<10)
	put(t, h, 2, 2, 300<<10)
	rot(t, fs, 2, 300<<10)
	if err := h.Scrub(context.Background()); err != nil {
		t.Fatal(err)
	}
	if s := h.Stats(); s.Scrubbed != 600<<10 || s.Scrub.IsZero() {
		t.Errorf("%d bytes were read", s.Scrubbed)
	}
	eventually(t, "both leases are told", func() bool { // after the reading
		mu.Lock()
		defer mu.Unlock()
		return len(told) == 2
	})
	h.Close()
	if len(told) != 2 || told[1] != rotten || told[2] != rotten {
		t.Errorf("told: %v", told)
	}
	h = open(t, c)
	if s := h.Stats(); s.Bad != 1 || s.Scrub.IsZero() {
		t.Errorf("after a restart %d damaged shards are known, read at %v", s.Bad, s.Scrub)
	}
	if has(t, h, 1, whole, rotten) != 1 {
		t.Error("a damaged shard passes for whole, or a whole one doesn't")
	}
	ruined, err := h.Ruined()
	if err != nil || len(ruined) != 2 || len(ruined[1]) != 1 || ruined[2][0] != rotten {
		t.Errorf("ruined: %v, %v", ruined, err)
	}
}

// How long a shard's turn waits goes by what is stored now, not by what was stored
// when the wait began: else the first small shard holds everything up for a month.
func TestReadingKeepsUpWithWhatIsStored(t *testing.T) {
	h := open(t, Config{ScrubEvery: 1000 * time.Hour})
	put(t, h, 1, 1, 100<<10)
	if got := h.patience(100 << 10); got != 1000*time.Hour {
		t.Errorf("alone: %v", got)
	}
	put(t, h, 1, 2, 900<<10)
	if got := h.patience(100 << 10); got != 100*time.Hour {
		t.Errorf("a tenth of all: %v", got)
	}
}

// rot changes a byte of a stored shard on the disk.
func rot(t *testing.T, fs vfs.FS, seed uint64, size int) {
	t.Helper()
	data, _ := shard(seed, size)
	names, err := fs.List("host/volumes")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		f, err := fs.OpenReadWrite("host/volumes/"+name, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		all := make([]byte, info.Size())
		if _, err := f.ReadAt(all, 0); err != nil {
			t.Fatal(err)
		}
		if at := bytes.Index(all, data[:64]); at >= 0 {
			if _, err := f.WriteAt([]byte{^all[at+70]}, int64(at+70)); err != nil {
				t.Fatal(err)
			}
		}
		f.Close()
	}
}
