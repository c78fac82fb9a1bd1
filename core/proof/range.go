package proof

import (
	"slices"

	"lukechampine.com/blake3/guts"
)

// Prove makes the proof for the aligned subtree of span bytes (a power of two
// from LeafSize to BlockSize) that holds offset off. block is the block around
// it, the only part of the shard that must be read. The returned data is a
// slice of block; path goes from the subtree up to the root.
func (t Tree) Prove(block []byte, off, span int64) (data []byte, path []Hash, err error) {
	if !validRange(t.Size, off, span) || (t.Size > BlockSize && len(t.Blocks) != NumBlocks(t.Size)) {
		return nil, nil, ErrShape
	}
	first := off / BlockSize * BlockSize
	if int64(len(block)) != min(BlockSize, t.Size-first) {
		return nil, nil, ErrShape
	}
	// Walk down, remembering the sibling at every fork; then turn it round.
	lo, n := int64(0), t.Size
	for n > span {
		mid := split(n)
		if off < lo+mid {
			path = append(path, t.cv(block, first, lo+mid, n-mid))
			n = mid
		} else {
			path = append(path, t.cv(block, first, lo, mid))
			lo, n = lo+mid, n-mid
		}
	}
	slices.Reverse(path)
	return block[lo-first : lo-first+n], path, nil
}

// cv is the chaining value of the subtree [lo, lo+n): from the tree where it is
// made of whole blocks, else hashed from the one block at hand.
func (t Tree) cv(block []byte, first, lo, n int64) Hash {
	if len(t.Blocks) > 0 && lo%BlockSize == 0 && (n >= BlockSize || lo != first) {
		i, j := lo/BlockSize, (lo+n+BlockSize-1)/BlockSize
		return toHash(foldCV(t.Blocks[i:j]))
	}
	return toHash(guts.ChainingValue(subtree(block[lo-first:lo-first+n], uint64(lo)/LeafSize)))
}

// Subtree says where the aligned subtree of span bytes that holds offset off
// lies in a shard of this size: what Prove returns and Verify expects.
func Subtree(size, off, span int64) (lo, n int64, err error) {
	if !validRange(size, off, span) {
		return 0, 0, ErrShape
	}
	n = size
	for n > span {
		if mid := split(n); off < lo+mid {
			n = mid
		} else {
			lo, n = lo+mid, n-mid
		}
	}
	return lo, n, nil
}

// Verify checks a proof: that data is the aligned subtree of span bytes holding
// offset off in the shard of this size with this root.
func Verify(root Hash, size, off, span int64, data []byte, path []Hash) error {
	if !validRange(size, off, span) {
		return ErrShape
	}
	var right uint64 // bit d: at depth d the subtree is the right child
	depth := 0
	lo, n := int64(0), size
	for n > span {
		mid := split(n)
		if off < lo+mid {
			n = mid
		} else {
			right |= 1 << depth
			lo, n = lo+mid, n-mid
		}
		depth++
	}
	if int64(len(data)) != n || len(path) != depth {
		return ErrShape
	}
	node := subtree(data, uint64(lo)/LeafSize)
	for _, sibling := range path {
		depth--
		own, other := guts.ChainingValue(node), toCV(sibling)
		if right>>depth&1 == 1 {
			own, other = other, own
		}
		node = guts.ParentNode(own, other, &guts.IV, 0)
	}
	if rootOf(node) != root {
		return ErrMismatch
	}
	return nil
}

func validRange(size, off, span int64) bool {
	return size >= 0 && size <= MaxShard && off >= 0 && off < max(1, size) &&
		span >= LeafSize && span <= BlockSize && span&(span-1) == 0
}
