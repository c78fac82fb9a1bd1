package volume

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"hearth/core/fault"
	"hearth/core/proof"

	"github.com/cockroachdb/pebble/v2"
)

// A rebuilt index says for every shard who put it first, until the owner of the
// leases has adopted it: 'a' | lease | root.
const prefixAdopted = 'a'

func adoptedKey(lease uint64, root proof.Hash) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{prefixAdopted}, lease), root[:]...)
}

// Adopt hands out the shards that a rebuilt index has found, with the lease that
// put each first; do writes what makes them the lease's own, in one transaction.
func (s *Store) Adopt(do func(tx *Tx, lease uint64, e Entry) error) error {
	return s.Apply(func(tx *Tx) error {
		return tx.Each([]byte{prefixAdopted}, func(key, _ []byte) error {
			if len(key) != 41 {
				return fault.New(fault.DamagedFile, "adopt shards: key %x: %w", key, errEntry)
			}
			tx.Delete(append([]byte(nil), key...))
			e, there, err := tx.Lookup(proof.Hash(key[9:]))
			if err != nil || !there {
				return err
			}
			return do(tx, binary.BigEndian.Uint64(key[1:]), e)
		})
	})
}

// rebuild makes the index from what the volumes say. A record counts when its
// bytes have its root; torn ones are passed over.
func (s *Store) rebuild() error {
	s.c.Log.Warn("index is missing; it is rebuilt from the volumes", "volumes", len(s.volumes))
	found := 0
	for _, v := range s.volumes {
		n, err := s.scan(v)
		if err != nil {
			return fmt.Errorf("rebuild index from %s: %w", v.path, err)
		}
		found += n
	}
	s.c.Log.Info("index is rebuilt", "shards", found)
	return nil
}

// scan puts every whole record of a volume into the index.
func (s *Store) scan(v *volume) (found int, err error) {
	buf := make([]byte, blockSize)
	batch := s.index.NewBatch()
	for off := int64(page); off+page <= v.room; {
		n, err := v.f.ReadAt(buf, off)
		if err != nil && !errors.Is(err, io.EOF) {
			return found, errors.Join(err, batch.Close())
		}
		next := off + max(int64(n)/page*page, page)
		for at := 0; at+page <= n; at += page {
			r, err := parseRecord(buf[at:n], v.salt)
			if err != nil || !s.whole(v, r, off+int64(at)) {
				continue
			}
			e := Entry{Root: r.root, Size: r.size, volume: v.number, off: off + int64(at), sums: r.sums}
			err = batch.Set(shardKey(e.Root), e.encode(), nil)
			if err == nil {
				err = batch.Set(adoptedKey(r.lease, r.root), []byte{}, nil)
			}
			if err != nil {
				return found, errors.Join(err, batch.Close())
			}
			found++
			next = e.off + footprint(e.Size)
			break
		}
		off = next
	}
	return found, errors.Join(batch.Commit(pebble.Sync), batch.Close())
}

// whole reads a record's bytes and compares them with its root.
func (s *Store) whole(v *volume, r record, off int64) bool {
	buf := s.Buffer()
	defer s.Release(buf)
	b := proof.NewBuilder(r.size)
	for i := range r.sums {
		at := int64(i) * blockSize
		block := (*buf)[:min(blockSize, r.size-at)]
		if v.readAt(block, off+page+at) != nil || crc32.Checksum(block, castagnoli) != r.sums[i] {
			return false
		}
		b.Add(block)
	}
	root, _ := b.Finish()
	return root == r.root
}
