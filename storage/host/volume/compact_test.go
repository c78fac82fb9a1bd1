package volume

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"hearth/core/fault"
	"hearth/core/proof"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func atOnce(context.Context, int64) error { return nil }

func compact(t *testing.T, s *Store) {
	t.Helper()
	if _, err := s.Compact(context.Background(), atOnce); err != nil {
		t.Fatal(err)
	}
}

// sparse fills volumes with so many shards and frees all but each eighth.
func sparse(t *testing.T, s *Store, shards uint64) (kept []uint64) {
	t.Helper()
	for i := range shards {
		data, root := shard(i, 400<<10)
		if err := receive(s, data, root); err != nil {
			t.Fatal(err)
		}
	}
	for i := range shards {
		if i%8 == 0 {
			kept = append(kept, i)
			continue
		}
		_, root := shard(i, 400<<10)
		if err := s.Apply(func(tx *Tx) error { return tx.Free(root) }); err != nil {
			t.Fatal(err)
		}
	}
	return kept
}

func holds(t *testing.T, s *Store, ids []uint64) {
	t.Helper()
	for _, id := range ids {
		data, root := shard(id, 400<<10)
		if got, err := load(s, root); err != nil || !bytes.Equal(got, data) {
			t.Errorf("shard %d: %v", id, err)
		}
	}
}

func TestVolumesOfHolesAreRewritten(t *testing.T) {
	siblings(t, func(t *testing.T, fs vfs.FS, dir string) {
		s := open(t, Config{Dir: dir, FS: fs})
		kept := sparse(t, s, 96)
		before := s.Stats()
		compact(t, s)
		names, err := fs.List(s.volumeDir())
		if err != nil || len(names) > 3 {
			t.Errorf("%d volumes are left for %d shards: %v", len(names), len(kept), err)
		}
		after := s.Stats()
		if after.Waste > before.Waste/4 {
			t.Errorf("%d bytes are wasted still, %d before", after.Waste, before.Waste)
		}
		after.Waste, before.Waste = 0, 0
		if after != before {
			t.Errorf("moving shards changed the figures: %+v, before %+v", after, before)
		}
		holds(t, s, kept)
		s.Close()
		s = open(t, Config{Dir: dir, FS: fs})
		holds(t, s, kept)
		// The records say as much as before: an index can be made from them.
		s.Close()
		if err := fs.RemoveAll(fs.PathJoin(dir, "index")); err != nil {
			t.Fatal(err)
		}
		s = open(t, Config{Dir: dir, FS: fs})
		holds(t, s, kept)
		err = s.Adopt(func(_ *Tx, lease uint64, _ Entry) error {
			if lease != 7 {
				t.Errorf("a moved shard belongs to lease %d", lease)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestReadersDoNotNoticeThatShardsMove(t *testing.T) {
	s := open(t, Config{Dir: filepath.Join(t.TempDir(), "host")})
	kept := sparse(t, s, 96)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				for _, id := range kept {
					data, root := shard(id, 400<<10)
					if got, err := load(s, root); err != nil || !bytes.Equal(got, data) {
						t.Errorf("shard %d: %v", id, err)
					}
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	// One who looked a shard up before it was moved reads it all the same.
	_, root := shard(kept[0], 400<<10)
	old, err := s.Lookup(root)
	if err != nil {
		t.Fatal(err)
	}
	compact(t, s)
	close(stop)
	readers.Wait()
	now, err := s.Lookup(root)
	if err != nil || now.volume == old.volume {
		t.Fatalf("it wasn't moved: %v", err)
	}
	if _, err := s.Tree(old); err != nil {
		t.Error(err)
	}
	if _, err := s.Block(old, 0, make([]byte, blockSize)); err != nil {
		t.Error(err)
	}
	if s.Stats().Damaged != 0 {
		t.Error("what was moved counts as damaged")
	}
}

func TestADamagedShardIsNotMovedAndToldOnce(t *testing.T) {
	var told []proof.Hash
	var mu sync.Mutex
	fs := vfs.NewMem()
	s := open(t, Config{Dir: "host", FS: fs, Damaged: func(root proof.Hash) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, root)
	}})
	kept := sparse(t, s, 96)
	_, root := shard(kept[0], 400<<10)
	e, err := s.Lookup(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.volumes[e.volume].writeAt([]byte("rot"), e.off+page+300<<10); err != nil {
		t.Fatal(err)
	}
	compact(t, s)
	want(t, "damaged", s.Check(root), fault.DamagedShard)
	holds(t, s, kept[1:])
	s.Close() // waits until it is remembered
	if len(told) != 1 || told[0] != root {
		t.Errorf("told of %d shards", len(told))
	}
	s = open(t, Config{Dir: "host", FS: fs})
	if st := s.Stats(); st.Bad != 1 {
		t.Errorf("%d damaged shards are known after a restart", st.Bad)
	}
	data, _ := shard(kept[0], 400<<10)
	if err := receive(s, data, root); err != nil || s.Stats().Bad != 0 {
		t.Errorf("brought again it is whole: %v", err)
	}
}

func TestCompactingStopsWhenItIsTold(t *testing.T) {
	s := open(t, Config{Dir: "host", FS: vfs.NewMem()})
	kept := sparse(t, s, 96)
	enough, left := errors.New("enough for now"), 3
	moved, err := s.Compact(context.Background(), func(context.Context, int64) error {
		if left--; left < 0 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || moved != 3*400<<10 {
		t.Errorf("%d bytes moved: %v", moved, err)
	}
	holds(t, s, kept)
	compact(t, s)
	holds(t, s, kept)
}

// Where the file system takes no holes, what is freed isn't there to be rented
// out before it has been compacted, and then it is.
func TestRoomThatIsNotFreeIsNotPromised(t *testing.T) {
	s := open(t, Config{Dir: "host", FS: vfs.NewMem(), Capacity: 20 << 20})
	kept := sparse(t, s, 48)
	data, root := shard(100, 4<<20)
	want(t, "before", receive(s, data, root), fault.HostFull)
	compact(t, s)
	if err := receive(s, data, root); err != nil {
		t.Error("after:", err)
	}
	holds(t, s, kept)
}

func TestShardsAreListedInOrderOfTheirRoots(t *testing.T) {
	s := open(t, Config{Dir: "host", FS: vfs.NewMem()})
	for i := range uint64(30) {
		data, root := shard(i, 1000)
		if err := receive(s, data, root); err != nil {
			t.Fatal(err)
		}
	}
	var after proof.Hash
	seen := 0
	for {
		page, err := s.From(after, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page {
			if bytes.Compare(e.Root[:], after[:]) <= 0 {
				t.Fatal("out of order")
			}
			after = e.Root
		}
		if seen += len(page); len(page) == 0 {
			break
		}
	}
	if seen != 30 {
		t.Errorf("%d listed", seen)
	}
}
