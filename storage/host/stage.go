package host

import (
	"cmp"
	"fmt"

	"hearth/core/fault"
	"hearth/core/proof"
	"hearth/core/quote"
	"hearth/storage/host/volume"
)

// maxStaged is how many changes of one lease may wait at once: several devices
// stage at the same time, one statement wins.
const maxStaged = 8

// Stage works out the lease's tree after removing and adding shards and keeps
// the change, durably, until a statement carries its root. Added shards must
// have been put under the lease. It returns the new root, and the steps by
// which a client that knows the old root gets there.
func (h *Host) Stage(lease uint64, add, remove []proof.Hash) (root proof.Hash, steps []proof.Step, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("stage change of lease %d: %w", lease, err)
		}
	}()
	if len(add) > proof.MaxSteps || len(remove) > proof.MaxSteps {
		return root, nil, fault.New(fault.TooLarge, "%d shards in, %d out, at most %d are allowed", len(add), len(remove), proof.MaxSteps)
	}
	if len(add) > 0 && h.store.Stats().DiskFull {
		return root, nil, fault.New(fault.DiskFull, "the disk is full; only removals are taken")
	}
	s, err := h.shelf(lease)
	if err != nil {
		return root, nil, err
	}
	defer h.giveBack(s)
	shards, err := h.waiting(s, add)
	if err != nil {
		return root, nil, err
	}
	change, err := s.tree.Stage(shards, remove)
	if err != nil {
		return root, nil, err
	}
	if len(change.Steps) == 0 {
		return s.root, nil, nil
	}
	c := &staged{bytes: change.Bytes, until: h.now() + h.ttl(), change: change}
	for _, step := range change.Steps {
		c.turns = append(c.turns, turn{step.Slot, step.From, step.To})
	}
	worst, err := s.makeRoom(change.Root)
	if err != nil {
		return root, nil, err
	}
	err = h.store.Apply(func(tx *volume.Tx) error {
		for _, t := range c.turns {
			if t.to == (proof.Shard{}) {
				continue
			}
			// Shards wait as long as the change that adds them.
			key := rootKey(keyPending, lease, t.to.Root)
			if b, err := tx.Get(key); err != nil || b == nil {
				return cmp.Or(err, fault.New(fault.NotFound, "shard %x is not here; put it first", t.to.Root[:8]))
			}
			tx.Set(key, waiting{c.until, t.to.Size}.encode())
		}
		if worst != (proof.Hash{}) {
			tx.Delete(rootKey(keyStaged, lease, worst))
		}
		tx.Set(rootKey(keyStaged, lease, change.Root), c.encode())
		return nil
	})
	if err != nil {
		return root, nil, err
	}
	delete(s.staged, worst)
	s.staged[change.Root] = c
	return change.Root, change.Steps, nil
}

// waiting finds the sizes of shards that were put under the lease.
func (h *Host) waiting(s *shelf, roots []proof.Hash) ([]proof.Shard, error) {
	shards := make([]proof.Shard, len(roots))
	for i, root := range roots {
		if slot, there := s.tree.Find(root); there {
			shards[i] = s.tree.Slots()[slot] // for the tree to refuse
			continue
		}
		b, err := h.store.Get(rootKey(keyPending, s.lease, root))
		if err != nil {
			return nil, err
		}
		if b == nil {
			return nil, fault.New(fault.NotFound, "shard %x is not here; put it first", root[:8])
		}
		p, err := parsePending(b)
		if err != nil {
			return nil, err
		}
		shards[i] = proof.Shard{Size: p.size, Root: root}
	}
	return shards, h.sound(shards)
}

// sound refuses shards that can't be read any more.
func (h *Host) sound(shards []proof.Shard) error {
	for _, s := range shards {
		e, err := h.store.Lookup(s.Root)
		if err != nil {
			return err
		}
		if e.Damaged {
			return fault.New(fault.DamagedShard, "shard %x is damaged; put it again", s.Root[:8])
		}
	}
	return nil
}

// makeRoom says which staged change has to go for one with this root; zero: none.
func (s *shelf) makeRoom(root proof.Hash) (worst proof.Hash, err error) {
	if _, there := s.staged[root]; there || len(s.staged) < maxStaged {
		return worst, nil
	}
	for r, c := range s.staged {
		if r != s.promised && (worst == proof.Hash{} || c.until < s.staged[worst].until) {
			worst = r
		}
	}
	if worst == (proof.Hash{}) {
		return worst, fault.New(fault.Busy, "%d changes are staged already", len(s.staged))
	}
	return worst, nil
}

// Covers says whether a change to this root is staged (or made already) and has
// these units, the bytes of all shards. From then on the change is kept until
// the lease's tree changes.
func (h *Host) Covers(lease uint64, units quote.Units, root [32]byte) error {
	s, err := h.shelf(lease)
	if err != nil {
		return err
	}
	defer h.giveBack(s)
	want := normal(root)
	bytes := s.tree.Bytes()
	if want != s.root {
		c := s.staged[want]
		if c == nil {
			return fault.New(fault.Stale, "cover lease %d: no staged change leads to the root %x", lease, want[:8])
		}
		var coming []proof.Shard
		for _, t := range c.turns {
			if t.to != (proof.Shard{}) {
				coming = append(coming, t.to)
			}
		}
		if err := h.sound(coming); err != nil {
			return fmt.Errorf("cover lease %d: %w", lease, err)
		}
		bytes = c.bytes
	}
	if units != (quote.Units{bytes}) {
		return fault.New(fault.BadStatement, "cover lease %d: %d bytes are signed, the shards have %d, and nothing else is reserved", lease, units[0], bytes)
	}
	if want != s.root {
		s.promised = want
	}
	return nil
}

// Commit makes a staged change the truth: a statement that both have signed
// carries its root. Removed shards are freed. To commit again changes nothing.
func (h *Host) Commit(lease uint64, units quote.Units, root [32]byte) error {
	s, err := h.shelf(lease)
	if err != nil {
		return err
	}
	defer h.giveBack(s)
	want := normal(root)
	if want == s.root {
		return nil
	}
	c := s.staged[want]
	if c == nil || c.bytes != units[0] {
		return fault.New(fault.Stale, "commit lease %d: no staged change leads to %d bytes and the root %x", lease, units[0], want[:8])
	}
	return h.commit(s, want, c)
}

func (h *Host) commit(s *shelf, root proof.Hash, c *staged) error {
	next, err := s.after(root, c)
	if err != nil {
		return fmt.Errorf("commit lease %d: %w", s.lease, err)
	}
	var covered int64
	err = h.store.Apply(func(tx *volume.Tx) error {
		covered = 0
		if h.c.Posted {
			remember(tx, s, c)
		}
		for _, t := range c.turns {
			if t.from != (proof.Shard{}) && !h.c.Posted {
				if err := h.release(tx, s.lease, t.from.Root); err != nil {
					return err
				}
			}
			if t.to == (proof.Shard{}) {
				tx.Delete(slotKey(s.lease, t.slot))
				continue
			}
			key := rootKey(keyPending, s.lease, t.to.Root)
			if b, err := tx.Get(key); err != nil {
				return err
			} else if b != nil {
				covered += t.to.Size
				tx.Delete(key)
			}
			tx.Set(needKey(t.to.Root, s.lease), nil)
			tx.Set(slotKey(s.lease, t.slot), encodeShard(t.to))
		}
		for r := range s.staged {
			tx.Delete(rootKey(keyStaged, s.lease, r))
		}
		tx.Set(leaseKey(keyTree, s.lease), signed{root, c.bytes, s.slotsAfter(c)}.encode())
		return nil
	})
	if err != nil {
		return fmt.Errorf("commit lease %d: %w", s.lease, err)
	}
	s.apply(root, c, next)
	h.mu.Lock()
	delete(h.doubt, s.lease)
	h.mu.Unlock()
	h.countPending(s.lease, -covered)
	if h.c.Posted {
		s.lastPast++
		h.countKept(past{turns: c.turns}.removed())
	}
	return nil
}

// release says that a lease doesn't need a shard any more, and frees it when
// nobody else does.
func (h *Host) release(tx *volume.Tx, lease uint64, root proof.Hash) error {
	own := needKey(root, lease)
	tx.Delete(own)
	return h.freeUnneeded(tx, root, own, nil)
}

// Reconcile settles, once after a start, whether a staged change took effect:
// root is that of the lease's newest statement. A change that leads there is
// made, all others are forgotten.
func (h *Host) Reconcile(lease uint64, root [32]byte) error {
	s, err := h.shelf(lease)
	if err != nil {
		return err
	}
	defer h.giveBack(s)
	want := normal(root)
	if c := s.staged[want]; c != nil && want != s.root {
		h.c.Log.Info("staged change is rolled forward", "lease", lease, "root", fmt.Sprintf("%x", want[:8]))
		return h.commit(s, want, c)
	}
	if want != s.root {
		return fault.New(fault.DamagedFile, "reconcile lease %d: the statement has the root %x, here it is %x", lease, want[:8], s.root[:8])
	}
	if len(s.staged) > 0 {
		err := h.store.Apply(func(tx *volume.Tx) error {
			for r := range s.staged {
				tx.Delete(rootKey(keyStaged, lease, r))
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("reconcile lease %d: %w", lease, err)
		}
		s.staged, s.promised = map[proof.Hash]*staged{}, proof.Hash{}
	}
	h.mu.Lock()
	delete(h.doubt, lease)
	h.mu.Unlock()
	return nil
}

// normal gives a lease without shards its one root: the first statements of a
// lease have none yet.
func normal(root [32]byte) proof.Hash {
	if root == ([32]byte{}) {
		return proof.EmptyRoot()
	}
	return root
}
