package wasm_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"hearth/compute/wasm"
	"hearth/core/fault"
)

// An owner says how much of the machine calls may have; who comes too much waits.
func TestCallsOfAllModulesWaitForTheirTurn(t *testing.T) {
	c := config(t)
	var mu sync.Mutex
	told := map[int]bool{}
	c.Started = func(pid int) {
		mu.Lock()
		defer mu.Unlock()
		told[pid] = true
	}
	e := open(t, c)
	endless := add(t, e, assembly{body: []byte{0x03, 0x40, 0x0c, 0x00, 0x0b, 0x41, 0x00}}.bytes()) // loop br 0 end; 0
	quick := add(t, e, assembly{body: []byte{0x41, 7}}.bytes())
	e.Limit(1)
	ctx, end := context.WithCancel(t.Context())
	defer end()
	first := make(chan error, 1)
	go func() {
		_, err := e.Call(ctx, endless, wasm.Call{Gas: 1 << 60, Deadline: time.Hour})
		first <- err
	}()
	until(t, "the first call runs", func() bool { return e.Calls() == 1 })
	short, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if _, err := e.Call(short, quick, wasm.Call{Gas: plenty}); fault.CodeOf(err) != fault.Deadline {
		t.Errorf("two at once: %v", err)
	}
	e.Limit(2)
	if r := call(t, e, quick, wasm.Call{}); r.Exit != 7 {
		t.Errorf("two may run, and one ends with %d", r.Exit)
	}
	e.Limit(1)
	second := make(chan error, 1)
	go func() {
		_, err := e.Call(t.Context(), quick, wasm.Call{Gas: plenty, Deadline: time.Minute})
		second <- err
	}()
	end()
	if err := <-first; fault.CodeOf(err) != fault.Interrupted {
		t.Errorf("the first: %v", err)
	}
	if err := <-second; err != nil {
		t.Errorf("its turn has come: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, pid := range e.Pids() {
		if !told[pid] {
			t.Errorf("nobody was told of process %d", pid)
		}
	}
}
