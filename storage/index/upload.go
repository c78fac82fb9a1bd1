package index

import (
	"context"
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

// A Condition must hold of the newest version of an object, which a marker isn't,
// for a change to take place; else it is fault.Exists.
type Condition struct {
	Absent  bool   // there is none
	ETag    string // it has this ETag; "*" for any
	Version string // it is this one, as Object.At names it
}

func (c Condition) check(newest *version, found bool) error {
	found = found && newest.marker == 0
	switch {
	case c.Absent && found:
		return fault.New(fault.Exists, "it exists already")
	case c.ETag == "*" && !found:
		return fault.New(fault.Exists, "it doesn't exist")
	case c.Version != "" && (!found || newest.stamp().id() != c.Version):
		return fault.New(fault.Exists, "another version was put since")
	case c.ETag != "" && c.ETag != "*" && (!found || newest.etag != c.ETag):
		return fault.New(fault.Exists, "it isn't the version %s that was expected", c.ETag)
	}
	return nil
}

// A Draft is an object that is about to be listed.
type Draft struct {
	Ref
	ETag, Type string
	Extra      map[string]string
	Attrs      Attrs
	Manifest   Manifest
	Slabs      []PlacedSlab // those that the index doesn't have yet
	If         Condition
}

// Begin starts an upload. The shards that it brings to hosts are noted by Intend
// before anything is covered; so what an upload leaves behind that never ends can
// be removed from the hosts.
func (x *Index) Begin(ctx context.Context, ref Ref) (upload int64, err error) {
	if err := ref.plain(); err != nil {
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
	if err := d.Ref.plain(); err != nil {
		return Object{}, err
	}
	r, err := d.version()
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
		for _, s := range d.Slabs {
			if err := t.addSlab(s, !Local(d.Bucket), x.c.Now()); err != nil {
				return err
			}
		}
		if err := t.list(r, d.Manifest, d.If); err != nil {
			return err
		}
		if upload != 0 {
			if err := t.endUpload(upload, x.c.Now()); err != nil {
				return err
			}
		}
		o, err = r.object(0)
		return err
	})
	if err == nil {
		x.hasEnded(upload)
	}
	return o, failed("put "+d.Ref.String(), err)
}

// version is the row of a draft, as far as it is known before.
func (d *Draft) version() (*version, error) {
	if len(d.ETag) > maxWord || len(d.Type) > maxWord {
		return nil, fault.New(fault.TooLarge, "put %s: type or etag longer than %d bytes", d.Ref, maxWord)
	}
	r := &version{bucket: d.Bucket, key: d.Key, etag: d.ETag, typ: d.Type, size: d.Manifest.Size(), floor: d.Attrs.floor()}
	var err error
	if r.extra, err = encodeExtra(d.Extra); err != nil {
		return nil, err
	}
	if r.attrs, err = encodeAttrs(d.Attrs); err != nil {
		return nil, err
	}
	return r, d.Manifest.check()
}

// list adds a version as the newest of its key: beside the others where the
// bucket keeps them, else in the place of the null version.
func (t *tx) list(r *version, m Manifest, c Condition) error {
	b, err := t.enter(r.bucket)
	if err != nil {
		return err
	}
	newest, found, err := t.find(r.ref())
	if err != nil {
		return err
	}
	if err := c.check(&newest, found); err != nil {
		return err
	}
	r.null = 0
	if b.versioning != int64(Enabled) {
		r.null = 1
	}
	public := !Local(r.bucket)
	// First: a slab that both the new and the old one use stays.
	if r.manifest, err = t.addManifest(m, public); err != nil {
		return err
	}
	body, err := m.Encode()
	if err != nil {
		return err
	}
	return t.add(r, &newest, found, body)
}

// add writes a new version above the newest one, in the place of the null version
// if it is one itself.
func (t *tx) add(r, newest *version, found bool, manifest []byte) error {
	at := t.tick()
	r.clock, r.device, r.created = at.clock, column(at.device), t.x.c.Now().Unix()
	r.aclock, r.adevice, r.current = r.clock, r.device, 1-r.marker
	r.mclock, r.mdevice = r.clock, r.device
	if r.null != 0 && found {
		if err := t.replaceNull(r.ref(), newest); err != nil {
			return err
		}
	}
	if found && newest.current != 0 && (r.null == 0 || newest.null == 0) {
		newest.current = 0
		if err := t.put(newest); err != nil {
			return err
		}
	}
	if err := t.put(r); err != nil {
		return err
	}
	kept, err := t.record(r, manifest)
	if err != nil || Local(r.bucket) {
		return err
	}
	if r.null != 0 {
		if err := t.coverTombs(r); err != nil {
			return err
		}
	}
	if kept {
		return nil // other devices learn of it when it is packed
	}
	return t.note(encodeVersion(r, manifest))
}

// replaceNull takes the null version of a key away, for another is to be written.
func (t *tx) replaceNull(ref Ref, newest *version) error {
	old, found := *newest, newest.null != 0
	if !found {
		var err error
		ref.Version = NullVersion
		if old, found, err = t.find(ref); err != nil || !found {
			return err
		}
	}
	if err := t.unlocked(&old, false); err != nil {
		return err
	}
	return t.drop(&old)
}

// tick reads the hybrid clock: later than everything that was merged.
func (t *tx) tick() stamp {
	t.x.clock = max(t.x.clock+1, t.x.c.Now().UnixMicro())
	return stamp{t.x.clock, t.x.c.Device}
}

// keepClock writes the clock's reading, once for all writes of a commit.
func (t *tx) keepClock() error {
	if t.x.clock == t.x.kept {
		return nil
	}
	err := t.exec(`UPDATE meta SET value = ? WHERE name = 'clock'`, t.x.clock)
	if err == nil {
		t.x.kept = t.x.clock
	}
	return err
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

func (t *tx) ids(query string, args ...any) (out []int64, err error) {
	err = t.each(query, args, func(scan func(...any) error) error {
		var id int64
		err := scan(&id)
		out = append(out, id)
		return err
	})
	return out, err
}

func (t *tx) words(query string, args ...any) (out []string, err error) {
	err = t.each(query, args, func(scan func(...any) error) error {
		var s string
		err := scan(&s)
		out = append(out, s)
		return err
	})
	return out, err
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
