package index

import (
	"context"
	"encoding/binary"
	"slices"

	"hearth/core/fault"
)

// A Kept is a record of this device's journal: the bytes of an object that isn't
// with hosts yet. Other devices can't read it, so they learn of the object once
// it is packed.
type Kept struct {
	Segment        uint64
	Offset, Length int64
}

// A Move gives objects that lie in a record the place To, which has the same length.
type Move struct {
	Kept Kept
	To   []Extent
}

// A Drafted is what became of a draft.
type Drafted struct {
	Object Object
	Err    error
}

// Pack lists new slabs, moves objects into them, and lists drafts whose extents
// lie in them: all at once, and ends the upload. A draft whose condition doesn't
// hold fails alone. What nobody uses in the end is to be removed from its hosts.
func (x *Index) Pack(ctx context.Context, upload int64, slabs []PlacedSlab, moves []Move, drafts []Draft) ([]Drafted, error) {
	var out []Drafted
	err := x.bring(ctx, upload, slabs, func(t *tx) error {
		out = make([]Drafted, len(drafts))
		for _, m := range moves {
			if err := t.move(m); err != nil {
				return err
			}
		}
		for i, d := range drafts {
			out[i].Err = t.nested(func(t *tx) (err error) {
				out[i].Object, err = t.draft(d)
				return err
			})
			if hard(out[i].Err) {
				return out[i].Err
			}
		}
		return nil
	})
	if err != nil {
		return nil, failed("list packed objects", err)
	}
	for i := range out {
		out[i].Err = failed("put "+drafts[i].Ref.String(), out[i].Err)
	}
	return out, nil
}

// A Relocation is a version whose bytes lie elsewhere too, by now.
type Relocation struct {
	Object   Object
	From, To Manifest
}

// Relocate lists new slabs and gives versions their places in them, and ends the
// upload. A version that isn't there any more as it was stays as it is.
func (x *Index) Relocate(ctx context.Context, upload int64, slabs []PlacedSlab, list []Relocation) error {
	err := x.bring(ctx, upload, slabs, func(t *tx) error {
		for _, l := range list {
			r, found, err := t.find(Ref{l.Object.Bucket, l.Object.Key, stamp{l.Object.Version, l.Object.Device}.id()})
			if err != nil {
				return err
			}
			if !found || r.marker != 0 {
				continue
			}
			now, err := t.manifest(r.manifest)
			if err != nil {
				return err
			}
			if !slices.Equal(now.Extents, l.From.Extents) || now.Journal != (Kept{}) {
				continue
			}
			if err := t.rewrite(&r, now, l.To); err != nil {
				return err
			}
		}
		return nil
	})
	return failed("move objects", err)
}

// bring lists new slabs and what f puts there, and ends the upload. Those that
// are in nobody's use then are to be removed from their hosts.
func (x *Index) bring(ctx context.Context, upload int64, slabs []PlacedSlab, f func(*tx) error) error {
	err := x.w.do(ctx, func(t *tx) error {
		if err := x.hasBegun(upload); err != nil {
			return err
		}
		for _, s := range slabs {
			if err := t.addSlab(s, true, x.c.Now()); err != nil {
				return err
			}
			if err := t.use(s.ID, true); err != nil { // until others do
				return err
			}
		}
		if err := f(t); err != nil {
			return err
		}
		for _, s := range slabs {
			if err := t.unuse(s.ID); err != nil {
				return err
			}
		}
		return t.endUpload(upload, x.c.Now())
	})
	if err == nil {
		x.hasEnded(upload)
	}
	return err
}

// draft lists an object whose slabs are listed.
func (t *tx) draft(d Draft) (Object, error) {
	if err := d.Ref.plain(); err != nil {
		return Object{}, err
	}
	r, err := d.version()
	if err != nil {
		return Object{}, err
	}
	if err := t.list(r, d.Manifest, d.If); err != nil {
		return Object{}, err
	}
	return r.object(0)
}

// move rewrites the manifests that name a record of the journal. The place may
// be in nobody's use any more.
func (t *tx) move(m Move) error {
	rows, err := t.records(`WHERE segment = ? AND offset = ?`, int64(m.Kept.Segment), m.Kept.Offset)
	if err != nil {
		return err
	}
	for _, row := range rows {
		old, err := t.manifest(row.manifest)
		if err != nil {
			return err
		}
		if row.kept() != m.Kept || old.Journal != m.Kept {
			return fault.New(fault.DamagedIndex, "manifest %d isn't in the journal at %d of segment %d", row.manifest, m.Kept.Offset, m.Kept.Segment)
		}
		r, found, err := t.find(Ref{row.bucket, row.key, stamp{row.clock, deviceOf(row.device)}.id()})
		if err == nil && (!found || r.manifest != row.manifest) {
			err = fault.New(fault.DamagedIndex, "manifest %d is no object's", row.manifest)
		}
		if err == nil {
			err = t.unrecord(row.manifest, m.Kept)
		}
		if err == nil {
			err = t.rewrite(&r, old, Manifest{Extents: m.To})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// rewrite gives a version another manifest, of the same bytes elsewhere, and
// tells other devices of it.
func (t *tx) rewrite(r *version, old, m Manifest) error {
	if m.Size() != r.size {
		return fault.New(fault.BadRequest, "move %s: it has %d bytes, its new place %d", r.ref(), r.size, m.Size())
	}
	body, err := m.Encode()
	if err != nil {
		return err
	}
	public := !Local(r.bucket)
	for _, id := range m.Slabs() {
		if err := t.use(id, public); err != nil {
			return err
		}
	}
	for _, id := range old.Slabs() {
		if err := t.unuse(id); err != nil {
			return err
		}
	}
	if err := t.exec(`UPDATE manifests SET body = ?, sum = ? WHERE id = ?`, body, rowSum("manifests", r.manifest, body), r.manifest); err != nil {
		return err
	}
	at := t.tick()
	r.mclock, r.mdevice = at.clock, column(at.device)
	if err := t.put(r); err != nil || !public {
		return err
	}
	if err := t.note(encodeVersion(r, body)); err != nil || r.aclock == r.clock && r.adevice == r.device {
		return err
	}
	return t.note(encodeAttrsChange(r))
}

// A record is a row of table journal: where the bytes of a version lie.
type record struct {
	segment, offset, length, manifest int64
	bucket, key                       string
	clock, device                     int64
}

const journalColumns = `segment, offset, length, manifest, bucket, key, clock, device`

func (r *record) columns() []any {
	return []any{r.segment, r.offset, r.length, r.manifest, r.bucket, r.key, r.clock, r.device}
}

func (r *record) kept() Kept { return Kept{uint64(r.segment), r.offset, r.length} }

func (t *tx) records(where string, args ...any) (out []record, err error) {
	err = t.each(`SELECT `+journalColumns+`, sum FROM journal `+where, args, func(scan func(...any) error) error {
		var r record
		var sum []byte
		if err := scan(&r.segment, &r.offset, &r.length, &r.manifest, &r.bucket, &r.key, &r.clock, &r.device, &sum); err != nil {
			return err
		}
		out = append(out, r)
		return verify(sum, "journal", r.columns()...)
	})
	return out, err
}

// record notes that a version lies in the journal, if its manifest says so.
func (t *tx) record(v *version, manifest []byte) (bool, error) {
	if len(manifest) == 0 || manifest[0] != keptMajor {
		return false, nil
	}
	m, err := decodeKept(manifest)
	if err != nil {
		return false, err
	}
	k := m.Journal
	r := record{int64(k.Segment), k.Offset, k.Length, v.manifest, v.bucket, v.key, v.clock, v.device}
	return true, t.exec(`INSERT INTO journal (`+journalColumns+`, sum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		append(r.columns(), rowSum("journal", r.columns()...))...)
}

func (t *tx) unrecord(manifest int64, k Kept) error {
	if k == (Kept{}) {
		return nil
	}
	return t.exec(`DELETE FROM journal WHERE segment = ? AND offset = ? AND manifest = ?`, int64(k.Segment), k.Offset, manifest)
}

// Journaled lists records that objects lie in, oldest first: at most limit, and
// about as many bytes.
func (x *Index) Journaled(ctx context.Context, limit int, bytes int64) ([]Kept, error) {
	var out []Kept
	err := x.view(ctx, func(t *tx) error {
		rows, err := t.records(`ORDER BY segment, offset LIMIT ?`, limit)
		for _, r := range rows {
			if bytes <= 0 {
				break
			}
			if n := len(out); n > 0 && out[n-1] == r.kept() {
				continue // of a copy
			}
			out = append(out, r.kept())
			bytes -= r.length
		}
		return err
	})
	return out, failed("list the journal", err)
}

// JournalUse says which segments of the journal hold objects.
func (x *Index) JournalUse(ctx context.Context) (map[uint64]bool, error) {
	out := make(map[uint64]bool)
	err := x.view(ctx, func(t *tx) error {
		segments, err := t.ids(`SELECT DISTINCT segment FROM journal`)
		for _, n := range segments {
			out[uint64(n)] = true
		}
		return err
	})
	return out, failed("list the journal", err)
}

// decodeKept reads a manifest of an object in the journal.
func decodeKept(b []byte) (Manifest, error) {
	if len(b) != keptBytes {
		return Manifest{}, fault.New(fault.BadFrame, "manifest of %d bytes: one in the journal has %d", len(b), keptBytes)
	}
	m := Manifest{Journal: Kept{
		Length: int64(binary.BigEndian.Uint64(b[1:])), Segment: binary.BigEndian.Uint64(b[9:]), Offset: int64(binary.BigEndian.Uint64(b[17:])),
	}}
	if m.Journal == (Kept{}) {
		return Manifest{}, fault.New(fault.BadFrame, "manifest: no place in the journal")
	}
	return m, m.check()
}
