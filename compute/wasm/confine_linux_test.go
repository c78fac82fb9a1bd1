package wasm_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hearth/compute/wasm"
)

// escape confines this process as a worker, and tries what no worker may.
func escape() {
	weak, err := wasm.Confine()
	if err != nil {
		fmt.Println(err)
		return
	}
	weak = append(weak, wasm.Seal()...)
	fmt.Println("weak:", strings.Join(weak, ", "))
	_, err = os.Open("/proc/self/status")
	fmt.Println("open:", err != nil)
	_, err = os.Create("file")
	fmt.Println("create:", err != nil)
	_, err = net.Dial("tcp", "127.0.0.1:1")
	fmt.Println("dial:", strings.Contains(fmt.Sprint(err), "not permitted"))
	_, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	fmt.Println("socket:", errors.Is(err, unix.EPERM))
	fmt.Println("exec:", syscall.Exec("/proc/self/exe", []string{"x"}, nil) != nil)
	_, err = syscall.ForkExec("/proc/self/exe", []string{"x"}, nil)
	fmt.Println("fork:", err != nil)
	fmt.Println("signal:", syscall.Kill(os.Getppid(), 0) != nil)
	_, err = unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_ANON|unix.MAP_PRIVATE)
	fmt.Println("code:", errors.Is(err, unix.EPERM))
	fmt.Println("trace:", unix.PtraceAttach(os.Getppid()) != nil)
	done := make(chan bool)
	for range 20 { // threads still come
		go func() {
			b := make([]byte, 1<<20)
			b[0] = 1
			unix.Nanosleep(&unix.Timespec{Nsec: 1e6}, nil)
			done <- true
		}()
	}
	for range 20 {
		<-done
	}
	fmt.Println("works: true")
}

func TestAWorkerCannotOpenAFileOrASocket(t *testing.T) {
	cmd := exec.Command(os.Args[0], "escape")
	cmd.Dir, cmd.Env, cmd.SysProcAttr = t.TempDir(), []string{}, &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 {
		if err := os.Chown(cmd.Dir, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 11 {
		t.Errorf("%s", out)
	}
	for _, line := range lines {
		if line != "weak: " && !strings.HasSuffix(line, ": true") {
			t.Error(line)
		}
	}
}

func TestAWorkerIsNobodyAndHoldsLittle(t *testing.T) {
	e := open(t, config(t))
	module := add(t, e, tiny.bytes())
	call(t, e, module, wasm.Call{})
	pid := e.Pids()[module]
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	wants := []string{"NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000"}
	if os.Geteuid() == 0 {
		wants = append(wants, "Uid:\t65534\t65534\t65534\t65534", "Gid:\t65534\t65534\t65534\t65534")
	}
	for _, want := range wants {
		if !strings.Contains(string(status), want) {
			t.Errorf("%s isn't there:\n%s", want, status)
		}
	}
	group, err := syscall.Getpgid(pid)
	if err != nil || group != pid {
		t.Errorf("group %d of %d, %v", group, pid, err)
	}
}

// What asked to end with its parent is ended with the thread that started it: any thread,
// of a program that has closed an engine and goes on, may have started something before.
func TestAClosedEngineEndsNoThread(t *testing.T) {
	e, err := wasm.Open(config(t))
	if err != nil {
		t.Fatal(err)
	}
	var thread int
	e.Start(func() { thread = unix.Gettid() })
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", thread)); err != nil {
			t.Fatal(err)
		}
	}
}
