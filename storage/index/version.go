package index

import (
	"hearth/core/fault"
)

// A version is a row of table versions as it stands.
type version struct {
	bucket, key           string
	clock, device         int64 // device in its column's order
	null, marker, current int64 // current: the newest of its key, and no marker
	size, created         int64
	etag, typ             string
	extra, attrs          []byte
	aclock, adevice       int64 // who wrote the attributes last
	floor, manifest       int64
	mclock, mdevice       int64 // who wrote the manifest last
	sum                   []byte
}

const versionColumns = `bucket, key, clock, device, plain, marker, current, size, created, etag, type, extra, attrs, aclock, adevice, floor, manifest, mclock, mdevice`

func (r *version) into() []any {
	return []any{
		&r.bucket, &r.key, &r.clock, &r.device, &r.null, &r.marker, &r.current, &r.size, &r.created, &r.etag, &r.typ,
		&r.extra, &r.attrs, &r.aclock, &r.adevice, &r.floor, &r.manifest, &r.mclock, &r.mdevice, &r.sum,
	}
}

func (r *version) columns() []any {
	return []any{
		r.bucket, r.key, r.clock, r.device, r.null, r.marker, r.current, r.size, r.created, r.etag, r.typ,
		r.extra, r.attrs, r.aclock, r.adevice, r.floor, r.manifest, r.mclock, r.mdevice,
	}
}

func (r *version) stamp() stamp   { return stamp{r.clock, deviceOf(r.device)} }
func (r *version) written() stamp { return stamp{r.aclock, deviceOf(r.adevice)} }
func (r *version) moved() stamp   { return stamp{r.mclock, deviceOf(r.mdevice)} }
func (r *version) verify() error  { return verify(r.sum, "versions", r.columns()...) }
func (r *version) ref() Ref       { return Ref{Bucket: r.bucket, Key: r.key} }

// object turns a row into an Object as of unix second now. Of a marker it can't
// tell whether it is the latest.
func (r *version) object(now int64) (Object, error) {
	if err := r.verify(); err != nil {
		return Object{}, err
	}
	extra, err := decodeExtra(r.extra)
	if err != nil {
		return Object{}, err
	}
	attrs, err := decodeAttrs(r.attrs)
	if err != nil {
		return Object{}, err
	}
	at := r.stamp()
	o := Object{
		Ref: r.ref(), Version: at.clock, Device: at.device, VersionID: at.id(), Null: r.null != 0, Marker: r.marker != 0,
		Latest: r.current != 0, Size: r.size, Created: r.created, ETag: r.etag, Type: r.typ, Extra: extra, Attrs: attrs.keep(r.floor, now),
	}
	if o.Null {
		o.VersionID = NullVersion
	}
	return o, nil
}

const (
	newestVersion = `SELECT ` + versionColumns + `, sum FROM versions WHERE bucket = ? AND key = ? ORDER BY clock DESC, device DESC LIMIT 1`
	exactVersion  = `SELECT ` + versionColumns + `, sum FROM versions WHERE bucket = ? AND key = ? AND clock = ? AND device = ?`
	nullVersion   = `SELECT ` + versionColumns + `, sum FROM versions INDEXED BY versions_heads
		WHERE bucket = ? AND current IN (0, 1) AND key = ? AND plain = 1 ORDER BY clock DESC, device DESC LIMIT 1`
)

// find reads the row that ref names.
func (t *tx) find(ref Ref) (r version, found bool, err error) {
	switch ref.Version {
	case "":
		found, err = t.row(newestVersion, []any{ref.Bucket, ref.Key}, r.into()...)
	case NullVersion:
		found, err = t.row(nullVersion, []any{ref.Bucket, ref.Key}, r.into()...)
	default:
		var at stamp
		if at, err = parseVersion(ref.Version); err == nil {
			found, err = t.row(exactVersion, []any{ref.Bucket, ref.Key, at.clock, column(at.device)}, r.into()...)
		}
	}
	if err == nil && found {
		err = r.verify()
	}
	return r, found, err
}

// put writes a row with its checksum, over the one that may be there.
func (t *tx) put(r *version) error {
	r.sum = rowSum("versions", r.columns()...)
	return t.exec(`INSERT OR REPLACE INTO versions (`+versionColumns+`, sum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		append(r.columns(), r.sum)...)
}

// settle marks the newest version of a key as the current one, unless it is a
// marker, and no other.
func (t *tx) settle(bucket, key string) error {
	newest, found, err := t.find(Ref{Bucket: bucket, Key: key})
	if err != nil || !found {
		return err
	}
	var old version
	had, err := t.row(`SELECT `+versionColumns+`, sum FROM versions INDEXED BY versions_heads
		WHERE bucket = ? AND current = 1 AND key = ?`, []any{bucket, key}, old.into()...)
	if err != nil {
		return err
	}
	if had && old.stamp() != newest.stamp() {
		if err := old.verify(); err != nil {
			return err
		}
		old.current = 0
		if err := t.put(&old); err != nil {
			return err
		}
	}
	if newest.marker != 0 || newest.current != 0 {
		return nil
	}
	newest.current = 1
	return t.put(&newest)
}

// drop deletes a version; slabs that nobody else uses go with it.
func (t *tx) drop(r *version) error {
	if err := r.verify(); err != nil {
		return err
	}
	if err := t.exec(`DELETE FROM versions WHERE bucket = ? AND key = ? AND clock = ? AND device = ?`, r.bucket, r.key, r.clock, r.device); err != nil {
		return err
	}
	if r.marker != 0 {
		return nil
	}
	return t.dropManifest(r.manifest)
}

// addManifest keeps a manifest that uses its slabs from now on. An object under
// another name, or a part of an upload, has one of its own.
func (t *tx) addManifest(m Manifest, public bool) (id int64, err error) {
	body, err := m.Encode()
	if err != nil {
		return 0, err
	}
	for _, id := range m.Slabs() {
		if err := t.use(id, public); err != nil {
			return 0, err
		}
	}
	t.x.manifests++
	id = t.x.manifests
	return id, t.exec(`INSERT INTO manifests VALUES (?, ?, ?)`, id, body, rowSum("manifests", id, body))
}

func (t *tx) dropManifest(id int64) error {
	m, err := t.manifest(id)
	if err != nil {
		return err
	}
	if err := t.exec(`DELETE FROM manifests WHERE id = ?`, id); err != nil {
		return err
	}
	if err := t.unrecord(id, m.Journal); err != nil {
		return err
	}
	for _, id := range m.Slabs() {
		if err := t.unuse(id); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) manifest(id int64) (Manifest, error) {
	var body, sum []byte
	found, err := t.row(`SELECT body, sum FROM manifests WHERE id = ?`, []any{id}, &body, &sum)
	if err != nil {
		return Manifest{}, err
	}
	if !found {
		return Manifest{}, fault.New(fault.DamagedIndex, "manifest %d is missing", id)
	}
	if err := verify(sum, "manifests", id, body); err != nil {
		return Manifest{}, err
	}
	return DecodeManifest(body)
}
