package fault_test

import (
	"strings"
	"testing"

	"hearth/core/fault"
)

func TestAReasonIsShortAndText(t *testing.T) {
	for in, want := range map[string]string{
		"":                              "",
		"it trapped":                    "it trapped",
		"half a letter \xc3":            "half a letter ?",
		"two\nlines, \x1b[31mred":       "two lines,  [31mred",
		strings.Repeat("a", 301):        strings.Repeat("a", 300),
		strings.Repeat("ä", 150):        strings.Repeat("ä", 150),
		"a" + strings.Repeat("ä", 150):  "a" + strings.Repeat("ä", 149),
		"ab" + strings.Repeat("😀", 100): "ab" + strings.Repeat("😀", 74),
	} {
		if got := fault.Brief(in); got != want {
			t.Errorf("%q becomes %q", in, got)
		}
	}
}

// What is this machine's own trouble may name its folders and what lies there.
func TestAPeerIsNotToldOfThisMachinesTrouble(t *testing.T) {
	for code, hidden := range map[fault.Code]bool{
		fault.Internal: true, fault.DiskFull: true, fault.DamagedFile: true, fault.SandboxFailed: true, fault.Exists: true, fault.Busy: false, fault.NoLease: false,
	} {
		got, reason, own := fault.Told(fault.New(code, "open /home/me/secret"))
		if got != code || own != hidden || strings.Contains(reason, "secret") == hidden || reason == "" {
			t.Errorf("%s: %s, %q, %v", code, got, reason, own)
		}
	}
}
