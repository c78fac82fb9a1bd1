package seal

import (
	"github.com/klauspost/reedsolomon"

	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/core/proof"
)

// Buffer has room for all shards of one slab, and the code's tables. Nothing
// large is allocated after NewBuffer. One goroutine at a time uses it, but its
// shards may be read and filled by many between two calls.
type Buffer struct {
	class  erasure.Class
	rs     reedsolomon.Encoder
	mem    []byte
	shard  int64 // bytes of a shard now
	mapped bool  // mem is the system's, not the garbage collector's
}

// apart is how far parity shards stand apart beyond their length: the blocks of
// one column would else fall on the same few lines of the cache.
const apart = 17 * 64

// NewBuffer makes room for slabs of a class: N x 4 MiB, of which only what is
// used becomes resident.
func NewBuffer(c erasure.Class) (*Buffer, error) {
	return newBuffer(c, func(n int64) []byte { return make([]byte, n) })
}

func newBuffer(c erasure.Class, room func(n int64) []byte) (*Buffer, error) {
	if err := c.Validate(); err != nil {
		return nil, fault.New(fault.CodeOf(err), "make slab buffer: %w", err)
	}
	// One goroutine is enough where the fast code takes the whole matrix at once;
	// beyond that the library has it only on its parallel path.
	goroutines := 1
	if c.K > 10 || c.N-c.K > 10 {
		goroutines = 2
	}
	rs, err := reedsolomon.New(c.K, c.N-c.K, reedsolomon.WithMaxGoroutines(goroutines))
	if err != nil {
		return nil, fault.New(fault.Internal, "make slab buffer of %s: %w", c, err)
	}
	b := &Buffer{class: c, rs: rs, shard: proof.MaxShard}
	b.mem = room(c.SlabSize() + int64(c.N-c.K)*(proof.MaxShard+apart))
	return b, nil
}

// Class is the class that the buffer was made for.
func (b *Buffer) Class() erasure.Class { return b.class }

// Data is the room for the plaintext, as much as a slab may have. The data
// shards lie in it one after the other.
func (b *Buffer) Data() []byte { return b.mem[:b.class.SlabSize()] }

// Fit gives the buffer the shape of a slab, before its shards are filled in.
func (b *Buffer) Fit(s Slab) error {
	if err := s.Check(); err != nil {
		return err
	}
	if s.Class != b.class {
		return fault.New(fault.BadRequest, "fit slab buffer: it is for %s, the slab is %s", b.class, s.Class)
	}
	b.shard = s.ShardSize
	return nil
}

// Shard is shard i in the present shape: that of the last Seal or Fit.
func (b *Buffer) Shard(i int) []byte {
	at := int64(i) * b.shard
	if i >= b.class.K {
		at += int64(i-b.class.K+1) * apart
	}
	return b.mem[at : at+b.shard : at+b.shard]
}

// Block is block j of shard i.
func (b *Buffer) Block(i, j int) []byte {
	shard := b.Shard(i)
	from := j * proof.BlockSize
	to := min(from+proof.BlockSize, len(shard))
	return shard[from:to:to]
}
