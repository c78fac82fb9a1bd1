// Package program finds the programs of hearth's that one of them runs.
package program

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"hearth/core/fault"
)

// Find finds one beside the program self, then on the PATH.
func Find(self, name string) (string, error) {
	beside := filepath.Join(filepath.Dir(self), name)
	if _, err := os.Stat(beside); err == nil {
		return beside, nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fault.New(fault.ProgramMissing, "find %s: it is neither beside %s nor on the PATH", name, self)
	}
	return path, nil
}

// Beside finds one beside the program that runs, then on the PATH.
func Beside(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	return Find(self, name)
}
