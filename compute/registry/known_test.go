package registry

import (
	"context"
	"fmt"
	"io"
	"testing"

	"hearth/compute/manifest"

	"github.com/opencontainers/go-digest"
	oci "github.com/opencontainers/image-spec/specs-go/v1"
)

// one is storage that holds one thing, whatever is asked for.
type one struct {
	Objects
	body string
}

func (o one) Get(_ context.Context, _ string, _, _ int64, w io.Writer) error {
	_, err := io.WriteString(w, o.body)
	return err
}

func TestOneManifestMoreMakesOneForgotten(t *testing.T) {
	body := `{"schemaVersion":2,"manifests":[]}`
	r, err := New(Config{Objects: one{body: body}, Dir: t.TempDir() + "/uploads"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxKnown {
		r.known[digest.FromString(fmt.Sprint(i))] = manifest.Manifest{}
	}
	d := digest.FromString(body)
	if _, err := r.read(t.Context(), Object{Key: manifestKey("app", d), Type: oci.MediaTypeImageIndex}); err != nil {
		t.Fatal(err)
	}
	if _, ok := r.known[d]; !ok || len(r.known) != maxKnown {
		t.Errorf("%d are known", len(r.known))
	}
}
