package client

import (
	"bytes"
	"testing"

	"hearth/core/fault"
	"hearth/storage/index"
)

func TestAnUploadInPartsIsOneObject(t *testing.T) {
	f := newFleet(t, 6, 64<<20)
	c := newClient(t, f)
	at := index.Ref{Bucket: "town", Key: "film"}
	id, err := c.Index().NewUpload(t.Context(), at, index.UploadHead{Type: "video/mp4"})
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	var refs []index.PartRef
	for i, size := range []int{300 << 10, 5, 0} {
		b := bytes.Repeat([]byte{byte(i + 1)}, size)
		want = append(want, b...)
		p, err := c.PutPart(t.Context(), at, id, i+1, bytes.NewReader(b), PutOptions{Size: int64(size)})
		if err != nil || p.Size != int64(size) {
			t.Fatalf("part %d: %+v, %v", i+1, p, err)
		}
		refs = append(refs, index.PartRef{Number: i + 1, ETag: p.ETag})
	}
	if _, err := c.Index().Head(t.Context(), at); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("parts are listed before they are one: %v", err)
	}
	if _, err := c.PutPart(t.Context(), at, "elsewhere", 1, bytes.NewReader(want), PutOptions{}); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("a part of no upload: %v", err)
	}
	if _, err := c.Index().CompleteUpload(t.Context(), at, id, refs, index.Draft{ETag: "whole"}); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	o, err := c.Get(t.Context(), at, &got, GetOptions{})
	if err != nil || !bytes.Equal(got.Bytes(), want) || o.Type != "video/mp4" {
		t.Errorf("read %d bytes, %v", got.Len(), err)
	}
}
