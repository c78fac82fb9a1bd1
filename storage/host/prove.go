package host

import (
	"fmt"

	"hearth/core/fault"
	"hearth/core/proof"
)

// Prove answers a challenge: leaf number n of the lease's tree, which must have
// this root. A damaged shard can't be proven: the error has the code
// damaged_shard, and the lease is to be confessed as lost.
func (h *Host) Prove(lease uint64, root [32]byte, n uint64) (proof.Answer, error) {
	s, err := h.shelf(lease)
	if err != nil {
		return proof.Answer{}, err
	}
	want := normal(root)
	_, total := s.tree.Root()
	if want != s.root || n >= total {
		defer h.giveBack(s)
		return proof.Answer{}, fault.New(fault.Stale, "prove leaf %d of lease %d under the root %x: here it is %x with %d leaves", n, lease, want[:8], s.root[:8], total)
	}
	slot, leaf := s.tree.Draw(n)
	path := s.tree.Prove(slot)
	h.giveBack(s)
	data, hashes, _, err := h.Range(path.Shard.Root, int64(leaf)*proof.LeafSize, proof.LeafSize, nil)
	if err != nil {
		return proof.Answer{}, fmt.Errorf("prove leaf %d of lease %d: %w", n, lease, err)
	}
	return proof.Answer{Path: path, Data: data, Leaf: hashes}, nil
}

// Range reads the aligned subtree of span bytes that holds offset off, with the
// path that proves it. allow, unless nil, is asked once the bytes are known to be
// good, before they are handed out, and told how many there are. The caller owns the data.
func (h *Host) Range(root proof.Hash, off, span int64, allow func(n int64) error) (data []byte, path []proof.Hash, size int64, err error) {
	e, err := h.store.Lookup(root)
	if err != nil {
		return nil, nil, 0, err
	}
	_, n, err := proof.Subtree(e.Size, off, span)
	if err != nil {
		return nil, nil, 0, fault.New(fault.BadRequest, "read shard %x: offset %d, span %d: %w", root[:8], off, span, err)
	}
	tree, err := h.store.Tree(e)
	if err != nil {
		return nil, nil, 0, err
	}
	buf := h.store.Buffer()
	defer h.store.Release(buf)
	block, err := h.store.Block(e, int(off/proof.BlockSize), *buf)
	if err != nil {
		return nil, nil, 0, err
	}
	if allow != nil {
		if err := allow(n); err != nil {
			return nil, nil, 0, err
		}
	}
	part, path, err := tree.Prove(block, off, span)
	if err != nil {
		return nil, nil, 0, fmt.Errorf("prove range of shard %x: %w", root[:8], err)
	}
	return append([]byte(nil), part...), path, e.Size, nil
}
