//go:build !linux

package wasm

import "runtime"

func own(string) error { return nil }

// confine can't take anything away on this system.
func confine(uint64) (weak []string, err error) {
	return []string{"memory limit", "rlimits", "no_new_privs: not on " + runtime.GOOS}, nil
}
