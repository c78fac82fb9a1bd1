//go:build linux

package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/compute/sandbox"
	"hearth/core/fault"
)

func TestExec(t *testing.T) {
	w := newWorld(t)
	s := sh("sleep 600")
	s.Env = []string{"A=instance"}
	w.start("exec", s)
	run := func(x sandbox.Exec, in string) (out, errs string, exit int) {
		t.Helper()
		var o, e bytes.Buffer
		exit, err := w.e.Exec(w.ctx, "exec", x, sandbox.Streams{In: strings.NewReader(in), Out: &o, Err: &e})
		if err != nil {
			t.Fatalf("%v: %v", x.Args, err)
		}
		return o.String(), e.String(), exit
	}
	if out, errs, exit := run(sandbox.Exec{Args: []string{"sh", "-c", "echo o; echo e >&2; exit 5"}}, ""); out != "o\n" || errs != "e\n" || exit != 5 {
		t.Errorf("%q %q %d", out, errs, exit)
	}
	uid := uint32(1000)
	x := sandbox.Exec{Args: []string{"sh", "-c", "id -u; pwd; echo $A $B"}, UID: &uid, Dir: "/home", Env: []string{"B=exec"}}
	if out, _, _ := run(x, ""); out != "1000\n/home\ninstance exec\n" {
		t.Errorf("%q", out)
	}
	if _, _, exit := run(sandbox.Exec{Args: []string{"sh", "-c", "kill -9 $$"}}, ""); exit != 128+9 {
		t.Errorf("exit %d", exit)
	}
	big := strings.Repeat("0123456789abcdef", 1<<16)
	if out, _, exit := run(sandbox.Exec{Args: []string{"cat"}}, big); out != big || exit != 0 {
		t.Errorf("%d of %d bytes, exit %d", len(out), len(big), exit)
	}
	if out, _, _ := run(sandbox.Exec{Args: []string{"sh", "-c", "sleep 100 & echo up"}}, ""); out != "up\n" {
		t.Errorf("%q", out)
	}
	if out, _, _ := run(sandbox.Exec{Args: []string{"sh", "-c", "trap '' HUP; sleep 100 & echo up"}, TTY: true}, ""); out != "up\r\n" {
		t.Errorf("on a terminal %q", out)
	}
	slow := &slowly{}
	x = sandbox.Exec{Args: []string{"head", "-c", "1000000", "/dev/zero"}}
	if exit, err := w.e.Exec(w.ctx, "exec", x, sandbox.Streams{Out: slow}); err != nil || exit != 0 || slow.n != 1_000_000 {
		t.Errorf("who reads slowly got %d bytes, exit %d, %v", slow.n, exit, err)
	}
	if _, err := w.e.Exec(w.ctx, "exec", sandbox.Exec{Args: []string{"nothing-like-it"}}, sandbox.Streams{}); err == nil {
		t.Error("a program that isn't there runs")
	}
	if _, err := w.e.Exec(w.ctx, "other", sandbox.Exec{Args: []string{"true"}}, sandbox.Streams{}); err == nil {
		t.Error("an instance that isn't there runs something")
	}
}

func TestAProgramThatCanNotRunIsItsTenantsMistake(t *testing.T) {
	w := newWorld(t)
	for _, args := range [][]string{{"/bin/nothing-like-it"}, {"nothing-like-it"}, {"/home"}} {
		s := sandbox.Spec{Rootfs: w.rootfs, Args: args, Memory: 64 << 20, Disk: 32 << 20}
		t.Cleanup(func() { w.remove("none") })
		if err := w.e.Start(w.ctx, "none", s); fault.CodeOf(err) != fault.BadRequest || !strings.Contains(err.Error(), args[0]) {
			t.Errorf("%s: %v", args[0], err)
		}
	}
}

// slowly takes what it is given in its own time.
type slowly struct{ n int }

func (s *slowly) Write(b []byte) (int, error) {
	<-time.After(60 * time.Millisecond)
	s.n += len(b)
	return len(b), nil
}

func TestATerminalHasASizeThatChanges(t *testing.T) {
	w := newWorld(t)
	w.start("tty", sh("sleep 600"))
	in, typing := io.Pipe()
	var out lines
	sizes := make(chan sandbox.Size, 1)
	ended := make(chan error, 1)
	go func() {
		x := sandbox.Exec{ // a signal ends the read that it comes in, and its trap runs then
			Args: []string{"sh", "-c", "trap 'echo changed; stty size' WINCH; stty size; while true; do read x; if [ \"$x\" = end ]; then echo got $x; exit 4; fi; done"},
			TTY:  true, Rows: 24, Cols: 80,
		}
		exit, err := w.e.Exec(w.ctx, "tty", x, sandbox.Streams{In: in, Out: &out, Resize: sizes})
		if err == nil && exit != 4 {
			err = errors.New("it ended otherwise")
		}
		in.Close() // nobody types any more
		ended <- err
	}()
	until(t, "the first size", func() bool { return strings.Contains(out.String(), "24 80\r\n") })
	sizes <- sandbox.Size{Rows: 50, Cols: 132}
	until(t, "the second size", func() bool {
		_, err := typing.Write([]byte("a\n"))
		return err != nil || strings.Contains(out.String(), "changed\r\n") && strings.Contains(out.String(), "50 132\r\n") // what is typed may stand between them
	})
	go typing.Write([]byte("end\n"))
	select {
	case err := <-ended:
		if err != nil || !strings.Contains(out.String(), "50 132\r\n") || !strings.Contains(out.String(), "got end") {
			t.Fatalf("%v %q", err, out.String())
		}
	case <-time.After(time.Minute):
		t.Fatalf("it doesn't end: %q", out.String())
	}
}

func TestWhoGoesAwayEndsHisProcess(t *testing.T) {
	w := newWorld(t)
	w.start("away", sh("sleep 600"))
	ctx, cancel := context.WithCancel(w.ctx)
	ended := make(chan error, 1)
	var out lines
	go func() {
		_, err := w.e.Exec(ctx, "away", sandbox.Exec{Args: []string{"sh", "-c", "echo up; sleep 555"}}, sandbox.Streams{Out: &out})
		ended <- err
	}()
	until(t, "it is up", func() bool { return out.String() == "up\n" })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	until(t, "the process is gone", func() bool {
		out, _ := w.exec("away", "sh", "-c", "ps | grep 'echo [u]p' | wc -l")
		return strings.TrimSpace(out) == "0"
	})
}

func TestExecEndsWithItsInstance(t *testing.T) {
	w := newWorld(t)
	w.start("short", sh("sleep 600"))
	ended := make(chan error, 1)
	var out lines
	go func() {
		_, err := w.e.Exec(w.ctx, "short", sandbox.Exec{Args: []string{"sh", "-c", "echo up; sleep 600"}}, sandbox.Streams{Out: &out})
		ended <- err
	}()
	until(t, "it is up", func() bool { return out.String() == "up\n" })
	if _, err := w.e.Stop(w.ctx, "short", 0); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended: // with a status or an error, but it ends
	case <-time.After(time.Minute):
		t.Fatal("exec outlives its instance")
	}
}

// lines is a buffer that may be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
