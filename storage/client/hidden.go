package client

import (
	"bytes"
	"context"
	"errors"
	"io"

	"hearth/core/fault"
	"hearth/storage/index"
	"hearth/storage/remote"
)

// A Hidden bucket holds what the program itself keeps at hosts. Its objects are
// slabs of their own however small they are, are repaired like any, and are in
// nobody's list of files.
type Hidden struct {
	x      *Client
	bucket string
}

// Hidden is the hidden bucket of a name, which begins with a dot.
func (x *Client) Hidden(bucket string) Hidden { return Hidden{x, bucket} }

// whole is the most that is read before hosts are chosen for what is known to be
// as little.
const whole = 1 << 20

// Keep stores what src gives, at least one byte, under a name, in the place of
// what is there. When it returns enough hosts have it.
func (h Hidden) Keep(ctx context.Context, name string, src io.Reader) ([]index.PlacedSlab, error) {
	x := h.x
	ref := index.Ref{Bucket: h.bucket, Key: name}
	if err := x.c.Index.MakeHidden(ctx, h.bucket); err != nil && fault.CodeOf(err) != fault.Exists {
		return nil, err
	}
	head := make([]byte, whole)
	n, err := io.ReadFull(src, head)
	o := PutOptions{Class: x.c.Class}
	switch head = head[:n]; {
	case errors.Is(err, io.EOF):
		return nil, fault.New(fault.BadRequest, "keep %s: there is nothing to keep", ref)
	case errors.Is(err, io.ErrUnexpectedEOF):
		o.Size, src = int64(n), bytes.NewReader(nil)
	case err != nil:
		return nil, err
	}
	id, err := x.c.Index.Begin(ctx, ref)
	if err != nil {
		return nil, err
	}
	if _, err := x.put(ctx, id, ref, head, src, o); err != nil {
		defer x.wake()
		return nil, errors.Join(err, x.c.Index.Abort(context.WithoutCancel(ctx), id))
	}
	x.wake() // what it replaces, and what is pending
	f, err := x.c.Index.Get(ctx, ref)
	if err != nil {
		return nil, err
	}
	var out []index.PlacedSlab
	for _, id := range f.Manifest.Slabs() {
		out = append(out, *f.Slabs[id])
	}
	return out, nil
}

// Drop removes what is kept under a name.
func (h Hidden) Drop(ctx context.Context, name string) error {
	_, err := h.x.c.Index.Remove(ctx, index.Ref{Bucket: h.bucket, Key: name}, index.RemoveOptions{})
	if err == nil {
		h.x.wake()
	}
	return err
}

// Names are those of all that is kept.
func (h Hidden) Names(ctx context.Context) ([]string, error) {
	return h.x.c.Index.Keys(ctx, h.bucket, "")
}

// Placed finds where a slab lies now.
func (h Hidden) Placed(ctx context.Context, id index.SlabID) (*index.PlacedSlab, error) {
	return h.x.c.Index.Slab(ctx, id)
}

// Read writes slabs one after another to w, also such as the index doesn't have.
func (h Hidden) Read(ctx context.Context, slabs []index.PlacedSlab, w io.Writer) error {
	f := index.File{Slabs: make(map[index.SlabID]*index.PlacedSlab, len(slabs))}
	for i := range slabs {
		s := &slabs[i]
		f.Slabs[s.ID] = s
		f.Manifest.Extents = append(f.Manifest.Extents, index.Extent{Slab: s.ID, Length: s.Size})
		f.Size += s.Size
	}
	return h.x.reader.Read(ctx, &f, 0, f.Size, w)
}

// Host is the host of a place.
func (x *Client) Host(ctx context.Context, at index.Place) (*remote.Host, error) {
	return x.at(ctx, at)
}
