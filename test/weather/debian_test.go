package weather

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// accounts are the users of the tests' images.
const accounts = "root:x:0:0::/:/bin/sh\napp:x:1000:1000::/srv:/bin/sh\n"

// A layer is an archive that becomes an image of one layer.
type layer struct {
	t   *testing.T
	out bytes.Buffer
	to  *tar.Writer
	has map[string]bool
}

func newLayer(t *testing.T) *layer {
	l := &layer{t: t, has: map[string]bool{}}
	l.to = tar.NewWriter(&l.out)
	return l
}

// put adds what isn't there yet, below folders that are.
func (l *layer) put(h tar.Header, b []byte) {
	l.t.Helper()
	if l.has[h.Name] {
		return
	}
	l.has[h.Name] = true
	if dir := filepath.Dir(h.Name); dir != "." {
		l.put(tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	}
	h.Size = int64(len(b))
	if err := l.to.WriteHeader(&h); err != nil {
		l.t.Fatal(err)
	}
	if _, err := l.to.Write(b); err != nil {
		l.t.Fatal(err)
	}
}

// saved is the image as `docker save` writes it: it counts.
func (l *layer) saved(tag, path string) string {
	l.t.Helper()
	if err := l.to.Close(); err != nil {
		l.t.Fatal(err)
	}
	sum := sha256.Sum256(l.out.Bytes())
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "config": map[string]any{"Env": []string{"PATH=" + path}, "Cmd": []string{"/bin/sh", "-c", counter}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(sum[:])}},
	})
	if err != nil {
		l.t.Fatal(err)
	}
	all := newLayer(l.t)
	all.put(tar.Header{Name: "layer.tar", Mode: 0o644}, l.out.Bytes())
	all.put(tar.Header{Name: "config.json", Mode: 0o644}, config)
	all.put(tar.Header{Name: "manifest.json", Mode: 0o644}, []byte(`[{"Config":"config.json","RepoTags":["`+tag+`"],"Layers":["layer.tar"]}]`))
	if err := all.to.Close(); err != nil {
		l.t.Fatal(err)
	}
	name := filepath.Join(l.t.TempDir(), "saved.tar")
	if err := os.WriteFile(name, all.out.Bytes(), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return name
}

// shellImage is an image of Debian's busybox, which needs nothing else.
func shellImage(t *testing.T) string {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatalf("the test needs busybox-static (test/setup.sh): %v", err)
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	l := newLayer(t)
	for _, dir := range []string{"srv", "tmp"} {
		l.put(tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	}
	l.put(tar.Header{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755}, program)
	for _, name := range []string{"sh", "cat", "id", "sleep", "echo", "httpd", "true", "tar", "test", "ls", "stty"} {
		l.put(tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "busybox"}, nil)
	}
	l.put(tar.Header{Name: "etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644}, []byte(accounts))
	return l.saved("shell:1", "/bin")
}

// debianImage is an image of Debian's own packages as they are installed here: a
// shell, the usual small programs and tar, and the shared libraries that they need.
func debianImage(t *testing.T) string {
	t.Helper()
	l := newLayer(t)
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} { // links in a newer Debian
		if to, err := os.Readlink("/" + name); err == nil {
			l.put(tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}, nil)
		}
	}
	for _, dir := range []string{"srv", "tmp"} {
		l.put(tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	}
	l.put(tar.Header{Name: "etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644}, []byte(accounts))
	for _, name := range withLibraries(t, "dash", "coreutils", "tar") {
		for path := range strings.Lines(dpkg(t, "dpkg", "-L", name)) {
			l.installed(strings.TrimSpace(path))
		}
	}
	return l.saved("debian:1", "/usr/bin:/bin")
}

// installed adds a file of this machine where it really lies. What programs read only
// for people, or to speak old alphabets, is left out.
func (l *layer) installed(path string) {
	l.t.Helper()
	if !filepath.IsAbs(path) || strings.HasPrefix(path, "/usr/share/") || strings.Contains(path, "/gconv/") {
		return
	}
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() {
		return // who keeps a small machine leaves such files out
	}
	if err != nil {
		l.t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		l.t.Fatal(err)
	}
	name := strings.TrimPrefix(filepath.Join(dir, filepath.Base(path)), "/")
	if info.Mode().Type() == fs.ModeSymlink {
		to, err := os.Readlink(path)
		if err != nil {
			l.t.Fatal(err)
		}
		l.put(tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}, nil)
		return
	}
	b, err := os.ReadFile(path)
	if err != nil {
		l.t.Fatal(err)
	}
	l.put(tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: int64(info.Mode().Perm())}, b)
}

// withLibraries are packages, and those of the libraries that they depend on.
func withLibraries(t *testing.T, names ...string) []string {
	t.Helper()
	arch := strings.TrimSpace(dpkg(t, "dpkg", "--print-architecture"))
	seen := map[string]bool{}
	for i, name := range names {
		names[i] = name + ":" + arch
		seen[names[i]] = true
	}
	for i := 0; i < len(names); i++ {
		needs := dpkg(t, "dpkg-query", "-W", "-f", "${Pre-Depends},${Depends}", names[i])
		for _, need := range strings.FieldsFunc(needs, func(r rune) bool { return r == ',' || r == '|' }) {
			need, _, _ = strings.Cut(strings.TrimSpace(need), " ") // without its version
			need, _, _ = strings.Cut(need, ":")
			if name := need + ":" + arch; strings.HasPrefix(need, "lib") && !seen[name] && exec.Command("dpkg", "-s", name).Run() == nil {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	return names
}

func dpkg(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(within(t, patient), program, args...).Output()
	if err != nil {
		t.Fatalf("the test makes an image of what Debian's dpkg has installed: %s %q: %v", program, args, err)
	}
	return string(out)
}

// pushed brings an image as `docker save` writes it through the door for images, as
// who has skopeo would.
func (w *world) pushed(t *testing.T, file, name string) {
	t.Helper()
	home, door := t.TempDir(), w.registry(t)
	login := exec.CommandContext(within(t, patient), program("hearth"), "--dir", w.Client.Dir, "image", "login", "--install")
	login.Env = []string{"HOME=" + home}
	if out, err := login.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	mustSkopeo(t, home, "copy", "docker-archive:"+file, "docker://"+door.Address+"/"+name)
}
