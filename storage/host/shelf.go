package host

import (
	"encoding/binary"
	"fmt"
	"sync"

	"hearth/core/fault"
	"hearth/core/proof"
)

// A shelf is what one lease has here, in memory. It is loaded when it is used
// and forgotten when others need the room.
type shelf struct {
	lease uint64

	mu       sync.Mutex // held by who uses the shelf
	tree     *proof.SumTree
	root     proof.Hash // of tree
	staged   map[proof.Hash]*staged
	promised proof.Hash // the staged change that the market may be signing; zero: none
	lastPast uint64     // number of the newest change that the ledger may not have; 0: none yet
	dead     bool       // the lease was dropped while somebody waited for the shelf

	users int   // who holds the shelf or waits for it; under Host.mu
	used  int64 // when it was given back, by Host.clock
	slots int   // of Host.slots
}

// shelf gives a lease's shelf, locked; the caller gives it back.
func (h *Host) shelf(lease uint64) (*shelf, error) {
	h.mu.Lock()
	if h.ending[lease] {
		h.mu.Unlock()
		return nil, fault.New(fault.LeaseClosed, "lease %d has ended", lease)
	}
	s := h.shelves[lease]
	if s == nil {
		s = &shelf{lease: lease}
		h.shelves[lease] = s
	}
	s.users++
	h.mu.Unlock()
	s.mu.Lock()
	if s.dead {
		h.giveBack(s)
		return nil, fault.New(fault.LeaseClosed, "lease %d has ended", lease)
	}
	if s.tree == nil {
		if err := h.load(s); err != nil {
			h.giveBack(s)
			return nil, fmt.Errorf("load lease %d: %w", lease, err)
		}
	}
	return s, nil
}

// giveBack unlocks a shelf and forgets those that were used least lately when
// there are too many slots in memory.
func (h *Host) giveBack(s *shelf) {
	slots := 0
	if s.tree != nil {
		slots = len(s.tree.Slots()) + 1
	}
	s.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock++
	s.used = h.clock
	s.users--
	if h.shelves[s.lease] != s {
		return // dropped meanwhile
	}
	h.slots += slots - s.slots
	s.slots = slots
	for h.slots > h.c.Trees {
		var oldest *shelf
		for _, o := range h.shelves {
			if o.users == 0 && o.promised == (proof.Hash{}) && (oldest == nil || o.used < oldest.used) {
				oldest = o
			}
		}
		if oldest == nil {
			return
		}
		h.forget(oldest)
	}
}

// forget takes a shelf out of memory. The caller holds h.mu.
func (h *Host) forget(s *shelf) {
	if h.shelves[s.lease] == s {
		delete(h.shelves, s.lease)
		h.slots -= s.slots
	}
}

// load reads a lease's tree and its staged changes.
func (h *Host) load(s *shelf) error {
	meta := signed{root: proof.EmptyRoot()}
	b, err := h.store.Get(leaseKey(keyTree, s.lease))
	if err != nil {
		return err
	}
	if b != nil {
		if meta, err = parseSigned(b); err != nil {
			return err
		}
	}
	slots := make([]proof.Shard, meta.slots)
	err = h.store.Each(leaseKey(keySlot, s.lease), func(key, value []byte) error {
		if len(key) != 17 {
			return bad("key", key)
		}
		slot := binary.BigEndian.Uint64(key[9:])
		if slot >= meta.slots {
			return bad("slot", key)
		}
		slots[slot], err = parseShard(value)
		return err
	})
	if err != nil {
		return err
	}
	tree := proof.NewSumTree(slots)
	if root, _ := tree.Root(); root != meta.root || tree.Bytes() != meta.bytes {
		return fault.New(fault.DamagedFile, "its shards give the root %x, signed is %x", root[:8], meta.root[:8])
	}
	changes := map[proof.Hash]*staged{}
	err = h.store.Each(leaseKey(keyStaged, s.lease), func(key, value []byte) error {
		_, root, err := splitLeaseRoot(key)
		if err == nil {
			changes[root], err = parseStaged(value)
		}
		return err
	})
	if err != nil {
		return err
	}
	var last uint64
	err = h.store.Each(leaseKey(keyPast, s.lease), func(key, _ []byte) error {
		_, last, err = splitPast(key)
		return err
	})
	if err != nil {
		return err
	}
	s.tree, s.root, s.staged, s.lastPast = tree, meta.root, changes, last
	return nil
}

// after is the tree that a staged change leads to; nil: the tree at hand knows
// the change and makes it itself.
func (s *shelf) after(root proof.Hash, c *staged) (*proof.SumTree, error) {
	if c.change != nil {
		return nil, nil
	}
	slots := append([]proof.Shard(nil), s.tree.Slots()...)
	for _, t := range c.turns {
		for uint64(len(slots)) <= t.slot {
			slots = append(slots, proof.Shard{})
		}
		slots[t.slot] = t.to
	}
	tree := proof.NewSumTree(slots)
	if got, _ := tree.Root(); got != root {
		return nil, fault.New(fault.DamagedFile, "the staged change leads to the root %x, not %x", got[:8], root[:8])
	}
	return tree, nil
}

// apply makes a staged change in memory; it is durable already.
func (s *shelf) apply(root proof.Hash, c *staged, next *proof.SumTree) {
	s.root, s.staged, s.promised = root, map[proof.Hash]*staged{}, proof.Hash{}
	switch {
	case next != nil:
		s.tree = next
	case s.tree.Apply(c.change) != nil:
		s.tree = nil // to be loaded as it is on disk
	}
}

// slotsAfter is how many slots the tree has after a change.
func (s *shelf) slotsAfter(c *staged) uint64 {
	n := uint64(len(s.tree.Slots()))
	for _, t := range c.turns {
		n = max(n, t.slot+1)
	}
	return n
}
