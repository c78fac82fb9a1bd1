package market

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"hearth/core/fault"
)

// failing is a disk that can be made to fail.
type failing struct {
	disk
	mu      sync.Mutex
	err     error
	partly  int // bytes that a failing write leaves behind
	syncErr error
	stuck   bool // can't truncate either
	syncs   int
	hold    chan struct{} // while it is open a Sync waits
}

func (f *failing) WriteAt(b []byte, at int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		n, _ := f.disk.WriteAt(b[:min(f.partly, len(b))], at)
		return n, f.err
	}
	return f.disk.WriteAt(b, at)
}

func (f *failing) Truncate(n int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stuck {
		return syscall.EIO
	}
	return f.disk.Truncate(n)
}

func (f *failing) Sync() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.syncs++
	if f.hold != nil {
		hold := f.hold
		f.mu.Unlock()
		<-hold
		f.mu.Lock()
	}
	if f.syncErr != nil {
		return f.syncErr
	}
	return f.disk.Sync()
}

func (f *failing) set(change func()) { f.mu.Lock(); defer f.mu.Unlock(); change() }

func TestJournalSurvivesAFailingDisk(t *testing.T) {
	for _, tt := range []struct {
		name string
		fail func(f *failing)
		code fault.Code
	}{
		{"full", func(f *failing) { f.err = syscall.ENOSPC }, fault.DiskFull},
		{"full in the middle of a frame", func(f *failing) { f.err, f.partly = syscall.ENOSPC, 100 }, fault.DiskFull},
		{"over the quota, and stuck", func(f *failing) { f.err, f.partly, f.stuck = syscall.EDQUOT, 100, true }, fault.DiskFull},
		{"fsync fails", func(f *failing) { f.syncErr = syscall.EIO }, fault.Internal},
		{"fsync finds no room", func(f *failing) { f.syncErr = syscall.ENOSPC }, fault.DiskFull},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "j")
			j := openAt(t, path)
			add(t, j, 1, 1)
			f := &failing{disk: j.f}
			j.f = f // the writer waits: nothing is queued
			f.set(func() { tt.fail(f) })
			// Two records in one frame: what is left of them must not be read as newer.
			err := j.put(&entry{lease: 1, rec: recordOf(1, 7), done: make(chan error, 1)}, &entry{lease: 2, rec: recordOf(2, 9), done: make(chan error, 1)})
			if fault.CodeOf(err) != tt.code {
				t.Fatalf("%v", err)
			}
			wantSeq(t, j, 1, 1)
			wantSeq(t, j, 2, 0)
			f.set(func() { f.err, f.syncErr, f.stuck = nil, nil, false })
			add(t, j, 1, 2)
			add(t, j, 2, 3)
			write(t, path+".copy", crashed(t, path))
			for _, c := range []*journal{j, openAt(t, path+".copy")} {
				wantSeq(t, c, 1, 2)
				wantSeq(t, c, 2, 3)
			}
		})
	}
}

const fullDisk = "HEARTH_TEST_FULL_DISK"

// A limit on a file's size is a full disk without a disk.
func TestJournalOnAFullDisk(t *testing.T) {
	if path := os.Getenv(fullDisk); path != "" {
		onFullDisk(t, path)
		return
	}
	path := filepath.Join(t.TempDir(), "j")
	cmd := exec.Command(os.Args[0], "-test.run=^TestJournalOnAFullDisk$")
	cmd.Env = append(os.Environ(), fullDisk+"="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	j := openAt(t, path)
	wantSeq(t, j, 1, 1000)
}

func onFullDisk(t *testing.T, path string) {
	signal.Ignore(syscall.SIGXFSZ)
	j := openAt(t, path)
	var room syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &room); err != nil {
		t.Fatal(err)
	}
	full := room
	full.Cur = 8 << 10
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &full); err != nil {
		t.Fatal(err)
	}
	kept := uint64(0)
	for seq := uint64(1); ; seq++ {
		if err := j.append(1, recordOf(1, seq)); err != nil {
			if fault.CodeOf(err) != fault.DiskFull {
				t.Fatal(err)
			}
			break
		}
		kept = seq
	}
	if kept == 0 || kept > 100 {
		t.Fatalf("%d records fit", kept)
	}
	wantSeq(t, j, 1, kept)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &room); err != nil {
		t.Fatal(err)
	}
	add(t, j, 1, 1000)
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
}
