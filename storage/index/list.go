package index

import (
	"context"
	"strings"

	"hearth/core/fault"
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

// Keys are those of a bucket's objects that begin so, in order; none where there is
// no such bucket. It is for buckets of the program's own: people's may have millions.
func (x *Index) Keys(ctx context.Context, bucket, prefix string) (keys []string, err error) {
	for after := ""; ; {
		page, err := x.List(ctx, bucket, Listing{Prefix: prefix, After: after})
		if fault.CodeOf(err) == fault.NotFound {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for _, o := range page.Objects {
			keys = append(keys, o.Key)
		}
		if after = page.Next; after == "" {
			return keys, nil
		}
	}
}

// List lists the newest versions of a bucket, without what is removed; fault.NotFound when there is none.
func (x *Index) List(ctx context.Context, bucket string, l Listing) (Page, error) {
	if l.Limit <= 0 || l.Limit > MaxList {
		l.Limit = MaxList
	}
	var page Page
	err := x.view(ctx, func(t *tx) error {
		if _, err := t.bucket(bucket); err != nil {
			return err
		}
		w := walk{Listing: l, folding: folding{l.Prefix, l.Delimiter}, t: t, bucket: bucket, page: &page, now: x.c.Now().Unix()}
		return w.run()
	})
	return page, failed("list "+Scheme+bucket, err)
}

// A walk goes through a bucket's keys, leaping over those below a common prefix.
type walk struct {
	Listing
	folding
	t      *tx
	bucket string
	page   *Page
	now    int64
	last   string // newest entry of the page
}

func (w *walk) run() error {
	from, inclusive, end := w.begin(w.After)
	if end {
		return nil
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
	rows, err := w.t.query(`SELECT `+versionColumns+`, sum FROM versions INDEXED BY versions_heads
		WHERE bucket = ? AND current = 1 AND key `+compare+` ? ORDER BY key LIMIT ?`, w.bucket, from, w.Limit+1)
	if err != nil {
		return "", false, err
	}
	defer rows.Close()
	for rows.Next() {
		var r version
		if err := rows.Scan(r.into()...); err != nil {
			return "", false, err
		}
		o, err := r.object(w.now)
		if err != nil {
			return "", false, err
		}
		if !w.holds(o.Key) {
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

// A folding makes one common prefix of keys that share what lies up to the
// delimiter behind a prefix.
type folding struct{ prefix, delimiter string }

func (f folding) holds(key string) bool { return strings.HasPrefix(key, f.prefix) }

// common is the common prefix that key belongs to.
func (f folding) common(key string) (string, bool) {
	if f.delimiter == "" || !f.holds(key) {
		return "", false
	}
	i := strings.Index(key[len(f.prefix):], f.delimiter)
	if i < 0 {
		return "", false
	}
	return key[:len(f.prefix)+i+len(f.delimiter)], true
}

// begin is the first key to look at behind a cursor.
func (f folding) begin(cursor string) (from string, inclusive, end bool) {
	if cursor < f.prefix || cursor == "" {
		return f.prefix, true, false
	}
	if p, ok := f.common(cursor); ok && p == cursor {
		from, end = after(p)
		return from, true, end
	}
	return cursor, false, false
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
