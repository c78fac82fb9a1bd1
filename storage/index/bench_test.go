package index

import (
	"fmt"
	"sync/atomic"
	"testing"
)

// An index of 20,000 objects: tiny puts by 16 writers, heads, pages of 1000.
func BenchmarkIndex(b *testing.B) {
	x := newIndex(b)
	var n atomic.Int64
	commit := func() {
		d := Draft{Ref: Ref{Bucket: "town", Key: fmt.Sprintf("folder/%08d", n.Add(1))}, ETag: "0123456789abcdef", Manifest: Manifest{Inline: make([]byte, 1000)}}
		if _, err := x.Commit(b.Context(), 0, d); err != nil {
			b.Error(err)
		}
	}
	b.Run("put", func(b *testing.B) {
		b.SetParallelism(8)
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				commit()
			}
		})
	})
	for n.Load() < 20000 {
		done := make(chan struct{})
		for range 64 {
			go func() { commit(); done <- struct{}{} }()
		}
		for range 64 {
			<-done
		}
	}
	b.Run("head", func(b *testing.B) {
		b.RunParallel(func(p *testing.PB) {
			for i := 1; p.Next(); i = i%20000 + 1 {
				if _, err := x.Head(b.Context(), Ref{Bucket: "town", Key: fmt.Sprintf("folder/%08d", i)}); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("list", func(b *testing.B) {
		for b.Loop() {
			if p, err := x.List(b.Context(), "town", Listing{Prefix: "folder/", Delimiter: "/"}); err != nil || len(p.Objects) != 1000 {
				b.Error(err)
			}
		}
	})
}
