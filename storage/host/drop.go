package host

import (
	"errors"
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
		var freed int64
		err = h.store.Apply(func(tx *volume.Tx) (err error) {
			more, freed, err = h.dropSome(tx, lease)
			return err
		})
		h.countKept(-freed)
	}
	return err
}

// dropSome frees some of a lease's shards, or ends the dropping when none are
// left. It says how much of that was kept for the ledger's root.
func (h *Host) dropSome(tx *volume.Tx, lease uint64) (more bool, kept int64, err error) {
	if some, kept, err := h.dropPast(tx, lease); some || err != nil {
		return some, kept, err
	}
	left := dropAtOnce
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
			return h.release(tx, lease, root)
		})
		if err != nil && left > 0 {
			return false, 0, err
		}
		if left == 0 {
			return true, 0, nil
		}
	}
	err = tx.Each(leaseKey(keyRevoked, lease), func(key, _ []byte) error {
		tx.Delete(append([]byte(nil), key...))
		return nil
	})
	if err != nil {
		return false, 0, err
	}
	err = tx.Each(leaseKey(keyStaged, lease), func(key, _ []byte) error {
		tx.Delete(append([]byte(nil), key...))
		return nil
	})
	if err == nil {
		err = dropPointers(tx, lease)
	}
	tx.Delete(leaseKey(keyTree, lease))
	tx.Delete(leaseKey(keyEnding, lease))
	return false, 0, err
}

// errEnough ends a walk: the transaction is long enough.
var errEnough = errors.New("enough for one transaction")

// dropPast frees what only past trees of a lease needed, and says whether there
// was something. It comes first, in transactions of its own: a transaction
// doesn't see what it has written itself.
func (h *Host) dropPast(tx *volume.Tx, lease uint64) (some bool, kept int64, err error) {
	var numbers []uint64
	turns := 0
	err = tx.Each(leaseKey(keyPast, lease), func(key, value []byte) error {
		p, err := parsePast(value)
		if err != nil {
			return err
		}
		if turns += len(p.turns); turns > forgetAtOnce && len(numbers) > 0 {
			return errEnough
		}
		_, number, err := splitPast(key)
		numbers = append(numbers, number)
		return err
	})
	if err != nil && !errors.Is(err, errEnough) {
		return false, 0, err
	}
	for _, number := range numbers {
		n, err := h.forgetOne(tx, lease, number)
		if err != nil {
			return false, 0, err
		}
		kept += n
	}
	return len(numbers) > 0, kept, nil
}
