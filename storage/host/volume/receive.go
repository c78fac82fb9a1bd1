package volume

import (
	"fmt"
	"hash/crc32"
	"io"

	"hearth/core/fault"
	"hearth/core/proof"
)

// Receive reads a shard of size bytes from r, checks that it has this root and
// returns when it is durable, together with what do writes (do may be nil). It
// needs one buffer, whatever the size. A shard that is held already is only
// checked. On an error nothing is kept; of r everything may have been read, or
// only a part.
func (s *Store) Receive(root proof.Hash, size int64, lease uint64, r io.Reader, do func(*Tx) error) error {
	if size <= 0 || size > proof.MaxShard {
		return fault.New(fault.TooLarge, "receive shard %x: %d bytes, 1 to %d are allowed", root[:8], size, int64(proof.MaxShard))
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	held, ok, err := lookup(s.index, root)
	if err != nil {
		return fmt.Errorf("receive shard %x: %w", root[:8], err)
	}
	if ok && !held.Damaged {
		return s.confirm(held, size, r, do)
	}
	p, err := s.reserve(size, false)
	if err != nil {
		return fmt.Errorf("receive shard %x: %w", root[:8], err)
	}
	e := Entry{Root: root, Size: size, volume: p.v.number, off: p.off}
	if err := s.fill(&e, p, lease, r); err != nil {
		s.release(p)
		return fmt.Errorf("receive shard %x: %w", root[:8], err)
	}
	spare := false
	err = s.apply(p.v, func(tx *Tx) error {
		old, there, err := tx.Lookup(root)
		if err != nil {
			return err
		}
		if do != nil {
			if err := do(tx); err != nil {
				return err
			}
		}
		if there && !old.Damaged {
			spare = true // somebody else has brought it meanwhile
			return nil
		}
		if there {
			tx.lose(old)
		}
		tx.put(e)
		return nil
	})
	if err != nil || spare {
		s.release(p)
	}
	return err
}

// fill writes the shard into its place, the header last.
func (s *Store) fill(e *Entry, p place, lease uint64, r io.Reader) error {
	buf := s.Buffer()
	defer s.Release(buf)
	tree, err := s.read(e, r, *buf, func(block []byte, at int64) error {
		return full(p.v.writeAt(block, p.off+page+at))
	})
	if err != nil {
		return err
	}
	header := (*buf)[:page]
	clear(header)
	record{lease: lease, root: e.Root, size: e.Size, sums: e.sums, outboard: tree.Blocks}.append(header[:0], p.v.salt)
	return full(p.v.writeAt(header, p.off))
}

// confirm checks the bytes of a shard that is held already.
func (s *Store) confirm(held Entry, size int64, r io.Reader, do func(*Tx) error) error {
	buf := s.Buffer()
	defer s.Release(buf)
	e := Entry{Root: held.Root, Size: size}
	if _, err := s.read(&e, r, *buf, func([]byte, int64) error { return nil }); err != nil {
		return fmt.Errorf("receive shard %x: %w", e.Root[:8], err)
	}
	return s.apply(nil, func(tx *Tx) error {
		now, there, err := tx.Lookup(e.Root)
		if err != nil {
			return err
		}
		if !there || now.Damaged {
			return fault.New(fault.Busy, "receive shard %x: it was just being removed; send it again", e.Root[:8])
		}
		if do == nil {
			return nil
		}
		return do(tx)
	})
}

// read takes a shard block by block: network -> buffer -> hash -> checksum ->
// take, which gets whole pages.
func (s *Store) read(e *Entry, r io.Reader, buf []byte, take func(block []byte, at int64) error) (proof.Tree, error) {
	b := proof.NewBuilder(e.Size)
	for at := int64(0); at < e.Size; at += blockSize {
		block := buf[:min(blockSize, e.Size-at)]
		if _, err := io.ReadFull(r, block); err != nil {
			return proof.Tree{}, fmt.Errorf("read byte %d of %d: %w", at, e.Size, err)
		}
		b.Add(block)
		e.sums = append(e.sums, crc32.Checksum(block, castagnoli))
		whole := buf[:padded(int64(len(block)))]
		clear(whole[len(block):])
		if err := take(whole, at); err != nil {
			return proof.Tree{}, fmt.Errorf("write byte %d of %d: %w", at, e.Size, err)
		}
	}
	root, tree := b.Finish()
	if root != e.Root {
		return proof.Tree{}, fault.New(fault.BadFrame, "the bytes have another root, %x", root[:8])
	}
	return tree, nil
}
