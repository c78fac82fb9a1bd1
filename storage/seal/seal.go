package seal

import (
	"errors"
	"sync"
	"sync/atomic"

	"hearth/core/fault"
	"hearth/core/proof"
)

// Seal makes the shards of the first size bytes of buf.Data(), in place: after it
// every buf.Shard(i) is what goes to a host, and the plaintext is gone. It uses
// at most `workers` goroutines.
func Seal(buf *Buffer, size int64, keys Keys, workers int) (Slab, error) {
	if size <= 0 || size > buf.class.SlabSize() {
		return Slab{}, fault.New(fault.BadRequest, "seal slab: %d bytes, 1 to %d are allowed", size, buf.class.SlabSize())
	}
	s := Slab{
		Size: size, ShardSize: buf.class.ShardSize(size), Class: buf.class,
		Key: keys.Key, MaskKey: keys.MaskKey, Roots: make([]proof.Hash, buf.class.N),
	}
	buf.shard = s.ShardSize
	clear(buf.mem[size : int64(s.Class.K)*s.ShardSize])
	c := s.ciphers()
	trees := newTrees(s)
	err := columns(0, proof.NumBlocks(s.ShardSize), workers, func(j int) error {
		col := make([][]byte, s.Class.N)
		for i := range col {
			col[i] = buf.Block(i, j)
		}
		at := int64(j) * proof.BlockSize
		for i := range s.Class.K {
			c.crypt(i, at, col[i])
		}
		if err := buf.rs.Encode(col); err != nil {
			return err
		}
		for i, p := range col {
			c.cover(i, at, p)
			trees[i].Blocks[j] = proof.BlockHash(p, j, s.ShardSize)
		}
		return nil
	})
	if err != nil {
		return Slab{}, fault.New(fault.Internal, "seal slab: %w", err)
	}
	for i := range s.Roots {
		if s.Roots[i], err = rootOf(trees[i]); err != nil {
			return Slab{}, fault.New(fault.Internal, "seal slab: %w", err)
		}
	}
	return s, nil
}

// Open turns shards back into the plaintext, buf.Data()[:s.Size]. The shards in
// have, at least K and verified, lie in buf as hosts keep them, after buf.Fit(s);
// afterwards no shard in buf is one any more.
func Open(buf *Buffer, s Slab, have []int, workers int) error {
	return OpenColumns(buf, s, have, 0, proof.NumBlocks(s.ShardSize), workers)
}

// OpenColumns is Open for count columns from the one numbered first on: of the
// shards in have only these blocks need be there, and only these are opened.
func OpenColumns(buf *Buffer, s Slab, have []int, first, count, workers int) error {
	sources, err := buf.sources(s, have)
	if err != nil {
		return fault.New(fault.CodeOf(err), "open slab: %w", err)
	}
	if first < 0 || count < 0 || count > proof.NumBlocks(s.ShardSize)-first {
		return fault.New(fault.BadRequest, "open slab: %d columns from %d on of %d", count, first, proof.NumBlocks(s.ShardSize))
	}
	c := s.ciphers()
	err = columns(first, count, workers, func(j int) error {
		at := int64(j) * proof.BlockSize
		col := buf.uncover(c, sources, j)
		if err := buf.rs.ReconstructData(col); err != nil {
			return err
		}
		for i := range s.Class.K {
			c.crypt(i, at, col[i])
		}
		return nil
	})
	if err != nil {
		return fault.New(fault.Internal, "open slab: %w", err)
	}
	return nil
}

// Rebuild makes the shards in want from those in have, at least K and verified,
// and checks them against their roots. It needs no Key. The shards in have stay
// as they are.
func Rebuild(buf *Buffer, s Slab, have, want []int, workers int) error {
	sources, err := buf.sources(s, have)
	if err != nil {
		return fault.New(fault.CodeOf(err), "rebuild shards: %w", err)
	}
	required := make([]bool, s.Class.N)
	for _, i := range want {
		if i < 0 || i >= s.Class.N || required[i] {
			return fault.New(fault.BadRequest, "rebuild shard %d: no such shard of %s, or twice", i, s.Class)
		}
		required[i] = true
	}
	for _, i := range have {
		if required[i] {
			return fault.New(fault.BadRequest, "rebuild shard %d: it is there", i)
		}
	}
	c := s.ciphers()
	trees := newTrees(s)
	err = columns(0, proof.NumBlocks(s.ShardSize), workers, func(j int) error {
		at := int64(j) * proof.BlockSize
		col := buf.uncover(c, sources, j)
		if err := buf.rs.ReconstructSome(col, required); err != nil {
			return err
		}
		for _, i := range sources {
			c.cover(i, at, col[i])
		}
		for _, i := range want {
			c.cover(i, at, col[i])
			trees[i].Blocks[j] = proof.BlockHash(col[i], j, s.ShardSize)
		}
		return nil
	})
	if err != nil {
		return fault.New(fault.Internal, "rebuild shards: %w", err)
	}
	for _, i := range want {
		if root, err := rootOf(trees[i]); err != nil || root != s.Roots[i] {
			return fault.New(fault.DamagedShard, "rebuild shard %d: it has another root than the manifest says", i)
		}
	}
	return nil
}

// sources are the K shards to work from, data shards first: each of them saves
// the making of one.
func (b *Buffer) sources(s Slab, have []int) ([]int, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	if s.Class != b.class || s.ShardSize != b.shard {
		return nil, fault.New(fault.BadRequest, "the buffer has the shape of another slab")
	}
	present := make([]bool, s.Class.N)
	for _, i := range have {
		if i < 0 || i >= s.Class.N || present[i] {
			return nil, fault.New(fault.BadRequest, "no shard %d in %s, or twice", i, s.Class)
		}
		present[i] = true
	}
	if len(have) < s.Class.K {
		return nil, fault.New(fault.NotEnoughShards, "%d shards, %d are needed", len(have), s.Class.K)
	}
	var sources []int
	for i, there := range present {
		if there && len(sources) < s.Class.K {
			sources = append(sources, i)
		}
	}
	return sources, nil
}

// uncover unmasks column j of the sources. Of the other shards it gives the room.
func (b *Buffer) uncover(c ciphers, sources []int, j int) [][]byte {
	col := make([][]byte, b.class.N)
	for i := range col {
		col[i] = b.Block(i, j)[:0]
	}
	for _, i := range sources {
		col[i] = b.Block(i, j)
		c.cover(i, int64(j)*proof.BlockSize, col[i])
	}
	return col
}

// columns calls work for every column in a row of them, from several goroutines.
func columns(first, count, workers int, work func(j int) error) error {
	workers = max(1, min(workers, count))
	var next atomic.Int64
	run := func() error {
		for {
			j := int(next.Add(1)) - 1
			if j >= count {
				return nil
			}
			if err := work(first + j); err != nil {
				return err
			}
		}
	}
	if workers == 1 {
		return run()
	}
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range errs {
		wg.Go(func() { errs[w] = run() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// newTrees are the trees of all shards, with room for the blocks of each.
func newTrees(s Slab) []proof.Tree {
	n := proof.NumBlocks(s.ShardSize)
	all := make([]proof.Hash, s.Class.N*n)
	trees := make([]proof.Tree, s.Class.N)
	for i := range trees {
		trees[i] = proof.Tree{Size: s.ShardSize, Blocks: all[i*n : (i+1)*n : (i+1)*n]}
	}
	return trees
}

// rootOf a tree of newTrees: of a single block, it is the block's hash.
func rootOf(t proof.Tree) (proof.Hash, error) {
	if len(t.Blocks) == 1 {
		return t.Blocks[0], nil
	}
	return t.Root()
}
