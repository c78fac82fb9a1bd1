package index

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"hearth/core/fault"
)

// filled is the file of an index with some objects, and what it lists.
func filled(t testing.TB) (path string, objects map[Ref]File) {
	t.Helper()
	x := newIndex(t)
	objects = map[Ref]File{}
	for i := range 60 {
		r := Ref{Bucket: "town", Key: fmt.Sprintf("some/longer/key/%d", i)}
		d := draft(r, newSlab(byte(i), 3+i%2))
		if i%3 == 0 {
			d = Draft{Ref: r, Manifest: Manifest{Inline: bytes.Repeat([]byte{byte(i)}, 3*i)}}
		}
		put(t, x, d)
		f, err := x.Get(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		objects[r] = f
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	return x.c.Path, objects
}

// survey opens a file that may be damaged. What it lists must be right; the
// error, if any, must say that the index is damaged.
func survey(t testing.TB, path string, objects map[Ref]File) error {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	x, err := Open(Config{Path: path})
	if err != nil {
		if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
			t.Error("the damaged file was changed")
		}
		return err
	}
	defer x.Close()
	page, err := x.List(t.Context(), "town", Listing{})
	if err != nil {
		return err
	}
	if len(page.Objects) != len(objects) {
		t.Errorf("%d objects are listed, %d were put", len(page.Objects), len(objects))
	}
	for _, o := range page.Objects {
		f, err := x.Get(t.Context(), o.Ref)
		if err != nil {
			return err
		}
		if fmt.Sprintf("%+v", f) == "" || f.Size != objects[o.Ref].Size || f.ETag != objects[o.Ref].ETag {
			t.Errorf("%s is another object", o.Ref)
		}
		for id, s := range f.Slabs {
			if fmt.Sprint(*s) != fmt.Sprint(*objects[o.Ref].Slabs[id]) {
				t.Errorf("%s has another slab", o.Ref)
			}
		}
	}
	return nil
}

func TestFlippedBitsAreNoticedOrHarmless(t *testing.T) {
	path, objects := filled(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	noticed := 0
	dir := t.TempDir()
	for i := range 200 {
		b := bytes.Clone(whole)
		at, bit := r.IntN(len(b)), byte(1)<<r.IntN(8)
		if i < 100 {
			at = i // the header, all of it
		}
		b[at] ^= bit
		name := filepath.Join(dir, fmt.Sprintf("%d.db", i))
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		err := survey(t, name, objects)
		switch code := fault.CodeOf(err); {
		case err == nil:
		case code == fault.DamagedIndex:
			noticed++
			if _, err := os.Stat(name + ".damaged"); err != nil {
				t.Logf("byte %d: noticed while reading only", at)
			}
		default:
			t.Errorf("byte %d, bit %#x: code %s: %v", at, bit, code, err)
		}
		if t.Failed() {
			t.Fatalf("byte %d, bit %#x", at, bit)
		}
	}
	t.Logf("%d of 200 flips noticed", noticed)
	if noticed < 70 {
		t.Errorf("only %d of 200 flips were noticed", noticed)
	}
}

// A log that was damaged in the middle isn't taken for one that ends there.
func TestDamagedLogIsNoticed(t *testing.T) {
	x := newIndex(t)
	objects := map[Ref]File{}
	for i := range 20 {
		r := Ref{Bucket: "town", Key: fmt.Sprint(i)}
		put(t, x, draft(r, newSlab(byte(i), 4)))
		f, err := x.Get(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		objects[r] = f
	}
	// The last commit may be taken for one that never reached the disk.
	for i := range 2 {
		if err := x.MakeBucket(t.Context(), fmt.Sprintf("last%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := os.ReadFile(x.c.Path)
	if err != nil {
		t.Fatal(err)
	}
	wal, err := os.ReadFile(x.c.Path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(5, 6))
	dir, noticed := t.TempDir(), 0
	for i := range 150 {
		b := bytes.Clone(wal)
		at := r.IntN(len(b) - 2*(4096+frameHeader))
		if i < 32+24 {
			at = i
		}
		if i > 0 {
			b[at] ^= 1 << r.IntN(8)
		}
		name := filepath.Join(dir, fmt.Sprintf("%d.db", i))
		if err := os.WriteFile(name, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name+"-wal", b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := survey(t, name, objects); err != nil {
			wantCode(t, err, fault.DamagedIndex)
			noticed++
		}
		if t.Failed() {
			t.Fatalf("byte %d of %d", at, len(b))
		}
	}
	if noticed < 100 {
		t.Errorf("%d of 150 flips noticed", noticed)
	}
}

func TestTruncatedFilesAreRefused(t *testing.T) {
	path, objects := filled(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for i, n := range []int{0, 1, 50, 99, 100, 4095, 4096, len(whole) / 2, len(whole) - 4096, len(whole) - 1} {
		name := filepath.Join(dir, fmt.Sprintf("%d.db", i))
		if err := os.WriteFile(name, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		err := survey(t, name, objects)
		if err == nil && n > len(whole)-4096 {
			continue // the end of the last page holds nothing that counts: survey has looked
		}
		if fault.CodeOf(err) != fault.DamagedIndex {
			t.Fatalf("%d of %d bytes: %v", n, len(whole), err)
		}
		if _, err := os.Stat(name + ".damaged"); err != nil {
			t.Errorf("no note beside it: %v", err)
		}
	}
	name := filepath.Join(dir, "gone.db")
	if err := os.WriteFile(name+"-wal", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Open(Config{Path: name})
	wantCode(t, err, fault.DamagedIndex)
}
