package index

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"hearth/core/fault"
)

// MaxParts is the highest number of a part.
const MaxParts = 10000

// UploadHead is what an upload in parts says of the object to be.
type UploadHead struct {
	Type  string
	Extra map[string]string
	Attrs Attrs
}

// An Upload in parts is under way on this device, and known to no other.
type Upload struct {
	Ref
	ID      string
	Created int64 // unix seconds
	UploadHead
}

// A Part of an upload.
type Part struct {
	Number   int // 1 to MaxParts
	Size     int64
	Created  int64 // unix seconds; PutPart sets it
	ETag     string
	Extra    map[string]string // checksums
	Manifest Manifest
	Slabs    []PlacedSlab // those that the index doesn't have yet; empty in a listing
}

// A PartRef names a part that the object is made of.
type PartRef struct {
	Number int
	ETag   string
}

// A PartError says which part can't be used. Its code is fault.BadRequest.
type PartError struct {
	Number int
	Why    string
}

// Error says what is wrong with it.
func (e *PartError) Error() string { return fmt.Sprintf("part %d: %s", e.Number, e.Why) }

// Unwrap gives the error its code.
func (e *PartError) Unwrap() error {
	return fault.New(fault.BadRequest, "part %d: %s", e.Number, e.Why)
}

type uploadRow struct {
	id, bucket, key string
	created         int64
	typ             string
	extra, attrs    []byte
	sum             []byte
}

const uploadColumns = `id, bucket, key, created, type, extra, attrs`

func (u *uploadRow) columns() []any {
	return []any{u.id, u.bucket, u.key, u.created, u.typ, u.extra, u.attrs}
}

func (u *uploadRow) into() []any {
	return []any{&u.id, &u.bucket, &u.key, &u.created, &u.typ, &u.extra, &u.attrs, &u.sum}
}

func (u *uploadRow) upload() (out Upload, err error) {
	if err := verify(u.sum, "multiparts", u.columns()...); err != nil {
		return out, err
	}
	out = Upload{Ref: Ref{Bucket: u.bucket, Key: u.key}, ID: u.id, Created: u.created, UploadHead: UploadHead{Type: u.typ}}
	if out.Extra, err = decodeExtra(u.extra); err != nil {
		return out, err
	}
	out.Attrs, err = decodeAttrs(u.attrs)
	return out, err
}

// NewUpload begins an upload in parts.
func (x *Index) NewUpload(ctx context.Context, ref Ref, h UploadHead) (id string, err error) {
	if err := ref.plain(); err != nil {
		return "", err
	}
	d := Draft{Ref: ref, Type: h.Type, Extra: h.Extra, Attrs: h.Attrs}
	r, err := d.version()
	if err != nil {
		return "", err
	}
	var name [16]byte
	_, _ = rand.Read(name[:]) // it never fails
	u := uploadRow{
		id: hex.EncodeToString(name[:]), bucket: ref.Bucket, key: ref.Key, created: x.c.Now().Unix(), typ: h.Type, extra: r.extra, attrs: r.attrs,
	}
	err = x.w.do(ctx, func(t *tx) error {
		if _, err := t.enter(ref.Bucket); err != nil {
			return err
		}
		return t.exec(`INSERT INTO multiparts (`+uploadColumns+`, sum) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			append(u.columns(), rowSum("multiparts", u.columns()...))...)
	})
	return u.id, failed("begin upload of "+ref.String(), err)
}

// UploadOf finds an upload in parts by its object's name and its own.
func (x *Index) UploadOf(ctx context.Context, ref Ref, id string) (u Upload, err error) {
	err = x.view(ctx, func(t *tx) error {
		u, err = t.upload(ref, id)
		return err
	})
	return u, failed("find upload of "+ref.String(), err)
}

func (t *tx) upload(ref Ref, id string) (Upload, error) {
	var u uploadRow
	found, err := t.row(`SELECT `+uploadColumns+`, sum FROM multiparts WHERE id = ? AND bucket = ? AND key = ?`, []any{id, ref.Bucket, ref.Key}, u.into()...)
	if err == nil && !found {
		err = fault.New(fault.NotFound, "there is no upload %q of %s", id, ref)
	}
	if err != nil {
		return Upload{}, err
	}
	return u.upload()
}

// An UploadPage is a part of a listing of uploads, by key and id.
type UploadPage struct {
	Uploads         []Upload
	Prefixes        []string
	NextKey, NextID string // the cursor of the next page; empty at the end
}

// Uploads lists the uploads in parts of a bucket behind a cursor.
func (x *Index) Uploads(ctx context.Context, bucket, prefix, afterKey, afterID, delimiter string, limit int) (page UploadPage, err error) {
	if limit <= 0 || limit > MaxList {
		limit = MaxList
	}
	fold := folding{prefix, delimiter}
	var lastKey, lastID string // newest entry of the page
	err = x.view(ctx, func(t *tx) error {
		if _, err := t.bucket(bucket); err != nil {
			return err
		}
		from, inclusive, end := fold.begin(afterKey)
		id := afterID
		if inclusive || id == "" {
			id = ""
			if !inclusive {
				from += "\x00" // behind all uploads of that key
			}
		}
		for !end {
			var u uploadRow
			found, err := t.row(`SELECT `+uploadColumns+`, sum FROM multiparts WHERE bucket = ? AND (key, id) > (?, ?) ORDER BY key, id LIMIT 1`,
				[]any{bucket, from, id}, u.into()...)
			if err != nil {
				return err
			}
			if !found || !fold.holds(u.key) {
				break
			}
			if len(page.Uploads)+len(page.Prefixes) == limit {
				page.NextKey, page.NextID = lastKey, lastID
				break
			}
			if p, ok := fold.common(u.key); ok {
				page.Prefixes = append(page.Prefixes, p)
				lastKey, lastID, id = p, "", ""
				from, end = after(p)
				continue
			}
			one, err := u.upload()
			if err != nil {
				return err
			}
			page.Uploads = append(page.Uploads, one)
			from, id = u.key, u.id
			lastKey, lastID = from, id
		}
		return nil
	})
	return page, failed("list uploads of "+bucket, err)
}

// AbortUpload ends an upload in parts that lists nothing.
func (x *Index) AbortUpload(ctx context.Context, ref Ref, id string) error {
	err := x.w.do(ctx, func(t *tx) error {
		if _, err := t.upload(ref, id); err != nil {
			return err
		}
		return t.dropUpload(id)
	})
	return failed("end upload of "+ref.String(), err)
}

func (t *tx) dropUpload(id string) error {
	manifests, err := t.ids(`SELECT manifest FROM parts WHERE upload = ?`, id)
	if err != nil {
		return err
	}
	for _, m := range manifests {
		if err := t.dropManifest(m); err != nil {
			return err
		}
	}
	if err := t.exec(`DELETE FROM parts WHERE upload = ?`, id); err != nil {
		return err
	}
	return t.exec(`DELETE FROM multiparts WHERE id = ?`, id)
}
