package index

import (
	"context"
	"strings"
)

// MaxList bounds one page of a listing.
const MaxList = 1000

// A Listing says which part of a bucket is wanted. The zero value wants all, a
// page at a time.
type Listing struct {
	Prefix    string // only keys that begin so
	Delimiter string // keys that share what lies up to it behind the prefix become one common prefix
	After     string // only what comes behind: the cursor of the page before, or any key
	Limit     int    // objects and common prefixes on a page; default and most: MaxList
}

// A Page is a part of a listing, in the order of the keys' bytes.
type Page struct {
	Objects  []Object
	Prefixes []string
	Next     string // the cursor of the next page; empty at the end
}

// List lists a bucket; fault.NotFound when there is none.
func (x *Index) List(ctx context.Context, bucket string, l Listing) (Page, error) {
	if l.Limit <= 0 || l.Limit > MaxList {
		l.Limit = MaxList
	}
	var page Page
	err := x.snapshot(ctx, func(q querier) error {
		var n int
		if err := q.QueryRowContext(ctx, `SELECT count(*) FROM buckets WHERE name = ?`, bucket).Scan(&n); err != nil {
			return err
		}
		if n == 0 {
			return notFound(Ref{Bucket: bucket})
		}
		w := walk{Listing: l, ctx: ctx, q: q, bucket: bucket, page: &page}
		return w.run()
	})
	return page, failed("list "+Scheme+bucket, err)
}

// A walk goes through a bucket's keys, leaping over those below a common prefix.
type walk struct {
	Listing
	ctx    context.Context
	q      querier
	bucket string
	page   *Page
	last   string // newest entry of the page
}

func (w *walk) run() error {
	from, inclusive := w.Prefix, true
	if w.After >= from {
		from, inclusive = w.After, false
		if p, ok := w.common(w.After); ok && p == w.After {
			var end bool
			if from, end = after(p); end {
				return nil
			}
			inclusive = true
		}
	}
	for {
		next, done, err := w.stretch(from, inclusive)
		if err != nil || done {
			return err
		}
		from, inclusive = next, true
	}
}

// stretch lists from a key until the page is full, the keys end, or a common
// prefix asks for a leap.
func (w *walk) stretch(from string, inclusive bool) (next string, done bool, err error) {
	compare := ">"
	if inclusive {
		compare = ">="
	}
	rows, err := w.q.QueryContext(w.ctx, `SELECT `+objectColumns+` FROM objects WHERE bucket = ? AND key `+compare+` ? ORDER BY key LIMIT ?`,
		w.bucket, from, w.Limit+1)
	if err != nil {
		return "", false, err
	}
	defer rows.Close()
	for rows.Next() {
		var r objectRow
		if err := rows.Scan(r.into()...); err != nil {
			return "", false, err
		}
		o, err := r.object()
		if err != nil {
			return "", false, err
		}
		if !strings.HasPrefix(o.Key, w.Prefix) {
			return "", true, rows.Err()
		}
		if len(w.page.Objects)+len(w.page.Prefixes) == w.Limit {
			w.page.Next = w.last
			return "", true, rows.Err()
		}
		if p, ok := w.common(o.Key); ok {
			w.page.Prefixes, w.last = append(w.page.Prefixes, p), p
			next, end := after(p)
			return next, end, rows.Err()
		}
		w.page.Objects, w.last = append(w.page.Objects, o), o.Key
	}
	return "", true, rows.Err()
}

// common is the common prefix that key belongs to.
func (w *walk) common(key string) (string, bool) {
	if w.Delimiter == "" || !strings.HasPrefix(key, w.Prefix) {
		return "", false
	}
	i := strings.Index(key[len(w.Prefix):], w.Delimiter)
	if i < 0 {
		return "", false
	}
	return key[:len(w.Prefix)+i+len(w.Delimiter)], true
}

// after is the least string behind all that begin with p; end when there is none.
func after(p string) (next string, end bool) {
	b := []byte(p)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < 0xff {
			b[i]++
			return string(b[:i+1]), false
		}
	}
	return "", true
}
