package index

import (
	"context"
	"fmt"
	"math"

	"hearth/core/erasure"
	"hearth/core/fault"
)

// An Object is one version of an object, without its contents. Its Ref names the
// key alone; At names the version.
type Object struct {
	Ref
	Version   int64  // hybrid clock: grows with every change that this index knows of
	Device    uint64 // who made the version
	VersionID string // NullVersion, or 26 characters that sort like Version and Device
	Null      bool   // made while the bucket kept no versions; a key has one at most
	Marker    bool   // says that the object was removed; it has no contents
	Latest    bool   // the newest of its key
	Size      int64
	Created   int64  // unix seconds
	ETag      string // changes with the contents
	Type      string // media type, may be empty
	Extra     map[string]string
	Attrs
}

// At names this very version, also when it is a null version.
func (o Object) At() Ref {
	return Ref{o.Bucket, o.Key, stamp{o.Version, o.Device}.id()}
}

// A MarkerError says that the version asked for, or the newest one, is a marker.
// Its code is fault.NotFound.
type MarkerError struct{ Object Object }

// Error says what was removed.
func (e *MarkerError) Error() string { return fmt.Sprintf("%s was removed", e.Object.Ref) }

// Unwrap gives the error its code.
func (e *MarkerError) Unwrap() error { return notFound(e.Object.Ref) }

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

func notFound(ref Ref) error {
	if ref.Version != "" {
		return fault.New(fault.NotFound, "there is no version %s of %s", ref.Version, ref)
	}
	return fault.New(fault.NotFound, "there is no %s", ref)
}

// Head finds an object; a *MarkerError when what is asked for is a marker.
func (x *Index) Head(ctx context.Context, ref Ref) (Object, error) {
	if err := ref.check(); err != nil {
		return Object{}, err
	}
	var o Object
	err := x.glance(ctx, func(t *tx) (err error) {
		_, o, err = t.object(ref)
		return err
	})
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
	err := x.view(ctx, func(t *tx) error {
		r, o, err := t.object(ref)
		if err != nil {
			return err
		}
		f.Object = o
		if f.Manifest, err = t.manifest(r.manifest); err != nil {
			return err
		}
		f.Slabs = make(map[SlabID]*PlacedSlab)
		for _, e := range f.Manifest.Within(off, length) {
			if f.Slabs[e.Slab] == nil {
				if f.Slabs[e.Slab], err = t.slab(e.Slab); err != nil {
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
	Kept    bool          // it lies in the journal: none has
}

// Summary finds an object without the places of its shards.
func (x *Index) Summary(ctx context.Context, ref Ref) (Summary, error) {
	if err := ref.check(); err != nil {
		return Summary{}, err
	}
	var out Summary
	err := x.view(ctx, func(t *tx) error {
		r, o, err := t.object(ref)
		if err != nil {
			return err
		}
		out.Object = o
		m, err := t.manifest(r.manifest)
		out.Kept = m.Journal != (Kept{})
		if err != nil || len(m.Extents) == 0 {
			return err
		}
		first, err := t.sealed(m.Extents[0].Slab)
		if err != nil {
			return err
		}
		out.Class = first.Class
		var some bool // mostly there is none at all
		if _, err := t.row(`SELECT EXISTS (SELECT 1 FROM pending)`, nil, &some); err != nil || !some {
			return err
		}
		for _, id := range m.Slabs() {
			var n int
			if _, err := t.row(`SELECT count(*) FROM pending WHERE slab = ?`, []any{id[:]}, &n); err != nil {
				return err
			}
			out.Pending += n
		}
		return nil
	})
	return out, failed("find "+ref.String(), err)
}

// object finds the version that ref names, as a row and as an Object.
func (t *tx) object(ref Ref) (version, Object, error) {
	r, found, err := t.find(ref)
	if err != nil {
		return r, Object{}, err
	}
	if !found {
		return r, Object{}, notFound(ref)
	}
	o, err := r.object(t.x.c.Now().Unix())
	if err != nil || !o.Marker {
		return r, o, err
	}
	newest, _, err := t.find(Ref{Bucket: ref.Bucket, Key: ref.Key})
	if err != nil {
		return r, o, err
	}
	o.Latest = newest.stamp() == r.stamp()
	return r, o, &MarkerError{o}
}

// Slab finds one slab, wherever it is used.
func (x *Index) Slab(ctx context.Context, id SlabID) (*PlacedSlab, error) {
	var s *PlacedSlab
	err := x.view(ctx, func(t *tx) (err error) {
		s, err = t.slab(id)
		return err
	})
	return s, failed("find slab "+id.String(), err)
}
