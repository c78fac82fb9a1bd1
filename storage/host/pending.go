package host

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"time"

	"hearth/core/fault"
	"hearth/core/proof"
	"hearth/storage/host/volume"
)

func (h *Host) ttl() int64 { return max(1, int64(h.c.PendingTTL/time.Second)) }

// Put reads a shard from r and returns when it is durable. It waits there for
// the statement that covers it, PendingTTL at most.
func (h *Host) Put(lease uint64, root proof.Hash, size int64, r io.Reader) error {
	if size <= 0 || size > proof.MaxShard {
		return fault.New(fault.TooLarge, "put shard %x: %d bytes, 1 to %d are allowed", root[:8], size, int64(proof.MaxShard))
	}
	if err := h.admit(lease, size); err != nil {
		return err
	}
	added := false
	h.makeWay(size)
	err := h.store.Receive(root, size, lease, r, func(tx *volume.Tx) error {
		ended, err := tx.Get(leaseKey(keyEnding, lease))
		if err != nil {
			return err
		}
		if ended != nil {
			return fault.New(fault.LeaseClosed, "put shard %x: lease %d has ended", root[:8], lease)
		}
		need, err := tx.Get(needKey(root, lease))
		if err != nil {
			return err
		}
		pending, err := tx.Get(rootKey(keyPending, lease, root))
		if err != nil {
			return err
		}
		if need != nil && pending == nil {
			return nil // in the tree already; this may have healed it
		}
		added = pending == nil
		if err := h.untrash(tx, root); err != nil {
			return err
		}
		tx.Set(needKey(root, lease), nil)
		tx.Set(rootKey(keyPending, lease, root), waiting{h.now() + h.ttl(), size}.encode())
		return nil
	})
	if err != nil || !added {
		h.countPending(lease, -size)
	}
	if err == nil {
		h.received.Add(size)
	}
	return err
}

// admit counts a shard as pending, before it is received.
func (h *Host) admit(lease uint64, size int64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ending[lease] {
		return fault.New(fault.LeaseClosed, "put shard: lease %d has ended", lease)
	}
	if h.pending[lease]+size > h.c.MaxPending {
		return fault.New(fault.Busy, "put shard: %d bytes of lease %d wait for a statement, at most %d may", h.pending[lease], lease, h.c.MaxPending)
	}
	h.pending[lease] += size
	return nil
}

func (h *Host) countPending(lease uint64, by int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pending[lease] += by; h.pending[lease] <= 0 {
		delete(h.pending, lease)
	}
}

// Held says which of these shards the lease has here, undamaged and durable.
func (h *Host) Held(lease uint64, roots []proof.Hash) ([]bool, error) {
	held := make([]bool, len(roots))
	err := h.store.Apply(func(tx *volume.Tx) error { // so that what it sees is durable
		for i, root := range roots {
			need, err := tx.Get(needKey(root, lease))
			if err != nil {
				return err
			}
			if need == nil {
				continue
			}
			e, there, err := tx.Lookup(root)
			if err != nil {
				return err
			}
			held[i] = there && !e.Damaged
		}
		return nil
	})
	return held, err
}

// adopt gives shards that a rebuilt index has found to the lease that put them
// first; they stay until it ends.
func (h *Host) adopt() error {
	return h.store.Adopt(func(tx *volume.Tx, lease uint64, e volume.Entry) error {
		tx.Set(needKey(e.Root, lease), nil)
		tx.Set(rootKey(keyPending, lease, e.Root), waiting{math.MaxInt64, e.Size}.encode())
		return nil
	})
}

// sweepNowAndThen drops what has waited too long.
func (h *Host) sweepNowAndThen(ctx context.Context) {
	t := time.NewTicker(max(time.Second, min(h.c.PendingTTL/8, cmp.Or(h.c.Trash/8, time.Minute), 10*time.Minute)))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if err := h.Sweep(); err != nil {
				h.c.Log.Warn("sweep pending shards", "err", err)
			}
			if err := h.EmptyTrash(0); err != nil {
				h.c.Log.Warn("empty trash", "err", err)
			}
		}
	}
}

// Sweep drops shards, and staged changes, that no statement has covered in
// time. It runs by itself now and then.
func (h *Host) Sweep() error {
	now := h.now()
	late := map[uint64]bool{}
	for _, kind := range []byte{keyPending, keyStaged} {
		err := h.store.Each([]byte{kind}, func(key, value []byte) error {
			lease, _, err := splitLeaseRoot(key)
			if err != nil {
				return err
			}
			var until int64
			if kind == keyPending {
				p, e := parsePending(value)
				until, err = p.until, e
			} else if c, e := parseStaged(value); e == nil {
				until = c.until
			} else {
				err = e
			}
			if until < now {
				late[lease] = true
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
	}
	for lease := range late {
		h.mu.Lock()
		wait := h.doubt[lease] || h.ending[lease]
		h.mu.Unlock()
		if wait {
			continue // its newest statement may carry what is staged
		}
		if err := h.sweep(lease, now); err != nil {
			return fmt.Errorf("sweep lease %d: %w", lease, err)
		}
	}
	return nil
}

func (h *Host) sweep(lease uint64, now int64) error {
	s, err := h.shelf(lease)
	if err != nil {
		return err
	}
	defer h.giveBack(s)
	keep := map[proof.Hash]bool{}
	var old []proof.Hash
	for root, c := range s.staged {
		if c.until < now && root != s.promised {
			old = append(old, root)
			continue
		}
		for _, t := range c.turns {
			keep[t.to.Root] = true
		}
	}
	var dropped int64
	err = h.store.Apply(func(tx *volume.Tx) error {
		dropped = 0
		for _, root := range old {
			tx.Delete(rootKey(keyStaged, lease, root))
		}
		return tx.Each(leaseKey(keyPending, lease), func(key, value []byte) error {
			_, root, err := splitLeaseRoot(key)
			if err != nil {
				return err
			}
			p, err := parsePending(value)
			if err != nil || p.until >= now || keep[root] {
				return err
			}
			dropped += p.size
			tx.Delete(rootKey(keyPending, lease, root))
			return h.release(tx, lease, root)
		})
	})
	if err != nil {
		return err
	}
	for _, root := range old {
		delete(s.staged, root)
	}
	h.countPending(lease, -dropped)
	return nil
}
