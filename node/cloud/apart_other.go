//go:build !linux

package cloud

import "syscall"

// apart gives a program a process group of its own, so that Ctrl-C reaches only
// us and we end the others in order.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
