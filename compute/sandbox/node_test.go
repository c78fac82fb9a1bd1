//go:build linux

package sandbox_test

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hearth/compute/sandbox"
)

func TestInstancesOutliveTheNode(t *testing.T) {
	w := newWorld(t)
	const script = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done"
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asNode+"=survivor", "HEARTH_TEST_PROGRAM="+program(t), "HEARTH_TEST_FOLDER="+w.folder,
		"HEARTH_TEST_ROOTFS="+w.rootfs, "HEARTH_TEST_SCRIPT="+script)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.remove("survivor") })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "started\n" {
		t.Fatalf("%q %v", line, err)
	}
	// As a node is killed, with all that runs in its process group.
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("it wasn't killed")
	}
	before := len(w.log("survivor"))
	until(t, "it goes on", func() bool { return len(w.log("survivor")) > before+100 })

	again := w.open()
	all, err := again.List(w.ctx)
	if err != nil || len(all) != 1 || all[0].ID != "survivor" || all[0].Phase != sandbox.Running {
		t.Fatalf("%+v %v", all, err)
	}
	if out, exit := w.exec("survivor", "echo", "hello"); out != "hello\n" || exit != 0 {
		t.Fatalf("%q %d", out, exit)
	}
	r, err := again.Logs(w.ctx, "survivor", sandbox.LogOptions{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := again.Stop(w.ctx, "survivor", 0); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Fields(string(text)) {
		if line != strconv.Itoa(i+1) {
			t.Fatalf("line %d of the log is %q", i+1, line)
		}
	}
}

// When the machine's memory is used up instances go before the node.
func TestInstancesGoFirst(t *testing.T) {
	w := newWorld(t)
	w.start("first", sh("sleep 600"))
	s, err := w.e.State(w.ctx, "first")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(s.Keeper) + "/oom_score_adj")
	if n, aerr := strconv.Atoi(strings.TrimSpace(string(b))); err != nil || aerr != nil || n < 500 {
		t.Errorf("%s: %v", b, err)
	}
}

func TestAnInstanceWhoseKeeperIsGoneHasEnded(t *testing.T) {
	w := newWorld(t)
	w.start("orphan", sh("sleep 600"))
	s, err := w.e.State(w.ctx, "orphan")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.Keeper, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "it is known to have ended", func() bool {
		s, err = w.e.State(w.ctx, "orphan")
		return err == nil && s.Phase == sandbox.Ended
	})
	if s.Reason != sandbox.Lost {
		t.Fatalf("%+v", s)
	}
	if _, state := w.run("orphan", sh("exit 3")); state.Exit != 3 {
		t.Fatalf("%+v", state)
	}
}

func TestAKeeperThatIsToldToEndLetsItsInstanceEnd(t *testing.T) {
	w := newWorld(t)
	w.start("shutdown", sh("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.1; done"))
	until(t, "it is up", func() bool { return w.log("shutdown") == "up\n" })
	s, err := w.e.State(w.ctx, "shutdown")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.Keeper, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if s := w.ended("shutdown"); s.Exit != 3 || s.Reason != sandbox.Stopped || w.log("shutdown") != "up\nbye\n" {
		t.Fatalf("%+v %q", s, w.log("shutdown"))
	}
}

// A sandbox is a stranger's to break: it need not answer for its instance to be ended.
func TestAnInstanceWhoseSandboxDoesNotAnswerCanBeEnded(t *testing.T) {
	w := newWorld(t)
	w.start("mute", sh("sleep 600"))
	s, err := w.e.State(w.ctx, "mute")
	if err != nil {
		t.Fatal(err)
	}
	until(t, "its sandbox stands still", func() bool {
		boot := children(t, s.Keeper)
		still := len(boot) > 0
		for _, pid := range boot {
			n, err := strconv.Atoi(pid)
			if err == nil {
				err = syscall.Kill(n, syscall.SIGSTOP)
			}
			if err != nil {
				t.Fatal(err)
			}
			still = still && stands(t, pid)
		}
		return still
	})
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	paused := make(chan error, 1)
	go func() { paused <- w.e.Pause(ctx, "mute") }()
	if s, err := w.e.State(w.ctx, "mute"); err != nil || s.Phase != sandbox.Running {
		t.Errorf("%+v %v", s, err)
	}
	if s, err := w.e.Stop(w.ctx, "mute", 100*time.Millisecond); err != nil || s.Phase != sandbox.Ended || s.Reason != sandbox.Stopped {
		t.Errorf("%+v %v", s, err)
	}
	cancel()
	if err := <-paused; err == nil {
		t.Error("what doesn't answer was paused")
	}
}

// stands tells whether every thread of a process has been stopped: a signal is taken some time after it was sent.
func stands(t testing.TB, pid string) bool {
	t.Helper()
	threads, err := filepath.Glob("/proc/" + pid + "/task/*/stat")
	if err != nil || len(threads) == 0 {
		t.Fatal(pid, err)
	}
	for _, path := range threads {
		text, err := os.ReadFile(path)
		if err != nil {
			return false // the thread has just ended
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		if !strings.HasPrefix(rest, "T") {
			return false
		}
	}
	return true
}

func TestUnreachableIsNotGone(t *testing.T) {
	w := newWorld(t)
	w.start("hung", sh("sleep 600"))
	s, err := w.e.State(w.ctx, "hung")
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(w.folder, "hung", "control")
	if err := os.Rename(socket, socket+".away"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Rename(socket+".away", socket) }) // it may be back already
	if s, err := w.e.State(w.ctx, "hung"); err != nil || s.Phase != sandbox.Unreachable {
		t.Fatalf("%+v %v", s, err)
	}
	if err := w.e.Remove(w.ctx, "hung"); err == nil {
		t.Fatal("what can't be reached was removed")
	}
	if err := os.Rename(socket+".away", socket); err != nil {
		t.Fatal(err)
	}
	if again, err := w.e.State(w.ctx, "hung"); err != nil || again != s {
		t.Fatalf("%+v %v", again, err)
	}
}

func TestWhatTheEngineDoesNotKnowIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"images", "Strange"} {
		if err := os.Mkdir(filepath.Join(w.folder, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w.open()
	all, err := w.e.List(w.ctx)
	if err != nil || len(all) != 0 {
		t.Fatalf("%+v %v", all, err)
	}
	for _, name := range []string{"images", "Strange"} {
		if _, err := os.Stat(filepath.Join(w.folder, name)); err != nil {
			t.Error(err)
		}
	}
}
