//go:build linux

package weather

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	oci "github.com/opencontainers/image-spec/specs-go/v1"

	"hearth/core/fault"
)

// entry is one of an archive: a file, unless it says what else.
type entry struct {
	name string
	kind byte
	to   string // of a link
	mode int64
	body []byte
}

// archived is an archive of entries that belong to root.
func archived(t *testing.T, all ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range all {
		h := tar.Header{Name: e.name, Typeflag: e.kind, Linkname: e.to, Mode: e.mode, Size: int64(len(e.body))}
		if e.kind == 0 {
			h.Typeflag = tar.TypeReg
		}
		if e.mode == 0 {
			h.Mode = 0o755
		}
		if e.kind == tar.TypeBlock || e.kind == tar.TypeChar {
			h.Devmajor, h.Devminor = 1, 1 // the machine's memory
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// layoutOf is a folder with an image of layers, in OCI layout.
func layoutOf(t *testing.T, layers ...[]byte) (dir string) {
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
	text := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	platform := oci.Platform{OS: "linux", Architecture: hostArch(t)}
	config := oci.Image{Platform: platform, RootFS: oci.RootFS{Type: "layers"}, Config: oci.ImageConfig{Env: []string{"PATH=/bin"}, Cmd: []string{"/bin/escape", "wait"}}}
	m := oci.Manifest{MediaType: oci.MediaTypeImageManifest}
	for _, plain := range layers {
		var zipped bytes.Buffer
		z := gzip.NewWriter(&zipped)
		if _, err := z.Write(plain); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		m.Layers = append(m.Layers, put(oci.MediaTypeImageLayerGzip, zipped.Bytes()))
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(plain))
	}
	m.SchemaVersion, m.Config = 2, put(oci.MediaTypeImageConfig, text(config))
	of := put(m.MediaType, text(m))
	of.Platform = &platform
	top := oci.Index{Manifests: []oci.Descriptor{of}}
	top.SchemaVersion = 2
	for name, v := range map[string]any{"index.json": top, "oci-layout": oci.ImageLayout{Version: "1.0.0"}} {
		if err := os.WriteFile(filepath.Join(dir, name), text(v), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// harmful is an image with busybox and the program of testdata/escape, once more with
// setuid.
func harmful(t *testing.T) string {
	t.Helper()
	found, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatalf("the test needs busybox-static (test/setup.sh): %v", err)
	}
	busybox, err := os.ReadFile(found)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "escape")
	c := exec.CommandContext(within(t, patient), "go", "build", "-ldflags=-s -w", "-o", file, "./testdata/escape")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	program, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all := []entry{{name: "bin", kind: tar.TypeDir}, {name: "etc", kind: tar.TypeDir}, {name: "srv", kind: tar.TypeDir, mode: 0o777}}
	for _, name := range []string{"sh", "true", "rm", "echo"} {
		all = append(all, entry{name: "bin/" + name, kind: tar.TypeSymlink, to: "busybox"})
	}
	return layoutOf(t, archived(t, append(all, entry{name: "bin/busybox", body: busybox}, entry{name: "bin/escape", body: program}, entry{name: "bin/climb", mode: 0o4755, body: program},
		entry{name: "etc/passwd", mode: 0o644, body: []byte("root:x:0:0::/:/bin/sh\napp:x:1000:1000::/srv:/bin/sh\n")})...))
}

// layers: what a layer wants to write, link or remove outside its image isn't touched,
// and what unpacks to more than it may leaves nothing behind.
func (a *arena) layers(t *testing.T) {
	const mark = "escaped-from-its-layer"
	images := filepath.Join(a.house.Dir, "data", "instances", "images")
	canary := filepath.Join(images, "canary")
	if err := os.WriteFile(canary, []byte("of the host"), 0o600); err != nil {
		t.Fatal(err)
	}
	up := strings.Repeat("../", 12)
	sym, hard, one := byte(tar.TypeSymlink), byte(tar.TypeLink), []byte("x")
	cases := map[string]struct {
		layers [][]byte
		code   fault.Code
	}{
		"up":            {[][]byte{archived(t, entry{name: up + "tmp/" + mark, body: one})}, fault.BadImage},
		"hard":          {[][]byte{archived(t, entry{name: "a", kind: hard, to: strings.TrimPrefix(canary, "/")})}, fault.BadImage},
		"hard-up":       {[][]byte{archived(t, entry{name: "a", kind: hard, to: "../../../canary"})}, fault.BadImage},
		"hard-by-link":  {[][]byte{archived(t, entry{name: "out", kind: sym, to: images}, entry{name: "a", kind: hard, to: "out/canary"})}, fault.BadImage},
		"whiteout":      {[][]byte{archived(t, entry{name: "a", body: one}), archived(t, entry{name: "../../../.wh.canary"})}, fault.BadImage},
		"whiteout-dots": {[][]byte{archived(t, entry{name: ".wh..."})}, fault.BadImage},
		"root":          {[][]byte{archived(t, entry{name: "/", kind: sym, to: "/etc"})}, fault.BadImage},
		"circle":        {[][]byte{archived(t, entry{name: "a", kind: sym, to: "b"}, entry{name: "b", kind: sym, to: "a"}, entry{name: "a/" + mark, body: one})}, fault.BadImage},
		"zeros":         {[][]byte{archived(t, entry{name: "zeros", body: make([]byte, 80<<20)})}, fault.TooLarge},
	}
	before := names(t, images)
	var all sync.WaitGroup
	rooms := make(chan struct{}, 3) // so many tenants more fit
	for name, c := range cases {
		dir := layoutOf(t, c.layers...)
		all.Go(func() {
			if out, status := hearth(t, a.Client.Dir, "image", "push", dir, name+":1"); status != 0 {
				t.Errorf("push %s: exit %d: %s", name, status, out)
			}
			rooms <- struct{}{}
			defer func() { <-rooms }()
			if out, status := a.create(t, name, name+":1", "/bin/x"); status != fault.ExitUsage || !strings.Contains(out, "code:  "+string(c.code)) || strings.Contains(out, "reserved") {
				t.Errorf("%s: exit %d: %s", name, status, out)
			}
		})
	}
	all.Wait()
	if after := names(t, images); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the host had %v of images and has %v", before, after)
	}
	// Links may lead where they like: they are followed inside, and devices aren't made.
	dir := layoutOf(t, archived(t, entry{name: "away", kind: sym, to: images}, entry{name: "tmp/deep", kind: sym, to: up + strings.TrimPrefix(images, "/")}, entry{name: "mem", kind: tar.TypeChar}),
		archived(t, entry{name: "away/.wh.canary"}, entry{name: "away/" + mark, body: one}, entry{name: "tmp/deep/" + mark, body: one}))
	if out, status := hearth(t, a.Client.Dir, "image", "push", dir, "links:1"); status != 0 {
		t.Errorf("exit %d: %s", status, out)
	}
	if out, status := a.create(t, "links", "links:1", "/bin/x"); status != fault.ExitUsage || !strings.Contains(out, "failed to load /bin/x: no such file or directory") {
		t.Errorf("exit %d: %s", status, out)
	}
	roots := filepath.Join(images, "images", "*", "rootfs")
	if in, err := filepath.Glob(filepath.Join(roots, images, mark)); err != nil || len(in) != 1 {
		t.Errorf("inside its image it lies in %v, %v", in, err)
	}
	if in, err := filepath.Glob(filepath.Join(roots, "mem")); err != nil || len(in) != 0 {
		t.Errorf("a device was made: %v, %v", in, err)
	}
	for _, dir := range []string{"/", "/tmp", images, a.Dir} {
		if _, err := os.Lstat(filepath.Join(dir, mark)); err == nil {
			t.Errorf("a layer wrote into %s", dir)
		}
	}
	if b, err := os.ReadFile(canary); err != nil || string(b) != "of the host" {
		t.Errorf("%q, %v", b, err)
	}
	info, err := os.Stat(canary)
	if err != nil {
		t.Fatal(err)
	}
	if n := fmt.Sprintf("%+v", info.Sys()); !strings.Contains(n, "Nlink:1") {
		t.Errorf("it has another name: %s", n)
	}
}

// names is what lies in a folder of images, down to where files of images begin.
func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if all = append(all, strings.TrimPrefix(p, dir)); d.Name() == "rootfs" {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// functions deploys some that loop, grow and recurse, and returns what calls them all at
// once: they are ended, and say why.
func (a *arena) functions(t *testing.T) (call func()) {
	t.Helper()
	type try struct {
		name, gas, code string
		body            []byte
	}
	tries := []try{
		{"loops", "1e7", string(fault.OutOfGas), []byte{0x03, 0x40, 0x0c, 0x00, 0x0b}}, // loop br 0 end
		{"grows", "1e9", string(fault.Trapped), []byte{0x03, 0x40, 0x41, 0xc0, 0x00, 0x40, 0x00, 0x41, 0x10, 0x74, // loop i32.const 64 memory.grow i32.const 16 i32.shl
			0x41, 0x01, 0x41, 0x80, 0x80, 0x80, 0x02, 0xfc, 0x0b, 0x00, 0x0c, 0x00, 0x0b}}, // i32.const 1 i32.const 4 MiB memory.fill br 0 end: where nothing more grew it is outside
		{"recurses", "1e9", string(fault.Trapped), []byte{0x10, 0x00}}, // call 0
	}
	for _, try := range tries {
		file := filepath.Join(t.TempDir(), try.name+".wasm")
		if err := os.WriteFile(file, module(try.body), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, status := hearth(t, a.Client.Dir, "fn", "deploy", file, "--name", try.name, "--gas", try.gas, "--deadline", "1m"); status != 0 {
			t.Fatalf("exit %d: %s", status, out)
		}
	}
	return func() {
		var all sync.WaitGroup
		for _, try := range slices.Concat(tries, tries) {
			all.Go(func() {
				if out, status := hearth(t, a.Client.Dir, "fn", "invoke", try.name); status != fault.ExitFailure || !strings.Contains(out, "code:  "+try.code) {
					t.Errorf("%s: exit %d: %s", try.name, status, out)
				}
			})
		}
		all.Wait()
	}
}

// module is a WebAssembly module with one function, which it starts with, and a memory.
func module(body []byte) []byte {
	code := append(append([]byte{0}, body...), 0x0b)
	code = append(binary.AppendUvarint([]byte{1}, uint64(len(code))), code...)
	out := []byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x05\x03\x01\x00\x01\x07\x13\x02\x06memory\x02\x00\x06_start\x00\x00")
	return append(binary.AppendUvarint(append(out, 0x0a), uint64(len(code))), code...)
}
