package erasure_test

import (
	"testing"

	"pgregory.net/rapid"

	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/core/proof"
)

func class(t *rapid.T) erasure.Class {
	n := rapid.IntRange(2, erasure.MaxShards).Draw(t, "n")
	return erasure.Class{K: rapid.IntRange(1, n-1).Draw(t, "k"), N: n}
}

func TestParse(t *testing.T) {
	for s, want := range map[string]erasure.Class{
		"10/20": erasure.DefaultClass, "1/2": {K: 1, N: 2}, "63/64": {K: 63, N: 64},
	} {
		if got, err := erasure.Parse(s); err != nil || got != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "10", "10/", "/20", "0/1", "3/3", "4/3", "10/65", "-1/4", "+1/4", "01/4", "1/ 4", "1/4/5", "a/b", "1/100000000000"} {
		if _, err := erasure.Parse(s); fault.CodeOf(err) != fault.BadRequest {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestShardsHoldTheSlabWithLittlePadding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := class(t)
		size := rapid.Int64Range(1, c.SlabSize()).Draw(t, "size")
		shard := c.ShardSize(size)
		k := int64(c.K)
		if shard*k < size || shard*k >= size+k*(erasure.Align+1) || shard%erasure.Align != 0 || shard > erasure.MaxShard {
			t.Fatalf("%s, %d bytes: shards of %d", c, size, shard)
		}
		off := rapid.Int64Range(0, size-1).Draw(t, "off")
		if i, at := c.Locate(shard, off); i >= c.K || at >= shard || int64(i)*shard+at != off {
			t.Fatalf("byte %d lies in shard %d at %d", off, i, at)
		}
	})
	if c := erasure.DefaultClass; c.ShardSize(c.SlabSize()) != proof.MaxShard || erasure.MaxShard != proof.MaxShard {
		t.Error("a full slab's shards are not the largest that a proof takes")
	}
}

func TestThresholds(t *testing.T) {
	if got := erasure.DefaultClass.Enough(); got != 15 {
		t.Errorf("10/20 is stored with %d shards", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		c := class(t)
		if e := c.Enough(); e <= c.K || e > c.N {
			t.Fatalf("%s: enough %d", c, e)
		}
		back, err := erasure.Parse(c.String())
		if err != nil || back != c {
			t.Fatalf("%s comes back as %s: %v", c, back, err)
		}
		if n := c.Slabs(c.SlabSize()); n != 1 || c.Slabs(c.SlabSize()+1) != 2 || c.Slabs(0) != 0 {
			t.Fatal("slabs are not counted")
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("10/20")
	f.Add("1/2/3")
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := erasure.Parse(s); err == nil && c.String() != s {
			t.Fatalf("%q reads as %s", s, c)
		}
	})
}
