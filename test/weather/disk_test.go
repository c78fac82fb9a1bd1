package weather

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"hearth/core/fault"
	"hearth/node/cloud"
	"hearth/sdk"
)

func TestAFullDiskAtTheClientLosesNothing(t *testing.T) {
	t.Parallel()
	w := shared(t)
	b := content(50, 12*mib)
	w.put(t, "before", b)
	d := w.confine(t, w.Client, 64*mib)
	d.fill(t)
	small := func(i int) (string, []byte) { return fmt.Sprintf("small-%d", i), content(uint64(1000+i), 3000) }
	var acknowledged int
	var err error
	for ; acknowledged < 20_000 && err == nil; acknowledged++ {
		key, b := small(acknowledged)
		_, err = w.api.Put(within(t, patient), bucket, key, bytes.NewReader(b), int64(len(b)), sdk.PutOptions{})
	}
	acknowledged-- // the last one failed
	wants(t, "put on a full disk", err, fault.DiskFull)
	if key, _ := small(acknowledged); w.listed(t, key) {
		t.Error("what didn't fit is listed")
	}
	_, err = w.api.Put(within(t, patient), bucket, "large", bytes.NewReader(b), int64(len(b)), sdk.PutOptions{})
	wants(t, "put a file on a full disk", err, fault.DiskFull)
	if w.listed(t, "large") {
		t.Error("the file is listed")
	}
	// Reading is paid for, and what is paid is written down first.
	if err := w.reads(within(t, patient), "before", b); err != nil {
		wants(t, "read with a full disk", err, fault.DiskFull)
	}
	if log, err := os.ReadFile(filepath.Join(w.Client.Dir, "log")); err != nil || bytes.Count(log, []byte("removals")) > 20 {
		t.Errorf("it tries in vain without a pause: %v", err)
	}
	d.makeRoom(t)
	w.mustRead(t, "before", b) // at once: no host is blamed
	w.put(t, "large", b)
	w.mustRead(t, "large", b)
	w.Client.Kill()
	w.run(t, w.Client)
	for i := range acknowledged {
		key, b := small(i)
		w.mustRead(t, key, b)
	}
	w.mustRead(t, "before", b)
	w.mustRead(t, "large", b)
}

func TestAFullDiskAtAHostLosesNothing(t *testing.T) {
	t.Parallel()
	w := start(t, 5, twoOfFour)
	kept := content(51, 24*mib)
	for i := range 3 {
		w.put(t, fmt.Sprintf("kept-%d", i), kept)
	}
	full := w.Hosts[0]
	d := w.confine(t, full, 256*mib)
	d.fill(t)
	for i := range 4 {
		key := fmt.Sprintf("beside-%d", i)
		w.put(t, key, kept)
		w.whole(t, patient, key, w.account(t, 0))
		w.mustRead(t, key, kept)
	}
	for i := range 3 {
		w.mustRead(t, fmt.Sprintf("kept-%d", i), kept)
		w.whole(t, patient, fmt.Sprintf("kept-%d", i))
	}
	select {
	case <-full.Done():
		t.Error("the node has ended")
	default:
	}
	d.makeRoom(t)
	full.Kill() // and what it has acknowledged is there all the same
	w.run(t, full)
	w.Client.Stop(3 * time.Second) // it avoids a full host for a while
	w.run(t, w.Client)
	_, err := w.api.Put(within(t, patient), bucket, "again", bytes.NewReader(kept), int64(len(kept)), sdk.PutOptions{Class: "2/5"})
	if err != nil {
		t.Fatal(err)
	}
	w.whole(t, patient, "again")
	if by, _ := w.shards(t, "again"); by[w.account(t, 0)] == 0 {
		t.Error("the host takes nothing though it has room again")
	}
	for i := range 3 {
		w.whole(t, patient, fmt.Sprintf("kept-%d", i))
		w.mustRead(t, fmt.Sprintf("kept-%d", i), kept)
	}
}

// disk is a small file system of its own under a node's data.
type disk struct{ dir string }

// confine moves a node's data to a disk of so many bytes, and starts it again.
func (w *world) confine(t *testing.T, p *cloud.Process, bytes int64) disk {
	t.Helper()
	data, aside := filepath.Join(p.Dir, "data"), filepath.Join(p.Dir, "aside")
	p.Stop(3 * time.Second)
	if err := os.Rename(data, aside); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	err := syscall.Mount("weather", data, "tmpfs", 0, fmt.Sprintf("size=%d", bytes))
	if errors.Is(err, syscall.EPERM) {
		if err := errors.Join(os.Remove(data), os.Rename(aside, data)); err != nil {
			t.Fatal(err)
		}
		w.run(t, p)
		t.Skip("only root can mount a small disk")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // what it holds goes back to the large disk
		p.Stop(3 * time.Second)
		err := errors.Join(os.RemoveAll(aside), os.Mkdir(aside, 0o700))
		out, failed := exec.Command("cp", "-a", "--sparse=always", data+"/.", aside).CombinedOutput()
		if err := errors.Join(err, failed, syscall.Unmount(data, 0), os.Remove(data), os.Rename(aside, data)); err != nil {
			t.Errorf("take the small disk away: %v: %s", err, out)
		}
		w.run(t, p)
	})
	if out, err := exec.Command("cp", "-a", "--sparse=always", aside+"/.", data).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	w.run(t, p)
	return disk{data}
}

// fill leaves no room on the disk. What a node gives up meanwhile, to go on, is
// left to it: no more is taken than was free at first.
func (d disk) fill(t *testing.T) {
	t.Helper()
	f, err := os.Create(filepath.Join(d.dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var s syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &s); err != nil {
		t.Fatal(err)
	}
	chunk := make([]byte, mib)
	for left := int64(s.Bavail) * s.Bsize; left > 0; left -= int64(len(chunk)) {
		_, err := f.Write(chunk[:min(left, int64(len(chunk)))])
		if errors.Is(err, syscall.ENOSPC) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (d disk) makeRoom(t *testing.T) {
	t.Helper()
	if err := os.Remove(filepath.Join(d.dir, "filler")); err != nil {
		t.Fatal(err)
	}
}
