package index

import (
	"context"

	"hearth/core/fault"
)

type partRow struct {
	upload                string
	number, size, created int64
	etag                  string
	extra                 []byte
	manifest              int64
	sum                   []byte
}

const partColumns = `upload, number, size, created, etag, extra, manifest`

func (p *partRow) columns() []any {
	return []any{p.upload, p.number, p.size, p.created, p.etag, p.extra, p.manifest}
}

func (p *partRow) into() []any {
	return []any{&p.upload, &p.number, &p.size, &p.created, &p.etag, &p.extra, &p.manifest, &p.sum}
}

// PutPart keeps a part of an upload, in the place of an earlier one of its number.
// It ends work, which Begin has begun for the part's shards; 0 for a part without
// new slabs.
func (x *Index) PutPart(ctx context.Context, work int64, ref Ref, id string, p Part) (Part, error) {
	if p.Number < 1 || p.Number > MaxParts {
		return p, &PartError{p.Number, "numbers go from 1 to 10000"}
	}
	if len(p.ETag) > maxWord {
		return p, fault.New(fault.TooLarge, "put part of %s: etag longer than %d bytes", ref, maxWord)
	}
	extra, err := encodeExtra(p.Extra)
	if err != nil {
		return p, err
	}
	p.Size, p.Created = p.Manifest.Size(), x.c.Now().Unix()
	r := partRow{upload: id, number: int64(p.Number), size: p.Size, created: p.Created, etag: p.ETag, extra: extra}
	err = x.w.do(ctx, func(t *tx) error {
		if work != 0 {
			if err := x.hasBegun(work); err != nil {
				return err
			}
		}
		if _, err := t.upload(ref, id); err != nil {
			return err
		}
		for _, s := range p.Slabs {
			if err := t.addSlab(s, !Local(ref.Bucket), x.c.Now()); err != nil {
				return err
			}
		}
		var err error
		if r.manifest, err = t.addManifest(p.Manifest, !Local(ref.Bucket)); err != nil {
			return err
		}
		olds, err := t.ids(`SELECT manifest FROM parts WHERE upload = ? AND number = ?`, id, p.Number)
		if err != nil {
			return err
		}
		for _, old := range olds {
			if err := t.dropManifest(old); err != nil {
				return err
			}
		}
		if err := t.exec(`INSERT OR REPLACE INTO parts (`+partColumns+`, sum) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			append(r.columns(), rowSum("parts", r.columns()...))...); err != nil {
			return err
		}
		if work != 0 {
			return t.endUpload(work, x.c.Now())
		}
		return nil
	})
	if err == nil {
		x.hasEnded(work)
	}
	return p, failed("put part of "+ref.String(), err)
}

// Parts lists the parts of an upload with numbers above after, by number, at most
// limit.
func (x *Index) Parts(ctx context.Context, ref Ref, id string, after, limit int) (out []Part, err error) {
	if limit <= 0 || limit > MaxList {
		limit = MaxList
	}
	err = x.view(ctx, func(t *tx) error {
		if _, err := t.upload(ref, id); err != nil {
			return err
		}
		out, err = t.parts(id, after, limit)
		return err
	})
	return out, failed("list parts of "+ref.String(), err)
}

func (t *tx) parts(id string, after, limit int) (out []Part, err error) {
	var rows []partRow
	err = t.each(`SELECT `+partColumns+`, sum FROM parts WHERE upload = ? AND number > ? ORDER BY number LIMIT ?`, []any{id, after, limit},
		func(scan func(...any) error) error {
			var r partRow
			if err := scan(r.into()...); err != nil {
				return err
			}
			rows = append(rows, r)
			return verify(r.sum, "parts", r.columns()...)
		})
	for i := 0; i < len(rows) && err == nil; i++ {
		r := &rows[i]
		p := Part{Number: int(r.number), Size: r.size, Created: r.created, ETag: r.etag}
		if p.Extra, err = decodeExtra(r.extra); err != nil {
			break
		}
		p.Manifest, err = t.manifest(r.manifest)
		out = append(out, p)
	}
	return out, err
}

// CompleteUpload lists the object that the named parts make, in the order of their
// numbers, and ends the upload; parts that aren't named are dropped. Of d, the
// name, type, manifest and slabs count for nothing; Extra is added to the upload's,
// Attrs are the upload's.
func (x *Index) CompleteUpload(ctx context.Context, ref Ref, id string, parts []PartRef, d Draft) (Object, error) {
	if err := ref.plain(); err != nil {
		return Object{}, err
	}
	var o Object
	err := x.w.do(ctx, func(t *tx) error {
		u, err := t.upload(ref, id)
		if err != nil {
			return err
		}
		have, err := t.parts(id, 0, MaxParts)
		if err != nil {
			return err
		}
		whole := Draft{Ref: ref, ETag: d.ETag, Type: u.Type, Extra: u.Extra, Attrs: u.Attrs}
		if whole.Manifest, err = join(have, parts); err != nil {
			return err
		}
		for k, v := range d.Extra {
			if whole.Extra == nil {
				whole.Extra = make(map[string]string)
			}
			whole.Extra[k] = v
		}
		r, err := whole.version()
		if err != nil {
			return err
		}
		if err := t.list(r, whole.Manifest, d.If); err != nil {
			return err
		}
		if err := t.dropUpload(id); err != nil {
			return err
		}
		o, err = r.object(0)
		return err
	})
	return o, failed("complete upload of "+ref.String(), err)
}

// join makes one manifest of parts. Inline ones are possible only where the whole
// is inline.
func join(have []Part, want []PartRef) (m Manifest, err error) {
	if len(want) == 0 {
		return m, fault.New(fault.BadRequest, "no parts are named")
	}
	by := make(map[int]*Part, len(have))
	for i := range have {
		by[have[i].Number] = &have[i]
	}
	for i, w := range want {
		p := by[w.Number]
		switch {
		case i > 0 && w.Number <= want[i-1].Number:
			return m, &PartError{w.Number, "parts aren't in order"}
		case p == nil:
			return m, &PartError{w.Number, "there is none"}
		case w.ETag != p.ETag:
			return m, &PartError{w.Number, "its etag is another"}
		}
		m.Inline = append(m.Inline, p.Manifest.Inline...)
		m.Extents = append(m.Extents, p.Manifest.Extents...)
		if len(m.Inline) > 0 && len(m.Extents) > 0 {
			return m, &PartError{w.Number, "inline bytes can't be joined with slabs"}
		}
	}
	return m, m.check()
}
