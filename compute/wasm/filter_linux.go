//go:build linux && (amd64 || arm64)

package wasm

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// allowed are the system calls that Go's runtime and the worker's loop need with
// what is open already. The C library's threads need the last three, in tests.
var allowed = []uint32{
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_CLOSE, unix.SYS_FUTEX, unix.SYS_MUNMAP, unix.SYS_MADVISE,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK, unix.SYS_RESTART_SYSCALL,
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2,
	unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_GETTIMEOFDAY,
	unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_GETRANDOM,
	unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
	unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_MINCORE,
}

// Where a filter finds what it looks at (struct seccomp_data).
const (
	dataNumber = 0
	dataArch   = 4
	dataArgs   = 16
)

// seal forbids the process every system call but these, and for good: to open a
// file or a socket, to start a program or make memory executable, to signal others.
// What is forbidden fails with EPERM. It says what the system doesn't offer.
func seal() (weak []string) {
	code := filter(uint32(os.Getpid()))
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Who sets a filter needs this on its own thread, and with C it is only on the one that confined.
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return []string{"seccomp (" + err.Error() + ")"}
	}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	switch {
	case errno != 0:
		return []string{"seccomp (" + errno.Error() + ")"}
	case thread != 0:
		return []string{fmt.Sprintf("seccomp (thread %d has another filter)", thread)}
	}
	return nil
}

// filter is the program that the kernel runs at each system call.
func filter(pid uint32) []unix.SockFilter {
	const (
		load   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		anyBit = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		least  = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		answer = unix.BPF_RET | unix.BPF_K
		yes    = unix.SECCOMP_RET_ALLOW
		no     = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	)
	arch := uint32(unix.AUDIT_ARCH_X86_64)
	if runtime.GOARCH == "arm64" {
		arch = unix.AUDIT_ARCH_AARCH64
	}
	f := []unix.SockFilter{
		{Code: load, K: dataArch},
		{Code: equal, K: arch, Jt: 1},
		{Code: answer, K: unix.SECCOMP_RET_KILL_PROCESS},
		{Code: load, K: dataNumber},
		{Code: least, K: 0x4000_0000, Jf: 1}, // amd64's second set of numbers
		{Code: answer, K: unix.SECCOMP_RET_KILL_PROCESS},
	}
	for _, nr := range allowed {
		f = append(f, unix.SockFilter{Code: equal, K: nr, Jf: 1}, unix.SockFilter{Code: answer, K: yes})
	}
	// looks allows a call if a test of one of its arguments says so.
	looks := func(nr, arg uint32, test uint16, k, hit, miss uint32) {
		f = append(f, unix.SockFilter{Code: equal, K: nr, Jf: 4}, unix.SockFilter{Code: load, K: dataArgs + 8*arg},
			unix.SockFilter{Code: test, K: k, Jf: 1}, unix.SockFilter{Code: answer, K: hit}, unix.SockFilter{Code: answer, K: miss})
	}
	looks(unix.SYS_MMAP, 2, anyBit, unix.PROT_EXEC, no, yes)
	looks(unix.SYS_MPROTECT, 2, anyBit, unix.PROT_EXEC, no, yes)
	looks(unix.SYS_CLONE, 0, anyBit, unix.CLONE_THREAD, yes, no)
	looks(unix.SYS_TGKILL, 0, equal, pid, yes, no)
	f = append(f, unix.SockFilter{Code: equal, K: unix.SYS_CLONE3, Jf: 1}, unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)})
	return append(f, unix.SockFilter{Code: answer, K: no})
}
