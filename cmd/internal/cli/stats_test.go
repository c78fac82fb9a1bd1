package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hearth/api"
	"hearth/core/fault"
	"hearth/internal/terminal"
)

// shown is a table as a terminal gets it.
func shown(t *testing.T, rows *terminal.Rows) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	to, err := terminal.New(terminal.Config{In: os.Stdin, Out: f, Err: f})
	if err != nil {
		t.Fatal(err)
	}
	if err := to.Show(nil, rows); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestStatsTellWhatIsUsedOfWhatIsReserved(t *testing.T) {
	c := inside(t)
	s, err := c.Stats(t.Context(), 100*time.Millisecond, "web")
	if err != nil || len(s.Stats) != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	if got := s.Stats[0]; got.CPUPercent == nil || *got.CPUPercent < 49 || *got.CPUPercent > 51 || got.MemoryPercent != 25 || got.Over < int64(100*time.Millisecond) {
		t.Errorf("%+v", got)
	}
	lines := strings.Split(shown(t, statsRows(s)), "\n")
	if want := "web   running  50.0   0.5       16.0 MiB of 64.0 MiB  25.0      3          1.0 MiB  2.0 MiB"; lines[1] != want {
		t.Errorf("%q\nwant %q", lines[1], want)
	}
	if _, err := c.Stats(t.Context(), 100*time.Millisecond, "db"); fault.CodeOf(err) != fault.NoInstance {
		t.Errorf("of one that isn't there: %v", err)
	}
	if err := c.StopInstance(t.Context(), "web", 0); err != nil {
		t.Fatal(err)
	}
	if s, err = c.Stats(t.Context(), 100*time.Millisecond); err != nil || len(s.Stats) != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	if got := shown(t, statsRows(s)); !strings.Contains(got, "web   exited  -      0.5       -       -") {
		t.Error(got)
	}
	rate := 1536.0
	if got := netText(1<<20, &rate); got != "1.0 MiB, 1.5 KiB/s" {
		t.Error(got)
	}
	if got := statsRows(api.Stats{Stats: []api.Stat{{Name: "x", State: "running"}}}); !strings.Contains(shown(t, got), "x     running  -") {
		t.Error("what isn't known yet is shown")
	}
}
