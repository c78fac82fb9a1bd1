package layout_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	oci "github.com/opencontainers/image-spec/specs-go/v1"

	"hearth/compute/layout"
	"hearth/core/fault"
)

// files are what a folder or an archive holds; content that begins with -> is a link.
type files map[string]string

func (f files) folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range f {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if to, ok := strings.CutPrefix(content, "->"); ok {
			if err := os.Symlink(to, path); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func (f files) archive(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range f {
		h := &tar.Header{Name: "./" + name, Mode: 0o600, Size: int64(len(content))}
		if to, ok := strings.CutPrefix(content, "->"); ok {
			h.Typeflag, h.Linkname, h.Size, content = tar.TypeSymlink, to, 0, ""
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "archive.tar")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (f files) blob(b string) oci.Descriptor {
	d := digest.FromString(b)
	f["blobs/sha256/"+d.Encoded()] = b
	return oci.Descriptor{Digest: d, Size: int64(len(b))}
}

func (f files) json(t *testing.T, kind string, v any) oci.Descriptor {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	d := f.blob(string(b))
	d.MediaType = kind
	return d
}

// image adds one to a layout, whose layer is so.
func (f files) image(t *testing.T, layer string) oci.Descriptor {
	t.Helper()
	m := oci.Manifest{MediaType: oci.MediaTypeImageManifest, Config: f.blob("{}"), Layers: []oci.Descriptor{f.blob(layer), f.blob(layer), {Digest: digest.FromString("far"), URLs: []string{"there"}}}}
	return f.json(t, m.MediaType, m)
}

// list writes index.json.
func (f files) list(t *testing.T, all ...oci.Descriptor) files {
	t.Helper()
	b, err := json.Marshal(oci.Index{Manifests: all})
	if err != nil {
		t.Fatal(err)
	}
	f["index.json"] = string(b)
	return f
}

func called(d oci.Descriptor, name string) oci.Descriptor {
	d.Annotations = map[string]string{oci.AnnotationRefName: name}
	return d
}

func both(t *testing.T, f files) map[string]string {
	return map[string]string{"a folder": f.folder(t), "an archive": f.archive(t)}
}

// whole reads every part and compares it with its descriptor.
func whole(t *testing.T, i *layout.Image) {
	t.Helper()
	for _, p := range append(i.Blobs, i.Manifests...) {
		f, err := p.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil || int64(len(b)) != p.Size || digest.FromBytes(b) != p.Digest {
			t.Errorf("%s: %d bytes: %v", p.Digest, len(b), err)
		}
	}
}

func TestAnOCILayoutIsReadFromAFolderOrAnArchive(t *testing.T) {
	f := files{}
	one, two := f.image(t, "one"), f.image(t, "two")
	index := f.json(t, oci.MediaTypeImageIndex, oci.Index{MediaType: oci.MediaTypeImageIndex, Manifests: []oci.Descriptor{one, two}})
	for kind, path := range both(t, f.list(t, called(index, "app:v1"), called(one, "app:v2"))) {
		i, err := layout.Open(path, "v1")
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if i.Digest() != index.Digest || i.Name != "app:v1" || len(i.Manifests) != 3 || len(i.Blobs) != 3 || i.Size() != 8 {
			t.Errorf("%s: %+v", kind, i)
		}
		whole(t, i)
		if err := i.Close(); err != nil {
			t.Error(err)
		}
		if _, err := layout.Open(path, ""); fault.CodeOf(err) != fault.BadRequest || !strings.Contains(err.Error(), "app:v1, app:v2") {
			t.Errorf("%s of two: %v", kind, err)
		}
	}
}

// What docker saves of an image for several platforms is the index of all, and one image.
func TestOfAnIndexTheImagesThatAreThereAreTaken(t *testing.T) {
	f := files{}
	on := func(d oci.Descriptor, arch string) oci.Descriptor {
		d.Platform = &oci.Platform{OS: "linux", Architecture: arch}
		return d
	}
	about := func(d oci.Descriptor, of oci.Descriptor) oci.Descriptor {
		d.Platform = &oci.Platform{OS: "unknown", Architecture: "unknown"}
		d.Annotations = map[string]string{"vnd.docker.reference.digest": of.Digest.String()}
		return d
	}
	lose := func(d oci.Descriptor) { delete(f, "blobs/sha256/"+d.Digest.Encoded()) }
	amd, arm, risc := on(f.image(t, "amd"), "amd64"), on(f.image(t, "arm"), "arm64"), on(f.image(t, "risc"), "riscv64")
	ofRisc := about(f.image(t, "said of risc"), risc)
	ofAMD := about(f.image(t, "said of amd"), amd)
	lose(oci.Descriptor{Digest: digest.FromString("risc")})
	index := func(all ...oci.Descriptor) oci.Descriptor {
		return f.json(t, oci.MediaTypeImageIndex, oci.Index{MediaType: oci.MediaTypeImageIndex, Manifests: all, Annotations: map[string]string{"kept": "yes"}})
	}
	for _, tt := range []struct {
		name    string
		index   oci.Descriptor
		want    []oci.Descriptor // more than one: an index of these
		missing string
	}{
		{"all", index(amd, arm), []oci.Descriptor{amd, arm}, ""},
		{"one of two", index(risc, amd), []oci.Descriptor{amd}, "linux/riscv64"},
		{"and what is said of the other", index(ofRisc, amd, risc), []oci.Descriptor{amd}, "linux/riscv64"},
		{"and what is said of it", index(amd, risc, ofAMD, ofRisc), []oci.Descriptor{amd, ofAMD}, "linux/riscv64"},
		{"two of three", index(amd, risc, arm), []oci.Descriptor{amd, arm}, "linux/riscv64"},
	} {
		for kind, path := range both(t, f.list(t, called(tt.index, "app:v1"))) {
			i, err := layout.Open(path, "")
			if err != nil {
				t.Errorf("%s in %s: %v", tt.name, kind, err)
				continue
			}
			whole(t, i)
			if got := strings.Join(i.Missing, ","); got != tt.missing || len(i.Blobs) != 1+len(tt.want) {
				t.Errorf("%s in %s: %q are missing, %d blobs are there", tt.name, kind, got, len(i.Blobs))
			}
			if len(tt.want) == 1 {
				if i.Digest() != tt.want[0].Digest || len(i.Manifests) != 1 {
					t.Errorf("%s in %s: %+v", tt.name, kind, i.Manifests)
				}
			} else if b := body(t, i); len(i.Manifests) != 1+len(tt.want) || !reflect.DeepEqual(b.Manifests, tt.want) || b.Annotations["kept"] != "yes" {
				t.Errorf("%s in %s: %+v", tt.name, kind, b)
			}
			i.Close()
		}
	}
	f.list(t, index(risc, index(amd, risc)))
	for kind, path := range both(t, f) {
		if _, err := layout.Open(path, ""); fault.CodeOf(err) != fault.BadImage {
			t.Errorf("none in %s: %v", kind, err)
		}
	}
}

// body reads the last manifest as an index.
func body(t *testing.T, i *layout.Image) (out oci.Index) {
	t.Helper()
	f, err := i.Manifests[len(i.Manifests)-1].Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := json.NewDecoder(f).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

// saved is what docker save writes.
func saved(t *testing.T, tags ...string) files {
	t.Helper()
	layer := strings.Repeat("a layer ", 1000)
	config, err := json.Marshal(oci.Image{Platform: oci.Platform{OS: "linux"}, RootFS: oci.RootFS{DiffIDs: []digest.Digest{digest.FromString(layer), digest.FromString(layer)}}})
	if err != nil {
		t.Fatal(err)
	}
	list, err := json.Marshal([]any{map[string]any{"Config": "c.json", "RepoTags": tags, "Layers": []string{"1/layer.tar", "2/layer.tar"}}})
	if err != nil {
		t.Fatal(err)
	}
	return files{"manifest.json": string(list), "c.json": string(config), "1/layer.tar": layer, "2/layer.tar": "->../1/layer.tar"}
}

func TestWhatDockerSavesIsCompressedTheSameEachTime(t *testing.T) {
	digests := map[digest.Digest]bool{}
	for kind, path := range both(t, saved(t, "app:v1", "app:v2")) {
		i, err := layout.Open(path, "v2")
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if i.Name != "app:v2" || len(i.Blobs) != 2 || len(i.Manifests) != 1 || i.Size() > 1000 {
			t.Errorf("%s: %+v", kind, i)
		}
		whole(t, i)
		digests[i.Digest()] = true
		i.Close()
	}
	if len(digests) != 1 {
		t.Errorf("%v", digests)
	}
}

func TestWhatIsNoImageIsRefused(t *testing.T) {
	good := func() files { f := files{}; return f.list(t, f.image(t, "layer")) }
	layer := "blobs/sha256/" + digest.FromString("layer").Encoded()
	index := func(f files) string { return f["index.json"] }
	for name, f := range map[string]files{
		"nothing":                 {"x": "y"},
		"an empty index":          {"index.json": `{"manifests":[]}`},
		"no JSON":                 {"index.json": "x"},
		"a manifest that is gone": {"index.json": index(good())},
		"a digest that is a path": {"index.json": `{"manifests":[{"digest":"sha256:../../x"}]}`},
		"no images":               {"manifest.json": "[]"},
		"a config that is gone":   {"manifest.json": `[{"Config":"c","Layers":[]}]`},
		"a link to nowhere":       {"manifest.json": "->manifest.json"},
		"a link to outside":       {"index.json": "->../../../../../../../../etc/hostname"},
	} {
		for kind, path := range both(t, f) {
			if i, err := layout.Open(path, ""); fault.CodeOf(err) != fault.BadImage {
				t.Errorf("%s in %s: %v, %v", name, kind, i, err)
			}
		}
	}
	for name, change := range map[string]func(f files){
		"a layer that is gone":      func(f files) { delete(f, layer) },
		"a layer of another length": func(f files) { f[layer] = "longer than it was" },
		"a manifest of other bytes": func(f files) {
			for k, v := range f {
				if strings.Contains(v, `"layers"`) {
					f[k] = v + " "
				}
			}
		},
	} {
		f := good()
		change(f)
		for kind, path := range both(t, f) {
			if _, err := layout.Open(path, ""); fault.CodeOf(err) != fault.BadImage {
				t.Errorf("%s in %s: %v", name, kind, err)
			}
		}
	}
	f := saved(t, "app:v1")
	f["1/layer.tar"] = "another"
	if _, err := layout.Open(f.archive(t), ""); fault.CodeOf(err) != fault.BadImage {
		t.Errorf("a layer that isn't what the config says: %v", err)
	}
	if _, err := layout.Open(filepath.Join(t.TempDir(), "none"), ""); fault.CodeOf(err) != fault.NotFound {
		t.Error(err)
	}
	b, err := os.ReadFile(good().archive(t))
	if err != nil {
		t.Fatal(err)
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "app.tar.gz")
	if err := os.WriteFile(path, zipped.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := layout.Open(path, ""); fault.CodeOf(err) != fault.BadRequest || !strings.Contains(err.Error(), "gunzip") {
		t.Errorf("a compressed archive: %v", err)
	}
}
