// Package carry brings a folder to another place, whole or not at all: file by
// file onto another disk, or as one stream to another machine. Every file is
// compared with its BLAKE3 sum after it was written, from the disk. What is carried
// must stand still meanwhile. It refuses links, devices and names that lead out of
// the folder, and never changes where it reads.
package carry

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"lukechampine.com/blake3"

	"hearth/core/fault"
	"hearth/internal/durable"
)

// A Config says what is carried where.
type Config struct {
	From, To string
	Name     string                  // what tells this folder from others: a copy that was begun of another is refused
	Skip     func(path string) bool  // files and folders left out, by their path inside; may be nil
	Tell     func(done, total int64) // bytes, now and again; may be nil
}

// notes are kept in the copy while it isn't whole: which files are.
const notes = ".carried"

type header struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	Name    string `json:"name"`
}

type carried struct {
	Path string `json:"path"`
	Size int64  `json:"size"`
	Time int64  `json:"time"` // of the original's last change, in nanoseconds
	Sum  string `json:"sum"`
}

// Folder copies a folder, and goes on where an earlier try was cut off: a file that
// was carried, and hasn't changed since, isn't carried again. Files in To that From
// doesn't have are removed. It returns when everything is on the disk.
func Folder(ctx context.Context, c Config) error {
	if err := os.MkdirAll(c.To, 0o700); err != nil {
		return coded(err)
	}
	done, log, err := openNotes(filepath.Join(c.To, notes), c.Name)
	if err != nil {
		return err
	}
	defer log.Close()
	files, dirs, total, err := list(c.From, c.Skip)
	if err != nil {
		return err
	}
	for _, d := range dirs {
		if err := os.MkdirAll(filepath.Join(c.To, d), 0o700); err != nil {
			return coded(err)
		}
	}
	var sum int64
	for path, info := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if had, ok := done[path]; !ok || had.Size != info.Size() || had.Time != info.ModTime().UnixNano() || !there(c.To, path, info.Size()) {
			digest, err := carryFile(ctx, filepath.Join(c.From, path), filepath.Join(c.To, path), info)
			if err != nil {
				return fmt.Errorf("carry %s: %w", path, err)
			}
			if err := note(log, carried{path, info.Size(), info.ModTime().UnixNano(), hex.EncodeToString(digest)}); err != nil {
				return err
			}
		}
		if sum += info.Size(); c.Tell != nil {
			c.Tell(sum, total)
		}
	}
	if err := removeOthers(c.To, files); err != nil {
		return err
	}
	for _, d := range append(dirs, ".") {
		if err := durable.SyncDir(filepath.Join(c.To, d)); err != nil {
			return coded(err)
		}
	}
	return nil
}

// Finish takes the notes away: the copy is whole and has its place.
func Finish(to string) error {
	if err := os.Remove(filepath.Join(to, notes)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return durable.SyncDir(to)
}

// list finds what is to be carried. Sockets stay behind; they belong to a process.
func list(from string, skip func(string) bool) (files map[string]fs.FileInfo, dirs []string, total int64, err error) {
	files = map[string]fs.FileInfo{}
	err = filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil || rel == "." {
			return err
		}
		if skip != nil && skip(filepath.ToSlash(rel)) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		switch {
		case d.IsDir():
			dirs = append(dirs, rel)
			return nil
		case d.Type()&fs.ModeSocket != 0:
			return nil
		case !d.Type().IsRegular():
			return fault.New(fault.BadRequest, "carry %s: it is neither a file nor a folder", path)
		}
		info, err := d.Info()
		if err == nil {
			files[rel] = info
			total += info.Size()
		}
		return err
	})
	if err != nil {
		err = fmt.Errorf("look at what is carried: %w", err)
	}
	return files, dirs, total, err
}

func there(to, path string, size int64) bool {
	info, err := os.Lstat(filepath.Join(to, path))
	return err == nil && info.Mode().IsRegular() && info.Size() == size
}

const piece = 1 << 20

// carryFile copies one file and compares what the disk holds with what was read.
// Stretches of zeros become holes, as they mostly were.
func carryFile(ctx context.Context, from, to string, info fs.FileInfo) ([]byte, error) {
	in, err := os.Open(from)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_RDWR, info.Mode().Perm())
	if err != nil {
		return nil, coded(err)
	}
	return fill(ctx, out, in, info.Size())
}

// fill fills f with size bytes and compares what the disk holds then with what
// was read. It closes f, and returns the sum.
func fill(ctx context.Context, f *os.File, in io.Reader, size int64) ([]byte, error) {
	want, err := pass(ctx, in, size, func(b []byte, at int64) error {
		if zero(b) {
			return nil
		}
		_, err := f.WriteAt(b, at)
		return err
	})
	if err == nil {
		err = f.Truncate(size)
	}
	if err == nil {
		err = f.Sync()
	}
	var got []byte
	if err == nil {
		forget(f)
		got, err = sumOf(ctx, f)
	}
	if err = errors.Join(coded(err), f.Close()); err != nil {
		return nil, err
	}
	if string(got) != string(want) {
		return nil, fault.New(fault.DamagedFile, "what was written reads otherwise: look after the disk")
	}
	return want, nil
}

// pass gives exactly size bytes on, and returns their sum.
func pass(ctx context.Context, in io.Reader, size int64, on func(b []byte, at int64) error) ([]byte, error) {
	hash := blake3.New(32, nil)
	buf := make([]byte, piece)
	for at := int64(0); at < size; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b := buf[:min(piece, size-at)]
		if _, err := io.ReadFull(in, b); err != nil {
			return nil, fmt.Errorf("it has changed meanwhile: %w", err)
		}
		_, _ = hash.Write(b) // never fails
		if err := on(b, at); err != nil {
			return nil, err
		}
		at += int64(len(b))
	}
	return hash.Sum(nil), nil
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func sumOf(ctx context.Context, f io.ReadSeeker) ([]byte, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	hash := blake3.New(32, nil)
	buf := make([]byte, piece)
	for {
		n, err := f.Read(buf)
		_, _ = hash.Write(buf[:n]) // never fails
		if errors.Is(err, io.EOF) {
			return hash.Sum(nil), nil
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return nil, err
		}
	}
}

// removeOthers removes files of an earlier try that the original has no more.
func removeOthers(to string, files map[string]fs.FileInfo) error {
	return filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(to, path)
		if _, ok := files[rel]; err != nil || ok || rel == notes {
			return err
		}
		return os.Remove(path)
	})
}

// openNotes reads which files an earlier try has carried; a torn line counts as none.
func openNotes(path, name string) (map[string]carried, *os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, nil, coded(err)
	}
	done, whole, err := readNotes(f, name)
	if err == nil && whole == 0 {
		var b []byte
		if b, err = json.Marshal(header{"hearth carried", 1, name}); err == nil {
			b = append(b, '\n')
			_, err = f.WriteAt(b, 0)
			whole = int64(len(b))
		}
	}
	if err == nil {
		err = f.Truncate(whole)
	}
	if err == nil {
		_, err = f.Seek(whole, io.SeekStart)
	}
	if err != nil {
		return nil, nil, errors.Join(coded(err), f.Close())
	}
	return done, f, nil
}

func readNotes(r io.Reader, name string) (done map[string]carried, whole int64, err error) {
	done = map[string]carried{}
	lines := bufio.NewReader(r)
	for first := true; ; first = false {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return done, whole, nil
		}
		if err != nil {
			return nil, 0, err
		}
		if first {
			var h header
			switch err := json.Unmarshal([]byte(line), &h); {
			case err != nil || h.Format != "hearth carried" || h.Version != 1:
				return nil, 0, fault.New(fault.UnknownFormat, "go on carrying: the notes begin with %.80q", line)
			case h.Name != name:
				return nil, 0, fault.New(fault.Exists, "go on carrying: another folder's copy was begun there; remove it first")
			}
		} else {
			var c carried
			if err := json.Unmarshal([]byte(line), &c); err != nil || !filepath.IsLocal(c.Path) {
				return nil, 0, fault.New(fault.DamagedFile, "go on carrying: the notes say %.80q", strings.TrimSpace(line))
			}
			done[c.Path] = c
		}
		whole += int64(len(line))
	}
}

func note(log *os.File, c carried) error {
	b, err := json.Marshal(c)
	if err == nil {
		_, err = log.Write(append(b, '\n'))
	}
	if err == nil {
		err = log.Sync()
	}
	return coded(err)
}

// coded gives want of room its code.
func coded(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fault.New(fault.DiskFull, "%w", err)
	}
	return err
}
