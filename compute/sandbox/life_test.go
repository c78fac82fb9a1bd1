//go:build linux

package sandbox_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hearth/compute/sandbox"
	"hearth/core/fault"
)

func TestAnInstanceRunsWritesAndEnds(t *testing.T) {
	w := newWorld(t)
	out, s := w.run("hello", sh("echo out; echo err >&2; id; pwd; hostname; exit 7"))
	if want := "out\nerr\nuid=0 gid=0\n/\nhello\n"; out != want || s.Exit != 7 || s.Reason != sandbox.Exited {
		t.Fatalf("%q %+v", out, s)
	}
	if s.Started.IsZero() || s.Ended.Before(s.Started) || s.Cgroup != w.e.Caps().Cgroup {
		t.Fatalf("%+v", s)
	}
	if w.e.Caps().Root != (os.Geteuid() == 0) {
		t.Fatalf("%+v", w.e.Caps())
	}
}

func TestASpecIsCarriedOut(t *testing.T) {
	w := newWorld(t)
	shown := filepath.Join(t.TempDir(), "shown")
	if err := os.WriteFile(shown, []byte("from the host\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := sh("id -u; id -g; pwd; hostname; echo $A; cat /shown; touch /shown 2>/dev/null || echo read only; touch /x 2>/dev/null || echo not root; grep -E 'CapEff|NoNewPrivs' /proc/self/status")
	s.UID, s.GID, s.Dir, s.Hostname, s.Env = 1000, 1001, "/home", "house", []string{"A=b c"}
	s.Mounts = []sandbox.Mount{{Source: shown, Target: "/shown", ReadOnly: true}}
	out, state := w.run("spec", s)
	want := "1000\n1001\n/home\nhouse\nb c\nfrom the host\nread only\nnot root\nCapEff:\t0000000000000000\n"
	if !strings.HasPrefix(out, want) || state.Exit != 0 {
		t.Fatalf("%q %+v", out, state)
	}
}

func TestNoRightReachesOut(t *testing.T) {
	w := newWorld(t)
	s := sh("mount -t tmpfs x /home 2>/dev/null && echo mounted; grep CapBnd /proc/self/status; touch /x && echo wrote")
	s.Caps = []string{"CAP_CHOWN"}
	if out, _ := w.run("caps", s); out != "CapBnd:\t0000000000000001\nwrote\n" {
		t.Fatalf("%q", out)
	}
}

func TestASpecThatCannotBeIsRefused(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(*sandbox.Spec){
		"no program":           func(s *sandbox.Spec) { s.Args = nil },
		"a rootfs that isn't":  func(s *sandbox.Spec) { s.Rootfs = "/nonexistent" },
		"a relative rootfs":    func(s *sandbox.Spec) { s.Rootfs = "x" },
		"a right that isn't":   func(s *sandbox.Spec) { s.Caps = []string{"CAP_SYS_ADMIN"} },
		"an unknown egress":    func(s *sandbox.Spec) { s.Egress = "wide" },
		"a secret with a path": func(s *sandbox.Spec) { s.Secrets = map[string][]byte{"../x": nil} },
		"a mount over all":     func(s *sandbox.Spec) { s.Mounts = []sandbox.Mount{{Source: "/etc", Target: "/"}} },
		"a relative folder":    func(s *sandbox.Spec) { s.Dir = "x" },
		"memory for nothing":   func(s *sandbox.Spec) { s.Memory = 1 },
		"a program that's not": func(s *sandbox.Spec) { s.Args = []string{"/bin/nothing"} },
		"a folder that isn't":  func(s *sandbox.Spec) { s.Dir = "/bin/busybox" },
		"a mount that is not":  func(s *sandbox.Spec) { s.Mounts = []sandbox.Mount{{Source: "/nonexistent", Target: "/x"}} },
	} {
		s := sh("true")
		s.Rootfs = w.rootfs
		change(&s)
		err := w.e.Start(w.ctx, "refused", s)
		if err == nil {
			t.Errorf("%s is started", name)
		}
		if c := fault.CodeOf(err); c != fault.BadRequest && c != fault.SandboxFailed {
			t.Errorf("%s: %s: %v", name, c, err)
		}
		w.remove("refused")
	}
	for _, id := range []string{"", "..", "a/b", "A", strings.Repeat("a", 64), "-a"} {
		if err := w.e.Start(w.ctx, id, sh("true")); fault.CodeOf(err) != fault.BadRequest {
			t.Errorf("id %q: %v", id, err)
		}
	}
}

func TestInstancesShareARootfsAndNothingElse(t *testing.T) {
	w := newWorld(t)
	w.start("one", sh("sleep 601"))
	w.start("two", sh("sleep 602"))
	if out, exit := w.exec("one", "sh", "-c", "echo mine > /home/x && rm /bin/true && cat /home/x"); out != "mine\n" || exit != 0 {
		t.Fatalf("%q %d", out, exit)
	}
	if _, exit := w.exec("two", "sh", "-c", "[ ! -e /home/x ] && [ -e /bin/true ]"); exit != 0 {
		t.Error("one instance sees what another wrote")
	}
	if out, _ := w.exec("two", "sh", "-c", "ps | grep -c '[s]leep 601'"); out != "0\n" {
		t.Errorf("one instance sees another's processes: %s", out)
	}
	if _, err := os.Stat(filepath.Join(w.rootfs, "home/x")); err == nil {
		t.Error("the rootfs was written to")
	}
	if _, err := os.Lstat(filepath.Join(w.rootfs, "bin/true")); err != nil {
		t.Error(err)
	}
}

func TestAnIdIsTakenOnceAtATime(t *testing.T) {
	w := newWorld(t)
	w.start("once", sh("echo first; touch /home/x; sleep 600"))
	until(t, "it is up", func() bool { return w.log("once") == "first\n" })
	if err := w.e.Start(w.ctx, "once", sh("true")); fault.CodeOf(err) != fault.AlreadyRunning {
		t.Fatal(err)
	}
	if _, err := w.e.Stop(w.ctx, "once", 0); err != nil {
		t.Fatal(err)
	}
	out, s := w.run("once", sh("[ -e /home/x ] || echo second"))
	if out != "first\nsecond\n" || s.Exit != 0 {
		t.Fatalf("%q %+v", out, s)
	}
}

func TestStop(t *testing.T) {
	w := newWorld(t)
	w.start("polite", sh("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.1; done"))
	until(t, "it is up", func() bool { return w.log("polite") == "up\n" })
	s, err := w.e.Stop(w.ctx, "polite", time.Minute)
	if err != nil || s.Exit != 3 || s.Reason != sandbox.Stopped || w.log("polite") != "up\nbye\n" {
		t.Fatalf("%+v %v %q", s, err, w.log("polite"))
	}
	w.start("deaf", sh("trap '' TERM; echo up; while :; do sleep 0.1; done"))
	until(t, "it is up", func() bool { return w.log("deaf") == "up\n" })
	s, err = w.e.Stop(w.ctx, "deaf", 100*time.Millisecond)
	if err != nil || s.Exit != 128+9 || s.Reason != sandbox.Stopped {
		t.Fatalf("%+v %v", s, err)
	}
	if again, err := w.e.Stop(w.ctx, "deaf", 0); err != nil || again != s {
		t.Fatalf("%+v %v", again, err)
	}
}

func TestWhatIsNotThere(t *testing.T) {
	w := newWorld(t)
	if _, err := w.e.State(w.ctx, "nothing"); fault.CodeOf(err) != fault.NotFound {
		t.Error(err)
	}
	if err := w.e.Remove(w.ctx, "nothing"); err != nil {
		t.Error(err)
	}
	if _, err := w.e.Stats(w.ctx, "nothing"); fault.CodeOf(err) != fault.NotFound {
		t.Error(err)
	}
	if _, err := w.e.Logs(w.ctx, "nothing", sandbox.LogOptions{}); fault.CodeOf(err) != fault.NotFound {
		t.Error(err)
	}
	all, err := w.e.List(w.ctx)
	if err != nil || len(all) != 0 {
		t.Errorf("%+v %v", all, err)
	}
}

func TestRemoveLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.start("gone", sh("echo x; sleep 600"))
	w.remove("gone")
	entries, err := os.ReadDir(w.folder)
	if err != nil || len(entries) != 0 {
		t.Fatalf("%v %v", entries, err)
	}
	for _, dir := range []string{"/sys/fs/cgroup/memory/hearth", "/sys/fs/cgroup/hearth"} {
		left, err := filepath.Glob(dir + "/gone.*")
		if err != nil || len(left) > 0 {
			t.Errorf("control groups are left: %v %v", left, err)
		}
	}
}

func TestSecretsNeverReachADisk(t *testing.T) {
	w := newWorld(t)
	const secret, env = "correct horse battery", "staple of the environment"
	s := sh("cat /run/secrets/key; echo; echo no > /run/secrets/key 2>/dev/null || echo read only; sleep 600")
	s.Secrets, s.Env = map[string][]byte{"key": []byte(secret)}, []string{"PASS=" + env}
	w.start("secret", s)
	until(t, "it has read the secret", func() bool { return strings.HasSuffix(w.log("secret"), "read only\n") })
	if !strings.HasPrefix(w.log("secret"), secret) {
		t.Fatalf("%q", w.log("secret"))
	}
	err := filepath.WalkDir(w.folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.Contains(path, "/log/") {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte(secret)) || bytes.Contains(text, []byte(env)) {
			t.Errorf("%s holds it", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPause(t *testing.T) {
	w := newWorld(t)
	w.start("beat", sh("i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"))
	until(t, "it beats", func() bool { return len(w.log("beat")) > 10 })
	if err := w.e.Pause(w.ctx, "beat"); err != nil {
		t.Fatal(err)
	}
	if s, err := w.e.State(w.ctx, "beat"); err != nil || s.Phase != sandbox.Paused {
		t.Fatalf("%+v %v", s, err)
	}
	var held string
	until(t, "it holds still", func() bool {
		before := held
		time.Sleep(200 * time.Millisecond)
		held = w.log("beat")
		return held == before
	})
	if err := w.e.Resume(w.ctx, "beat"); err != nil {
		t.Fatal(err)
	}
	until(t, "it goes on", func() bool { return len(w.log("beat")) > len(held)+10 })
	if err := w.e.Pause(w.ctx, "beat"); err != nil {
		t.Fatal(err)
	}
	if s, err := w.e.Stop(w.ctx, "beat", 100*time.Millisecond); err != nil || s.Reason != sandbox.Stopped {
		t.Fatalf("what is paused can't be stopped: %+v %v", s, err)
	}
}

func TestAnEngineSaysWhyItCannotBe(t *testing.T) {
	for name, c := range map[fault.Code]sandbox.Config{
		fault.ProgramMissing: {Program: "/nonexistent/hearth-sandbox", Folder: t.TempDir()},
		fault.BadConfig:      {Program: program(t), Folder: filepath.Join(t.TempDir(), "a,b")},
		fault.NoContainers:   {Program: "/bin/true", Folder: t.TempDir()},
		fault.Internal:       {},
	} {
		if _, err := sandbox.Open(t.Context(), c); fault.CodeOf(err) != name {
			t.Errorf("%s: %v", name, err)
		} else {
			t.Log(err)
		}
	}
}

// A node may be killed at any time, also while it tries whether containers run.
func TestWhatACutOffSelfTestLeavesIsSweptAway(t *testing.T) {
	w := newWorld(t)
	w.start("selftest-cut", sh("sleep 600"))
	if err := os.Mkdir(filepath.Join(w.folder, ".selftest-1"), 0o700); err != nil {
		t.Fatal(err)
	}
	w.start("kept", sh("sleep 600"))
	w.open()
	left, err := os.ReadDir(w.folder)
	if err != nil || len(left) != 1 || left[0].Name() != "kept" {
		t.Errorf("%v %v", left, err)
	}
}

func TestWaitIsGivenUp(t *testing.T) {
	w := newWorld(t)
	w.start("long", sh("sleep 600"))
	ctx, cancel := context.WithTimeout(w.ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := w.e.Wait(ctx, "long"); err == nil {
		t.Fatal("it hasn't ended")
	}
	if s, err := w.e.State(w.ctx, "long"); err != nil || s.Phase != sandbox.Running {
		t.Fatalf("%+v %v", s, err)
	}
}
