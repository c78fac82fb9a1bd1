package index

import (
	"hearth/core/canon"
	"hearth/core/erasure"
	"hearth/core/proof"
	"hearth/storage/seal"
)

const slabMajor = 1

// A Slab is a sealed slab and its name.
type Slab struct {
	ID SlabID
	seal.Slab
}

// EncodeSlab gives a slab's canonical bytes (docs/formats/manifest.md).
func EncodeSlab(s seal.Slab) []byte {
	w := canon.New(slabMajor).Uint8(uint8(s.Class.K)).Uint8(uint8(s.Class.N)).Int64(s.Size).Int64(s.ShardSize).
		Fixed(s.Key[:]).Fixed(s.MaskKey[:])
	for i := range s.Roots {
		w.Fixed(s.Roots[i][:])
	}
	return w.Bytes()
}

// DecodeSlab reads what EncodeSlab wrote and refuses everything else.
func DecodeSlab(b []byte) (seal.Slab, error) {
	r := canon.Read(b, slabMajor)
	s := seal.Slab{Class: erasure.Class{K: int(r.Uint8()), N: int(r.Uint8())}, Size: r.Int64(), ShardSize: r.Int64()}
	r.Fixed(s.Key[:])
	r.Fixed(s.MaskKey[:])
	s.Roots = make([]proof.Hash, s.Class.N)
	for i := range s.Roots {
		r.Fixed(s.Roots[i][:])
	}
	if err := r.Done(); err != nil {
		return seal.Slab{}, err
	}
	if err := s.Check(); err != nil {
		return seal.Slab{}, err
	}
	return s, nil
}
