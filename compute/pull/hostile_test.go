package pull_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	oci "github.com/opencontainers/image-spec/specs-go/v1"

	"hearth/compute/layout"
	"hearth/compute/pull"
	"hearth/core/fault"
)

// endless writes until nobody reads.
func endless(rw http.ResponseWriter) {
	for {
		if _, err := io.WriteString(rw, strings.Repeat(" ", 1<<16)); err != nil {
			return
		}
	}
}

func on200(path, body string, header ...string) http.HandlerFunc {
	return func(rw http.ResponseWriter, q *http.Request) {
		if !strings.Contains(q.URL.Path, path) {
			return
		}
		for i := 0; i < len(header); i += 2 {
			rw.Header().Set(header[i], header[i+1])
		}
		_, _ = io.WriteString(rw, body) // the client sees what is missing
	}
}

func TestARegistryThatLiesIsRefused(t *testing.T) {
	const layer = "the layer's bytes"
	other := digest.FromString("other")
	kind := oci.MediaTypeImageManifest
	manifest := func(text string) http.HandlerFunc { return on200("/manifests/", text, "Content-Type", kind) }
	part := func(d string, size int) string {
		return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"digest":%q,"size":%d},"layers":[]}`, kind, d, size)
	}
	chunked := func(body string) http.HandlerFunc {
		return func(rw http.ResponseWriter, q *http.Request) {
			if strings.Contains(q.URL.Path, "/blobs/") {
				for _, c := range body {
					_, _ = io.WriteString(rw, string(c)) // as above
					_ = http.NewResponseController(rw).Flush()
				}
			}
		}
	}
	for _, tt := range []struct {
		name string
		at   string
		does http.HandlerFunc
		want fault.Code
	}{
		{"another digest than the name's", "team/app@" + other.String(), manifest("{}"), fault.BadImage},
		{"another digest than it says", "team/app:v1", on200("/manifests/", "{}", "Docker-Content-Digest", other.String()), fault.BadImage},
		{"no digest", "team/app:v1", on200("/manifests/", "{}", "Docker-Content-Digest", "x"), fault.BadImage},
		{"no manifest", "team/app:v1", manifest("<html>"), fault.BadImage},
		{"a manifest of nothing", "team/app:v1", manifest("{}"), fault.BadImage},
		{"an endless manifest", "team/app:v1", func(rw http.ResponseWriter, _ *http.Request) { endless(rw) }, fault.TooLarge},
		{"a manifest that is too large", "team/app:v1", manifest(strings.Repeat(" ", 4<<20) + "{}"), fault.TooLarge},
		{"too many parts", "team/app:v1", manifest(`{"layers":[` + strings.Repeat(`{},`, 1024) + `{}]}`), fault.TooLarge},
		{"a part without a digest", "team/app:v1", manifest(part("sha256:../../x", 1)), fault.BadImage},
		{"a part by another sum", "team/app:v1", manifest(part("sha512:"+strings.Repeat("a", 128), 1)), fault.BadImage},
		{"a part of less than nothing", "team/app:v1", manifest(part(other.String(), -1)), fault.TooLarge},
		{"a part that is too large", "team/app:v1", manifest(part(other.String(), 64<<30+1)), fault.TooLarge},
		{"an index whose image is gone", "team/app:v1", func(rw http.ResponseWriter, q *http.Request) {
			if strings.HasSuffix(q.URL.Path, "v1") {
				manifest(fmt.Sprintf(`{"manifests":[{"digest":%q,"size":2}]}`, other))(rw, q)
			}
		}, fault.NotFound},
		{"an index that lies about an image's size", "team/app:v1", func(rw http.ResponseWriter, q *http.Request) {
			body := part(digest.FromString(layer).String(), len(layer))
			if strings.HasSuffix(q.URL.Path, "v1") {
				body = fmt.Sprintf(`{"manifests":[{"digest":%q,"size":%d}]}`, digest.FromString(body), len(body)+1)
			}
			manifest(body)(rw, q)
		}, fault.BadImage},
		{"a blob of other bytes", "team/app:v1", on200("/blobs/", strings.Repeat("x", len(layer))), fault.BadImage},
		{"a blob that is shorter", "team/app:v1", on200("/blobs/", layer[1:]), fault.BadImage},
		{"a blob that is longer", "team/app:v1", on200("/blobs/", layer+"x"), fault.BadImage},
		{"a blob that is longer than it says", "team/app:v1", chunked(layer + "x"), fault.BadImage},
		{"a blob that ends early", "team/app:v1", chunked(layer[1:]), fault.RegistryDown},
		{"an endless blob", "team/app:v1", func(rw http.ResponseWriter, q *http.Request) {
			if strings.Contains(q.URL.Path, "/blobs/") {
				endless(rw)
			}
		}, fault.BadImage},
		{"another part of a blob than was asked for", "team/app:v1", func(rw http.ResponseWriter, q *http.Request) {
			if strings.Contains(q.URL.Path, "/blobs/") {
				rw.Header().Set("Content-Range", "bytes 5-9/"+strconv.Itoa(len(layer)))
				rw.WriteHeader(http.StatusPartialContent)
			}
		}, fault.BadImage},
		{"redirects without end", "team/app:v1", func(rw http.ResponseWriter, q *http.Request) {
			http.Redirect(rw, q, q.URL.Path+"?", http.StatusTemporaryRedirect)
		}, fault.RegistryDown},
		{"a redirect into the clear", "team/app:v1", func(rw http.ResponseWriter, q *http.Request) {
			http.Redirect(rw, q, "http://192.0.2.1/v2/", http.StatusTemporaryRedirect)
		}, fault.RegistryDown},
		{"a redirect to no web at all", "team/app:v1", func(rw http.ResponseWriter, q *http.Request) {
			http.Redirect(rw, q, "file:///etc/passwd", http.StatusTemporaryRedirect)
		}, fault.RegistryDown},
		{"nothing of the kind", "team/app:v2", func(http.ResponseWriter, *http.Request) {}, fault.NotFound},
		{"no", "team/app:v1", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusForbidden) }, fault.RegistryRefused},
		{"a status of its own", "team/app:v1", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusTeapot) }, fault.RegistryRefused},
		{"an answer that is none, without end", "team/app:v1", func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(http.StatusForbidden)
			endless(rw)
		}, fault.RegistryRefused},
		{"a token without end", "team/app:v1", nil, fault.RegistryDown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := open(t)
			w.image(t, "v1", layer)
			if w.before = tt.does; tt.does == nil {
				w.tokenOf = func(rw http.ResponseWriter, _ *http.Request) { endless(rw) }
			}
			c := w.config(t, tt.at)
			c.Patience = 50 * time.Millisecond
			i, err := pull.Open(t.Context(), c)
			if err == nil {
				_, err = read(last(i))
			}
			if fault.CodeOf(err) != tt.want {
				t.Errorf("%s: %v", fault.CodeOf(err), err)
			}
		})
	}
}

func last(i *layout.Image) layout.Part { return i.Blobs[len(i.Blobs)-1] }

func TestARegistryThatFallsSilentIsGivenUp(t *testing.T) {
	for _, where := range []string{"/manifests/", "/blobs/", "/token"} {
		for _, begun := range []bool{false, true} {
			t.Run(fmt.Sprint(where, begun), func(t *testing.T) {
				w := open(t)
				w.image(t, "v1", "layer")
				over := make(chan struct{})
				t.Cleanup(func() { close(over) })
				w.before = func(rw http.ResponseWriter, q *http.Request) {
					if !strings.Contains(q.URL.Path, where) {
						return
					}
					if begun {
						rw.Header().Set("Content-Length", "5")
						_, _ = io.WriteString(rw, "l") // the client sees what is missing
						_ = http.NewResponseController(rw).Flush()
					}
					select {
					case <-over:
					case <-q.Context().Done():
					}
				}
				if where == "/token" {
					w.tokenOf = w.before
				}
				c := w.config(t, "team/app:v1")
				c.Stall, c.Patience = 50*time.Millisecond, 100*time.Millisecond
				i, err := pull.Open(t.Context(), c)
				if err == nil {
					_, err = read(last(i))
				}
				if fault.CodeOf(err) != fault.RegistryDown {
					t.Errorf("%s: %v", fault.CodeOf(err), err)
				}
			})
		}
	}
}

// A redirect may carry what lets anybody read.
func TestAnErrorTellsOfARedirectOnlyItsHost(t *testing.T) {
	w := open(t)
	w.image(t, "v1", "layer")
	gone := strings.TrimPrefix(w.far.URL, "http://")
	w.far.Close()
	w.before = func(rw http.ResponseWriter, q *http.Request) {
		http.Redirect(rw, q, "http://"+gone+"/x?Signature=secret", http.StatusTemporaryRedirect)
	}
	c := w.config(t, "team/app:v1")
	c.Patience = 50 * time.Millisecond
	if _, err := pull.Open(t.Context(), c); fault.CodeOf(err) != fault.RegistryDown || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), gone) {
		t.Error(err)
	}
}
