//go:build linux

package sandbox_test

import (
	"bytes"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/compute/sandbox"
)

// Both ends must hear of it: a program that waits for an answer that can't come would
// wait for ever.
func TestConnectionsBreakAndDoNotHang(t *testing.T) {
	w := newWorld(t)
	s := sh(`nc -l -p 9000 >/dev/null; echo in is broken; sleep 600`)
	w.start("in", s)
	c := w.dialed("in", 9000)
	defer c.Close()
	out := sh(`busybox mkfifo /tmp/in; exec 3<>/tmp/in; nc 10.87.0.1 53 <&3; echo out is broken; sleep 600`)
	out.Egress, out.Allow = sandbox.EgressAllow, []string{"names.example"}
	w.start("out", out)
	until(t, "it is connected", func() bool {
		text, _ := w.exec("out", "sh", "-c", "cat /proc/net/tcp")
		return strings.Contains(text, "0100570A:0035 01")
	})
	w.suspend("in")
	c.SetDeadline(time.Now().Add(time.Minute))
	if n, err := c.Read(make([]byte, 1)); n != 0 || os.IsTimeout(err) {
		t.Errorf("the other end isn't told: %d %v", n, err)
	}
	w.suspend("out")
	w.goOn("in", s)
	w.goOn("out", out)
	until(t, "the server hears of it", func() bool { return w.log("in") == "in is broken\n" })
	until(t, "the client hears of it", func() bool { return w.log("out") == "out is broken\n" })
}

// dialed is a connection to a port once somebody listens there.
func (w *world) dialed(id string, port uint16) (c net.Conn) {
	w.t.Helper()
	until(w.t, "somebody listens", func() (there bool) {
		var err error
		c, err = w.e.Dial(w.ctx, id, port)
		return err == nil
	})
	return c
}

// A lockedBuffer is written to by one and read by another.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// They belong to somebody who has been told that they are over.
func TestProgramsOfExecEndWithIt(t *testing.T) {
	w := newWorld(t)
	s := count("true")
	w.start("exec", s)
	type end struct {
		exit int
		err  error
	}
	over := make(chan end, 2)
	for _, tty := range []bool{false, true} {
		hears, says := io.Pipe()
		defer says.Close()
		var out lockedBuffer
		go func() {
			exit, err := w.e.Exec(w.ctx, "exec", sandbox.Exec{Args: []string{"sh", "-c", "echo up; cat"}, TTY: tty}, sandbox.Streams{In: hears, Out: &out})
			over <- end{exit, err}
		}()
		until(t, "it runs", func() bool { return strings.HasPrefix(out.String(), "up") })
	}
	w.suspend("exec")
	for range 2 {
		if e := <-over; e.err == nil && e.exit == 0 {
			t.Errorf("nobody is told: %+v", e)
		}
	}
	w.goOn("exec", s)
	w.goesOn("exec")
	until(t, "they are gone", func() bool {
		out, _ := w.exec("exec", "sh", "-c", "ps | grep -c '[ ]cat'")
		return out == "0\n"
	})
	inOrder(t, w.log("exec"))
}

func TestAFullInstanceIsSuspendedToo(t *testing.T) {
	w := newWorld(t)
	s := full(200)
	s.Memory, s.Disk = 256<<20, 64<<20
	w.start("full", s)
	until(t, "it is full", func() bool { return strings.Contains(w.log("full"), "full\n") })
	t.Log("suspended in", w.suspend("full"), "gone on in", w.goOn("full", s))
	u, err := w.e.Stats(w.ctx, "full")
	if err != nil || u.Memory < 200<<20 {
		t.Errorf("%+v %v", u, err)
	}
	if out, _ := w.exec("full", "sh", "-c", "ps | grep -c '[ ]dd'"); out != "1\n" {
		t.Errorf("%q", out)
	}
}

// full is an instance whose program has so many MiB of memory that nothing is known of.
func full(mib int) sandbox.Spec {
	n := strconv.Itoa(mib)
	return sh("busybox mkfifo /tmp/out; { read x; echo full; exec sleep 600; } </tmp/out & exec dd if=/dev/urandom of=/tmp/out bs=" + n + "M count=1000 2>/dev/null")
}

func TestLimitsHoldAfterItWasSuspended(t *testing.T) {
	w := newWorld(t)
	ready := func(id string, s sandbox.Spec) {
		t.Helper()
		w.start(id, s)
		until(t, "it is up", func() bool { return strings.HasSuffix(w.log(id), "up\n") })
		w.suspend(id)
		w.goOn(id, s)
	}
	disk := sh("dd if=/dev/zero of=/home/first bs=1M count=5 2>/dev/null; echo up; sleep 600")
	disk.Disk = 8 << 20
	ready("disk", disk)
	out, _ := w.exec("disk", "sh", "-c", "dd if=/dev/zero of=/home/fill bs=1M count=100 2>&1; stat -c %s /home/first /home/fill; rm /home/fill; dd if=/dev/zero of=/home/fill bs=1M count=2 2>/dev/null && echo room again")
	if !strings.Contains(out, "No space left") || !strings.HasSuffix(out, "room again\n") || !strings.Contains(out, strconv.Itoa(5<<20)) {
		t.Errorf("%q", out)
	}

	pids := sh("echo up; sleep 600")
	pids.Pids = 20
	ready("pids", pids)
	if out, _ := w.exec("pids", "sh", "-c", "i=0; while [ $i -lt 200 ]; do sleep 600 & i=$((i+1)); done; echo all 200"); strings.Contains(out, "all 200") {
		t.Errorf("%q", out)
	}

	hog := sh("echo up; read x; while [ ! -e /home/go ]; do sleep 0.05; done; tail /dev/zero; sleep 600")
	ready("hog", hog)
	if _, exit := w.exec("hog", "touch", "/home/go"); exit != 0 {
		t.Fatal(exit)
	}
	if state := w.ended("hog"); state.Reason != sandbox.OutOfMemory {
		t.Errorf("%+v", state)
	}
}
