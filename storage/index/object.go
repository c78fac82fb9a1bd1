package index

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"math"
	"slices"

	"hearth/core/canon"
	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/storage/seal"
)

// An Object is one entry of the list, without its contents.
type Object struct {
	Ref
	Version int64  // grows with every put and removal in this index
	Device  uint64 // who made the version
	Size    int64
	Created int64  // unix seconds
	ETag    string // changes with the contents
	Type    string // media type, may be empty
	Extra   map[string]string
}

// A Place is where a shard lies. The zero Place is nowhere: still pending.
type Place struct {
	Host  string // the host's address on the ledger
	Lease uint64
}

// A PlacedSlab is a slab and the place of each of its shards.
type PlacedSlab struct {
	Slab
	At []Place // n of them
}

// Placed counts the shards that have a place.
func (s *PlacedSlab) Placed() int {
	n := 0
	for _, p := range s.At {
		if p != (Place{}) {
			n++
		}
	}
	return n
}

// A File is an object with all that is needed to read it.
type File struct {
	Object
	Manifest Manifest
	Slabs    map[SlabID]*PlacedSlab
}

// Limits of an object's own words.
const (
	maxWord  = 256
	maxExtra = 8 << 10
)

func encodeExtra(extra map[string]string) ([]byte, error) {
	w := canon.New(1).Uint64(uint64(len(extra)))
	for _, k := range slices.Sorted(maps.Keys(extra)) {
		w.String(k).String(extra[k])
	}
	if len(w.Bytes()) > maxExtra {
		return nil, fault.New(fault.TooLarge, "metadata of %d bytes, at most %d are allowed", len(w.Bytes()), maxExtra)
	}
	return w.Bytes(), nil
}

func decodeExtra(b []byte) (map[string]string, error) {
	r := canon.Read(b, 1)
	n := r.Uint64()
	if n == 0 {
		return nil, r.Done()
	}
	out := make(map[string]string)
	for range min(n, maxExtra/8) {
		k := r.String(maxExtra)
		out[k] = r.String(maxExtra)
	}
	return out, r.Done()
}

// an objectRow is a row of table objects as it stands.
type objectRow struct {
	bucket, key                              string
	version, device, size, created, manifest int64
	etag, typ                                string
	extra, sum                               []byte
}

const objectColumns = `bucket, key, version, device, size, created, etag, type, extra, manifest, sum`

func (r *objectRow) into() []any {
	return []any{&r.bucket, &r.key, &r.version, &r.device, &r.size, &r.created, &r.etag, &r.typ, &r.extra, &r.manifest, &r.sum}
}

func (r *objectRow) columns() []any {
	return []any{r.bucket, r.key, r.version, r.device, r.size, r.created, r.etag, r.typ, r.extra, r.manifest}
}

func (r *objectRow) object() (Object, error) {
	if err := verify(r.sum, "objects", r.columns()...); err != nil {
		return Object{}, err
	}
	extra, err := decodeExtra(r.extra)
	if err != nil {
		return Object{}, err
	}
	return Object{
		Ref: Ref{r.bucket, r.key}, Version: r.version, Device: uint64(r.device),
		Size: r.size, Created: r.created, ETag: r.etag, Type: r.typ, Extra: extra,
	}, nil
}

func notFound(ref Ref) error { return fault.New(fault.NotFound, "there is no %s", ref) }

const selectObject = `SELECT ` + objectColumns + ` FROM objects WHERE bucket = ? AND key = ?`

// Head finds an object.
func (x *Index) Head(ctx context.Context, ref Ref) (Object, error) {
	if err := ref.check(); err != nil {
		return Object{}, err
	}
	var r objectRow
	err := x.read.QueryRowContext(ctx, selectObject, ref.Bucket, ref.Key).Scan(r.into()...)
	if errors.Is(err, sql.ErrNoRows) {
		return Object{}, notFound(ref)
	}
	if err != nil {
		return Object{}, failed("find "+ref.String(), err)
	}
	o, err := r.object()
	return o, failed("find "+ref.String(), err)
}

// Get finds an object and where its bytes are, as of one moment.
func (x *Index) Get(ctx context.Context, ref Ref) (File, error) {
	return x.GetRange(ctx, ref, 0, math.MaxInt64)
}

// GetRange is Get with those slabs only that hold some of length bytes from off on.
func (x *Index) GetRange(ctx context.Context, ref Ref, off, length int64) (File, error) {
	if err := ref.check(); err != nil {
		return File{}, err
	}
	var f File
	err := x.snapshot(ctx, func(q querier) error {
		var r objectRow
		err := q.QueryRowContext(ctx, selectObject, ref.Bucket, ref.Key).Scan(r.into()...)
		if errors.Is(err, sql.ErrNoRows) {
			return notFound(ref)
		}
		if err != nil {
			return err
		}
		if f.Object, err = r.object(); err != nil {
			return err
		}
		if f.Manifest, err = readManifest(ctx, q, r.manifest); err != nil {
			return err
		}
		f.Slabs = make(map[SlabID]*PlacedSlab)
		for _, e := range f.Manifest.Within(off, length) {
			if f.Slabs[e.Slab] == nil {
				if f.Slabs[e.Slab], err = readSlab(ctx, q, e.Slab); err != nil {
					return err
				}
			}
		}
		return checkExtents(f)
	})
	return f, failed("find "+ref.String(), err)
}

func checkExtents(f File) error {
	if f.Size != f.Manifest.Size() {
		return fault.New(fault.DamagedIndex, "the object has %d bytes, its manifest %d", f.Size, f.Manifest.Size())
	}
	for _, e := range f.Manifest.Extents {
		if s := f.Slabs[e.Slab]; s != nil && e.Offset+e.Length > s.Size {
			return fault.New(fault.DamagedIndex, "an extent ends behind its slab %s", e.Slab)
		}
	}
	return nil
}

// A Summary is an object with what its slabs say, in short.
type Summary struct {
	Object
	Class   erasure.Class // of its first slab; zero where it has none
	Pending int           // shards that have no place yet
}

// Summary finds an object without the places of its shards.
func (x *Index) Summary(ctx context.Context, ref Ref) (Summary, error) {
	if err := ref.check(); err != nil {
		return Summary{}, err
	}
	var out Summary
	err := x.snapshot(ctx, func(q querier) error {
		var r objectRow
		err := q.QueryRowContext(ctx, selectObject, ref.Bucket, ref.Key).Scan(r.into()...)
		if errors.Is(err, sql.ErrNoRows) {
			return notFound(ref)
		}
		if err != nil {
			return err
		}
		if out.Object, err = r.object(); err != nil {
			return err
		}
		m, err := readManifest(ctx, q, r.manifest)
		if err != nil || len(m.Extents) == 0 {
			return err
		}
		first, err := readSealed(ctx, q, m.Extents[0].Slab)
		if err != nil {
			return err
		}
		out.Class = first.Class
		var some bool // mostly there is none at all
		if err := q.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM pending)`).Scan(&some); err != nil || !some {
			return err
		}
		for _, id := range m.Slabs() {
			var n int
			if err := q.QueryRowContext(ctx, `SELECT count(*) FROM pending WHERE slab = ?`, id[:]).Scan(&n); err != nil {
				return err
			}
			out.Pending += n
		}
		return nil
	})
	return out, failed("find "+ref.String(), err)
}

// Slab finds one slab, wherever it is used.
func (x *Index) Slab(ctx context.Context, id SlabID) (*PlacedSlab, error) {
	var s *PlacedSlab
	err := x.snapshot(ctx, func(q querier) (err error) {
		s, err = readSlab(ctx, q, id)
		return err
	})
	return s, failed("find slab "+id.String(), err)
}

// A querier reads: a transaction, or the writer's connection.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// snapshot runs f on one state of the file.
func (x *Index) snapshot(ctx context.Context, f func(querier) error) error {
	t, err := x.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = t.Rollback() }() // it has read only
	return f(t)
}

func readManifest(ctx context.Context, q querier, id int64) (Manifest, error) {
	var body, sum []byte
	err := q.QueryRowContext(ctx, `SELECT body, sum FROM manifests WHERE id = ?`, id).Scan(&body, &sum)
	if errors.Is(err, sql.ErrNoRows) {
		return Manifest{}, fault.New(fault.DamagedIndex, "manifest %d is missing", id)
	}
	if err != nil {
		return Manifest{}, err
	}
	if err := verify(sum, "manifests", id, body); err != nil {
		return Manifest{}, err
	}
	return DecodeManifest(body)
}

// readSealed reads what a slab was sealed with, without the places of its shards.
func readSealed(ctx context.Context, q querier, id SlabID) (sealed seal.Slab, err error) {
	var refs int64
	var body, sum []byte
	err = q.QueryRowContext(ctx, `SELECT refs, body, sum FROM slabs WHERE id = ?`, id[:]).Scan(&refs, &body, &sum)
	if errors.Is(err, sql.ErrNoRows) {
		return sealed, fault.New(fault.NotFound, "there is no slab %s", id)
	}
	if err != nil {
		return sealed, err
	}
	if err := verify(sum, "slabs", id[:], refs, body); err != nil {
		return sealed, err
	}
	return DecodeSlab(body)
}

func readSlab(ctx context.Context, q querier, id SlabID) (*PlacedSlab, error) {
	sealed, err := readSealed(ctx, q, id)
	if err != nil {
		return nil, err
	}
	s := &PlacedSlab{Slab: Slab{id, sealed}, At: make([]Place, sealed.Class.N)}
	rows, err := q.QueryContext(ctx, `SELECT p.shard, p.host, p.lease, p.sum, h.address, h.sum
		FROM placements p JOIN hosts h ON h.id = p.host WHERE p.slab = ?`, id[:])
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var shard, host, lease int64
		var sum, hostSum []byte
		var address string
		if err := rows.Scan(&shard, &host, &lease, &sum, &address, &hostSum); err != nil {
			return nil, err
		}
		if err := verify(sum, "placements", id[:], shard, host, lease); err != nil {
			return nil, err
		}
		if err := verify(hostSum, "hosts", host, address); err != nil {
			return nil, err
		}
		if shard < 0 || shard >= int64(len(s.At)) {
			return nil, fault.New(fault.DamagedIndex, "slab %s has no shard %d", id, shard)
		}
		s.At[shard] = Place{address, uint64(lease)}
	}
	return s, rows.Err()
}
