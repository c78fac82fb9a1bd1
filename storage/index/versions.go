package index

import "context"

// A VersionListing says which versions of a bucket are wanted.
type VersionListing struct {
	Prefix, Delimiter string
	// The cursor: what comes behind this version of a key or, with no version,
	// behind the key.
	AfterKey, AfterVersion string
	Limit                  int // versions and common prefixes on a page; default and most: MaxList
}

// A VersionPage is a part of a listing: by key, and of one key the newest first.
type VersionPage struct {
	Versions             []Object // markers too
	Prefixes             []string
	NextKey, NextVersion string // the cursor of the next page; empty at the end
}

// ListVersions lists all versions in a bucket; fault.NotFound when there is none.
func (x *Index) ListVersions(ctx context.Context, bucket string, l VersionListing) (VersionPage, error) {
	if l.Limit <= 0 || l.Limit > MaxList {
		l.Limit = MaxList
	}
	var page VersionPage
	err := x.view(ctx, func(t *tx) error {
		if _, err := t.bucket(bucket); err != nil {
			return err
		}
		w := versionWalk{VersionListing: l, folding: folding{l.Prefix, l.Delimiter}, t: t, bucket: bucket, page: &page, now: t.x.c.Now().Unix()}
		return w.run()
	})
	return page, failed("list versions in "+Scheme+bucket, err)
}

type versionWalk struct {
	VersionListing
	folding
	t      *tx
	bucket string
	page   *VersionPage
	now    int64

	lastKey, lastVersion string // newest entry of the page
}

func (w *versionWalk) run() error {
	from, inclusive, end := w.begin(w.AfterKey)
	if end {
		return nil
	}
	if !inclusive && w.AfterVersion != "" {
		done, err := w.rest()
		if err != nil || done {
			return err
		}
	}
	for {
		compare := ">"
		if inclusive {
			compare = ">="
		}
		next, done, err := w.stretch(`AND key `+compare+` ? ORDER BY key, clock DESC, device DESC LIMIT ?`, from, w.Limit+1)
		if err != nil || done {
			return err
		}
		from, inclusive = next, true
	}
}

// rest lists what is left of the key in which the page before ended.
func (w *versionWalk) rest() (done bool, err error) {
	r, found, err := w.t.find(Ref{w.bucket, w.AfterKey, w.AfterVersion})
	if err != nil {
		return true, err
	}
	at := r.stamp()
	if !found {
		if w.AfterVersion == NullVersion {
			return false, nil // it is gone: on with the next key
		}
		if at, err = parseVersion(w.AfterVersion); err != nil {
			return true, err
		}
	}
	w.lastKey = w.AfterKey
	_, _, err = w.stretch(`AND key = ? AND clock <= ? AND (clock < ? OR device < ?) ORDER BY clock DESC, device DESC LIMIT ?`,
		w.AfterKey, at.clock, at.clock, column(at.device), w.Limit+1)
	return w.page.NextKey != "", err
}

// stretch lists until the page is full, the versions end, or a common prefix asks
// for a leap.
func (w *versionWalk) stretch(where string, args ...any) (next string, done bool, err error) {
	rows, err := w.t.query(`SELECT `+versionColumns+`, sum FROM versions WHERE bucket = ? `+where, append([]any{w.bucket}, args...)...)
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
		if len(w.page.Versions)+len(w.page.Prefixes) == w.Limit {
			w.page.NextKey, w.page.NextVersion = w.lastKey, w.lastVersion
			return "", true, rows.Err()
		}
		if p, ok := w.common(o.Key); ok {
			w.page.Prefixes, w.lastKey, w.lastVersion = append(w.page.Prefixes, p), p, ""
			next, end := after(p)
			return next, end, rows.Err()
		}
		o.Latest = o.Key != w.lastKey // a common prefix is no key that is listed
		w.page.Versions = append(w.page.Versions, o)
		w.lastKey, w.lastVersion = o.Key, r.stamp().id()
	}
	return "", true, rows.Err()
}
