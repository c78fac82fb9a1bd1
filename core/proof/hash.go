package proof

import (
	"encoding/binary"

	"lukechampine.com/blake3/guts"
)

// Pack joins hashes for the wire: 32 bytes each.
func Pack(hashes []Hash) []byte {
	b := make([]byte, 0, len(hashes)*len(Hash{}))
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return b
}

// Unpack takes hashes from the wire, at most limit of them.
func Unpack(b []byte, limit int) ([]Hash, error) {
	if len(b)%len(Hash{}) != 0 || len(b)/len(Hash{}) > limit {
		return nil, ErrShape
	}
	hashes := make([]Hash, len(b)/len(Hash{}))
	for i := range hashes {
		copy(hashes[i][:], b[i*len(Hash{}):])
	}
	return hashes, nil
}

// UnpackTree takes the packed blocks of a shard of this size from the wire. The
// caller still has to Check it.
func UnpackTree(size int64, blocks []byte) (Tree, error) {
	if size < 0 || size > MaxShard {
		return Tree{}, ErrShape
	}
	want := NumBlocks(size)
	if want == 1 {
		want = 0
	}
	hashes, err := Unpack(blocks, want)
	if err != nil || len(hashes) != want {
		return Tree{}, ErrShape
	}
	return Tree{Size: size, Blocks: hashes}, nil
}

func rootOf(n guts.Node) Hash {
	n.Flags |= guts.FlagRoot
	return toHash(guts.ChainingValue(n))
}

func toHash(cv [8]uint32) (h Hash) {
	for i, w := range cv {
		binary.LittleEndian.PutUint32(h[4*i:], w)
	}
	return h
}

func toCV(h Hash) (cv [8]uint32) {
	for i := range cv {
		cv[i] = binary.LittleEndian.Uint32(h[4*i:])
	}
	return cv
}

// contextKey and derive are BLAKE3's derive_key for inputs of up to 1 KiB, with
// the context hashed only once.
func contextKey(context string) (key [8]uint32) {
	n := guts.CompressChunk([]byte(context), &guts.IV, 0, guts.FlagDeriveKeyContext)
	n.Flags |= guts.FlagRoot
	return guts.ChainingValue(n)
}

func derive(key *[8]uint32, data []byte) Hash {
	return rootOf(guts.CompressChunk(data, key, 0, guts.FlagDeriveKeyMaterial))
}
