package index

import (
	"context"

	"hearth/core/fault"
)

// RemoveOptions say under which conditions something is removed.
type RemoveOptions struct {
	If     Condition // of the newest version, or of the one that is named
	Bypass bool      // ends a Governance retention early
}

// Removed is what a removal did.
type Removed struct {
	Object            // what is gone, or hidden by the marker; zero if there was nothing
	MarkerMade bool   // nothing is gone: a marker hides it
	VersionID  string // of the marker made, or of what is gone
}

// Remove takes an object off the list. Where the bucket keeps versions that is a
// marker's work, and the versions stay; a version that is named is gone for good.
// Its shards are removed from the hosts later (Removals).
func (x *Index) Remove(ctx context.Context, ref Ref, o RemoveOptions) (Removed, error) {
	if err := ref.check(); err != nil {
		return Removed{}, err
	}
	var out Removed
	err := x.w.do(ctx, func(t *tx) error {
		out = Removed{}
		b, err := t.enter(ref.Bucket)
		if err != nil {
			return err
		}
		r, found, err := t.find(ref)
		if err != nil {
			return err
		}
		if err := o.If.check(&r, found); err != nil {
			return err
		}
		if found && (r.marker == 0 || ref.Version != "") {
			if out.Object, err = r.object(x.c.Now().Unix()); err != nil {
				return err
			}
		}
		if ref.Version == "" {
			plain, err := t.keepsNone(&b, ref)
			if err != nil {
				return err
			}
			if !plain {
				marker, err := t.addMarker(&b, &r, found, ref)
				out.MarkerMade, out.VersionID = true, marker.VersionID
				return err
			}
		}
		if !found {
			return notFound(ref)
		}
		out.VersionID = out.Object.VersionID
		return t.destroy(&r, o.Bypass)
	})
	return out, failed("remove "+ref.String(), err)
}

// keepsNone says that a key has nothing but the null version and a removal leaves
// nothing. Versions that came from another device are kept even if the bucket
// keeps none.
func (t *tx) keepsNone(b *bucketRow, ref Ref) (bool, error) {
	if b.versioning != int64(Off) {
		return false, nil
	}
	var some bool
	_, err := t.row(`SELECT EXISTS (SELECT 1 FROM versions WHERE bucket = ? AND key = ? AND plain = 0)`, []any{ref.Bucket, ref.Key}, &some)
	return !some, err
}

func (t *tx) addMarker(b *bucketRow, newest *version, found bool, ref Ref) (Object, error) {
	extra, err := encodeExtra(nil)
	if err != nil {
		return Object{}, err
	}
	attrs, err := encodeAttrs(Attrs{})
	if err != nil {
		return Object{}, err
	}
	r := &version{bucket: ref.Bucket, key: ref.Key, marker: 1, extra: extra, attrs: attrs}
	if b.versioning != int64(Enabled) {
		r.null = 1
	}
	if err := t.add(r, newest, found, nil); err != nil {
		return Object{}, err
	}
	return r.object(0)
}

// destroy removes a version for good; what was below it is the newest then.
func (t *tx) destroy(r *version, bypass bool) error {
	if err := t.unlocked(r, bypass); err != nil {
		return err
	}
	if err := t.drop(r); err != nil {
		return err
	}
	if !Local(r.bucket) {
		at := t.tick()
		m := tomb{r.bucket, r.key, r.clock, r.device, r.null, at.clock, column(at.device), nil}
		if err := t.putTomb(&m); err != nil {
			return err
		}
		if err := t.note(encodeTomb(&m)); err != nil {
			return err
		}
	}
	return t.settle(r.bucket, r.key)
}

// putTomb keeps in mind that a version is removed. One of a null version covers
// those of older ones.
func (t *tx) putTomb(m *tomb) error {
	if m.null != 0 {
		if err := t.coverTombs(&version{bucket: m.bucket, key: m.key, clock: m.clock, device: m.device}); err != nil {
			return err
		}
	}
	return t.exec(`INSERT OR REPLACE INTO tombs (`+tombColumns+`, sum) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		append(m.columns(), rowSum("tombs", m.columns()...))...)
}

// coverTombs forgets removals of null versions older than r: r itself says as much.
func (t *tx) coverTombs(r *version) error {
	return t.exec(`DELETE FROM tombs WHERE bucket = ? AND key = ? AND plain = 1 AND (clock < ? OR clock = ? AND device < ?)`,
		r.bucket, r.key, r.clock, r.clock, r.device)
}

// unlocked refuses what is held or retained.
func (t *tx) unlocked(r *version, bypass bool) error {
	a, err := decodeAttrs(r.attrs)
	if err != nil {
		return err
	}
	now := t.x.c.Now().Unix()
	return a.keep(r.floor, now).locked(now, bypass)
}

// SetAttrs changes the attributes of a version. A Compliance retention that runs
// can't be shortened: fault.Locked. Change may be called twice.
func (x *Index) SetAttrs(ctx context.Context, ref Ref, change func(*Attrs) error) (Object, error) {
	if err := ref.check(); err != nil {
		return Object{}, err
	}
	var o Object
	err := x.w.do(ctx, func(t *tx) error {
		if _, err := t.enter(ref.Bucket); err != nil {
			return err
		}
		r, old, err := t.object(ref)
		if err != nil {
			return err
		}
		a, err := decodeAttrs(r.attrs) // of its own: change may write to it
		if err != nil {
			return err
		}
		now := x.c.Now().Unix()
		a = a.keep(r.floor, now)
		if err := change(&a); err != nil {
			return err
		}
		if old.RetainMode == Compliance && old.RetainUntil > now && (a.RetainMode != Compliance || a.RetainUntil < old.RetainUntil) {
			return fault.New(fault.Locked, "its retention in mode %s can't be shortened", Compliance)
		}
		if r.attrs, err = encodeAttrs(a); err != nil {
			return err
		}
		at := t.tick()
		r.aclock, r.adevice, r.floor = at.clock, column(at.device), max(r.floor, a.floor())
		if err := t.put(&r); err != nil {
			return err
		}
		if !Local(ref.Bucket) {
			if err := t.note(encodeAttrsChange(&r)); err != nil {
				return err
			}
		}
		o, err = r.object(now)
		return err
	})
	return o, failed("change attributes of "+ref.String(), err)
}

// Copy lists an object once more under another name, as a new version with the
// same type, metadata and attributes but locks; both share their slabs.
func (x *Index) Copy(ctx context.Context, from, to Ref, c Condition) (Object, error) {
	return x.CopyAs(ctx, from, to, c, func(*Draft) error { return nil })
}

// CopyAs is Copy of which change may rewrite type, metadata and attributes. It may
// be called twice.
func (x *Index) CopyAs(ctx context.Context, from, to Ref, c Condition, change func(*Draft) error) (Object, error) {
	if err := from.check(); err != nil {
		return Object{}, err
	}
	if err := to.plain(); err != nil {
		return Object{}, err
	}
	var o Object
	err := x.w.do(ctx, func(t *tx) error {
		r, old, err := t.object(from)
		if err != nil {
			return err
		}
		m, err := t.manifest(r.manifest)
		if err != nil {
			return err
		}
		d := Draft{Ref: to, ETag: old.ETag, Type: old.Type, Extra: old.Extra, Attrs: Attrs{Tags: old.Tags}, Manifest: m}
		if err := change(&d); err != nil {
			return err
		}
		add, err := d.version()
		if err != nil {
			return err
		}
		if err := t.list(add, m, c); err != nil {
			return err
		}
		o, err = add.object(0)
		return err
	})
	return o, failed("copy "+from.String()+" to "+to.String(), err)
}
