package proof

import (
	"hearth/core/canon"
	"hearth/core/fault"
)

// AnswerMajor is the format of an answer on the wire; MaxAnswer bounds its length.
const (
	AnswerMajor = 1
	MaxAnswer   = 1 + 8 + 40 + 1 + 8 + MaxHeight*40 + 4 + LeafSize + 4 + maxLeafPath*32
	maxLeafPath = 12 // 4 MiB of leaves of 1 KiB
)

// Encode gives the one encoding of an answer. Empty siblings cost a bit.
func (a Answer) Encode() []byte {
	w := canon.New(AnswerMajor).Uint64(a.Path.Slot).Int64(a.Path.Shard.Size).Fixed(a.Path.Shard.Root[:]).Uint8(uint8(len(a.Path.Siblings)))
	var mask uint64
	for i, n := range a.Path.Siblings {
		if n != (Node{}) {
			mask |= 1 << i
		}
	}
	w.Uint64(mask)
	for _, n := range a.Path.Siblings {
		if n != (Node{}) {
			w.Uint64(n.Leaves).Fixed(n.Hash[:])
		}
	}
	return w.Blob(a.Data).Blob(Pack(a.Leaf)).Bytes()
}

// DecodeAnswer reads an answer and refuses what Encode never gives. Whether it is
// right is for Verify.
func DecodeAnswer(b []byte) (Answer, error) {
	if len(b) > MaxAnswer {
		return Answer{}, fault.New(fault.TooLarge, "decode answer: %d bytes, at most %d are allowed", len(b), MaxAnswer)
	}
	r := canon.Read(b, AnswerMajor)
	a := Answer{Path: Path{Slot: r.Uint64(), Shard: Shard{Size: r.Int64()}}}
	r.Fixed(a.Path.Shard.Root[:])
	h := int(r.Uint8())
	mask := r.Uint64()
	if h > MaxHeight || mask>>h != 0 {
		return Answer{}, fault.New(fault.BadFrame, "decode answer: height %d, siblings %x don't fit", h, mask)
	}
	a.Path.Siblings = make([]Node, h)
	for i := range a.Path.Siblings {
		if mask>>i&1 == 1 {
			n := &a.Path.Siblings[i]
			n.Leaves = r.Uint64()
			r.Fixed(n.Hash[:])
			if *n == (Node{}) {
				return Answer{}, fault.New(fault.BadFrame, "decode answer: an empty sibling is spelled out")
			}
		}
	}
	a.Data = r.Blob(LeafSize)
	packed := r.Blob(maxLeafPath * len(Hash{}))
	if err := r.Done(); err != nil {
		return Answer{}, fault.New(fault.CodeOf(err), "decode answer: %w", err)
	}
	var err error
	if a.Leaf, err = Unpack(packed, maxLeafPath); err != nil {
		return Answer{}, fault.New(fault.BadFrame, "decode answer: %w", err)
	}
	return a, nil
}
