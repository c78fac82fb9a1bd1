package image_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"hearth/compute/image"
	"hearth/core/fault"
)

// Whatever two layers say, nothing outside of their folder changes, and they are
// refused for what they are.
func FuzzLayers(f *testing.F) {
	for _, layers := range hostile(f) {
		f.Add(layers[0].body, layers[len(layers)-1].body)
	}
	f.Add(layer(f, e{"a", sym, "/b", 0}, e{name: "b/c", to: "1"}).body, layer(f, e{name: "a/c", to: "2"}, e{name: "b/.wh..wh..opq"}).body)
	f.Add(layer(f, e{"a", sym, "../../outside", 0}, e{name: "b/c", to: "1"}, e{"d", hard, "b/c", 0}).body, layer(f, e{name: "a", to: "2"}, e{name: "b/.wh.c"}).body)
	f.Fuzz(func(t *testing.T, one, two []byte) {
		base := t.TempDir()
		outside, dir := filepath.Join(base, "outside"), filepath.Join(base, "rootfs")
		if err := os.WriteFile(outside, []byte("untouched"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		err := image.Apply(t.Context(), dir, image.Limits{Unpacked: 1 << 20, Entries: 100}, one, two)
		if code := fault.CodeOf(err); err != nil && code != fault.BadImage && code != fault.TooLarge && !image.Malformed(err) {
			t.Errorf("it is %v", err)
		}
		list, e := os.ReadDir(base)
		if b, err := os.ReadFile(outside); e != nil || len(list) != 2 || err != nil || string(b) != "untouched" {
			t.Errorf("outside: %v, %v, %q, %v", list, e, b, err)
		}
	})
}

// Whatever a manifest and a config say, they are an image or refused for what they are.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"config":{"digest":"CONFIG"},"layers":[]}`), []byte(`{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":[]}}`))
	f.Add([]byte(`{"config":{"digest":"CONFIG"},"layers":[{"digest":"CONFIG","size":-1}]}`), []byte(`{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":["CONFIG"]}}`))
	f.Add([]byte(`{"manifests":[{"digest":"CONFIG","platform":{"os":"linux","architecture":"amd64"}}]}`), []byte(`{"manifests":[]}`))
	f.Fuzz(func(t *testing.T, manifest, config []byte) {
		s := &shelf{}
		c := s.put(config)
		d := s.put(bytes.ReplaceAll(manifest, []byte("CONFIG"), []byte(c.Digest))).Digest
		err := image.Plan(t.Context(), s, d)
		if code := fault.CodeOf(err); err != nil && code != fault.BadImage && code != fault.TooLarge && code != fault.NotFound {
			t.Errorf("it is %v", err)
		}
	})
}
