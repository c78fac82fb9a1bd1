package main

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"testing"
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
			if err := unpackTar(archive(t, tt.entries...), root, "logs", "mine"); (err != nil) != tt.refused {
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

func TestAPlaceInAnInstanceIsToldFromAFile(t *testing.T) {
	for s, want := range map[string]bool{
		"web:/srv": true, "web:srv": false, "./web:/srv": false, "/web:/srv": false, "web": false, "web:/": true, "a.b:/c": false,
	} {
		if _, _, got := instancePlace(s); got != want {
			t.Errorf("%s: %v", s, got)
		}
	}
}
