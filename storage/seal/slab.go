// Package seal turns a slab of a file into shards for strangers and back:
// encrypted, coded, masked, hashed. It works column by column, a column being
// one block of every shard, so that each byte goes through all stages while it
// is in the cache; hashing and ciphers run on the goroutine that has the column.
//
// Integrity comes from the shards' roots, which the owner keeps: what is opened
// here must have been verified against them. It refuses slabs of impossible
// shapes, fewer shards than the code needs, and rebuilt shards with another root.
package seal

import (
	"crypto/rand"

	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/core/proof"
)

// Slab is what an owner keeps of a sealed slab.
type Slab struct {
	Size      int64 // bytes of the file in it
	ShardSize int64
	Class     erasure.Class
	Key       [32]byte // encrypts; the owner's alone
	MaskKey   [32]byte // masks; a steward may have it, hosts never
	Roots     []proof.Hash
}

// Check refuses a slab that Seal can't have made.
func (s Slab) Check() error {
	if err := s.Class.Validate(); err != nil {
		return fault.New(fault.CodeOf(err), "check slab: %w", err)
	}
	if s.ShardSize <= 0 || s.ShardSize > proof.MaxShard || s.ShardSize%erasure.Align != 0 ||
		s.Size <= 0 || s.Size > int64(s.Class.K)*s.ShardSize || len(s.Roots) != s.Class.N {
		return fault.New(fault.BadFrame, "check slab: %d bytes in shards of %d with %d roots", s.Size, s.ShardSize, len(s.Roots))
	}
	return nil
}

// Keys are the two keys of one slab.
type Keys struct{ Key, MaskKey [32]byte }

// NewKeys draws keys. Each slab needs its own: they are never used twice.
func NewKeys() Keys {
	var k Keys
	rand.Read(k.Key[:]) // never fails: the program ends where there is no randomness
	rand.Read(k.MaskKey[:])
	return k
}
