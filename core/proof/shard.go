// Package proof shows that bytes are the right ones. A shard's tree is exactly
// its BLAKE3 hash: the root is the plain BLAKE3-256 of its bytes, the chaining
// values of its 256 KiB blocks verify a block without the others, and a path
// verifies any leaf of 1 KiB. A lease's tree is a Merkle sum tree over its
// shards; who knows only its root follows a change by the steps of who keeps it.
//
// It refuses proofs of another shape than the size asks for; sizes must come
// from a trusted place (a manifest, or the lease's tree), never from the prover.
// All of it runs on the calling goroutine and allocates nothing per block:
// parallelism belongs to the caller, who has many shards at once.
package proof

import (
	"math/bits"

	"lukechampine.com/blake3/guts"

	"hearth/core/fault"
)

// The sizes that proofs are about, in bytes.
const (
	LeafSize  = guts.ChunkSize // the smallest thing a path can name
	BlockSize = 256 << 10      // what a reader verifies at once
	MaxShard  = 4 << 20        // the largest shard

	stripe = guts.MaxSIMD * guts.ChunkSize
)

var (
	// ErrMismatch says that the bytes, or a chaining value, are not those of the root.
	ErrMismatch = fault.New(fault.DamagedShard, "data does not match the root")
	// ErrShape says that a proof has not the shape that the size asks for.
	ErrShape = fault.New(fault.BadFrame, "proof has the wrong shape")
)

// Hash is a root, or the chaining value of a subtree.
type Hash [32]byte

// Tree is what is kept beside a shard. Blocks holds the chaining value of every
// block in order; it is empty when the shard is one block, whose hash is the root.
type Tree struct {
	Size   int64
	Blocks []Hash
}

// NumBlocks is how many blocks a shard of this size has; an empty one has one.
func NumBlocks(size int64) int { return int(max(1, (size+BlockSize-1)/BlockSize)) }

// NumLeaves is how many leaves a shard of this size has; an empty one has one.
func NumLeaves(size int64) int64 { return max(1, (size+LeafSize-1)/LeafSize) }

// Sum is the root of a shard: its BLAKE3-256.
func Sum(shard []byte) Hash { return rootOf(subtree(shard, 0)) }

// BlockHash is what a Tree keeps of block i of a shard of this size; for a shard
// of one block it is the root. Who hashes blocks out of order, or on several
// goroutines, fills a Tree with it.
func BlockHash(block []byte, i int, size int64) Hash {
	if size <= BlockSize {
		return Sum(block)
	}
	return toHash(guts.ChainingValue(subtree(block, uint64(i)*(BlockSize/LeafSize))))
}

// Builder hashes a shard block by block, as it arrives. Every block but the last
// is exactly BlockSize long.
type Builder struct {
	t    Tree
	root Hash
}

// NewBuilder starts a shard whose size is known in advance.
func NewBuilder(size int64) *Builder {
	b := &Builder{t: Tree{Size: size}, root: Sum(nil)}
	if n := NumBlocks(size); n > 1 {
		b.t.Blocks = make([]Hash, 0, n)
	}
	return b
}

// Add hashes the next block.
func (b *Builder) Add(block []byte) {
	h := BlockHash(block, len(b.t.Blocks), b.t.Size)
	if b.t.Size <= BlockSize {
		b.root = h
		return
	}
	b.t.Blocks = append(b.t.Blocks, h)
}

// Finish returns the root and the tree, once every block has been added.
func (b *Builder) Finish() (Hash, Tree) {
	if len(b.t.Blocks) > 1 {
		b.root = rootOf(fold(b.t.Blocks))
	}
	return b.root, b.t
}

// Build hashes a whole shard.
func Build(shard []byte) (Hash, Tree) {
	b := NewBuilder(int64(len(shard)))
	for off := 0; off < len(shard); off += BlockSize {
		b.Add(shard[off:min(off+BlockSize, len(shard))])
	}
	return b.Finish()
}

// Root recomputes the root from the blocks of a shard of more than one.
func (t Tree) Root() (Hash, error) {
	if t.Size <= BlockSize || t.Size > MaxShard || len(t.Blocks) != NumBlocks(t.Size) {
		return Hash{}, ErrShape
	}
	return rootOf(fold(t.Blocks)), nil
}

// Check says whether a tree from elsewhere belongs to root. For a shard of one
// block there is nothing to check yet: the block is checked against the root.
func (t Tree) Check(root Hash) error {
	if t.Size >= 0 && t.Size <= BlockSize && len(t.Blocks) == 0 {
		return nil
	}
	got, err := t.Root()
	if err != nil {
		return err
	}
	if got != root {
		return ErrMismatch
	}
	return nil
}

// VerifyBlock checks block i of a shard, given a Tree that passed Check.
func (t Tree) VerifyBlock(root Hash, i int, block []byte) error {
	if i < 0 || i >= NumBlocks(t.Size) || int64(len(block)) != min(BlockSize, t.Size-int64(i)*BlockSize) {
		return ErrShape
	}
	want := root
	if t.Size > BlockSize {
		if len(t.Blocks) != NumBlocks(t.Size) {
			return ErrShape
		}
		want = t.Blocks[i]
	}
	if BlockHash(block, i, t.Size) != want {
		return ErrMismatch
	}
	return nil
}

// split is BLAKE3's rule: the left subtree is the largest power of two of
// leaves that leaves at least one byte on the right.
func split(n int64) int64 { return 1 << (bits.Len64(uint64(n-1)) - 1) }

// subtree compresses p, whose first leaf has number leaf in the shard. Whole
// stripes of 16 leaves go to the SIMD code without being copied.
func subtree(p []byte, leaf uint64) guts.Node {
	switch {
	case len(p) <= LeafSize:
		return guts.CompressChunk(p, &guts.IV, leaf, 0)
	case len(p) == stripe:
		return guts.CompressBuffer((*[stripe]byte)(p), stripe, &guts.IV, leaf, 0)
	case len(p) < stripe:
		return short(p, leaf)
	}
	mid := split(int64(len(p)))
	l := guts.ChainingValue(subtree(p[:mid], leaf))
	r := guts.ChainingValue(subtree(p[mid:], leaf+uint64(mid)/LeafSize))
	return guts.ParentNode(l, r, &guts.IV, 0)
}

// short gives the SIMD code the whole stripe that it wants to read. Not inlined,
// so that the padding is on the stack only where it is needed.
//
//go:noinline
func short(p []byte, leaf uint64) guts.Node {
	var padded [stripe]byte
	copy(padded[:], p)
	return guts.CompressBuffer(&padded, len(p), &guts.IV, leaf, 0)
}

// fold joins the chaining values of two or more neighbouring blocks.
func fold(blocks []Hash) guts.Node {
	mid := int(split(int64(len(blocks))))
	return guts.ParentNode(foldCV(blocks[:mid]), foldCV(blocks[mid:]), &guts.IV, 0)
}

func foldCV(blocks []Hash) [8]uint32 {
	if len(blocks) == 1 {
		return toCV(blocks[0])
	}
	return guts.ChainingValue(fold(blocks))
}
