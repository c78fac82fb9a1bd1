package logfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func write(t *testing.T, dir string, size int64, parts ...string) {
	t.Helper()
	w, err := appendTo(dir, size)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		if n, err := w.Write([]byte(p)); err != nil || n != len(p) {
			t.Fatal(n, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir string, o Options) (string, int64) {
	t.Helper()
	r, err := Open(t.Context(), dir, o, func() bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), r.Offset()
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, 1<<20, "one\n", "two\n")
	write(t, dir, 1<<20, "three\n") // by another writer, later
	for _, c := range []struct {
		law  string
		o    Options
		want string
	}{
		{"all of it", Options{}, "one\ntwo\nthree\n"},
		{"from an offset on", Options{Since: 4}, "two\nthree\n"},
		{"from beyond the end", Options{Since: 100}, ""},
		{"from before the beginning", Options{Since: -5}, "one\ntwo\nthree\n"},
		{"the last line", Options{Tail: 1}, "three\n"},
		{"the last two", Options{Tail: 2}, "two\nthree\n"},
		{"more lines than there are", Options{Tail: 9}, "one\ntwo\nthree\n"},
		{"the last two, and not before an offset", Options{Tail: 2, Since: 8}, "three\n"},
	} {
		if got, _ := read(t, dir, c.o); got != c.want {
			t.Errorf("%s: %q", c.law, got)
		}
	}
	if _, at := read(t, dir, Options{}); at != 14 {
		t.Errorf("offset %d", at)
	}
	if got, _ := read(t, t.TempDir()+"/none", Options{Tail: 1}); got != "" {
		t.Errorf("a log that isn't there has %q", got)
	}
}

func TestWhoDoesNotFollowEndsWhereTheLogDidWhenHeCame(t *testing.T) {
	for _, c := range []struct {
		law  string
		o    Options
		want string
	}{
		{"the last three", Options{Tail: 3}, "line   7\nline   8\nline   9\n"},
		{"from an offset on", Options{Since: 81}, "line   9\n"},
	} {
		dir := t.TempDir()
		w, err := appendTo(dir, 100)
		if err != nil {
			t.Fatal(err)
		}
		say := func(n int) {
			if _, err := fmt.Fprintf(w, "line %3d\n", n); err != nil {
				t.Fatal(err)
			}
		}
		for n := range 10 {
			say(n)
		}
		r, err := Open(t.Context(), dir, c.o, func() bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		for n, b := 10, make([]byte, 4); ; n++ {
			k, err := r.Read(b)
			got = append(got, b[:k]...)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil || n == 30 {
				t.Fatalf("%s: %q, %v", c.law, got, err)
			}
			say(n) // it writes faster than is read
		}
		if err := errors.Join(r.Close(), w.Close()); err != nil || string(got) != c.want {
			t.Errorf("%s: %q, %v", c.law, got, err)
		}
	}
}

func TestOnlyTheNewestIsKept(t *testing.T) {
	dir := t.TempDir()
	var all strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&all, "%d\n", i)
	}
	write(t, dir, 100, all.String())
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != keep {
		t.Fatal(entries, err)
	}
	got, at := read(t, dir, Options{})
	if !strings.HasSuffix(all.String(), got) || len(got) < 100 || len(got) > 200 || at != int64(all.Len()) {
		t.Fatalf("%d %q", at, got)
	}
	if got, _ := read(t, dir, Options{Tail: 3}); got != "997\n998\n999\n" {
		t.Fatalf("%q", got)
	}
	if again, _ := read(t, dir, Options{Since: at - int64(len(got))}); again != got {
		t.Fatal("an offset that is kept means something else")
	}
}

func TestAFollowerSeesEverythingOnceAcrossFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		w, err := appendTo(dir, 1000)
		if err != nil {
			t.Fatal(err)
		}
		var alive atomic.Bool
		alive.Store(true)
		r, err := Open(t.Context(), dir, Options{Follow: true}, alive.Load)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		done := make(chan error)
		go func() {
			_, err := io.Copy(&got, r)
			done <- err
		}()
		var want bytes.Buffer
		for i := range 100 {
			line := fmt.Appendf(nil, "%0100d\n", i)
			want.Write(line)
			if _, err := w.Write(line); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * pause)
		}
		synctest.Wait()
		alive.Store(false)
		if err := <-done; err != nil || !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Fatalf("%d of %d bytes, %v", got.Len(), want.Len(), err)
		}
		w.Close()
		r.Close()
	})
}

func TestAFollowerIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		write(t, dir, 100, "x")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r, err := Open(ctx, dir, Options{Follow: true}, func() bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if b, err := io.ReadAll(r); string(b) != "x" || err == nil {
			t.Fatalf("%q %v", b, err)
		}
	})
}

func TestAFullDiskCostsLinesAndNotTheStream(t *testing.T) {
	dir := t.TempDir()
	w, err := appendTo(dir, 100)
	if err != nil {
		t.Fatal(err)
	}
	w.f.Close() // what is written next fails, as on a full disk
	if n, err := w.Write([]byte("lost")); err == nil || n != 0 {
		t.Fatal(n, err)
	}
	if w.at != 0 {
		t.Fatalf("what was lost counts: %d", w.at)
	}
}
