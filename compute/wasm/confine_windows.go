package wasm

import (
	"os"
	"syscall"
)

func apart() *syscall.SysProcAttr { return nil }

func kill(p *os.Process) {
	_ = p.Kill() // it may have ended
}
