package measure

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hearth/core/fault"
)

func config(t *testing.T) Config {
	return Config{Dir: t.TempDir(), Program: []string{os.Args[0], "worker"}, Memory: 8 << 30, Time: 500 * time.Millisecond}
}

func TestEveryFigureIsMeasuredAndNothingIsLeft(t *testing.T) {
	c := config(t)
	c.Dir = filepath.Join(c.Dir, "not", "made")
	began := time.Now()
	f, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v in %v", f, time.Since(began))
	for name, n := range map[string]uint64{
		"core": f.Core, "all": f.All, "cores": f.Cores, "memory": f.Memory, "copy": f.Copy,
		"disk write": f.DiskWrite, "disk read": f.DiskRead, "disk free": f.DiskFree,
	} {
		if n == 0 {
			t.Errorf("%s wasn't measured", name)
		}
	}
	if f.All < f.Core || f.Memory > 8<<30 || f.Measured < began.Unix() {
		t.Errorf("%+v", f)
	}
	if left, err := os.ReadDir(filepath.Dir(filepath.Dir(c.Dir))); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestWhatACrashLeftGoesWithTheNextMeasurement(t *testing.T) {
	c := config(t)
	old, others := filepath.Join(c.Dir, rest+"1"), filepath.Join(c.Dir, rest+"2")
	for _, dir := range []string{old, others} {
		if err := os.MkdirAll(filepath.Join(dir, "engine"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	then := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(old, then, then); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), c); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(c.Dir); err != nil || len(left) != 1 || left[0].Name() != filepath.Base(others) {
		t.Errorf("left: %v, %v; who measures at the same time keeps its folder", left, err)
	}
}

func TestAStoppedMeasurementEndsAtOnce(t *testing.T) {
	c := config(t)
	c.Time = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Run(ctx, c); fault.CodeOf(err) != fault.Interrupted && fault.CodeOf(err) != fault.Deadline {
		t.Errorf("%v", err)
	}
	for _, part := range []func() error{
		func() error { _, err := memory(ctx, time.Hour); return err },
		func() error { _, _, err := disk(ctx, c.Dir, time.Hour); return err },
		func() error {
			_, _, err := cores(ctx, c.Program, filepath.Join(c.Dir, "engine"), 2, time.Hour)
			return err
		},
	} {
		if code := fault.CodeOf(part()); code != fault.Interrupted && code != fault.Deadline {
			t.Errorf("a part ends with %q", code)
		}
	}
}

func TestWhereNothingCanBeMeasured(t *testing.T) {
	c := config(t)
	file := filepath.Join(c.Dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.Dir = file
	if _, err := Run(t.Context(), c); fault.CodeOf(err) != fault.BadRequest {
		t.Errorf("a file: %v", err)
	}
	c = config(t)
	c.Program = []string{"/nonexistent/worker"}
	if _, err := Run(t.Context(), c); fault.CodeOf(err) != fault.ProgramMissing {
		t.Errorf("no program: %v", err)
	}
}

func TestTheMedianIsTheOneInTheMiddle(t *testing.T) {
	for want, rates := range map[uint64][]float64{0: nil, 3: {3}, 5: {1, 100, 5}} {
		if got := median(rates); got != want {
			t.Errorf("%v: %d", rates, got)
		}
	}
}
