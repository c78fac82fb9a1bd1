package index

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hearth/core/erasure"
	"hearth/core/proof"
)

// wide is a slab of 10 of 20 whose shards all have a place.
func wide(n int) PlacedSlab {
	var s PlacedSlab
	copy(s.ID[:], fmt.Sprintf("%016d", n))
	s.Slab.Slab.Class = erasure.Class{K: 10, N: 20}
	s.Size, s.ShardSize = 40<<20, 4<<20
	for i := range 20 {
		s.Roots = append(s.Roots, proof.Hash{byte(n), byte(n >> 8), byte(n >> 16), byte(i), 1})
		s.At = append(s.At, Place{fmt.Sprintf("hearth1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqhost%02d", (n+i)%40), uint64(100 + (n+i)%40)})
	}
	return s
}

// each calls f for 0 to n-1 from many goroutines.
func each(n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i))
			}
		})
	}
	wg.Wait()
}

const many = 100_000

// stocked makes an index of 100,000 objects, as packing lists them: 4 KiB each, 10,000
// of them in a slab; half of them share a common prefix, and some have versions.
func stocked(b *testing.B, n int) *Index {
	b.Helper()
	x, err := Open(Config{Path: filepath.Join(b.TempDir(), "index.db"), lax: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { x.Close() })
	if err := x.MakeBucket(b.Context(), "town"); err != nil {
		b.Fatal(err)
	}
	if err := x.SetVersioning(b.Context(), "town", Enabled); err != nil {
		b.Fatal(err)
	}
	for i := range n / 10_000 {
		s := wide(i)
		put(b, x, draft(Ref{Bucket: "town", Key: fmt.Sprintf("slab/%d", i)}, s))
	}
	each(n, func(i int) {
		if _, err := x.Commit(b.Context(), 0, nth(i)); err != nil {
			b.Error(err)
		}
	})
	return x
}

func nth(i int) Draft {
	key := fmt.Sprintf("folder/%08d", i)
	if i%2 == 0 {
		key = fmt.Sprintf("many/%08d", i)
	}
	return Draft{
		Ref: Ref{Bucket: "town", Key: key}, ETag: fmt.Sprintf("%032x", i), Type: "application/octet-stream",
		Manifest: Manifest{Extents: []Extent{{wide(i / 10_000).ID, int64(i%10_000) << 12, 4096}}},
	}
}

// median runs f many times and reports the median in milliseconds.
func median(b *testing.B, f func() error) {
	var all []time.Duration
	for b.Loop() {
		start := time.Now()
		if err := f(); err != nil {
			b.Fatal(err)
		}
		all = append(all, time.Since(start))
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
}

// An index of 100,000 objects.
func BenchmarkIndex(b *testing.B) {
	x := stocked(b, many)
	ctx := b.Context()
	b.Run("head", func(b *testing.B) {
		b.RunParallel(func(p *testing.PB) {
			for i := 1; p.Next(); i = (i*7 + 1) % many {
				if _, err := x.Head(ctx, nth(i).Ref); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("range", func(b *testing.B) { // of 64 KiB in a slab of 20 shards
		i := 0
		median(b, func() error {
			i++
			_, err := x.GetRange(ctx, Ref{Bucket: "town", Key: fmt.Sprintf("slab/%d", i%10)}, 1<<20, 64<<10)
			return err
		})
	})
	for name, l := range map[string]Listing{
		"list": {Prefix: "folder/0004"}, "list-folder": {Prefix: "folder/", Delimiter: "/", After: "folder/00050000"},
		"list-root": {Delimiter: "/"}, // one common prefix hides 50,000 keys, and another
	} {
		b.Run(name, func(b *testing.B) {
			median(b, func() error {
				p, err := x.List(ctx, "town", l)
				if want := min(1000, 3+len(l.Prefix)*1000); err == nil && len(p.Objects)+len(p.Prefixes) != want {
					err = fmt.Errorf("%d entries", len(p.Objects)+len(p.Prefixes))
				}
				return err
			})
		})
	}
	b.Run("list-versions", func(b *testing.B) {
		median(b, func() error {
			p, err := x.ListVersions(ctx, "town", VersionListing{Prefix: "many/", AfterKey: "many/00050000"})
			if err == nil && len(p.Versions) != 1000 {
				err = fmt.Errorf("%d versions", len(p.Versions))
			}
			return err
		})
	})
	var snap bytes.Buffer
	b.Run("snapshot", func(b *testing.B) {
		for b.Loop() {
			snap.Reset()
			if _, err := x.Snapshot(ctx, &snap); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(snap.Len())/1e6, "MB")
	})
	b.Run("restore", func(b *testing.B) {
		for b.Loop() {
			y := newIndex(b)
			if err := y.ApplySnapshot(ctx, bytes.NewReader(snap.Bytes())); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// Puts of small objects by many at once, each on the disk when it returns.
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			x := newIndex(b)
			var n atomic.Int64
			b.SetParallelism(writers / 2) // of two processors
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					d := Draft{
						Ref:  Ref{Bucket: "town", Key: fmt.Sprintf("folder/%08d", n.Add(1))},
						ETag: "0123456789abcdef", Manifest: Manifest{Journal: Kept{1, n.Load() * 4112, 4096}},
					}
					if _, err := x.Commit(b.Context(), 0, d); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "puts/s")
		})
	}
}
