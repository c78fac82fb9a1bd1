package seal_test

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"

	"hearth/core/erasure"
	"hearth/storage/seal"
)

var classes = []erasure.Class{{K: 10, N: 20}, {K: 4, N: 8}}

// measure reports the speed and the processor's time for each GB of a file.
func measure(b *testing.B, size int64, f func()) {
	b.SetBytes(size)
	start := cpu(b)
	n := 0
	for b.Loop() {
		f()
		n++
	}
	b.ReportMetric((cpu(b)-start)/(float64(n)*float64(size)/1e9), "CPU-s/GB")
}

func cpu(b *testing.B) float64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}

func each(b *testing.B, f func(b *testing.B, c erasure.Class, buf *seal.Buffer, workers int)) {
	for _, c := range classes {
		for _, workers := range []int{1, runtime.GOMAXPROCS(0)} {
			b.Run(fmt.Sprintf("%dof%d/workers=%d", c.K, c.N, workers), func(b *testing.B) {
				buf, err := seal.NewBuffer(c)
				if err != nil {
					b.Fatal(err)
				}
				f(b, c, buf, workers)
			})
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	each(b, func(b *testing.B, c erasure.Class, buf *seal.Buffer, workers int) {
		keys := seal.NewKeys()
		measure(b, c.SlabSize(), func() {
			if _, err := seal.Seal(buf, c.SlabSize(), keys, workers); err != nil {
				b.Fatal(err)
			}
		})
	})
}

// BenchmarkOpen opens with all data shards there, and with none of as many as may be lost.
func BenchmarkOpen(b *testing.B) {
	for _, lost := range []bool{false, true} {
		b.Run(fmt.Sprintf("lost=%v", lost), func(b *testing.B) {
			each(b, func(b *testing.B, c erasure.Class, buf *seal.Buffer, workers int) {
				s, err := seal.Seal(buf, c.SlabSize(), seal.NewKeys(), workers)
				if err != nil {
					b.Fatal(err)
				}
				have := span(0, c.K)
				if lost {
					have = span(c.N-c.K, c.N)
				}
				measure(b, c.SlabSize(), func() {
					if err := seal.Open(buf, s, have, workers); err != nil {
						b.Fatal(err)
					}
				})
			})
		})
	}
}

// BenchmarkRebuild makes all the shards that may be lost; a GB is still one of the file.
func BenchmarkRebuild(b *testing.B) {
	each(b, func(b *testing.B, c erasure.Class, buf *seal.Buffer, workers int) {
		s, err := seal.Seal(buf, c.SlabSize(), seal.NewKeys(), workers)
		if err != nil {
			b.Fatal(err)
		}
		have, want := span(c.N-c.K, c.N), span(0, c.N-c.K)
		measure(b, c.SlabSize(), func() {
			if err := seal.Rebuild(buf, s, have, want, workers); err != nil {
				b.Fatal(err)
			}
		})
	})
}
