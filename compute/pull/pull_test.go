package pull_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	oci "github.com/opencontainers/image-spec/specs-go/v1"

	"hearth/compute/layout"
	"hearth/compute/pull"
	"hearth/core/fault"
)

// platforms keeps an image for four, two of which hosts run, with what is said of two.
func (w *town) platforms(t *testing.T) (index oci.Descriptor, taken []oci.Descriptor) {
	t.Helper()
	about := func(of oci.Descriptor) oci.Descriptor {
		d := w.image(t, "", "said of "+of.Digest.String())
		d.Platform = &oci.Platform{OS: "unknown", Architecture: "unknown"}
		d.Annotations = map[string]string{"vnd.docker.reference.digest": of.Digest.String()}
		return d
	}
	amd, arm := on(w.image(t, "", "amd"), "amd64", ""), on(w.image(t, "", "arm"), "arm64", "v8")
	old, risc := on(w.image(t, "", "old"), "arm", "v7"), on(w.image(t, "", "risc"), "riscv64", "")
	taken = []oci.Descriptor{amd, arm, about(amd)}
	return w.index(t, "v1", amd, old, arm, risc, taken[2], about(risc)), taken
}

func TestWhatIsPulledIsExactlyWhatTheRegistryHas(t *testing.T) {
	w := open(t)
	one := w.image(t, "one", "a layer")
	index, taken := w.platforms(t)
	for _, tt := range []struct {
		name    string
		all     bool
		want    []oci.Descriptor // manifests, but for an index that is made here
		own     bool             // it is
		missing string
	}{
		{"team/app:one", false, []oci.Descriptor{one}, false, ""},
		{"team/app@" + one.Digest.String(), false, []oci.Descriptor{one}, false, ""},
		{"team/app:v1", false, taken, true, "linux/arm/v7,linux/riscv64"},
		{"team/app:v1@" + index.Digest.String(), false, taken, true, "linux/arm/v7,linux/riscv64"},
		{"team/app:v1", true, append(taken, index), false, ""},
	} {
		c := w.config(t, tt.name)
		c.All = tt.all
		i, err := pull.Open(t.Context(), c)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		whole(t, i)
		for _, d := range tt.want {
			if !slices.ContainsFunc(i.Manifests, func(p layout.Part) bool {
				return p.Digest == d.Digest && p.Size == d.Size && p.MediaType == d.MediaType
			}) {
				t.Errorf("%s: %s is missing", tt.name, d.Digest)
			}
		}
		if got := strings.Join(i.Missing, ","); got != tt.missing || !tt.own && i.Digest() != tt.want[len(tt.want)-1].Digest || tt.own && len(i.Manifests) != len(tt.want)+1 {
			t.Errorf("%s: %d manifests, %q are missing", tt.name, len(i.Manifests), got)
		}
	}
}

func TestAnImageForNoHostIsRefusedByDefault(t *testing.T) {
	w := open(t)
	w.index(t, "v1", on(w.image(t, "", "risc"), "riscv64", ""), on(w.image(t, "", "old"), "arm", "v7"))
	if _, err := pull.Open(t.Context(), w.config(t, "team/app:v1")); fault.CodeOf(err) != fault.BadImage || !strings.Contains(err.Error(), "linux/riscv64, linux/arm/v7") {
		t.Error(err)
	}
	c := w.config(t, "team/app:v1")
	c.All = true
	i, err := pull.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	whole(t, i)
}

// What isn't opened isn't fetched: who has a blob doesn't open it.
func TestFindingAnImageFetchesNoBlob(t *testing.T) {
	w := open(t)
	w.platforms(t)
	if _, err := pull.Open(t.Context(), w.config(t, "team/app:v1")); err != nil {
		t.Fatal(err)
	}
	if got := w.asked("registry", "/blobs/"); len(got) > 0 {
		t.Errorf("%q", got)
	}
	if got := w.asked("registry", "/manifests/"); len(got) != 5 { // one without a token, the index, three
		t.Errorf("%q", got)
	}
}

// cutting ends each answer for a blob after so many bytes.
func cutting(n int, ranges bool) http.HandlerFunc {
	return func(rw http.ResponseWriter, q *http.Request) {
		if !strings.Contains(q.URL.Path, "/blobs/") {
			return
		}
		if !ranges {
			q.Header.Del("Range")
		}
		rw.(*noting).ResponseWriter = &cut{rw.(*noting).ResponseWriter, n}
	}
}

type cut struct {
	http.ResponseWriter
	left int
}

func (c *cut) Write(b []byte) (int, error) {
	if len(b) < c.left {
		c.left -= len(b)
		return c.ResponseWriter.Write(b)
	}
	_, _ = c.ResponseWriter.Write(b[:c.left]) // it is cut anyway
	_ = http.NewResponseController(c.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}

func TestWhatIsCutOffGoesOn(t *testing.T) {
	layer := strings.Repeat("0123456789", 10_000)
	for name, ranges := range map[string]bool{"a registry that gives parts": true, "one that doesn't": false} {
		t.Run(name, func(t *testing.T) {
			w := open(t)
			w.image(t, "v1", layer)
			i, err := pull.Open(t.Context(), w.config(t, "team/app:v1"))
			if err != nil {
				t.Fatal(err)
			}
			n := 30_000
			if !ranges {
				n = 0 // then more each time
			}
			w.before = func(rw http.ResponseWriter, q *http.Request) {
				if !ranges {
					n += 30_000
				}
				cutting(n, ranges)(rw, q)
			}
			b, err := read(i.Blobs[1])
			if err != nil || string(b) != layer {
				t.Fatalf("%d bytes: %v", len(b), err)
			}
			got := w.asked("registry", "/blobs/"+i.Blobs[1].Digest.String())
			if len(got) != 4 || !strings.Contains(got[1], "bytes=30000-") {
				t.Errorf("%q", got)
			}
		})
	}
}

func TestALineThatStaysCutIsGivenUp(t *testing.T) {
	w := open(t)
	w.image(t, "v1", strings.Repeat("x", 100_000))
	c := w.config(t, "team/app:v1")
	c.Patience = 100 * time.Millisecond
	i, err := pull.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	n := 50_000
	w.before = func(rw http.ResponseWriter, q *http.Request) {
		cutting(n, true)(rw, q)
		n = 0
	}
	if b, err := read(i.Blobs[1]); fault.CodeOf(err) != fault.RegistryDown || len(b) != 50_000 || !strings.Contains(err.Error(), "at byte 50000 of 100000") {
		t.Errorf("%d bytes: %v", len(b), err)
	}
}

func TestARegistryThatHasNoTimeIsAskedAgain(t *testing.T) {
	for status, code := range map[int]fault.Code{http.StatusTooManyRequests: fault.RegistryRefused, http.StatusBadGateway: fault.RegistryDown} {
		w := open(t)
		w.image(t, "v1", "layer")
		n := 0
		w.before = func(rw http.ResponseWriter, _ *http.Request) {
			if n++; n%2 == 1 {
				http.Error(rw, `{"errors":[{"code":"X","message":"later\u001b[2J"}]}`, status)
			}
		}
		i, err := pull.Open(t.Context(), w.config(t, "team/app:v1"))
		if err != nil {
			t.Fatal(err)
		}
		whole(t, i)
		w.before = func(rw http.ResponseWriter, _ *http.Request) {
			http.Error(rw, `{"errors":[{"code":"X","message":"later\u001b[2J"}]}`, status)
		}
		c := w.config(t, "team/app:v1")
		c.Patience = 50 * time.Millisecond
		if _, err := pull.Open(t.Context(), c); fault.CodeOf(err) != code || !strings.Contains(err.Error(), "later") || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestWhoStopsIsToldSo(t *testing.T) {
	w := open(t)
	w.image(t, "v1", "layer")
	ctx, stop := context.WithCancel(t.Context())
	i, err := pull.Open(ctx, w.config(t, "team/app:v1"))
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := read(i.Blobs[0]); fault.CodeOf(err) != fault.Interrupted {
		t.Error(err)
	}
}
