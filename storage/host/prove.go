package host

import (
	"fmt"

	"hearth/core/fault"
	"hearth/core/proof"
)

// Prove answers a challenge: leaf number n of the lease's tree with this root,
// the newest one or one that the ledger may still go by. A damaged shard can't be
// proven: the error has the code damaged_shard, and the lease is to be confessed
// as lost.
func (h *Host) Prove(lease uint64, root [32]byte, n uint64) (proof.Answer, error) {
	return h.ProveDraw(lease, root, func(total uint64) (uint64, error) {
		if n >= total {
			return 0, fault.New(fault.Stale, "leaf %d of %d", n, total)
		}
		return n, nil
	})
}

// ProveDraw is Prove for a leaf that draw names, once it is told how many leaves
// the tree has.
func (h *Host) ProveDraw(lease uint64, root [32]byte, draw func(total uint64) (uint64, error)) (proof.Answer, error) {
	what := func(err error) (proof.Answer, error) {
		return proof.Answer{}, fmt.Errorf("prove lease %d under the root %x: %w", lease, root[:8], err)
	}
	s, err := h.shelf(lease)
	if err != nil {
		return what(err)
	}
	tree, err := h.treeOf(s, normal(root))
	if err != nil {
		h.giveBack(s)
		return what(err)
	}
	_, total := tree.Root()
	n, err := draw(total)
	if err != nil {
		h.giveBack(s)
		return what(err)
	}
	slot, leaf := tree.Draw(n)
	path := tree.Prove(slot)
	h.giveBack(s)
	data, hashes, _, err := h.Range(path.Shard.Root, int64(leaf)*proof.LeafSize, proof.LeafSize, nil)
	if err != nil {
		return what(fmt.Errorf("leaf %d of %d: %w", n, total, err))
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
