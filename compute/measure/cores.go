package measure

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"hearth/compute/wasm"
	"hearth/core/fault"
)

const (
	// turn is how long one call of the work takes, more or less: short enough to have a
	// core for itself once in a while also on a busy machine.
	turn = 10 * time.Millisecond
	// patience is what one call may take on a machine that has stopped computing.
	patience = 10 * time.Second
	most     = 256 // cores that are measured together
)

// cores gives the gas that one core computes in a second, in the best of many turns, and
// what all of them at once gave.
func cores(ctx context.Context, program []string, dir string, n int, each time.Duration) (one, all uint64, err error) {
	n = min(n, most)
	e, err := wasm.Open(wasm.Config{Dir: dir, Program: program, Workers: 1, Parallel: n, MaxPages: pages})
	if err != nil {
		return 0, 0, err
	}
	defer e.Close()
	info, err := e.Add(ctx, work())
	if err != nil {
		return 0, 0, err
	}
	seed := uint64(time.Now().UnixNano()) | 1 // never 0, of which nothing comes
	run := func(rounds uint64) (gas uint64, took float64, err error) {
		began := time.Now()
		r, err := e.Call(ctx, info.Digest, wasm.Call{Input: input(seed, rounds), Gas: 1 << 50, Pages: pages, Deadline: patience})
		took = max(time.Since(began).Seconds(), 1e-9)
		if err == nil && r.Fault != "" {
			err = fault.New(fault.SandboxFailed, "the work ended with %s", r.Fault)
		}
		return r.Gas, took, err
	}
	const first = 1 << 12
	if _, _, err := run(first); err != nil { // it compiles
		return 0, 0, err
	}
	rounds, turns, fastest := uint64(first), 0, 0.0 // rounds in a second
	var best float64                                // gas in a second
	for s := watch(each); !s.over() || turns < 8; turns++ {
		gas, took, err := run(rounds)
		if err != nil {
			return 0, 0, err
		}
		// As many as the fastest turn so far would do: who was held up does more, not less.
		best, fastest = max(best, float64(gas)/took), max(fastest, float64(rounds)/took)
		rounds = min(max(first, uint64(fastest*turn.Seconds())), 1<<31)
	}
	if n == 1 {
		return uint64(best), uint64(best), nil
	}
	all, err = together(n, each, func() (uint64, error) { gas, _, err := run(rounds); return gas, err })
	return uint64(best), max(uint64(best), all), err
}

// together runs on so many cores at once, and gives the gas of all in a second.
func together(n int, each time.Duration, run func() (uint64, error)) (uint64, error) {
	var gas atomic.Uint64
	var wg sync.WaitGroup
	errs := make([]error, n)
	s := watch(each)
	for i := range n {
		wg.Go(func() {
			for !s.over() && errs[i] == nil {
				var more uint64
				more, errs[i] = run()
				gas.Add(more)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return 0, err
		}
	}
	return uint64(float64(gas.Load()) / s.now()), nil
}
