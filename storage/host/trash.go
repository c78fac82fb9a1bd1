package host

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"hearth/core/proof"
	"hearth/storage/host/volume"
)

// Trash is what nobody needs any more, no lease and no root on the ledger. It stays
// for Config.Trash while there is room; it can be read meanwhile, and whoever puts
// a shard that is in it finds it here already.

func trashKey(root proof.Hash) []byte { return append([]byte{keyTrash}, root[:]...) }

// discard is called when nobody needs a shard any more.
func (h *Host) discard(tx *volume.Tx, root proof.Hash) error {
	if h.c.Trash == 0 {
		return tx.Free(root)
	}
	e, there, err := tx.Lookup(root)
	if err != nil || !there {
		return err
	}
	tx.Set(trashKey(root), waiting{h.now() + int64(h.c.Trash/time.Second), e.Size}.encode())
	tx.Then(func() { h.countTrash(e.Size) })
	return nil
}

// untrash is called when somebody begins to need a shard.
func (h *Host) untrash(tx *volume.Tx, root proof.Hash) error {
	b, err := tx.Get(trashKey(root))
	if err != nil || b == nil {
		return err
	}
	w, err := parsePending(b)
	if err != nil {
		return err
	}
	tx.Delete(trashKey(root))
	tx.Then(func() { h.countTrash(-w.size) })
	return nil
}

func (h *Host) countTrash(by int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trash += by
}

const (
	trashOnce = 1 << 16 // entries looked at in one go
	trashPage = 16      // of them that go before their time, before room is looked at again
)

// thrown is one entry of the trash.
type thrown struct {
	root proof.Hash
	waiting
}

// EmptyTrash frees what has been there long enough and, the oldest first, as much
// more as makes room for so many bytes.
func (h *Host) EmptyTrash(room int64) error {
	h.emptying.Lock()
	defer h.emptying.Unlock()
	now := h.now()
	var all []thrown
	err := h.store.Each([]byte{keyTrash}, func(key, value []byte) error {
		if len(key) != 33 {
			return bad("key", key)
		}
		w, err := parsePending(value)
		if err == nil && len(all) < trashOnce && (room > 0 || w.until < now) {
			all = append(all, thrown{proof.Hash(key[1:]), w})
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("empty trash: %w", err)
	}
	slices.SortFunc(all, func(a, b thrown) int { return cmp.Compare(a.until, b.until) })
	for len(all) > 0 {
		n := slices.IndexFunc(all, func(t thrown) bool { return t.until >= now })
		switch {
		case n < 0:
			n = len(all)
		case n == 0 && !h.short(room):
			return nil
		case n == 0:
			n = trashPage
		}
		n = min(n, dropAtOnce, len(all))
		if err := h.throwAway(all[:n]); err != nil {
			return fmt.Errorf("empty trash: %w", err)
		}
		all = all[n:]
	}
	return nil
}

// throwAway frees what is still in the trash.
func (h *Host) throwAway(list []thrown) error {
	return h.store.Apply(func(tx *volume.Tx) error {
		for _, t := range list {
			b, err := tx.Get(trashKey(t.root))
			if err != nil {
				return err
			}
			if b == nil {
				continue // somebody needs it again
			}
			tx.Delete(trashKey(t.root))
			if err := tx.Free(t.root); err != nil {
				return err
			}
			tx.Then(func() { h.countTrash(-t.size) })
		}
		return nil
	})
}

// short says whether there is no room for so many bytes.
func (h *Host) short(room int64) bool {
	s := h.store.Stats()
	return room > 0 && (s.DiskFull || s.Capacity-s.Used-s.Waste < room)
}

// margin is what a shard needs beside its bytes, and what several that come at
// once do.
const margin = 16 << 10

// makeWay empties trash and has volumes compacted where a shard has no room.
func (h *Host) makeWay(size int64) {
	if !h.short(size + margin) {
		return
	}
	if err := h.EmptyTrash(size + margin); err != nil {
		h.c.Log.Warn("make room", "err", err)
	}
	if h.short(size + margin) {
		select {
		case h.tidy <- struct{}{}:
		default:
		}
	}
}

// compactNowAndThen gives the room of volumes back that are mostly holes.
func (h *Host) compactNowAndThen(ctx context.Context) {
	t := time.NewTicker(10 * time.Minute)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-h.tidy:
		}
		moved, err := h.store.Compact(ctx, h.slowly)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			h.c.Log.Warn("compact volumes", "err", err)
		case moved > 0:
			h.c.Log.Info("volumes are compacted", "bytes", moved)
		}
	}
}

// slowly waits as long as so many bytes may take in the background.
func (h *Host) slowly(ctx context.Context, bytes int64) error {
	return pause(ctx, time.Duration(float64(bytes)/float64(h.c.Pace)*float64(time.Second)))
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(min(d, math.MaxInt64/2))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
