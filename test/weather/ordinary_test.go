package weather

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"hearth/core/erasure"
	"hearth/node/cloud"
)

const (
	// nobody is whom laws run as a second time. SSH wants somebody whom the machine knows.
	nobody = 65534
	// asNobody is set where they do.
	asNobody = "HEARTH_TEST_AS_NOBODY"
)

// Instances and functions run also where nobody is root: neither the ledger, nor a
// host, nor a client.
func TestAsAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("all of this suite runs so")
		return
	}
	again(t, "TestAnInstanceRunsOnAStrangersMachine", nil)
}

// Functions run also for a user whom the kernel lets make no namespaces. Such a host
// rents out no machines, and says why.
func TestFunctionsRunWhereNoContainerCan(t *testing.T) {
	t.Parallel()
	if os.Getenv(asNobody) == "" {
		if os.Geteuid() != 0 {
			t.Log("only root can take that from somebody")
			return
		}
		// What is allowed in a namespace of users holds for it alone.
		again(t, t.Name(), &syscall.SysProcAttr{
			Cloneflags:                 syscall.CLONE_NEWUSER,
			UidMappings:                []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}, {ContainerID: nobody, HostID: nobody, Size: 1}},
			GidMappings:                []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}, {ContainerID: nobody, HostID: nobody, Size: 1}},
			GidMappingsEnableSetgroups: true,
		}, "sh", "-ec", `echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"`, "sh")
		return
	}
	w, err := begin(cloud.Config{Hosts: 2, Class: erasure.Class{K: 1, N: 2}, Machines: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.stop)
	t.Cleanup(func() { w.logs(t) })
	h, err := w.host(0)
	if err != nil || h.Machines == nil || !strings.Contains(h.Machines.Why, "namespaces") {
		t.Errorf("%+v, %v", h.Machines, err)
	}
	w.counts(t)
}

// again runs a law of this suite once more as nobody, in a folder that holds all it
// needs: by how, and through what is named, or at once.
func again(t *testing.T, law string, how *syscall.SysProcAttr, through ...string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "nobody-") // t.TempDir is below a folder of root's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Cleanup(func() {
		for _, pid := range of(t, dir) {
			syscall.Kill(pid, syscall.SIGKILL) // only after a failure
		}
	})
	suite, own, words := filepath.Join(dir, "suite"), filepath.Join(dir, "own"), filepath.Join("testdata", "words", "words.wasm")
	if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(words)), 0o755); err != nil {
		t.Fatal(err)
	}
	copied(t, os.Args[0], suite)
	copied(t, words, filepath.Join(dir, words))
	for _, name := range []string{"hearth", "hearth-node", "hearth-ledger", "hearth-sandbox"} {
		copied(t, program(name), filepath.Join(dir, name))
	}
	if out, err := exec.Command("chmod", "-R", "a+rX", dir).CombinedOutput(); err != nil { // whatever the umask
		t.Fatalf("%v: %s", err, out)
	}
	if err := errors.Join(os.Mkdir(own, 0o700), os.Chown(own, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	if how == nil {
		how = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	line := append(through, suite, "-test.run=^"+law+"$", "-test.v", "-test.count=1")
	c := exec.CommandContext(within(t, 3*patient), line[0], line[1:]...)
	c.Dir, c.SysProcAttr = dir, how
	c.Env = append(os.Environ(), asNobody+"=1", "HEARTH_PROGRAMS="+dir, "TMPDIR="+own, "HOME="+own)
	if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+law) {
		t.Fatalf("%v\n%s", err, out)
	}
}

// copied makes a file that can be run.
func copied(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
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
