package pull_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cuelabs.dev/go/oci/ociregistry"
	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
	"github.com/opencontainers/go-digest"
	oci "github.com/opencontainers/image-spec/specs-go/v1"

	"hearth/compute/layout"
	"hearth/compute/pull"
)

// A town is a registry, where it has its tokens made, and another host.
type town struct {
	images   ociregistry.Interface
	registry *httptest.Server
	tokens   *httptest.Server
	far      *httptest.Server

	user, password string              // "": everybody may read
	basic          bool                // no tokens: the password itself
	before         http.HandlerFunc    // instead of the registry, where it answers
	elsewhere      http.HandlerFunc    // of the other host
	tokenOf        http.HandlerFunc    // instead of a token
	mu             sync.Mutex          // guards what follows
	seen           map[string][]string // method, path and authorization of what each was asked
}

const token = "a token"

func open(t *testing.T) *town {
	t.Helper()
	w := &town{images: ocimem.New(), seen: map[string][]string{}}
	inner := ociserver.New(w.images, nil)
	serve := func(name string, h http.HandlerFunc) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, q *http.Request) {
			body, _ := io.ReadAll(io.LimitReader(q.Body, 1<<20)) // a test sees what is missing
			w.mu.Lock()
			w.seen[name] = append(w.seen[name], strings.TrimSpace(q.Method+" "+q.URL.Path+" "+q.Header.Get("Range")+" "+q.Header.Get("Authorization")+" "+string(body)))
			w.mu.Unlock()
			h(rw, q)
		}))
		t.Cleanup(s.Close)
		return s
	}
	w.registry = serve("registry", func(rw http.ResponseWriter, q *http.Request) {
		want := "Bearer " + token
		if w.basic {
			want = "Basic"
		}
		if !strings.HasPrefix(q.Header.Get("Authorization"), want) {
			rw.Header().Set("Www-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="here"`, w.tokens.URL))
			if w.basic {
				rw.Header().Set("Www-Authenticate", `Basic realm="here"`)
			}
			http.Error(rw, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}`, http.StatusUnauthorized)
			return
		}
		if user, password, _ := q.BasicAuth(); w.basic && (user != w.user || password != w.password) {
			http.Error(rw, "", http.StatusForbidden)
			return
		}
		if w.before != nil {
			answered := &noting{ResponseWriter: rw}
			if w.before(answered, q); answered.did {
				return
			}
			rw = answered
		}
		inner.ServeHTTP(rw, q)
	})
	w.tokens = serve("tokens", func(rw http.ResponseWriter, q *http.Request) {
		if w.tokenOf != nil {
			w.tokenOf(rw, q)
			return
		}
		user, password, _ := q.BasicAuth()
		_ = q.ParseForm() // its body is read already
		if q.Method == http.MethodGet && (user != w.user || password != w.password) {
			http.Error(rw, "no", http.StatusUnauthorized)
			return
		}
		_ = json.NewEncoder(rw).Encode(map[string]any{"token": token, "expires_in": 300}) // the client sees what is missing
	})
	w.far = serve("far", func(rw http.ResponseWriter, q *http.Request) {
		if w.elsewhere != nil {
			w.elsewhere(rw, q)
			return
		}
		inner.ServeHTTP(rw, q)
	})
	return w
}

// noting knows whether something was answered.
type noting struct {
	http.ResponseWriter
	did bool
}

func (n *noting) WriteHeader(status int) { n.did = true; n.ResponseWriter.WriteHeader(status) }

func (n *noting) Write(b []byte) (int, error) { n.did = true; return n.ResponseWriter.Write(b) }

func (n *noting) Unwrap() http.ResponseWriter { return n.ResponseWriter }

// asked is what a server was asked, as far as it holds a word.
func (w *town) asked(server, word string) (out []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.seen[server] {
		if strings.Contains(s, word) {
			out = append(out, s)
		}
	}
	return out
}

func (w *town) host() string { return strings.TrimPrefix(w.registry.URL, "http://") }

// blob keeps one.
func (w *town) blob(t *testing.T, kind, b string) oci.Descriptor {
	t.Helper()
	d, err := w.images.PushBlob(t.Context(), "team/app", oci.Descriptor{MediaType: kind, Digest: digest.FromString(b), Size: int64(len(b))}, strings.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// manifest keeps one, with blanks that nobody would write twice.
func (w *town) manifest(t *testing.T, tag, kind string, v any) oci.Descriptor {
	t.Helper()
	b, err := json.MarshalIndent(v, " ", "   ")
	if err != nil {
		t.Fatal(err)
	}
	d, err := w.images.PushManifest(t.Context(), "team/app", tag, b, kind)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// image keeps one of one layer.
func (w *town) image(t *testing.T, tag, layer string) oci.Descriptor {
	t.Helper()
	m := oci.Manifest{
		MediaType: oci.MediaTypeImageManifest, Config: w.blob(t, oci.MediaTypeImageConfig, `{"of":"`+digest.FromString(layer).Encoded()+`"}`),
		Layers: []oci.Descriptor{w.blob(t, oci.MediaTypeImageLayer, layer)},
	}
	m.SchemaVersion = 2
	return w.manifest(t, tag, m.MediaType, m)
}

// index keeps one.
func (w *town) index(t *testing.T, tag string, all ...oci.Descriptor) oci.Descriptor {
	t.Helper()
	x := oci.Index{MediaType: oci.MediaTypeImageIndex, Manifests: all}
	x.SchemaVersion = 2
	return w.manifest(t, tag, x.MediaType, x)
}

func on(d oci.Descriptor, arch, variant string) oci.Descriptor {
	d.Platform = &oci.Platform{OS: "linux", Architecture: arch, Variant: variant}
	return d
}

// config is that of a pull from the town, by a name behind its host.
func (w *town) config(t *testing.T, name string) pull.Config {
	t.Helper()
	n, err := pull.Parse(w.host() + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return pull.Config{Name: n, Stall: 5 * time.Second, Patience: 10 * time.Second}
}

// logins are those that docker's config.json holds.
func logins(t *testing.T, config string) *pull.Logins {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := pull.FindLogins(func(name string) string {
		if name == "DOCKER_CONFIG" {
			return dir
		}
		return ""
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func read(p layout.Part) ([]byte, error) {
	f, err := p.Open()
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(f)
	return b, errors.Join(err, f.Close())
}

// whole reads all parts; each has to be what its descriptor says.
func whole(t *testing.T, i *layout.Image) {
	t.Helper()
	for _, p := range append(append([]layout.Part{}, i.Blobs...), i.Manifests...) {
		b, err := read(p)
		if err != nil || int64(len(b)) != p.Size || digest.FromBytes(b) != p.Digest {
			t.Errorf("%s: %d bytes, %v", p.Digest, len(b), err)
		}
	}
}

func redirect(to *httptest.Server, status int) http.HandlerFunc {
	return func(rw http.ResponseWriter, q *http.Request) {
		at, _ := url.Parse(to.URL) // the server's own
		at.Path = q.URL.Path
		http.Redirect(rw, q, at.String(), status)
	}
}
