package index

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"hearth/core/fault"
)

// examples are one change of each kind, as docs/formats/index-log.md shows them.
func examples(t testing.TB) map[string][]byte {
	t.Helper()
	tiny, err := Manifest{Inline: []byte("hi")}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	extra, err := encodeExtra(map[string]string{"x-a": "1"})
	if err != nil {
		t.Fatal(err)
	}
	attrs, err := encodeAttrs(Attrs{Hold: true, RetainMode: Governance, RetainUntil: 258, Tags: map[string]string{"k": "v"}})
	if err != nil {
		t.Fatal(err)
	}
	none, err := encodeAttrs(Attrs{})
	if err != nil {
		t.Fatal(err)
	}
	const clock, device = 0x0506, 0x0a0b
	d := column(device)
	r := version{
		bucket: "town", key: "a/b", clock: clock, device: d, null: 1, created: 7, etag: "e", typ: "text/plain", extra: extra, attrs: none,
		aclock: clock + 1, adevice: d, mclock: clock, mdevice: d,
	}
	changed := r
	changed.attrs = attrs
	id := SlabID{0xee, 1}
	sealed := newSlab(1, 0).Slab.Slab
	s := slabChange{id: id, clock: clock, device: d, body: EncodeSlab(sealed), at: make([]placed, 4)}
	for i := range s.at {
		s.at[i] = placed{clock: clock, device: d}
	}
	s.at[0].host, s.at[0].lease = "hearth1h", 9
	return map[string][]byte{
		"bucket":     encodeBucket(&bucketRow{name: "town", created: 7, versioning: 1, clock: clock, device: d}),
		"document":   encodeDoc(&docRow{bucket: "town", name: "policy", body: []byte("{}"), clock: clock, device: d}),
		"version":    encodeVersion(&r, tiny),
		"removal":    encodeTomb(&tomb{bucket: "town", key: "a/b", clock: clock, device: d, null: 1, bclock: clock + 2, bdev: d}),
		"attributes": encodeAttrsChange(&changed),
		"slab":       encodeSlabChange(&s),
		"place":      encodePlacement(&placementChange{id, 2, placed{"hearth1h", 9, clock, d}}),
		"gone":       encodeGone(&goneChange{id, clock, d}),
	}
}

func TestChangesAreAsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/formats/index-log.md")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(" ", "", "`", "", "\n", "").Replace(string(doc))
	for name, b := range examples(t) {
		if !strings.Contains(text, hex.EncodeToString(b)) {
			t.Errorf("%s isn't in the document: %x", name, b)
		}
		if _, err := decodeChange(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for i := range b {
			if _, err := decodeChange(b[:i]); err == nil {
				t.Errorf("%s cut to %d bytes is taken", name, i)
			}
		}
		if _, err := decodeChange(append(bytes.Clone(b), 0)); err == nil {
			t.Errorf("%s with a byte more is taken", name)
		}
	}
}

func TestUnknownChangesAreRefusedWhole(t *testing.T) {
	x := newIndex(t)
	good := encodeBucket(&bucketRow{name: "other", created: 7, clock: 5, device: column(1)})
	for _, bad := range [][]byte{{2, kindBucket}, {logMajor, 99}} {
		wantCode(t, x.Apply(t.Context(), 1, [][]byte{good, bad}), fault.UnknownFormat)
	}
	hidden := encodeBucket(&bucketRow{name: ".other", created: 7, clock: 5, device: column(1)})
	wantCode(t, x.Apply(t.Context(), 1, [][]byte{good, hidden}), fault.BadName)
	if found, err := x.HasBucket(t.Context(), "other"); err != nil || found {
		t.Errorf("a part was applied: %v", err)
	}
	wantCode(t, x.ApplySnapshot(t.Context(), strings.NewReader("\x02")), fault.UnknownFormat)
}

func TestFlushedChangesAreForgotten(t *testing.T) {
	x := newIndex(t)
	for i := range 5 {
		tiny(t, x, fmt.Sprint(i), "e")
	}
	all, err := x.Changes(t.Context(), 0, 1<<20)
	if err != nil || len(all) != 6 || all[0].Seq != 1 {
		t.Fatal(len(all), err)
	}
	if few, err := x.Changes(t.Context(), 2, len(all[2].Body)+len(all[3].Body)); err != nil || len(few) != 2 || few[0].Seq != 3 {
		t.Errorf("%v, %v", few, err)
	}
	if one, err := x.Changes(t.Context(), 2, 1); err != nil || len(one) != 1 {
		t.Errorf("%v, %v", one, err)
	}
	wantCode(t, x.Flushed(t.Context(), 7), fault.BadRequest)
	if err := x.Flushed(t.Context(), 6); err != nil {
		t.Fatal(err)
	}
	x.Close()
	x = open(t, x.c.Path)
	tiny(t, x, "later", "e")
	if list, err := x.Changes(t.Context(), 0, 1<<20); err != nil || len(list) != 1 || list[0].Seq != 7 {
		t.Errorf("%v, %v", list, err)
	}
}

func TestDamagedSnapshotsAreRefused(t *testing.T) {
	x := newIndex(t)
	put(t, x, draft(ref, newSlab(1, 4)))
	var b bytes.Buffer
	if upTo, err := x.Snapshot(t.Context(), &b); err != nil || upTo != 3 {
		t.Fatal(upTo, err)
	}
	y := newIndex(t)
	for i := range b.Bytes() {
		if err := y.ApplySnapshot(t.Context(), bytes.NewReader(b.Bytes()[:i])); err == nil {
			t.Fatalf("cut to %d of %d bytes it is taken", i, b.Len())
		}
		flipped := bytes.Clone(b.Bytes())
		flipped[i] ^= 4
		if err := y.ApplySnapshot(t.Context(), bytes.NewReader(flipped)); err == nil {
			if got, want := state(t.Context(), t, y), state(t.Context(), t, x); got != want {
				t.Fatalf("byte %d flipped: %s", i, got)
			}
		}
	}
	if err := y.ApplySnapshot(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
}

func FuzzDecodeChange(f *testing.F) {
	for _, b := range examples(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeChange(b)
		if err != nil {
			return
		}
		var again []byte
		switch c := c.(type) {
		case *bucketRow:
			again = encodeBucket(c)
		case *docRow:
			again = encodeDoc(c)
		case *versionChange:
			again = encodeVersion(&c.version, c.manifest)
		case *tomb:
			again = encodeTomb(c)
		case *attrsChange:
			again = encodeAttrsChange(&version{
				bucket: c.bucket, key: c.key, clock: c.clock, device: c.device, aclock: c.aclock, adevice: c.adevice, floor: c.floor, attrs: c.attrs,
			})
		case *slabChange:
			again = encodeSlabChange(c)
		case *placementChange:
			again = encodePlacement(c)
		case *goneChange:
			again = encodeGone(c)
		}
		if !bytes.Equal(again, b) {
			t.Errorf("%x became %x", b, again)
		}
	})
}

func FuzzApplySnapshot(f *testing.F) {
	x := newIndex(f)
	put(f, x, draft(ref, newSlab(1, 4)))
	var b bytes.Buffer
	if _, err := x.Snapshot(f.Context(), &b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte{snapshotMajor})
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = x.ApplySnapshot(t.Context(), bytes.NewReader(b)) // whatever it says, the index stays sound
		if _, err := x.Get(t.Context(), ref); err != nil && fault.CodeOf(err) != fault.NotFound {
			t.Error(err)
		}
	})
}
