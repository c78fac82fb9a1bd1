package volume

import (
	"fmt"
	"hash/crc32"

	"hearth/core/fault"
	"hearth/core/proof"
)

// Block reads block i of a shard into buf, which has room for one, and checks
// it. A block that is damaged is reported and never returned: the error has the
// code damaged_shard, and the shard counts as damaged from then on.
func (s *Store) Block(e Entry, i int, buf []byte) ([]byte, error) {
	if i < 0 || i >= e.Blocks() {
		return nil, fault.New(fault.BadRequest, "read block %d of shard %x: it has %d", i, e.Root[:8], e.Blocks())
	}
	if e.Damaged {
		return nil, fault.New(fault.DamagedShard, "read shard %x: it is damaged", e.Root[:8])
	}
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	at := int64(i) * blockSize
	block := buf[:min(blockSize, e.Size-at)]
	for {
		err := errGone
		if p, ok := s.placeOf(e); ok {
			err = p.v.readAt(block, e.off+page+at)
		}
		if err == nil && crc32.Checksum(block, castagnoli) == e.sums[i] {
			return block, nil
		}
		if !s.moved(&e) {
			return nil, s.report(e, fmt.Sprintf("block %d", i), err)
		}
	}
}

// moved says whether a shard lies elsewhere than e says, by now, and corrects e.
func (s *Store) moved(e *Entry) bool {
	now, there, err := lookup(s.index, e.Root)
	if err != nil || !there || now.Damaged || now.Size != e.Size || now.volume == e.volume && now.off == e.off {
		return false
	}
	*e = now
	return true
}

// Tree reads the chaining values of a shard's blocks and checks them against its root.
func (s *Store) Tree(e Entry) (proof.Tree, error) {
	if e.Blocks() == 1 {
		return proof.Tree{Size: e.Size}, nil
	}
	if e.Damaged {
		return proof.Tree{}, fault.New(fault.DamagedShard, "read shard %x: it is damaged", e.Root[:8])
	}
	if err := s.enter(); err != nil {
		return proof.Tree{}, err
	}
	defer s.leave()
	for {
		r, err := s.header(e)
		if err == nil {
			return proof.Tree{Size: r.size, Blocks: r.outboard}, nil
		}
		if !s.moved(&e) {
			return proof.Tree{}, s.report(e, "header", err)
		}
	}
}

// header reads the header of a shard's record and checks it against the entry.
func (s *Store) header(e Entry) (record, error) {
	p, ok := s.placeOf(e)
	if !ok {
		return record{}, errGone
	}
	buf := make([]byte, maxHeader)
	if err := p.v.readAt(buf, e.off); err != nil {
		return record{}, err
	}
	r, err := parseRecord(buf, p.v.salt)
	if err != nil {
		return r, err
	}
	if r.root != e.Root || r.size != e.Size {
		return r, errHeader
	}
	if e.Blocks() == 1 {
		return r, nil // it has no tree to check
	}
	return r, proof.Tree{Size: r.size, Blocks: r.outboard}.Check(e.Root)
}

// Check reads a whole shard and compares it with its root.
func (s *Store) Check(root proof.Hash) error {
	e, err := s.Lookup(root)
	if err != nil {
		return err
	}
	tree, err := s.Tree(e)
	if err != nil {
		return err
	}
	buf := s.Buffer()
	defer s.Release(buf)
	for i := range e.Blocks() {
		block, err := s.Block(e, i, *buf)
		if err != nil {
			return err
		}
		if err := tree.VerifyBlock(e.Root, i, block); err != nil {
			return s.report(e, fmt.Sprintf("block %d", i), err)
		}
	}
	return nil
}

// report decides what a failed read means: the shard was removed meanwhile, or
// it is damaged, which is counted, logged and remembered.
func (s *Store) report(e Entry, what string, cause error) error {
	now, there, err := lookup(s.index, e.Root)
	if err != nil {
		return err
	}
	if !there || now.volume != e.volume || now.off != e.off {
		return fault.New(fault.NotFound, "read shard %x: it was removed meanwhile", e.Root[:8])
	}
	if cause == nil {
		cause = fmt.Errorf("checksum doesn't match")
	}
	s.damaged.Add(1)
	s.c.Log.Error("damaged shard", "root", fmt.Sprintf("%x", e.Root), "part", what, "volume", e.volume, "offset", e.off, "err", cause)
	if !now.Damaged {
		// Remembering it is for after a restart; the answer doesn't wait for it.
		s.done.Add(1)
		go s.remember(e)
	}
	return fault.New(fault.DamagedShard, "read shard %x: %s: %w", e.Root[:8], what, cause)
}

func (s *Store) remember(e Entry) {
	defer s.leave()
	found := false
	o := &op{nil, func(tx *Tx) error {
		now, there, err := tx.Lookup(e.Root)
		if err != nil || !there || now.volume != e.volume || now.off != e.off {
			return err
		}
		if !now.Damaged {
			now.Damaged = true
			tx.Set(shardKey(e.Root), now.encode())
			tx.Then(func() {
				s.mu.Lock()
				s.bad++
				s.mu.Unlock()
				found = true
			})
		}
		return nil
	}, make(chan error, 1)}
	s.ops <- o
	if err := <-o.done; err != nil {
		s.c.Log.Warn("remember damaged shard", "err", err)
	}
	if found && s.c.Damaged != nil {
		s.c.Damaged(e.Root)
	}
}
