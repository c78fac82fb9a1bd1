package index

import (
	"context"
	"database/sql"
	"time"

	"hearth/core/fault"
	"hearth/core/proof"
)

// A Shard is a shard at a host, as the host knows it.
type Shard struct {
	Place
	Root proof.Hash
	Size int64
}

// A Condition must hold for a put to take place; else it is fault.Exists.
type Condition struct {
	Absent bool   // there is no object of that name
	ETag   string // the object there has this ETag
}

// A Draft is an object that is about to be listed.
type Draft struct {
	Ref
	ETag, Type string
	Extra      map[string]string
	Manifest   Manifest
	Slabs      []PlacedSlab // those that the index doesn't have yet
	If         Condition
}

// Begin starts an upload. The shards that it brings to hosts are noted by Intend
// before anything is covered; so what an upload leaves behind that never ends can
// be removed from the hosts.
func (x *Index) Begin(ctx context.Context, ref Ref) (upload int64, err error) {
	if err := ref.check(); err != nil {
		return 0, err
	}
	found, err := x.HasBucket(ctx, ref.Bucket)
	if err == nil && !found {
		err = failed("put "+ref.String(), notFound(Ref{Bucket: ref.Bucket}))
	}
	if err != nil {
		return 0, err
	}
	return x.BeginRepair(), nil
}

// BeginRepair is Begin for shards of slabs that are listed already.
func (x *Index) BeginRepair() (upload int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.newest++
	x.begun[x.newest] = true
	return x.newest
}

// hasBegun refuses an upload that has ended, or that another process began.
func (x *Index) hasBegun(upload int64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.begun[upload] {
		return fault.New(fault.NotFound, "there is no upload %d", upload)
	}
	return nil
}

func (x *Index) hasEnded(upload int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.begun, upload)
}

// Intend notes shards that the upload is about to have covered at their hosts.
// An earlier wish to remove the very same ones is withdrawn.
func (x *Index) Intend(ctx context.Context, upload int64, shards []Shard) error {
	err := x.w.do(ctx, func(t *tx) error {
		if err := x.hasBegun(upload); err != nil {
			return err
		}
		if err := t.exec(`INSERT OR IGNORE INTO uploads VALUES (?, ?)`, upload, x.c.Now().Unix()); err != nil {
			return err
		}
		for _, s := range shards {
			host, err := t.host(s.Host)
			if err != nil {
				return err
			}
			if err := t.exec(`DELETE FROM removals WHERE host = ? AND lease = ? AND root = ?`, host, int64(s.Lease), s.Root[:]); err != nil {
				return err
			}
			if err := t.exec(`INSERT OR REPLACE INTO intents VALUES (?, ?, ?, ?, ?, ?)`, upload, host, int64(s.Lease), s.Root[:], s.Size, shardSum(host, s)); err != nil {
				return err
			}
		}
		return nil
	})
	return failed("note shards", err)
}

// Commit lists the draft and ends its upload: what it replaces, and what was
// intended and isn't used, is to be removed. Upload 0 is for drafts without new
// slabs.
func (x *Index) Commit(ctx context.Context, upload int64, d Draft) (Object, error) {
	if err := d.Ref.check(); err != nil {
		return Object{}, err
	}
	if len(d.ETag) > maxWord || len(d.Type) > maxWord {
		return Object{}, fault.New(fault.TooLarge, "put %s: type or etag longer than %d bytes", d.Ref, maxWord)
	}
	extra, err := encodeExtra(d.Extra)
	if err != nil {
		return Object{}, err
	}
	body, err := d.Manifest.Encode()
	if err != nil {
		return Object{}, err
	}
	var o Object
	err = x.w.do(ctx, func(t *tx) error {
		if upload != 0 {
			if err := x.hasBegun(upload); err != nil {
				return err
			}
		}
		found, err := t.hasBucket(d.Bucket)
		if err == nil && !found {
			err = notFound(Ref{Bucket: d.Bucket})
		}
		if err != nil {
			return err
		}
		for _, s := range d.Slabs {
			if err := t.addSlab(s, x.c.Now()); err != nil {
				return err
			}
		}
		for _, id := range d.Manifest.Slabs() {
			if err := t.refer(id, 1); err != nil {
				return err
			}
		}
		// After the new references: a slab that both use stays.
		if err := t.replace(d.Ref, d.If); err != nil {
			return err
		}
		if upload != 0 {
			if err := t.endUpload(upload, x.c.Now()); err != nil {
				return err
			}
		}
		o, err = x.list(t, d, extra, body)
		return err
	})
	if err == nil {
		x.hasEnded(upload)
	}
	return o, failed("put "+d.Ref.String(), err)
}

// list writes the rows of an object.
func (x *Index) list(t *tx, d Draft, extra, body []byte) (Object, error) {
	version, err := x.version(t)
	if err != nil {
		return Object{}, err
	}
	id, err := t.insert(`INSERT INTO manifests (body, sum) VALUES (?, x'')`, body)
	if err != nil {
		return Object{}, err
	}
	if err := t.exec(`UPDATE manifests SET sum = ? WHERE id = ?`, rowSum("manifests", id, body), id); err != nil {
		return Object{}, err
	}
	r := objectRow{
		bucket: d.Bucket, key: d.Key, version: version, device: int64(x.c.Device), size: d.Manifest.Size(),
		created: x.c.Now().Unix(), etag: d.ETag, typ: d.Type, extra: extra, manifest: id,
	}
	r.sum = rowSum("objects", r.columns()...)
	if err := t.exec(`INSERT INTO objects (`+objectColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, append(r.columns(), r.sum)...); err != nil {
		return Object{}, err
	}
	return r.object()
}

// version is a hybrid clock: milliseconds in the upper bits, always rising.
func (x *Index) version(t *tx) (int64, error) {
	x.clock = max(x.clock+1, x.c.Now().UnixMilli()<<16)
	return x.clock, t.exec(`UPDATE meta SET value = ? WHERE name = 'clock'`, x.clock)
}

// Abort ends an upload that lists nothing.
func (x *Index) Abort(ctx context.Context, upload int64) error {
	err := x.w.do(ctx, func(t *tx) error { return t.endUpload(upload, x.c.Now()) })
	if err == nil {
		x.hasEnded(upload)
	}
	return failed("end upload", err)
}

// Reclaim ends the uploads that an earlier process has left; it is for the time
// before the first one of this process. It returns how many there were.
func (x *Index) Reclaim(ctx context.Context) (n int, err error) {
	err = x.w.do(ctx, func(t *tx) error {
		ids, err := t.ids(`SELECT id FROM uploads`)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := t.endUpload(id, x.c.Now()); err != nil {
				return err
			}
		}
		n = len(ids)
		return nil
	})
	return n, failed("reclaim uploads", err)
}

func (t *tx) ids(query string, args ...any) ([]int64, error) {
	rows, err := t.query(query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, rows.Err()
}

// endUpload turns what was intended and not placed into removals.
func (t *tx) endUpload(upload int64, now time.Time) error {
	if err := t.exec(`INSERT OR IGNORE INTO removals SELECT host, lease, root, size, sum, 0, ? FROM intents WHERE upload = ?`, now.Unix(), upload); err != nil {
		return err
	}
	if err := t.exec(`DELETE FROM intents WHERE upload = ?`, upload); err != nil {
		return err
	}
	return t.exec(`DELETE FROM uploads WHERE id = ?`, upload)
}

// host finds or makes the row of a host.
func (t *tx) host(address string) (int64, error) {
	var id int64
	var sum []byte
	found, err := t.row(`SELECT id, sum FROM hosts WHERE address = ?`, []any{address}, &id, &sum)
	if err != nil {
		return 0, err
	}
	if found {
		return id, verify(sum, "hosts", id, address)
	}
	if id, err = t.insert(`INSERT INTO hosts (address, sum) VALUES (?, x'')`, address); err != nil {
		return 0, err
	}
	return id, t.exec(`UPDATE hosts SET sum = ? WHERE id = ?`, rowSum("hosts", id, address), id)
}

var _ querier = (*sql.Conn)(nil)
