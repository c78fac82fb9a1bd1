package wasm

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"hearth/core/fault"
	"hearth/core/gas"
	"hearth/internal/durable"
)

// A module's folder, named by its digest, holds the module as given, what is known
// of it, the metered module, and a folder that its worker may write machine code
// into and nobody else reads.
const (
	fileModule  = "module"
	fileNote    = "note"
	fileMetered = "metered"
	dirCache    = "cache"
)

// A note is what is known of a module, as JSON.
type note struct {
	Format   int
	Size     int64
	Floats   bool
	Command  bool
	Pages    uint32
	MaxPages uint32
	Elements uint64
	Started  bool
	Version  int    // gas.Version of the metered module
	Metered  string // its SHA-256
}

func (n note) info(digest [32]byte) Info {
	return Info{Digest: digest, Size: n.Size, Floats: n.Floats, Command: n.Command, Pages: n.Pages, MaxPages: n.MaxPages}
}

// A shelf keeps modules on the disk.
type shelf struct {
	dir  string
	kept int64

	mu      sync.Mutex
	modules map[[32]byte]*book
}

// A book is a module on the shelf.
type book struct {
	note    note
	used    time.Time
	bytes   int64 // on the disk
	pins    int   // uses that it must stay for
	refused error // it doesn't compile
}

func openShelf(dir string, kept int64) (*shelf, error) {
	s := &shelf{dir: dir, kept: kept, modules: map[[32]byte]*book{}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, d := range names {
		var digest [32]byte
		if n, err := hex.Decode(digest[:], []byte(d.Name())); err != nil || n != len(digest) {
			if strings.HasPrefix(d.Name(), ".") { // half written, or half removed
				if err := os.RemoveAll(filepath.Join(dir, d.Name())); err != nil {
					return nil, err
				}
			}
			continue
		}
		b, err := s.open(digest)
		if err != nil {
			return nil, fmt.Errorf("open module %s: %w", d.Name(), err)
		}
		s.modules[digest] = b
	}
	return s, nil
}

func (s *shelf) open(digest [32]byte) (*book, error) {
	path := s.path(digest, fileNote)
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	stat, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	b := &book{used: stat.ModTime()}
	if err := json.Unmarshal(raw, &b.note); err != nil {
		return nil, fault.New(fault.DamagedFile, "%s: %w", path, err)
	}
	if b.note.Format != 1 {
		return nil, fault.New(fault.UnknownFormat, "%s: format %d", path, b.note.Format)
	}
	b.bytes, err = size(s.path(digest))
	return b, err
}

func (s *shelf) path(digest [32]byte, parts ...string) string {
	return filepath.Join(append([]string{s.dir, hex.EncodeToString(digest[:])}, parts...)...)
}

func (s *shelf) info(digest [32]byte) (Info, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.modules[digest]
	if b == nil {
		return Info{}, false
	}
	return b.note.info(digest), true
}

// add writes a module to the disk, whole or not at all, and makes room for it.
func (s *shelf) add(info Info, module []byte, m gas.Module) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.modules[info.Digest] != nil {
		return nil
	}
	half, err := os.MkdirTemp(s.dir, ".new-")
	if err != nil {
		return err
	}
	n := newNote(info, m)
	if err := write(half, n, module, m.Code); err != nil {
		return errors.Join(err, os.RemoveAll(half))
	}
	if err := os.Rename(half, s.path(info.Digest)); err != nil {
		return errors.Join(err, os.RemoveAll(half))
	}
	if err := durable.SyncDir(s.dir); err != nil {
		return err
	}
	s.modules[info.Digest] = &book{note: n, used: time.Now(), bytes: info.Size + int64(len(m.Code)), pins: 1}
	err = s.trim()
	s.modules[info.Digest].pins--
	return err
}

func newNote(info Info, m gas.Module) note {
	sum := sha256.Sum256(m.Code)
	return note{
		Format: 1, Size: info.Size, Floats: info.Floats, Command: info.Command, Pages: info.Pages, MaxPages: info.MaxPages,
		Elements: m.Elements, Started: m.Started, Version: gas.Version, Metered: hex.EncodeToString(sum[:]),
	}
}

func write(dir string, n note, module, metered []byte) error {
	if err := durable.Write(filepath.Join(dir, fileModule), module, 0o600); err != nil {
		return err
	}
	return writeMetered(dir, n, metered)
}

func writeMetered(dir string, n note, metered []byte) error {
	raw, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := durable.Write(filepath.Join(dir, fileMetered), metered, 0o600); err != nil {
		return err
	}
	return durable.Write(filepath.Join(dir, fileNote), raw, 0o600)
}

// trim removes modules that nobody uses, the least recently used first, until the
// rest is no more than is to be kept.
func (s *shelf) trim() error {
	for {
		var total int64
		var oldest [32]byte
		var found *book
		for digest, b := range s.modules {
			total += b.bytes
			if b.pins == 0 && (found == nil || b.used.Before(found.used)) {
				oldest, found = digest, b
			}
		}
		if total <= s.kept || found == nil {
			return nil
		}
		delete(s.modules, oldest)
		gone := filepath.Join(s.dir, ".gone-"+hex.EncodeToString(oldest[:]))
		if err := os.Rename(s.path(oldest), gone); err != nil {
			return err
		}
		if err := os.RemoveAll(gone); err != nil {
			return err
		}
	}
}

// pin keeps a module on the shelf until unpin.
func (s *shelf) pin(digest [32]byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.modules[digest]
	if b == nil {
		return false
	}
	b.pins++
	b.used = time.Now()
	return true
}

func (s *shelf) unpin(digest [32]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.modules[digest].pins--
}

// refuse remembers that a module, which is pinned, doesn't compile.
func (s *shelf) refuse(digest [32]byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.modules[digest].refused = err
}

func (s *shelf) refusal(digest [32]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.modules[digest].refused
}

// cache gives the folder for a module's machine code, which is the worker's.
func (s *shelf) cache(digest [32]byte) (string, error) {
	dir := s.path(digest, dirCache)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return dir, own(dir)
}

// metered gives the metered module, made anew if another version made it or it
// is damaged, and what a worker has to know of it.
func (s *shelf) metered(digest [32]byte) (hello, []byte, error) {
	s.mu.Lock()
	n := s.modules[digest].note
	s.mu.Unlock()
	code, err := os.ReadFile(s.path(digest, fileMetered))
	if sum := sha256.Sum256(code); err != nil || n.Version != gas.Version || n.Metered != hex.EncodeToString(sum[:]) {
		if n, code, err = s.again(digest); err != nil {
			return hello{}, nil, err
		}
	}
	return hello{Command: n.Command, Started: n.Started, Base: base(n)}, code, nil
}

// again meters a module anew.
func (s *shelf) again(digest [32]byte) (note, []byte, error) {
	module, err := os.ReadFile(s.path(digest, fileModule))
	if err != nil {
		return note{}, nil, err
	}
	if sha256.Sum256(module) != digest {
		return note{}, nil, fault.New(fault.DamagedFile, "read module %x: it isn't what was stored", digest[:4])
	}
	m, err := gas.Meter(module)
	if err != nil {
		return note{}, nil, err
	}
	info, _ := s.info(digest)
	n := newNote(info, m)
	if err := writeMetered(s.path(digest), n, m.Code); err != nil {
		return note{}, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.modules[digest].note = n
	return n, m.Code, nil
}

// weigh notes, when a worker has compiled a module, how much room it takes and
// when it was used, and makes room if that is too much.
func (s *shelf) weigh(digest [32]byte) error {
	bytes, err := size(s.path(digest))
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.modules[digest]
	b.bytes = bytes
	return errors.Join(os.Chtimes(s.path(digest, fileNote), b.used, b.used), s.trim())
}

// size is how many bytes the files below a folder have.
func size(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}

func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) }
