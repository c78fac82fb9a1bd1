package index

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// A disk is what lies below SQLite in a test. It writes down everything that is
// written, so that any loss of power can be acted out afterwards; and it can be
// full.
type disk struct {
	mu    sync.Mutex
	first map[string][]byte // what a file held when it was opened first
	log   []event
	room  int64 // bytes that may still be written; below 0: no limit
}

type event struct {
	file string
	kind byte // 'w'rite, 't'runcate, 's'ync, 'd'elete
	off  int64
	data []byte
}

func (d *disk) note(e event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log = append(d.log, e)
}

// now is the number of events so far.
func (d *disk) now() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.log)
}

// crash writes to dir what may be left after a loss of power at event t: all that
// was synced, and of the rest any part.
func (d *disk) crash(t testing.TB, r *rand.Rand, at int, dir string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	synced := map[string]int{}
	for i, e := range d.log[:at] {
		if e.kind == 's' {
			synced[e.file] = i
		}
	}
	files := map[string][]byte{}
	for name, b := range d.first {
		files[name] = append([]byte(nil), b...)
	}
	for i, e := range d.log[:at] {
		b, data := files[e.file], e.data
		if last, ok := synced[e.file]; !ok || i > last {
			switch r.IntN(4) {
			case 0: // never came so far
				continue
			case 1: // a part of it did
				data = data[:r.IntN(len(data)/512+1)*512]
			}
		}
		switch e.kind {
		case 'w':
			if need := int(e.off) + len(data); need > len(b) {
				b = append(b, make([]byte, need-len(b))...)
			}
			copy(b[e.off:], data)
			files[e.file] = b
		case 't':
			if int(e.off) <= len(b) {
				files[e.file] = b[:e.off]
			}
		case 'd':
			delete(files, e.file)
		}
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// The shim stands between SQLite and its file system for the operating system.
// There is one in the process; the disk under test is the one that is set.
var shim struct {
	once    sync.Once
	mu      sync.Mutex
	disk    *disk
	base    uintptr             // the file system below
	methods map[uintptr]uintptr // ours of theirs
	theirs  map[uintptr]uintptr // theirs of ours
	names   map[uintptr]string  // of open files
}

// insert puts d below SQLite and gives the name to open an index with.
func insert(t testing.TB, d *disk) (vfs string) {
	shim.once.Do(func() {
		tls := libc.NewTLS()
		shim.methods, shim.theirs, shim.names = map[uintptr]uintptr{}, map[uintptr]uintptr{}, map[uintptr]string{}
		shim.base = sqlite3.Xsqlite3_vfs_find(tls, 0)
		at := libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(sqlite3.Tsqlite3_vfs{})))
		ours := at2[sqlite3.Tsqlite3_vfs](at)
		*ours = *at2[sqlite3.Tsqlite3_vfs](shim.base)
		name, err := libc.CString("forgetful")
		if err != nil {
			t.Fatal(err)
		}
		ours.FzName, ours.FpNext = name, 0
		ours.FxOpen, ours.FxDelete = pointer(shimOpen), pointer(shimDelete)
		if rc := sqlite3.Xsqlite3_vfs_register(tls, at, 0); rc != 0 {
			t.Fatalf("register: %d", rc)
		}
	})
	shim.mu.Lock()
	shim.disk = d
	shim.mu.Unlock()
	return "forgetful"
}

// at2 is the thing at an address of the library's memory.
func at2[T any](p uintptr) *T { return *(**T)(unsafe.Pointer(&p)) }

// pointer is how the library calls a Go function.
func pointer(f any) uintptr {
	return (*[2]uintptr)(unsafe.Pointer(&f))[1]
}

// function is the Go function behind such a pointer.
func function[F any](p uintptr) F {
	box := &struct{ p uintptr }{p}
	return *(*F)(unsafe.Pointer(box))
}

func shimOpen(tls *libc.TLS, _, name, file uintptr, flags int32, out uintptr) int32 {
	open := function[func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32](at2[sqlite3.Tsqlite3_vfs](shim.base).FxOpen)
	path := ""
	var before []byte
	if name != 0 {
		path = libc.GoString(name)
		before, _ = os.ReadFile(path)
	}
	rc := open(tls, shim.base, name, file, flags, out)
	f := at2[sqlite3.Tsqlite3_file](file)
	if rc != 0 || f.FpMethods == 0 || path == "" { // a temporary file has no name
		return rc
	}
	shim.mu.Lock()
	defer shim.mu.Unlock()
	ours := shim.methods[f.FpMethods]
	if ours == 0 {
		ours = libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(sqlite3.Tsqlite3_io_methods{})))
		m := at2[sqlite3.Tsqlite3_io_methods](ours)
		*m = *at2[sqlite3.Tsqlite3_io_methods](f.FpMethods)
		m.FxWrite, m.FxTruncate, m.FxSync, m.FxClose = pointer(shimWrite), pointer(shimTruncate), pointer(shimSync), pointer(shimClose)
		shim.methods[f.FpMethods], shim.theirs[ours] = ours, f.FpMethods
	}
	f.FpMethods = ours
	shim.names[file] = path
	d := shim.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.first[path]; !known {
		d.first[path] = before
	}
	return rc
}

// below gives the methods under a file of ours, its name and its disk.
func below(file uintptr) (*sqlite3.Tsqlite3_io_methods, string, *disk) {
	shim.mu.Lock()
	defer shim.mu.Unlock()
	m := shim.theirs[at2[sqlite3.Tsqlite3_file](file).FpMethods]
	return at2[sqlite3.Tsqlite3_io_methods](m), shim.names[file], shim.disk
}

func shimWrite(tls *libc.TLS, file, buf uintptr, n int32, off int64) int32 {
	m, name, d := below(file)
	d.mu.Lock()
	if d.room >= 0 && d.room < int64(n) {
		d.mu.Unlock()
		return sqlite3.SQLITE_FULL
	}
	if d.room >= 0 {
		d.room -= int64(n)
	}
	d.mu.Unlock()
	rc := function[func(*libc.TLS, uintptr, uintptr, int32, int64) int32](m.FxWrite)(tls, file, buf, n, off)
	if rc == 0 {
		d.note(event{name, 'w', off, append([]byte(nil), unsafe.Slice(at2[byte](buf), n)...)})
	}
	return rc
}

func shimTruncate(tls *libc.TLS, file uintptr, size int64) int32 {
	m, name, d := below(file)
	rc := function[func(*libc.TLS, uintptr, int64) int32](m.FxTruncate)(tls, file, size)
	if rc == 0 {
		d.note(event{file: name, kind: 't', off: size})
	}
	return rc
}

func shimSync(tls *libc.TLS, file uintptr, flags int32) int32 {
	m, name, d := below(file)
	at := d.now() // what is written meanwhile isn't promised
	rc := function[func(*libc.TLS, uintptr, int32) int32](m.FxSync)(tls, file, flags)
	if rc == 0 && at == d.now() {
		d.note(event{file: name, kind: 's'})
	}
	return rc
}

func shimClose(tls *libc.TLS, file uintptr) int32 {
	m, _, _ := below(file)
	rc := function[func(*libc.TLS, uintptr) int32](m.FxClose)(tls, file)
	shim.mu.Lock()
	defer shim.mu.Unlock()
	delete(shim.names, file)
	return rc
}

func shimDelete(tls *libc.TLS, _, name uintptr, sync int32) int32 {
	rc := function[func(*libc.TLS, uintptr, uintptr, int32) int32](at2[sqlite3.Tsqlite3_vfs](shim.base).FxDelete)(tls, shim.base, name, sync)
	if rc == 0 {
		shim.mu.Lock()
		d := shim.disk
		shim.mu.Unlock()
		d.note(event{file: libc.GoString(name), kind: 'd'})
	}
	return rc
}

// onDisk opens an index on a disk of its own.
func onDisk(t testing.TB, path string) (*Index, *disk) {
	t.Helper()
	x := open(t, path) // made on the disk of the machine
	if err := x.MakeBucket(t.Context(), "town"); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	d := &disk{first: map[string][]byte{}, room: -1}
	x, err := Open(Config{Path: path, vfs: insert(t, d)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x, d
}

// What was acknowledged before the power went is there afterwards, whole; what
// wasn't is there whole, or not at all.
func TestPowerLossLosesNothingAcknowledged(t *testing.T) {
	x, d := onDisk(t, filepath.Join(t.TempDir(), "index.db"))
	var mu sync.Mutex
	acked := map[string]int{} // key to the event at which it was acknowledged
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 40 {
				s := newSlab(byte(w*40+i), 4)
				key := fmt.Sprintf("%d-%d", w, i)
				if _, err := tryPut(t.Context(), x, draft(Ref{Bucket: "town", Key: key}, s)); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acked[key] = d.now()
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if err := x.Close(); err != nil { // with it the log goes into the file
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	end := d.now()
	for i := range 30 {
		at := r.IntN(end + 1)
		if i == 0 {
			at = end
		}
		dir := t.TempDir()
		d.crash(t, r, at, dir)
		y := open(t, filepath.Join(dir, "index.db"))
		p, err := y.List(t.Context(), "town", Listing{})
		if err != nil {
			t.Fatal(err)
		}
		there := map[string]bool{}
		for _, o := range p.Objects {
			there[o.Key] = true
			if _, err := y.Get(t.Context(), o.Ref); err != nil {
				t.Errorf("power lost at %d of %d: %v", at, end, err)
			}
		}
		for key, when := range acked {
			if when <= at && !there[key] {
				t.Errorf("power lost at %d of %d: %s, acknowledged at %d, is lost", at, end, key, when)
			}
		}
		if _, err := tryPut(t.Context(), y, draft(Ref{Bucket: "town", Key: "after"}, newSlab(255, 4))); err != nil {
			t.Errorf("after the power was back: %v", err)
		}
		y.Close()
	}
	t.Logf("%d events", end)
}
