//go:build linux

package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hearth/compute/sandbox"
	"hearth/test/programs"
)

// The suite runs once as whoever runs it. When that is root it runs a second
// time as nobody, in a process of its own: asNobody is set there.
const (
	asNobody = "HEARTH_TEST_AS_NOBODY"
	asNode   = "HEARTH_TEST_AS_NODE" // a process with an engine, to be killed
	nobody   = 65534
)

func TestMain(m *testing.M) {
	if os.Getenv(asNode) != "" {
		os.Exit(node())
	}
	os.Exit(m.Run())
}

// TestAsAnOrdinaryUser runs all of it without root.
func TestAsAnOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("it runs so already")
		return
	}
	dir, err := os.MkdirTemp("", "hearth-nobody-") // t.TempDir is below a folder of root's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, f := range []struct{ from, to string }{{os.Args[0], "suite"}, {program(t), "hearth-sandbox"}} {
		copyFile(t, f.from, filepath.Join(dir, f.to), 0o755)
	}
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(filepath.Join(dir, "tmp"), 0o700), os.Chown(filepath.Join(dir, "tmp"), nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	args := []string{"-test.count=1", "-test.timeout=10m"}
	if testing.Verbose() {
		args = append(args, "-test.v")
	}
	cmd := exec.Command(filepath.Join(dir, "suite"), args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), asNobody+"=1", "HEARTH_PROGRAMS="+dir, "TMPDIR="+filepath.Join(dir, "tmp"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if testing.Verbose() {
		t.Logf("%s", out)
	}
}

var once struct {
	sync.Once
	path string
	err  error
}

// program is hearth-sandbox.
func program(t testing.TB) string {
	t.Helper()
	once.Do(func() { once.path, once.err = programs.One("hearth-sandbox") })
	if once.err != nil {
		t.Fatal(once.err)
	}
	return once.path
}

// A world is an engine with a rootfs.
type world struct {
	t      testing.TB
	ctx    context.Context
	folder string
	rootfs string
	e      *sandbox.Engine
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, ctx: t.Context(), folder: filepath.Join(t.TempDir(), "instances"), rootfs: rootfs(t)}
	w.e = w.open()
	return w
}

func (w *world) open() *sandbox.Engine {
	w.t.Helper()
	e, err := sandbox.Open(w.ctx, sandbox.Config{Program: program(w.t), Folder: w.folder})
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// start starts an instance that is removed at the end.
func (w *world) start(id string, s sandbox.Spec) {
	w.t.Helper()
	if s.Rootfs == "" {
		s.Rootfs = w.rootfs
	}
	w.t.Cleanup(func() { w.remove(id) })
	if err := w.e.Start(w.ctx, id, s); err != nil {
		text, _ := os.ReadFile(filepath.Join(w.folder, id, "keeper.log"))
		w.t.Fatalf("%v\n%s", err, text)
	}
}

func (w *world) remove(id string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := w.e.Remove(ctx, id); err != nil {
		w.t.Errorf("remove %s: %v", id, err)
	}
}

// sh is a spec that runs a script.
func sh(script string) sandbox.Spec {
	return sandbox.Spec{Args: []string{"/bin/sh", "-c", script}, Memory: 64 << 20, Disk: 32 << 20}
}

// ended waits for an instance's end.
func (w *world) ended(id string) sandbox.State {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
	defer cancel()
	s, err := w.e.Wait(ctx, id)
	if err != nil {
		w.t.Fatal(err)
	}
	if s.Phase != sandbox.Ended {
		w.t.Fatalf("waited for the end of %s: %+v", id, s)
	}
	return s
}

// log is all that an instance has written.
func (w *world) log(id string) string {
	w.t.Helper()
	r, err := w.e.Logs(w.ctx, id, sandbox.LogOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

// run runs a script in an instance of its own and returns what it wrote and how it ended.
func (w *world) run(id string, s sandbox.Spec) (string, sandbox.State) {
	w.t.Helper()
	w.start(id, s)
	state := w.ended(id)
	return w.log(id), state
}

// exec runs a command in a running instance.
func (w *world) exec(id string, args ...string) (string, int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
	defer cancel()
	var out bytes.Buffer
	exit, err := w.e.Exec(ctx, id, sandbox.Exec{Args: args}, sandbox.Streams{Out: &out, Err: &out})
	if err != nil {
		w.t.Fatalf("%v: %v: %s", args, err, out.Bytes())
	}
	return out.String(), exit
}

func (w *world) keeperLog(id string) []byte {
	text, _ := os.ReadFile(filepath.Join(w.folder, id, "keeper.log"))
	return text
}

// until waits for a condition.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// rootfs is a folder with busybox and nothing else.
func rootfs(t testing.TB) string {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatalf("the tests need busybox-static (test/setup.sh): %v", err)
	}
	root := filepath.Join(t.TempDir(), "rootfs")
	for _, dir := range []string{"bin", "etc", "proc", "dev", "sys", "tmp", "run", "home"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	copyFile(t, busybox, filepath.Join(root, "bin/busybox"), 0o755)
	for name := range strings.FieldsSeq("sh cat echo ls id env sleep true false head tail dd stat mkdir rm tr yes kill ps nc httpd wget nslookup hostname pwd mount grep wc stty seq touch test date od") {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func copyFile(t testing.TB, from, to string, mode os.FileMode) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, mode)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// node is a process with an engine that starts what it is told to and then
// waits to be killed.
func node() int {
	e, err := sandbox.Open(context.Background(), sandbox.Config{Program: os.Getenv("HEARTH_TEST_PROGRAM"), Folder: os.Getenv("HEARTH_TEST_FOLDER")})
	if err == nil {
		s := sh(os.Getenv("HEARTH_TEST_SCRIPT"))
		s.Rootfs = os.Getenv("HEARTH_TEST_ROOTFS")
		err = e.Start(context.Background(), os.Getenv(asNode), s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Fprintln(os.Stdout, "started")
	select {}
}
