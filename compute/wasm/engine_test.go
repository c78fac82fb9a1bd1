package wasm_test

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"hearth/compute/wasm"
	"hearth/core/fault"
)

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

// until waits for what happens soon.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

func TestModulesNeverShareAProcessAndMakeRoomForEachOther(t *testing.T) {
	c := config(t)
	c.Workers = 2
	e := open(t, c)
	var modules [][32]byte
	for n := range byte(3) {
		modules = append(modules, add(t, e, assembly{body: []byte{0x41, n}}.bytes()))
	}
	first := 0
	for n, m := range modules {
		if r := call(t, e, m, wasm.Call{}); r.Exit != uint32(n) {
			t.Errorf("module %d says %d", n, r.Exit)
		}
		pids := e.Pids()
		if n == 0 {
			first = pids[m]
		}
		if n == 1 && (len(pids) != 2 || pids[modules[0]] == pids[m]) {
			t.Errorf("two modules: %v", pids)
		}
	}
	if alive(first) {
		t.Error("the worker that was idle longest made no room")
	}
	until(t, "more processes than allowed", func() bool { return len(e.Pids()) == 2 })
}

func TestAKilledWorkerFailsItsCallsAndTheNextCallWorks(t *testing.T) {
	e := engine(t)
	module := add(t, e, program(t, "probe"))
	call(t, e, module, wasm.Call{Args: []string{"p", "count"}})
	failed := make(chan error)
	go func() {
		_, err := e.Call(t.Context(), module, wasm.Call{Args: []string{"p", "spin"}, Gas: 1 << 60, Deadline: 2 * time.Minute})
		failed <- err
	}()
	pid := e.Pids()[module]
	until(t, "the call runs", func() bool { return e.Pending(module) == 1 })
	syscall.Kill(pid, syscall.SIGKILL)
	if err := <-failed; fault.CodeOf(err) != fault.SandboxFailed {
		t.Errorf("%v", err)
	}
	if r := call(t, e, module, wasm.Call{Args: []string{"p", "count"}}); string(r.Output) != "1\n" {
		t.Errorf("%q", r.Output)
	}
	if e.Pids()[module] == pid {
		t.Error("the same process")
	}
}

func TestAWorkerThatHangsIsKilledAndItsNeighboursRunAgain(t *testing.T) {
	e := engine(t)
	module := add(t, e, program(t, "probe"))
	call(t, e, module, wasm.Call{Args: []string{"p", "count"}})
	pid := e.Pids()[module]
	neighbour := make(chan error)
	syscall.Kill(pid, syscall.SIGSTOP)
	var ws syscall.WaitStatus // it stands once all of its threads do
	if _, err := syscall.Wait4(pid, &ws, syscall.WUNTRACED, nil); err != nil || !ws.Stopped() {
		t.Fatal(ws, err)
	}
	go func() {
		r, err := e.Call(t.Context(), module, wasm.Call{Args: []string{"p", "count"}, Gas: plenty, Deadline: 2 * time.Minute})
		if err == nil && string(r.Output) != "1\n" {
			t.Errorf("%+v", r)
		}
		neighbour <- err
	}()
	_, err := e.Call(t.Context(), module, wasm.Call{Args: []string{"p", "count"}, Gas: plenty, Deadline: time.Millisecond})
	if fault.CodeOf(err) != fault.Deadline {
		t.Errorf("%v", err)
	}
	if err := <-neighbour; err != nil {
		t.Errorf("its neighbour: %v", err)
	}
	if alive(pid) {
		t.Error("it lives")
	}
}

func TestAWorkerThatAnswersRubbishIsKilled(t *testing.T) {
	c := config(t)
	c.Program = []string{os.Args[0], "babble"}
	e := open(t, c)
	if _, err := e.Call(t.Context(), add(t, e, tiny.bytes()), wasm.Call{Gas: plenty}); fault.CodeOf(err) != fault.SandboxFailed {
		t.Errorf("%v", err)
	}
}

func TestAnIdleWorkerEnds(t *testing.T) {
	c := config(t)
	c.Idle = 10 * time.Millisecond
	e := open(t, c)
	module := add(t, e, tiny.bytes())
	call(t, e, module, wasm.Call{})
	until(t, "it waits for calls", func() bool { return len(e.Pids()) == 0 })
	if r := call(t, e, module, wasm.Call{}); r.Exit != 42 {
		t.Errorf("%+v", r)
	}
}

func TestCloseEndsEveryProcessAndCall(t *testing.T) {
	e := open(t, config(t))
	a, b := add(t, e, tiny.bytes()), add(t, e, loop.bytes())
	call(t, e, a, wasm.Call{})
	call(t, e, b, wasm.Call{Gas: 100_000})
	failed := make(chan error)
	go func() {
		_, err := e.Call(t.Context(), b, wasm.Call{Gas: 1 << 60, Deadline: time.Hour})
		failed <- err
	}()
	time.Sleep(20 * time.Millisecond)
	pids := e.Pids()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; fault.CodeOf(err) != fault.Busy {
		t.Errorf("a call under way: %v", err)
	}
	if len(pids) != 2 {
		t.Errorf("%d processes", len(pids))
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("%d lives", pid)
		}
	}
	if _, err := e.Call(t.Context(), a, wasm.Call{Gas: plenty}); fault.CodeOf(err) != fault.Busy {
		t.Errorf("a call after it: %v", err)
	}
}

func TestAModuleIsThereAfterTheEngineWasOpenedAgain(t *testing.T) {
	c := config(t)
	e := open(t, c)
	module := tiny.bytes()
	want, err := e.Add(t.Context(), module)
	if err != nil {
		t.Fatal(err)
	}
	again, err := e.Add(t.Context(), module)
	if err != nil || again != want || want.Digest != sha256.Sum256(module) || want.Size != int64(len(module)) || want.Pages != 1 || want.Command {
		t.Errorf("%+v, %+v, %v", want, again, err)
	}
	e.Close()
	metered, err := filepath.Glob(filepath.Join(c.Dir, "modules", "*", "metered"))
	if err != nil || len(metered) != 1 {
		t.Fatal(metered, err)
	}
	for _, damaged := range []bool{false, true} {
		if damaged {
			if err := os.WriteFile(metered[0], []byte("half"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		e := open(t, c)
		if got, ok := e.Info(want.Digest); !ok || got != want {
			t.Errorf("%+v, %v", got, ok)
		}
		if r := call(t, e, want.Digest, wasm.Call{}); r.Exit != 42 {
			t.Errorf("%+v", r)
		}
		e.Close()
	}
}

func TestTheLeastRecentlyUsedModuleGoesFirst(t *testing.T) {
	c := config(t)
	c.Kept = 1
	e := open(t, c)
	a := add(t, e, tiny.bytes())
	b := add(t, e, loop.bytes())
	if _, ok := e.Info(a); ok {
		t.Error("more is kept than is to be")
	}
	if _, ok := e.Info(b); !ok {
		t.Error("the newest went")
	}
	if _, err := e.Call(t.Context(), a, wasm.Call{Gas: plenty}); fault.CodeOf(err) != fault.NoModule {
		t.Errorf("%v", err)
	}
	left, err := os.ReadDir(filepath.Join(c.Dir, "modules"))
	if err != nil || len(left) != 1 {
		t.Errorf("%d folders, %v", len(left), err)
	}
}

func TestWhatCannotRunIsRefused(t *testing.T) {
	e := open(t, config(t))
	component := []byte("\x00asm\x0d\x00\x01\x00")
	for name, module := range map[string][]byte{
		"an import that nobody has": assembly{imports: []string{"env.puts"}, body: []byte{0x41, 0}}.bytes(),
		"no export to call":         assembly{export: "main", body: []byte{0x41, 0}}.bytes(),
		"a table of all memory":     assembly{table: 1 << 26, body: []byte{0x41, 0}}.bytes(),
		"a component":               component,
		"nothing":                   {},
	} {
		if _, err := e.Add(t.Context(), module); fault.CodeOf(err) != fault.BadModule {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, module := range map[string][]byte{
		"types that don't match":    assembly{body: []byte{0x42, 0}}.bytes(),
		"an import of another type": assembly{imports: []string{"hearth.log"}, body: []byte{0x10, 0}}.bytes(),
		"an export of another type": assembly{export: "_start", body: []byte{0x41, 0}}.bytes(),
	} {
		d := add(t, e, module)
		for range 2 {
			if _, err := e.Call(t.Context(), d, wasm.Call{Gas: plenty}); fault.CodeOf(err) != fault.BadModule {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestWhatAModuleBeginsWithCostsGas(t *testing.T) {
	e := open(t, config(t))
	least := call(t, e, add(t, e, tiny.bytes()), wasm.Call{}).Gas
	table, memory := tiny, tiny
	table.table, memory.pages = 1<<20, 3
	if got := call(t, e, add(t, e, table.bytes()), wasm.Call{}).Gas; got < least+8<<20 {
		t.Errorf("a table costs %d, none %d", got, least)
	}
	if got := call(t, e, add(t, e, memory.bytes()), wasm.Call{}).Gas; got != least+2*4096 {
		t.Errorf("three pages cost %d, one %d", got, least)
	}
}

func TestLittleGasIsUsedUpBeforeTheStart(t *testing.T) {
	e := open(t, config(t))
	if r := call(t, e, add(t, e, tiny.bytes()), wasm.Call{Gas: 1}); r.Fault != fault.OutOfGas || r.Gas != 1 {
		t.Errorf("%+v", r)
	}
}
