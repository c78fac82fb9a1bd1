//go:build linux

package sandbox_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hearth/compute/sandbox"
	"hearth/core/fault"
)

var checkpointKey = bytes.Repeat([]byte{3}, 32)

// suspend suspends an instance, and says how long that took.
func (w *world) suspend(id string) time.Duration {
	w.t.Helper()
	begin := time.Now()
	s, err := w.e.Checkpoint(w.ctx, id, checkpointKey)
	took := time.Since(begin)
	if err != nil {
		w.t.Fatalf("%v\n%s", err, w.keeperLog(id))
	}
	if s.Phase != sandbox.Ended || s.Reason != sandbox.Checkpointed {
		w.t.Fatalf("%+v", s)
	}
	return took
}

func (w *world) goOn(id string, s sandbox.Spec) time.Duration {
	w.t.Helper()
	begin := time.Now()
	s.Rootfs = w.rootfs
	if err := w.e.Restore(w.ctx, id, s, checkpointKey); err != nil {
		w.t.Fatalf("%v\n%s", err, w.keeperLog(id))
	}
	return time.Since(begin)
}

func (w *world) checkpointFile(id string) string { return filepath.Join(w.folder, id, "checkpoint") }

// count is a script that counts for ever, after something else.
func count(first string) sandbox.Spec {
	return sh(first + "; i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done")
}

// goesOn says whether an instance counts further than it has.
func (w *world) goesOn(id string) {
	w.t.Helper()
	n := strings.Count(w.log(id), "\n")
	until(w.t, "it counts on", func() bool { return strings.Count(w.log(id), "\n") > n+5 })
}

// inOrder fails where a log isn't the numbers from 1 on, each once.
func inOrder(t *testing.T, log string) {
	t.Helper()
	lines := strings.Split(log, "\n")
	for i, line := range lines[:len(lines)-1] {
		if line != strconv.Itoa(i+1) {
			t.Fatalf("line %d is %q", i+1, line)
		}
	}
}

func TestASuspendedInstanceGoesOnWhereItWas(t *testing.T) {
	w := newWorld(t)
	s := count("echo disk > /home/x; echo memory > /tmp/x; rm /bin/true; exec 5<>/home/open; rm /home/open; echo unnamed >&5")
	s.Secrets = map[string][]byte{"key": []byte("correct horse")}
	w.start("count", s)
	w.goesOn("count")
	for range 2 { // as often as one likes
		suspended := w.suspend("count")
		if w.e.Caps().Checkpoint != true {
			t.Error("what works isn't said to")
		}
		w.e = w.open() // also after the node was restarted
		if s, err := w.e.State(w.ctx, "count"); err != nil || s.Phase != sandbox.Ended || s.Reason != sandbox.Checkpointed {
			t.Fatalf("%+v %v", s, err)
		}
		again := s
		again.Secrets = nil // nobody needs to have kept them
		t.Log("suspended in", suspended, "gone on in", w.goOn("count", again))
		if s, err := w.e.State(w.ctx, "count"); err != nil || s.Phase != sandbox.Running || !s.Restored {
			t.Fatalf("%+v %v", s, err)
		}
		if _, err := os.Stat(w.checkpointFile("count")); !os.IsNotExist(err) {
			t.Errorf("what it has gone on from is still there: %v", err)
		}
		w.goesOn("count")
	}
	inOrder(t, w.log("count"))
	out, exit := w.exec("count", "sh", "-c", "cat /home/x /tmp/x /run/secrets/key; [ ! -e /bin/true ] && [ ! -e /home/open ] && [ -e /bin/false ]")
	if out != "disk\nmemory\ncorrect horse" || exit != 0 {
		t.Errorf("%q %d", out, exit)
	}
	if st, err := w.e.Stop(w.ctx, "count", 0); err != nil || st.Reason != sandbox.Stopped {
		t.Errorf("%+v %v", st, err)
	}
}

func TestARestoredInstanceIsOneLikeAnother(t *testing.T) {
	w := newWorld(t)
	s := sh("mkdir /home/www && echo from inside > /home/www/x && echo up && exec httpd -f -p 8080 -h /home/www")
	w.start("serve", s)
	until(t, "it is up", func() bool { return w.log("serve") == "up\n" })
	get := func() string {
		c, err := w.e.Dial(w.ctx, "serve", 8080)
		if err != nil {
			return ""
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Minute))
		if _, err := io.WriteString(c, "GET /x HTTP/1.0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		_, body, _ := strings.Cut(string(all), "\r\n\r\n")
		return body
	}
	until(t, "it serves", func() bool { return get() == "from inside\n" })
	if err := w.e.Pause(w.ctx, "serve"); err != nil {
		t.Fatal(err)
	}
	w.suspend("serve") // it is held already
	w.goOn("serve", s)
	until(t, "it serves again", func() bool { return get() == "from inside\n" })
	u, err := w.e.Stats(w.ctx, "serve")
	if err != nil || u.Memory == 0 || u.Pids < 1 || u.Pids > 10 || u.NetIn == 0 || u.NetOut == 0 || u.CPU == 0 {
		t.Errorf("%+v %v", u, err)
	}
	if out, exit := w.exec("serve", "hostname"); out != "serve\n" || exit != 0 {
		t.Errorf("%q %d", out, exit)
	}
	var tty bytes.Buffer
	if exit, err := w.e.Exec(w.ctx, "serve", sandbox.Exec{Args: []string{"stty", "size"}, TTY: true, Rows: 33, Cols: 44}, sandbox.Streams{Out: &tty}); err != nil || exit != 0 || tty.String() != "33 44\r\n" {
		t.Errorf("%q %d %v", tty.String(), exit, err)
	}
	if err := w.e.Pause(w.ctx, "serve"); err != nil {
		t.Error(err)
	}
	if err := w.e.Resume(w.ctx, "serve"); err != nil {
		t.Error(err)
	}
	if st, err := w.e.Stop(w.ctx, "serve", time.Minute); err != nil || st.Reason != sandbox.Stopped {
		t.Errorf("%+v %v", st, err)
	}
}

func TestWhatIsNotWhatWasSuspendedIsRefused(t *testing.T) {
	w := newWorld(t)
	s := count("dd if=/dev/urandom of=/home/x bs=1M count=3 2>/dev/null")
	w.start("whole", s)
	w.goesOn("whole")
	w.suspend("whole")
	s.Rootfs = w.rootfs
	path := w.checkpointFile("whole")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	key, other := checkpointKey, bytes.Repeat([]byte{4}, 32)
	for name, c := range map[string]struct{ file, key []byte }{
		"half of it":    {whole[:len(whole)/2], key},
		"an empty file": {nil, key},
		"a bit of it":   {flipped, key},
		"another key":   {whole, other},
		"no key":        {whole, nil},
	} {
		if err := os.WriteFile(path, c.file, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := w.e.Restore(w.ctx, "whole", s, c.key); fault.CodeOf(err) != fault.BadCheckpoint {
			t.Errorf("%s: %v", name, err)
		}
		if st, err := w.e.State(w.ctx, "whole"); err != nil || st.Phase != sandbox.Ended || st.Reason != sandbox.Checkpointed {
			t.Errorf("%s: %+v %v", name, st, err)
		}
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	changed := s
	changed.Memory *= 2
	if err := w.e.Restore(w.ctx, "whole", changed, key); fault.CodeOf(err) != fault.BadCheckpoint {
		t.Errorf("it goes on with other limits: %v", err)
	}
	w.goOn("whole", s) // nothing of this has cost it anything
	w.goesOn("whole")
	inOrder(t, w.log("whole"))
}

func TestWhatIsKeptOfASuspendedInstanceLiesSealed(t *testing.T) {
	w := newWorld(t)
	const secret, env = "correct horse battery", "staple of the environment"
	s := sh("echo up; sleep 600")
	s.Secrets, s.Env = map[string][]byte{"key": []byte(secret)}, []string{"PASS=" + env}
	w.start("sealed", s)
	until(t, "it is up", func() bool { return w.log("sealed") == "up\n" })
	w.suspend("sealed")
	found := false
	err := filepath.WalkDir(w.folder, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte(secret)) || bytes.Contains(text, []byte(env)) {
			t.Errorf("%s holds it", path)
		}
		found = found || path == w.checkpointFile("sealed")
		return err
	})
	if err != nil || !found {
		t.Fatal(found, err)
	}
}

func TestACheckpointThatIsCutOffLeavesNothing(t *testing.T) {
	w := newWorld(t)
	s := count("head -c 30000000 /dev/urandom > /dev/shm/x")
	w.start("cut", s)
	w.goesOn("cut")
	asItWas := func() {
		t.Helper()
		if st, err := w.e.State(w.ctx, "cut"); err != nil || st.Phase != sandbox.Running {
			t.Fatalf("%+v %v", st, err)
		}
		w.goesOn("cut")
		if left, err := filepath.Glob(w.checkpointFile("cut") + "*"); err != nil || len(left) != 0 {
			t.Errorf("%v %v", left, err)
		}
	}
	// It can't be written.
	if err := os.Mkdir(w.checkpointFile("cut")+".new", 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := w.e.Checkpoint(w.ctx, "cut", checkpointKey); err == nil {
		t.Fatal("it was written")
	}
	if err := os.Remove(w.checkpointFile("cut") + ".new"); err != nil {
		t.Fatal(err)
	}
	asItWas()
	if _, err := w.e.Checkpoint(w.ctx, "cut", []byte("short")); fault.CodeOf(err) != fault.BadRequest {
		t.Fatal(err)
	}
	asItWas()
	// Whoever asked for it has gone.
	for tries := 0; ; tries++ {
		_ = w.abandoned("cut") // the file tells
		until(t, "what was begun is gone", func() bool {
			_, err := os.Stat(w.checkpointFile("cut") + ".new")
			return os.IsNotExist(err)
		})
		if _, err := os.Stat(w.checkpointFile("cut")); os.IsNotExist(err) {
			break
		}
		if tries == 10 {
			t.Fatal("it was always written before anybody could go")
		}
		w.ended("cut")
		w.goOn("cut", s)
	}
	asItWas()
	w.suspend("cut")
	w.goOn("cut", s)
	w.goesOn("cut")
	inOrder(t, w.log("cut"))
}

// abandoned asks for a checkpoint, and goes as soon as something of it is written.
func (w *world) abandoned(id string) error {
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	written := make(chan error, 1)
	go func() {
		_, err := w.e.Checkpoint(ctx, id, checkpointKey)
		written <- err
	}()
	for {
		select {
		case err := <-written:
			return err
		case <-time.After(time.Millisecond):
		}
		if info, err := os.Stat(w.checkpointFile(id) + ".new"); err == nil && info.Size() > 0 {
			cancel()
			return <-written
		}
	}
}

func TestASuspendedInstanceIsGivenUp(t *testing.T) {
	w := newWorld(t)
	s := sh("[ -e /home/x ] && echo again; touch /home/x; echo first; sleep 600")
	w.start("anew", s)
	until(t, "it is up", func() bool { return w.log("anew") == "first\n" })
	w.suspend("anew")
	if err := os.WriteFile(w.checkpointFile("anew")+".new", []byte("of a keeper that was killed"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.start("anew", s)
	until(t, "it begins anew", func() bool { return w.log("anew") == "first\nfirst\n" })
	if left, err := filepath.Glob(w.checkpointFile("anew") + "*"); err != nil || len(left) != 0 {
		t.Errorf("%v %v", left, err)
	}
	w.suspend("anew")
	if st, err := w.e.Stop(w.ctx, "anew", 0); err != nil || st.Phase != sandbox.Ended || st.Reason != sandbox.Stopped {
		t.Errorf("%+v %v", st, err)
	}
	s.Rootfs = w.rootfs
	if err := w.e.Restore(w.ctx, "anew", s, checkpointKey); fault.CodeOf(err) != fault.BadCheckpoint {
		t.Error(err)
	}
	if _, err := w.e.Checkpoint(w.ctx, "anew", checkpointKey); fault.CodeOf(err) != fault.NotFound {
		t.Error(err)
	}
	if _, err := w.e.Checkpoint(w.ctx, "nothing", checkpointKey); fault.CodeOf(err) != fault.NotFound {
		t.Error(err)
	}
}

// The machine may go down when all is written and nobody has noted the end.
func TestWhatIsWholeCountsWhateverHappenedThen(t *testing.T) {
	w := newWorld(t)
	s := count("true")
	w.start("down", s)
	w.goesOn("down")
	w.suspend("down")
	whole, err := os.ReadFile(w.checkpointFile("down"))
	if err != nil {
		t.Fatal(err)
	}
	w.goOn("down", s)
	st, err := w.e.State(w.ctx, "down")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(st.Keeper, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "it is lost", func() bool {
		st, err := w.e.State(w.ctx, "down")
		return err == nil && st.Phase == sandbox.Ended && st.Reason == sandbox.Lost
	})
	if err := os.WriteFile(w.checkpointFile("down"), whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if st, err := w.e.State(w.ctx, "down"); err != nil || st.Reason != sandbox.Checkpointed {
		t.Fatalf("%+v %v", st, err)
	}
	w.goOn("down", s)
	w.goesOn("down")
}
