package proof

import "hearth/core/fault"

// MaxSteps is how many slots one change may touch: with it, all steps fit into
// one frame of 1 MiB.
const MaxSteps = 512

// Change is a change of a lease's tree that has been worked out and not yet
// made: it is made by Apply once both sides have signed its root, or forgotten.
type Change struct {
	Root   Hash
	Leaves uint64
	Bytes  uint64 // the sum of all sizes after it
	Steps  []Step // one for each slot, in order

	base   *SumTree
	at     uint64 // the tree's version
	height int
	nodes  map[position]Node
	reused int // how many of the free slots it fills
}

type position struct{ level, index int }

// Stage works out the change that removes shards by their roots and adds others.
// The tree stays as it is. New shards take the slots of removed ones first, then
// free ones, then new ones. It refuses a shard that is there already or twice in
// the list (exists), one that isn't there (not_found), and more than MaxSteps slots.
func (t *SumTree) Stage(add []Shard, remove []Hash) (*Change, error) {
	if len(add) > MaxSteps || len(remove) > MaxSteps {
		return nil, fault.New(fault.TooLarge, "change tree: %d shards in, %d out, at most %d are allowed", len(add), len(remove), MaxSteps)
	}
	slots, err := t.leaving(remove)
	if err != nil {
		return nil, err
	}
	if err := t.coming(add); err != nil {
		return nil, err
	}
	c := &Change{base: t, at: t.version, height: len(t.levels) - 1, Bytes: t.bytes, nodes: map[position]Node{}}
	count := len(t.slots)
	for i := range max(len(add), len(slots)) {
		var s Step
		if i < len(add) {
			s.To = add[i]
		}
		switch {
		case i < len(slots):
			s.Slot = uint64(slots[i])
			s.From = t.slots[slots[i]]
		case c.reused < len(t.free):
			c.reused++
			s.Slot = uint64(t.free[len(t.free)-c.reused])
		default:
			s.Slot = uint64(count)
			count++
		}
		if err := c.take(t, s); err != nil {
			return nil, err
		}
	}
	top := c.get(t, c.height, 0)
	c.Root, c.Leaves = seal(c.height, top), top.Leaves
	return c, nil
}

// leaving finds the slots of the shards to remove.
func (t *SumTree) leaving(remove []Hash) ([]int, error) {
	slots := make([]int, len(remove))
	seen := make(map[Hash]bool, len(remove))
	for i, r := range remove {
		slot, ok := t.where[r]
		if !ok || seen[r] {
			return nil, fault.New(fault.NotFound, "remove shard %x: it is not in the lease", r[:8])
		}
		seen[r], slots[i] = true, slot
	}
	return slots, nil
}

// coming checks the shards to add.
func (t *SumTree) coming(add []Shard) error {
	seen := make(map[Hash]bool, len(add))
	for _, s := range add {
		if !s.valid() {
			return fault.New(fault.TooLarge, "add shard %x: %d bytes, 1 to %d are allowed", s.Root[:8], s.Size, MaxShard)
		}
		if _, there := t.where[s.Root]; there || seen[s.Root] {
			return fault.New(fault.Exists, "add shard %x: it is in the lease already", s.Root[:8])
		}
		seen[s.Root] = true
	}
	return nil
}

// take adds one step: its siblings are those of the tree after the steps before.
func (c *Change) take(t *SumTree, s Step) error {
	slot := int(s.Slot)
	if slot>>c.height > 0 {
		s.Grow = true
		c.height++
	}
	if c.height > MaxHeight {
		return fault.New(fault.TooLarge, "change tree: %d slots are too many", slot+1)
	}
	s.Siblings = make([]Node, c.height)
	for level := range s.Siblings {
		s.Siblings[level] = c.get(t, level, slot>>level^1)
	}
	n := s.To.node()
	c.nodes[position{0, slot}] = n
	for level, sibling := range s.Siblings {
		if slot>>level&1 == 1 {
			n = join(sibling, n)
		} else {
			n = join(n, sibling)
		}
		c.nodes[position{level + 1, slot >> (level + 1)}] = n
	}
	c.Bytes += uint64(s.To.Size) - uint64(s.From.Size)
	c.Steps = append(c.Steps, s)
	return nil
}

func (c *Change) get(t *SumTree, level, i int) Node {
	if n, ok := c.nodes[position{level, i}]; ok {
		return n
	}
	if level < len(t.levels) {
		return at(t.levels[level], i)
	}
	return Node{}
}

// Apply makes a staged change. It is refused as stale when the tree has changed since.
func (t *SumTree) Apply(c *Change) error {
	if c.base != t || c.at != t.version {
		return fault.New(fault.Stale, "change tree: it has changed since the change was staged")
	}
	for range c.height - (len(t.levels) - 1) {
		t.levels = append(t.levels, nil)
	}
	for p, n := range c.nodes {
		for len(t.levels[p.level]) <= p.index {
			t.levels[p.level] = append(t.levels[p.level], Node{})
		}
		t.levels[p.level][p.index] = n
	}
	t.free = t.free[:len(t.free)-c.reused]
	for _, s := range c.Steps {
		for len(t.slots) <= int(s.Slot) {
			t.slots = append(t.slots, Shard{})
		}
		t.slots[s.Slot] = s.To
		delete(t.where, s.From.Root)
	}
	for _, s := range c.Steps {
		if s.To == (Shard{}) {
			t.free = append(t.free, int(s.Slot))
			continue
		}
		t.where[s.To.Root] = int(s.Slot)
	}
	t.bytes = c.Bytes
	t.version++
	return nil
}
