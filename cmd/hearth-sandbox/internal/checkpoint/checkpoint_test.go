package checkpoint

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
)

var key = bytes.Repeat([]byte{7}, KeySize)

// bytesOf are n bytes that no piece shares with another.
func bytesOf(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = r.Read(b)
	return b
}

func sealed(t testing.TB, plain []byte, pieces int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, key)
	if err != nil {
		t.Fatal(err)
	}
	for part := range (len(plain) + pieces - 1) / pieces {
		if _, err := w.Write(plain[part*pieces : min((part+1)*pieces, len(plain))]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func opened(file, key []byte) ([]byte, error) {
	r, err := Open(bytes.NewReader(file), int64(len(file)), key)
	if err != nil {
		return nil, err
	}
	if err := r.Verify(); err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
}

func TestWhatIsSealedIsOpened(t *testing.T) {
	for _, n := range []int{0, 1, piece - 1, piece, piece + 1, 2 * piece, 3*piece + 5} {
		for _, parts := range []int{1 << 30, 70_001} {
			plain := bytesOf(n)
			file := sealed(t, plain, parts)
			if n > 64 && bytes.Contains(file, plain[:64]) {
				t.Errorf("%d bytes lie open", n)
			}
			if got, err := opened(file, key); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d bytes in parts of %d: %v", n, parts, err)
			}
		}
	}
}

func TestAnyPlaceIsRead(t *testing.T) {
	plain := bytesOf(3*piece + 5)
	file := sealed(t, plain, 1<<20)
	r, err := Open(bytes.NewReader(file), int64(len(file)), key)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []struct{ off, n int }{{0, 1}, {piece - 1, 2}, {2*piece + 7, piece - 2}, {3*piece + 4, 1}, {10, 3*piece - 5}} {
		b := make([]byte, at.n)
		if n, err := r.ReadAt(b, int64(at.off)); n != at.n || err != nil || !bytes.Equal(b, plain[at.off:at.off+at.n]) {
			t.Errorf("%+v: %d %v", at, n, err)
		}
	}
	if n, err := r.ReadAt(make([]byte, 10), int64(len(plain)-3)); n != 3 || !errors.Is(err, io.EOF) {
		t.Errorf("%d %v", n, err)
	}
}

func TestWhatIsNotWhatWasSealedIsRefused(t *testing.T) {
	plain := bytesOf(2*piece + 100)
	file, other := sealed(t, plain, 1<<20), sealed(t, plain, 1<<20)
	const p = piece + tag
	for name, damaged := range map[string][]byte{
		"nothing":                 nil,
		"another file":            []byte("a text that is long enough to be one, by its length, with all that a header takes"),
		"the first half":          file[:len(file)/2],
		"without its last piece":  file[:header+2*p],
		"without its last byte":   file[:len(file)-1],
		"with a byte more":        append(bytes.Clone(file), 0),
		"pieces changed about":    swap(file, header, header+p, p),
		"a piece of another file": append(bytes.Clone(file[:header+p]), other[header+p:]...),
		"a bit of the salt":       flip(file, len(magic)),
		"a bit of the first":      flip(file, header+5),
		"a bit of the last":       flip(file, len(file)-1),
	} {
		if _, err := opened(damaged, key); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := opened(file, bytes.Repeat([]byte{8}, KeySize)); !errors.Is(err, ErrDamaged) {
		t.Errorf("another key: %v", err)
	}
	if _, err := opened(file, nil); err == nil {
		t.Error("no key opens it")
	}
}

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 4
	return b
}

func swap(b []byte, x, y, n int) []byte {
	c := bytes.Clone(b)
	copy(c[x:x+n], b[y:y+n])
	copy(c[y:y+n], b[x:x+n])
	return c
}

func TestAFileThatIsNotClosedIsRefused(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(bytesOf(3 * piece)); err != nil {
		t.Fatal(err)
	}
	if _, err := opened(out.Bytes(), key); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}

// A file comes back from a disk that may hold anything.
func FuzzOpen(f *testing.F) {
	f.Add(sealed(f, []byte("small"), 100))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, file []byte) {
		if got, err := opened(file, key); err == nil && string(got) != "small" {
			t.Fatalf("%q was never sealed", got)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	file := sealed(b, bytesOf(64<<20), 1<<20)
	b.SetBytes(64 << 20)
	for b.Loop() {
		r, err := Open(bytes.NewReader(file), int64(len(file)), key)
		if err == nil {
			err = r.Verify()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
