package chain

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	ics23 "github.com/cosmos/ics23/go"
)

// absent checks that key isn't in an IAVL tree and gives the tree's root. It does
// what ics23's NonExistenceProof.Verify does, and also takes a neighbour with an
// empty value, which ics23 refuses: the bank keeps an index of such entries
// right behind the balances.
func absent(p *ics23.NonExistenceProof, key []byte) (root []byte, err error) {
	switch {
	case p == nil:
		return nil, errors.New("absence is not proved: no proof")
	case p.Left == nil && p.Right == nil: // an empty tree, whose root nothing else can have
		root := sha256.Sum256(nil)
		return root[:], nil
	}
	for _, side := range []*ics23.ExistenceProof{p.Left, p.Right} {
		if side == nil {
			continue
		}
		got, err := leafRoot(side)
		if err != nil {
			return nil, fmt.Errorf("absence is not proved: %w", err)
		}
		if root != nil && !bytes.Equal(root, got) {
			return nil, errors.New("absence is not proved: the neighbours are of two trees")
		}
		root = got
	}
	inner := ics23.IavlSpec.InnerSpec
	switch {
	case p.Left != nil && bytes.Compare(key, p.Left.Key) <= 0, p.Right != nil && bytes.Compare(key, p.Right.Key) >= 0:
		return nil, errors.New("absence is not proved: the neighbours are no neighbours of the key")
	case p.Left == nil && !ics23.IsLeftMost(inner, p.Right.Path),
		p.Right == nil && !ics23.IsRightMost(inner, p.Left.Path),
		p.Left != nil && p.Right != nil && !ics23.IsLeftNeighbor(inner, p.Left.Path, p.Right.Path):
		return nil, errors.New("absence is not proved: something may lie between the neighbours")
	}
	return root, nil
}

// leafRoot computes the root of the IAVL tree that an entry lies in; its value
// may be empty.
func leafRoot(p *ics23.ExistenceProof) ([]byte, error) {
	if err := p.CheckAgainstSpec(ics23.IavlSpec); err != nil {
		return nil, err
	}
	if len(p.Key) == 0 {
		return nil, errors.New("an entry without a key")
	}
	// IAVL's leaf: its prefix, then key and SHA-256 of the value, each behind its length.
	value := sha256.Sum256(p.Value)
	b := append([]byte(nil), p.Leaf.Prefix...)
	b = append(binary.AppendUvarint(b, uint64(len(p.Key))), p.Key...)
	b = append(binary.AppendUvarint(b, uint64(len(value))), value[:]...)
	sum := sha256.Sum256(b)
	at := sum[:]
	for _, step := range p.Path {
		var err error
		if at, err = step.Apply(at); err != nil {
			return nil, err
		}
	}
	return at, nil
}
