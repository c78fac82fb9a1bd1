//go:build linux && (amd64 || arm64)

package keeper

import (
	"log/slog"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kept are the rights a keeper needs once its instance runs: to signal a
// sandbox that is another user's, to see its memory, and to hand files over.
var kept = []uint{unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_KILL, unix.CAP_SYS_PTRACE, unix.CAP_SYS_RESOURCE}

// drop gives up all other rights, in every thread and for good.
func drop(log *slog.Logger) {
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &data[0]); err != nil {
		log.Warn("a keeper keeps more rights than it needs", "err", err)
		return
	}
	var keep [2]uint32
	for _, c := range kept {
		keep[c/32] |= 1 << (c % 32)
	}
	for i := range data {
		data[i].Permitted &= keep[i]
		data[i].Effective, data[i].Inheritable = data[i].Permitted, 0
	}
	// Every thread gets the same arguments, and the kernel writes to none of them.
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); errno != 0 {
		log.Warn("a keeper keeps more rights than it needs", "err", errno)
	}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	if errno != 0 {
		log.Warn("a keeper keeps more rights than it needs", "err", errno)
	}
}
