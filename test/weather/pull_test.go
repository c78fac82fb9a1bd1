package weather

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
	"github.com/opencontainers/go-digest"

	"hearth/compute/layout"
	"hearth/core/fault"
	"hearth/node/cloud"
)

// A foreign registry is for who has a token, which is made elsewhere for a password.
type foreign struct {
	address string
	index   digest.Digest
	largest digest.Digest // of its blobs

	mu    sync.Mutex
	asked map[string]int // for a blob
	halt  chan struct{}  // if there is one, answers for the largest stop until it ends
	held  bool           // one does
}

func (f *foreign) times(d digest.Digest) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[d.Encoded()]
}

func (f *foreign) all() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, times := range f.asked {
		n += times
	}
	return n
}

func foreignRegistry(t *testing.T, password string) *foreign {
	t.Helper()
	f, images := &foreign{asked: map[string]int{}, halt: make(chan struct{})}, ocimem.New()
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if _, p, _ := q.BasicAuth(); p != password {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"token": "word"}) // the client sees what is missing
	}))
	t.Cleanup(tokens.Close)
	inner := ociserver.New(images, nil)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("Authorization") != "Bearer word" {
			w.Header().Set("Www-Authenticate", fmt.Sprintf(`Bearer realm="%s/token"`, tokens.URL))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if _, d, ok := strings.Cut(q.URL.Path, "/blobs/sha256:"); ok {
			f.mu.Lock()
			f.asked[d]++
			halt := f.halt
			f.mu.Unlock()
			if halt != nil && d == f.largest.Encoded() {
				w = &halting{w, f, q, halt}
			}
		}
		inner.ServeHTTP(w, q)
	}))
	t.Cleanup(s.Close)
	f.address = strings.TrimPrefix(s.URL, "http://")
	dir, index := builtImage(t, 6*mib)
	i, err := layout.Open(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	whole := func(p layout.Part) []byte {
		r, err := p.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, b := range i.Blobs {
		if _, err := images.PushBlob(t.Context(), "team/app", b.Descriptor, strings.NewReader(string(whole(b)))); err != nil {
			t.Fatal(err)
		}
		if b.Size > 6*mib {
			f.largest = b.Digest
		}
	}
	for _, m := range i.Manifests {
		if _, err := images.PushManifest(t.Context(), "team/app", "v1", whole(m), m.MediaType); err != nil {
			t.Fatal(err)
		}
	}
	f.index = index
	return f
}

// halting stops in the middle.
type halting struct {
	http.ResponseWriter
	f    *foreign
	q    *http.Request
	halt chan struct{}
}

func (h *halting) Write(b []byte) (int, error) {
	n, err := h.ResponseWriter.Write(b[:len(b)/2])
	_ = http.NewResponseController(h.ResponseWriter).Flush()
	h.f.mu.Lock()
	h.f.held = true
	h.f.mu.Unlock()
	select {
	case <-h.halt:
	case <-h.q.Context().Done():
	}
	if err == nil {
		err = io.ErrClosedPipe
	}
	return n, err
}

// An image of another registry comes into the account bit for bit, for whoever is logged
// in there; what was fetched before somebody ended it isn't fetched again, and a second
// time nothing is.
func TestAnImageIsPulledFromAnotherRegistry(t *testing.T) {
	t.Parallel()
	w, err := begin(cloud.Config{Hosts: 4, Class: twoOfFour, Machines: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.stop)
	t.Cleanup(func() { w.logs(t) })
	me, home := w.Client.Dir, t.TempDir()
	f := foreignRegistry(t, "a password")
	from := f.address + "/team/app:v1"
	command := func(args ...string) *exec.Cmd {
		c := exec.CommandContext(within(t, patient), program("hearth"), append([]string{"--dir", me}, args...)...)
		c.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}
		return c
	}
	run := func(args ...string) (string, bool) {
		out, err := command(args...).CombinedOutput()
		return string(out), err == nil
	}
	if out, ok := run("image", "pull", from); ok || !strings.Contains(out, string(fault.RegistryRefused)) {
		t.Errorf("without a login: %s", out)
	}
	config := filepath.Join(home, ".docker", "config.json")
	if err := os.Mkdir(filepath.Dir(config), 0o700); err != nil {
		t.Fatal(err)
	}
	login := base64.StdEncoding.EncodeToString([]byte("me:a password"))
	if err := os.WriteFile(config, []byte(`{"auths":{"`+f.address+`":{"auth":"`+login+`"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, ok := run("image", "pull", from, "--max-price", "0.000001 ember"); ok || !strings.Contains(out, string(fault.PriceTooHigh)) || f.all() > 0 {
		t.Errorf("for nothing: %s", out)
	}

	first := command("image", "pull", from)
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "the largest layer is under way, and all others are stored", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		out, status := hearth(t, me, "ls", "-r", "hearth://hearth-images", "-o", "name")
		return f.held && status == 0 && strings.Count(out, "blobs/") == 2
	})
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // it was killed
	largest, all := f.times(f.largest), f.all()
	if all-largest != 2 { // the config and a small layer, each once
		t.Errorf("asked for %v", f.asked)
	}
	f.mu.Lock()
	close(f.halt)
	f.halt = nil
	f.mu.Unlock()
	if out, ok := run("image", "pull", from); !ok || !strings.Contains(out, "in 30 days") || strings.Contains(out, "a password") {
		t.Fatal(out)
	}
	if f.times(f.largest) != largest+1 || f.all() != all+1 { // what is stored isn't asked for again
		t.Errorf("asked for %v", f.asked)
	}
	if out, ok := run("image", "pull", from); !ok || !strings.Contains(out, "is here already") || f.all() != all+1 {
		t.Errorf("again: %s", out)
	}
	if out, ok := run("image", "pull", from, "other:v2"); !ok || f.all() != all+1 {
		t.Errorf("by another name: %s", out)
	}
	if out, ok := run("image", "rm", "team/app:v1"); !ok {
		t.Error(out)
	}
	if out, ok := run("instance", "create", "one", "--image", from, "--memory", "256MiB"); !ok || !strings.Contains(out, "pulling "+from) {
		t.Errorf("for an instance: %s", out)
	}
	until(t, "it has said what it says", func() bool {
		out, status := hearth(t, me, "logs", "one")
		return status == 0 && strings.Contains(out, "hello from an image")
	})
	if out, ok := run("instance", "create", "two", "--image", "nothing", "--memory", "256MiB"); ok || !strings.Contains(out, "hearth image pull nothing") {
		t.Errorf("of an image that isn't there: %s", out)
	}

	door := w.registry(t)
	if out, ok := run("image", "pull", door.Address+"/other:v2", "third:v3"); ok || !strings.Contains(out, string(fault.RegistryRefused)) {
		t.Errorf("from the node's own door without a login: %s", out)
	}
	if out, ok := run("image", "login", "--install"); !ok {
		t.Fatal(out)
	}
	if out, ok := run("image", "pull", door.Address+"/other:v2", "third:v3"); !ok {
		t.Errorf("from the node's own door: %s", out)
	}
	list, err := w.api.Images(within(t, patient))
	if err != nil || len(list.Images) != 3 {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, i := range list.Images {
		if i.Digest != f.index.String() {
			t.Errorf("%+v", i)
		}
	}
	back := filepath.Join(t.TempDir(), "back")
	mustSkopeo(t, home, "copy", "--all", "--preserve-digests", "docker://"+door.Address+"/team/app:v1", "oci:"+back+":v1")
}
