package client

import (
	"context"
	"fmt"
	"io"

	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/storage/index"
)

// PutPart stores what src gives as a part of an upload in parts, in the place of
// an earlier one of its number. Of o, Type, Attrs and If count for nothing. A part
// is never packed nor kept in the index: it is with hosts when this returns.
func (x *Client) PutPart(ctx context.Context, ref index.Ref, upload string, number int, src io.Reader, o PutOptions) (index.Part, error) {
	if o.Class == (erasure.Class{}) {
		o.Class = x.c.Class
	}
	if err := o.Class.Validate(); err != nil {
		return index.Part{}, err
	}
	if _, err := x.c.Index.UploadOf(ctx, ref, upload); err != nil {
		return index.Part{}, err
	}
	id, err := x.c.Index.Begin(ctx, ref)
	if err != nil {
		return index.Part{}, err
	}
	var part index.Part
	o.commit = func(ctx context.Context, work int64, d index.Draft) (index.Object, error) {
		var err error
		part, err = x.c.Index.PutPart(ctx, work, ref, upload, index.Part{
			Number: number, ETag: d.ETag, Extra: d.Extra, Manifest: d.Manifest, Slabs: d.Slabs,
		})
		return index.Object{Ref: ref, Size: part.Size}, err
	}
	res, err := x.put(ctx, id, ref, nil, src, o)
	if err != nil {
		defer x.wake()
		if e := x.c.Index.Abort(context.WithoutCancel(ctx), id); e != nil {
			x.c.Log.Error("upload not ended", "name", ref, "err", e) // Reclaim does it at the next start
		}
		if ctx.Err() != nil && fault.CodeOf(err) == fault.Internal {
			err = fault.New(fault.Interrupted, "%w", err)
		}
		return index.Part{}, fmt.Errorf("put part %d of %s: %w", number, ref, err)
	}
	if res.Pending > 0 {
		x.wake()
	}
	return part, nil
}
