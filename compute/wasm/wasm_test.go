package wasm_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"hearth/compute/wasm"
	"hearth/core/fault"
)

// The test binary is its own worker, and plays other programs too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "worker":
			if err := wasm.Work(os.Stdin, os.Stdout); err != nil {
				os.Stderr.WriteString(err.Error())
				os.Exit(1)
			}
			os.Exit(0)
		case "babble":
			os.Stdout.Write(bytes.Repeat([]byte{0xff}, 100))
			os.Exit(0)
		case "escape":
			escape()
			os.Exit(0)
		}
	}
	status := m.Run()
	if shared.e != nil {
		shared.e.Close()
		os.RemoveAll(shared.dir)
	}
	os.Exit(status)
}

// shared is an engine for all tests that need none of their own: to compile a Go
// program takes a while.
var shared struct {
	once sync.Once
	dir  string
	e    *wasm.Engine
	err  error
}

func engine(t testing.TB) *wasm.Engine {
	t.Helper()
	shared.once.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "wasm"); shared.err == nil {
			c := config(t)
			c.Dir = shared.dir
			shared.e, shared.err = wasm.Open(c)
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.e
}

const plenty = 1 << 40

func config(t testing.TB) wasm.Config {
	return wasm.Config{Dir: t.TempDir(), Program: []string{os.Args[0], "worker"}, MaxPages: 1024, Parallel: 4}
}

func open(t testing.TB, c wasm.Config) *wasm.Engine {
	t.Helper()
	e, err := wasm.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func add(t testing.TB, e *wasm.Engine, module []byte) [32]byte {
	t.Helper()
	info, err := e.Add(t.Context(), module)
	if err != nil {
		t.Fatal(err)
	}
	return info.Digest
}

// call runs a module with more time than a busy machine takes.
func call(t testing.TB, e *wasm.Engine, module [32]byte, c wasm.Call) wasm.Result {
	t.Helper()
	if c.Gas == 0 {
		c.Gas = plenty
	}
	if c.Deadline == 0 {
		c.Deadline = 2 * time.Minute
	}
	r, err := e.Call(t.Context(), module, c)
	if err != nil {
		t.Fatalf("%s: %v", fault.CodeOf(err), err)
	}
	return r
}

var programs sync.Map // path -> func() []byte

// program is testdata/name, compiled for WASI once.
func program(t testing.TB, name string) []byte {
	t.Helper()
	build, _ := programs.LoadOrStore(name, sync.OnceValues(func() ([]byte, error) {
		dir, err := os.MkdirTemp("", "wasm")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		out := filepath.Join(dir, name)
		cmd := exec.Command("go", "build", "-trimpath", "-o", out, "./testdata/"+name)
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
		if b, err := cmd.CombinedOutput(); err != nil {
			return nil, &exec.Error{Name: string(b), Err: err}
		}
		return os.ReadFile(out)
	}))
	code, err := build.(func() ([]byte, error))()
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// An assembly is a small module written by hand: a memory of one page, and
// hearth_call with a body.
type assembly struct {
	imports []string // module.name, of type () -> i32 unless said
	types   []byte   // of the imports: indices
	data    string   // at 0
	body    []byte   // of hearth_call: () -> i32, with two i32 locals
	export  string   // instead of hearth_call
	pages   byte
	table   int // elements of one, if there is one
}

func (a assembly) bytes() []byte {
	vec := func(items ...[]byte) []byte { return append(leb(len(items)), bytes.Join(items, nil)...) }
	name := func(s string) []byte { return append(leb(len(s)), s...) }
	out := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, body []byte) { out = append(append(append(out, id), leb(len(body))...), body...) }
	// 0: () -> i32, 1: (i32 i32) -> i32, 2: (i32 i32) -> (), 3: (i32 i32 i64) -> i32, 4: () -> i64, 5: (i32 i32 i32 i32) -> i32
	section(1, vec([]byte{0x60, 0, 1, 0x7f}, []byte{0x60, 2, 0x7f, 0x7f, 1, 0x7f}, []byte{0x60, 2, 0x7f, 0x7f, 0},
		[]byte{0x60, 3, 0x7f, 0x7f, 0x7e, 1, 0x7f}, []byte{0x60, 0, 1, 0x7e},
		[]byte{0x60, 4, 0x7f, 0x7f, 0x7f, 0x7f, 1, 0x7f}))
	var imports [][]byte
	for i, im := range a.imports {
		module, f, _ := bytes.Cut([]byte(im), []byte("."))
		kind := byte(0)
		if i < len(a.types) {
			kind = a.types[i]
		}
		imports = append(imports, append(append(name(string(module)), name(string(f))...), 0, kind))
	}
	if len(imports) > 0 {
		section(2, vec(imports...))
	}
	section(3, vec([]byte{0}))
	if a.pages == 0 {
		a.pages = 1
	}
	if a.table > 0 {
		section(4, vec(append([]byte{0x70, 0}, leb(a.table)...)))
	}
	section(5, vec([]byte{0, a.pages}))
	if a.export == "" {
		a.export = "hearth_call"
	}
	section(7, vec(append(append(name(a.export), 0), byte(len(imports))), append(name("memory"), 2, 0)))
	body := append(append([]byte{1, 2, 0x7f}, a.body...), 0x0b)
	section(10, vec(append(leb(len(body)), body...)))
	if a.data != "" {
		section(11, vec(append([]byte{0, 0x41, 0, 0x0b}, name(a.data)...)))
	}
	return out
}

func leb(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

// tiny gives 42.
var tiny = assembly{body: []byte{0x41, 42}}

// loop never ends.
var loop = assembly{body: []byte{0x03, 0x40, 0x0c, 0, 0x0b, 0x41, 0}}
