package index

import (
	"context"

	"hearth/core/fault"
)

// A Bucket holds objects.
type Bucket struct {
	Name    string
	Created int64 // unix seconds
}

// MakeBucket makes an empty bucket; fault.Exists when there is one of that name.
func (x *Index) MakeBucket(ctx context.Context, name string) error {
	if err := CheckBucket(name); err != nil {
		return err
	}
	err := x.w.do(ctx, func(t *tx) error {
		if found, err := t.hasBucket(name); err != nil || found {
			if found {
				err = fault.New(fault.Exists, "the bucket exists already")
			}
			return err
		}
		now := x.c.Now().Unix()
		return t.exec(`INSERT INTO buckets VALUES (?, ?, ?)`, name, now, rowSum("buckets", name, now))
	})
	return failed("make bucket "+name, err)
}

// RemoveBucket removes an empty bucket; fault.Exists when something is in it.
func (x *Index) RemoveBucket(ctx context.Context, name string) error {
	err := x.w.do(ctx, func(t *tx) error {
		if found, err := t.hasBucket(name); err != nil || !found {
			if err == nil {
				err = notFound(Ref{Bucket: name})
			}
			return err
		}
		var key string
		found, err := t.row(`SELECT key FROM objects WHERE bucket = ? LIMIT 1`, []any{name}, &key)
		if err != nil {
			return err
		}
		if found {
			return fault.New(fault.Exists, "it isn't empty: %s", Ref{name, key})
		}
		return t.exec(`DELETE FROM buckets WHERE name = ?`, name)
	})
	return failed("remove bucket "+name, err)
}

// Buckets lists all buckets by name.
func (x *Index) Buckets(ctx context.Context) ([]Bucket, error) {
	rows, err := x.read.QueryContext(ctx, `SELECT name, created, sum FROM buckets ORDER BY name`)
	if err != nil {
		return nil, failed("list buckets", err)
	}
	defer rows.Close()
	var out []Bucket
	for rows.Next() {
		var b Bucket
		var sum []byte
		if err := rows.Scan(&b.Name, &b.Created, &sum); err != nil {
			return nil, failed("list buckets", err)
		}
		if err := verify(sum, "buckets", b.Name, b.Created); err != nil {
			return nil, failed("list buckets", err)
		}
		out = append(out, b)
	}
	return out, failed("list buckets", rows.Err())
}

// HasBucket says whether there is a bucket of that name.
func (x *Index) HasBucket(ctx context.Context, name string) (bool, error) {
	var n int
	err := x.read.QueryRowContext(ctx, `SELECT count(*) FROM buckets WHERE name = ?`, name).Scan(&n)
	return n > 0, failed("find bucket "+name, err)
}

func (t *tx) hasBucket(name string) (bool, error) {
	var got string
	return t.row(`SELECT name FROM buckets WHERE name = ?`, []any{name}, &got)
}
