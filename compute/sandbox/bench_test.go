//go:build linux

package sandbox_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hearth/compute/sandbox"
)

// BenchmarkColdStart is from Start to the first byte the program has written.
func BenchmarkColdStart(b *testing.B) {
	w := newWorld(b)
	var took []time.Duration
	for b.Loop() {
		took = append(took, w.cold(b))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "ms-median")
	b.ReportMetric(float64(took[0].Milliseconds()), "ms-min")
}

// cold starts an instance and says how long that took.
func (w *world) cold(b *testing.B) time.Duration {
	const id = "cold"
	defer w.remove(id)
	begin := time.Now()
	s := sh("echo x; sleep 600")
	s.Rootfs = w.rootfs
	if err := w.e.Start(w.ctx, id, s); err != nil {
		b.Fatal(err)
	}
	for one := make([]byte, 1); ; time.Sleep(100 * time.Microsecond) {
		r, err := w.e.Logs(w.ctx, id, sandbox.LogOptions{}) // what is there at this moment
		if err != nil {
			b.Fatal(err)
		}
		n, err := r.Read(one)
		r.Close()
		if n > 0 {
			return time.Since(begin)
		} else if !errors.Is(err, io.EOF) {
			b.Fatal(err)
		}
	}
}

func BenchmarkExec(b *testing.B) {
	w := newWorld(b)
	w.start("exec", sh("sleep 600"))
	var took []time.Duration
	for b.Loop() {
		begin := time.Now()
		if exit, err := w.e.Exec(w.ctx, "exec", sandbox.Exec{Args: []string{"/bin/true"}}, sandbox.Streams{}); exit != 0 || err != nil {
			b.Fatal(exit, err)
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-median")
}

// BenchmarkIdleMemory is the share of memory (PSS) of each of eight idle
// instances, keepers included.
func BenchmarkIdleMemory(b *testing.B) {
	w := newWorld(b)
	const n = 8
	var each [4]float64 // keeper, sandbox, gofer, and what the sandbox runs in
	for b.Loop() {
		each = w.idle(b, n)
	}
	b.ReportMetric(each[0]+each[1]+each[2]+each[3], "MB-each")
	for i, name := range []string{"keeper", "sandbox", "gofer", "stubs"} {
		b.ReportMetric(each[i], "MB-"+name)
	}
}

// idle starts n instances, and says what each of their parts takes, in MiB.
func (w *world) idle(b *testing.B, n int) (each [4]float64) {
	for i := range n {
		w.start(fmt.Sprintf("idle-%d", i), sh("sleep 600"))
	}
	for i := range n {
		s, err := w.e.State(w.ctx, fmt.Sprintf("idle-%d", i))
		if err != nil {
			b.Fatal(err)
		}
		for _, pid := range descendants(b, s.Keeper) {
			kind := 3
			line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			switch {
			case err != nil:
				continue // it was there a moment ago
			case pid == s.Keeper:
				kind = 0
			case strings.HasPrefix(string(line), "runsc-sandbox"):
				kind = 1
			case strings.HasPrefix(string(line), "runsc-gofer"):
				kind = 2
			}
			each[kind] += float64(pss(pid)) / float64(n) / (1 << 20)
		}
	}
	for i := range n {
		w.remove(fmt.Sprintf("idle-%d", i))
	}
	return each
}

func BenchmarkDownload(b *testing.B) {
	w := newWorld(b)
	w.start("bulk", sh("dd if=/dev/zero of=/dev/shm/big bs=1M count=32 2>/dev/null; httpd -f -p 80 -h /dev/shm"))
	b.SetBytes(32 << 20)
	for b.Loop() {
		w.download(b)
	}
}

func (w *world) download(b *testing.B) {
	var n int64
	until(b, "it serves", func() bool {
		n = fetch(b, w, "/big")
		return n > 0
	})
	if n < 32<<20 {
		b.Fatal(n)
	}
}

func descendants(b *testing.B, pid int) []int {
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		for _, c := range children(b, all[i]) {
			n, err := strconv.Atoi(c)
			if err != nil {
				b.Fatal(err)
			}
			all = append(all, n)
		}
	}
	return all
}

func pss(pid int) uint64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "\nPss:")
	f := strings.Fields(rest)
	if len(f) == 0 {
		return 0
	}
	kib, _ := strconv.ParseUint(f[0], 10, 64)
	return kib << 10
}

// BenchmarkSuspend is Checkpoint, and Restore after it, of an instance that holds so
// much memory.
func BenchmarkSuspend(b *testing.B) {
	for _, mib := range []int{1, 200, 800} {
		b.Run(strconv.Itoa(mib)+"MiB", func(b *testing.B) {
			w := newWorld(b)
			s := full(mib)
			s.Memory = uint64(mib+64) << 20
			w.start("full", s)
			until(b, "it is full", func() bool { return strings.Contains(w.log("full"), "full\n") })
			w.suspend("full") // and it is proven that it can be
			w.goOn("full", s)
			var held, on []time.Duration
			for b.Loop() {
				held, on = append(held, w.suspend("full")), append(on, w.goOn("full", s))
			}
			slices.Sort(held)
			slices.Sort(on)
			b.ReportMetric(float64(held[len(held)/2].Milliseconds()), "ms-suspend")
			b.ReportMetric(float64(on[len(on)/2].Milliseconds()), "ms-start")
		})
	}
}
