package weather

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hearth/api"
	"hearth/node/cloud"
	"hearth/sdk"
)

func TestCtrlCEndsALocalNetworkAndItIsThereAgainTheNextTime(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(folder(t), "dev")
	b := content(60, 12*mib)
	w, stop := dev(t, dir, "--hosts", "4", "--code", "2/4")
	w.put(t, "kept", b)
	if n := len(of(t, dir)); n < 7 { // itself, the ledger, four hosts and a client
		t.Errorf("%d processes run", n)
	}
	stop()
	w, stop = dev(t, dir)
	w.mustRead(t, "kept", b)
	w.put(t, "more", b)
	stop()
}

// dev runs `hearth dev`. stop is Ctrl-C, and checks that nothing outlives it.
func dev(t *testing.T, dir string, args ...string) (w *world, stop func()) {
	t.Helper()
	cmd := exec.Command(program("hearth"), append([]string{"--dir", dir, "dev"}, args...)...)
	var errs strings.Builder
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		if t.Failed() {
			logs, _ := filepath.Glob(filepath.Join(dir, "*", "log")) // the pattern is well formed
			for _, path := range logs {
				if b, err := os.ReadFile(path); err == nil {
					t.Logf("%s:\n%s", path, b[max(0, len(b)-4<<10):])
				}
			}
		}
		for _, pid := range of(t, dir) {
			syscall.Kill(pid, syscall.SIGKILL) // only after a failure
		}
	})
	client, err := sdk.New(sdk.Config{Socket: api.Socket(filepath.Join(dir, "client"))})
	if err != nil {
		t.Fatal(err)
	}
	w = &world{Cloud: &cloud.Cloud{Dir: dir}, api: client}
	soon(t, patient, "start a local network", func() error {
		select {
		case err := <-ended:
			t.Fatalf("it ended: %v\n%s", err, errs.String())
		default:
		}
		if !strings.Contains(errs.String(), "Ctrl-C") {
			return errors.New("it is still starting")
		}
		_, err := client.Node(within(t, 20*time.Second))
		return err
	})
	return w, func() {
		t.Helper()
		client.Close()
		began := time.Now()
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("it ended with %v\n%s", err, errs.String())
			}
		case <-time.After(patient):
			t.Fatal("it didn't end")
		}
		if took := time.Since(began); took > 45*time.Second { // under five, on a machine that isn't busy
			t.Errorf("it took %s to end", took)
		}
		if left := of(t, dir); len(left) > 0 {
			t.Errorf("processes %v are left", left)
		}
	}
}

// of lists the processes that work in a folder.
func of(t *testing.T, dir string) (pids []int) {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range lines {
		b, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(b), dir) {
			continue // it has ended meanwhile, or is another's
		}
		var pid int
		for _, c := range filepath.Base(filepath.Dir(path)) {
			pid = pid*10 + int(c-'0')
		}
		pids = append(pids, pid)
	}
	return pids
}
