package volume

import (
	"encoding/binary"
	"errors"

	"hearth/core/proof"
)

// An Entry is what the index knows of a shard.
type Entry struct {
	Root    proof.Hash
	Size    int64
	Damaged bool // found so by a read: never served, replaced by the next Receive

	volume uint32
	off    int64 // of the record's header page
	sums   []uint32
}

// Blocks is how many blocks the shard has.
func (e Entry) Blocks() int { return numBlocks(e.Size) }

const (
	prefixShard = 's' // the first byte of the engine's keys; callers of Tx use others
	entryFixed  = 22
)

var errEntry = errors.New("malformed index entry")

func shardKey(root proof.Hash) []byte { return append([]byte{prefixShard}, root[:]...) }

func (e Entry) encode() []byte {
	damaged := byte(0)
	if e.Damaged {
		damaged = 1
	}
	b := make([]byte, 0, entryFixed+4*len(e.sums))
	b = append(b, version, damaged)
	b = binary.BigEndian.AppendUint32(b, e.volume)
	b = binary.BigEndian.AppendUint64(b, uint64(e.off))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Size))
	for _, sum := range e.sums {
		b = binary.BigEndian.AppendUint32(b, sum)
	}
	return b
}

func parseEntry(root proof.Hash, b []byte) (Entry, error) {
	e := Entry{Root: root}
	if len(b) < entryFixed || b[0] != version || b[1] > 1 {
		return e, errEntry
	}
	e.Damaged = b[1] == 1
	e.volume = binary.BigEndian.Uint32(b[2:])
	e.off = int64(binary.BigEndian.Uint64(b[6:]))
	e.Size = int64(binary.BigEndian.Uint64(b[14:]))
	if e.Size <= 0 || e.Size > proof.MaxShard || e.off < page || e.off%page != 0 || len(b) != entryFixed+4*numBlocks(e.Size) {
		return e, errEntry
	}
	for b = b[entryFixed:]; len(b) > 0; b = b[4:] {
		e.sums = append(e.sums, binary.BigEndian.Uint32(b))
	}
	return e, nil
}
