package cli

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"hearth/api"
	"hearth/api/apitest"
	"hearth/api/server"
	"hearth/core/fault"
	"hearth/sdk"
)

func archive(t *testing.T, entries ...tar.Header) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte(h.Name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// An archive comes from a stranger's machine: it writes what was asked for, below the
// folder that was named.
func TestAnArchiveFromInsideWritesNothingElse(t *testing.T) {
	file := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644} }
	dir := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755} }
	for name, tt := range map[string]struct {
		entries []tar.Header
		there   string // what must be there
		refused bool
	}{
		"a folder":              {[]tar.Header{dir("logs"), dir("logs/a"), file("logs/a/b")}, "mine/a/b", false},
		"a file":                {[]tar.Header{file("logs")}, "mine", false},
		"another name":          {[]tar.Header{file("other")}, "", true},
		"a name that begins so": {[]tar.Header{file("logs2")}, "", true},
		"upwards":               {[]tar.Header{dir("logs"), file("logs/../../evil")}, "", true},
		"from the root":         {[]tar.Header{file("/etc/passwd")}, "", true},
		"through a link":        {[]tar.Header{dir("logs"), {Name: "logs/l", Typeflag: tar.TypeSymlink, Linkname: "/tmp"}, file("logs/l/evil")}, "", true},
		"a hard link":           {[]tar.Header{dir("logs"), file("logs/a"), {Name: "logs/b", Typeflag: tar.TypeLink, Linkname: "logs/a"}}, "mine/b", false},
		"a hard link again":     {[]tar.Header{dir("logs"), file("logs/a"), file("logs/b"), {Name: "logs/b", Typeflag: tar.TypeLink, Linkname: "logs/a"}}, "mine/b", false},
		"a hard link upwards":   {[]tar.Header{dir("logs"), {Name: "logs/b", Typeflag: tar.TypeLink, Linkname: "logs/../../x"}}, "", true},
		"a hard link to itself": {[]tar.Header{dir("logs"), file("logs/a"), {Name: "logs/a", Typeflag: tar.TypeLink, Linkname: "logs/./a"}}, "mine/a", true},
		"a name that paints":    {[]tar.Header{dir("logs"), file("logs/\x1b[31m")}, "", true},
		"a name that rings":     {[]tar.Header{dir("logs"), file("logs/\u009b")}, "", true},
		"a device":              {[]tar.Header{{Name: "logs", Typeflag: tar.TypeChar, Mode: 0o666}}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			to := filepath.Join(top, "to")
			if err := os.Mkdir(to, 0o755); err != nil {
				t.Fatal(err)
			}
			root, err := os.OpenRoot(to)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			if _, err := unpackTar(archive(t, tt.entries...), root, "logs", "mine"); (err != nil) != tt.refused {
				t.Errorf("%v", err)
			}
			if _, err := os.Stat(filepath.Join(to, tt.there)); err != nil {
				t.Error(err)
			}
			if above, err := os.ReadDir(top); err != nil || len(above) != 1 {
				t.Errorf("outside are %v, %v", above, err)
			}
		})
	}
}

// What a host sends behind the archive, or beside it, is paid for.
func TestAHostSendsNoEndlessRest(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for what, n := range map[string]int64{"padding": 10 << 10, "without an end": maxBehind + 2} {
		zeros := io.LimitReader(endless{}, n)
		_, err := unpackTar(io.MultiReader(archive(t, tar.Header{Name: "a", Typeflag: tar.TypeReg, Mode: 0o644}), zeros), root, "a", "a")
		if (err != nil) != (n > maxBehind) {
			t.Errorf("%s: %v", what, err)
		}
	}
	var s said
	if n, err := io.Copy(&s, io.LimitReader(endless{}, 1<<40)); err == nil || n > saidMost || len(s.kept) > saidKept {
		t.Errorf("%d bytes were taken, %d kept, %v", n, len(s.kept), err)
	}
}

// endless is zeros.
type endless struct{}

func (endless) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// inside is a node with an instance called web.
func inside(t *testing.T) *sdk.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Config{Roles: apitest.New(0).Roles()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l, nil) }()
	c, err := sdk.New(sdk.Config{Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	_, err = c.CreateInstance(t.Context(), api.InstanceWish{
		Name: "web", Image: "app:1", Machine: api.Machine{CPU: 500, Memory: 64 << 20, Disk: 1 << 20}, Host: "hearth1host1",
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestACopyOfAPartIsNoSuccess(t *testing.T) {
	c := inside(t)
	torn := errors.New("the disk is torn")
	for what, want := range map[string]error{"all": nil, "a part": torn} {
		err := sendTar(t.Context(), c, "web", "/srv", func(w io.Writer) error {
			if _, err := w.Write(make([]byte, 3*packBlock)); err != nil {
				return err
			}
			return want
		})
		if !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := copyOut(t.Context(), c, "web", "/", t.TempDir()); fault.CodeOf(err) != fault.BadRequest {
		t.Errorf("all of an instance: %v", err)
	}
}

// A folder that goes while it is packed leaves an archive that no tar takes for whole.
func TestWhatCannotBePackedHasNoEnd(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "site")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := packTar(&b, dir, info, "site"); err == nil || b.Len() != 0 {
		t.Errorf("%d bytes, %v", b.Len(), err)
	}
}

func TestALinkThatIsNamedIsFollowed(t *testing.T) {
	top := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(top, "v2"), 0o755), os.Symlink("v2", filepath.Join(top, "current"))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(top, "v2", "index"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	at, info, as, err := named(filepath.Join(top, "current"))
	if err != nil || as != "current" {
		t.Fatalf("%q, %v", as, err)
	}
	var b bytes.Buffer
	if err := packTar(&b, at, info, as); err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		names = append(names, h.Name)
	}
	if !slices.Equal(names, []string{"current", "current/index"}) {
		t.Errorf("%q are packed", names)
	}
}

func TestAPlaceInAnInstanceIsToldFromAFile(t *testing.T) {
	for s, want := range map[string]bool{
		"web:/srv": true, "web:srv": false, "./web:/srv": false, "/web:/srv": false, "web": false, "web:/": true, "a.b:/c": false,
	} {
		if _, _, got := instancePlace(s); got != want {
			t.Errorf("%s: %v", s, got)
		}
	}
}
