// Package steward looks after what an account stores while its owner is away. A
// node with this role gets a placement log: which shard with which root lies
// where, and the key of the outer mask; no names, no slab keys. Under a mandate of
// the account it reads samples, makes lost shards anew and pays for their new
// places. It chooses these by a draw that its client can repeat, never among its
// own hosts, and only where the old place is lost or ending. It can't decrypt what
// it rebuilds, can't remove anything, and the ledger stops it at the mandate's
// ceilings, cap and end. The client's half is here as well: it hires, tells,
// dismisses, and checks what was done before it takes it over.
package steward

import (
	"hearth/core/canon"
	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/core/proof"
	"hearth/storage/index"
	"hearth/storage/seal"
)

// Protocol is the name of the exchange between client and steward.
const Protocol = "/hearth/steward/1"

const (
	major   = 1
	maxName = 128
	// maxSlab is the longest record of a slab: 255 shards with long names.
	maxSlab = 255*(32+8+4+maxName) + 256
)

// A Slab is what a steward knows of one.
type Slab struct {
	ID        index.SlabID
	Gone      bool // nobody wants it any more; what follows is zero then
	Class     erasure.Class
	ShardSize int64
	MaskKey   [32]byte
	Roots     []proof.Hash
	At        []index.Place // the zero Place: nowhere yet
}

// placed is the slab as the reading and rebuilding of shards know it: without a
// key, and as long as its shards are.
func (s Slab) placed() index.PlacedSlab {
	return index.PlacedSlab{
		Slab: index.Slab{ID: s.ID, Slab: seal.Slab{
			Size: int64(s.Class.K) * s.ShardSize, ShardSize: s.ShardSize, Class: s.Class, MaskKey: s.MaskKey, Roots: s.Roots,
		}},
		At: s.At,
	}
}

// Encode gives the record's canonical bytes (docs/formats/placement.md).
func (s Slab) Encode() []byte {
	w := canon.New(major).Fixed(s.ID[:])
	if s.Gone {
		return w.Uint8(1).Bytes()
	}
	w.Uint8(0).Uint8(uint8(s.Class.K)).Uint8(uint8(s.Class.N)).Int64(s.ShardSize).Fixed(s.MaskKey[:])
	for i := range s.Roots {
		w.Fixed(s.Roots[i][:])
		putPlace(w, s.At[i])
	}
	return w.Bytes()
}

// DecodeSlab reads what Encode wrote and refuses everything else.
func DecodeSlab(b []byte) (Slab, error) {
	if len(b) > maxSlab {
		return Slab{}, fault.New(fault.TooLarge, "read placement: %d bytes, at most %d are allowed", len(b), maxSlab)
	}
	r := canon.Read(b, major)
	var s Slab
	r.Fixed(s.ID[:])
	switch r.Uint8() {
	case 0:
		s.Class = erasure.Class{K: int(r.Uint8()), N: int(r.Uint8())}
		s.ShardSize = r.Int64()
		r.Fixed(s.MaskKey[:])
		s.Roots, s.At = make([]proof.Hash, s.Class.N), make([]index.Place, s.Class.N)
		for i := range s.Roots {
			r.Fixed(s.Roots[i][:])
			s.At[i] = place(r)
		}
	case 1:
		s.Gone = true
	default:
		if r.Done() == nil {
			return Slab{}, fault.New(fault.BadFrame, "read placement: an unknown state")
		}
	}
	if err := r.Done(); err != nil {
		return Slab{}, fault.New(fault.CodeOf(err), "read placement: %w", err)
	}
	if !s.Gone {
		p := s.placed()
		if err := p.Check(); err != nil {
			return Slab{}, fault.New(fault.CodeOf(err), "read placement: %w", err)
		}
	}
	for _, p := range s.At {
		if (p.Host == "") != (p.Lease == 0) {
			return Slab{}, fault.New(fault.BadFrame, "read placement: a host without a lease, or a lease without a host")
		}
	}
	return s, nil
}

func putPlace(w *canon.Writer, p index.Place) { w.Uint64(p.Lease).String(p.Host) }

func place(r *canon.Reader) index.Place {
	lease := r.Uint64()
	return index.Place{Host: r.String(maxName), Lease: lease}
}

// An Act is one shard that a steward has put elsewhere.
type Act struct {
	Seq   uint64
	Slab  index.SlabID
	Shard int
	Old   index.Place // the zero Place where it lay nowhere
	New   index.Place
	Root  proof.Hash
	Size  int64
	At    int64 // unix second
	// Sure says that the new host has signed for the shard. If it isn't, the host may
	// have it or not: it is to be removed there.
	Sure bool
}

// Encode gives the record's canonical bytes (docs/formats/placement.md).
func (a Act) Encode() []byte {
	w := canon.New(major).Uint64(a.Seq).Fixed(a.Slab[:]).Uint8(uint8(a.Shard))
	putPlace(w, a.Old)
	putPlace(w, a.New)
	sure := uint8(0)
	if a.Sure {
		sure = 1
	}
	return w.Fixed(a.Root[:]).Int64(a.Size).Int64(a.At).Uint8(sure).Bytes()
}

// DecodeAct reads what Encode wrote and refuses everything else.
func DecodeAct(b []byte) (Act, error) {
	r := canon.Read(b, major)
	a := Act{Seq: r.Uint64()}
	r.Fixed(a.Slab[:])
	a.Shard = int(r.Uint8())
	a.Old, a.New = place(r), place(r)
	r.Fixed(a.Root[:])
	a.Size, a.At = r.Int64(), r.Int64()
	sure := r.Uint8()
	a.Sure = sure == 1
	if err := r.Done(); err != nil {
		return Act{}, fault.New(fault.CodeOf(err), "read a steward's act: %w", err)
	}
	if sure > 1 || a.Size <= 0 || a.Size > proof.MaxShard || a.New.Host == "" || a.New.Lease == 0 || (a.Old.Host == "") != (a.Old.Lease == 0) {
		return Act{}, fault.New(fault.BadFrame, "read a steward's act: it makes no sense")
	}
	return a, nil
}
