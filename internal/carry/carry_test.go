package carry

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"hearth/core/fault"
)

// house makes a folder with files of all sizes, one of them mostly zeros.
func house(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "house")
	rng := rand.NewChaCha8([32]byte{1})
	for path, size := range map[string]int{"a": 0, "b": 1, "data/c": 3 << 20, "data/deep/d": piece, "identity": 77, "data/ballast": 9000} {
		b := make([]byte, size)
		rng.Read(b)
		if path == "data/c" {
			clear(b[100 : 2<<20])
		}
		write(t, dir, path, b)
	}
	return dir
}

func write(t *testing.T, dir, path string, b []byte) {
	t.Helper()
	full := filepath.Join(dir, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func ballast(path string) bool { return path == "data/ballast" }

// same compares two folders, but for the ballast and the notes.
func same(t *testing.T, a, b string) {
	t.Helper()
	count := func(dir string) (n int) {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && d.Name() != notes && d.Name() != "ballast" {
				n++
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if count(a) != count(b) {
		t.Errorf("%d files became %d", count(a), count(b))
	}
	files, _, _, err := list(a, ballast)
	if err != nil {
		t.Fatal(err)
	}
	for path := range files {
		x, err := os.ReadFile(filepath.Join(a, path))
		if err != nil {
			t.Fatal(err)
		}
		y, err := os.ReadFile(filepath.Join(b, path))
		if err != nil || !bytes.Equal(x, y) {
			t.Errorf("%s isn't the same: %v", path, err)
		}
	}
}

// Cut off anywhere and begun again, it goes on, and carries nothing twice that
// hasn't changed.
func TestACarryThatWasCutOffGoesOn(t *testing.T) {
	from, to := house(t), filepath.Join(t.TempDir(), "new")
	c := Config{From: from, To: to, Name: "n", Skip: ballast}
	enough := errors.New("power cut")
	for cut := range 5 {
		ctx, cancel := context.WithCancelCause(context.Background())
		steps := 0
		c.Tell = func(int64, int64) {
			if steps++; steps > cut {
				cancel(enough)
			}
		}
		if err := Folder(ctx, c); err == nil && cut < 4 {
			t.Fatal("it wasn't cut off")
		}
	}
	// A torn line, a file that has changed, one that has gone, one that came back short.
	f, err := os.OpenFile(filepath.Join(to, notes), os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"path":"x","si`); err != nil {
		t.Fatal(err)
	}
	f.Close()
	write(t, from, "b", []byte("another"))
	write(t, to, "data/gone", []byte("stale"))
	write(t, to, "data/c", []byte("short"))
	c.Tell = nil
	if err := Folder(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	if err := Finish(to); err != nil {
		t.Fatal(err)
	}
	same(t, from, to)
	if _, err := os.Stat(filepath.Join(to, "data/ballast")); err == nil {
		t.Error("what is left out was carried")
	}
}

func TestTheCopyOfAnotherFolderIsNotGoneOnWith(t *testing.T) {
	from, to := house(t), filepath.Join(t.TempDir(), "new")
	if err := Folder(context.Background(), Config{From: from, To: to, Name: "one"}); err != nil {
		t.Fatal(err)
	}
	err := Folder(context.Background(), Config{From: from, To: to, Name: "two"})
	if fault.CodeOf(err) != fault.Exists {
		t.Error(err)
	}
}

func TestLinksAreNotCarried(t *testing.T) {
	from := house(t)
	if err := os.Symlink("/etc", filepath.Join(from, "data", "link")); err != nil {
		t.Fatal(err)
	}
	if err := Folder(context.Background(), Config{From: from, To: filepath.Join(t.TempDir(), "new")}); err == nil {
		t.Error("a link was carried")
	}
}

func TestAFolderGoesAsAStream(t *testing.T) {
	from := house(t)
	var stream bytes.Buffer
	if err := Pack(context.Background(), Config{From: from, Name: "n", Skip: ballast}, &stream); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "new")
	if err := Unpack(context.Background(), bytes.NewReader(stream.Bytes()), to); err != nil {
		t.Fatal(err)
	}
	same(t, from, to)
	// Cut off, or changed in one bit, nothing comes of it.
	whole := stream.Bytes()
	for _, n := range []int{0, 100, 600, 5000, len(whole) / 2, len(whole) - 3000} {
		to := filepath.Join(t.TempDir(), "cut")
		if err := Unpack(context.Background(), bytes.NewReader(whole[:n]), to); err == nil {
			t.Errorf("a stream of %d bytes of %d passes", n, len(whole))
		}
		gone(t, to)
	}
	at := bytes.Index(whole, []byte("files/data/deep/d")) + 2000
	bad := bytes.Clone(whole)
	bad[at] ^= 1
	to = filepath.Join(t.TempDir(), "bad")
	if err := Unpack(context.Background(), bytes.NewReader(bad), to); fault.CodeOf(err) != fault.DamagedFile {
		t.Errorf("a flipped bit: %v", err)
	}
	gone(t, to)
}

func gone(t *testing.T, to string) {
	t.Helper()
	for _, path := range []string{to, to + ".part"} {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left", path)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	dir := f.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("hello"), 0o600); err != nil {
		f.Fatal(err)
	}
	var stream bytes.Buffer
	if err := Pack(context.Background(), Config{From: dir, Name: "n"}, &stream); err != nil {
		f.Fatal(err)
	}
	f.Add(stream.Bytes())
	f.Add(bytes.Replace(stream.Bytes(), []byte("files/a"), []byte("files/.."), 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		box := t.TempDir()
		err := Unpack(context.Background(), bytes.NewReader(b), filepath.Join(box, "in", "x"))
		if err == nil {
			t.Fatal("it was unpacked into a folder that isn't there")
		}
		to := filepath.Join(box, "x")
		if err := Unpack(context.Background(), bytes.NewReader(b), to); err != nil {
			gone(t, to)
		}
		entries, err := os.ReadDir(box)
		if err != nil || len(entries) > 1 {
			t.Errorf("it wrote outside: %v, %v", entries, err)
		}
	})
}
