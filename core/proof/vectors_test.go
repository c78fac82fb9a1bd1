package proof_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"hearth/core/proof"
)

type shardVector struct {
	Size int64 `json:",string"`
	Root string
}

func (v shardVector) shard(t *testing.T) proof.Shard {
	return proof.Shard{Size: v.Size, Root: hash(t, v.Root)}
}

func hash(t *testing.T, s string) proof.Hash {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 32 {
		t.Fatalf("%q is no hash: %v", s, err)
	}
	return proof.Hash(b)
}

// The vectors in docs/formats were made by another implementation.
func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("../../docs/formats/testdata/proof.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Empty  string
		Shards []struct {
			Size int
			Root string
		}
		Changes []struct {
			Add    []shardVector
			Remove []string
			Root   string
			Leaves uint64 `json:",string"`
			Steps  []string
		}
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	if proof.EmptyRoot() != hash(t, v.Empty) {
		t.Error("another empty root")
	}
	for _, s := range v.Shards {
		p := make([]byte, s.Size)
		for i := range p {
			p[i] = byte(i + i/251)
		}
		if root, _ := proof.Build(p); root != hash(t, s.Root) {
			t.Errorf("shard of %d bytes: root %x", s.Size, root)
		}
	}
	tree := proof.NewSumTree(nil)
	for i, c := range v.Changes {
		var add []proof.Shard
		for _, s := range c.Add {
			add = append(add, s.shard(t))
		}
		var remove []proof.Hash
		for _, r := range c.Remove {
			remove = append(remove, hash(t, r))
		}
		change, err := tree.Stage(add, remove)
		if err != nil {
			t.Fatal(err)
		}
		if change.Root != hash(t, c.Root) || change.Leaves != c.Leaves || len(change.Steps) != len(c.Steps) {
			t.Errorf("change %d: root %x, %d leaves, %d steps", i, change.Root, change.Leaves, len(change.Steps))
		}
		for j, b := range change.EncodeSteps() {
			if got := hex.EncodeToString(b); got != c.Steps[j] {
				t.Errorf("change %d, step %d: %s", i, j, got)
			}
		}
		if err := tree.Apply(change); err != nil {
			t.Fatal(err)
		}
	}
}
