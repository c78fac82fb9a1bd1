package registry_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	oci "github.com/opencontainers/image-spec/specs-go/v1"

	"hearth/compute/manifest"
	"hearth/compute/registry"
	"hearth/core/fault"
)

func TestWhatIsPushedComesBackExactly(t *testing.T) {
	w := open(t, registry.Config{})
	for _, kind := range []string{imageType, "application/vnd.docker.distribution.manifest.v2+json"} {
		repo := "a/b-c/" + digest.FromString(kind).Encoded()[:8]
		d := w.image(t, repo, "v1", kind, "one", "two "+kind)
		got, err := w.client.ResolveTag(t.Context(), repo, "v1")
		if err != nil || got.Digest != d.Digest || got.MediaType != kind || got.Size != d.Size {
			t.Errorf("%s: %+v, %v", kind, got, err)
		}
		if err := w.whole(t.Context(), repo, d.Digest); err != nil {
			t.Error(err)
		}
		i := w.index(t, repo, "all", d)
		if got, err := w.client.ResolveManifest(t.Context(), repo, i.Digest); err != nil || got.MediaType != oci.MediaTypeImageIndex {
			t.Errorf("%+v, %v", got, err)
		}
	}
	list, err := w.Images(t.Context())
	if err != nil || len(list) != 4 {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, i := range list {
		if len(i.Tags) == 1 && i.Tags[0] == "v1" && !slices.Equal(i.Platforms, []string{"linux/arm64"}) {
			t.Errorf("%+v", i)
		}
	}
	if d, err := w.Resolve(t.Context(), list[0].Name+":"+list[0].Tags[0]); err != nil || d != list[0].Digest {
		t.Error(d, err)
	}
	b, size, err := w.Blob(t.Context(), list[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(b); err != nil || digest.FromBytes(body) != list[0].Digest || int64(len(body)) != size {
		t.Errorf("%s: %v", body, err)
	}
	if _, _, err := w.Blob(t.Context(), digest.FromString("nothing")); fault.CodeOf(err) != fault.NotFound {
		t.Error(err)
	}
}

func TestABlobThatIsntItsDigestIsntKept(t *testing.T) {
	w := open(t, registry.Config{})
	said := digest.FromString("other")
	at := w.wants(t, http.StatusAccepted, "", http.MethodPost, "/v2/app/blobs/uploads/", "").Header.Get("Location")
	w.wants(t, http.StatusBadRequest, "DIGEST_INVALID", http.MethodPut, at+"?digest="+said.String(), "bytes")
	w.wants(t, http.StatusBadRequest, "DIGEST_INVALID", http.MethodPost, "/v2/app/blobs/uploads/?digest="+said.String(), "bytes")
	w.wants(t, http.StatusNotFound, "", http.MethodHead, "/v2/app/blobs/"+said.String(), "")
	w.wants(t, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", http.MethodPut, at+"?digest="+said.String(), "other") // it is over
	sha512 := digest.SHA512.FromString("bytes")
	w.wants(t, http.StatusBadRequest, "DIGEST_INVALID", http.MethodPost, "/v2/app/blobs/uploads/?digest="+sha512.String(), "bytes")
	if w.blobs() != 0 {
		t.Errorf("%q is kept", w.objects.keys(""))
	}
	if left, err := os.ReadDir(w.dir); err != nil || len(left) != 0 {
		t.Errorf("%d uploads lie here, %v", len(left), err)
	}
}

func TestABlobComesInPartsInTheirOrder(t *testing.T) {
	w := open(t, registry.Config{})
	all := strings.Repeat("0123456789", 10)
	d := digest.FromString(all)
	for _, ranged := range []bool{true, false} {
		at := w.wants(t, http.StatusAccepted, "", http.MethodPost, "/v2/app/blobs/uploads/", "").Header.Get("Location")
		for from := 0; from < 60; from += 20 {
			var headers []string
			if ranged {
				headers = []string{"Content-Range", fmt.Sprintf("%d-%d", from, from+19)}
			}
			r := w.wants(t, http.StatusAccepted, "", http.MethodPatch, at, all[from:from+20], headers...)
			if got := r.Header.Get("Range"); got != fmt.Sprintf("0-%d", from+19) {
				t.Errorf("Range %q after %d", got, from+20)
			}
			at = r.Header.Get("Location")
		}
		w.wants(t, http.StatusRequestedRangeNotSatisfiable, "RANGE_INVALID", http.MethodPatch, at, all[80:], "Content-Range", "80-99")
		w.wants(t, http.StatusRequestedRangeNotSatisfiable, "RANGE_INVALID", http.MethodPatch, at, all[:20], "Content-Range", "0-19")
		if r := w.wants(t, http.StatusNoContent, "", http.MethodGet, at, ""); r.Header.Get("Range") != "0-59" {
			t.Errorf("it says %q", r.Header.Get("Range"))
		}
		w.wants(t, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", http.MethodPatch, strings.Replace(at, "/app/", "/other/", 1), "x")
		w.wants(t, http.StatusCreated, "", http.MethodPut, at+"?digest="+d.String(), all[60:])
	}
	r, body := w.request(t, http.MethodGet, "/v2/app/blobs/"+d.String(), "", "Range", "bytes=10-19")
	if r.StatusCode != http.StatusPartialContent || body != "0123456789" || r.Header.Get("Content-Range") != "bytes 10-19/100" {
		t.Errorf("%s: %q, %q", r.Status, body, r.Header)
	}
	if r, body := w.request(t, http.MethodGet, "/v2/app/blobs/"+d.String(), "", "Range", "bytes=95-"); r.StatusCode != http.StatusPartialContent || body != "56789" {
		t.Errorf("%s: %q", r.Status, body)
	}
	w.wants(t, http.StatusRequestedRangeNotSatisfiable, "", http.MethodGet, "/v2/app/blobs/"+d.String(), "", "Range", "bytes=100-")
}

func TestABlobIsKeptOnceAndMountedAcrossImages(t *testing.T) {
	w := open(t, registry.Config{})
	d := w.blob(t, "one", []byte("layer"))
	w.wants(t, http.StatusCreated, "", http.MethodPost, "/v2/two/blobs/uploads/?mount="+d.Digest.String()+"&from=one", "")
	w.wants(t, http.StatusCreated, "", http.MethodPost, "/v2/three/blobs/uploads/?mount="+d.Digest.String(), "")
	r := w.wants(t, http.StatusAccepted, "", http.MethodPost, "/v2/two/blobs/uploads/?mount="+digest.FromString("?").String()+"&from=one", "")
	if r.Header.Get("Location") == "" {
		t.Error("a mount that can't be didn't become an upload")
	}
	w.blob(t, "four", []byte("layer"))
	if w.blobs() != 1 {
		t.Errorf("%q", w.objects.keys("blobs/"))
	}
	w.wants(t, http.StatusOK, "", http.MethodHead, "/v2/four/blobs/"+d.Digest.String(), "")
	empty := w.blob(t, "one", nil)
	if _, body := w.request(t, http.MethodGet, "/v2/one/blobs/"+empty.Digest.String(), ""); body != "" {
		t.Errorf("%q", body)
	}
}

func TestAManifestIsRefusedUnlessAllItNamesIsHere(t *testing.T) {
	w := open(t, registry.Config{})
	whole := string(w.manifest(t, "app", imageType, "layer"))
	lost := strings.ReplaceAll(whole, digest.FromString("layer").String(), digest.FromString("gone").String())
	for _, tt := range []struct {
		name, path, body, kind string
		status                 int
		code                   string
	}{
		{"a layer that isn't here", "v1", lost, imageType, 404, "MANIFEST_BLOB_UNKNOWN"},
		{"a layer of another size", "v1", strings.Replace(whole, `"size":5`, `"size":6`, 1), imageType, 400, "MANIFEST_INVALID"},
		{"an index of what isn't here", "v1", `{"schemaVersion":2,"manifests":[{"digest":"` + digest.FromString("m").String() + `","size":1}]}`, oci.MediaTypeImageIndex, 404, "MANIFEST_BLOB_UNKNOWN"},
		{"no JSON", "v1", "hello", "application/vnd.docker.distribution.manifest.v2+json", 400, "MANIFEST_INVALID"},
		{"no JSON, of an OCI image", "v1", "hello", imageType, 400, "MANIFEST_INVALID"},
		{"no JSON, of an OCI index", "v1", "[]", oci.MediaTypeImageIndex, 400, "MANIFEST_INVALID"},
		{"a subject that is none", "v1", strings.Replace(whole, "{", `{"subject":"x",`, 1), imageType, 400, "MANIFEST_INVALID"},
		{"another kind than it says", "v1", whole, oci.MediaTypeImageIndex, 400, "MANIFEST_INVALID"},
		{"a kind that nobody knows", "v1", `{"schemaVersion":2}`, "text/plain", 400, "MANIFEST_INVALID"},
		{"version 1", "v1", `{"schemaVersion":1}`, imageType, 400, "MANIFEST_INVALID"},
		{"another digest", digest.FromString("x").String(), whole, imageType, 400, "DIGEST_INVALID"},
		{"more than 4 MiB", "v1", whole + strings.Repeat(" ", manifest.Max), imageType, 413, "SIZE_INVALID"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.wants(t, tt.status, tt.code, http.MethodPut, "/v2/app/manifests/"+tt.path, tt.body, "Content-Type", tt.kind)
		})
	}
	w.wants(t, http.StatusBadRequest, "NAME_INVALID", http.MethodPut, "/v2/"+strings.Repeat("a", 256)+"/manifests/v1", whole, "Content-Type", imageType)
	if got := w.objects.keys("images/"); len(got) != 0 {
		t.Errorf("%q is kept", got)
	}
	w.wants(t, http.StatusCreated, "", http.MethodPut, "/v2/app/manifests/v1", whole, "Content-Type", imageType)
}

func TestListsComeInPages(t *testing.T) {
	w := open(t, registry.Config{})
	for _, name := range []string{"b/x", "a", "b", "a-b"} {
		for _, tag := range []string{"v3", "v1", "v2"} {
			w.image(t, name, tag, imageType, name)
		}
	}
	if got := collect(t, w.client.Repositories(t.Context(), "")); !slices.Equal(got, []string{"a", "a-b", "b", "b/x"}) {
		t.Errorf("%q", got)
	}
	if got := collect(t, w.client.Tags(t.Context(), "b", "")); !slices.Equal(got, []string{"v1", "v2", "v3"}) {
		t.Errorf("%q", got)
	}
	r, body := w.request(t, http.MethodGet, "/v2/b/tags/list?n=2", "")
	if !strings.Contains(body, `["v1","v2"]`) || !strings.Contains(r.Header.Get("Link"), "last=v2") {
		t.Errorf("%s, %q", body, r.Header)
	}
	if _, body = w.request(t, http.MethodGet, "/v2/b/tags/list?n=2&last=v2", ""); !strings.Contains(body, `["v3"]`) {
		t.Error(body)
	}
	if _, body = w.request(t, http.MethodGet, "/v2/_catalog?n=1&last=a-b", ""); !strings.Contains(body, `["b"]`) {
		t.Error(body)
	}
	w.wants(t, http.StatusNotFound, "NAME_UNKNOWN", http.MethodGet, "/v2/nobody/tags/list", "")
	for _, n := range []string{"-1", "x"} {
		w.wants(t, http.StatusBadRequest, "", http.MethodGet, "/v2/_catalog?n="+n, "")
	}
}

func TestAnEmptyListIsAList(t *testing.T) {
	w := open(t, registry.Config{})
	says := func(path, want string) {
		t.Helper()
		if r, body := w.request(t, http.MethodGet, path, ""); r.StatusCode != http.StatusOK || !strings.Contains(body, want) || r.Header.Get("Link") != "" {
			t.Errorf("%s: %s: %s, %q", path, r.Status, body, r.Header)
		}
	}
	says("/v2/_catalog", `"repositories":[]`)
	d := w.image(t, "app", "", imageType, "layer")
	says("/v2/app/tags/list", `{"name":"app","tags":[]}`)
	says("/v2/app/referrers/"+d.Digest.String(), `"manifests":[]`)
	w.image(t, "app", "v1", imageType, "layer")
	says("/v2/app/tags/list?n=0", `"tags":[]`)
	says("/v2/_catalog?n=0", `"repositories":[]`)
	says("/v2/app/tags/list?last=v1", `"tags":[]`)
	w.wants(t, http.StatusBadRequest, "NAME_INVALID", http.MethodGet, "/v2/APP/tags/list", "")
	w.wants(t, http.StatusBadRequest, "DIGEST_INVALID", http.MethodGet, "/v2/app/referrers/x", "")
}

func TestUploadsAreBoundedAndGivenUp(t *testing.T) {
	w := open(t, registry.Config{Uploads: 2, MaxBlob: 100, MaxStaged: 150})
	begin := func() string {
		return w.wants(t, http.StatusAccepted, "", http.MethodPost, "/v2/app/blobs/uploads/", "").Header.Get("Location")
	}
	one, two := begin(), begin()
	w.wants(t, http.StatusTooManyRequests, "TOOMANYREQUESTS", http.MethodPost, "/v2/app/blobs/uploads/", "")
	w.wants(t, http.StatusRequestEntityTooLarge, "SIZE_INVALID", http.MethodPatch, one, strings.Repeat("x", 101))
	w.wants(t, http.StatusAccepted, "", http.MethodPatch, one, strings.Repeat("x", 100))
	w.wants(t, http.StatusInsufficientStorage, "", http.MethodPatch, two, strings.Repeat("x", 51))
	ctx, end := context.WithCancel(t.Context())
	end()
	w.Run(ctx)
	if left, err := os.ReadDir(w.dir); err != nil || len(left) != 0 {
		t.Errorf("at its end %d uploads lie here, %v", len(left), err)
	}
	w.wants(t, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", http.MethodGet, one, "")
	if err := os.WriteFile(filepath.Join(w.dir, "left"), []byte("over"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := registry.New(registry.Config{Objects: w.objects, Dir: w.dir}); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(w.dir); err != nil || len(left) != 0 {
		t.Errorf("after a crash %d uploads lie here, %v", len(left), err)
	}
}

func TestUploadsLeaveSomeOfTheDiskFree(t *testing.T) {
	left := int64(1000)
	w := open(t, registry.Config{Spare: 900, Free: func() (int64, error) { return left, nil }})
	begin := func() string {
		return w.wants(t, http.StatusAccepted, "", http.MethodPost, "/v2/app/blobs/uploads/", "").Header.Get("Location")
	}
	w.wants(t, http.StatusAccepted, "", http.MethodPatch, begin(), strings.Repeat("x", 100))
	for _, method := range []string{http.MethodPatch, http.MethodPut} {
		w.wants(t, http.StatusInsufficientStorage, "UNAVAILABLE", method, begin()+"?digest="+digest.FromString("x").String(), strings.Repeat("x", 101))
	}
	whole := open(t, registry.Config{Spare: 1 << 62}) // no disk has that
	whole.wants(t, http.StatusInsufficientStorage, "UNAVAILABLE", http.MethodPost, "/v2/app/blobs/uploads/?digest="+digest.FromString("x").String(), "x")
}

func TestAnUploadThatIsCancelledGivesItsPlaceBack(t *testing.T) {
	w := open(t, registry.Config{Uploads: 1})
	begin := func() string {
		return w.wants(t, http.StatusAccepted, "", http.MethodPost, "/v2/app/blobs/uploads/", "").Header.Get("Location")
	}
	at := begin()
	w.wants(t, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", http.MethodDelete, strings.Replace(at, "/app/", "/other/", 1), "")
	w.wants(t, http.StatusAccepted, "", http.MethodPatch, at, "a part")
	w.wants(t, http.StatusNoContent, "", http.MethodDelete, at, "")
	w.wants(t, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", http.MethodDelete, at, "")
	w.wants(t, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", http.MethodPatch, at, "more")
	if left, err := os.ReadDir(w.dir); err != nil || len(left) != 0 {
		t.Errorf("%d uploads lie here, %v", len(left), err)
	}
	at = begin()
	in, out := io.Pipe()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, w.url+at, in)
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan int, 1)
	go func() {
		r, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Error(err)
			told <- 0
			return
		}
		r.Body.Close()
		told <- r.StatusCode
	}()
	if _, err := io.WriteString(out, "a part"); err != nil { // who writes it is told too
		t.Fatal(err)
	}
	w.wants(t, http.StatusNoContent, "", http.MethodDelete, at, "")
	_, _ = io.WriteString(out, "more") // who is told already takes no more
	out.Close()
	if status := <-told; status != http.StatusNotFound {
		t.Errorf("who writes to it is told %d", status)
	}
	begin()
}

func TestAPauseOfTheClientEndsARequestAndOneOfStorageDoesnt(t *testing.T) {
	const stall = 400 * time.Millisecond
	w := open(t, registry.Config{Stall: stall})
	w.objects.takes = 2 * stall
	for _, method := range []string{http.MethodPost, http.MethodPut} {
		at, body := "/v2/app/blobs/uploads/", method
		if method == http.MethodPut {
			at = w.wants(t, http.StatusAccepted, "", http.MethodPost, at, "").Header.Get("Location")
			at = w.wants(t, http.StatusAccepted, "", http.MethodPatch, at, body).Header.Get("Location")
			w.wants(t, http.StatusCreated, "", method, at+"?digest="+digest.FromString(body).String(), "")
			continue
		}
		w.wants(t, http.StatusCreated, "", method, at+"?digest="+digest.FromString(body).String(), body)
	}
	at := w.wants(t, http.StatusAccepted, "", http.MethodPost, "/v2/app/blobs/uploads/", "").Header.Get("Location")
	in, out := io.Pipe()
	defer out.Close()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, w.url+at, in)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.WriteString(out, "the beginning") }()
	r, err := http.DefaultClient.Do(q)
	if err == nil {
		r.Body.Close()
		if r.StatusCode/100 == 2 {
			t.Errorf("a client that pauses is told %s", r.Status)
		}
	}
	w.wants(t, http.StatusNoContent, "", http.MethodGet, at, "") // it can go on
}

func TestTheDoorIsForWhoKnowsThePassword(t *testing.T) {
	w := open(t, registry.Config{})
	password := rand.Text()
	door, err := w.Open("127.0.0.1:0", password)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- door.Serve(ctx) }()
	for _, tt := range []struct {
		user, password string
		status         int
	}{{"", "", 401}, {registry.User, "", 401}, {registry.User, "wrong", 401}, {"other", password, 401}, {registry.User, password, 200}} {
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+door.Address()+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if tt.user != "" {
			q.SetBasicAuth(tt.user, tt.password)
		}
		r, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != tt.status || r.Header.Get("Docker-Distribution-API-Version") != "registry/2.0" {
			t.Errorf("%s:%s: %s", tt.user, tt.password, r.Status)
		}
		if tt.status == 401 && !strings.HasPrefix(r.Header.Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("%q", r.Header)
		}
	}
	if _, err := w.Open(door.Address(), password); fault.CodeOf(err) != fault.AddressTaken {
		t.Error(err)
	}
	end()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it didn't end")
	}
}
