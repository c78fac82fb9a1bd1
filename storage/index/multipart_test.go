package index

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"hearth/core/fault"
)

func newUpload(t testing.TB, x *Index, key string) (Ref, string) {
	t.Helper()
	r := Ref{Bucket: "town", Key: key}
	id, err := x.NewUpload(t.Context(), r, UploadHead{Type: "text/plain", Extra: map[string]string{"x-a": "1"}, Attrs: Attrs{Tags: map[string]string{"k": "v"}}})
	if err != nil {
		t.Fatal(err)
	}
	return r, id
}

func putPart(t testing.TB, x *Index, r Ref, id string, n int, etag string, s PlacedSlab) {
	t.Helper()
	work, err := x.Begin(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Intend(t.Context(), work, shards(s)); err != nil {
		t.Fatal(err)
	}
	p := Part{Number: n, ETag: etag, Manifest: Manifest{Extents: []Extent{{s.ID, 0, s.Size}}}, Slabs: []PlacedSlab{s}}
	if p, err = x.PutPart(t.Context(), work, r, id, p); err != nil || p.Size != s.Size {
		t.Fatal(p, err)
	}
}

func TestPartsBecomeAnObject(t *testing.T) {
	x := newIndex(t)
	r, id := newUpload(t, x, "big")
	first, other, second, unused := newSlab(1, 4), newSlab(2, 4), newSlab(3, 4), newSlab(4, 4)
	putPart(t, x, r, id, 5, "e5", first)
	putPart(t, x, r, id, 5, "e5b", other) // in its place
	putPart(t, x, r, id, 9, "e9", second)
	putPart(t, x, r, id, 7, "e7", unused)
	if w := work(t, x); w != (Work{Removals: 4}) {
		t.Errorf("left to do: %+v", w)
	}
	_, err := x.Head(t.Context(), r)
	wantCode(t, err, fault.NotFound)
	parts, err := x.Parts(t.Context(), r, id, 5, 1)
	if err != nil || len(parts) != 1 || parts[0].Number != 7 || parts[0].ETag != "e7" {
		t.Errorf("parts %+v, %v", parts, err)
	}
	for _, bad := range [][]PartRef{{{9, "e9"}, {5, "e5b"}}, {{5, "e5"}}, {{6, "e6"}}} {
		_, err := x.CompleteUpload(t.Context(), r, id, bad, Draft{ETag: "whole"})
		var p *PartError
		if wantCode(t, err, fault.BadRequest); !errors.As(err, &p) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	_, err = x.CompleteUpload(t.Context(), r, id, []PartRef{{5, "e5b"}}, Draft{ETag: "whole", If: Condition{ETag: "no"}})
	wantCode(t, err, fault.Exists)
	o, err := x.CompleteUpload(t.Context(), r, id, []PartRef{{5, "e5b"}, {9, "e9"}}, Draft{ETag: "whole", Extra: map[string]string{"sum": "s"}})
	if err != nil || o.Size != 2000 || o.Type != "text/plain" || o.Extra["x-a"] != "1" || o.Extra["sum"] != "s" || o.Tags["k"] != "v" {
		t.Fatalf("%+v, %v", o, err)
	}
	f, err := x.Get(t.Context(), r)
	if err != nil || !slices.Equal(f.Manifest.Slabs(), []SlabID{other.ID, second.ID}) {
		t.Errorf("slabs %v, %v", f.Manifest.Slabs(), err)
	}
	if w := work(t, x); w != (Work{Removals: 8}) {
		t.Errorf("left to do: %+v", w)
	}
	_, err = x.CompleteUpload(t.Context(), r, id, []PartRef{{5, "e5b"}}, Draft{})
	wantCode(t, err, fault.NotFound)
}

func TestAbortedUploadsLeaveNothing(t *testing.T) {
	x := newIndex(t)
	r, id := newUpload(t, x, "big")
	putPart(t, x, r, id, 1, "e", newSlab(1, 4))
	wantCode(t, x.AbortUpload(t.Context(), Ref{Bucket: "town", Key: "other"}, id), fault.NotFound)
	if err := x.AbortUpload(t.Context(), r, id); err != nil {
		t.Fatal(err)
	}
	_, err := x.UploadOf(t.Context(), r, id)
	wantCode(t, err, fault.NotFound)
	if w := work(t, x); w != (Work{Removals: 4}) {
		t.Errorf("left to do: %+v", w)
	}
}

func TestPagesOfUploadsAreTheWhole(t *testing.T) {
	x := newIndex(t)
	for _, key := range []string{"a", "a", "a", "b/1", "b/2", "c", "c/1", "d"} {
		newUpload(t, x, key)
	}
	for _, c := range []struct {
		prefix, delimiter string
		want              []string
	}{
		{"", "", []string{"a", "a", "a", "b/1", "b/2", "c", "c/1", "d"}},
		{"", "/", []string{"a", "a", "a", "c", "d", "b/*", "c/*"}},
		{"b", "", []string{"b/1", "b/2"}},
		{"c", "/", []string{"c", "c/*"}},
	} {
		for limit := 1; limit < 5; limit++ {
			var got, prefixes []string
			for key, id := "", ""; ; {
				p, err := x.Uploads(t.Context(), "town", c.prefix, key, id, c.delimiter, limit)
				if err != nil || len(p.Uploads)+len(p.Prefixes) > limit {
					t.Fatal(p, err)
				}
				for _, u := range p.Uploads {
					got = append(got, u.Key)
				}
				for _, f := range p.Prefixes {
					prefixes = append(prefixes, f+"*")
				}
				if key, id = p.NextKey, p.NextID; key == "" {
					break
				}
			}
			if got = append(got, prefixes...); !slices.Equal(got, c.want) {
				t.Errorf("%+v, %d a page: %v", c, limit, got)
			}
		}
	}
}

func TestUploadsGoWithTheirBucket(t *testing.T) {
	x := newIndex(t)
	r, id := newUpload(t, x, "big")
	putPart(t, x, r, id, 1, "e", newSlab(1, 4))
	if err := x.RemoveBucket(t.Context(), "town"); err != nil {
		t.Fatal(err)
	}
	if w := work(t, x); w != (Work{Removals: 4}) {
		t.Errorf("left to do: %+v", w)
	}
}

// Of many that want to be the first, one is; of many that know what is there, one.
func TestOneOfManyConditionalPutsWins(t *testing.T) {
	x := newIndex(t)
	for _, c := range []Condition{{Absent: true}, {ETag: "0"}} {
		const n = 40
		won := make(chan string, n)
		for i := range n {
			go func() {
				etag := fmt.Sprint(c.ETag, i)
				_, err := x.Commit(t.Context(), 0, Draft{Ref: ref, ETag: "0" + etag, If: c, Manifest: Manifest{Inline: []byte{1}}})
				if fault.CodeOf(err) == fault.Exists {
					etag = ""
				} else if err != nil {
					t.Error(err)
				}
				won <- etag
			}()
		}
		winners := 0
		for range n {
			if <-won != "" {
				winners++
			}
		}
		if winners != 1 {
			t.Errorf("%+v: %d won", c, winners)
		}
		tiny(t, x, ref.Key, "0")
	}
}
