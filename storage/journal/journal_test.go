package journal

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"pgregory.net/rapid"

	"hearth/core/fault"
)

func body(n, size int) []byte {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(size)}).Read(b)
	return b
}

func open(t testing.TB, c Config) *Journal {
	t.Helper()
	if c.Dir == "" {
		c.Dir = "/journal"
	}
	if c.FS == nil {
		c.FS = vfs.NewMem()
	}
	j, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func add(t testing.TB, j *Journal, b []byte) Place {
	t.Helper()
	p, err := j.Append(b)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func want(t testing.TB, j *Journal, p Place, b []byte) {
	t.Helper()
	got, err := j.Read(p)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, b) {
		t.Fatalf("%+v: got %d other bytes than the %d that were written", p, len(got), len(b))
	}
}

func using(list ...Place) func(context.Context) (map[uint64]bool, error) {
	return func(context.Context) (map[uint64]bool, error) {
		out := map[uint64]bool{}
		for _, p := range list {
			out[p.Segment] = true
		}
		return out, nil
	}
}

func TestRecordsAreOnTheDiskAsWritten(t *testing.T) {
	fs := vfs.NewMem()
	j := open(t, Config{FS: fs})
	p := add(t, j, []byte("hello"))
	if p != (Place{1, 16, 5}) {
		t.Errorf("the first record lies at %+v", p)
	}
	f, err := fs.Open("/journal/0000000000000001.log")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := make([]byte, 45)
	if _, err := f.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	// docs/formats/journal.md
	const golden = "016a6f75726e616c" + "0000000000000001" + "01000000" + "00000005" + "3de52cab737f6fc5d914d321677c1fb9" + "68656c6c6f"
	if hex.EncodeToString(got) != golden {
		t.Errorf("on the disk:\n%x", got)
	}
}

func TestWhatIsAppendedIsReadAlsoByTheNextProcess(t *testing.T) {
	fs := vfs.NewMem()
	var at []Place
	for life := range 3 {
		j := open(t, Config{FS: fs, Segment: 10_000})
		for i := range 20 {
			at = append(at, add(t, j, body(life*20+i, 1+i*100)))
		}
		for i, p := range at {
			want(t, j, p, body(i, 1+i%20*100))
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestManyWritersShareSyncs(t *testing.T) {
	var syncs atomic.Int64
	slow := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData {
			syncs.Add(1)
		}
		return nil
	})
	j := open(t, Config{FS: errorfs.Wrap(vfs.NewMem(), slow)})
	var wg sync.WaitGroup
	for n := range 32 {
		wg.Go(func() {
			for i := range 50 {
				b := body(n*100+i, 5000)
				want(t, j, add(t, j, b), b)
			}
		})
	}
	wg.Wait()
	if n := syncs.Load(); n >= 1600 {
		t.Errorf("%d syncs for 1600 records", n)
	}
}

func TestOnlyWhatNobodyNeedsIsFreed(t *testing.T) {
	j := open(t, Config{Segment: 3000, Bound: 1 << 20})
	var at []Place
	for i := range 6 { // one a segment
		at = append(at, add(t, j, body(i, 3000)))
	}
	for _, p := range at[:4] {
		j.Settle(p)
	}
	if err := j.Free(t.Context(), using(at[1])); err != nil {
		t.Fatal(err)
	}
	for i, p := range at {
		_, err := j.Read(p)
		if gone := i == 0 || i == 2 || i == 3; errors.Is(err, ErrGone) != gone {
			t.Errorf("record %d: %v", i, err)
		}
	}
	failed := errors.New("the index is away")
	j.Settle(at[4])
	if err := j.Free(t.Context(), func(context.Context) (map[uint64]bool, error) { return nil, failed }); !errors.Is(err, failed) {
		t.Errorf("%v", err)
	}
	want(t, j, at[4], body(4, 3000))
}

func TestTheOpenSegmentIsFreedOnlyUnchanged(t *testing.T) {
	j := open(t, Config{})
	p := add(t, j, body(1, worthFreeing))
	j.Settle(p)
	var late Place
	err := j.Free(t.Context(), func(context.Context) (map[uint64]bool, error) {
		late = add(t, j, body(2, 100)) // between the question and the deletion
		j.Settle(late)
		return nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, j, late, body(2, 100))
	if err := j.Free(t.Context(), using()); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Read(late); !errors.Is(err, ErrGone) {
		t.Errorf("kept: %v", err)
	}
	if j.Size() != 0 {
		t.Errorf("%d bytes left", j.Size())
	}
	want(t, j, add(t, j, body(3, 100)), body(3, 100))
}

func TestTheBoundHoldsAndFreeingGivesRoom(t *testing.T) {
	j := open(t, Config{Bound: 100_000, Segment: 20_000})
	var at []Place
	for {
		p, err := j.Append(body(len(at), 9000))
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, p)
	}
	if len(at) != 11 || j.Size() > 100_000 {
		t.Fatalf("%d records, %d bytes", len(at), j.Size())
	}
	for _, p := range at {
		j.Settle(p)
	}
	if err := j.Free(t.Context(), using(at[10])); err != nil {
		t.Fatal(err)
	}
	want(t, j, at[10], body(10, 9000))
	add(t, j, body(0, 9000))
}

// failing makes one kind of call fail when it is told to.
func failing(kind errorfs.OpKind, err error) (vfs.FS, *atomic.Bool) {
	on := new(atomic.Bool)
	return errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if on.Load() && op.Kind == kind {
			return err
		}
		return nil
	})), on
}

func TestAFullDiskIsSaidAndLosesNothing(t *testing.T) {
	for _, kind := range []errorfs.OpKind{errorfs.OpFileWrite, errorfs.OpFileSyncData, errorfs.OpCreate} {
		fs, on := failing(kind, syscall.ENOSPC)
		j := open(t, Config{FS: fs, Segment: 4000})
		before := add(t, j, body(1, 5000)) // the next one needs a new segment
		on.Store(true)
		for range 3 {
			if _, err := j.Append(body(2, 5000)); fault.CodeOf(err) != fault.DiskFull {
				t.Errorf("%v: %v", kind, err)
			}
		}
		want(t, j, before, body(1, 5000))
		on.Store(false)
		want(t, j, add(t, j, body(3, 5000)), body(3, 5000))
		want(t, j, before, body(1, 5000))
		if names, err := fs.List("/journal"); err != nil || len(names) != 2 {
			t.Errorf("%v: left behind: %v, %v", kind, names, err)
		}
	}
}

func TestNothingIsWrittenBehindAFailedSync(t *testing.T) {
	fs, on := failing(errorfs.OpFileSyncData, syscall.EIO)
	j := open(t, Config{FS: fs})
	before := add(t, j, body(1, 500))
	on.Store(true)
	if _, err := j.Append(body(2, 500)); err == nil {
		t.Fatal("acknowledged without a sync")
	}
	on.Store(false)
	after := add(t, j, body(3, 500))
	if after.Segment == before.Segment {
		t.Error("the segment is written on")
	}
	want(t, j, before, body(1, 500))
	want(t, j, after, body(3, 500))
}

func TestDamageIsNeverServed(t *testing.T) {
	fs := vfs.NewMem()
	j := open(t, Config{FS: fs})
	p := add(t, j, body(1, 5000))
	if _, err := j.Read(Place{p.Segment, p.Offset, p.Length - 1}); fault.CodeOf(err) != fault.DamagedFile {
		t.Errorf("a shorter record: %v", err)
	}
	if _, err := j.Read(Place{p.Segment, p.Offset + 1, 10}); err == nil {
		t.Error("another offset is served")
	}
	if _, err := j.Read(Place{p.Segment, 1 << 40, 10}); fault.CodeOf(err) != fault.DamagedFile {
		t.Errorf("behind the end: %v", err)
	}
	f, err := fs.OpenReadWrite("/journal/0000000000000001.log", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{body(1, 5000)[1000] ^ 1}, p.Offset+frameBytes+1000); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, err := j.Read(p); fault.CodeOf(err) != fault.DamagedFile {
		t.Errorf("a flipped bit: %v", err)
	}
}

func TestAnUnknownFormatIsLeftAsItIs(t *testing.T) {
	for head, code := range map[string]fault.Code{
		"\x02journal\x00\x00\x00\x00\x00\x00\x00\x07": fault.UnknownFormat,
		"\x01journal\x00\x00\x00\x00\x00\x00\x00\x08": fault.DamagedFile,
		"\x01jxurnal\x00\x00\x00\x00\x00\x00\x00\x07": fault.DamagedFile,
	} {
		fs := vfs.NewMem()
		if err := fs.MkdirAll("/journal", 0o700); err != nil {
			t.Fatal(err)
		}
		f, err := fs.Create("/journal/0000000000000007.log", vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte(head))
		f.Close()
		if _, err := Open(Config{Dir: "/journal", FS: fs}); fault.CodeOf(err) != code {
			t.Errorf("%q: %v", head, err)
		}
		if info, err := fs.Stat("/journal/0000000000000007.log"); err != nil || info.Size() != int64(len(head)) {
			t.Errorf("%q: it was changed: %v, %v", head, info, err)
		}
	}
}

// Everything acknowledged survives a power loss at any point, whatever part of
// the rest the disk has kept; and the journal goes on from there.
func TestPowerLoss(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs := vfs.NewCrashableMem()
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		known := map[int]Place{}
		number := 0
		for range rapid.IntRange(1, 3).Draw(t, "lives") {
			j, err := Open(Config{Dir: "/journal", FS: fs, Segment: 8000, Bound: 1 << 30})
			if err != nil {
				t.Fatal(err)
			}
			check(t, j, known)
			var mu sync.Mutex
			var clone *vfs.MemFS
			var kept map[int]Place
			cut := rapid.IntRange(0, 30).Draw(t, "cut")
			unsynced := rapid.SampledFrom([]int{0, 50, 100}).Draw(t, "unsynced percent")
			var wg sync.WaitGroup
			for range 30 {
				n := number
				number++
				size := 1 + rng.IntN(3000)
				wg.Go(func() {
					p, err := j.Append(body(n, size))
					if err != nil {
						return
					}
					mu.Lock()
					defer mu.Unlock()
					known[n] = p
				})
				if n%31 == cut {
					mu.Lock() // before the clone: what is told later may be lost
					kept = map[int]Place{}
					for k, v := range known {
						kept[k] = v
					}
					mu.Unlock()
					clone = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: rng})
				}
			}
			wg.Wait()
			j.Close()
			if clone == nil {
				kept, clone = known, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: rng})
			}
			fs, known = clone, kept
		}
		j, err := Open(Config{Dir: "/journal", FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		check(t, j, known)
	})
}

func check(t *rapid.T, j *Journal, known map[int]Place) {
	for n, p := range known {
		got, err := j.Read(p)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, body(n, int(p.Length))) {
			t.Fatalf("record %d is another one", n)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(appendRecord(nil, 3, 40, []byte("hello")), uint64(3), int64(40))
	f.Add(appendRecord(nil, 3, 40, []byte("hello")), uint64(4), int64(40))
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0}, uint64(1), int64(16))
	f.Add([]byte{2}, uint64(1), int64(16))
	f.Fuzz(func(t *testing.T, b []byte, segment uint64, offset int64) {
		got, err := parse(b, segment, offset)
		if err != nil {
			if code := fault.CodeOf(err); code != fault.DamagedFile && code != fault.UnknownFormat {
				t.Fatalf("refused as %q", code)
			}
			return
		}
		if again := appendRecord(nil, segment, offset, got); !bytes.Equal(again, b) {
			t.Fatalf("two encodings of one record: %x and %x", b, again)
		}
	})
}

// Records of 16 KiB by 32 writers, on the disk.
func BenchmarkAppend(b *testing.B) {
	j := open(b, Config{Dir: b.TempDir(), FS: vfs.Default, Bound: 64 << 30})
	record := body(1, 16<<10)
	b.SetBytes(int64(len(record)))
	b.SetParallelism(16)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			at, err := j.Append(record)
			if err != nil {
				b.Error(fmt.Errorf("append: %w", err))
			}
			j.Settle(at)
		}
	})
}
