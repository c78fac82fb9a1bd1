//go:build linux && (amd64 || arm64)

package keeper

import (
	"log/slog"
	"net"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"hearth/compute/sandbox/wire"
)

// The number of a process that has ended means nothing, and -1 means every process.
func TestWhoHasEndedIsNotSignalled(t *testing.T) {
	for _, pid := range []int{-1, 0} {
		if p, err := hold(pid); err == nil {
			t.Errorf("%d is held as %d", pid, p.Pid)
		}
	}
	ended := exec.Command("true")
	if err := ended.Start(); err != nil {
		t.Fatal(err)
	}
	k := &keeper{log: slog.New(slog.DiscardHandler), ended: make(chan struct{})}
	var err error
	if k.process, err = hold(ended.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if err := ended.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := k.process.Signal(syscall.Signal(0)); err == nil {
		t.Fatal("it is taken for alive")
	}
	k.end(wire.Stopped)
	close(k.ended)
	k.stop(0)
	if k.ending != wire.Stopped {
		t.Errorf("ended for %q", k.ending)
	}
}

func TestWhoNeitherReadsNorWritesHearsThatTheOtherHasGone(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	there, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	here, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	if err := there.(*net.UnixConn).CloseWrite(); err != nil { // only its input has ended
		t.Fatal(err)
	}
	if hungUp(here) {
		t.Error("who still reads was taken for gone")
	}
	there.Close()
	gone := make(chan struct{})
	left(here, nil, func() { close(gone) })
	<-gone
}
