//go:build unix

package image_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"

	"hearth/compute/image"
)

func TestOwnersAreSetOnlyWhereThatIsWished(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []*tar.Header{
		{Name: "home", Typeflag: dir, Mode: 0o700, Uid: 7, Gid: 8},
		{Name: "home/app", Typeflag: tar.TypeReg, Mode: 0o6711, Uid: 7, Gid: 8},
		{Name: "home/link", Typeflag: sym, Linkname: "/etc/passwd", Uid: 7, Gid: 8},
	} {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, owners := range []bool{false, true} {
		s := &shelf{}
		i, release, err := open(t, image.Config{Owners: owners}).Get(t.Context(), s.image(t, packed{b.Bytes(), digest.FromBytes(b.Bytes())}).Digest, s)
		if owners && os.Geteuid() != 0 {
			if err == nil {
				t.Error("who isn't root has set owners")
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprint(os.Getuid(), os.Getgid())
		if owners {
			want = "7 8"
		}
		for name, mode := range map[string]fs.FileMode{"home": 0o700, "home/app": 0o711 | fs.ModeSetuid | fs.ModeSetgid, "home/link": 0o777} {
			info, err := os.Lstat(filepath.Join(i.Rootfs, name))
			if err != nil {
				t.Fatal(err)
			}
			if got := owner(info); got != want || info.Mode()&^(fs.ModeDir|fs.ModeSymlink) != mode&^fs.ModeDir {
				t.Errorf("%s belongs to %s, want %s: %v", name, got, want, info.Mode())
			}
		}
		release()
	}
}

func owner(info fs.FileInfo) string {
	s := info.Sys().(*syscall.Stat_t)
	return fmt.Sprint(s.Uid, s.Gid)
}
