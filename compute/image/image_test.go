package image_test

import (
	"archive/tar"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	oci "github.com/opencontainers/image-spec/specs-go/v1"

	"hearth/compute/image"
	"hearth/core/fault"
)

const (
	dir  = tar.TypeDir
	sym  = tar.TypeSymlink
	hard = tar.TypeLink
)

func TestLayersLieOnEachOther(t *testing.T) {
	s := &shelf{}
	for _, tt := range []struct {
		name   string
		layers []packed
		want   map[string]string
	}{
		{"nothing", nil, map[string]string{}},
		{
			"files and folders",
			[]packed{layer(t, e{"./", dir, "", 0o755}, e{"a/", dir, "", 0o755}, e{name: "./a/b", to: "1"}, e{name: "c/d/e", to: "2"})},
			map[string]string{"a": "/", "a/b": "1", "c": "/", "c/d": "/", "c/d/e": "2"},
		},
		{
			"a later file takes the place",
			[]packed{layer(t, e{name: "a", to: "1"}, e{name: "b/c", to: "1"}), layer(t, e{name: "a", to: "2"}, e{name: "b", to: "now a file"})},
			map[string]string{"a": "2", "b": "now a file"},
		},
		{"a folder keeps what is in it", []packed{layer(t, e{name: "b/c", to: "1"}), layer(t, e{"b", dir, "", 0o700})}, map[string]string{"b": "/", "b/c": "1"}},
		{
			"a whiteout hides",
			[]packed{layer(t, e{name: "a/b", to: "1"}, e{name: "a/c", to: "1"}, e{name: "d/e", to: "1"}), layer(t, e{name: "a/.wh.b"}, e{name: ".wh.d"})},
			map[string]string{"a": "/", "a/c": "1"},
		},
		{"a whiteout of nothing", []packed{layer(t, e{name: ".wh.b"}, e{name: "x/.wh.y"})}, map[string]string{"x": "/"}},
		{
			"an opaque folder shows only this layer's",
			[]packed{layer(t, e{name: "a/b", to: "1"}, e{name: "a/k/l", to: "1"}), layer(t, e{name: "a/k/m", to: "2"}, e{name: "a/.wh..wh..opq"}, e{name: "a/n", to: "2"})},
			map[string]string{"a": "/", "a/k": "/", "a/k/m": "2", "a/n": "2"},
		},
		{"a whiteout doesn't hide its own layer's", []packed{layer(t, e{name: "a", to: "1"}), layer(t, e{name: "a", to: "2"}, e{name: ".wh.a"})}, map[string]string{"a": "2"}},
		{
			"a whiteout hides what lies below its own layer's, whatever the order",
			[]packed{layer(t, e{name: "a/b", to: "1"}, e{name: "a/k/l", to: "1"}), layer(t, e{name: "a/k/m", to: "2"}, e{name: "a/n", to: "2"}, e{name: ".wh.a"})},
			map[string]string{"a": "/", "a/k": "/", "a/k/m": "2", "a/n": "2"},
		},
		{
			"a whiteout of what has been replaced since",
			[]packed{layer(t, e{name: "a/b", to: "1"}), layer(t, e{name: "a/b", to: "2"}, e{name: "a", to: "2"}, e{"a", dir, "", 0o755}, e{name: "a/.wh.b"}, e{name: ".wh.a"})},
			map[string]string{"a": "/"},
		},
		{"other whiteouts mean nothing", []packed{layer(t, e{name: ".wh..wh.plnk", to: "x"})}, map[string]string{}},
		{"a hard link outlives its file", []packed{layer(t, e{name: "a", to: "1"}, e{"b", hard, "a", 0}), layer(t, e{name: ".wh.a"})}, map[string]string{"b": "1"}},
		{"a change behind a hard link is its own", []packed{layer(t, e{name: "a", to: "1"}, e{"b", hard, "/a", 0}), layer(t, e{name: "a", to: "2"})}, map[string]string{"a": "2", "b": "1"}},
		{"a hard link to a link is a link", []packed{layer(t, e{"a", sym, "/etc/passwd", 0}, e{"b", hard, "a", 0})}, map[string]string{"a": "-> /etc/passwd", "b": "-> /etc/passwd"}},
		{"links stay as they are", []packed{layer(t, e{"a", sym, "../../../etc/passwd", 0}, e{"b", sym, "/etc", 0})}, map[string]string{"a": "-> ../../../etc/passwd", "b": "-> /etc"}},
		{
			"a name goes through links inside",
			[]packed{layer(t, e{"run", dir, "", 0o755}, e{"var/run", sym, "/run", 0}, e{"lib", sym, "usr/lib", 0}), layer(t, e{name: "var/run/pid", to: "1"}, e{name: "lib/x", to: "2"})},
			map[string]string{"run": "/", "run/pid": "1", "var": "/", "var/run": "-> /run", "lib": "-> usr/lib", "usr": "/", "usr/lib": "/", "usr/lib/x": "2"},
		},
		{"devices are left out", []packed{layer(t, e{"dev/null", tar.TypeChar, "", 0}, e{"dev/sda", tar.TypeBlock, "", 0}, e{"pipe", tar.TypeFifo, "", 0})}, map[string]string{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i, release := get(t, open(t, image.Config{}), s.image(t, tt.layers...).Digest, s)
			defer release()
			if got := tree(t, i.Rootfs); fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("got  %v\nwant %v", got, tt.want)
			}
		})
	}
}

func TestAFolderOnTheWayIsNoHiddenOnes(t *testing.T) {
	low := layer(t, e{"a", dir, "", 0o700}, e{"a/b", dir, "", 0o700}, e{"a/own", dir, "", 0o700})
	for name, top := range map[string]packed{
		"hidden first": layer(t, e{name: ".wh.a"}, e{name: "a/b/c", to: "1"}, e{"a/own", dir, "", 0o711}),
		"hidden last":  layer(t, e{name: "a/b/c", to: "1"}, e{"a/own", dir, "", 0o711}, e{name: ".wh.a"}),
	} {
		s := &shelf{}
		i, release := get(t, open(t, image.Config{}), s.image(t, low, top).Digest, s)
		for file, mode := range map[string]fs.FileMode{"a": 0o755, "a/b": 0o755, "a/own": 0o711} {
			info, err := os.Stat(filepath.Join(i.Rootfs, file))
			if err != nil || info.Mode().Perm() != mode {
				t.Errorf("%s: %s: %v, %v", name, file, info.Mode(), err)
			}
		}
		release()
	}
}

func TestAnImageSaysHowItWantsToBeRun(t *testing.T) {
	s := &shelf{}
	plain := archive(t, e{"bin/", dir, "", 0o555}, e{name: "bin/app", to: "app", mode: 0o4755}, e{name: "secret", to: "x", mode: 0o040})
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, l := range map[string]packed{
		"plain": {plain, digest.FromBytes(plain)}, "gzip": gzipped(t, plain), "zstd": {z.EncodeAll(plain, nil), digest.FromBytes(plain)},
	} {
		t.Run(name, func(t *testing.T) {
			x := open(t, image.Config{})
			d := s.image(t, l).Digest
			i, release := get(t, x, d, s)
			if i.Digest != d || i.Config.User != "7" || len(i.Config.Entrypoint) != 1 || i.Size < 4+4096*3 {
				t.Errorf("%+v", i)
			}
			for file, mode := range map[string]fs.FileMode{"": 0o755 | fs.ModeDir, "bin": 0o555 | fs.ModeDir, "bin/app": 0o755 | fs.ModeSetuid, "secret": 0o440} {
				info, err := os.Stat(filepath.Join(i.Rootfs, file))
				if err != nil || info.Mode() != mode {
					t.Errorf("%q: %v, %v", file, info.Mode(), err)
				}
			}
			if info, err := os.Stat(filepath.Join(i.Rootfs, "..", "..", "..")); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("others may enter the cache: %v, %v", info.Mode(), err)
			}
			release()
			release()
		})
	}
}

func TestTheImageForThisMachineIsChosen(t *testing.T) {
	s := &shelf{}
	arm := oci.Platform{OS: "linux", Architecture: "arm64"}
	mine, other := s.image(t, layer(t, e{name: "amd", to: "1"})), s.imageFor(t, arm, layer(t, e{name: "arm", to: "1"}))
	mine.Platform, other.Platform = &here, &arm
	index := func(of ...oci.Descriptor) digest.Digest {
		i := oci.Index{MediaType: oci.MediaTypeImageIndex, Manifests: of}
		i.SchemaVersion = 2
		return s.json(t, i.MediaType, i).Digest
	}
	x := open(t, image.Config{})
	both := index(other, mine)
	i, release := get(t, x, both, s)
	defer release()
	if got := tree(t, i.Rootfs); i.Digest != mine.Digest || got["amd"] != "1" {
		t.Errorf("%s: %v", i.Digest, got)
	}
	before := s.reads.Load()
	for _, d := range []digest.Digest{both, mine.Digest} {
		again, release := get(t, x, d, s)
		release()
		if again.Rootfs != i.Rootfs || s.reads.Load() != before {
			t.Errorf("%s was fetched again: %+v", d, again)
		}
	}
	for what, d := range map[string]digest.Digest{"an index without it": index(other), "an image of another": other.Digest, "an index in an index": index(oci.Descriptor{Digest: both, Platform: &here}), "an empty index": index()} {
		if _, _, err := x.Get(t.Context(), d, s); fault.CodeOf(err) != fault.BadImage {
			t.Errorf("%s: %v", what, err)
		}
	}
}
