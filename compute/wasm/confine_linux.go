package wasm

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// nobody is who a worker is where the engine is root.
const nobody = 65534

const (
	fixedMemory = 1 << 30 // for Go, the compiler and its code
	maxCode     = 1 << 30 // bytes of a file with machine code
	maxFiles    = 64
	niceness    = 10
)

// apart says how a worker's process begins: in a group of its own, and ended by
// the system if the engine's ends.
func apart() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// kill ends a process that wasn't waited for yet, and its group.
func kill(p *os.Process) {
	_ = syscall.Kill(-p.Pid, syscall.SIGKILL) // it may have ended
}

// own hands a folder to whoever a worker will be.
func own(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Chown(dir, nobody, nobody)
}

// confine has the process, which works in an empty folder or one with its own
// machine code, give away what no worker needs, before it reads a stranger's byte.
// Where it is root it becomes nobody and sees no folder but that one. It says what
// the system doesn't offer.
func confine(memory uint64) (weak []string, err error) {
	try := func(what string, err error) {
		if err != nil {
			weak = append(weak, what+" ("+err.Error()+")")
		}
	}
	has, err := dataSize()
	if err != nil {
		weak = append(weak, "memory limit ("+err.Error()+")")
	} else {
		try("memory limit", limit(unix.RLIMIT_DATA, has+memory+fixedMemory))
	}
	try("oom_score_adj", os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0))
	try("no core", limit(unix.RLIMIT_CORE, 0))
	try("file size", limit(unix.RLIMIT_FSIZE, maxCode))
	try("file count", limit(unix.RLIMIT_NOFILE, maxFiles))
	if as, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err != nil || 20-as < niceness { // it is said as 20 less
		try("nice", unix.Setpriority(unix.PRIO_PGRP, 0, niceness))
	}
	if os.Geteuid() == 0 {
		if err := errors.Join(unix.Chroot("."), unix.Chdir("/")); err != nil {
			try("chroot", err)
		}
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setresgid(nobody, nobody, nobody), syscall.Setresuid(nobody, nobody, nobody)); err != nil {
			return nil, fmt.Errorf("become nobody: %w", err)
		}
		try("parent's death", unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0)) // becoming nobody forgot it
	}
	try("not dumpable", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
	if _, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		try("no_new_privs", unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) // with C the filter spreads it
	}
	return weak, nil
}

func limit(resource int, n uint64) error {
	return unix.Setrlimit(resource, &unix.Rlimit{Cur: n, Max: n})
}

// dataSize is how much of the process counts towards its memory limit already.
func dataSize() (uint64, error) {
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(raw))
	if len(fields) < 6 {
		return 0, fmt.Errorf("statm: %q", raw)
	}
	pages, err := strconv.ParseUint(fields[5], 10, 64)
	return pages * uint64(os.Getpagesize()), err
}
