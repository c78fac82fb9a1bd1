package program_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hearth/core/fault"
	"hearth/internal/program"
)

func TestAProgramThatIsMissingIsNamed(t *testing.T) {
	dir := t.TempDir()
	if _, err := program.Find(filepath.Join(dir, "hearth"), "hearth-nowhere"); fault.CodeOf(err) != fault.ProgramMissing || !strings.Contains(err.Error(), "hearth-nowhere") {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "hearth-nowhere"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := program.Find(filepath.Join(dir, "hearth"), "hearth-nowhere"); err != nil || got != filepath.Join(dir, "hearth-nowhere") {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := program.Beside("hearth-nowhere"); fault.CodeOf(err) != fault.ProgramMissing {
		t.Error(err)
	}
}
