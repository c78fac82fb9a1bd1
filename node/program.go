package node

import (
	"os"
	"os/exec"
	"path/filepath"

	"hearth/core/fault"
)

// Program finds another program of hearth's: beside this one, then on the PATH.
func Program(self, name string) (string, error) {
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
