package proof

// Path is the way from one slot of a lease's tree to its root.
type Path struct {
	Slot     uint64
	Shard    Shard
	Siblings []Node // from the bottom up
}

// Prove opens one slot. It panics on a slot that the tree hasn't.
func (t *SumTree) Prove(slot int) Path {
	p := Path{Slot: uint64(slot), Shard: t.slots[slot]}
	for level := range len(t.levels) - 1 {
		p.Siblings = append(p.Siblings, at(t.levels[level], slot>>level^1))
	}
	return p
}

// Draw says which slot holds leaf number n of the lease, n below the total, and
// which leaf of that shard it is: the host's side of a challenge.
func (t *SumTree) Draw(n uint64) (slot int, leaf uint64) {
	for level := len(t.levels) - 1; level > 0; level-- {
		slot *= 2
		if left := at(t.levels[level-1], slot).Leaves; n >= left {
			n -= left
			slot++
		}
	}
	return slot, n
}

// climb recomputes the root over bottom and the top node under it.
func (p Path) climb(bottom Node) (Hash, Node) {
	n := bottom
	for level, s := range p.Siblings {
		if p.Slot>>level&1 == 1 {
			n = join(s, n)
		} else {
			n = join(n, s)
		}
	}
	return seal(len(p.Siblings), n), n
}

// Verify checks that the slot holds the shard under root. It returns the number
// of the shard's first leaf in the lease and the lease's total.
func (p Path) Verify(root Hash) (first, total uint64, err error) {
	if len(p.Siblings) > MaxHeight || p.Slot>>len(p.Siblings) != 0 || (p.Shard != Shard{} && !p.Shard.valid()) {
		return 0, 0, ErrShape
	}
	for level, s := range p.Siblings {
		if !s.valid() {
			return 0, 0, ErrShape
		}
		if p.Slot>>level&1 == 1 {
			first += s.Leaves
		}
	}
	got, top := p.climb(p.Shard.node())
	if got != root {
		return 0, 0, ErrMismatch
	}
	return first, top.Leaves, nil
}

// Answer answers one challenge: a leaf of a lease.
type Answer struct {
	Path Path
	Data []byte // the leaf, at most LeafSize
	Leaf []Hash // from the leaf to the shard's root
}

// Verify checks that the answer is leaf number n of the lease with this root and
// this total of leaves.
func (a Answer) Verify(root Hash, total, n uint64) error {
	first, got, err := a.Path.Verify(root)
	if err != nil {
		return err
	}
	if got != total || n < first || n-first >= a.Path.Shard.Leaves() {
		return ErrShape
	}
	return Verify(a.Path.Shard.Root, a.Path.Shard.Size, int64(n-first)*LeafSize, LeafSize, a.Data, a.Leaf)
}
