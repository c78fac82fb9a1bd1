package proof_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"lukechampine.com/blake3"
	"lukechampine.com/blake3/bao"
	"pgregory.net/rapid"

	"hearth/core/proof"
)

func random(n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(p)
	return p
}

var sizes = []int{
	0, 1, 63, 64, 65, 1023, 1024, 1025, 2048, 3000, 16383, 16384, 16385, 100_000,
	proof.BlockSize - 1, proof.BlockSize, proof.BlockSize + 1, 2*proof.BlockSize - 1, 2 * proof.BlockSize,
	2*proof.BlockSize + 1, 3*proof.BlockSize + 1025, 1<<20 + 7, 5*proof.BlockSize - 3, 3_333_333,
	proof.MaxShard - 1, proof.MaxShard,
}

func TestRootIsBLAKE3(t *testing.T) {
	for _, n := range sizes {
		p := random(n)
		root, tree := proof.Build(p)
		if want := proof.Hash(blake3.Sum256(p)); root != want || proof.Sum(p) != want {
			t.Errorf("%d bytes: wrong root", n)
		}
		outboard, baoRoot := bao.EncodeBuf(p, 8, true)
		if proof.Hash(baoRoot) != root {
			t.Errorf("%d bytes: Bao has another root", n)
		}
		for _, b := range tree.Blocks {
			if !bytes.Contains(outboard, b[:]) {
				t.Errorf("%d bytes: Bao has other blocks", n)
			}
		}
	}
}

func TestBlockIsVerifiedAlone(t *testing.T) {
	for _, n := range sizes {
		p := random(n)
		root, built := proof.Build(p)
		tree, err := proof.UnpackTree(int64(n), proof.Pack(built.Blocks))
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Check(root); err != nil {
			t.Fatal(n, err)
		}
		for i := range proof.NumBlocks(int64(n)) {
			block := bytes.Clone(p[i*proof.BlockSize : min((i+1)*proof.BlockSize, n)])
			if err := tree.VerifyBlock(root, i, block); err != nil {
				t.Errorf("%d bytes, block %d: %v", n, i, err)
			}
			if len(block) == 0 {
				continue
			}
			block[len(block)/2] ^= 1
			if err := tree.VerifyBlock(root, i, block); !errors.Is(err, proof.ErrMismatch) {
				t.Errorf("%d bytes, block %d: damage gives %v", n, i, err)
			}
			if err := tree.VerifyBlock(root, i, block[1:]); !errors.Is(err, proof.ErrShape) {
				t.Errorf("%d bytes, block %d: a short block gives %v", n, i, err)
			}
		}
		if len(tree.Blocks) > 0 {
			tree.Blocks[len(tree.Blocks)-1][3] ^= 1
			if err := tree.Check(root); !errors.Is(err, proof.ErrMismatch) {
				t.Errorf("%d bytes: a damaged tree gives %v", n, err)
			}
			tree.Blocks = tree.Blocks[1:]
			if err := tree.Check(root); !errors.Is(err, proof.ErrShape) {
				t.Errorf("%d bytes: a short tree gives %v", n, err)
			}
		}
	}
}

func TestRangeIsProvenFromOneBlock(t *testing.T) {
	type shard struct {
		p    []byte
		root proof.Hash
		tree proof.Tree
	}
	var shards []shard
	for _, n := range sizes {
		s := shard{p: random(n)}
		s.root, s.tree = proof.Build(s.p)
		shards = append(shards, s)
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom(shards).Draw(t, "shard")
		size := s.tree.Size
		off := rapid.Int64Range(0, max(0, size-1)).Draw(t, "off")
		span := int64(proof.LeafSize) << rapid.IntRange(0, 8).Draw(t, "span")
		first := off / proof.BlockSize * proof.BlockSize
		block := s.p[first:min(first+proof.BlockSize, size)]

		data, path, err := s.tree.Prove(block, off, span)
		if err != nil {
			t.Fatal(err)
		}
		if err := proof.Verify(s.root, size, off, span, data, path); err != nil {
			t.Fatal(err)
		}
		lo, n, err := proof.Subtree(size, off, span)
		if err != nil || n != int64(len(data)) || !bytes.Equal(s.p[lo:lo+n], data) {
			t.Fatalf("subtree at %d of %d bytes: %v", lo, n, err)
		}
		if len(data) > 0 {
			bad := bytes.Clone(data)
			bad[rapid.IntRange(0, len(bad)-1).Draw(t, "damage")] ^= 1
			if proof.Verify(s.root, size, off, span, bad, path) == nil {
				t.Fatal("damaged data accepted")
			}
		}
		if len(path) > 0 {
			i := rapid.IntRange(0, len(path)-1).Draw(t, "sibling")
			path[i][0] ^= 1
			if proof.Verify(s.root, size, off, span, data, path) == nil {
				t.Fatal("damaged path accepted")
			}
			path[i][0] ^= 1
			if proof.Verify(s.root, size, off, span, data, path[1:]) == nil {
				t.Fatal("short path accepted")
			}
		}
		if o := off ^ span; o < size && proof.Verify(s.root, size, o, span, data, path) == nil {
			t.Fatal("proof accepted for another place")
		}
	})
}

func TestHashingABlockAllocatesNothing(t *testing.T) {
	block := random(proof.BlockSize)
	for _, n := range []int{proof.BlockSize, proof.BlockSize - 1, 5000, 100} {
		if got := testing.AllocsPerRun(10, func() { proof.BlockHash(block[:n], 3, proof.MaxShard) }); got != 0 {
			t.Errorf("%d bytes: %v allocations", n, got)
		}
	}
}

func FuzzUnpackTree(f *testing.F) {
	_, tree := proof.Build(random(3 * proof.BlockSize))
	f.Add(int64(3*proof.BlockSize), proof.Pack(tree.Blocks))
	f.Add(int64(100), []byte(nil))
	f.Fuzz(func(t *testing.T, size int64, b []byte) {
		tree, err := proof.UnpackTree(size, b)
		if err != nil {
			return
		}
		if !bytes.Equal(proof.Pack(tree.Blocks), b) {
			t.Fatal("another encoding decodes")
		}
		tree.Check(proof.Hash{})
		tree.VerifyBlock(proof.Hash{}, 0, nil)
	})
}

func FuzzVerify(f *testing.F) {
	p := random(3000)
	root, tree := proof.Build(p)
	data, path, _ := tree.Prove(p, 1500, proof.LeafSize)
	f.Add(root[:], int64(3000), int64(1500), int64(proof.LeafSize), data, proof.Pack(path))
	f.Fuzz(func(t *testing.T, root []byte, size, off, span int64, data, packed []byte) {
		path, err := proof.Unpack(packed, 16)
		if err != nil || len(root) != 32 {
			return
		}
		if proof.Verify(proof.Hash(root), size, off, span, data, path) == nil && int64(len(data)) > size {
			t.Fatal("more data than the shard has")
		}
	})
}

func BenchmarkBuild(b *testing.B) {
	p := random(proof.MaxShard)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		proof.Build(p)
	}
}

func BenchmarkVerifyBlock(b *testing.B) {
	p := random(proof.MaxShard)
	root, tree := proof.Build(p)
	b.SetBytes(proof.BlockSize)
	for b.Loop() {
		if err := tree.VerifyBlock(root, 3, p[3*proof.BlockSize:4*proof.BlockSize]); err != nil {
			b.Fatal(err)
		}
	}
}
