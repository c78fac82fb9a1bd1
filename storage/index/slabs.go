package index

import (
	"context"
	"time"

	"hearth/core/fault"
)

// replace checks the condition and takes away the object that is there.
func (t *tx) replace(ref Ref, c Condition) error {
	var r objectRow
	found, err := t.row(selectObject, []any{ref.Bucket, ref.Key}, r.into()...)
	if err != nil {
		return err
	}
	if c.Absent && found {
		return fault.New(fault.Exists, "it exists already")
	}
	if c.ETag != "" && (!found || r.etag != c.ETag) {
		return fault.New(fault.Exists, "it isn't the version %s that was expected", c.ETag)
	}
	if !found {
		return nil
	}
	return t.unlist(r)
}

// unlist deletes an object; slabs that nobody else uses go with it.
func (t *tx) unlist(r objectRow) error {
	if _, err := r.object(); err != nil {
		return err
	}
	m, err := readManifest(context.Background(), t.conn, r.manifest)
	if err != nil {
		return err
	}
	if err := t.exec(`DELETE FROM objects WHERE bucket = ? AND key = ?`, r.bucket, r.key); err != nil {
		return err
	}
	if err := t.exec(`DELETE FROM manifests WHERE id = ?`, r.manifest); err != nil {
		return err
	}
	for _, id := range m.Slabs() {
		if err := t.refer(id, -1); err != nil {
			return err
		}
	}
	return nil
}

// refer changes how many objects use a slab. Nobody left: its shards are to be
// removed from their hosts.
func (t *tx) refer(id SlabID, by int64) error {
	var refs int64
	var body, sum []byte
	found, err := t.row(`SELECT refs, body, sum FROM slabs WHERE id = ?`, []any{id[:]}, &refs, &body, &sum)
	if err != nil {
		return err
	}
	if !found {
		return fault.New(fault.NotFound, "there is no slab %s", id)
	}
	if err := verify(sum, "slabs", id[:], refs, body); err != nil {
		return err
	}
	if refs += by; refs > 0 {
		return t.exec(`UPDATE slabs SET refs = ?, sum = ? WHERE id = ?`, refs, rowSum("slabs", id[:], refs, body), id[:])
	}
	s, err := readSlab(context.Background(), t.conn, id)
	if err != nil {
		return err
	}
	for i, p := range s.At {
		if p == (Place{}) {
			continue
		}
		if err := t.remove(Shard{p, s.Roots[i], s.ShardSize}, 0); err != nil {
			return err
		}
	}
	for _, q := range []string{
		`DELETE FROM placements WHERE slab = ?`, `DELETE FROM pending WHERE slab = ?`, `DELETE FROM slabs WHERE id = ?`,
	} {
		if err := t.exec(q, id[:]); err != nil {
			return err
		}
	}
	return nil
}

// remove notes a shard to be removed from its host, from unix second next on.
func (t *tx) remove(s Shard, next int64) error {
	host, err := t.host(s.Host)
	if err != nil {
		return err
	}
	return t.exec(`INSERT OR IGNORE INTO removals VALUES (?, ?, ?, ?, ?, 0, ?)`, host, int64(s.Lease), s.Root[:], s.Size, shardSum(host, s), next)
}

// shardSum is the checksum of an intent and of a removal.
func shardSum(host int64, s Shard) []byte {
	return rowSum("shards", host, int64(s.Lease), s.Root[:], s.Size)
}

// await notes that a shard has no place, from unix second next on.
func (t *tx) await(id SlabID, shard int, next int64) error {
	return t.exec(`INSERT OR REPLACE INTO pending VALUES (?, ?, 0, ?, ?)`, id[:], shard, next, rowSum("pending", id[:], int64(shard)))
}

// addSlab writes a slab without users, its places, and what is pending of it.
func (t *tx) addSlab(s PlacedSlab, now time.Time) error {
	if len(s.At) != s.Class.N || len(s.Roots) != s.Class.N {
		return fault.New(fault.BadRequest, "slab %s: %d places and %d roots for %d shards", s.ID, len(s.At), len(s.Roots), s.Class.N)
	}
	body := EncodeSlab(s.Slab.Slab)
	if _, err := DecodeSlab(body); err != nil {
		return err
	}
	if err := t.exec(`INSERT INTO slabs VALUES (?, 0, ?, ?)`, s.ID[:], body, rowSum("slabs", s.ID[:], int64(0), body)); err != nil {
		return err
	}
	for i, p := range s.At {
		if p == (Place{}) {
			if err := t.await(s.ID, i, now.Unix()); err != nil {
				return err
			}
			continue
		}
		if err := t.place(s.ID, i, Shard{p, s.Roots[i], s.ShardSize}); err != nil {
			return err
		}
	}
	return nil
}

// place writes where a shard lies; it is no longer intended, nor to be removed.
func (t *tx) place(id SlabID, shard int, s Shard) error {
	host, err := t.host(s.Host)
	if err != nil {
		return err
	}
	for _, q := range []string{
		`DELETE FROM intents WHERE host = ? AND lease = ? AND root = ?`,
		`DELETE FROM removals WHERE host = ? AND lease = ? AND root = ?`,
	} {
		if err := t.exec(q, host, int64(s.Lease), s.Root[:]); err != nil {
			return err
		}
	}
	if err := t.exec(`DELETE FROM pending WHERE slab = ? AND shard = ?`, id[:], shard); err != nil {
		return err
	}
	return t.exec(`INSERT OR REPLACE INTO placements VALUES (?, ?, ?, ?, ?)`, id[:], shard, host, int64(s.Lease),
		rowSum("placements", id[:], int64(shard), host, int64(s.Lease)))
}

// Remove takes an object off the list. Its shards are removed from the hosts
// later (Removals).
func (x *Index) Remove(ctx context.Context, ref Ref) (Object, error) {
	if err := ref.check(); err != nil {
		return Object{}, err
	}
	var o Object
	err := x.w.do(ctx, func(t *tx) error {
		var r objectRow
		found, err := t.row(selectObject, []any{ref.Bucket, ref.Key}, r.into()...)
		if err != nil {
			return err
		}
		if !found {
			return notFound(ref)
		}
		if o, err = r.object(); err != nil {
			return err
		}
		if _, err := x.version(t); err != nil {
			return err
		}
		return t.unlist(r)
	})
	return o, failed("remove "+ref.String(), err)
}

// Copy lists an object once more under another name; both share their slabs.
func (x *Index) Copy(ctx context.Context, from, to Ref, c Condition) (Object, error) {
	if err := from.check(); err != nil {
		return Object{}, err
	}
	if err := to.check(); err != nil {
		return Object{}, err
	}
	var o Object
	err := x.w.do(ctx, func(t *tx) error {
		var r objectRow
		found, err := t.row(selectObject, []any{from.Bucket, from.Key}, r.into()...)
		if err != nil {
			return err
		}
		if !found {
			return notFound(from)
		}
		old, err := r.object()
		if err != nil {
			return err
		}
		m, err := readManifest(ctx, t.conn, r.manifest)
		if err != nil {
			return err
		}
		if found, err := t.hasBucket(to.Bucket); err != nil || !found {
			if err == nil {
				err = notFound(Ref{Bucket: to.Bucket})
			}
			return err
		}
		for _, id := range m.Slabs() { // before replace: to may be from
			if err := t.refer(id, 1); err != nil {
				return err
			}
		}
		if err := t.replace(to, c); err != nil {
			return err
		}
		body, err := m.Encode()
		if err != nil {
			return err
		}
		o, err = x.list(t, Draft{Ref: to, ETag: old.ETag, Type: old.Type, Manifest: m}, r.extra, body)
		return err
	})
	return o, failed("copy "+from.String()+" to "+to.String(), err)
}
