package wasm_test

import (
	"syscall"
	"testing"

	"hearth/compute/wasm"
)

// spent is the processor time of this process and of those it waited for, in microseconds.
func spent(b *testing.B) (us float64) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var r syscall.Rusage
		if err := syscall.Getrusage(who, &r); err != nil {
			b.Fatal(err)
		}
		us += float64(r.Utime.Nano()+r.Stime.Nano()) / 1e3
	}
	return us
}

// warm measures calls of a worker that runs.
func warm(b *testing.B, module []byte, run func(b *testing.B, one func())) {
	e := open(b, config(b))
	d := add(b, e, module)
	call(b, e, d, wasm.Call{})
	e.Close() // what it took to compile isn't meant
	e = open(b, wasm.Config{Dir: e.Dir(), Program: config(b).Program, MaxPages: 1024})
	call(b, e, d, wasm.Call{})
	b.ResetTimer()
	before := spent(b)
	run(b, func() { call(b, e, d, wasm.Call{}) })
	b.StopTimer()
	e.Close()
	b.ReportMetric((spent(b)-before)/float64(b.N), "cpu-µs/op")
}

// BenchmarkTiny: 10,000 calls a second and core.
func BenchmarkTiny(b *testing.B) {
	b.Run("one", func(b *testing.B) {
		warm(b, tiny.bytes(), func(b *testing.B, one func()) {
			for b.Loop() {
				one()
			}
		})
	})
	b.Run("many", func(b *testing.B) {
		warm(b, tiny.bytes(), func(b *testing.B, one func()) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					one()
				}
			})
		})
	})
}

// BenchmarkGoHello: a start from the cache within 50 ms.
func BenchmarkGoHello(b *testing.B) {
	hello := program(b, "hello")
	b.Run("warm", func(b *testing.B) {
		warm(b, hello, func(b *testing.B, one func()) {
			for b.Loop() {
				one()
			}
		})
	})
	b.Run("start", func(b *testing.B) {
		c := config(b)
		e := open(b, c)
		d := add(b, e, hello)
		call(b, e, d, wasm.Call{})
		e.Close()
		before := spent(b)
		for b.Loop() {
			e := open(b, c)
			call(b, e, d, wasm.Call{})
			e.Close()
		}
		b.ReportMetric((spent(b)-before)/float64(b.N), "cpu-µs/op")
	})
}
