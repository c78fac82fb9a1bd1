package sdk_test

import (
	"encoding/json"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
	"github.com/opencontainers/go-digest"
	oci "github.com/opencontainers/image-spec/specs-go/v1"

	"hearth/compute/layout"
	"hearth/core/fault"
	"hearth/sdk"
)

func TestEachByteOfAnImageIsToldOnce(t *testing.T) {
	dir := t.TempDir()
	keep := func(kind string, b []byte) oci.Descriptor {
		d := oci.Descriptor{MediaType: kind, Digest: digest.FromBytes(b), Size: int64(len(b))}
		path := filepath.Join(dir, "blobs", "sha256", d.Digest.Encoded())
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return d
	}
	text := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	m := oci.Manifest{
		MediaType: oci.MediaTypeImageManifest, Config: keep(oci.MediaTypeImageConfig, []byte("{}")),
		Layers: []oci.Descriptor{keep(oci.MediaTypeImageLayer, []byte(strings.Repeat("layer", 100_000))), keep(oci.MediaTypeImageLayer, nil)},
	}
	m.SchemaVersion = 2
	if err := os.WriteFile(filepath.Join(dir, "index.json"), text(oci.Index{Manifests: []oci.Descriptor{keep(m.MediaType, text(m))}}), 0o600); err != nil {
		t.Fatal(err)
	}
	i, err := layout.Open(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	s := httptest.NewServer(ociserver.New(ocimem.New(), nil))
	defer s.Close()
	c, err := sdk.New(sdk.Config{URL: s.URL, Token: "t"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, when := range []string{"sent", "found there"} {
		last, whole := map[digest.Digest]int64{}, map[digest.Digest]int{}
		if err := c.PushImage(t.Context(), i, "app", "v1", func(p layout.Part, sent int64) {
			if sent <= last[p.Digest] && p.Size > 0 {
				t.Errorf("%s: %d bytes after %d", when, sent, last[p.Digest])
			}
			if last[p.Digest] = sent; sent == p.Size {
				whole[p.Digest]++
			}
		}); err != nil {
			t.Fatal(err)
		}
		for _, b := range i.Blobs {
			if b.Size > 0 && whole[b.Digest] != 1 {
				t.Errorf("%s: it is told %d times that %s is there", when, whole[b.Digest], b.Digest)
			}
		}
	}
}

// part is one that counts how often it is opened.
func part(kind, body string, opened *atomic.Int32, failing error) layout.Part {
	return layout.Part{
		Descriptor: oci.Descriptor{MediaType: kind, Digest: digest.FromString(body), Size: int64(len(body))},
		Open: func() (io.ReadCloser, error) {
			opened.Add(1)
			if failing != nil {
				return io.NopCloser(iotest.ErrReader(failing)), nil
			}
			return io.NopCloser(strings.NewReader(body)), nil
		},
	}
}

func TestWhatIsThereIsntOpenedAndWhatCannotBeReadSaysWhy(t *testing.T) {
	s := httptest.NewServer(ociserver.New(ocimem.New(), nil))
	defer s.Close()
	c, err := sdk.New(sdk.Config{URL: s.URL, Token: "t"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var opened atomic.Int32
	image := func(failing error) *layout.Image {
		config, layer := part(oci.MediaTypeImageConfig, "{}", &opened, nil), part(oci.MediaTypeImageLayer, "layer", &opened, failing)
		m := oci.Manifest{MediaType: oci.MediaTypeImageManifest, Config: config.Descriptor, Layers: []oci.Descriptor{layer.Descriptor}}
		m.SchemaVersion = 2
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return &layout.Image{Blobs: []layout.Part{config, layer}, Manifests: []layout.Part{part(m.MediaType, string(b), new(atomic.Int32), nil)}}
	}
	if err := c.PushImage(t.Context(), image(fault.New(fault.RegistryDown, "it fell silent")), "app", "v1", nil); fault.CodeOf(err) != fault.RegistryDown {
		t.Error(err)
	}
	if err := c.PushImage(t.Context(), image(nil), "app", "", nil); err != nil {
		t.Fatal(err)
	}
	before := opened.Load()
	for _, tag := range []string{"", "v1", "v2"} {
		if err := c.PushImage(t.Context(), image(nil), "app", tag, nil); err != nil || opened.Load() != before {
			t.Errorf("tag %q: %d were opened: %v", tag, opened.Load()-before, err)
		}
	}
	if err := c.PushImage(t.Context(), image(nil), "app", "no tag", nil); fault.CodeOf(err) != fault.BadName {
		t.Error(err)
	}
}
