package chain

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"testing"

	ics23 "github.com/cosmos/ics23/go"
)

// A pair is an IAVL tree of two entries, with the proofs of both.
type pair struct{ left, right *ics23.ExistenceProof }

func newPair(leftKey, leftValue, rightKey, rightValue string) pair {
	leaf := func(key, value string) (*ics23.ExistenceProof, []byte) {
		op := *ics23.IavlSpec.LeafSpec
		op.Prefix = []byte{0, 2, 2} // height 0, size 1, version 1
		sum := sha256.Sum256([]byte(value))
		b := append([]byte(nil), op.Prefix...)
		b = append(binary.AppendUvarint(b, uint64(len(key))), key...)
		b = append(append(b, 32), sum[:]...)
		hash := sha256.Sum256(b)
		return &ics23.ExistenceProof{Key: []byte(key), Value: []byte(value), Leaf: &op}, hash[:]
	}
	left, leftHash := leaf(leftKey, leftValue)
	right, rightHash := leaf(rightKey, rightValue)
	node := []byte{2, 4, 2, 32} // height 1, size 2, version 1, and the length of a hash
	left.Path = []*ics23.InnerOp{{Hash: ics23.HashOp_SHA256, Prefix: node, Suffix: append([]byte{32}, rightHash...)}}
	right.Path = []*ics23.InnerOp{{Hash: ics23.HashOp_SHA256, Prefix: append(append(append([]byte(nil), node...), leftHash...), 32)}}
	return pair{left, right}
}

func TestAbsenceNeedsNeighbours(t *testing.T) {
	p := newPair("b", "1", "d", "") // the second has an empty value, as an index does
	other := newPair("b", "2", "d", "")
	// ics23's own arithmetic agrees about the root.
	want, err := p.left.Calculate()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name        string
		left, right *ics23.ExistenceProof
		key         string
		ok          bool
	}{
		{"between", p.left, p.right, "c", true},
		{"before all", nil, p.left, "a", true},
		{"behind all, beside an empty value", p.right, nil, "e", true},
		{"it is there", p.left, p.right, "b", false},
		{"it is there, with an empty value", p.left, p.right, "d", false},
		{"something may lie before", nil, p.right, "c", false},
		{"something may lie behind", p.left, nil, "c", false},
		{"the neighbours of another key", p.left, p.right, "e", false},
		{"the wrong way round", p.right, p.left, "c", false},
		{"of two trees", p.left, other.right, "c", false},
	} {
		root, err := absent(&ics23.NonExistenceProof{Key: []byte(tt.key), Left: tt.left, Right: tt.right}, []byte(tt.key))
		if (err == nil) != tt.ok || tt.ok && string(root) != string(want) {
			t.Errorf("%s: %x, %v", tt.name, root, err)
		}
	}
	nothing := sha256.Sum256(nil)
	if root, err := absent(&ics23.NonExistenceProof{Key: []byte("c")}, []byte("c")); err != nil || !bytes.Equal(root, nothing[:]) {
		t.Errorf("an empty tree: %x, %v", root, err)
	}
	if _, err := absent(nil, []byte("c")); err == nil {
		t.Error("no proof at all is taken for one")
	}
	// Another kind of leaf, or a node given out for one.
	for name, spoil := range map[string]func(*ics23.ExistenceProof){
		"no key":           func(e *ics23.ExistenceProof) { e.Key = nil },
		"no leaf":          func(e *ics23.ExistenceProof) { e.Leaf = nil },
		"a node as a leaf": func(e *ics23.ExistenceProof) { e.Leaf.Prefix = []byte{2, 4, 2, 32} },
		"another hash":     func(e *ics23.ExistenceProof) { e.Leaf.Hash = ics23.HashOp_SHA512 },
		"no hash of value": func(e *ics23.ExistenceProof) { e.Leaf.PrehashValue = ics23.HashOp_NO_HASH },
		"a leaf as a node": func(e *ics23.ExistenceProof) { e.Path[0].Prefix = []byte{0, 2, 2, 32} },
	} {
		p := newPair("b", "1", "d", "")
		spoil(p.left)
		if _, err := absent(&ics23.NonExistenceProof{Left: p.left, Right: p.right}, []byte("c")); err == nil {
			t.Errorf("%s: taken for a proof", name)
		}
	}
}
