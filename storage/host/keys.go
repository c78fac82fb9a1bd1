package host

import (
	"encoding/binary"

	"hearth/core/canon"
	"hearth/core/proof"
)

// The keys of leases in the index, beside the engine's own. Numbers are
// big-endian, so that a lease's keys lie together and its slots in order.
//
//	'm' lease        root 32, bytes 8, slots 8: the tree that is signed
//	't' lease slot   size 8, root 32: what a slot of it holds
//	'p' lease root   until 8, size 8: put and not covered yet
//	'c' lease root   a staged change that leads to this root
//	'r' root lease   the lease needs the shard: it is pending or in the tree
//	'e' lease        the lease has ended and is being dropped
//	'd' root         until 8, size 8: nobody needs the shard, see trash
//	'u'              how far the reading of everything is
//	'h' lease number a change that the ledger may not have yet, see past
//	'k' root lease   number of the newest such change that removed the shard
//	'q' key device   pointer of a device's log and its head, see pointers.go
//	'x' lease serial until 8: a ticket that is refused for what the lease holds
//	'w' lease key device   the lease under which it lies here
const (
	keyTree    = 'm'
	keySlot    = 't'
	keyPending = 'p'
	keyStaged  = 'c'
	keyNeed    = 'r'
	keyEnding  = 'e'
	keyTrash   = 'd'
	keyScrub   = 'u'
	keyPast    = 'h'
	keyKept    = 'k'
	keyPointer = 'q'
	keyPointed = 'w'
	keyRevoked = 'x'
)

func leaseKey(kind byte, lease uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{kind}, lease)
}

func slotKey(lease, slot uint64) []byte {
	return binary.BigEndian.AppendUint64(leaseKey(keySlot, lease), slot)
}

func rootKey(kind byte, lease uint64, root proof.Hash) []byte {
	return append(leaseKey(kind, lease), root[:]...)
}

func needsKey(root proof.Hash) []byte { return append([]byte{keyNeed}, root[:]...) }

func needKey(root proof.Hash, lease uint64) []byte {
	return binary.BigEndian.AppendUint64(needsKey(root), lease)
}

func splitLease(key []byte) (uint64, error) {
	if len(key) != 9 {
		return 0, bad("key", key)
	}
	return binary.BigEndian.Uint64(key[1:]), nil
}

func splitLeaseRoot(key []byte) (lease uint64, root proof.Hash, err error) {
	if len(key) != 41 {
		return 0, root, bad("key", key)
	}
	return binary.BigEndian.Uint64(key[1:]), proof.Hash(key[9:]), nil
}

// A waiting shard was put and is covered by no statement yet.
type waiting struct {
	until int64
	size  int64
}

func (p waiting) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(p.until))
	return binary.BigEndian.AppendUint64(b, uint64(p.size))
}

func parsePending(b []byte) (waiting, error) {
	if len(b) != 16 {
		return waiting{}, bad("pending shard", b)
	}
	p := waiting{int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:]))}
	if p.size <= 0 || p.size > proof.MaxShard {
		return waiting{}, bad("pending shard", b)
	}
	return p, nil
}

func encodeShard(s proof.Shard) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(s.Size)), s.Root[:]...)
}

func parseShard(b []byte) (proof.Shard, error) {
	if len(b) != 40 {
		return proof.Shard{}, bad("shard", b)
	}
	s := proof.Shard{Size: int64(binary.BigEndian.Uint64(b)), Root: proof.Hash(b[8:])}
	if s.Size <= 0 || s.Size > proof.MaxShard {
		return proof.Shard{}, bad("shard", b)
	}
	return s, nil
}

// signed is the tree that the newest statement covers, without its slots.
type signed struct {
	root  proof.Hash
	bytes uint64
	slots uint64
}

const maxSlots = 1 << 32

func (s signed) encode() []byte {
	return canon.New(1).Fixed(s.root[:]).Uint64(s.bytes).Uint64(s.slots).Bytes()
}

func parseSigned(b []byte) (signed, error) {
	var s signed
	r := canon.Read(b, 1)
	r.Fixed(s.root[:])
	s.bytes, s.slots = r.Uint64(), r.Uint64()
	if r.Done() != nil || s.slots > maxSlots {
		return signed{}, bad("lease", b)
	}
	return s, nil
}

// A turn is one slot of a staged change.
type turn struct {
	slot     uint64
	from, to proof.Shard
}

// A staged change waits for the statement that carries its root.
type staged struct {
	bytes uint64 // of all shards after it
	until int64
	turns []turn

	change *proof.Change // the same as the tree knows it; nil once the tree was loaded anew
}

func (s staged) encode() []byte {
	return writeTurns(canon.New(1).Uint64(s.bytes).Int64(s.until), s.turns).Bytes()
}

func parseStaged(b []byte) (*staged, error) {
	r := canon.Read(b, 1)
	s := &staged{bytes: r.Uint64(), until: r.Int64()}
	var ok bool
	if s.turns, ok = readTurns(r); !ok {
		return nil, bad("staged change", b)
	}
	return s, nil
}

// writeTurns and readTurns are the end of a record.
func writeTurns(w *canon.Writer, turns []turn) *canon.Writer {
	w.Uint64(uint64(len(turns)))
	for _, t := range turns {
		w.Uint64(t.slot)
		for _, shard := range []proof.Shard{t.from, t.to} {
			w.Int64(shard.Size).Fixed(shard.Root[:])
		}
	}
	return w
}

func readTurns(r *canon.Reader) (turns []turn, ok bool) {
	n := r.Uint64()
	if n > proof.MaxSteps {
		return nil, false
	}
	for range n {
		t := turn{slot: r.Uint64()}
		for _, shard := range []*proof.Shard{&t.from, &t.to} {
			shard.Size = r.Int64()
			r.Fixed(shard.Root[:])
			if shard.Size < 0 || shard.Size > proof.MaxShard {
				return nil, false
			}
		}
		if t.slot >= maxSlots {
			return nil, false
		}
		turns = append(turns, t)
	}
	return turns, r.Done() == nil
}
