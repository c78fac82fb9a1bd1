package image_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	oci "github.com/opencontainers/image-spec/specs-go/v1"

	"hearth/compute/image"
	"hearth/core/fault"
)

// shelf is a Source in a map.
type shelf struct {
	mu    sync.Mutex
	all   map[digest.Digest][]byte
	reads atomic.Int64
	hold  chan struct{} // if set, layers wait for it
	only  []byte        // if set, no others do
}

func (s *shelf) Blob(ctx context.Context, d digest.Digest) (io.ReadCloser, error) {
	s.reads.Add(1)
	s.mu.Lock()
	b, ok := s.all[d]
	s.mu.Unlock()
	if !ok {
		return nil, fault.New(fault.NotFound, "there is no %s", d)
	}
	if s.hold != nil && !bytes.HasPrefix(b, []byte("{")) && (s.only == nil || bytes.Equal(b, s.only)) {
		select {
		case <-s.hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (s *shelf) put(b []byte) oci.Descriptor {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[digest.Digest][]byte{}
	}
	d := digest.FromBytes(b)
	s.all[d] = b
	return oci.Descriptor{Digest: d, Size: int64(len(b))}
}

func (s *shelf) json(t *testing.T, kind string, v any) oci.Descriptor {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	d := s.put(b)
	d.MediaType = kind
	return d
}

// packed is a layer and what it is unpacked.
type packed struct {
	body  []byte
	plain digest.Digest
}

var here = oci.Platform{OS: "linux", Architecture: "amd64"}

func (s *shelf) image(t *testing.T, layers ...packed) oci.Descriptor {
	t.Helper()
	return s.imageFor(t, here, layers...)
}

func (s *shelf) imageFor(t *testing.T, p oci.Platform, layers ...packed) oci.Descriptor {
	t.Helper()
	config := oci.Image{Platform: p, Config: oci.ImageConfig{Entrypoint: []string{"/bin/app"}, Env: []string{"A=b"}, User: "7"}}
	m := oci.Manifest{MediaType: oci.MediaTypeImageManifest, Layers: []oci.Descriptor{}}
	m.SchemaVersion = 2
	for _, l := range layers {
		d := s.put(l.body)
		d.MediaType = oci.MediaTypeImageLayer
		m.Layers = append(m.Layers, d)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.plain)
	}
	m.Config = s.json(t, oci.MediaTypeImageConfig, config)
	return s.json(t, m.MediaType, m)
}

// e is an entry of a layer: a file with content, unless its type says otherwise.
type e struct {
	name string
	kind byte
	to   string // content, or where a link leads
	mode int64
}

func archive(t testing.TB, entries ...e) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, x := range entries {
		h := &tar.Header{Name: x.name, Typeflag: x.kind, Mode: x.mode, ModTime: time.Unix(1e9, 0)}
		if x.kind == 0 {
			h.Typeflag, h.Size = tar.TypeReg, int64(len(x.to))
		} else {
			h.Linkname = x.to
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if x.kind == 0 {
			if _, err := io.WriteString(w, x.to); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func layer(t testing.TB, entries ...e) packed {
	t.Helper()
	b := archive(t, entries...)
	return packed{b, digest.FromBytes(b)}
}

func gzipped(t testing.TB, plain []byte) packed {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return packed{b.Bytes(), digest.FromBytes(plain)}
}

func open(t *testing.T, c image.Config) *image.Cache {
	t.Helper()
	if c.Dir == "" {
		c.Dir = filepath.Join(t.TempDir(), "images")
	}
	c.Platform = here
	x, err := image.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func get(t *testing.T, x *image.Cache, d digest.Digest, s image.Source) (image.Image, func()) {
	t.Helper()
	i, release, err := x.Get(t.Context(), d, s)
	if err != nil {
		t.Fatal(err)
	}
	return i, release
}

// tree lists a folder: name, kind and content or target of everything in it.
func tree(t testing.TB, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(strings.TrimPrefix(p, root), "/")
		switch {
		case name == "":
		case d.IsDir():
			out[name] = "/"
		case d.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(p)
			out[name] = "-> " + to
			return err
		default:
			b, err := os.ReadFile(p)
			out[name] = string(b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (f failing) Blob(ctx context.Context, d digest.Digest) (io.ReadCloser, error) {
	r, err := f.shelf.Blob(ctx, d)
	if err != nil || bytes.HasPrefix(f.all[d], []byte("{")) {
		return r, err
	}
	return io.NopCloser(io.MultiReader(io.LimitReader(r, 700), broken{f.err})), nil
}
