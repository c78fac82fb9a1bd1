package host

import (
	"fmt"

	"hearth/core/proof"
	"hearth/storage/host/volume"
)

// dropAtOnce is how many shards one transaction of Drop frees.
const dropAtOnce = 512

// Drop frees all that a lease has here: it has ended. A lease that is unknown
// has nothing. What a crash interrupts goes on at the next start.
func (h *Host) Drop(lease uint64) error {
	h.mu.Lock()
	h.ending[lease] = true
	s := h.shelves[lease]
	if s != nil {
		h.forget(s)
	}
	h.mu.Unlock()
	if s != nil {
		s.mu.Lock() // whoever was at work on it has finished
		s.dead = true
		s.mu.Unlock()
	}
	if err := h.drop(lease); err != nil {
		return fmt.Errorf("drop lease %d: %w", lease, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.ending, lease)
	delete(h.doubt, lease)
	delete(h.pending, lease)
	return nil
}

func (h *Host) drop(lease uint64) error {
	err := h.store.Apply(func(tx *volume.Tx) error {
		tx.Set(leaseKey(keyEnding, lease), nil)
		return nil
	})
	for more := true; more && err == nil; {
		err = h.store.Apply(func(tx *volume.Tx) (err error) {
			more, err = dropSome(tx, lease)
			return err
		})
	}
	return err
}

// dropSome frees some of a lease's shards, or ends the dropping when none are left.
func dropSome(tx *volume.Tx, lease uint64) (more bool, err error) {
	left := dropAtOnce
	errEnough := fmt.Errorf("enough for one transaction")
	for _, kind := range []byte{keyPending, keySlot} {
		err := tx.Each(leaseKey(kind, lease), func(key, value []byte) error {
			if left == 0 {
				return errEnough
			}
			left--
			var root proof.Hash
			if kind == keyPending {
				var err error
				if _, root, err = splitLeaseRoot(key); err != nil {
					return err
				}
			} else {
				s, err := parseShard(value)
				if err != nil {
					return err
				}
				root = s.Root
			}
			tx.Delete(append([]byte(nil), key...))
			return release(tx, lease, root)
		})
		if err != nil && left > 0 {
			return false, err
		}
		if left == 0 {
			return true, nil
		}
	}
	err = tx.Each(leaseKey(keyStaged, lease), func(key, _ []byte) error {
		tx.Delete(append([]byte(nil), key...))
		return nil
	})
	tx.Delete(leaseKey(keyTree, lease))
	tx.Delete(leaseKey(keyEnding, lease))
	return false, err
}
