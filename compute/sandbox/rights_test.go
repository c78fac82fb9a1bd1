//go:build linux

package sandbox_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestAKeeperKeepsFewRightsAndItsSandboxNone(t *testing.T) {
	w := newWorld(t)
	w.start("rights", sh("sleep 600"))
	s, err := w.e.State(w.ctx, "rights")
	if err != nil {
		t.Fatal(err)
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", s.Keeper))
	if err != nil || len(threads) == 0 {
		t.Fatal(threads, err)
	}
	for _, path := range threads {
		caps, err := strconv.ParseUint(field(t, path, "CapPrm"), 16, 64)
		if nnp := field(t, path, "NoNewPrivs"); err != nil || caps&^0x108002b != 0 || nnp != "1" {
			t.Errorf("%s: CapPrm %x, NoNewPrivs %s", path, caps, nnp)
		}
	}
	sandboxes := 0
	for _, pid := range children(t, s.Keeper) {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%s/cmdline", pid))
		if err != nil || !strings.HasPrefix(string(line), "runsc-sandbox") {
			continue
		}
		sandboxes++
		status := fmt.Sprintf("/proc/%s/status", pid)
		if os.Geteuid() == 0 && !strings.HasPrefix(field(t, status, "Uid"), "65534") {
			t.Errorf("the sandbox is user %s", field(t, status, "Uid"))
		}
		if caps := field(t, status, "CapEff"); strings.Trim(caps, "0") != "" {
			t.Errorf("the sandbox has rights: %s", caps)
		}
		if mode := field(t, status, "Seccomp"); mode != "2" {
			t.Errorf("the sandbox's system calls aren't filtered: %s", mode)
		}
	}
	if sandboxes != 1 {
		t.Errorf("%d sandboxes", sandboxes)
	}
}

func children(t testing.TB, pid int) []string {
	t.Helper()
	var all []string
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range threads {
		text, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // the thread has ended
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.Fields(string(text))...)
	}
	return all
}

// field is a line of a file of /proc.
func field(t testing.TB, path, name string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n"+name+":")
	if !found {
		t.Fatalf("%s has no %s", path, name)
	}
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}
