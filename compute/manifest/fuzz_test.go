package manifest

import (
	"testing"

	oci "github.com/opencontainers/image-spec/specs-go/v1"
)

// Whatever a manifest says, its parts have digests that are keys, and there are few.
func FuzzManifest(f *testing.F) {
	kinds := []string{oci.MediaTypeImageManifest, oci.MediaTypeImageIndex, DockerImage, DockerIndex, "text/plain"}
	d := "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
	f.Add(0, []byte(`{"schemaVersion":2,"config":{"digest":"`+d+`","size":3},"layers":[{"digest":"`+d+`","size":3,"urls":["x"]}],"subject":{"digest":"`+d+`"}}`))
	f.Add(1, []byte(`{"schemaVersion":2,"manifests":[{"digest":"`+d+`","size":-1}]}`))
	f.Add(2, []byte(`{"schemaVersion":2,"config":{"digest":"sha256:../../x"},"layers":[]}`))
	f.Add(4, []byte(`{}`))
	f.Fuzz(func(t *testing.T, kind int, body []byte) {
		m, err := Parse(kinds[uint(kind)%uint(len(kinds))], body)
		if err != nil {
			return
		}
		if len(m.Blobs)+len(m.Children) > MaxParts {
			t.Errorf("%d parts", len(m.Blobs)+len(m.Children))
		}
		for _, p := range append(m.Blobs, m.Children...) {
			if CheckDigest(p.Digest) != nil || p.Size < 0 {
				t.Errorf("%+v", p)
			}
		}
	})
}
