package index

import (
	"context"
	"regexp"

	"hearth/core/fault"
)

// MaxDoc bounds a document of a bucket.
const MaxDoc = 64 << 10

var docName = regexp.MustCompile(`^[a-z0-9.-]{1,64}$`)

// A docRow is a row of table docs; one that is gone is kept without its body.
type docRow struct {
	bucket, name        string
	gone, clock, device int64
	body, sum           []byte
}

func (d *docRow) columns() []any {
	return []any{d.bucket, d.name, d.gone, d.clock, d.device, d.body}
}

func (d *docRow) into() []any {
	return []any{&d.bucket, &d.name, &d.gone, &d.clock, &d.device, &d.body, &d.sum}
}

func (d *docRow) stamp() stamp { return stamp{d.clock, deviceOf(d.device)} }

const docColumns = `bucket, name, gone, clock, device, body, sum`

// BucketDocs reads all documents of a bucket.
func (x *Index) BucketDocs(ctx context.Context, bucket string) (map[string][]byte, error) {
	out := make(map[string][]byte)
	err := x.view(ctx, func(t *tx) error {
		if _, err := t.bucket(bucket); err != nil {
			return err
		}
		docs, err := t.docs(bucket)
		for _, d := range docs {
			out[d.name] = d.body
		}
		return err
	})
	return out, failed("read documents of "+bucket, err)
}

// docs reads the documents that a bucket has.
func (t *tx) docs(bucket string) (out []docRow, err error) {
	err = t.each(`SELECT `+docColumns+` FROM docs WHERE bucket = ? AND gone = 0 ORDER BY name`, []any{bucket}, func(scan func(...any) error) error {
		var d docRow
		if err := scan(d.into()...); err != nil {
			return err
		}
		if d.body == nil {
			d.body = []byte{}
		}
		out = append(out, d)
		return verify(d.sum, "docs", d.columns()...)
	})
	return out, err
}

// SetBucketDoc writes a document of a bucket, or with nil removes it. A name has
// up to 64 of a-z, 0-9, dots and hyphens.
func (x *Index) SetBucketDoc(ctx context.Context, bucket, name string, doc []byte) error {
	if !docName.MatchString(name) {
		return fault.New(fault.BadName, "document %q of a bucket: 1 to 64 of a-z, 0-9, dots and hyphens are allowed", name)
	}
	if len(doc) > MaxDoc {
		return fault.New(fault.TooLarge, "%s of bucket %s: %d bytes, at most %d are allowed", name, bucket, len(doc), MaxDoc)
	}
	err := x.w.do(ctx, func(t *tx) error {
		if _, err := t.enter(bucket); err != nil {
			return err
		}
		d := docRow{bucket: bucket, name: name, body: doc}
		if doc == nil {
			d.gone, d.body = 1, []byte{}
		}
		return t.writeDoc(&d)
	})
	return failed("write "+name+" of bucket "+bucket, err)
}

// dropDocs removes the documents of a bucket.
func (t *tx) dropDocs(bucket string) error {
	docs, err := t.docs(bucket)
	if err != nil {
		return err
	}
	for _, d := range docs {
		d.gone, d.body = 1, []byte{}
		if err := t.writeDoc(&d); err != nil {
			return err
		}
	}
	return nil
}

// writeDoc writes what this device says of a document from now on.
func (t *tx) writeDoc(d *docRow) error {
	at := t.tick()
	d.clock, d.device = at.clock, column(at.device)
	if err := t.putDoc(d); err != nil || Local(d.bucket) {
		return err
	}
	return t.note(encodeDoc(d))
}

func (t *tx) putDoc(d *docRow) error {
	if d.body == nil {
		d.body = []byte{}
	}
	return t.exec(`INSERT OR REPLACE INTO docs (`+docColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?)`, append(d.columns(), rowSum("docs", d.columns()...))...)
}
