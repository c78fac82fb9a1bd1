package proof_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"hearth/core/fault"
	"hearth/core/proof"
)

// answers of a tree of five shards.
func answers(t testing.TB) (root proof.Hash, total uint64, answer func(n uint64) proof.Answer) {
	t.Helper()
	sizes := []int{1, 1024, 300 << 10, 2500, 5000}
	var slots []proof.Shard
	var bodies [][]byte
	var trees []proof.Tree
	for i, size := range sizes {
		b := bytes.Repeat([]byte{byte(i + 1)}, size)
		root, tree := proof.Build(b)
		slots, bodies, trees = append(slots, proof.Shard{Size: int64(size), Root: root}), append(bodies, b), append(trees, tree)
	}
	tree := proof.NewSumTree(slots)
	root, total = tree.Root()
	return root, total, func(n uint64) proof.Answer {
		slot, leaf := tree.Draw(n)
		off := int64(leaf) * proof.LeafSize
		first := off / proof.BlockSize * proof.BlockSize
		block := bodies[slot][first:min(first+proof.BlockSize, int64(sizes[slot]))]
		data, path, err := trees[slot].Prove(block, off, proof.LeafSize)
		if err != nil {
			t.Fatal(err)
		}
		return proof.Answer{Path: tree.Prove(slot), Data: data, Leaf: path}
	}
}

func TestAnswersTravel(t *testing.T) {
	root, total, answer := answers(t)
	for n := uint64(0); n < total; n += 7 {
		a, err := proof.DecodeAnswer(answer(n).Encode())
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Verify(root, total, n); err != nil {
			t.Fatalf("leaf %d: %v", n, err)
		}
	}
	for name, b := range map[string][]byte{
		"too long":      make([]byte, proof.MaxAnswer+1),
		"another major": append([]byte{2}, answer(0).Encode()[1:]...),
		"cut":           answer(0).Encode()[:100],
		"with a tail":   append(answer(0).Encode(), 0),
	} {
		if _, err := proof.DecodeAnswer(b); err == nil {
			t.Error(name, "is read")
		} else if name == "another major" && fault.CodeOf(err) != fault.UnknownFormat {
			t.Error(name, err)
		}
	}
}

// The bytes of one answer, as docs/formats/proof.md has them.
func TestAnswerVector(t *testing.T) {
	_, _, answer := answers(t)
	const want = "01" + "0000000000000000" + "0000000000000001" +
		"48fc721fbbc172e0925fa27af1671de225ba927134802998b10a1568a188652b"
	got := answer(0).Encode()
	if hex.EncodeToString(got[:49]) != want {
		t.Errorf("it begins with %x", got[:49])
	}
	sum := proof.Sum(got)
	if hex.EncodeToString(sum[:]) != "a052c045c18b7ecf41cc79abeb60f1283e9ad2138493343918c24b516117219c" {
		t.Errorf("%d bytes, BLAKE3 %x", len(got), sum)
	}
}

func FuzzDecodeAnswer(f *testing.F) {
	_, _, answer := answers(f)
	f.Add(answer(0).Encode())
	f.Add(answer(9).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := proof.DecodeAnswer(b)
		if err == nil && !bytes.Equal(a.Encode(), b) {
			t.Error("an answer has two forms")
		}
	})
}
