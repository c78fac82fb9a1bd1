package registry_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	oci "github.com/opencontainers/image-spec/specs-go/v1"

	"hearth/compute/registry"
	"hearth/core/fault"
)

func TestReferrersAreFoundByTheirSubject(t *testing.T) {
	w := open(t, registry.Config{})
	of := w.image(t, "app", "v1", imageType, "layer")
	empty := w.blob(t, "app", []byte("{}"))
	empty.MediaType = "application/vnd.oci.empty.v1+json"
	m := oci.Manifest{MediaType: imageType, ArtifactType: "text/signature", Config: empty, Layers: []oci.Descriptor{empty}, Subject: &of}
	m.SchemaVersion = 2
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	r := w.wants(t, http.StatusCreated, "", http.MethodPut, "/v2/app/manifests/"+digest.FromBytes(b).String(), string(b), "Content-Type", imageType)
	if r.Header.Get("OCI-Subject") != of.Digest.String() {
		t.Errorf("%q", r.Header)
	}
	got := collect(t, w.client.Referrers(t.Context(), "app", of.Digest, ""))
	if len(got) != 1 || got[0].ArtifactType != "text/signature" || got[0].Digest != digest.FromBytes(b) {
		t.Errorf("%+v", got)
	}
	if got := collect(t, w.client.Referrers(t.Context(), "app", of.Digest, "other/type")); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	if err := w.Remove(t.Context(), "app:v1"); err != nil {
		t.Fatal(err)
	}
	if got := w.objects.keys(""); len(got) != 0 {
		t.Errorf("with its image a signature goes too, but %q is kept", got)
	}
}

func TestRemovingAnImageKeepsWhatOthersNeed(t *testing.T) {
	w := open(t, registry.Config{})
	one := w.image(t, "app", "v1", imageType, "base", "first")
	two := w.image(t, "app", "v2", imageType, "base", "second")
	w.image(t, "other", "v1", imageType, "base", "first") // the same bytes as app:v1
	w.image(t, "app", "stable", imageType, "base", "first")
	all := w.index(t, "multi", "v1", w.image(t, "multi", "", imageType, "base", "arm"), w.image(t, "multi", "", imageType, "base", "amd"))
	rm := func(name string, blobs int) {
		t.Helper()
		if err := w.Remove(t.Context(), name); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if w.blobs() != blobs {
			t.Errorf("after %s %d blobs are kept, want %d", name, w.blobs(), blobs)
		}
	}
	rm("app:v1", 9) // base, first, second, arm, amd and four configs: it is app:stable too
	if err := w.whole(t.Context(), "app", one.Digest); err != nil {
		t.Error(err)
	}
	rm("app:stable", 9) // other has it
	if _, err := w.client.ResolveManifest(t.Context(), "app", one.Digest); err == nil {
		t.Error("an image without a name is kept")
	}
	rm("other", 7)
	rm("multi@"+all.Digest.String(), 3)
	rm("app@"+two.Digest.String(), 0)
	if got := w.objects.keys(""); len(got) != 0 {
		t.Errorf("%q is kept", got)
	}
	for name, code := range map[string]fault.Code{"app": fault.NotFound, "app:v2": fault.NotFound, "APP": fault.BadRequest, "a@b": fault.BadRequest, "app:": fault.BadRequest, "app@": fault.BadRequest, "app:v1@": fault.BadRequest, "": fault.BadRequest} {
		if err := w.Remove(t.Context(), name); fault.CodeOf(err) != code {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestTheProtocolsDeletesTakeOnlyWhatTheyName(t *testing.T) {
	w := open(t, registry.Config{})
	d := w.image(t, "app", "v1", imageType, "layer")
	layer := "/v2/app/blobs/" + digest.FromString("layer").String()
	w.wants(t, http.StatusMethodNotAllowed, "UNSUPPORTED", http.MethodDelete, layer, "")
	w.image(t, "app", "v2", imageType, "layer")
	w.wants(t, http.StatusAccepted, "", http.MethodDelete, "/v2/app/manifests/v1", "")
	w.wants(t, http.StatusNotFound, "MANIFEST_UNKNOWN", http.MethodGet, "/v2/app/manifests/v1", "")
	if err := w.whole(t.Context(), "app", d.Digest); err != nil {
		t.Error(err)
	}
	w.wants(t, http.StatusAccepted, "", http.MethodDelete, "/v2/app/manifests/"+d.Digest.String(), "")
	w.wants(t, http.StatusNotFound, "MANIFEST_UNKNOWN", http.MethodGet, "/v2/app/manifests/v2", "")
	w.wants(t, http.StatusNotFound, "BLOB_UNKNOWN", http.MethodGet, layer, "")
	free := w.blob(t, "app", []byte("of no image"))
	w.wants(t, http.StatusAccepted, "", http.MethodDelete, "/v2/app/blobs/"+free.Digest.String(), "")
	w.wants(t, http.StatusNotFound, "BLOB_UNKNOWN", http.MethodDelete, "/v2/app/blobs/"+free.Digest.String(), "")
}

func TestABlobThatAPushCountsOnOutlivesItsImage(t *testing.T) {
	w := open(t, registry.Config{})
	w.image(t, "old", "v1", imageType, "layer")
	body := w.manifest(t, "new", imageType, "layer") // its blobs are found, its manifest isn't here yet
	if err := w.Remove(t.Context(), "old"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.PushManifest(t.Context(), "new", "v1", body, imageType); err != nil {
		t.Fatal(err)
	}
	if err := w.Remove(t.Context(), "new"); err != nil || w.blobs() != 0 {
		t.Errorf("%v; %d blobs are kept", err, w.blobs())
	}
	w.manifest(t, "never", imageType, "layer")
	w.later(23 * time.Hour)
	if err := w.Sweep(t.Context()); err != nil || w.blobs() != 2 {
		t.Errorf("after 23 hours: %v; %d blobs", err, w.blobs())
	}
	w.image(t, "app", "v1", imageType, "wanted")
	w.later(2 * time.Hour)
	if err := w.Sweep(t.Context()); err != nil || w.blobs() != 2 {
		t.Errorf("after a day: %v; %d blobs", err, w.blobs())
	}
}

func TestABlobIsAwaitedForADayByEachPushThatTouchedIt(t *testing.T) {
	w := open(t, registry.Config{})
	w.image(t, "old", "v1", imageType, "base")
	slow := w.manifest(t, "app", imageType, "base", "slow")
	w.later(20 * time.Hour)
	w.image(t, "app", "v1", imageType, "base", "quick") // another push to the same image
	for _, name := range []string{"old", "app:v1"} {
		if err := w.Remove(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	d, err := w.client.PushManifest(t.Context(), "app", "v2", slow, imageType)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.whole(t.Context(), "app", d.Digest); err != nil {
		t.Error(err)
	}
	if err := w.Remove(t.Context(), "app"); err != nil || w.blobs() != 0 {
		t.Errorf("%v; %d blobs are kept", err, w.blobs())
	}
}

func TestABlobIsAwaitedFromWhenItIsStored(t *testing.T) {
	w := open(t, registry.Config{})
	w.objects.stored = func(string) { w.later(25 * time.Hour) }
	layer := w.blob(t, "new", []byte("layer"))
	w.objects.stored = nil
	w.image(t, "old", "v1", imageType, "layer")
	if err := w.Remove(t.Context(), "old"); err != nil {
		t.Fatal(err)
	}
	w.wants(t, http.StatusOK, "", http.MethodHead, "/v2/new/blobs/"+layer.Digest.String(), "")
}

func TestADeletedBlobIsNoneThatAnotherImagesPushCountsOn(t *testing.T) {
	w := open(t, registry.Config{})
	body := w.manifest(t, "other", imageType, "layer")
	layer := "/blobs/" + w.blob(t, "app", []byte("layer")).Digest.String()
	w.wants(t, http.StatusMethodNotAllowed, "UNSUPPORTED", http.MethodDelete, "/v2/app"+layer, "")
	if _, err := w.client.PushManifest(t.Context(), "other", "v1", body, imageType); err != nil {
		t.Fatal(err)
	}
}

func TestARemovalThatCantTellWhatIsNeededRemovesNothing(t *testing.T) {
	w := open(t, registry.Config{})
	app := w.image(t, "app", "v1", imageType, "layer")
	other := w.image(t, "other", "v1", imageType, "layer", "own")
	w.image(t, "third", "v1", imageType, "layer", "own") // what other is
	before := w.objects.keys("")
	w.objects.reads = func(_ context.Context, key string) error {
		if key == "images/other/_manifests/sha256/"+other.Digest.Encoded() {
			return fault.New(fault.HostUnreachable, "read %s: nobody answers", key)
		}
		return nil
	}
	for _, name := range []string{"app", "app:v1", "app@" + app.Digest.String()} {
		if err := w.again(t).Remove(t.Context(), name); fault.CodeOf(err) != fault.HostUnreachable {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := w.again(t).DeleteManifest(t.Context(), "app", app.Digest); fault.CodeOf(err) != fault.HostUnreachable {
		t.Error(err)
	}
	if err := w.again(t).DeleteManifest(t.Context(), "third", other.Digest); fault.CodeOf(err) != fault.HostUnreachable {
		t.Errorf("of the same digest: %v", err)
	}
	if got := w.objects.keys(""); !slices.Equal(got, before) {
		t.Errorf("%q is kept of %q", got, before)
	}
	if err := w.again(t).Remove(t.Context(), "other"); err != nil { // what can't be read itself can go
		t.Error(err)
	}
	for _, name := range []string{"app:v1", "third"} {
		if err := w.again(t).Remove(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
	w.later(25 * time.Hour)
	if err := w.again(t).Sweep(t.Context()); err != nil || len(w.objects.keys("")) != 0 {
		t.Errorf("%v; %q is kept", err, w.objects.keys(""))
	}
}

// Reading from hosts may take long: nobody waits for it, and what comes meanwhile is seen.
func TestPushesGoOnWhileARemovalReads(t *testing.T) {
	w := open(t, registry.Config{})
	gone := w.image(t, "app", "v1", imageType, "layer")
	other := w.image(t, "other", "v1", imageType, "own")
	for name, remove := range map[string]func(*registry.Registry) error{
		"an image":    func(r *registry.Registry) error { return r.Remove(t.Context(), "app:v1") },
		"a manifest":  func(r *registry.Registry) error { return r.DeleteManifest(t.Context(), "app", gone.Digest) },
		"a blob":      func(r *registry.Registry) error { return r.DeleteBlob(t.Context(), "app", digest.FromString("free")) },
		"old orphans": func(r *registry.Registry) error { return r.Sweep(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			w.objects.reads = nil
			w.image(t, "app", "v1", imageType, "layer")
			w.blob(t, "free", []byte("free"))
			w.later(25 * time.Hour)
			r := w.again(t)
			reading, read := make(chan struct{}), make(chan struct{})
			var once sync.Once
			w.objects.reads = func(ctx context.Context, key string) error {
				if key != "images/other/_manifests/sha256/"+other.Digest.Encoded() {
					return nil
				}
				once.Do(func() { close(reading) })
				select {
				case <-read:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			ended := make(chan error, 1)
			go func() { ended <- remove(r) }()
			<-reading
			pushed := make(chan error, 1)
			body := w.manifest(t, "new", imageType, "layer", "free")
			go func() {
				_, err := r.PushManifest(t.Context(), "new", "v1", body, imageType)
				pushed <- err
			}()
			select {
			case err := <-pushed:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(20 * time.Second):
				t.Error("a push waits for what a removal reads")
			}
			close(read)
			if err := <-ended; (err != nil) != (name == "a blob") {
				t.Error(err)
			}
			if err := w.whole(t.Context(), "new", digest.FromBytes(body)); err != nil {
				t.Error(err)
			}
		})
	}
}

// However often something comes between, a removal ends, and sees the last of it.
func TestARemovalEndsWhilePushesComeBetween(t *testing.T) {
	w := open(t, registry.Config{})
	w.image(t, "app", "v1", imageType, "layer")
	var bodies [][]byte
	for _, name := range []string{"one", "two", "three"} {
		bodies = append(bodies, w.manifest(t, name, imageType, "layer"))
	}
	w.later(25 * time.Hour) // nobody awaits the layer any more
	n := 0
	w.objects.reads = func(ctx context.Context, key string) error {
		if key != "images/app/_tags/v1" || n == len(bodies) {
			return nil
		}
		n++
		_, err := w.PushManifest(ctx, []string{"one", "two", "three"}[n-1], "v1", bodies[n-1], imageType)
		return err
	}
	if err := w.Remove(t.Context(), "app:v1"); err != nil || n != len(bodies) {
		t.Errorf("%v after %d pushes", err, n)
	}
	for i, name := range []string{"one", "two", "three"} {
		if err := w.whole(t.Context(), name, digest.FromBytes(bodies[i])); err != nil {
			t.Error(err)
		}
	}
	if _, err := w.client.ResolveTag(t.Context(), "app", "v1"); err == nil {
		t.Error("it is still there")
	}
}

func TestWhatIsListedIsWholeWhilePushesAndRemovalsMeet(t *testing.T) {
	w := open(t, registry.Config{})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			repo := fmt.Sprintf("app%d", i)
			for n := range 15 {
				layers := []string{"base", fmt.Sprint("layer ", n%3)}
				body := w.manifest(t, repo, imageType, layers...)
				d, err := w.client.PushManifest(t.Context(), repo, "v1", body, imageType)
				if err != nil {
					t.Error(err)
					return
				}
				if err := w.whole(t.Context(), repo, d.Digest); err != nil {
					t.Errorf("%s: %v", repo, err)
				}
				if err := w.Remove(t.Context(), repo); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := w.objects.keys("images/"); len(got) != 0 {
		t.Errorf("%q is kept", got)
	}
}
