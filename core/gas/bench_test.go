package gas_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"hearth/core/gas"
)

// goProgram is testdata/work, compiled for WASI.
func goProgram(t testing.TB) []byte {
	out := filepath.Join(t.TempDir(), "work.wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-o", out, "./testdata/work")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	code, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

type engine struct {
	rt wazero.Runtime
	c  wazero.CompiledModule
}

func newEngine(t testing.TB, config wazero.RuntimeConfig, code []byte) engine {
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, config)
	t.Cleanup(func() { rt.Close(ctx) })
	wasi_snapshot_preview1.MustInstantiate(ctx, rt)
	c, err := rt.CompileModule(ctx, code)
	if err != nil {
		t.Fatal(err)
	}
	return engine{rt, c}
}

// run runs a command with so much gas, if it counts any, and gives what it wrote and what is left.
func (e engine) run(t testing.TB, arg string, limit int64) (out string, left int64, err error) {
	ctx := context.Background()
	var b bytes.Buffer
	m, err := e.rt.InstantiateModule(ctx, e.c, wazero.NewModuleConfig().WithName("").WithStdout(&b).WithArgs("work", arg).WithStartFunctions())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close(ctx)
	g, _ := m.ExportedGlobal(gas.Left).(api.MutableGlobal)
	if g != nil {
		g.Set(uint64(limit))
	}
	_, err = m.ExportedFunction("_start").Call(ctx)
	if g != nil {
		left = int64(g.Get())
	}
	return b.String(), left, err
}

// BenchmarkOverhead compares programs as they are with the same programs metered,
// turn about, by the median of the processor time that they take.
func BenchmarkOverhead(b *testing.B) {
	code := goProgram(b)
	m, err := gas.Meter(code)
	if err != nil {
		b.Fatal(err)
	}
	plain, metered := newEngine(b, wazero.NewRuntimeConfigCompiler(), code), newEngine(b, wazero.NewRuntimeConfigCompiler(), m.Code)
	b.Logf("%d bytes, metered %d", len(code), len(m.Code))
	for _, work := range []string{"hash", "sort", "matrix", "sieve", "map"} {
		b.Run(work, func(b *testing.B) {
			var was, now []time.Duration
			var left int64
			for b.Loop() {
				from := spent(b)
				plain.run(b, work, 0)
				mid := spent(b)
				_, left, _ = metered.run(b, work, plenty)
				was, now = append(was, mid-from), append(now, spent(b)-mid)
			}
			slices.Sort(was)
			slices.Sort(now)
			before, after := was[len(was)/2].Seconds(), now[len(now)/2].Seconds()
			b.ReportMetric(before*1e3, "plain-ms")
			b.ReportMetric(after*1e3, "metered-ms")
			b.ReportMetric((after/before-1)*100, "%more")
			b.ReportMetric(float64(plenty-left)/1e6, "Mgas")
		})
	}
}

// spent is how long this process has computed.
func spent(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkMeter measures the pass itself.
func BenchmarkMeter(b *testing.B) {
	code := goProgram(b)
	b.SetBytes(int64(len(code)))
	for b.Loop() {
		if _, err := gas.Meter(code); err != nil {
			b.Fatal(err)
		}
	}
}
