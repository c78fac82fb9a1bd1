// Package logfile keeps the newest part of an endless stream in a folder: a few
// files, each named by the offset in the stream at which it begins. One process
// writes, others read, also after the writer is gone.
package logfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// Files of a log, and how large one grows.
const (
	keep = 2
	size = 8 << 20
)

// A Writer appends to a log. It isn't safe for concurrent use.
type Writer struct {
	dir  string
	size int64
	f    *os.File
	at   int64 // offset in the stream of the next byte
	room int64 // left in f
}

// Append opens the log in dir, which is made, for writing at its end.
func Append(dir string) (*Writer, error) { return appendTo(dir, size) }

func appendTo(dir string, size int64) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	starts, err := list(dir)
	if err != nil {
		return nil, err
	}
	w := &Writer{dir: dir, size: size}
	if len(starts) > 0 {
		last := starts[len(starts)-1]
		info, err := os.Stat(name(dir, last))
		if err != nil {
			return nil, err
		}
		w.at = last + info.Size()
		w.room = size - info.Size()
		w.f, err = os.OpenFile(name(dir, last), os.O_WRONLY|os.O_APPEND, 0)
		return w, err
	}
	return w, w.next()
}

// next begins a file and forgets the oldest.
func (w *Writer) next() error {
	f, err := os.OpenFile(name(w.dir, w.at), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if w.f != nil {
		err = w.f.Close()
	}
	w.f, w.room = f, w.size
	starts, lerr := list(w.dir)
	for len(starts) > keep {
		lerr = errors.Join(lerr, os.Remove(name(w.dir, starts[0])))
		starts = starts[1:]
	}
	return errors.Join(err, lerr)
}

// Write appends b. What can't be written, on a full disk, is lost: the stream
// goes on with what comes next.
func (w *Writer) Write(b []byte) (int, error) {
	total := 0
	for len(b) > 0 {
		if w.room <= 0 {
			if err := w.next(); err != nil {
				return total, err
			}
		}
		n, err := w.f.Write(b[:min(int64(len(b)), w.room)])
		w.at += int64(n)
		w.room -= int64(n)
		total += n
		b = b[n:]
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// Close ends the writing; the log stays.
func (w *Writer) Close() error { return w.f.Close() }

// Options say which part of a log is read.
type Options struct {
	Since  int64 // offset in the stream; what isn't kept any more is left out
	Tail   int   // when > 0: only that many last lines of what is there
	Follow bool  // wait for more until the writer is gone; else what is there at the opening is all
}

// A Reader reads a log. Offset may be asked for between reads, to go on later.
type Reader struct {
	ctx   context.Context
	dir   string
	alive func() bool
	o     Options
	f     *os.File
	start int64 // of f
	at    int64
	end   int64 // where to stop, without Options.Follow: who writes faster than is read would never end
}

// Open reads the log in dir. alive says whether there may come more; it is
// asked when all is read and Options.Follow is set.
func Open(ctx context.Context, dir string, o Options, alive func() bool) (*Reader, error) {
	end, err := end(dir)
	if err != nil {
		return nil, err
	}
	r := &Reader{ctx: ctx, dir: dir, alive: alive, o: o, at: max(o.Since, 0), end: end}
	if o.Tail > 0 {
		if r.at, err = tail(dir, r.at, end, o.Tail); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Offset is where in the stream the next Read begins.
func (r *Reader) Offset() int64 { return r.at }

// Close ends the reading.
func (r *Reader) Close() error {
	if r.f == nil {
		return nil
	}
	f := r.f
	r.f = nil
	return f.Close()
}

// pause is how long a follower waits before it looks again.
const pause = 100 * time.Millisecond

func (r *Reader) Read(b []byte) (int, error) {
	for {
		alive := r.o.Follow && r.alive()
		n, err := r.more(b)
		if n > 0 || err != nil {
			return n, err
		}
		if !alive { // it was gone before the last look
			return 0, io.EOF
		}
		select {
		case <-r.ctx.Done():
			return 0, r.ctx.Err()
		case <-time.After(pause):
		}
	}
}

// more reads what is there now; 0 means that nothing is.
func (r *Reader) more(b []byte) (int, error) {
	for {
		if !r.o.Follow {
			b = b[:min(int64(len(b)), max(0, r.end-r.at))]
		}
		if len(b) == 0 {
			return 0, nil
		}
		if r.f != nil {
			n, err := r.f.ReadAt(b, r.at-r.start)
			r.at += int64(n)
			if n > 0 {
				return n, nil
			}
			if err != nil && !errors.Is(err, io.EOF) {
				return 0, err
			}
		}
		moved, err := r.move()
		if !moved || err != nil {
			return 0, err
		}
	}
}

// move opens the file that holds the next byte, if it isn't open.
func (r *Reader) move() (bool, error) {
	starts, err := list(r.dir)
	if err != nil || len(starts) == 0 {
		return false, ignoreGone(err)
	}
	i, found := slices.BinarySearch(starts, r.at)
	if !found {
		i = max(i-1, 0)
	}
	if r.f != nil && starts[i] <= r.start {
		return false, nil
	}
	f, err := os.Open(name(r.dir, starts[i]))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil // rotated away just now: look again
	}
	if err != nil {
		return false, err
	}
	if r.f != nil {
		r.f.Close()
	}
	r.f, r.start = f, starts[i]
	r.at = max(r.at, r.start)
	return true, nil
}

// end is the offset behind the last byte of what is there.
func end(dir string) (int64, error) {
	starts, err := list(dir)
	if err != nil || len(starts) == 0 {
		return 0, ignoreGone(err)
	}
	last := starts[len(starts)-1]
	info, err := os.Stat(name(dir, last))
	if err != nil {
		return last, ignoreGone(err)
	}
	return last + info.Size(), nil
}

// tail is the offset of the last n lines of what is kept from since to end.
func tail(dir string, since, end int64, n int) (int64, error) {
	starts, err := list(dir)
	if err != nil {
		return since, ignoreGone(err)
	}
	first := true // a line break at the very end ends the last line
	for _, start := range slices.Backward(starts) {
		b, err := os.ReadFile(name(dir, start))
		if err != nil {
			return since, ignoreGone(err)
		}
		b = b[:min(int64(len(b)), max(0, end-start))]
		for i := len(b) - 1; i >= 0; i-- {
			if start+int64(i) < since {
				return since, nil
			}
			if b[i] == '\n' && !first {
				if n--; n == 0 {
					return start + int64(i) + 1, nil
				}
			}
			first = false
		}
	}
	return since, nil
}

// list is where the files of a log begin, in order.
func list(dir string) ([]int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var starts []int64
	for _, e := range entries {
		if n, err := strconv.ParseInt(e.Name(), 10, 64); err == nil && n >= 0 {
			starts = append(starts, n)
		}
	}
	slices.Sort(starts)
	return starts, nil
}

func name(dir string, start int64) string { return filepath.Join(dir, fmt.Sprintf("%016d", start)) }

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
