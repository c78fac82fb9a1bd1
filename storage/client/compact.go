package client

import (
	"bytes"
	"context"
	"fmt"

	"hearth/storage/index"
)

const (
	holes    = 30 // percent of a slab above which it is worth to be rewritten
	manyUsed = 64 // slabs that are surveyed at once
)

// Compact rewrites slabs of which more than 30 % are holes: what lives in them is
// read and packed anew, as much as fills a slab at a time, and the old ones are
// removed from their hosts. It gives back how many slabs it emptied.
func (x *Client) Compact(ctx context.Context) (emptied int, err error) {
	list, err := x.c.Index.Occupancy(ctx, manyUsed)
	if err != nil {
		return 0, err
	}
	var group []index.SlabID
	var live int64
	for _, o := range list {
		if (o.Size-o.Live)*100 <= o.Size*holes {
			continue
		}
		if live+o.Live > x.c.Class.SlabSize() && len(group) > 0 {
			if err := x.relocate(ctx, group); err != nil {
				return emptied, err
			}
			emptied, group, live = emptied+len(group), nil, 0
		}
		group, live = append(group, o.Slab), live+o.Live
	}
	if len(group) > 0 {
		if err := x.relocate(ctx, group); err != nil {
			return emptied, err
		}
	}
	return emptied + len(group), nil
}

// relocate packs everything that lies in some slabs into new ones.
func (x *Client) relocate(ctx context.Context, slabs []index.SlabID) error {
	old := make(map[index.SlabID]*index.PlacedSlab)
	users := make(map[string]index.File) // an object may lie in several of them
	for _, id := range slabs {
		s, err := x.c.Index.Slab(ctx, id)
		if err != nil {
			return err
		}
		old[id] = s
		files, err := x.c.Index.UsersOf(ctx, id)
		if err != nil {
			return err
		}
		for _, f := range files {
			users[fmt.Sprint(f.Bucket, "/", f.Key, "/", f.Version, "/", f.Device)] = f
		}
	}
	pieces := make(map[index.Extent]*piece)
	var list []*piece
	var size int64
	for _, f := range users {
		for _, e := range f.Manifest.Extents {
			if s := old[e.Slab]; s != nil && pieces[e] == nil {
				pieces[e] = x.stretch(s, e)
				list, size = append(list, pieces[e]), size+e.Length
			}
		}
	}
	if len(list) == 0 {
		return nil // parts of an upload that isn't complete: they stay
	}
	id := x.c.Index.BeginRepair()
	src := &stream{ctx: ctx, list: list, strict: true}
	made, pending, err := x.bring(ctx, id, size, src)
	if err == nil {
		var moved []index.Relocation
		for _, f := range users {
			moved = append(moved, index.Relocation{Object: f.Object, From: f.Manifest, To: moveOf(f.Manifest, pieces, made)})
		}
		err = x.c.Index.Relocate(context.WithoutCancel(ctx), id, made, moved)
	}
	if pending > 0 || err != nil {
		defer x.wake()
	}
	if err != nil {
		if e := x.c.Index.Abort(context.WithoutCancel(ctx), id); e != nil {
			x.c.Log.Error("upload not ended", "err", e) // Reclaim does it at the next start
		}
		return fmt.Errorf("compact %d slabs: %w", len(slabs), err)
	}
	x.wake() // the old ones are to be removed
	return nil
}

// stretch is the piece of a slab that is read from its hosts.
func (x *Client) stretch(s *index.PlacedSlab, e index.Extent) *piece {
	return &piece{size: e.Length, load: func(ctx context.Context) ([]byte, error) {
		f := index.File{
			Object:   index.Object{Ref: index.Ref{Bucket: ".slab", Key: s.ID.String()}, Size: e.Length},
			Manifest: index.Manifest{Extents: []index.Extent{e}}, Slabs: map[index.SlabID]*index.PlacedSlab{e.Slab: s},
		}
		b := bytes.NewBuffer(make([]byte, 0, e.Length))
		err := x.reader.Read(ctx, &f, 0, e.Length, b)
		return b.Bytes(), err
	}}
}

// moveOf is a manifest after its pieces have moved.
func moveOf(m index.Manifest, pieces map[index.Extent]*piece, to []index.PlacedSlab) index.Manifest {
	var out index.Manifest
	for _, e := range m.Extents {
		p := pieces[e]
		if p == nil {
			out.Extents = append(out.Extents, e)
			continue
		}
		out.Extents = append(out.Extents, cut(to, p.off, p.size)...)
	}
	return out
}
