package proof

import (
	"encoding/binary"
	"math/bits"
)

// Bounds of a lease's tree.
const (
	MaxHeight = 32      // 2^32 shards
	maxLeaves = 1 << 44 // so that sums can't wrap
)

// Each kind of node has its own key: a shard's node can't be taken for an inner
// node or for shard bytes.
var (
	shardKey = contextKey("hearth/1/lease/shard")
	innerKey = contextKey("hearth/1/lease/inner")
	rootKey  = contextKey("hearth/1/lease/root")
)

// Shard is what a slot of a lease's tree holds. The zero Shard is an empty slot.
type Shard struct {
	Size int64 // bytes, 1 to MaxShard
	Root Hash
}

func (s Shard) valid() bool { return s.Size > 0 && s.Size <= MaxShard }

// Leaves is how many leaves the shard has; an empty slot has none.
func (s Shard) Leaves() uint64 {
	if s == (Shard{}) {
		return 0
	}
	return uint64(NumLeaves(s.Size))
}

// Node is one node of the sum tree: the leaves below it and their hash. An empty
// subtree of any height is the zero Node.
type Node struct {
	Leaves uint64
	Hash   Hash
}

func (n Node) valid() bool {
	return n.Leaves <= maxLeaves && (n.Leaves == 0) == (n.Hash == Hash{})
}

func (s Shard) node() Node {
	if s == (Shard{}) {
		return Node{}
	}
	var b [40]byte
	binary.BigEndian.PutUint64(b[:], uint64(s.Size))
	copy(b[8:], s.Root[:])
	return Node{s.Leaves(), derive(&shardKey, b[:])}
}

func join(l, r Node) Node {
	if l.Leaves == 0 && r.Leaves == 0 {
		return Node{}
	}
	var b [80]byte
	binary.BigEndian.PutUint64(b[0:], l.Leaves)
	copy(b[8:], l.Hash[:])
	binary.BigEndian.PutUint64(b[40:], r.Leaves)
	copy(b[48:], r.Hash[:])
	return Node{l.Leaves + r.Leaves, derive(&innerKey, b[:])}
}

// seal turns the top node into the root that both sides sign. It binds the
// height, so that a proof of another shape can't match.
func seal(height int, top Node) Hash {
	var b [41]byte
	b[0] = byte(height)
	binary.BigEndian.PutUint64(b[1:], top.Leaves)
	copy(b[9:], top.Hash[:])
	return derive(&rootKey, b[:])
}

// EmptyRoot is the root of a lease without shards.
func EmptyRoot() Hash { return seal(0, Node{}) }

// SumTree is the tree over all shards of one lease: numbered slots, padded to a
// power of two with empty ones. A removed shard leaves an empty slot, which a
// later one takes; nothing moves. Every node counts the leaves below it, so one
// number below the total names a leaf, and large shards are drawn more often.
//
// Reading it, Stage included, is safe from many goroutines; Apply is not.
type SumTree struct {
	slots   []Shard
	levels  [][]Node // levels[0] stands over the slots, the last is the top
	free    []int
	where   map[Hash]int
	bytes   uint64
	version uint64 // counts the changes made
}

// NewSumTree builds the tree over slots, empty ones included: the list that
// Slots gave. The tree takes the slice over. Who loads it from a disk compares
// the Root with the one that was signed.
func NewSumTree(slots []Shard) *SumTree {
	t := &SumTree{slots: slots, where: make(map[Hash]int, len(slots))}
	bottom := make([]Node, len(slots))
	for i := len(slots) - 1; i >= 0; i-- {
		s := slots[i]
		if s == (Shard{}) {
			t.free = append(t.free, i)
			continue
		}
		bottom[i] = s.node()
		t.where[s.Root] = i
		t.bytes += uint64(s.Size)
	}
	t.levels = [][]Node{bottom}
	for l := range height(len(slots)) {
		below := t.levels[l]
		level := make([]Node, (len(below)+1)/2)
		for i := range level {
			level[i] = join(below[2*i], at(below, 2*i+1))
		}
		t.levels = append(t.levels, level)
	}
	return t
}

// height is that of the tree over so many slots.
func height(slots int) int {
	if slots <= 1 {
		return 0
	}
	return bits.Len(uint(slots - 1))
}

func at(level []Node, i int) Node {
	if i < len(level) {
		return level[i]
	}
	return Node{}
}

func (t *SumTree) top() Node { return at(t.levels[len(t.levels)-1], 0) }

// Root is what a statement signs, and the total of leaves under it.
func (t *SumTree) Root() (root Hash, leaves uint64) {
	return seal(len(t.levels)-1, t.top()), t.top().Leaves
}

// Bytes is the sum of the shards' sizes.
func (t *SumTree) Bytes() uint64 { return t.bytes }

// Len is how many shards there are.
func (t *SumTree) Len() int { return len(t.where) }

// Slots is the list to keep; the tree owns it, and it is valid until Apply.
func (t *SumTree) Slots() []Shard { return t.slots }

// Find says in which slot the shard with this root lies.
func (t *SumTree) Find(root Hash) (slot int, ok bool) {
	slot, ok = t.where[root]
	return slot, ok
}
