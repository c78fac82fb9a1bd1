package index

import (
	"context"

	"hearth/core/fault"
)

// A Missing is a slab of which shards have no place yet.
type Missing struct {
	Slab   SlabID
	Shards []int
	Tries  int // how often it was tried in vain
}

// A Removal is a shard to be removed from its host.
type Removal struct {
	Shard
	Tries int
}

// Pending lists slabs with shards to be placed whose time has come, at most limit.
func (x *Index) Pending(ctx context.Context, now int64, limit int) ([]Missing, error) {
	var out []Missing
	err := x.view(ctx, func(t *tx) error {
		return t.each(`SELECT slab, shard, tries, sum FROM pending WHERE slab IN
			(SELECT DISTINCT slab FROM pending WHERE next <= ? ORDER BY next LIMIT ?) ORDER BY slab, shard`, []any{now, limit},
			func(scan func(...any) error) error {
				var id, sum []byte
				var shard, tries int
				if err := scan(&id, &shard, &tries, &sum); err != nil {
					return err
				}
				if err := verify(sum, "pending", id, int64(shard)); err != nil {
					return err
				}
				if len(id) != len(SlabID{}) {
					return fault.New(fault.DamagedIndex, "a slab's name has %d bytes", len(id))
				}
				if n := len(out); n == 0 || out[n-1].Slab != SlabID(id) {
					out = append(out, Missing{Slab: SlabID(id)})
				}
				m := &out[len(out)-1]
				m.Shards, m.Tries = append(m.Shards, shard), max(m.Tries, tries)
				return nil
			})
	})
	return out, failed("list pending shards", err)
}

// PostponePending counts a try in vain; the next is due at unix second next.
func (x *Index) PostponePending(ctx context.Context, id SlabID, next int64) error {
	err := x.w.do(ctx, func(t *tx) error {
		return t.exec(`UPDATE pending SET tries = tries + 1, next = ? WHERE slab = ?`, next, id[:])
	})
	return failed("postpone slab "+id.String(), err)
}

// At lists slabs that have a shard under a lease, at most limit.
func (x *Index) At(ctx context.Context, p Place, limit int) (map[SlabID][]int, error) {
	out := make(map[SlabID][]int)
	err := x.view(ctx, func(t *tx) error {
		// Not those of which another device has told the places and not yet the slab.
		return t.each(`SELECT slab, shard FROM placements WHERE host = (SELECT id FROM hosts WHERE address = ?) AND lease = ?
			AND slab IN (SELECT id FROM slabs WHERE length(body) > 0) LIMIT ?`, []any{p.Host, int64(p.Lease), limit},
			func(scan func(...any) error) error {
				var id []byte
				var shard int
				if err := scan(&id, &shard); err != nil {
					return err
				}
				if len(id) != len(SlabID{}) {
					return fault.New(fault.DamagedIndex, "a slab's name has %d bytes", len(id))
				}
				out[SlabID(id)] = append(out[SlabID(id)], shard)
				return nil
			})
	})
	return out, failed("list shards at "+p.Host, err)
}

// Lose says that shards of a slab are gone from their places: they are pending
// from now on. What their hosts may still hold of them is to be removed.
func (x *Index) Lose(ctx context.Context, id SlabID, shards []int) error {
	err := x.w.do(ctx, func(t *tx) error {
		s, err := t.slab(id)
		if err != nil {
			return err
		}
		for _, i := range shards {
			if i < 0 || i >= len(s.At) || s.At[i] == (Place{}) {
				continue
			}
			if err := t.remove(Shard{s.At[i], s.Roots[i], s.ShardSize}, x.c.Now().Unix()); err != nil {
				return err
			}
			if err := t.place(id, i, Place{}); err != nil {
				return err
			}
			if err := t.await(id, i, x.c.Now().Unix()); err != nil {
				return err
			}
		}
		return nil
	})
	return failed("lose shards of slab "+id.String(), err)
}

// Repaired ends a repair: the shards lie at their new places now. Those of a
// slab that was removed meanwhile, and those intended in vain, are to be removed.
func (x *Index) Repaired(ctx context.Context, upload int64, id SlabID, at map[int]Place) error {
	err := x.w.do(ctx, func(t *tx) error {
		if err := x.hasBegun(upload); err != nil {
			return err
		}
		s, err := t.slab(id)
		if fault.CodeOf(err) == fault.NotFound {
			return t.endUpload(upload, x.c.Now())
		}
		if err != nil {
			return err
		}
		for i, p := range at {
			if i < 0 || i >= len(s.At) {
				return fault.New(fault.BadRequest, "there is no shard %d", i)
			}
			if old := s.At[i]; old != (Place{}) && old != p {
				if err := t.remove(Shard{old, s.Roots[i], s.ShardSize}, x.c.Now().Unix()); err != nil {
					return err
				}
			}
			if err := t.place(id, i, p); err != nil {
				return err
			}
			if err := t.keep(id, i, Shard{p, s.Roots[i], s.ShardSize}); err != nil {
				return err
			}
		}
		return t.endUpload(upload, x.c.Now())
	})
	if err == nil {
		x.hasEnded(upload)
	}
	return failed("repair slab "+id.String(), err)
}

// Discard has a shard removed from a host that others say lies there, unless it is
// wanted there: a slab has it at that place, or an upload brings it. Where other
// devices may yet tell of such a slab, they are waited for.
func (x *Index) Discard(ctx context.Context, s Shard) (removed bool, err error) {
	err = x.w.do(ctx, func(t *tx) error {
		removed = false
		host, err := t.host(s.Host)
		if err != nil {
			return err
		}
		if wanted, err := t.wanted(host, s); err != nil || wanted {
			return err
		}
		removed = true
		return t.remove(s, x.c.Now().Unix()+x.grace.Load())
	})
	return removed, failed("discard a shard at "+s.Host, err)
}

func (t *tx) wanted(host int64, s Shard) (wanted bool, err error) {
	_, err = t.row(`SELECT EXISTS (SELECT 1 FROM intents WHERE host = ? AND lease = ? AND root = ?)`, []any{host, int64(s.Lease), s.Root[:]}, &wanted)
	if err != nil || wanted {
		return wanted, err
	}
	err = t.each(`SELECT p.shard, s.body FROM placements p JOIN slabs s ON s.id = p.slab WHERE p.host = ? AND p.lease = ? AND length(s.body) > 0`,
		[]any{host, int64(s.Lease)}, func(scan func(...any) error) error {
			var shard int
			var body []byte
			if err := scan(&shard, &body); err != nil {
				return err
			}
			sealed, err := DecodeSlab(body)
			wanted = wanted || err == nil && shard < len(sealed.Roots) && sealed.Roots[shard] == s.Root
			return err
		})
	return wanted, err
}

// Removals lists removals whose time has come, at most limit, those at one lease
// together.
func (x *Index) Removals(ctx context.Context, now int64, limit int) ([]Removal, error) {
	if err := x.sweep(ctx, now); err != nil {
		return nil, err
	}
	if err := x.prune(ctx); err != nil {
		return nil, err
	}
	var out []Removal
	err := x.view(ctx, func(t *tx) error {
		return t.each(`SELECT h.id, h.address, h.sum, r.lease, r.root, r.size, r.tries, r.sum FROM removals r
			JOIN hosts h ON h.id = r.host WHERE r.next <= ? ORDER BY r.host, r.lease LIMIT ?`, []any{now, limit},
			func(scan func(...any) error) error {
				var r Removal
				var host, lease int64
				var root, hostSum, sum []byte
				if err := scan(&host, &r.Host, &hostSum, &lease, &root, &r.Size, &r.Tries, &sum); err != nil {
					return err
				}
				if err := verify(sum, "shards", host, lease, root, r.Size); err != nil {
					return err
				}
				if err := verify(hostSum, "hosts", host, r.Host); err != nil {
					return err
				}
				if len(root) != len(r.Root) {
					return fault.New(fault.DamagedIndex, "a root has %d bytes", len(root))
				}
				r.Lease = uint64(lease)
				copy(r.Root[:], root)
				out = append(out, r)
				return nil
			})
	})
	return out, failed("list removals", err)
}

// manySlabs is how many slabs one transaction gives up.
const manySlabs = 256

// sweep gives up the slabs that nobody has used for long enough.
func (x *Index) sweep(ctx context.Context, now int64) error {
	for {
		var due [][]byte
		list := func(t *tx) error {
			due = nil
			return t.each(`SELECT id FROM slabs WHERE due > 0 AND due <= ? LIMIT ?`, []any{now, manySlabs}, func(scan func(...any) error) error {
				var id []byte
				err := scan(&id)
				due = append(due, id)
				return err
			})
		}
		if err := x.view(ctx, list); err != nil || len(due) == 0 {
			return failed("find unused slabs", err)
		}
		err := x.w.do(ctx, func(t *tx) error {
			if err := list(t); err != nil { // again: some may be in use by now
				return err
			}
			for _, b := range due {
				if len(b) != len(SlabID{}) {
					return fault.New(fault.DamagedIndex, "a slab's name has %d bytes", len(b))
				}
				s, found, err := t.slabRow(SlabID(b))
				if err != nil {
					return err
				}
				if !found || s.refs > 0 {
					return fault.New(fault.DamagedIndex, "slab %x is due to go and used", b)
				}
				if err := t.bury(SlabID(b), &s); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return failed("give up unused slabs", err)
		}
	}
}

// StillToRemove returns those of shards that nobody wants back since they were
// listed. Who removes asks right before, holding whatever also guards the
// covering of new shards at that lease.
func (x *Index) StillToRemove(ctx context.Context, shards []Shard) (out []Shard, err error) {
	err = x.view(ctx, func(t *tx) error {
		for _, s := range shards {
			var n int
			if _, err := t.row(`SELECT count(*) FROM removals r JOIN hosts h ON h.id = r.host
				WHERE h.address = ? AND r.lease = ? AND r.root = ?`, []any{s.Host, int64(s.Lease), s.Root[:]}, &n); err != nil {
				return err
			}
			if n > 0 {
				out = append(out, s)
			}
		}
		return nil
	})
	return out, failed("check removals", err)
}

// Removed says that shards are gone from their hosts.
func (x *Index) Removed(ctx context.Context, shards []Shard) error {
	err := x.w.do(ctx, func(t *tx) error {
		for _, s := range shards {
			if err := t.exec(`DELETE FROM removals WHERE host = (SELECT id FROM hosts WHERE address = ?) AND lease = ? AND root = ?`,
				s.Host, int64(s.Lease), s.Root[:]); err != nil {
				return err
			}
		}
		return nil
	})
	return failed("note removals", err)
}

// PostponeRemovals counts a try in vain at a lease; the next is due at unix second next.
func (x *Index) PostponeRemovals(ctx context.Context, at Place, next int64) error {
	err := x.w.do(ctx, func(t *tx) error {
		return t.exec(`UPDATE removals SET tries = tries + 1, next = ? WHERE host = (SELECT id FROM hosts WHERE address = ?) AND lease = ?`,
			next, at.Host, int64(at.Lease))
	})
	return failed("postpone removals", err)
}

// Work counts what is still to do.
type Work struct{ Uploads, Pending, Removals int }

// Work counts what is still to do.
func (x *Index) Work(ctx context.Context) (w Work, err error) {
	err = x.view(ctx, func(t *tx) error {
		_, err := t.row(`SELECT (SELECT count(*) FROM uploads), (SELECT count(*) FROM pending), (SELECT count(*) FROM removals)`, nil,
			&w.Uploads, &w.Pending, &w.Removals)
		return err
	})
	return w, failed("count work", err)
}
