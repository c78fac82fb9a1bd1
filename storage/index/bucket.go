package index

import (
	"context"
	"strings"

	"hearth/core/fault"
)

// Versioning says what becomes of an object that is replaced or removed.
type Versioning uint8

// The states of versioning.
const (
	Off       Versioning = iota // there is one version, the null version, and the next replaces it
	Enabled                     // every put adds a version, a removal adds a marker
	Suspended                   // puts and removals replace the null version; the others stay
)

// A Bucket holds objects.
type Bucket struct {
	Name       string
	Created    int64 // unix seconds
	Versioning Versioning
}

// A bucketRow is a row of table buckets as it stands. One that is gone is kept:
// it tells other devices' older words from newer ones.
type bucketRow struct {
	name                      string
	created, versioning, gone int64
	clock, device             int64
	sum                       []byte
}

const bucketColumns = `name, created, versioning, gone, clock, device`

func (b *bucketRow) into() []any {
	return []any{&b.name, &b.created, &b.versioning, &b.gone, &b.clock, &b.device, &b.sum}
}

func (b *bucketRow) columns() []any {
	return []any{b.name, b.created, b.versioning, b.gone, b.clock, b.device}
}

func (b *bucketRow) stamp() stamp { return stamp{b.clock, deviceOf(b.device)} }

func (b *bucketRow) bucket() Bucket {
	return Bucket{Name: b.name, Created: b.created, Versioning: Versioning(b.versioning)}
}

// there says that a bucket is to be seen: one that was removed here while another
// device put something into it is.
const there = ` (gone = 0 OR EXISTS (SELECT 1 FROM versions WHERE bucket = name))`

// bucket finds a bucket that is there.
func (t *tx) bucket(name string) (b bucketRow, err error) {
	found, err := t.row(`SELECT `+bucketColumns+`, sum FROM buckets WHERE name = ? AND`+there, []any{name}, b.into()...)
	if err == nil && !found {
		err = notFound(Ref{Bucket: name})
	}
	if err == nil {
		err = verify(b.sum, "buckets", b.columns()...)
	}
	return b, err
}

// enter finds a bucket that is about to be changed. One that was removed and isn't
// empty is made anew.
func (t *tx) enter(name string) (bucketRow, error) {
	b, err := t.bucket(name)
	if err == nil && b.gone != 0 {
		b.gone = 0
		err = t.writeBucket(&b)
	}
	return b, err
}

// writeBucket writes what this device says of a bucket from now on.
func (t *tx) writeBucket(b *bucketRow) error {
	at := t.tick()
	b.clock, b.device = at.clock, column(at.device)
	if err := t.putBucket(b); err != nil || Local(b.name) {
		return err
	}
	return t.note(encodeBucket(b))
}

func (t *tx) putBucket(b *bucketRow) error {
	return t.exec(`INSERT OR REPLACE INTO buckets (`+bucketColumns+`, sum) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		append(b.columns(), rowSum("buckets", b.columns()...))...)
}

// MakeBucket makes an empty bucket; fault.Exists when there is one of that name.
func (x *Index) MakeBucket(ctx context.Context, name string) error {
	if err := CheckBucket(name); err != nil {
		return err
	}
	return x.makeBucket(ctx, name)
}

// MakeHidden makes a bucket of the program's own, whose name begins with a dot.
func (x *Index) MakeHidden(ctx context.Context, name string) error {
	if !Hidden(name) {
		return fault.New(fault.BadName, "bucket %q: a hidden one begins with a dot", name)
	}
	if err := CheckBucket(strings.TrimPrefix(name, ".")); err != nil {
		return err
	}
	return x.makeBucket(ctx, name)
}

func (x *Index) makeBucket(ctx context.Context, name string) error {
	err := x.w.do(ctx, func(t *tx) error {
		_, err := t.bucket(name)
		switch fault.CodeOf(err) {
		case "":
			return fault.New(fault.Exists, "the bucket exists already")
		case fault.NotFound:
		default:
			return err
		}
		if err := t.dropDocs(name); err != nil {
			return err
		}
		return t.writeBucket(&bucketRow{name: name, created: x.c.Now().Unix()})
	})
	return failed("make bucket "+name, err)
}

// RemoveBucket removes an empty bucket; fault.Exists when a version of anything,
// or an upload in parts, is in it.
func (x *Index) RemoveBucket(ctx context.Context, name string) error {
	err := x.w.do(ctx, func(t *tx) error {
		b, err := t.bucket(name)
		if err != nil {
			return err
		}
		var key string
		found, err := t.row(`SELECT key FROM versions WHERE bucket = ? LIMIT 1`, []any{name}, &key)
		if err != nil {
			return err
		}
		if found {
			return fault.New(fault.Exists, "it isn't empty: %s", Ref{Bucket: name, Key: key})
		}
		ids, err := t.words(`SELECT id FROM multiparts WHERE bucket = ?`, name)
		if err != nil {
			return err
		}
		for _, id := range ids { // S3 lets an unfinished upload go with its bucket
			if err := t.dropUpload(id); err != nil {
				return err
			}
		}
		if err := t.dropDocs(name); err != nil {
			return err
		}
		b.gone = 1
		return t.writeBucket(&b)
	})
	return failed("remove bucket "+name, err)
}

// Buckets lists all buckets by name, without the hidden ones.
func (x *Index) Buckets(ctx context.Context) ([]Bucket, error) {
	var out []Bucket
	err := x.view(ctx, func(t *tx) error {
		return t.each(`SELECT `+bucketColumns+`, sum FROM buckets WHERE`+there+` ORDER BY name`, nil, func(scan func(...any) error) error {
			var b bucketRow
			if err := scan(b.into()...); err != nil {
				return err
			}
			if !Hidden(b.name) {
				out = append(out, b.bucket())
			}
			return verify(b.sum, "buckets", b.columns()...)
		})
	})
	return out, failed("list buckets", err)
}

// Bucket finds one bucket.
func (x *Index) Bucket(ctx context.Context, name string) (Bucket, error) {
	var b bucketRow
	err := x.view(ctx, func(t *tx) (err error) {
		b, err = t.bucket(name)
		return err
	})
	return b.bucket(), failed("find bucket "+name, err)
}

// HasBucket says whether there is a bucket of that name.
func (x *Index) HasBucket(ctx context.Context, name string) (bool, error) {
	_, err := x.Bucket(ctx, name)
	if fault.CodeOf(err) == fault.NotFound {
		return false, nil
	}
	return err == nil, err
}

// SetVersioning sets what becomes of objects that are replaced or removed from
// now on. Once it was on it can be suspended, and not be off again.
func (x *Index) SetVersioning(ctx context.Context, name string, v Versioning) error {
	err := x.w.do(ctx, func(t *tx) error {
		b, err := t.enter(name)
		if err != nil {
			return err
		}
		if v > Suspended || v == Off && b.versioning != int64(Off) {
			return fault.New(fault.BadRequest, "versioning can't become %d", v)
		}
		if b.versioning = int64(v); Hidden(name) && v != Off {
			return fault.New(fault.BadRequest, "a hidden bucket keeps no versions")
		}
		return t.writeBucket(&b)
	})
	return failed("set versioning of "+name, err)
}

// Used says whether there is, or was, any bucket but hidden ones.
func (x *Index) Used(ctx context.Context) (used bool, err error) {
	err = x.view(ctx, func(t *tx) error {
		_, err := t.row(`SELECT EXISTS (SELECT 1 FROM buckets WHERE name NOT LIKE '.%')`, nil, &used)
		return err
	})
	return used, failed("look into the index", err)
}
