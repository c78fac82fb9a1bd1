package proving_test

import (
	"testing"

	"hearth/core/proving"

	"pgregory.net/rapid"
)

type cells map[uint64]uint64

func (c cells) Get(i uint64) uint64   { return c[i] }
func (c cells) Set(i, v uint64)       { c[i] = v }
func tree() (*proving.Fenwick, cells) { c := cells{}; return &proving.Fenwick{Cells: c}, c }

func TestEveryNumberBelowTheTotalFallsOnWhoWeighsIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f, _ := tree()
		weights := map[uint64]uint64{}
		var free []uint64
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				i := f.Take()
				if n := len(free); n > 0 {
					if i != free[n-1] {
						t.Fatalf("took %d, the last one freed is %d", i, free[n-1])
					}
					free = free[:n-1]
				}
				if _, taken := weights[i]; taken {
					t.Fatalf("took %d twice", i)
				}
				weights[i] = 0
			},
			"weigh": func(t *rapid.T) {
				if len(weights) == 0 {
					return
				}
				i := rapid.SampledFrom(keys(weights)).Draw(t, "index")
				now := rapid.SampledFrom([]uint64{0, 1, 7, 1 << 40, 1 << 55}).Draw(t, "weight")
				f.Add(i, weights[i], now)
				weights[i] = now
			},
			"release": func(t *rapid.T) {
				for _, i := range keys(weights) {
					if weights[i] == 0 {
						f.Release(i)
						delete(weights, i)
						free = append(free, i)
						return
					}
				}
			},
			"": func(t *rapid.T) {
				var total uint64
				for i := uint64(1); i <= f.Size.Used; i++ {
					w := weights[i]
					if w > 0 && (f.Find(total) != i || f.Find(total+w-1) != i) {
						t.Fatalf("numbers %d and %d fall on %d and %d, not on %d", total, total+w-1, f.Find(total), f.Find(total+w-1), i)
					}
					total += w
				}
				if f.Total() != total || f.Find(total) != 0 {
					t.Fatalf("total %d, it is %d; beyond it lies %d", f.Total(), total, f.Find(total))
				}
			},
		})
	})
}

func keys(m map[uint64]uint64) (all []uint64) {
	for i := uint64(1); len(all) < len(m); i++ {
		if _, ok := m[i]; ok {
			all = append(all, i)
		}
	}
	return all
}

func TestATreeOfManyLeasesIsTouchedInFewCells(t *testing.T) {
	c := &counted{cells: cells{}}
	f := &proving.Fenwick{Cells: c}
	for range 100_000 {
		f.Add(f.Take(), 0, 3)
	}
	c.n = 0
	f.Add(1, 3, 4)
	f.Find(150_000)
	if c.n > 60 {
		t.Errorf("%d cells touched by one change and one search", c.n)
	}
}

type counted struct {
	cells
	n int
}

func (c *counted) Get(i uint64) uint64 { c.n++; return c.cells.Get(i) }
func (c *counted) Set(i, v uint64)     { c.n++; c.cells.Set(i, v) }
