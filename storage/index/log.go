package index

import (
	"math"

	"hearth/core/canon"
	"hearth/core/fault"
)

// The kinds of change (docs/formats/index-log.md).
const (
	logMajor = 1

	kindBucket    = 1
	kindDoc       = 2
	kindVersion   = 3
	kindTomb      = 4
	kindAttrs     = 5
	kindSlab      = 6
	kindPlacement = 7
	kindGone      = 8
)

// maxBody bounds one change: a version with a manifest of MaxExtents.
const maxBody = 40 << 20

// A change is what one body of the log says.
type change interface {
	check() error
	by() stamp // who wrote it, and when
	merge(*tx) error
}

// note appends a change to the log that other devices will read.
func (t *tx) note(body []byte) error {
	t.x.seq++
	return t.exec(`INSERT INTO changes VALUES (?, ?, ?)`, t.x.seq, body, rowSum("changes", t.x.seq, body))
}

func start(kind uint8) *canon.Writer { return canon.New(logMajor).Uint8(kind) }

func writeStamp(w *canon.Writer, clock, device int64) *canon.Writer {
	return w.Int64(clock).Uint64(deviceOf(device))
}

func readStamp(r *canon.Reader) (clock, device int64) {
	clock = r.Int64()
	return clock, column(r.Uint64())
}

// bit takes a byte that is 0 or 1.
func bit(r *canon.Reader, bad *bool) int64 {
	v := r.Uint8()
	*bad = *bad || v > 1
	return int64(v)
}

func encodeBucket(b *bucketRow) []byte {
	w := start(kindBucket).String(b.name).Int64(b.created).Uint8(uint8(b.versioning)).Uint8(uint8(b.gone))
	return writeStamp(w, b.clock, b.device).Bytes()
}

func encodeDoc(d *docRow) []byte {
	w := start(kindDoc).String(d.bucket).String(d.name).Uint8(uint8(d.gone)).Blob(d.body)
	return writeStamp(w, d.clock, d.device).Bytes()
}

// A versionChange is a version and its manifest. Attributes that were changed
// later come as an attrsChange; a manifest that was written later, since the
// bytes lie elsewhere now, comes with the whole version once more.
type versionChange struct {
	version
	manifest []byte // its canonical bytes; empty for a marker
}

func encodeVersion(r *version, manifest []byte) []byte {
	w := writeStamp(start(kindVersion).String(r.bucket).String(r.key), r.clock, r.device)
	w.Uint8(uint8(r.null)).Uint8(uint8(r.marker)).Int64(r.created).String(r.etag).String(r.typ).Blob(r.extra).Blob(r.attrs)
	writeStamp(w, r.mclock, r.mdevice)
	return w.Uint64(uint64(len(manifest))).Fixed(manifest).Bytes()
}

// A tomb says that a version is removed for good. It covers older null versions
// of the key if it is one.
type tomb struct {
	bucket, key   string
	clock, device int64 // of the version
	null          int64
	bclock, bdev  int64 // when it was removed, by whom
	sum           []byte
}

const tombColumns = `bucket, key, clock, device, plain, bclock, bdevice`

func (m *tomb) columns() []any {
	return []any{m.bucket, m.key, m.clock, m.device, m.null, m.bclock, m.bdev}
}

func (m *tomb) into() []any {
	return []any{&m.bucket, &m.key, &m.clock, &m.device, &m.null, &m.bclock, &m.bdev, &m.sum}
}

func encodeTomb(m *tomb) []byte {
	w := writeStamp(start(kindTomb).String(m.bucket).String(m.key), m.clock, m.device).Uint8(uint8(m.null))
	return writeStamp(w, m.bclock, m.bdev).Bytes()
}

// An attrsChange says what a version's attributes are since they were written.
type attrsChange struct {
	bucket, key     string
	clock, device   int64 // of the version
	aclock, adevice int64
	floor           int64
	attrs           []byte
}

func encodeAttrsChange(r *version) []byte {
	w := writeStamp(start(kindAttrs).String(r.bucket).String(r.key), r.clock, r.device)
	return writeStamp(w, r.aclock, r.adevice).Int64(r.floor).Blob(r.attrs).Bytes()
}

// A slabChange is a slab with where its shards lie.
type slabChange struct {
	id            SlabID
	clock, device int64
	body          []byte
	at            []placed // n of them
}

// A placed is where a shard lies, by the last who said so. An empty host is nowhere.
type placed struct {
	host          string
	lease         uint64
	clock, device int64
}

const maxSlab = 4096

func encodeSlabChange(s *slabChange) []byte {
	w := writeStamp(start(kindSlab).Fixed(s.id[:]), s.clock, s.device).Blob(s.body).Uint8(uint8(len(s.at)))
	for _, p := range s.at {
		writeStamp(w.String(p.host).Uint64(p.lease), p.clock, p.device)
	}
	return w.Bytes()
}

// A placementChange is the new place of one shard.
type placementChange struct {
	id    SlabID
	shard int64
	placed
}

func encodePlacement(p *placementChange) []byte {
	w := start(kindPlacement).Fixed(p.id[:]).Uint8(uint8(p.shard)).String(p.host).Uint64(p.lease)
	return writeStamp(w, p.clock, p.device).Bytes()
}

// A goneChange says that a slab's shards are being removed from their hosts.
type goneChange struct {
	id            SlabID
	clock, device int64
}

func encodeGone(g *goneChange) []byte {
	return writeStamp(start(kindGone).Fixed(g.id[:]), g.clock, g.device).Bytes()
}

// decodeChange reads one body and refuses what isn't the only encoding of a
// change. A kind that isn't known is of a later format.
func decodeChange(b []byte) (change, error) {
	if len(b) > maxBody {
		return nil, fault.New(fault.TooLarge, "change of %d bytes, at most %d are allowed", len(b), maxBody)
	}
	r := canon.Read(b, logMajor)
	var c change
	bad := false
	switch kind := r.Uint8(); kind {
	case kindBucket:
		x := &bucketRow{name: r.String(64), created: r.Int64(), versioning: int64(r.Uint8()), gone: bit(r, &bad)}
		x.clock, x.device = readStamp(r)
		c = x
	case kindDoc:
		x := &docRow{bucket: r.String(64), name: r.String(64), gone: bit(r, &bad), body: r.Blob(MaxDoc)}
		x.clock, x.device = readStamp(r)
		c = x
	case kindVersion:
		x := &versionChange{version: version{bucket: r.String(64), key: r.String(MaxKey)}}
		x.clock, x.device = readStamp(r)
		x.null, x.marker, x.created = bit(r, &bad), bit(r, &bad), r.Int64()
		x.etag, x.typ, x.extra, x.attrs = r.String(maxWord), r.String(maxWord), r.Blob(maxExtra), r.Blob(maxExtra)
		x.mclock, x.mdevice = readStamp(r)
		if n := r.Uint64(); n <= uint64(len(b)) {
			x.manifest = make([]byte, n)
			r.Fixed(x.manifest)
		}
		c = x
	case kindTomb:
		x := &tomb{bucket: r.String(64), key: r.String(MaxKey)}
		x.clock, x.device = readStamp(r)
		x.null = bit(r, &bad)
		x.bclock, x.bdev = readStamp(r)
		c = x
	case kindAttrs:
		x := &attrsChange{bucket: r.String(64), key: r.String(MaxKey)}
		x.clock, x.device = readStamp(r)
		x.aclock, x.adevice = readStamp(r)
		x.floor, x.attrs = r.Int64(), r.Blob(maxExtra)
		c = x
	case kindSlab:
		x := &slabChange{}
		r.Fixed(x.id[:])
		x.clock, x.device = readStamp(r)
		x.body = r.Blob(maxSlab)
		for range r.Uint8() {
			x.at = append(x.at, readPlaced(r))
		}
		c = x
	case kindPlacement:
		x := &placementChange{}
		r.Fixed(x.id[:])
		x.shard, x.placed = int64(r.Uint8()), readPlaced(r)
		c = x
	case kindGone:
		x := &goneChange{}
		r.Fixed(x.id[:])
		x.clock, x.device = readStamp(r)
		c = x
	default:
		if len(b) < 2 || b[0] != logMajor {
			return nil, r.Done()
		}
		return nil, fault.New(fault.UnknownFormat, "change of kind %d, known are 1 to %d", kind, kindGone)
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	if at := c.by(); bad || at.clock <= 0 || at.clock > math.MaxInt64/2 {
		return nil, fault.New(fault.BadFrame, "change of kind %d: a field is out of range", b[1])
	}
	return c, c.check()
}

func readPlaced(r *canon.Reader) placed {
	p := placed{host: r.String(maxWord), lease: r.Uint64()}
	p.clock, p.device = readStamp(r)
	return p
}
