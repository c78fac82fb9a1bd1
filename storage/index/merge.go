package index

import "hearth/core/fault"

// Merging is what makes indexes that have seen the same changes alike, whatever
// the order: of each bucket, document, set of attributes, manifest and place the
// last writer's word counts; a version is there unless it was removed; and of a
// key's null versions only the newest counts, even if that one was removed.

// A merging is what is known of the index while changes are merged, so that they
// need not ask for each.
type merging struct {
	buckets      map[string]bool // that have a row
	tombs, early bool            // there may be some
}

func (b *bucketRow) merge(t *tx) error {
	old, found, err := t.bucketRow(b.name)
	if err != nil || found && !old.stamp().less(b.stamp()) {
		return err
	}
	return t.putBucket(b)
}

func (t *tx) bucketRow(name string) (b bucketRow, found bool, err error) {
	found, err = t.row(`SELECT `+bucketColumns+`, sum FROM buckets WHERE name = ?`, []any{name}, b.into()...)
	if err == nil && found {
		err = verify(b.sum, "buckets", b.columns()...)
	}
	return b, found, err
}

func (d *docRow) merge(t *tx) error {
	var old docRow
	found, err := t.row(`SELECT `+docColumns+` FROM docs WHERE bucket = ? AND name = ?`, []any{d.bucket, d.name}, old.into()...)
	if err != nil || found && !old.stamp().less(d.stamp()) {
		return err
	}
	return t.putDoc(d)
}

func (r *versionChange) merge(t *tx) error {
	if err := t.mergeInto(r.bucket); err != nil {
		return err
	}
	at := r.stamp()
	newest, some, err := t.find(r.ref())
	if err != nil {
		return err
	}
	if some {
		if old, found, err := t.find(Ref{r.bucket, r.key, at.id()}); err != nil || found {
			if err == nil && old.moved().less(r.moved()) {
				err = r.move(t, &old)
			}
			return err
		}
	}
	if dead, err := t.removed(r.bucket, r.key, at); err != nil || dead {
		return err
	}
	if r.null != 0 {
		if covered, err := t.supersede(r.bucket, r.key, at, some); err != nil || covered {
			return err
		}
		if t.merging.tombs {
			if err := t.coverTombs(&r.version); err != nil {
				return err
			}
		}
		if newest, some, err = t.find(r.ref()); err != nil { // it may be gone
			return err
		}
	}
	row := r.version
	if row.current = 1 - row.marker; some {
		if at.less(newest.stamp()) {
			row.current = 0
		} else if newest.current != 0 {
			newest.current = 0
			if err := t.put(&newest); err != nil {
				return err
			}
		}
	}
	if err := r.write(t, &row); err != nil {
		return err
	}
	if row.current == 0 { // what it covered may have hidden another
		if err := t.settle(r.bucket, r.key); err != nil {
			return err
		}
	}
	return t.replay(r.bucket, r.key, at)
}

// write adds the row of a version that is new here.
func (r *versionChange) write(t *tx, row *version) error {
	attrs, err := decodeAttrs(r.attrs)
	if err != nil {
		return err
	}
	row.aclock, row.adevice, row.floor = row.clock, row.device, attrs.floor()
	if row.marker == 0 {
		m, err := DecodeManifest(r.manifest)
		if err != nil {
			return err
		}
		row.size = m.Size()
		if row.manifest, err = t.addManifest(m, true); err != nil {
			return err
		}
	}
	return t.put(row)
}

// mergeInto makes sure that a bucket has a row. What the bucket is may have yet to
// come; that something is in it makes it there.
func (t *tx) mergeInto(bucket string) error {
	if t.merging.buckets[bucket] {
		return nil
	}
	t.merging.buckets[bucket] = true
	if _, found, err := t.bucketRow(bucket); err != nil || found {
		return err
	}
	return t.putBucket(&bucketRow{name: bucket, gone: 1, device: column(0)})
}

// move takes the newer word for where the bytes of a version lie.
func (r *versionChange) move(t *tx, row *version) error {
	m, err := DecodeManifest(r.manifest)
	if err != nil {
		return err
	}
	if row.marker != 0 || m.Size() != row.size {
		return fault.New(fault.BadFrame, "%s of %d bytes was moved to where %d are", row.ref(), row.size, m.Size())
	}
	old := row.manifest
	if row.manifest, err = t.addManifest(m, true); err != nil {
		return err
	}
	row.mclock, row.mdevice = r.mclock, r.mdevice
	if err := t.put(row); err != nil {
		return err
	}
	return t.dropManifest(old)
}

// removed says that a version has a tomb.
func (t *tx) removed(bucket, key string, at stamp) (dead bool, err error) {
	if !t.merging.tombs {
		return false, nil
	}
	_, err = t.row(`SELECT EXISTS (SELECT 1 FROM tombs WHERE bucket = ? AND key = ? AND clock = ? AND device = ?)`,
		[]any{bucket, key, at.clock, column(at.device)}, &dead)
	return dead, err
}

// supersede drops null versions of a key older than at; covered says that there
// is, or was, a newer one. With some the key has versions.
func (t *tx) supersede(bucket, key string, at stamp, some bool) (covered bool, err error) {
	if t.merging.tombs {
		_, err = t.row(`SELECT EXISTS (SELECT 1 FROM tombs WHERE bucket = ? AND key = ? AND plain = 1 AND (clock > ? OR clock = ? AND device > ?))`,
			[]any{bucket, key, at.clock, at.clock, column(at.device)}, &covered)
	}
	if err != nil || covered || !some {
		return covered, err
	}
	old, found, err := t.find(Ref{bucket, key, NullVersion})
	if err != nil || !found || old.stamp() == at {
		return false, err
	}
	if at.less(old.stamp()) {
		return true, nil
	}
	return false, t.drop(&old)
}

func (m *tomb) merge(t *tx) error {
	at := stamp{m.clock, deviceOf(m.device)}
	old := tomb{}
	had, err := t.row(`SELECT `+tombColumns+`, sum FROM tombs WHERE bucket = ? AND key = ? AND clock = ? AND device = ?`,
		[]any{m.bucket, m.key, m.clock, m.device}, old.into()...)
	if err != nil || had && !old.by().less(m.by()) {
		return err
	}
	if m.null != 0 {
		if covered, err := t.supersede(m.bucket, m.key, at, true); err != nil || covered {
			return err
		}
	}
	r, found, err := t.find(Ref{m.bucket, m.key, at.id()})
	if err != nil {
		return err
	}
	if found {
		if err := t.drop(&r); err != nil {
			return err
		}
	}
	if err := t.exec(`DELETE FROM early WHERE bucket = ? AND key = ? AND clock = ? AND device = ?`, m.bucket, m.key, m.clock, m.device); err != nil {
		return err
	}
	t.merging.tombs = true
	if err := t.putTomb(m); err != nil {
		return err
	}
	return t.settle(m.bucket, m.key)
}

// early keeps a change to a version that isn't known yet, unless it was removed.
func (t *tx) early(bucket, key string, of, by stamp, body []byte) error {
	if dead, err := t.removed(bucket, key, of); err != nil || dead {
		return err
	}
	t.merging.early = true
	columns := []any{bucket, key, of.clock, column(of.device), by.clock, column(by.device), body}
	return t.exec(`INSERT OR REPLACE INTO early VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, append(columns, rowSum("early", columns...))...)
}

// replay merges what has come too early for a version.
func (t *tx) replay(bucket, key string, at stamp) error {
	if !t.merging.early {
		return nil
	}
	var bodies [][]byte
	err := t.each(`SELECT body FROM early WHERE bucket = ? AND key = ? AND clock = ? AND device = ?`, []any{bucket, key, at.clock, column(at.device)},
		func(scan func(...any) error) error {
			var b []byte
			err := scan(&b)
			bodies = append(bodies, b)
			return err
		})
	if err != nil || len(bodies) == 0 {
		return err
	}
	for _, b := range bodies {
		c, err := decodeChange(b)
		if err != nil {
			return fault.New(fault.DamagedIndex, "a change that came early: %w", err)
		}
		if err := c.merge(t); err != nil {
			return err
		}
	}
	return t.exec(`DELETE FROM early WHERE bucket = ? AND key = ? AND clock = ? AND device = ?`, bucket, key, at.clock, column(at.device))
}

func (a *attrsChange) merge(t *tx) error {
	of := stamp{a.clock, deviceOf(a.device)}
	r, found, err := t.find(Ref{a.bucket, a.key, of.id()})
	if err != nil {
		return err
	}
	if !found {
		v := version{bucket: a.bucket, key: a.key, clock: a.clock, device: a.device, aclock: a.aclock, adevice: a.adevice, floor: a.floor, attrs: a.attrs}
		return t.early(a.bucket, a.key, of, a.by(), encodeAttrsChange(&v))
	}
	if r.written().less(a.by()) {
		r.aclock, r.adevice, r.attrs = a.aclock, a.adevice, a.attrs
	}
	r.floor = max(r.floor, a.floor)
	return t.put(&r)
}
