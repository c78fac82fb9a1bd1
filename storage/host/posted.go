package host

import (
	"encoding/binary"
	"fmt"
	"slices"

	"hearth/core/canon"
	"hearth/core/fault"
	"hearth/core/proof"
	"hearth/storage/host/volume"
)

// What a host proves is what the ledger has: the root that was posted last. Its
// newest tree is often ahead of that, and a client may post any statement in
// between. So a host that proves (Config.Posted) keeps, for each lease, every
// change since the posted tree, and every shard that one of them removed, until
// Posted says that the ledger has gone on.

// A past is a change that the ledger may not know yet: the tree before it, and
// what it did. The changes of a lease are numbered without a gap.
type past struct {
	root  proof.Hash // of the tree before the change
	slots uint64     // how many it had
	turns []turn
}

func (p past) encode() []byte {
	return writeTurns(canon.New(1).Fixed(p.root[:]).Uint64(p.slots), p.turns).Bytes()
}

func parsePast(b []byte) (past, error) {
	r := canon.Read(b, 1)
	var p past
	r.Fixed(p.root[:])
	p.slots = r.Uint64()
	var ok bool
	if p.turns, ok = readTurns(r); !ok || p.slots > maxSlots {
		return past{}, bad("past change", b)
	}
	return p, nil
}

// removed is how many bytes of shards the change took out of the tree.
func (p past) removed() (n int64) {
	for _, t := range p.turns {
		n += t.from.Size
	}
	return n
}

func pastKey(lease, number uint64) []byte {
	return binary.BigEndian.AppendUint64(leaseKey(keyPast, lease), number)
}

func splitPast(key []byte) (lease, number uint64, err error) {
	if len(key) != 17 {
		return 0, 0, bad("key", key)
	}
	return binary.BigEndian.Uint64(key[1:]), binary.BigEndian.Uint64(key[9:]), nil
}

func keptKey(root proof.Hash, lease uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte{keyKept}, root[:]...), lease)
}

// eachPast calls fn with the changes of a lease that are kept, oldest first.
func (h *Host) eachPast(lease uint64, fn func(number uint64, p past) error) error {
	return h.store.Each(leaseKey(keyPast, lease), func(key, value []byte) error {
		_, number, err := splitPast(key)
		if err != nil {
			return err
		}
		p, err := parsePast(value)
		if err != nil {
			return err
		}
		return fn(number, p)
	})
}

// remember keeps a change that is being committed: shards that leave the tree
// stay for the trees before it.
func remember(tx *volume.Tx, s *shelf, c *staged) {
	number := s.lastPast + 1
	slots := uint64(len(s.tree.Slots()))
	tx.Set(pastKey(s.lease, number), past{s.root, slots, c.turns}.encode())
	for _, t := range c.turns {
		if t.from != (proof.Shard{}) {
			tx.Delete(needKey(t.from.Root, s.lease))
			tx.Set(keptKey(t.from.Root, s.lease), binary.BigEndian.AppendUint64(nil, number))
		}
	}
}

// Posted says which root the ledger has for a lease now. What no tree since then
// needs is freed. newest says that no statement of the lease is newer than the
// posted one; it counts only if root is the tree's that is kept here.
func (h *Host) Posted(lease uint64, root [32]byte, newest bool) error {
	s, err := h.shelf(lease)
	if err != nil {
		return err
	}
	defer h.giveBack(s)
	want := normal(root)
	// The oldest tree with this root counts: the same one may have come twice, and
	// the client may still post what lies between.
	found, turns := false, 0
	var over [][]uint64 // changes before the posted tree, as many as one transaction takes
	err = h.eachPast(lease, func(number uint64, p past) error {
		if found = found || p.root == want && !(newest && want == s.root); found {
			return nil
		}
		if turns += len(p.turns); over == nil || turns > forgetAtOnce {
			over, turns = append(over, nil), len(p.turns)
		}
		over[len(over)-1] = append(over[len(over)-1], number)
		return nil
	})
	if err != nil {
		return fmt.Errorf("posted root of lease %d: %w", lease, err)
	}
	if !found && want != s.root {
		return fault.New(fault.NotFound, "posted root of lease %d: no tree here has the root %x", lease, want[:8])
	}
	for _, some := range over {
		if err := h.forgetPast(s, some); err != nil {
			return fmt.Errorf("forget changes of lease %d: %w", lease, err)
		}
	}
	return nil
}

// forgetAtOnce is how many slots' changes one transaction forgets.
const forgetAtOnce = 4 * proof.MaxSteps

// forgetPast drops the oldest of the kept changes and frees what only they needed.
func (h *Host) forgetPast(s *shelf, numbers []uint64) error {
	var freed int64
	err := h.store.Apply(func(tx *volume.Tx) error {
		freed = 0
		for _, number := range numbers {
			n, err := h.forgetOne(tx, s.lease, number)
			if err != nil {
				return err
			}
			freed += n
		}
		return nil
	})
	if err == nil {
		h.countKept(-freed)
	}
	return err
}

func (h *Host) forgetOne(tx *volume.Tx, lease, number uint64) (removed int64, err error) {
	key := pastKey(lease, number)
	b, err := tx.Get(key)
	if err != nil || b == nil {
		return 0, err
	}
	p, err := parsePast(b)
	if err != nil {
		return 0, err
	}
	tx.Delete(key)
	for _, t := range p.turns {
		if t.from == (proof.Shard{}) {
			continue
		}
		kept := keptKey(t.from.Root, lease)
		last, err := tx.Get(kept)
		if err != nil {
			return 0, err
		}
		if len(last) != 8 || binary.BigEndian.Uint64(last) != number {
			continue // a later change needs it as well
		}
		tx.Delete(kept)
		if err := h.freeUnneeded(tx, t.from.Root, nil, kept); err != nil {
			return 0, err
		}
	}
	return p.removed(), nil
}

func (h *Host) countKept(by int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.kept += by
}

// freeUnneeded frees a shard unless a key other than these two asks for it.
func (h *Host) freeUnneeded(tx *volume.Tx, root proof.Hash, need, kept []byte) error {
	needed := false
	look := func(prefix, own []byte) error {
		return tx.Each(prefix, func(key, _ []byte) error {
			needed = needed || string(key) != string(own)
			return nil
		})
	}
	if err := look(needsKey(root), need); err != nil {
		return err
	}
	if err := look(append([]byte{keyKept}, root[:]...), kept); err != nil || needed {
		return err
	}
	return h.discard(tx, root)
}

// treeOf is a lease's tree with this root: the newest one, or one of those that
// the ledger may still go by. The tree is not for changing.
func (h *Host) treeOf(s *shelf, want proof.Hash) (*proof.SumTree, error) {
	if want == s.root {
		return s.tree, nil
	}
	type change struct {
		number uint64
		past
	}
	var changes []change
	err := h.eachPast(s.lease, func(number uint64, p past) error {
		changes = append(changes, change{number, p})
		return nil
	})
	if err != nil {
		return nil, err
	}
	slots := slices.Clone(s.tree.Slots())
	for i := len(changes) - 1; i >= 0; i-- {
		c := changes[i]
		for j := len(c.turns) - 1; j >= 0; j-- {
			t := c.turns[j]
			if t.slot >= uint64(len(slots)) {
				return nil, fault.New(fault.DamagedFile, "undo change %d: slot %d of %d", c.number, t.slot, len(slots))
			}
			slots[t.slot] = t.from
		}
		if c.slots > uint64(len(slots)) {
			return nil, fault.New(fault.DamagedFile, "undo change %d: %d slots of %d", c.number, c.slots, len(slots))
		}
		slots = slots[:c.slots]
		if c.root != want {
			continue
		}
		tree := proof.NewSumTree(slots)
		if root, _ := tree.Root(); root != want {
			return nil, fault.New(fault.DamagedFile, "undo change %d: it leads to the root %x, not %x", c.number, root[:8], want[:8])
		}
		return tree, nil
	}
	return nil, fault.New(fault.Stale, "lease %d has the root %x; no tree with the root %x is kept", s.lease, s.root[:8], want[:8])
}

// Behind lists the leases of which changes are kept.
func (h *Host) Behind() (leases []uint64, err error) {
	err = h.store.Each([]byte{keyPast}, func(key, _ []byte) error {
		lease, _, err := splitPast(key)
		if n := len(leases); err == nil && (n == 0 || leases[n-1] != lease) {
			leases = append(leases, lease)
		}
		return err
	})
	return leases, err
}

// Share says how many of a lease's bytes lie in these shards.
func (h *Host) Share(lease uint64, roots []proof.Hash) (of, all uint64, err error) {
	s, err := h.shelf(lease)
	if err != nil {
		return 0, 0, err
	}
	defer h.giveBack(s)
	for _, root := range roots {
		if slot, ok := s.tree.Find(root); ok {
			of += uint64(s.tree.Slots()[slot].Size)
		}
	}
	return of, s.tree.Bytes(), nil
}
