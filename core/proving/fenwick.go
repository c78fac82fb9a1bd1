package proving

import "math/bits"

// Cells is where a host's Fenwick tree lies: numbers by index, 0 where nothing
// was set. Who reads from a disk keeps its first error and looks at it in the end.
type Cells interface {
	Get(i uint64) uint64
	Set(i, value uint64)
}

// Size is what is kept of a tree beside its cells. The zero Size is an empty tree.
type Size struct {
	Cap  uint64 // a power of two, or 0
	Used uint64 // indexes ever taken
	Free uint64 // the first free index below that, 0: none
}

// links is where the list of free indexes lies among the cells.
const links = 1 << 40

// Fenwick weighs a host's leases by rate: indexes from 1, each with a weight.
// Every act touches at most about log2 of the leases. The sum of all weights
// must stay below 2^64, which the caller sees to.
type Fenwick struct {
	Cells Cells
	Size  Size
}

// Take gives an index of weight 0 that nobody has, a freed one first.
func (f *Fenwick) Take() uint64 {
	if i := f.Size.Free; i != 0 {
		f.Size.Free = f.Cells.Get(links + i)
		f.Cells.Set(links+i, 0)
		return i
	}
	f.Size.Used++
	switch {
	case f.Size.Cap == 0:
		f.Size.Cap = 1
	case f.Size.Used > f.Size.Cap:
		total := f.Total()
		f.Size.Cap *= 2
		f.Cells.Set(f.Size.Cap, total) // the top counts everything below it
	}
	return f.Size.Used
}

// Release frees an index, whose weight is 0.
func (f *Fenwick) Release(i uint64) {
	f.Cells.Set(links+i, f.Size.Free)
	f.Size.Free = i
}

// Add changes the weight at i by now-was.
func (f *Fenwick) Add(i, was, now uint64) {
	if was == now || i == 0 {
		return
	}
	for ; i <= f.Size.Cap; i += i & -i {
		f.Cells.Set(i, f.Cells.Get(i)+now-was) // wraps for a fall, and comes out right
	}
}

// Total is the sum of all weights.
func (f *Fenwick) Total() uint64 {
	if f.Size.Cap == 0 {
		return 0
	}
	return f.Cells.Get(f.Size.Cap)
}

// Find says at which index number n lies, n below the total: each index holds as
// many numbers as it weighs. It is 0 where n isn't below the total.
func (f *Fenwick) Find(n uint64) uint64 {
	if n >= f.Total() {
		return 0
	}
	var at uint64
	for step := uint64(1) << (bits.Len64(f.Size.Cap) - 1); step > 0; step /= 2 {
		if next := at + step; next < f.Size.Cap {
			if w := f.Cells.Get(next); n >= w {
				at, n = next, n-w
			}
		}
	}
	return at + 1
}
