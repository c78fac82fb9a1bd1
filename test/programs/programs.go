// Package programs gives tests the programs they run, those of cmd/.
// They are built once for all packages; it refuses to guess: what is named by
// HEARTH_PROGRAMS is taken as it is.
package programs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// cgo says which programs are linked with C, as in the Makefile.
var cgo = map[string]string{"hearth": "0", "hearth-node": "0", "hearth-ledger": "1", "hearth-sandbox": "0"}

// Dir is the folder of the programs: that of HEARTH_PROGRAMS, or bin/test of this
// module, where what is up to date isn't linked again.
func Dir() (string, error) {
	if dir := os.Getenv("HEARTH_PROGRAMS"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := folder()
	if err != nil {
		return "", err
	}
	for program := range cgo {
		if err := build(dir, program); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// One is the path of one program, found or built as Dir does.
func One(program string) (string, error) {
	if dir := os.Getenv("HEARTH_PROGRAMS"); dir != "" {
		return filepath.Abs(filepath.Join(dir, program))
	}
	dir, err := folder()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, program), build(dir, program)
}

func folder() (string, error) {
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	return filepath.Join(filepath.Dir(strings.TrimSpace(string(mod))), "bin", "test"), nil
}

func build(dir, program string) error {
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, program), "hearth/cmd/"+program)
	build.Env = append(os.Environ(), "CGO_ENABLED="+cgo[program])
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", program, err, out)
	}
	return nil
}
