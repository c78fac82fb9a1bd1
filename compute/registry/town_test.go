package registry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cuelabs.dev/go/oci/ociregistry"
	"cuelabs.dev/go/oci/ociregistry/ociclient"
	"github.com/opencontainers/go-digest"
	oci "github.com/opencontainers/image-spec/specs-go/v1"

	"hearth/compute/registry"
	"hearth/core/fault"
)

// objects is storage in a map.
type objects struct {
	mu  sync.Mutex
	all map[string]kept
	now func() time.Time

	takes  time.Duration                               // to keep something
	stored func(key string)                            // when something is, if there is one
	reads  func(ctx context.Context, key string) error // before something is, if there is one
}

type kept struct {
	registry.Object
	body []byte
}

func (o *objects) Put(ctx context.Context, key, kind string, _ int64, src io.Reader) error {
	b, err := io.ReadAll(src)
	if err != nil {
		return err
	}
	if o.takes > 0 && len(b) > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(o.takes):
		}
	}
	if o.stored != nil {
		o.stored(key)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all[key] = kept{registry.Object{Key: key, Type: kind, Size: int64(len(b)), Created: o.now()}, b}
	return nil
}

func (o *objects) get(key string) (kept, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	k, ok := o.all[key]
	if !ok {
		return k, fault.New(fault.NotFound, "there is no %s", key)
	}
	return k, nil
}

func (o *objects) Get(ctx context.Context, key string, off, n int64, w io.Writer) error {
	if o.reads != nil {
		if err := o.reads(ctx, key); err != nil {
			return err
		}
	}
	k, err := o.get(key)
	if err != nil {
		return err
	}
	if n == 0 {
		n = k.Size - off
	}
	_, err = w.Write(k.body[off : off+n])
	return err
}

func (o *objects) Head(_ context.Context, key string) (registry.Object, error) {
	k, err := o.get(key)
	return k.Object, err
}

func (o *objects) Drop(_ context.Context, key string) error {
	_, err := o.get(key)
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.all, key)
	return err
}

// List has pages of three.
func (o *objects) List(_ context.Context, prefix, after string) (page []registry.Object, next string, err error) {
	for _, key := range o.keys(prefix) {
		if key <= after {
			continue
		}
		if len(page) == 3 {
			return page, page[2].Key, nil
		}
		if k, err := o.get(key); err == nil {
			page = append(page, k.Object)
		}
	}
	return page, "", nil
}

func (o *objects) keys(prefix string) (keys []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for key := range o.all {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// town is a registry, its storage, a server and a client of it.
type town struct {
	*registry.Registry
	objects *objects
	url     string
	client  ociregistry.Interface
	dir     string
	mu      sync.Mutex
	clock   time.Time
}

func (w *town) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *town) later(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

func open(t *testing.T, c registry.Config) *town {
	t.Helper()
	w := &town{clock: time.Unix(1_800_000_000, 0), dir: filepath.Join(t.TempDir(), "uploads")}
	w.objects = &objects{all: map[string]kept{}, now: w.now}
	c.Objects, c.Dir, c.Now = w.objects, w.dir, w.now
	var err error
	if w.Registry, err = registry.New(c); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(w.Handler())
	t.Cleanup(s.Close)
	w.url = s.URL
	if w.client, err = ociclient.New(strings.TrimPrefix(s.URL, "http://"), &ociclient.Options{Insecure: true}); err != nil {
		t.Fatal(err)
	}
	return w
}

// again is another registry on the same storage: it remembers nothing.
func (w *town) again(t *testing.T) *registry.Registry {
	t.Helper()
	r, err := registry.New(registry.Config{Objects: w.objects, Dir: filepath.Join(t.TempDir(), "uploads"), Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// request sends one; the answer's body is read.
func (w *town) request(t *testing.T, method, path, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	if !strings.HasPrefix(path, "http") {
		path = w.url + path
	}
	q, err := http.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, string(b)
}

// wants checks the status and the code of an answer.
func (w *town) wants(t *testing.T, status int, code, method, path, body string, headers ...string) *http.Response {
	t.Helper()
	r, text := w.request(t, method, path, body, headers...)
	if r.StatusCode != status {
		t.Fatalf("%s %s: %s: %s, want %d", method, path, r.Status, text, status)
	}
	if code != "" {
		var e ociregistry.WireErrors
		if err := json.Unmarshal([]byte(text), &e); err != nil || len(e.Errors) != 1 || e.Errors[0].Code() != code {
			t.Fatalf("%s %s: it says %s, want %s", method, path, text, code)
		}
	}
	return r
}

func (w *town) blob(t *testing.T, repo string, b []byte) oci.Descriptor {
	t.Helper()
	d, err := w.client.PushBlob(t.Context(), repo, oci.Descriptor{Digest: digest.FromBytes(b), Size: int64(len(b))}, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const imageType = oci.MediaTypeImageManifest

// image pushes one with these layers.
func (w *town) image(t *testing.T, repo, tag, kind string, layers ...string) oci.Descriptor {
	t.Helper()
	d, err := w.client.PushManifest(t.Context(), repo, tag, w.manifest(t, repo, kind, layers...), kind)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (w *town) manifest(t *testing.T, repo, kind string, layers ...string) []byte {
	t.Helper()
	config := w.blob(t, repo, []byte(`{"os":"linux","architecture":"arm64","about":"`+strings.Join(layers, " ")+`"}`))
	config.MediaType = oci.MediaTypeImageConfig
	m := oci.Manifest{MediaType: kind, Config: config, Layers: []oci.Descriptor{}}
	m.SchemaVersion = 2
	for _, l := range layers {
		d := w.blob(t, repo, []byte(l))
		d.MediaType = oci.MediaTypeImageLayer
		m.Layers = append(m.Layers, d)
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (w *town) index(t *testing.T, repo, tag string, of ...oci.Descriptor) oci.Descriptor {
	t.Helper()
	i := oci.Index{MediaType: oci.MediaTypeImageIndex, Manifests: of}
	i.SchemaVersion = 2
	b, err := json.Marshal(i)
	if err != nil {
		t.Fatal(err)
	}
	d, err := w.client.PushManifest(t.Context(), repo, tag, b, i.MediaType)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (w *town) blobs() int { return len(w.objects.keys("blobs/")) }

// whole reads all of an image, and checks every digest.
func (w *town) whole(ctx context.Context, repo string, d digest.Digest) error {
	m, err := w.client.GetManifest(ctx, repo, d)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(m)
	if err != nil || digest.FromBytes(b) != d {
		return fmt.Errorf("manifest %s: %w", d, errors.Join(err, m.Close()))
	}
	var says oci.Manifest
	if err := json.Unmarshal(b, &says); err != nil {
		return err
	}
	for _, l := range append(says.Layers, says.Config) {
		r, err := w.client.GetBlob(ctx, repo, l.Digest)
		if err != nil {
			return err
		}
		b, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil || digest.FromBytes(b) != l.Digest {
			return fmt.Errorf("blob %s: %w", l.Digest, err)
		}
	}
	return nil
}

func collect[T any](t *testing.T, all func(func(T, error) bool)) (out []T) {
	t.Helper()
	for v, err := range all {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}
