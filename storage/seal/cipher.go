package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"

	"hearth/core/fault"
	"hearth/core/proof"
)

// Both ciphers are AES-256 in counter mode, and both counters are given by the
// place, so that any stretch opens alone. Of the slab key, block n of 16 bytes of
// the slab has counter n. Of the mask key, block n of shard i has counter i<<64 + n.

func block(key [32]byte) cipher.Block {
	c, err := aes.NewCipher(key[:])
	if err != nil {
		panic("seal: " + err.Error()) // 32 bytes are always a key
	}
	return c
}

// xor applies the key stream of high from byte off on.
func xor(c cipher.Block, high uint64, off int64, p []byte) {
	var iv [aes.BlockSize]byte
	binary.BigEndian.PutUint64(iv[:], high)
	binary.BigEndian.PutUint64(iv[8:], uint64(off)/aes.BlockSize)
	stream := cipher.NewCTR(c, iv[:])
	if skip := off % aes.BlockSize; skip > 0 {
		var waste [aes.BlockSize]byte
		stream.XORKeyStream(waste[:skip], waste[:skip])
	}
	stream.XORKeyStream(p, p)
}

// ciphers are those of one slab.
type ciphers struct {
	data, mask cipher.Block
	shard      int64
}

func (s Slab) ciphers() ciphers {
	return ciphers{block(s.Key), block(s.MaskKey), s.ShardSize}
}

// crypt encrypts or decrypts p, which lies in data shard i at off.
func (c ciphers) crypt(i int, off int64, p []byte) { xor(c.data, 0, int64(i)*c.shard+off, p) }

// cover masks or unmasks p, which lies in shard i at off.
func (c ciphers) cover(i int, off int64, p []byte) { xor(c.mask, uint64(i), off, p) }

// DecryptRange opens p in place: bytes of data shard i from off on, as a host
// keeps them, verified before against the shard's root.
func DecryptRange(s Slab, i int, off int64, p []byte) error {
	if err := s.Check(); err != nil {
		return err
	}
	if i < 0 || i >= s.Class.K || off < 0 || off > s.ShardSize || int64(len(p)) > s.ShardSize-off {
		return fault.New(fault.BadRequest, "decrypt range: %d bytes at %d of shard %d", len(p), off, i)
	}
	c := s.ciphers()
	c.cover(i, off, p)
	c.crypt(i, off, p)
	return nil
}

// OpenBlock verifies block j of data shard i, whose tree has passed its Check
// against the slab's root, and opens it in place. With all data shards at hand a
// download opens each block as it arrives and needs no Open.
func OpenBlock(s Slab, t proof.Tree, i, j int, p []byte) error {
	if i < 0 || i >= len(s.Roots) || t.Size != s.ShardSize {
		return fault.New(fault.BadFrame, "open block %d of shard %d: %w", j, i, proof.ErrShape)
	}
	if err := t.VerifyBlock(s.Roots[i], j, p); err != nil {
		return fault.New(fault.CodeOf(err), "open block %d of shard %d: %w", j, i, err)
	}
	return DecryptRange(s, i, int64(j)*proof.BlockSize, p)
}
