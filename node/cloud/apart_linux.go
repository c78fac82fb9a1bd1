package cloud

import "syscall"

// apart gives a program a process group of its own, so that Ctrl-C reaches only
// us and we end the others in order; it ends with us even if we are killed.
func apart() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
