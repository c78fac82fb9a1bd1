// Package erasure holds the arithmetic of cutting a slab into shards: how many,
// how long, how many are enough. The coding itself is done in storage/seal.
// It refuses codes that can lose nothing or that have more than MaxShards.
package erasure

import (
	"strconv"
	"strings"

	"hearth/core/fault"
)

const (
	// MaxShard is the longest shard; K of them are the largest slab.
	MaxShard = 4 << 20
	// MaxShards is how many shards a slab may have.
	MaxShards = 64
	// Align is what the length of a shard is rounded up to: it keeps cipher
	// blocks and vector registers whole. Shards needn't be whole blocks of a proof,
	// the last column of a slab is just shorter; so a file of a few KiB costs a few
	// KiB in each place, and one a byte over a block doesn't cost two.
	Align = 64
)

// Class says into how many shards a slab is coded, N, and how many of them give
// it back, K.
type Class struct{ K, N int }

// DefaultClass is what a file gets unless one asks for another.
var DefaultClass = Class{K: 10, N: 20}

// Parse reads a class in the form k/n.
func Parse(s string) (Class, error) {
	k, n, ok := strings.Cut(s, "/")
	c := Class{}
	if ok {
		c.K, c.N = number(k), number(n)
	}
	if c.K == 0 || c.N == 0 {
		return Class{}, fault.New(fault.BadRequest, "parse code %q: it has the form k/n, as 10/20", s)
	}
	return c, c.Validate()
}

// number is 0 for what isn't a plain number of one or two digits.
func number(s string) int {
	if len(s) > 2 || strings.HasPrefix(s, "0") {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil {
		return 0
	}
	return int(n)
}

// String is the form that Parse reads.
func (c Class) String() string { return strconv.Itoa(c.K) + "/" + strconv.Itoa(c.N) }

// Validate refuses a class that nothing can be coded with.
func (c Class) Validate() error {
	if c.K < 1 || c.K >= c.N || c.N > MaxShards {
		return fault.New(fault.BadRequest, "code %d/%d: 1 <= k < n <= %d is needed", c.K, c.N, MaxShards)
	}
	return nil
}

// SlabSize is how many bytes of a file the largest slab holds.
func (c Class) SlabSize() int64 { return int64(c.K) * MaxShard }

// Slabs is how many slabs a file of this size is cut into; an empty one into none.
func (c Class) Slabs(size int64) int64 { return (size + c.SlabSize() - 1) / c.SlabSize() }

// ShardSize is how long each shard is of a slab of this many bytes, 1 to SlabSize.
func (c Class) ShardSize(size int64) int64 {
	k := int64(c.K)
	return ((size+k-1)/k + Align - 1) / Align * Align
}

// Locate says in which data shard byte off of a slab lies, and where in it:
// shard i holds the i-th stretch.
func (c Class) Locate(shardSize, off int64) (shard int, at int64) {
	return int(off / shardSize), off % shardSize
}

// Enough is how many shards must be durable before a slab counts as stored: the
// K that give it back and half of the spare ones.
func (c Class) Enough() int { return c.K + (c.N-c.K+1)/2 }
