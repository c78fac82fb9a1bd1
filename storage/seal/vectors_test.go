package seal_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"hearth/core/erasure"
	"hearth/storage/seal"
)

// The vectors in docs/formats were made by another implementation.
func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("../../docs/formats/testdata/slab.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Name, Key string
		K, N      int
		Size      int64  `json:",string"`
		ShardSize int64  `json:"shard_size,string"`
		MaskKey   string `json:"mask_key"`
		Roots     []string
	}
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		buf, err := seal.NewBuffer(erasure.Class{K: v.K, N: v.N})
		if err != nil {
			t.Fatal(err)
		}
		for i := range buf.Data()[:v.Size] {
			buf.Data()[i] = byte(i + i/251)
		}
		s, err := seal.Seal(buf, v.Size, seal.Keys{Key: key(t, v.Key), MaskKey: key(t, v.MaskKey)}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if s.ShardSize != v.ShardSize {
			t.Errorf("%s: shards of %d bytes", v.Name, s.ShardSize)
		}
		for i, r := range s.Roots {
			if got := hex.EncodeToString(r[:]); got != v.Roots[i] {
				t.Errorf("%s: shard %d has root %s", v.Name, i, got)
			}
		}
	}
}

func key(t *testing.T, s string) [32]byte {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 32 {
		t.Fatalf("%q is no key: %v", s, err)
	}
	return [32]byte(b)
}
