package volume

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"

	"hearth/core/fault"
	"hearth/core/proof"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func shard(seed uint64, size int) ([]byte, proof.Hash) {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	b := make([]byte, size)
	rand.NewChaCha8(key).Read(b)
	return b, proof.Sum(b)
}

func open(t testing.TB, c Config) *Store {
	t.Helper()
	if c.Capacity == 0 {
		c.Capacity = 64 << 20
	}
	if c.VolumeSize == 0 {
		c.VolumeSize = 2*page + proof.MaxShard + 1<<20
	}
	if c.Ballast == 0 {
		c.Ballast = 64 << 10
	}
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func receive(s *Store, data []byte, root proof.Hash) error {
	return s.Receive(root, int64(len(data)), 7, bytes.NewReader(data), nil)
}

func load(s *Store, root proof.Hash) ([]byte, error) {
	e, err := s.Lookup(root)
	if err != nil {
		return nil, err
	}
	tree, err := s.Tree(e)
	if err != nil {
		return nil, err
	}
	var all []byte
	buf := make([]byte, blockSize)
	for i := range e.Blocks() {
		b, err := s.Block(e, i, buf)
		if err != nil {
			return nil, err
		}
		if err := tree.VerifyBlock(root, i, b); err != nil {
			return nil, err
		}
		all = append(all, b...)
	}
	return all, nil
}

func want(t *testing.T, what string, err error, code fault.Code) {
	t.Helper()
	if fault.CodeOf(err) != code {
		t.Errorf("%s: got %v, want code %q", what, err, code)
	}
}

// siblings are the file systems that the engine must work on alike.
func siblings(t *testing.T, law func(t *testing.T, fs vfs.FS, dir string)) {
	t.Run("system", func(t *testing.T) { law(t, vfs.Default, filepath.Join(t.TempDir(), "host")) })
	t.Run("memory", func(t *testing.T) { law(t, vfs.NewMem(), "host") })
	t.Run("forgetting", func(t *testing.T) { law(t, vfs.NewCrashableMem(), "host") })
	t.Run("small", func(t *testing.T) { law(t, newSmallDisk(vfs.NewMem(), 1<<30), "host") })
}

func TestShardsComeBackAsTheyWere(t *testing.T) {
	siblings(t, func(t *testing.T, fs vfs.FS, dir string) {
		s := open(t, Config{Dir: dir, FS: fs})
		sizes := []int{1, 1023, 4096, 4097, blockSize - 1, blockSize, blockSize + 1, 1 << 20, proof.MaxShard}
		for again := range 2 {
			for i, size := range sizes {
				data, root := shard(uint64(i), size)
				if err := receive(s, data, root); err != nil {
					t.Fatal(err)
				}
				if got, err := load(s, root); err != nil || !bytes.Equal(got, data) {
					t.Fatalf("size %d, time %d: %v", size, again, err)
				}
				if err := s.Check(root); err != nil {
					t.Error(err)
				}
			}
			if st := s.Stats(); st.Shards != int64(len(sizes)) {
				t.Errorf("%d shards, want %d: the same shard twice is one", st.Shards, len(sizes))
			}
			before := s.Stats()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, Config{Dir: dir, FS: fs})
			if after := s.Stats(); after != before {
				t.Errorf("reopened: %+v, before %+v", after, before)
			}
		}
	})
}

func TestFreedRoomIsUsedAgain(t *testing.T) {
	siblings(t, func(t *testing.T, fs vfs.FS, dir string) {
		const capacity = 10 << 20
		s := open(t, Config{Dir: dir, FS: fs, Capacity: capacity})
		for i := range 40 {
			data, root := shard(uint64(i), 3<<20)
			if err := receive(s, data, root); err != nil {
				t.Fatal(i, err)
			}
			if i >= 2 {
				_, old := shard(uint64(i-2), 3<<20)
				if err := s.Apply(func(tx *Tx) error { return tx.Free(old) }); err != nil {
					t.Fatal(err)
				}
				_, err := s.Lookup(old)
				want(t, "freed shard", err, fault.NotFound)
			}
		}
		names, err := fs.List(s.volumeDir())
		if err != nil || len(names) > 3 {
			t.Errorf("%d volumes remain for two shards: %v", len(names), err)
		}
	})
}

func TestCapacityCountsWhatIsBeingReceived(t *testing.T) {
	s := open(t, Config{Dir: filepath.Join(t.TempDir(), "host"), Capacity: 2 * footprint(1<<20)})
	data, root := shard(1, 1<<20)
	r, w := io.Pipe()
	first := make(chan error)
	go func() { first <- s.Receive(root, 1<<20, 7, r, nil) }()
	w.Write(data[:1]) // the room is reserved before the first byte is read
	b, rootB := shard(2, 1<<20)
	if err := receive(s, b, rootB); err != nil {
		t.Fatal(err)
	}
	c, rootC := shard(3, 1)
	want(t, "a third shard", receive(s, c, rootC), fault.HostFull)
	w.CloseWithError(errors.New("peer is gone"))
	if err := <-first; err == nil {
		t.Error("half a shard was taken")
	}
	if err := receive(s, c, rootC); err != nil {
		t.Errorf("the room of half a shard didn't return: %v", err)
	}
}

func TestAnotherRootIsRefused(t *testing.T) {
	s := open(t, Config{Dir: "host", FS: vfs.NewMem()})
	data, root := shard(1, 5000)
	_, other := shard(2, 5000)
	want(t, "wrong bytes", receive(s, data, other), fault.BadFrame)
	if st := s.Stats(); st.Used != 0 || st.Shards != 0 {
		t.Errorf("something is left: %+v", st)
	}
	if err := receive(s, data, root); err != nil {
		t.Fatal(err)
	}
	want(t, "wrong bytes for a shard that is held", s.Receive(root, 4999, 7, bytes.NewReader(data), nil), fault.BadFrame)
	for _, size := range []int64{0, -1, proof.MaxShard + 1} {
		want(t, "size", s.Receive(root, size, 7, bytes.NewReader(data), nil), fault.TooLarge)
	}
}

func TestDamageIsNoticedAndHealed(t *testing.T) {
	siblings(t, func(t *testing.T, fs vfs.FS, dir string) {
		s := open(t, Config{Dir: dir, FS: fs})
		data, root := shard(1, 1<<20)
		for _, spot := range []int64{page + 300<<10, 100} { // a block; the header
			if err := receive(s, data, root); err != nil {
				t.Fatal(err)
			}
			e, _ := s.Lookup(root)
			p, _ := s.placeOf(e)
			if err := p.v.writeAt([]byte("rust"), e.off+spot); err != nil {
				t.Fatal(err)
			}
			before := s.Stats().Damaged
			_, err := load(s, root)
			want(t, "damaged", err, fault.DamagedShard)
			if s.Stats().Damaged != before+1 {
				t.Error("damage isn't counted")
			}
			for { // it is remembered in the background
				if e, _ := s.Lookup(root); e.Damaged {
					break
				}
				runtime.Gosched()
			}
			_, err = load(s, root)
			want(t, "damaged, second read", err, fault.DamagedShard)
			if err := receive(s, data, root); err != nil {
				t.Fatal(err)
			}
			if got, err := load(s, root); err != nil || !bytes.Equal(got, data) {
				t.Errorf("sent again, still damaged: %v", err)
			}
			if st := s.Stats(); st.Shards != 1 || st.Used != footprint(1<<20) {
				t.Errorf("the damaged copy is still counted: %+v", st)
			}
		}
	})
}

func TestTransactionsAreAllOrNothing(t *testing.T) {
	s := open(t, Config{Dir: "host", FS: vfs.NewMem()})
	data, root := shard(1, 9000)
	no := errors.New("no")
	err := s.Receive(root, 9000, 7, bytes.NewReader(data), func(tx *Tx) error {
		tx.Set([]byte("x"), nil)
		return no
	})
	if !errors.Is(err, no) {
		t.Error(err)
	}
	if v, _ := s.Get([]byte("x")); v != nil || s.Stats().Used != 0 {
		t.Error("a refused transaction left something behind")
	}
	err = s.Receive(root, 9000, 7, bytes.NewReader(data), func(tx *Tx) error {
		tx.Set([]byte("x"), []byte("y"))
		return nil
	})
	if v, _ := s.Get([]byte("x")); err != nil || string(v) != "y" {
		t.Error("an accepted one left nothing", err)
	}
}

type counter struct{ n atomic.Int64 }

func (c *counter) Observe(float64) { c.n.Add(1) }

func TestOneSyncServesAllWhoWait(t *testing.T) {
	var syncs counter
	s := open(t, Config{Dir: "host", FS: vfs.NewMem(), Synced: &syncs})
	busy, free := make(chan bool), make(chan bool)
	go s.Apply(func(*Tx) error { busy <- true; <-free; return nil })
	<-busy
	const n = 50
	done := make(chan error, n)
	for i := range n {
		data, root := shard(uint64(i), 100)
		go func() { done <- receive(s, data, root) }()
	}
	for len(s.ops) < n {
		runtime.Gosched()
	}
	close(free)
	for range n {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := syncs.n.Load(); got != 2 {
		t.Errorf("%d syncs, want one for the first and one for all others", got)
	}
}

func TestOneProcessOwnsTheFolder(t *testing.T) {
	siblings(t, func(t *testing.T, fs vfs.FS, dir string) {
		open(t, Config{Dir: dir, FS: fs})
		_, err := Open(Config{Dir: dir, FS: fs, Capacity: 1 << 20})
		want(t, "second open", err, fault.AlreadyRunning)
	})
}

func TestClosedStoreRefuses(t *testing.T) {
	s := open(t, Config{Dir: "host", FS: vfs.NewMem()})
	data, root := shard(1, 10)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	want(t, "receive", receive(s, data, root), fault.NotRunning)
	_, err := s.Lookup(root)
	want(t, "look up", err, fault.NotRunning)
	if err := s.Close(); err != nil {
		t.Error("closing twice:", err)
	}
}
