package client

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"hearth/core/fault"
	"hearth/storage/index"
	"hearth/storage/journal"
)

// packing is a client with a journal, which packs when it is told to.
func packing(t testing.TB, f *fleet, path string, fs vfs.FS, change func(*Config)) *Client {
	t.Helper()
	j, err := journal.Open(journal.Config{Dir: "/journal", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return f.client(t, path, func(c *Config) {
		c.Journal, c.Quiet, c.Longest = j, time.Hour, time.Hour
		if change != nil {
			change(c)
		}
	})
}

func named(i int) index.Ref { return index.Ref{Bucket: "town", Key: fmt.Sprintf("small/%05d", i)} }

// sizes of small objects, from 4 KiB to the bound.
func sized(i int) int { return index.MaxInline + i*i*7919%(60<<10) }

func flush(t testing.TB, c *Client) {
	t.Helper()
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func slabsOf(t testing.TB, c *Client, refs ...index.Ref) map[index.SlabID]*index.PlacedSlab {
	t.Helper()
	out := map[index.SlabID]*index.PlacedSlab{}
	for _, r := range refs {
		f, err := c.c.Index.Get(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		for id, s := range f.Slabs {
			out[id] = s
		}
	}
	return out
}

func TestASmallObjectIsStoredBeforeAnyHostIsAsked(t *testing.T) {
	f := newFleet(t, 7, gib)
	c := packing(t, f, filepath.Join(t.TempDir(), "index.db"), vfs.NewMem(), nil)
	for _, m := range f.machines {
		m.dead.Store(true)
	}
	for i, size := range []int{index.MaxInline, 5000, 100_000, Small} {
		res := put(t, c, named(i), random(size))
		if res.Pending != 6 || res.Size != int64(size) {
			t.Errorf("%d bytes: %+v", size, res)
		}
		wantContent(t, c, named(i), random(size))
		var part bytes.Buffer
		if _, err := c.Get(t.Context(), named(i), &part, GetOptions{Offset: 1000, Length: 500}); err != nil || !bytes.Equal(part.Bytes(), random(size)[1000:1500]) {
			t.Errorf("%d bytes: a range: %v", size, err)
		}
	}
	if err := c.Flush(t.Context()); fault.CodeOf(err) != fault.NotEnoughHosts {
		t.Errorf("flushed to dead hosts: %v", err)
	}
	wantContent(t, c, named(2), random(100_000))
	for _, m := range f.machines {
		m.dead.Store(false)
	}
	f.pass(time.Hour) // nobody is avoided any more
	flush(t, c)
	if n := c.c.Journal.Size(); n != 0 {
		t.Errorf("%d bytes are left in the journal", n)
	}
	for i, size := range []int{index.MaxInline, 5000, 100_000, Small} {
		wantContent(t, c, named(i), random(size))
	}
	if n := len(slabsOf(t, c, named(0), named(1), named(2), named(3))); n != 1 {
		t.Errorf("%d slabs", n)
	}
}

// A slab of k data shards and n in all costs n/k of what is in it; everything
// else is waste.
func TestPackingWastesLessThanATenth(t *testing.T) {
	f := newFleet(t, 6, gib)
	c := packing(t, f, filepath.Join(t.TempDir(), "index.db"), vfs.NewMem(), nil)
	var size int64
	var refs []index.Ref
	for i := range 300 {
		put(t, c, named(i), random(sized(i)))
		size += int64(sized(i))
		refs = append(refs, named(i))
	}
	flush(t, c)
	if most := uint64(size * 2 * 11 / 10); f.stored() > most {
		t.Errorf("hosts hold %d bytes for %d", f.stored(), size)
	}
	if n := len(slabsOf(t, c, refs...)); n != 1 {
		t.Errorf("%d slabs for %d bytes", n, size)
	}
	for i := range 300 {
		wantContent(t, c, named(i), random(sized(i)))
	}
	if n := c.c.Journal.Size(); n != 0 {
		t.Errorf("%d bytes are left in the journal", n)
	}
}

func TestFullSlabsGoAtOnceAndObjectsMaySpanTwo(t *testing.T) {
	f := newFleet(t, 6, gib)
	c := packing(t, f, filepath.Join(t.TempDir(), "index.db"), vfs.NewMem(), nil)
	size := Small - 12345
	n := 2*int(c.c.Class.SlabSize())/size + 3
	for i := range n {
		put(t, c, named(i), random(size+i))
	}
	// More than a slab was there: nobody flushed, and no time has passed.
	waitFor(t, func() bool {
		var w map[uint64]bool
		list, err := c.c.Index.Journaled(t.Context(), 1000, 1<<40)
		if w, _ = c.c.Index.JournalUse(t.Context()); err != nil {
			t.Fatal(err)
		}
		return len(list) < n/2+1 && len(w) < 3
	})
	flush(t, c)
	spanned := false
	for i := range n {
		wantContent(t, c, named(i), random(size+i))
		spanned = spanned || len(slabsOf(t, c, named(i))) == 2
	}
	if !spanned {
		t.Log("no object lies in two slabs")
	}
}

func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it doesn't come about")
		}
	}
}

func TestQuietAndAgeHaveThemPacked(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"quiet": func(c *Config) { c.Quiet = 20 * time.Millisecond },
		"age":   func(c *Config) { c.Longest = 20 * time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, 6, gib)
			c := packing(t, f, filepath.Join(t.TempDir(), "index.db"), vfs.NewMem(), change)
			put(t, c, ref, random(5000))
			waitFor(t, func() bool { return len(slabsOf(t, c, ref)) == 1 })
			wantContent(t, c, ref, random(5000))
		})
	}
}

func TestWhoWaitsHasItAtHosts(t *testing.T) {
	f := newFleet(t, 6, gib)
	c := packing(t, f, filepath.Join(t.TempDir(), "index.db"), vfs.NewMem(), nil)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			res, err := c.Put(t.Context(), named(i), bytes.NewReader(random(sized(i))), PutOptions{Wait: true, Size: int64(sized(i))})
			if err != nil || res.Pending != 0 || res.Slabs != 1 || res.Hosts != 6 || res.Size != int64(sized(i)) {
				t.Errorf("%+v, %v", res, err)
			}
		})
	}
	wg.Wait()
	var refs []index.Ref
	for i := range 20 {
		refs = append(refs, named(i))
		wantContent(t, c, named(i), random(sized(i)))
	}
	if n := len(slabsOf(t, c, refs...)); n >= 20 {
		t.Errorf("%d slabs for 20 objects", n)
	}
	if n := c.c.Journal.Size(); n != 0 {
		t.Errorf("%d bytes are in the journal", n)
	}
}

func TestWhoWaitsInVainHasNothingListed(t *testing.T) {
	f := newFleet(t, 6, gib)
	c := packing(t, f, filepath.Join(t.TempDir(), "index.db"), vfs.NewMem(), func(c *Config) { c.Patience = time.Second })
	for _, m := range f.machines[:4] {
		m.dead.Store(true)
	}
	_, err := c.Put(t.Context(), ref, bytes.NewReader(random(9000)), PutOptions{Wait: true})
	wantCode(t, err, fault.NotEnoughHosts)
	_, err = c.Index().Head(t.Context(), ref)
	wantCode(t, err, fault.NotFound)

	for _, m := range f.machines {
		m.dead.Store(false)
		m.deaf.Store(true)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = c.Put(ctx, ref, bytes.NewReader(random(9000)), PutOptions{Wait: true})
	wantCode(t, err, fault.Interrupted)
	for _, m := range f.machines {
		m.deaf.Store(false)
	}
	flush(t, c)
	_, err = c.Index().Head(t.Context(), ref)
	wantCode(t, err, fault.NotFound)
}

func TestOfTwoThatWaitOneConditionHolds(t *testing.T) {
	f := newFleet(t, 6, gib)
	c := packing(t, f, filepath.Join(t.TempDir(), "index.db"), vfs.NewMem(), nil)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = c.Put(t.Context(), ref, bytes.NewReader(random(8000+i)), PutOptions{Wait: i%2 == 0, If: index.Condition{Absent: true}})
		})
	}
	wg.Wait()
	won := -1
	for i, err := range errs {
		switch {
		case err == nil && won < 0:
			won = i
		case err == nil:
			t.Errorf("%d and %d were both the first", won, i)
		case fault.CodeOf(err) != fault.Exists:
			t.Error(err)
		}
	}
	if won >= 0 {
		wantContent(t, c, ref, random(8000+won))
	}
	flush(t, c)
	until(t, c)
	wantContent(t, c, ref, random(8000+won))
}

func TestWhatIsReplacedOrRemovedIsNotPacked(t *testing.T) {
	f := newFleet(t, 6, gib)
	c := packing(t, f, filepath.Join(t.TempDir(), "index.db"), vfs.NewMem(), nil)
	put(t, c, ref, random(200_000))
	put(t, c, ref, random(6000))
	put(t, c, named(1), random(300_000))
	if _, err := c.Remove(t.Context(), named(1), index.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	put(t, c, named(2), random(7000))
	if _, err := c.Index().Copy(t.Context(), named(2), named(3), index.Condition{}); err != nil {
		t.Fatal(err)
	}
	wantContent(t, c, named(3), random(7000))
	flush(t, c)
	if f.stored() > 2*14_000 {
		t.Errorf("hosts hold %d bytes", f.stored())
	}
	wantContent(t, c, ref, random(6000))
	wantContent(t, c, named(2), random(7000))
	wantContent(t, c, named(3), random(7000))
	for _, r := range []index.Ref{ref, named(2), named(3)} {
		if _, err := c.Remove(t.Context(), r, index.RemoveOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	until(t, c)
	if f.stored() != 0 {
		t.Errorf("hosts hold %d bytes of nothing", f.stored())
	}
}

func TestPackingDisturbsNoReaderAndNoWriter(t *testing.T) {
	f := newFleet(t, 6, gib)
	c := packing(t, f, filepath.Join(t.TempDir(), "index.db"), vfs.NewMem(), func(c *Config) { c.Quiet, c.Longest = time.Millisecond, 5*time.Millisecond })
	const keys = 8
	done, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	var mu [keys]sync.RWMutex
	var now [keys]int
	for i := range keys {
		now[i] = 5000
		put(t, c, named(i), random(now[i]))
		wg.Go(func() {
			for n := 0; done.Err() == nil; n++ {
				mu[i].Lock()
				if n%7 == 3 {
					if _, err := c.Remove(t.Context(), named(i), index.RemoveOptions{}); err != nil {
						t.Error(err)
					}
				}
				now[i] = 5000 + n*37%9000
				put(t, c, named(i), random(now[i]))
				mu[i].Unlock()
				time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
			}
		})
		wg.Go(func() {
			for done.Err() == nil {
				mu[i].RLock()
				wantContent(t, c, named(i), random(now[i]))
				mu[i].RUnlock()
			}
		})
	}
	wg.Wait()
	flush(t, c)
	until(t, c)
	for i := range keys {
		wantContent(t, c, named(i), random(now[i]))
	}
}

func TestALossOfPowerLosesNothingAcknowledged(t *testing.T) {
	f := newFleet(t, 6, gib)
	path := filepath.Join(t.TempDir(), "index.db")
	fs := vfs.NewCrashableMem()
	c := packing(t, f, path, fs, nil)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() { put(t, c, named(i), random(sized(i))) })
		if i == 20 {
			wg.Wait()
			flush(t, c) // some are packed
		}
	}
	wg.Wait()
	after := fs.CrashClone(vfs.CrashCloneCfg{}) // nothing unsynced stays
	c.Close()
	c.c.Journal.Close()
	if err := c.Index().Close(); err != nil {
		t.Fatal(err)
	}
	c = packing(t, f, path, after, nil)
	for i := range 40 {
		wantContent(t, c, named(i), random(sized(i)))
	}
	flush(t, c) // what was found is packed
	if n := c.c.Journal.Size(); n != 0 {
		t.Errorf("%d bytes are left in the journal", n)
	}
	for i := range 40 {
		wantContent(t, c, named(i), random(sized(i)))
	}
}

func TestAFullJournalSendsPutsStraightToHosts(t *testing.T) {
	f := newFleet(t, 6, gib)
	j, err := journal.Open(journal.Config{Dir: "/journal", FS: vfs.NewMem(), Bound: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	c := f.client(t, filepath.Join(t.TempDir(), "index.db"), func(c *Config) { c.Journal, c.Quiet, c.Longest = j, time.Hour, time.Hour })
	for i := range 10 {
		put(t, c, named(i), random(20_000))
	}
	if n := j.Size(); n > 100_000 {
		t.Errorf("the journal has %d bytes", n)
	}
	for i := range 10 {
		wantContent(t, c, named(i), random(20_000))
	}
}

func TestADamagedRecordIsSaidAndHoldsNothingUp(t *testing.T) {
	fs := vfs.NewMem()
	f := newFleet(t, 6, gib)
	c := packing(t, f, filepath.Join(t.TempDir(), "index.db"), fs, nil)
	put(t, c, named(0), random(5000))
	put(t, c, named(1), random(6000))
	file, err := fs.OpenReadWrite("/journal/0000000000000001.log", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt([]byte{random(5000)[500] ^ 9}, 16+24+500); err != nil {
		t.Fatal(err)
	}
	file.Close()
	_, err = c.Get(t.Context(), named(0), io.Discard, GetOptions{})
	wantCode(t, err, fault.DamagedFile)
	flush(t, c)
	if len(slabsOf(t, c, named(1))) != 1 {
		t.Error("the other one isn't packed")
	}
	wantContent(t, c, named(1), random(6000))
	_, err = c.Get(t.Context(), named(0), io.Discard, GetOptions{})
	wantCode(t, err, fault.DamagedFile)
}

func TestAFlushThatTakesTooLongLosesNothing(t *testing.T) {
	f := newFleet(t, 6, gib)
	c := packing(t, f, filepath.Join(t.TempDir(), "index.db"), vfs.NewMem(), nil)
	put(t, c, ref, random(5000))
	for _, m := range f.machines {
		m.deaf.Store(true)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	wantCode(t, c.Flush(ctx), fault.Interrupted)
	wantContent(t, c, ref, random(5000))
	c.Close() // doesn't wait for them
	wantContent(t, c, ref, random(5000))
}

// BenchmarkSmallPut stores objects of 4 to 64 KiB by 32 writers, journal and
// index on the disk; packing goes on meanwhile.
func BenchmarkSmallPut(b *testing.B) {
	f := newFleet(b, 6, 64*gib)
	dir := b.TempDir()
	j, err := journal.Open(journal.Config{Dir: filepath.Join(dir, "journal")})
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	c := f.client(b, filepath.Join(dir, "index.db"), func(c *Config) { c.Journal = j })
	data := random(64 << 10)
	var wg sync.WaitGroup
	next := make(chan int)
	var size int64
	for range 32 {
		wg.Go(func() {
			for i := range next {
				n := 4<<10 + i*7919%(60<<10)
				if _, err := c.Put(b.Context(), named(i), bytes.NewReader(data[:n]), PutOptions{Size: int64(n)}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	b.ResetTimer()
	began := time.Now()
	for i := range b.N {
		size += int64(4<<10 + i*7919%(60<<10))
		next <- i
	}
	close(next)
	wg.Wait()
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "puts/s")
	b.StopTimer()
	if err := c.Flush(b.Context()); err != nil {
		b.Error(err)
	}
	b.ReportMetric(float64(size)/time.Since(began).Seconds()/1e6, "MB/s-at-hosts")
}
