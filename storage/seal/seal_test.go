package seal_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/klauspost/reedsolomon"
	"pgregory.net/rapid"

	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/core/proof"
	"hearth/storage/seal"
)

// span lists the whole numbers from a to b-1.
func span(a, b int) []int {
	list := make([]int, 0, b-a)
	for i := a; i < b; i++ {
		list = append(list, i)
	}
	return list
}

func random(n int64) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(p)
	return p
}

var keys = seal.Keys{Key: [32]byte{1}, MaskKey: [32]byte{2}}

// sealed gives a buffer with a sealed slab of size bytes, and copies of its shards.
func sealed(t testing.TB, c erasure.Class, size int64, workers int) (*seal.Buffer, seal.Slab, [][]byte) {
	buf, err := seal.NewBuffer(c)
	if err != nil {
		t.Fatal(err)
	}
	rand.NewChaCha8([32]byte{9}).Read(buf.Data()[:min(4<<20, c.SlabSize())]) // what an earlier slab has left
	copy(buf.Data(), random(size))
	s, err := seal.Seal(buf, size, keys, workers)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	shards := make([][]byte, c.N)
	for i := range shards {
		shards[i] = bytes.Clone(buf.Shard(i))
	}
	return buf, s, shards
}

func fill(t testing.TB, buf *seal.Buffer, s seal.Slab, shards [][]byte, have []int) {
	if err := buf.Fit(s); err != nil {
		t.Fatal(err)
	}
	for i := range shards {
		clear(buf.Shard(i))
	}
	for _, i := range have {
		copy(buf.Shard(i), shards[i])
	}
}

var small = []int64{1, 63, 64, 65, 5000, 100_000, 4 * proof.BlockSize, 4*proof.BlockSize + 1, 3_000_001}

// Any K shards give the slab back, and give every other shard back without the key.
func TestAnyKShardsAreEnough(t *testing.T) {
	type sample struct {
		buf    *seal.Buffer
		slab   seal.Slab
		shards [][]byte
	}
	var samples []sample
	for _, c := range []erasure.Class{{K: 4, N: 8}, {K: 1, N: 3}, {K: 10, N: 20}, {K: 12, N: 24}} {
		for _, size := range small {
			buf, s, shards := sealed(t, c, min(size, c.SlabSize()), 2)
			samples = append(samples, sample{buf, s, shards})
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SampledFrom(samples).Draw(t, "slab")
		c := x.slab.Class
		order := rapid.Permutation(span(0, c.N)).Draw(t, "order")
		n := rapid.IntRange(c.K, c.N-1).Draw(t, "have")
		have, want := order[:n], order[n:]
		workers := rapid.IntRange(1, 3).Draw(t, "workers")
		fill := func() {
			if err := x.buf.Fit(x.slab); err != nil {
				t.Fatal(err)
			}
			for i := range c.N {
				clear(x.buf.Shard(i))
			}
			for _, i := range have {
				copy(x.buf.Shard(i), x.shards[i])
			}
		}
		fill()
		blind := x.slab
		blind.Key = [32]byte{}
		if err := seal.Rebuild(x.buf, blind, have, want, workers); err != nil {
			t.Fatal(err)
		}
		for i, shard := range x.shards {
			if !bytes.Equal(x.buf.Shard(i), shard) {
				t.Fatalf("shard %d differs after the rebuild", i)
			}
		}
		fill()
		if err := seal.Open(x.buf, x.slab, have, workers); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(x.buf.Data()[:x.slab.Size], random(x.slab.Size)) {
			t.Fatal("another slab comes back")
		}
	})
}

func TestAFullSlabComesBack(t *testing.T) {
	c := erasure.DefaultClass
	size := c.SlabSize() - 12345
	buf, s, shards := sealed(t, c, size, 2)
	have := span(5, 15)
	fill(t, buf, s, shards, have)
	if err := seal.Open(buf, s, have, 2); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(buf.Data()[:size], random(size)) {
		t.Fatal("another slab comes back")
	}
}

func TestRootsAreThoseOfTheShards(t *testing.T) {
	for _, size := range small {
		_, s, shards := sealed(t, erasure.Class{K: 4, N: 8}, size, 2)
		seen := map[proof.Hash]bool{}
		for i, shard := range shards {
			if int64(len(shard)) != s.ShardSize || proof.Sum(shard) != s.Roots[i] {
				t.Errorf("%d bytes, shard %d: wrong root", size, i)
			}
			seen[s.Roots[i]] = true
		}
		if len(seen) != 8 {
			t.Errorf("%d bytes: two shards are the same", size)
		}
	}
}

// Columns open from their own blocks alone, whichever K shards there are.
func TestColumnsOpenAlone(t *testing.T) {
	c := erasure.Class{K: 4, N: 8}
	buf, s, shards := sealed(t, c, 3_000_001, 2)
	plain := make([]byte, int64(c.K)*s.ShardSize)
	copy(plain, random(s.Size))
	columns := proof.NumBlocks(s.ShardSize)
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.IntRange(0, columns).Draw(t, "first")
		count := rapid.IntRange(0, columns-first).Draw(t, "count")
		have := rapid.Permutation(span(0, c.N)).Draw(t, "order")[:c.K]
		if err := buf.Fit(s); err != nil {
			t.Fatal(err)
		}
		from, to := int64(first)*proof.BlockSize, min(int64(first+count)*proof.BlockSize, s.ShardSize)
		from = min(from, to)
		for i := range c.N {
			clear(buf.Shard(i))
		}
		for _, i := range have {
			copy(buf.Shard(i)[from:to], shards[i][from:to])
		}
		if err := seal.OpenColumns(buf, s, have, first, count, 2); err != nil {
			t.Fatal(err)
		}
		for i := range c.K {
			want := plain[int64(i)*s.ShardSize:][from:to]
			if !bytes.Equal(buf.Shard(i)[from:to], want) {
				t.Fatalf("shard %d differs in columns %d+%d", i, first, count)
			}
		}
	})
	for _, bad := range [][2]int{{-1, 1}, {0, -1}, {0, columns + 1}, {columns, 1}, {1 << 62, 1 << 62}} {
		if err := seal.OpenColumns(buf, s, span(0, c.K), bad[0], bad[1], 1); fault.CodeOf(err) != fault.BadRequest {
			t.Errorf("columns %v: %v", bad, err)
		}
	}
}

func TestWorkersDontMatter(t *testing.T) {
	_, a, _ := sealed(t, erasure.Class{K: 4, N: 8}, 3_000_001, 1)
	_, b, _ := sealed(t, erasure.Class{K: 4, N: 8}, 3_000_001, 7)
	for i := range a.Roots {
		if a.Roots[i] != b.Roots[i] {
			t.Fatalf("shard %d", i)
		}
	}
}

// A small read touches one data shard and opens alone, wherever it begins.
func TestRangeOpensAlone(t *testing.T) {
	_, s, shards := sealed(t, erasure.Class{K: 4, N: 8}, 3_000_001, 2)
	plain := random(s.Size)
	rapid.Check(t, func(t *rapid.T) {
		off := rapid.Int64Range(0, s.Size-1).Draw(t, "off")
		i, at := s.Class.Locate(s.ShardSize, off)
		n := rapid.Int64Range(0, min(s.ShardSize-at, s.Size-off, 70_000)).Draw(t, "n")
		p := bytes.Clone(shards[i][at : at+n])
		if err := seal.DecryptRange(s, i, at, p); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p, plain[off:off+n]) {
			t.Fatalf("%d bytes at %d differ", n, off)
		}
	})
	for _, bad := range []struct {
		i   int
		off int64
		n   int64
	}{{-1, 0, 1}, {4, 0, 1}, {0, -1, 1}, {0, 0, s.ShardSize + 1}, {0, s.ShardSize + 1, 0}} {
		if err := seal.DecryptRange(s, bad.i, bad.off, make([]byte, bad.n)); fault.CodeOf(err) != fault.BadRequest {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestBlocksOpenAsTheyArrive(t *testing.T) {
	_, s, shards := sealed(t, erasure.Class{K: 4, N: 8}, 3_000_001, 2)
	var out []byte
	for i := range s.Class.K {
		_, tree := proof.Build(shards[i])
		if err := tree.Check(s.Roots[i]); err != nil {
			t.Fatal(err)
		}
		for j := range proof.NumBlocks(s.ShardSize) {
			p := bytes.Clone(shards[i][j*proof.BlockSize : min((j+1)*proof.BlockSize, len(shards[i]))])
			p[7] ^= 1
			if err := seal.OpenBlock(s, tree, i, j, p); !errors.Is(err, proof.ErrMismatch) || fault.CodeOf(err) != fault.DamagedShard {
				t.Fatalf("a damaged block: %v", err)
			}
			p[7] ^= 1
			if err := seal.OpenBlock(s, tree, i, j, p); err != nil {
				t.Fatal(err)
			}
			out = append(out, p...)
		}
	}
	if !bytes.Equal(out[:s.Size], random(s.Size)) {
		t.Fatal("another slab comes back")
	}
}

// K shards of one owner are no use without the mask key: what they code to is
// not what the others hold.
func TestMaskHidesTheCode(t *testing.T) {
	buf, s, shards := sealed(t, erasure.Class{K: 4, N: 8}, 100_000, 1)
	fill(t, buf, s, shards, span(0, 4))
	stranger := s
	stranger.MaskKey = [32]byte{3}
	if err := seal.Rebuild(buf, stranger, span(0, 4), span(4, 8), 1); fault.CodeOf(err) != fault.DamagedShard {
		t.Errorf("rebuilt with another mask key: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	c := erasure.Class{K: 4, N: 8}
	buf, s, shards := sealed(t, c, 100_000, 1)
	for _, size := range []int64{-1, 0, c.SlabSize() + 1} {
		other, err := seal.NewBuffer(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := seal.Seal(other, size, keys, 1); fault.CodeOf(err) != fault.BadRequest {
			t.Errorf("seal %d bytes: %v", size, err)
		}
	}
	fill(t, buf, s, shards, span(0, 8))
	for name, err := range map[string]error{
		"a shard twice":       seal.Open(buf, s, []int{0, 1, 2, 2}, 1),
		"no such shard":       seal.Open(buf, s, []int{0, 1, 2, 8}, 1),
		"want what is there":  seal.Rebuild(buf, s, span(0, 5), []int{4}, 1),
		"want what can't be":  seal.Rebuild(buf, s, span(0, 4), []int{-1}, 1),
		"want the same twice": seal.Rebuild(buf, s, span(0, 4), []int{5, 5}, 1),
		"another shape": func() error {
			other := s
			other.ShardSize += 64
			return seal.Open(buf, other, span(0, 4), 1)
		}(),
	} {
		if fault.CodeOf(err) != fault.BadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := seal.Open(buf, s, span(1, 4), 1); fault.CodeOf(err) != fault.NotEnoughShards {
		t.Errorf("three of four: %v", err)
	}
	buf.Shard(2)[99] ^= 1
	if err := seal.Rebuild(buf, s, span(0, 4), span(4, 8), 1); fault.CodeOf(err) != fault.DamagedShard {
		t.Errorf("rebuilt from a damaged shard: %v", err)
	}
	if _, err := seal.NewBuffer(erasure.Class{K: 3, N: 3}); fault.CodeOf(err) != fault.BadRequest {
		t.Errorf("a code without spares: %v", err)
	}
	for name, spoil := range map[string]func(*seal.Slab){
		"no class":      func(s *seal.Slab) { s.Class.K = 0 },
		"no bytes":      func(s *seal.Slab) { s.Size = 0 },
		"too many":      func(s *seal.Slab) { s.Size = 4*s.ShardSize + 1 },
		"no shards":     func(s *seal.Slab) { s.ShardSize = 0 },
		"uneven shards": func(s *seal.Slab) { s.ShardSize++ },
		"long shards":   func(s *seal.Slab) { s.ShardSize = proof.MaxShard + 64 },
		"few roots":     func(s *seal.Slab) { s.Roots = s.Roots[1:] },
	} {
		other := s
		spoil(&other)
		if buf.Fit(other) == nil || seal.Open(buf, other, span(0, 4), 1) == nil || seal.DecryptRange(other, 0, 0, nil) == nil {
			t.Errorf("a slab with %s is accepted", name)
		}
	}
}

func TestPoolLendsSoManyAndNoMore(t *testing.T) {
	p, err := seal.NewPool(erasure.Class{K: 1, N: 2}, 2)
	if err != nil {
		t.Fatal(err)
	}
	a, err := p.Get(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err = p.Get(context.Background()); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := p.Get(gone); !errors.Is(err, context.Canceled) {
		t.Fatalf("a third buffer: %v", err)
	}
	p.Put(a)
	if b, err := p.Get(context.Background()); err != nil || b != a {
		t.Fatalf("the buffer given back isn't lent again: %v", err)
	}
}

func TestARestingPoolKeepsWhatIsLent(t *testing.T) {
	p, err := seal.NewPool(erasure.Class{K: 1, N: 2}, 2)
	if err != nil {
		t.Fatal(err)
	}
	lent, err := p.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	idle, err := p.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lent.Data()[5], idle.Data()[5] = 1, 1
	p.Put(idle)
	p.Rest()
	p.Rest()
	if lent.Data()[5] != 1 {
		t.Error("a buffer in use was emptied")
	}
	again, err := p.Get(t.Context())
	if err != nil || again != idle {
		t.Fatalf("the buffer that waited isn't lent: %v", err)
	}
	again.Data()[5] = 7
	if again.Data()[5] != 7 || len(again.Data()) != len(lent.Data()) {
		t.Error("the buffer that waited can't be used")
	}
	p.Put(again)
	p.Put(lent)
}

// One that is lent over and over doesn't keep the others from resting.
func TestWhatCameBackLastIsLentFirst(t *testing.T) {
	p, err := seal.NewPool(erasure.Class{K: 1, N: 2}, 3)
	if err != nil {
		t.Fatal(err)
	}
	var all [3]*seal.Buffer
	for i := range all {
		if all[i], err = p.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		all[i].Data()[5] = 1
	}
	for _, b := range all {
		p.Put(b)
	}
	for range 3 {
		b, err := p.Get(t.Context())
		if err != nil || b != all[2] {
			t.Fatalf("another one is lent: %v", err)
		}
		p.Put(b)
		p.Rest()
	}
	if all[2].Data()[5] != 1 {
		t.Error("the one in use was emptied")
	}
	if runtime.GOOS == "linux" && (all[0].Data()[5] != 0 || all[1].Data()[5] != 0) {
		t.Error("those that waited kept their memory")
	}
}

// Whatever shape a manifest claims, opening ends in an error or a slab, no panic.
func FuzzOpen(f *testing.F) {
	c := erasure.Class{K: 2, N: 4}
	buf, err := seal.NewBuffer(c)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(int64(100), int64(64), 2, 4, 4, []byte{0, 1})
	f.Add(int64(600_000), int64(300_032), 2, 4, 4, []byte{3, 1, 2})
	f.Add(int64(1<<40), int64(-64), 200, 1, 0, []byte{255})
	f.Fuzz(func(t *testing.T, size, shard int64, k, n, roots int, have []byte) {
		s := seal.Slab{Size: size, ShardSize: shard, Class: erasure.Class{K: k, N: n}, Roots: make([]proof.Hash, roots&0xff)}
		list := make([]int, len(have))
		for i, h := range have {
			list[i] = int(int8(h))
		}
		seal.DecryptRange(s, len(have), shard/2, have)
		if buf.Fit(s) != nil {
			return
		}
		if err := seal.Open(buf, s, list, 1); err == nil && len(list) < c.K {
			t.Fatal("opened with too few shards")
		}
		seal.Rebuild(buf, s, list, span(0, 4), 1)
	})
}

// One owner under twelve names has enough shards to code with. What they code to
// is none of the shards that the others hold, whichever of the twelve are used.
func TestOneOwnerUnderManyNamesCantRegenerateTheRest(t *testing.T) {
	c := erasure.Class{K: 10, N: 20}
	_, s, shards := sealed(t, c, 500_000, 2)
	rs, err := reedsolomon.New(c.K, c.N-c.K)
	if err != nil {
		t.Fatal(err)
	}
	for _, own := range [][]int{span(0, 12), span(8, 20), {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 1, 3}} {
		coded := make([][]byte, c.N)
		for _, i := range own {
			coded[i] = bytes.Clone(shards[i])
		}
		if err := rs.Reconstruct(coded); err != nil {
			t.Fatal(err)
		}
		for i := range coded {
			root, _ := proof.Build(coded[i])
			if held := slices.Contains(own, i); held != (root == s.Roots[i]) {
				t.Errorf("of %v, shard %d: it has the root that counts: %v", own, i, !held)
			}
		}
	}
}

// A steward knows the shape and the mask, and neither the key nor how long the
// plaintext is.
func TestAStewardRebuildsWithTheMaskAlone(t *testing.T) {
	c := erasure.Class{K: 4, N: 8}
	buf, s, shards := sealed(t, c, 100_001, 1)
	blind := seal.Slab{Size: int64(c.K) * s.ShardSize, ShardSize: s.ShardSize, Class: c, MaskKey: s.MaskKey, Roots: s.Roots}
	fill(t, buf, blind, shards, []int{7, 1, 4, 2})
	if err := seal.Rebuild(buf, blind, []int{7, 1, 4, 2}, []int{0, 6}, 1); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 1, 2, 4, 6, 7} {
		if !bytes.Equal(buf.Shard(i), shards[i]) {
			t.Errorf("shard %d differs", i)
		}
	}
	fill(t, buf, blind, shards, span(0, 4))
	if err := seal.Open(buf, blind, span(0, 4), 1); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(buf.Data()[:100_001], random(100_001)) {
		t.Error("it reads the plaintext")
	}
}
