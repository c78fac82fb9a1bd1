package wasm_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/compute/wasm"
	"hearth/core/fault"
)

func TestACallIsTheSameOnEveryEngineAndInEveryWorker(t *testing.T) {
	probe := program(t, "probe")
	calls := map[string]struct {
		module []byte
		call   wasm.Call
	}{
		"a reactor":    {tiny.bytes(), wasm.Call{}},
		"a loop":       {loop.bytes(), wasm.Call{Gas: 100_000}},
		"a division":   {assembly{body: []byte{0x41, 1, 0x41, 0, 0x6d}}.bytes(), wasm.Call{}},
		"a recursion":  {assembly{body: []byte{0x10, 0}}.bytes(), wasm.Call{}},
		"outside":      {assembly{body: []byte{0x41, 0x7f, 0x28, 2, 0}}.bytes(), wasm.Call{}},
		"unreachable":  {assembly{body: []byte{0x00}}.bytes(), wasm.Call{}},
		"echo":         {probe, wasm.Call{Args: []string{"p", "echo"}, Input: bytes.Repeat([]byte("warm"), 1<<16)}},
		"a clock":      {probe, wasm.Call{Args: []string{"p", "clock"}, Now: 1e18}},
		"chance":       {probe, wasm.Call{Args: []string{"p", "random"}, Seed: [32]byte{7}}},
		"a panic":      {probe, wasm.Call{Args: []string{"p", "panic"}}},
		"nothing":      {probe, wasm.Call{Args: []string{"p", "reach"}}},
		"a store":      {probe, wasm.Call{Args: []string{"p", "keep", "list:", "set:b:1", "delete:a", "get:b", "list:"}, Store: stored("a", "c"), StoreMax: 100}},
		"half the gas": {probe, wasm.Call{Args: []string{"p", "noise"}, Gas: 3_000_000}},
	}
	var seen []map[string]wasm.Result
	for i := range 3 {
		e := engine(t)
		if i == 1 {
			e = open(t, copied(t, e))
		}
		if i == 2 {
			e = open(t, config(t))
			e.Interpreted()
		}
		results := map[string]wasm.Result{}
		for name, c := range calls {
			results[name] = call(t, e, add(t, e, c.module), c.call)
		}
		seen = append(seen, results)
	}
	for name, want := range seen[0] {
		if want.Gas == 0 {
			t.Errorf("%s: no gas is used", name)
		}
		for i, other := range []string{"another worker", "the interpreter"} {
			if got := seen[i+1][name]; !reflect.DeepEqual(got, want) {
				t.Errorf("%s:\n%.200v\n%s:\n%.200v", name, fmt.Sprint(want), other, fmt.Sprint(got))
			}
		}
	}
	for name, want := range map[string]fault.Code{"a loop": fault.OutOfGas, "half the gas": fault.OutOfGas, "a division": fault.Trapped, "a recursion": fault.Trapped, "outside": fault.Trapped, "unreachable": fault.Trapped, "a panic": "", "echo": ""} {
		if got := seen[0][name]; got.Fault != want {
			t.Errorf("%s: %q (%s), not %q", name, got.Fault, got.Reason, want)
		}
	}
	if r := seen[0]["a loop"]; r.Gas != 100_000 {
		t.Errorf("a loop used %d gas", r.Gas)
	}
}

func TestAProgramSeesItsCallAndNothingElse(t *testing.T) {
	e := engine(t)
	probe := add(t, e, program(t, "probe"))
	seed := [32]byte{1, 2, 3}
	random := make([]byte, 1<<10)
	rand.NewChaCha8(seed).Read(random)
	now := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	for name, c := range map[string]struct {
		call wasm.Call
		want wasm.Result
	}{
		"input":     {wasm.Call{Args: []string{"p", "echo"}, Input: []byte("come in")}, wasm.Result{Output: []byte("come in")}},
		"arguments": {wasm.Call{Args: []string{"p", "context", "a b", ""}, Env: []string{"PLACE=here"}}, wasm.Result{Output: []byte("context a b  here\n")}},
		"exit":      {wasm.Call{Args: []string{"p", "exit"}}, wasm.Result{Exit: 7, Log: []byte("leaving\n")}},
		"reach":     {wasm.Call{Args: []string{"p", "reach"}}, wasm.Result{Output: []byte("folder: true\nfile: true\nnetwork: true\n")}},
		"clock":     {wasm.Call{Args: []string{"p", "clock"}, Now: now.UnixNano()}, wasm.Result{Output: []byte("2031-05-06T07:08:09Z 1h0m0s\n")}},
	} {
		got := call(t, e, probe, c.call)
		if got.Exit != c.want.Exit || !bytes.Equal(got.Output, c.want.Output) || !bytes.Equal(got.Log, c.want.Log) || got.Fault != "" {
			t.Errorf("%s: exit %d, output %q, log %q, %s %s", name, got.Exit, got.Output, got.Log, got.Fault, got.Reason)
		}
	}
	got := call(t, e, probe, wasm.Call{Args: []string{"p", "random"}, Seed: seed})
	if !strings.Contains(fmt.Sprintf("%x", random), strings.TrimSpace(string(got.Output))) {
		t.Errorf("%s isn't drawn from the seed", got.Output)
	}
	other := call(t, e, probe, wasm.Call{Args: []string{"p", "random"}, Seed: [32]byte{4}})
	if bytes.Equal(got.Output, other.Output) {
		t.Error("another seed gives the same random numbers")
	}
}

func TestHearthsFunctionsMoveInputOutputAndLog(t *testing.T) {
	e := open(t, config(t))
	echo := assembly{
		imports: []string{"hearth.input_size", "hearth.input_read", "hearth.output_write", "hearth.log"}, types: []byte{4, 3, 1, 2},
		body: []byte{
			0x41, 0, 0x10, 0, 0xa7, 0x42, 1, 0x10, 1, 0x21, 0, // n = input_read(0, input_size(), 1)
			0x41, 0, 0x20, 0, 0x10, 2, 0x1a, // output_write(0, n)
			0x41, 0, 0x41, 2, 0x10, 3, // log(0, 2)
			0x20, 0,
		},
	}
	r := call(t, e, add(t, e, echo.bytes()), wasm.Call{Input: []byte("warmth")})
	if r.Exit != 5 || string(r.Output) != "armth" || string(r.Log) != "ar" || r.Fault != "" {
		t.Errorf("%+v", r)
	}
	outside := assembly{imports: []string{"hearth.output_write"}, types: []byte{1}, body: []byte{0x41, 0x7f, 0x41, 8, 0x10, 0}}
	if r := call(t, e, add(t, e, outside.bytes()), wasm.Call{}); r.Fault != fault.Trapped {
		t.Errorf("what isn't its memory was written: %+v", r)
	}
}

func TestMovingBytesCostsGas(t *testing.T) {
	e := open(t, config(t))
	write := func(n byte) uint64 {
		a := assembly{imports: []string{"hearth.output_write"}, types: []byte{1}, body: []byte{0x41, 0, 0x41, n, 0x10, 0}}
		return call(t, e, add(t, e, a.bytes()), wasm.Call{}).Gas
	}
	if a, b := write(4), write(60); b != a+14 {
		t.Errorf("4 bytes cost %d, 60 bytes %d", a, b)
	}
}

func TestNothingIsLeftFromOneCallToTheNext(t *testing.T) {
	c := config(t)
	c.Parallel = 1 // the same memory each time
	e := open(t, c)
	for name, grow := range map[string][]byte{"a little": {0x41, 1, 0x40, 0, 0x1a}, "much": {0x41, 200, 7, 0x40, 0, 0x1a}} {
		// reads the last word of its memory, writes another, and gives what it read
		last := []byte{0x3f, 0, 0x41, 16, 0x74, 0x41, 4, 0x6b}
		a := assembly{body: bytes.Join([][]byte{grow, last, {0x21, 0, 0x20, 0, 0x28, 2, 0, 0x20, 0, 0x41, 33, 0x36, 2, 0}}, nil)}
		module := add(t, e, a.bytes())
		for range 3 {
			if r := call(t, e, module, wasm.Call{}); r.Exit != 0 || r.Fault != "" {
				t.Errorf("%s: %+v", name, r)
			}
		}
	}
	e = engine(t)
	probe := add(t, e, program(t, "probe"))
	for range 2 {
		if r := call(t, e, probe, wasm.Call{Args: []string{"p", "count"}}); string(r.Output) != "1\n" {
			t.Errorf("%q", r.Output)
		}
	}
}

func TestAModuleHasNoMoreMemoryThanItsPages(t *testing.T) {
	e := open(t, config(t))
	// grows a page at a time until it can't, and gives how many there are
	a := assembly{body: []byte{0x03, 0x40, 0x41, 1, 0x40, 0, 0x41, 0x7f, 0x47, 0x0d, 0, 0x0b, 0x3f, 0}}
	module := add(t, e, a.bytes())
	for _, pages := range []uint32{1, 7, 0} {
		r := call(t, e, module, wasm.Call{Pages: pages})
		if want := max(pages, 1024*(1-min(pages, 1))); r.Exit != want || r.Fault != "" {
			t.Errorf("of %d pages it got %d: %s", want, r.Exit, r.Reason)
		}
	}
	if _, err := e.Call(t.Context(), module, wasm.Call{Gas: plenty, Pages: 1025}); fault.CodeOf(err) != fault.TooLarge {
		t.Errorf("more pages than the host gives: %v", err)
	}
	large := tiny
	large.pages = 9
	if r := call(t, e, add(t, e, large.bytes()), wasm.Call{Pages: 8}); r.Fault != fault.TooLarge {
		t.Errorf("%+v", r)
	}
}

func TestOutputAndLogsAreBounded(t *testing.T) {
	e := engine(t)
	probe := add(t, e, program(t, "probe"))
	r := call(t, e, probe, wasm.Call{Args: []string{"p", "echo"}, Input: make([]byte, 1000), MaxOutput: 999})
	if r.Fault != fault.TooLarge || len(r.Output) > 999 {
		t.Errorf("%d bytes of output, %q", len(r.Output), r.Fault)
	}
	r = call(t, e, probe, wasm.Call{Args: []string{"p", "echo"}, Input: make([]byte, 1000), MaxOutput: 1000})
	if r.Fault != "" || len(r.Output) != 1000 {
		t.Errorf("%d bytes of output, %q", len(r.Output), r.Fault)
	}
	var all strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&all, "line %d\n", i)
	}
	r = call(t, e, probe, wasm.Call{Args: []string{"p", "noise"}})
	want := fmt.Sprintf("%s\n... %d bytes are left out ...\n%s", all.String()[:32<<10], all.Len()-64<<10, all.String()[all.Len()-32<<10:])
	if string(r.Log) != want {
		t.Errorf("a log of %d bytes", len(r.Log))
	}
	if _, err := e.Call(t.Context(), probe, wasm.Call{Gas: plenty, Input: make([]byte, wasm.MaxInput+1)}); fault.CodeOf(err) != fault.TooLarge {
		t.Errorf("too much input: %v", err)
	}
	if _, err := e.Call(t.Context(), probe, wasm.Call{Gas: plenty, Args: []string{strings.Repeat("a", wasm.MaxContext)}}); fault.CodeOf(err) != fault.TooLarge {
		t.Errorf("too many arguments: %v", err)
	}
}

func TestALoopEndsAtTheDeadlineAndWithItsCaller(t *testing.T) {
	e := engine(t)
	for name, module := range map[string][]byte{"by hand": loop.bytes(), "Go": program(t, "probe")} {
		d := add(t, e, module)
		_, err := e.Call(t.Context(), d, wasm.Call{Args: []string{"p", "spin"}, Gas: 1 << 60, Deadline: 50 * time.Millisecond})
		if fault.CodeOf(err) != fault.Deadline {
			t.Errorf("%s: %v", name, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		_, err = e.Call(ctx, d, wasm.Call{Args: []string{"p", "spin"}, Gas: 1 << 60, Deadline: time.Hour})
		if fault.CodeOf(err) != fault.Interrupted {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestManyCallsAtOnceGetTheirOwnAnswers(t *testing.T) {
	e := engine(t)
	probe := add(t, e, program(t, "probe"))
	call(t, e, probe, wasm.Call{Args: []string{"p", "count"}})
	pid := e.Pids()[probe]
	var wg sync.WaitGroup
	for n := range 64 {
		wg.Go(func() {
			in := fmt.Sprintf("call %d", n)
			r, err := e.Call(t.Context(), probe, wasm.Call{Args: []string{"p", "echo"}, Input: []byte(in), Gas: plenty, Deadline: 2 * time.Minute})
			if err != nil || string(r.Output) != in {
				t.Errorf("%d: %q, %v", n, r.Output, err)
			}
		})
	}
	wg.Wait()
	if now := e.Pids()[probe]; now != pid {
		t.Errorf("process %d, and then %d", pid, now)
	}
}

// copied configures an engine that has what another has.
func copied(t *testing.T, e *wasm.Engine) wasm.Config {
	t.Helper()
	c := config(t)
	if err := os.CopyFS(c.Dir, os.DirFS(e.Dir())); err != nil {
		t.Fatal(err)
	}
	return c
}
