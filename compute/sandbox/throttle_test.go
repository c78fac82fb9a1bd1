//go:build linux

package sandbox_test

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hearth/compute/sandbox"
	"hearth/compute/throttle"
)

// What instances may use each is one thing, what they may use together another: it
// holds at once, for those that run already.
func TestTwoBusyInstancesHaveWhatTheirHostAllowsThemTogether(t *testing.T) {
	w := newWorld(t)
	if w.e.Caps().Cgroup == "" {
		return // nobody can hold them back here, and throttle says so
	}
	name := "hearth-test-" + strings.ToLower(rand.Text()[:8])
	g := throttle.Open(throttle.Mount, name)
	if g == nil {
		t.Fatal("containers have control groups, their host has none")
	}
	gone := func() bool {
		found, err := filepath.Glob(filepath.Join(throttle.Mount, "*", name))
		_, two := os.Stat(filepath.Join(throttle.Mount, name))
		return err == nil && len(found) == 0 && errors.Is(two, fs.ErrNotExist)
	}
	t.Cleanup(func() {
		g.Close()
		until(t, "the host's group is gone", gone)
	})
	var err error
	if w.e, err = sandbox.Open(w.ctx, sandbox.Config{Program: program(t), Folder: w.folder, Group: name}); err != nil {
		t.Fatal(err)
	}
	ids := []string{"one", "two"}
	for _, id := range ids {
		s := sh("while :; do :; done")
		s.CPU = 1000
		w.start(id, s)
	}
	used := func() (sum time.Duration) {
		for _, id := range ids {
			u, err := w.e.Stats(w.ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			sum += u.CPU
		}
		return sum
	}
	own := func(string) (uint64, bool) { return 1000, true }
	for _, cpu := range []uint64{1000, 300, 1000} {
		if err := g.Set(cpu, false, own); err != nil {
			t.Fatal(err)
		}
		begin, first := time.Now(), used()
		var got time.Duration
		until(t, "they have computed for a while", func() bool {
			got = used() - first
			return got > time.Duration(cpu)*2*time.Millisecond
		})
		share := float64(got) / float64(time.Since(begin))
		t.Logf("%d thousandths allowed, %.3f of a core used", cpu, share)
		if most := 1.25*float64(cpu)/1000 + 0.05; share > most {
			t.Errorf("%d thousandths are allowed, together they used %.3f of a core", cpu, share)
		}
	}
}
