package proof_test

import (
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"lukechampine.com/blake3"
	"pgregory.net/rapid"

	"hearth/core/fault"
	"hearth/core/proof"
)

func shard(n uint64, size int64) proof.Shard {
	s := proof.Shard{Size: size}
	binary.BigEndian.PutUint64(s.Root[:], n+1)
	return s
}

// TestLeaseTree plays random changes against a plain map. Beside the host's tree
// stands a client that knows only the root.
func TestLeaseTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tree := proof.NewSumTree(nil)
		known := proof.EmptyRoot()
		model := map[proof.Hash]proof.Shard{}
		var next uint64
		var bytes int64
		t.Repeat(map[string]func(*rapid.T){
			"change": func(t *rapid.T) {
				var add []proof.Shard
				for range rapid.IntRange(0, 20).Draw(t, "add") {
					add = append(add, shard(next, rapid.Int64Range(1, proof.MaxShard).Draw(t, "size")))
					next++
				}
				var remove []proof.Hash
				if len(model) > 0 {
					roots := slices.SortedFunc(maps.Keys(model), func(a, b proof.Hash) int { return slices.Compare(a[:], b[:]) })
					remove = rapid.SliceOfNDistinct(rapid.SampledFrom(roots), 0, min(len(roots), 10), rapid.ID[proof.Hash]).Draw(t, "remove")
				}
				before, _ := tree.Root()
				c, err := tree.Stage(add, remove)
				if err != nil {
					t.Fatal(err)
				}
				if now, _ := tree.Root(); now != before {
					t.Fatal("staging changed the tree")
				}
				steps, err := proof.DecodeSteps(c.EncodeSteps())
				if err != nil {
					t.Fatal(err)
				}
				root, grown, err := proof.FollowExactly(known, steps, add, remove)
				if err != nil || root != c.Root {
					t.Fatalf("client lost the root: %v", err)
				}
				if rapid.Bool().Draw(t, "forget") {
					return
				}
				if err := tree.Apply(c); err != nil {
					t.Fatal(err)
				}
				for _, r := range remove {
					delete(model, r)
				}
				for _, s := range add {
					model[s.Root] = s
				}
				known, bytes = root, bytes+grown
			},
			"reload": func(t *rapid.T) { tree = proof.NewSumTree(slices.Clone(tree.Slots())) },
			"": func(t *rapid.T) {
				root, total := tree.Root()
				var sum uint64
				var size int64
				for r, s := range model {
					sum += s.Leaves()
					size += s.Size
					if slot, ok := tree.Find(r); !ok || tree.Slots()[slot] != s {
						t.Fatalf("shard %x is lost", r[:8])
					}
				}
				if root != known || total != sum || tree.Len() != len(model) || tree.Bytes() != uint64(size) || bytes != size {
					t.Fatalf("root %x total %d bytes %d, want %x %d %d", root, total, tree.Bytes(), known, sum, size)
				}
				if total == 0 {
					return
				}
				n := rapid.Uint64Range(0, total-1).Draw(t, "leaf")
				slot, leaf := tree.Draw(n)
				first, all, err := tree.Prove(slot).Verify(root)
				if err != nil || first+leaf != n || all != total {
					t.Fatalf("leaf %d: slot %d, first %d: %v", n, slot, first, err)
				}
			},
		})
	})
}

func TestStageRefuses(t *testing.T) {
	tree := proof.NewSumTree([]proof.Shard{shard(1, 10), shard(2, 10), {}})
	for name, c := range map[string]struct {
		add    []proof.Shard
		remove []proof.Hash
		want   fault.Code
	}{
		"a shard that is there":      {[]proof.Shard{shard(1, 10)}, nil, fault.Exists},
		"a shard twice":              {[]proof.Shard{shard(7, 10), shard(7, 10)}, nil, fault.Exists},
		"an empty shard":             {[]proof.Shard{shard(7, 0)}, nil, fault.TooLarge},
		"a shard too large":          {[]proof.Shard{shard(7, proof.MaxShard+1)}, nil, fault.TooLarge},
		"to remove what isn't there": {nil, []proof.Hash{shard(7, 1).Root}, fault.NotFound},
		"to remove twice":            {nil, []proof.Hash{shard(1, 1).Root, shard(1, 1).Root}, fault.NotFound},
		"too much at once":           {make([]proof.Shard, proof.MaxSteps+1), nil, fault.TooLarge},
	} {
		if _, err := tree.Stage(c.add, c.remove); fault.CodeOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	a, err := tree.Stage([]proof.Shard{shard(7, 10)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := tree.Stage([]proof.Shard{shard(8, 10)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Apply(a); err != nil {
		t.Fatal(err)
	}
	if err := tree.Apply(b); fault.CodeOf(err) != fault.Stale {
		t.Errorf("a change of an older tree: %v", err)
	}
}

// A client accepts no step but those it asked for, whatever the host changes.
func TestFollowRefuses(t *testing.T) {
	tree := proof.NewSumTree([]proof.Shard{shard(1, 10), shard(2, 4000), shard(3, 10), shard(4, 99)})
	root, _ := tree.Root()
	add, remove := []proof.Shard{shard(7, 10), shard(8, 10)}, []proof.Hash{shard(2, 0).Root}
	staged := func() []proof.Step {
		c, err := tree.Stage(add, remove)
		if err != nil {
			t.Fatal(err)
		}
		return c.Steps
	}
	if _, grown, err := proof.FollowExactly(root, staged(), add, remove); err != nil || grown != 20-4000 {
		t.Fatalf("grown by %d: %v", grown, err)
	}
	for name, spoil := range map[string]func(s []proof.Step) []proof.Step{
		"another shard comes":      func(s []proof.Step) []proof.Step { s[0].To = shard(9, 10); return s },
		"a larger shard comes":     func(s []proof.Step) []proof.Step { s[0].To.Size++; return s },
		"a smaller shard leaves":   func(s []proof.Step) []proof.Step { s[0].From.Size--; return s },
		"another shard leaves":     func(s []proof.Step) []proof.Step { s[0].From = shard(1, 10); return s },
		"another slot":             func(s []proof.Step) []proof.Step { s[0].Slot ^= 2; return s },
		"a sum":                    func(s []proof.Step) []proof.Step { s[0].Siblings[0].Leaves++; return s },
		"a sibling":                func(s []proof.Step) []proof.Step { s[0].Siblings[1].Hash[5] ^= 1; return s },
		"a missing step":           func(s []proof.Step) []proof.Step { return s[:1] },
		"a step twice":             func(s []proof.Step) []proof.Step { return append(s, s[1]) },
		"the order":                func(s []proof.Step) []proof.Step { s[0], s[1] = s[1], s[0]; return s },
		"growth that isn't said":   func(s []proof.Step) []proof.Step { s[1].Grow = false; return s },
		"growth that isn't there":  func(s []proof.Step) []proof.Step { s[0].Grow = true; return s },
		"a neighbour in new slots": func(s []proof.Step) []proof.Step { s[1].Siblings[0] = s[1].Siblings[2]; return s },
	} {
		if _, _, err := proof.FollowExactly(root, spoil(staged()), add, remove); fault.CodeOf(err) != fault.BadStatement {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, err := tree.Stage(add, append(remove, shard(1, 0).Root))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := proof.FollowExactly(root, c.Steps, add, remove); fault.CodeOf(err) != fault.BadStatement {
		t.Errorf("one shard more leaves: %v", err)
	}
	if _, _, err := proof.FollowExactly(root, staged(), add[:1], remove); fault.CodeOf(err) != fault.BadStatement {
		t.Errorf("one shard more comes: %v", err)
	}
}

func TestChallenge(t *testing.T) {
	data := make([][]byte, 100)
	trees := make([]proof.Tree, 100)
	slots := make([]proof.Shard, 100)
	for i := range data {
		data[i] = random(1 + i*7919)
		slots[i].Size = int64(len(data[i]))
		slots[i].Root, trees[i] = proof.Build(data[i])
	}
	tree := proof.NewSumTree(slots)
	root, total := tree.Root()
	for n := uint64(0); n < total; n += 37 {
		slot, leaf := tree.Draw(n)
		off := int64(leaf) * proof.LeafSize
		first := off / proof.BlockSize * proof.BlockSize
		d, path, err := trees[slot].Prove(data[slot][first:min(first+proof.BlockSize, int64(len(data[slot])))], off, proof.LeafSize)
		if err != nil {
			t.Fatal(err)
		}
		a := proof.Answer{Path: tree.Prove(slot), Data: d, Leaf: path}
		if err := a.Verify(root, total, n); err != nil {
			t.Fatal(n, err)
		}
		if a.Verify(root, total, n+1) == nil || a.Verify(root, total+1, n) == nil {
			t.Fatal("answer accepted for another leaf or total")
		}
		a.Path.Shard.Size++
		if err := a.Verify(root, total, n); !errors.Is(err, proof.ErrMismatch) {
			t.Fatal("answer accepted for another size", err)
		}
	}
}

// The nodes of the sum tree can be recomputed with any BLAKE3 that derives keys.
func TestNodesAreDerivedKeys(t *testing.T) {
	derive := func(context string, data []byte) (h proof.Hash) {
		blake3.DeriveKey(h[:], context, data)
		return h
	}
	leaf := func(s proof.Shard) []byte {
		h := derive("hearth/1/lease/shard", append(binary.BigEndian.AppendUint64(nil, uint64(s.Size)), s.Root[:]...))
		return append(binary.BigEndian.AppendUint64(nil, s.Leaves()), h[:]...)
	}
	a, b := shard(1, 5000), shard(2, 1)
	inner := derive("hearth/1/lease/inner", append(leaf(a), leaf(b)...))
	want := derive("hearth/1/lease/root", append(binary.BigEndian.AppendUint64([]byte{1}, 6), inner[:]...))
	if got, total := proof.NewSumTree([]proof.Shard{a, b}).Root(); got != want || total != 6 {
		t.Fatalf("root %x, want %x", got, want)
	}
}

func FuzzDecodeStep(f *testing.F) {
	tree := proof.NewSumTree(nil)
	for i := range uint64(5) {
		c, err := tree.Stage([]proof.Shard{shard(i, 1000)}, nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(c.Steps[0].Encode())
		if err := tree.Apply(c); err != nil {
			f.Fatal(err)
		}
	}
	c, err := tree.Stage(nil, []proof.Hash{shard(2, 1000).Root})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(c.Steps[0].Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := proof.DecodeStep(b)
		if err != nil {
			return
		}
		if string(s.Encode()) != string(b) {
			t.Fatal("another encoding decodes")
		}
		if root, err := proof.Follow(proof.EmptyRoot(), []proof.Step{s}); err == nil && root == proof.EmptyRoot() {
			t.Fatal("a step leads nowhere")
		}
	})
}

func BenchmarkStage(b *testing.B) {
	slots := make([]proof.Shard, 1<<16)
	for i := range slots {
		slots[i] = shard(uint64(i), proof.MaxShard)
	}
	tree := proof.NewSumTree(slots)
	r := rand.New(rand.NewPCG(1, 2))
	n := uint64(len(slots))
	for b.Loop() {
		i := r.IntN(len(slots))
		c, err := tree.Stage([]proof.Shard{shard(n, proof.MaxShard)}, []proof.Hash{tree.Slots()[i].Root})
		if err != nil {
			b.Fatal(err)
		}
		if err := tree.Apply(c); err != nil {
			b.Fatal(err)
		}
		n++
	}
}
