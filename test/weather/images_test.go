package weather

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cuelabs.dev/go/oci/ociregistry"
	"cuelabs.dev/go/oci/ociregistry/ociclient"
	"github.com/opencontainers/go-digest"
	oci "github.com/opencontainers/image-spec/specs-go/v1"

	"hearth/api"
	"hearth/compute/image"
	"hearth/core/fault"
	"hearth/node"
)

// skopeo runs it with a home of its own, where `hearth image login --install` has
// written.
func skopeo(t *testing.T, home string, args ...string) (out string, err error) {
	t.Helper()
	c := exec.CommandContext(within(t, patient), "skopeo", append([]string{"--insecure-policy"}, args...)...)
	c.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + home}
	b, err := c.CombinedOutput()
	return string(b), err
}

// mustSkopeo is skopeo that has to work.
func mustSkopeo(t *testing.T, home string, args ...string) string {
	t.Helper()
	out, err := skopeo(t, home, args...)
	if err != nil {
		t.Fatalf("skopeo %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

// builtImage is a folder in OCI layout with an index of one image: a small program,
// and a layer of so many bytes that aren't compressed.
func builtImage(t *testing.T, size int) (dir string, index digest.Digest) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "layout")
	blobs := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o700); err != nil {
		t.Fatal(err)
	}
	put := func(kind string, b []byte) oci.Descriptor {
		d := oci.Descriptor{MediaType: kind, Digest: digest.FromBytes(b), Size: int64(len(b))}
		if err := os.WriteFile(filepath.Join(blobs, d.Digest.Encoded()), b, 0o600); err != nil {
			t.Fatal(err)
		}
		return d
	}
	putJSON := func(kind string, v any) oci.Descriptor {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return put(kind, b)
	}
	program := filepath.Join(t.TempDir(), "hello")
	c := exec.CommandContext(within(t, patient), "go", "build", "-ldflags=-s -w", "-o", program, "./testdata/hello")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	hello, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	one, two := packed(t, "bin/hello", hello), packed(t, "data", content(70, size))
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(one); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	platform := oci.Platform{OS: "linux", Architecture: hostArch(t)}
	m := oci.Manifest{MediaType: oci.MediaTypeImageManifest, Layers: []oci.Descriptor{put(oci.MediaTypeImageLayerGzip, zipped.Bytes()), put(oci.MediaTypeImageLayer, two)}}
	m.SchemaVersion = 2
	m.Config = putJSON(oci.MediaTypeImageConfig, oci.Image{
		Platform: platform, Config: oci.ImageConfig{Entrypoint: []string{"/bin/hello"}},
		RootFS: oci.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(one), digest.FromBytes(two)}},
	})
	of := putJSON(m.MediaType, m)
	of.Platform = &platform
	all := oci.Index{MediaType: oci.MediaTypeImageIndex, Manifests: []oci.Descriptor{of}}
	all.SchemaVersion = 2
	d := putJSON(all.MediaType, all)
	d.Annotations = map[string]string{oci.AnnotationRefName: "v1"}
	top := oci.Index{Manifests: []oci.Descriptor{d}}
	top.SchemaVersion = 2
	for file, v := range map[string]any{"index.json": top, "oci-layout": oci.ImageLayout{Version: "1.0.0"}} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, d.Digest
}

// hostArch is what programs here are built for.
func hostArch(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(within(t, patient), "go", "env", "GOARCH").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// packed is an archive of one file.
func packed(t *testing.T, name string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(b))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// sums are the digests of what lies in a folder of skopeo's, whatever it is called.
func sums(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || slices.Contains([]string{"version", "index.json", "oci-layout"}, d.Name()) {
			return err
		}
		b, err := os.ReadFile(p)
		all = append(all, digest.FromBytes(b).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// registry has the client open its door for images where no other network does.
func (w *world) registry(t *testing.T) api.ImageDoor {
	t.Helper()
	w.Client.Stop(patient)
	set, err := node.LoadSettings(w.Client.Dir)
	if err != nil {
		t.Fatal(err)
	}
	set.Images.Listen = freeAddr(t)
	if err := set.Save(w.Client.Dir); err != nil {
		t.Fatal(err)
	}
	w.run(t, w.Client)
	return w.opened(t)
}

// opened waits for the door for images.
func (w *world) opened(t *testing.T) (door api.ImageDoor) {
	t.Helper()
	soon(t, patient, "open the door for images", func() (err error) {
		door, err = w.api.ImageLogin(within(t, patient))
		return err
	})
	return door
}

// An image that skopeo pushes lies at hosts, comes back bit for bit also when half of
// them and the node's memory are gone, runs from the host's cache, and leaves nothing
// when it is removed.
func TestAnImageIsPushedPulledUnpackedAndRemoved(t *testing.T) {
	t.Parallel()
	w := start(t, 4, twoOfFour)
	me, home := w.Client.Dir, t.TempDir()
	layout, index := builtImage(t, 6*mib)
	door := w.registry(t)
	at := "docker://" + door.Address + "/"
	if out, err := skopeo(t, home, "copy", "--all", "--dest-tls-verify=false", "oci:"+layout+":v1", at+"team/app:v1"); err == nil {
		t.Fatalf("without a login: %s", out)
	}
	login := exec.CommandContext(within(t, patient), program("hearth"), "--dir", me, "image", "login", "--install")
	login.Env = []string{"HOME=" + home}
	if out, err := login.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	mustSkopeo(t, home, "copy", "--all", "--preserve-digests", "oci:"+layout+":v1", at+"team/app:v1")
	mustSkopeo(t, home, "copy", "--all", "--preserve-digests", at+"team/app:v1", at+"mirror:v2") // mounts
	list, err := w.api.Images(within(t, patient))
	if err != nil || len(list.Images) != 2 || list.Images[1].Name != "team/app" || list.Images[1].Digest != index.String() || list.Images[0].Digest != index.String() {
		t.Fatalf("%+v, %v", list, err)
	}
	if out := mustSkopeo(t, home, "list-tags", at+"mirror"); !strings.Contains(out, `"v2"`) {
		t.Error(out)
	}
	if out := mustSkopeo(t, home, "inspect", "--raw", at+"team/app:v1"); digest.FromString(out) != index {
		t.Errorf("the index comes back as %s", out)
	}

	w.Client.Stop(patient)
	w.Hosts[0].Kill()
	w.Hosts[1].Kill()
	w.run(t, w.Client)
	back := filepath.Join(t.TempDir(), "back")
	w.opened(t)
	mustSkopeo(t, home, "copy", "--all", "--preserve-digests", at+"mirror@"+index.String(), "oci:"+back+":v1")
	if got, want := sums(t, back), sums(t, layout); !slices.Equal(got, want) {
		t.Errorf("pulled %q, pushed %q", got, want)
	}

	cache, err := image.Open(image.Config{Dir: filepath.Join(t.TempDir(), "images")})
	if err != nil {
		t.Fatal(err)
	}
	i, release, err := cache.Get(within(t, patient), index, pulled(t, door, "team/app"))
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	out, err := exec.CommandContext(within(t, patient), filepath.Join(i.Rootfs, i.Config.Entrypoint[0])).Output()
	if err != nil || string(out) != "hello from an image\n" {
		t.Errorf("%q, %v", out, err)
	}

	mustSkopeo(t, home, "delete", at+"mirror:v2")
	if out, status := hearth(t, me, "image", "rm", "team/app:v1"); status != 0 {
		t.Errorf("exit %d: %s", status, out)
	}
	if out, status := hearth(t, me, "image", "rm", "--yes", "mirror"); status != 0 && !strings.Contains(out, string(fault.NotFound)) {
		t.Errorf("exit %d: %s", status, out)
	}
	if out, status := hearth(t, me, "ls", "-r", "hearth://hearth-images", "-o", "name"); status != 0 || strings.TrimSpace(out) != "" {
		t.Errorf("exit %d: it leaves %s", status, out)
	}
}

// basic logs in at the door.
type basic struct{ door api.ImageDoor }

func (b basic) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.SetBasicAuth(b.door.User, b.door.Password)
	return http.DefaultTransport.RoundTrip(r)
}

// puller is an image's source: its name at a door.
type puller struct {
	door ociregistry.Interface
	name string
}

func pulled(t *testing.T, door api.ImageDoor, name string) puller {
	t.Helper()
	c, err := ociclient.New(door.Address, &ociclient.Options{Transport: basic{door}, Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	return puller{c, name}
}

// Blob reads a manifest or a blob: which one d is isn't said.
func (p puller) Blob(ctx context.Context, d digest.Digest) (io.ReadCloser, error) {
	b, err := p.door.GetManifest(ctx, p.name, d)
	if gone(err) {
		b, err = p.door.GetBlob(ctx, p.name, d)
	}
	if gone(err) {
		return nil, fault.New(fault.NotFound, "%s has no %s: %w", p.name, d, err)
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// gone says that there is nothing of the kind.
func gone(err error) bool {
	var status ociregistry.HTTPError
	return errors.Is(err, ociregistry.ErrManifestUnknown) || errors.Is(err, ociregistry.ErrBlobUnknown) || errors.Is(err, ociregistry.ErrNameUnknown) ||
		errors.As(err, &status) && status.StatusCode() == http.StatusNotFound
}

// Images come from files without docker and its like: in OCI layout, or as docker
// saves them.
func TestAnImageIsPushedFromFiles(t *testing.T) {
	t.Parallel()
	w := start(t, 4, twoOfFour)
	me, home := w.Client.Dir, t.TempDir()
	layout, index := builtImage(t, mib)
	docker, archive := filepath.Join(home, "saved.tar"), filepath.Join(home, "oci.tar")
	mustSkopeo(t, home, "copy", "oci:"+layout+":v1", "docker-archive:"+docker+":example.org/library/hello:d1")
	mustSkopeo(t, home, "copy", "--all", "--preserve-digests", "oci:"+layout+":v1", "oci-archive:"+archive+":v1")
	for _, push := range [][]string{{layout, "hello:v1"}, {archive}, {docker}} {
		if out, status := hearth(t, me, append([]string{"image", "push"}, push...)...); status != 0 || !strings.Contains(out, "in 30 days") {
			t.Fatalf("%q: exit %d: %s", push, status, out)
		}
	}
	list, err := w.api.Images(within(t, patient))
	if err != nil || len(list.Images) != 3 {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, i := range list.Images {
		name := i.Name + ":" + strings.Join(i.Tags, ",")
		if !slices.Contains([]string{"hello:v1", "hello:d1", "oci:v1"}, name) || len(i.Platforms) != 1 || i.Platforms[0] != "linux/"+hostArch(t) {
			t.Errorf("%+v", i)
		}
		if name != "hello:d1" && i.Digest != index.String() {
			t.Errorf("%s is %s", name, i.Digest)
		}
	}
	door := w.registry(t)
	cache, err := image.Open(image.Config{Dir: filepath.Join(t.TempDir(), "images")})
	if err != nil {
		t.Fatal(err)
	}
	from := pulled(t, door, "hello")
	for _, i := range list.Images {
		got, release, err := cache.Get(within(t, patient), digest.Digest(i.Digest), from)
		if i.Name != "hello" && fault.CodeOf(err) == fault.NotFound {
			continue // blobs are found under any name, manifests under their own
		}
		if err != nil {
			t.Fatalf("%+v: %v", i, err)
		}
		data, err := os.ReadFile(filepath.Join(got.Rootfs, "data"))
		release()
		if err != nil || !bytes.Equal(data, content(70, mib)) {
			t.Errorf("%+v: %d bytes, %v", i, len(data), err)
		}
	}
	plain := filepath.Join(home, "plain")
	if err := os.WriteFile(plain, []byte("no image"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, code := range map[string]fault.Code{plain: fault.BadImage, home + "/none": fault.NotFound, layout + " NAME:v1": fault.BadName, home: fault.BadImage} {
		if out, status := hearth(t, me, append([]string{"image", "push"}, strings.Fields(args)...)...); status == 0 || !strings.Contains(out, "code:  "+string(code)) {
			t.Errorf("%s: exit %d: %s", args, status, out)
		}
	}
	resp, err := http.Get("http://" + door.Address + "/v2/_catalog")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusUnauthorized || !strings.Contains(string(b), "UNAUTHORIZED") {
		t.Errorf("without a password: %s %s", resp.Status, b)
	}
}
