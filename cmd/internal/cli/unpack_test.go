package cli

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hearth/core/fault"
)

func tarFile(name string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}
}

func tarDir(name string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}
}

func tarLink(name, target string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}
}

// unpack takes archives one after another into to, as mine.
func unpack(t *testing.T, to string, entries ...tar.Header) (left int, err error) {
	t.Helper()
	root, err := os.OpenRoot(to)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	return unpackTar(archive(t, entries...), root, "logs", "mine")
}

// Links come out as links where they lead to what comes out too; those to anywhere else
// would be a stranger's word for a place on this machine.
func TestLinksLeadToWhatIsCopied(t *testing.T) {
	for target, kept := range map[string]bool{
		"a": true, "d/b": true, "./a": true, "../d/b": false, "d": true, ".": true, "nothing": true, "d/l": true,
		"/etc/passwd": false, "..": false, "../mine": true, "../mine2": false, "../../x": false, "d/../../x": false, "d/../a": false, "": false, "a\x1b[31m": false, "..//..": false,
	} {
		to := t.TempDir()
		if target == "" { // tar has none such, and reads one as it is
			if (&unpacking{as: "mine"}).inside("mine/x", "") {
				t.Error("a link to nothing")
			}
			continue
		}
		left, err := unpack(t, to, tarDir("logs"), tarLink("logs/x", target), tarFile("logs/a"), tarDir("logs/d"), tarFile("logs/d/b"), tarLink("logs/d/l", "../a"))
		if err != nil || left == 1 == kept {
			t.Errorf("%q: %d are left out, %v", target, left, err)
		}
		if got, err := os.Readlink(filepath.Join(to, "mine", "x")); (err == nil) != kept || kept && got != target {
			t.Errorf("%q: %q, %v", target, got, err)
		}
		if b, err := os.ReadFile(filepath.Join(to, "mine", "d", "l")); err != nil || string(b) != "logs/a" {
			t.Errorf("%q: beside it is %q, %v", target, b, err)
		}
	}
}

// Nothing is written through a link: not one of the archive, and not one that a copy
// before has left.
func TestNothingIsWrittenThroughALink(t *testing.T) {
	link := []tar.Header{tarDir("logs"), tarDir("logs/real"), tarFile("logs/real/f"), tarFile("logs/other"), tarLink("logs/d", "real"), tarLink("logs/f", "other")}
	for what, tt := range map[string]struct {
		then    []tar.Header
		refused bool
	}{
		"a file in its place":            {[]tar.Header{tarDir("logs"), tarFile("logs/f")}, false},
		"a folder in its place":          {[]tar.Header{tarDir("logs"), tarDir("logs/d"), tarFile("logs/d/f")}, false},
		"a file behind it":               {[]tar.Header{tarDir("logs"), tarFile("logs/d/f")}, true},
		"a folder behind it":             {[]tar.Header{tarDir("logs"), tarDir("logs/d/e")}, true},
		"a link behind it":               {[]tar.Header{tarDir("logs"), tarLink("logs/d/e", "f")}, true},
		"a hard link behind it":          {[]tar.Header{tarDir("logs"), tarFile("logs/a"), {Name: "logs/d/e", Typeflag: tar.TypeLink, Linkname: "logs/a"}}, true},
		"a hard link to one":             {[]tar.Header{tarDir("logs"), {Name: "logs/e", Typeflag: tar.TypeLink, Linkname: "logs/f"}}, true},
		"a hard link to what is behind":  {[]tar.Header{tarDir("logs"), {Name: "logs/e", Typeflag: tar.TypeLink, Linkname: "logs/d/f"}}, true},
		"a link and what lies behind it": {[]tar.Header{tarDir("logs"), tarLink("logs/n", "real"), tarFile("logs/n/f")}, true},
		"a link behind a new one":        {[]tar.Header{tarDir("logs"), tarLink("logs/n", "real"), tarLink("logs/n/f", "x")}, true},
	} {
		to := t.TempDir()
		if left, err := unpack(t, to, link...); err != nil || left != 0 {
			t.Fatal(left, err)
		}
		if _, err := unpack(t, to, tt.then...); (err != nil) != tt.refused {
			t.Errorf("%s: %v", what, err)
		}
		for name, want := range map[string]string{"real/f": "logs/real/f", "other": "logs/other"} {
			if b, err := os.ReadFile(filepath.Join(to, "mine", name)); err != nil || string(b) != want {
				t.Errorf("%s: %s is %q, %v", what, name, b, err)
			}
		}
		if names, err := os.ReadDir(filepath.Join(to, "mine", "real")); err != nil || len(names) != 1 {
			t.Errorf("%s: %v, %v", what, names, err)
		}
	}
}

func TestTheLaterOfOneNameCounts(t *testing.T) {
	to := t.TempDir()
	again := tar.Header{Name: "logs/m", Typeflag: tar.TypeLink, Linkname: "logs/l"}
	if left, err := unpack(t, to, tarDir("logs"), tarFile("logs/a"), tarLink("logs/l", "a"), again, tarLink("logs/f", "a"), tarFile("logs/f"), tarFile("logs/g"), tarLink("logs/g", "a")); err != nil || left != 0 {
		t.Fatal(left, err)
	}
	for name, want := range map[string]string{"l": "a", "m": "a", "g": "a", "f": ""} {
		if got, err := os.Readlink(filepath.Join(to, "mine", name)); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := unpack(t, to, tarLink("logs", "other")); fault.CodeOf(err) != fault.NotFound || !strings.Contains(err.Error(), "other") {
		t.Errorf("all of it is a link, and what it leads to isn't said: %v", err)
	}
}
