package index

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/core/proof"
)

// SlabsAfter lists slabs that something uses in the order of their names, those
// after one (the zero name for all), at most limit.
func (x *Index) SlabsAfter(ctx context.Context, after SlabID, limit int) (out []PlacedSlab, err error) {
	err = x.view(ctx, func(t *tx) error {
		ids, err := t.slabs(`SELECT id FROM slabs WHERE id > ? AND refs > 0 AND length(body) > 0 ORDER BY id LIMIT ?`, after[:], limit)
		for i := 0; i < len(ids) && err == nil; i++ {
			var s *PlacedSlab
			if s, err = t.slab(ids[i]); err == nil {
				out = append(out, *s)
			}
		}
		return err
	})
	return out, failed("list slabs", err)
}

func (t *tx) slabs(query string, args ...any) (out []SlabID, err error) {
	err = t.each(query, args, func(scan func(...any) error) error {
		var id []byte
		if err := scan(&id); err != nil {
			return err
		}
		if len(id) != len(SlabID{}) {
			return fault.New(fault.DamagedIndex, "a slab's name has %d bytes", len(id))
		}
		out = append(out, SlabID(id))
		return nil
	})
	return out, err
}

// A Watched slab is what a steward may know of it: no name, and no key but that of
// the outer mask.
type Watched struct {
	Seq       int64 // grows whenever something of it changes
	ID        SlabID
	Gone      bool // nobody wants it any more; the fields below are zero
	Class     erasure.Class
	ShardSize int64
	MaskKey   [32]byte
	Roots     []proof.Hash
	At        []Place
}

// PlacementsSince lists slabs whose places changed behind a number, oldest change
// first, each as it is now, at most limit.
func (x *Index) PlacementsSince(ctx context.Context, seq int64, limit int) (out []Watched, err error) {
	err = x.view(ctx, func(t *tx) error {
		for _, query := range []string{
			`SELECT seq, slab, 1 FROM gone WHERE seq > ? ORDER BY seq LIMIT ?`,
			`SELECT seq, id, 0 FROM slabs WHERE seq > ? AND length(body) > 0 ORDER BY seq LIMIT ?`,
		} {
			err := t.each(query, []any{seq, limit}, func(scan func(...any) error) error {
				var w Watched
				var id []byte
				if err := scan(&w.Seq, &id, &w.Gone); err != nil {
					return err
				}
				if len(id) != len(SlabID{}) {
					return fault.New(fault.DamagedIndex, "a slab's name has %d bytes", len(id))
				}
				w.ID = SlabID(id)
				out = append(out, w)
				return nil
			})
			if err != nil {
				return err
			}
		}
		slices.SortFunc(out, func(a, b Watched) int { return cmp.Compare(a.Seq, b.Seq) })
		out = out[:min(len(out), limit)]
		for i := range out {
			w := &out[i]
			if w.Gone {
				continue
			}
			s, err := t.slab(w.ID)
			if err != nil {
				return err
			}
			w.Class, w.ShardSize, w.MaskKey, w.Roots, w.At = s.Class, s.ShardSize, s.MaskKey, s.Roots, s.At
		}
		return nil
	})
	return out, failed("list placements", err)
}

// Occupied is how much of a slab is in use.
type Occupied struct {
	Slab       SlabID
	Size, Live int64 // bytes
	Users      int   // objects, and parts of uploads
}

// Occupancy lists slabs that are used in part, those with the most room to win
// first, at most limit. It reads all manifests.
func (x *Index) Occupancy(ctx context.Context, limit int) (out []Occupied, err error) {
	used := make(map[SlabID]*stretches)
	err = x.view(ctx, func(t *tx) error {
		err := t.each(`SELECT id, body, sum FROM manifests WHERE length(body) > 17`, nil, func(scan func(...any) error) error {
			var id int64
			var body, sum []byte
			if err := scan(&id, &body, &sum); err != nil {
				return err
			}
			if err := verify(sum, "manifests", id, body); err != nil {
				return err
			}
			m, err := DecodeManifest(body)
			if err != nil {
				return err
			}
			for _, e := range m.Extents {
				s := used[e.Slab]
				if s == nil {
					s = &stretches{}
					used[e.Slab] = s
				}
				s.add(e, id)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for id, s := range used {
			sealed, err := t.sealed(id)
			if fault.CodeOf(err) == fault.NotFound {
				continue // not known yet
			}
			if err != nil {
				return err
			}
			if live := s.live(); live < sealed.Size {
				out = append(out, Occupied{Slab: id, Size: sealed.Size, Live: live, Users: s.users})
			}
		}
		return nil
	})
	slices.SortFunc(out, func(a, b Occupied) int {
		return cmp.Or(cmp.Compare(b.Size-b.Live, a.Size-a.Live), bytes.Compare(a.Slab[:], b.Slab[:]))
	})
	return out[:min(len(out), limit)], failed("survey slabs", err)
}

// stretches are the parts of a slab that are in use.
type stretches struct {
	list  [][2]int64
	last  int64 // manifest
	users int
}

func (s *stretches) add(e Extent, manifest int64) {
	if s.users == 0 || s.last != manifest {
		s.users, s.last = s.users+1, manifest
	}
	s.list = append(s.list, [2]int64{e.Offset, e.Offset + e.Length})
}

// live counts each byte once, however many use it.
func (s *stretches) live() (n int64) {
	slices.SortFunc(s.list, func(a, b [2]int64) int { return cmp.Compare(a[0], b[0]) })
	end := int64(0)
	for _, p := range s.list {
		if p[1] > end {
			n += p[1] - max(p[0], end)
			end = p[1]
		}
	}
	return n
}

// UsersOf lists the versions that lie in a slab, with their manifests. It looks
// through all manifests.
func (x *Index) UsersOf(ctx context.Context, id SlabID) (out []File, err error) {
	err = x.view(ctx, func(t *tx) error {
		return t.each(`SELECT `+versionColumns+`, v.sum, m.body, m.sum FROM manifests m JOIN versions v ON v.manifest = m.id WHERE instr(m.body, ?) > 0`,
			[]any{id[:]}, func(scan func(...any) error) error {
				var r version
				var body, sum []byte
				if err := scan(append(r.into(), &body, &sum)...); err != nil {
					return err
				}
				if err := verify(sum, "manifests", r.manifest, body); err != nil {
					return err
				}
				m, err := DecodeManifest(body)
				if err != nil || !slices.Contains(m.Slabs(), id) {
					return err
				}
				o, err := r.object(x.c.Now().Unix())
				out = append(out, File{Object: o, Manifest: m})
				return err
			})
	})
	return out, failed("find users of slab "+id.String(), err)
}
