package index

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"testing"

	"hearth/core/fault"
)

// The vectors of docs/formats/manifest.md.
func TestManifestVectors(t *testing.T) {
	for name, c := range map[string]struct {
		m    Manifest
		want string
	}{
		"empty":  {Manifest{}, "01" + "0000000000000000" + "00000000" + "00000000"},
		"inline": {Manifest{Inline: []byte("hi")}, "01" + "0000000000000002" + "00000002" + "6869" + "00000000"},
		"extents": {
			Manifest{Extents: []Extent{{SlabID{1}, 0, 5}, {SlabID{2}, 7, 256}}},
			"01" + "0000000000000105" + "00000000" + "00000002" +
				"01000000000000000000000000000000" + "0000000000000000" + "0000000000000005" +
				"02000000000000000000000000000000" + "0000000000000007" + "0000000000000100",
		},
		"in the journal": {Manifest{Journal: Kept{3, 16, 5000}}, "02" + "0000000000001388" + "0000000000000003" + "0000000000000010"},
	} {
		b, err := c.m.Encode()
		if err != nil || hex.EncodeToString(b) != c.want {
			t.Errorf("%s: %x, %v", name, b, err)
		}
		back, err := DecodeManifest(b)
		if err != nil || !reflect.DeepEqual(back, c.m) {
			t.Errorf("%s: back %+v, %v", name, back, err)
		}
	}
	_, err := DecodeManifest([]byte{3, 0})
	wantCode(t, err, fault.UnknownFormat)
	_, err = Manifest{Inline: []byte("a"), Extents: []Extent{{SlabID{}, 0, 1}}}.Encode()
	wantCode(t, err, fault.BadFrame)
	_, err = Manifest{Inline: []byte("a"), Journal: Kept{1, 16, 1}}.Encode()
	wantCode(t, err, fault.BadFrame)
	_, err = Manifest{Inline: make([]byte, MaxInline+1)}.Encode()
	wantCode(t, err, fault.TooLarge)
}

func FuzzDecodeManifest(f *testing.F) {
	for _, m := range []Manifest{{}, {Inline: []byte("hi")}, {Extents: []Extent{{SlabID{1}, 3, 5}}}, {Journal: Kept{3, 16, 5000}}} {
		b, _ := m.Encode()
		f.Add(b)
		f.Add(b[:len(b)-1])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeManifest(b)
		if err != nil {
			return
		}
		if again, err := m.Encode(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x became %x, %v", b, again, err)
		}
	})
}

func FuzzDecodeSlab(f *testing.F) {
	f.Add(EncodeSlab(newSlab(1, 0).Slab.Slab))
	f.Add([]byte{1, 10, 20})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeSlab(b)
		if err != nil {
			return
		}
		if again := EncodeSlab(s); !bytes.Equal(again, b) {
			t.Errorf("%x became %x", b, again)
		}
	})
}
