// Package wasm runs strangers' WebAssembly functions: the same module, call and
// gas give the same output on every machine.
//
// A module is metered by core/gas and kept. Each has processes of its own, never
// shared with another's, and each call a fresh instance in it, of which nothing is
// left for the next. The process takes away from itself what it doesn't need
// before it reads the module (see confine), and the rest before the module's
// first instruction runs (see seal); the engine believes nothing that it answers.
//
// A program sees its arguments, environment, input, a clock that begins at
// Call.Now and random numbers drawn from Call.Seed, through WASI preview 1 or
// through functions of the module "hearth":
//
//	input_size() -> i64
//	input_read(ptr, len: i32, offset: i64) -> i32   bytes copied, 0 at the end
//	output_write(ptr, len: i32) -> i32              len
//	log(ptr, len: i32)
//
// and those of its store, where the call brings one; else that is empty and full:
//
//	kv_get(key, len, value, room: i32) -> i64       bytes of the value, of which room are copied; -1: no such key
//	kv_set(key, len, value, len: i32) -> i32        0; 1: it is full; 2: not a key, or the value is too large
//	kv_delete(key, len: i32) -> i32                 1; 0: no such key
//	kv_next(prefix, len, after, len, key, room: i32) -> i32   bytes of the next key, in order; -1: there is none
//
// What they have changed counts if the call ends by itself, with status 0.
//
// It is a command, which exports _start, or a reactor, which exports hearth_call,
// without parameters and with an i32, the exit status, as its result; _initialize
// runs first if it is there. There are no files, no network, no clock and no
// chance of the host, no threads, and no imports but these.
package wasm

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"hearth/core/fault"
	"hearth/core/gas"
)

// Limits that hold for every call.
const (
	MaxInput    = 16 << 20 // bytes
	MaxOutput   = 64 << 20 // bytes; a call asks for less
	MaxContext  = 64 << 10 // bytes of arguments and environment
	MaxLog      = 64 << 10 // bytes that are kept of a log: half of its beginning, half of its end
	maxPages    = 1 << 16
	maxDeadline = 24 * time.Hour
)

// WorkerCommand is the argument by which a program of hearth's becomes a worker. People
// have no use for it, and no help shows it.
const WorkerCommand = "wasm-worker"

// Config says where an engine keeps modules and what it may use.
type Config struct {
	Dir      string        // required: modules and their machine code, below it
	Program  []string      // required: command line that starts a worker: it must end in Work(os.Stdin, os.Stdout)
	Workers  int           // processes at once at most; default 2 x CPUs; an idle one makes room for another module
	Parallel int           // calls of one module at once; default CPUs; the others wait
	MaxPages uint32        // memory a call may have, in pages of 64 KiB; default 4096 (256 MiB)
	Kept     int64         // bytes of modules kept on disk; the least recently used go first; default 2 GiB
	Idle     time.Duration // after which a worker without calls ends; default 5 min
	Started  func(pid int) // told of each worker's process before it is given its module; default: nobody
	Log      *slog.Logger  // default: none
}

// An Engine runs modules. It is safe for concurrent use.
type Engine struct {
	c           Config
	shelf       *shelf
	starts      chan func() // run on one thread: a worker dies with the thread that started it
	interpreted bool        // workers don't compile

	mu      sync.Mutex
	lines   map[[32]byte]*line
	alive   int           // processes
	most    int           // calls that may run at once; 0: as many as there are
	calls   int           // that run
	changed chan struct{} // closed, and made anew, when a process or a line got free
	closed  chan struct{}
	weak    sync.Once
	running sync.WaitGroup // processes, and the thread that starts them
}

// Info describes a module.
type Info struct {
	Digest   [32]byte // SHA-256 of the module as given
	Size     int64    // of the module as given
	Floats   bool     // it computes with floating point numbers, or SIMD
	Command  bool     // it exports _start; else it is a reactor with hearth_call
	Pages    uint32   // memory at its start, in pages of 64 KiB
	MaxPages uint32   // the most that it asks for
}

// Open prepares an engine; no process runs yet. Two engines must not share a folder.
func Open(c Config) (*Engine, error) {
	if c.Dir == "" || len(c.Program) == 0 {
		return nil, errors.New("open wasm engine: Dir and Program are required")
	}
	if c.Workers < 0 || c.Parallel < 0 || c.MaxPages > maxPages || c.Kept < 0 || c.Idle < 0 {
		return nil, errors.New("open wasm engine: a limit is out of its range")
	}
	c.Workers = cmp.Or(c.Workers, 2*runtime.NumCPU())
	c.Parallel = cmp.Or(c.Parallel, runtime.NumCPU())
	c.MaxPages = cmp.Or(c.MaxPages, 4096)
	c.Kept = cmp.Or(c.Kept, 2<<30)
	c.Idle = cmp.Or(c.Idle, 5*time.Minute)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	program, err := exec.LookPath(c.Program[0])
	if err != nil {
		return nil, fault.New(fault.ProgramMissing, "open wasm engine: %w", err)
	}
	if program, err = filepath.Abs(program); err != nil {
		return nil, err
	}
	c.Program = append([]string{program}, c.Program[1:]...)
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, err
	}
	s, err := openShelf(filepath.Join(dir, "modules"), c.Kept)
	if err != nil {
		return nil, err
	}
	e := &Engine{
		c: c, shelf: s, starts: make(chan func()), lines: map[[32]byte]*line{},
		changed: make(chan struct{}), closed: make(chan struct{}),
	}
	e.running.Go(e.start)
	return e, nil
}

// Limit has at most so many calls run at once from now on, of all modules together; 0 for
// as many as there are. Others wait; what runs goes on.
func (e *Engine) Limit(calls int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.most != calls {
		e.most = calls
		e.tell()
	}
}

// turn waits until a call more may run. done says that it doesn't any more.
func (e *Engine) turn(ctx, waiting context.Context, digest [32]byte) (done func(), err error) {
	for {
		e.mu.Lock()
		if e.most == 0 || e.calls < e.most {
			e.calls++
			e.mu.Unlock()
			return e.done, nil
		}
		changed := e.changed
		e.mu.Unlock()
		select {
		case <-changed:
		case <-waiting.Done():
			return nil, waited(ctx, digest, "other calls")
		case <-e.closed:
			return nil, fault.New(fault.Busy, "call %x: %w", digest[:4], errClosed)
		}
	}
}

func (e *Engine) done() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls--
	if e.most > 0 {
		e.tell()
	}
}

// start starts processes on a thread that lasts longer than the engine: with a thread
// the system ends what was started from it, by others before too.
func (e *Engine) start() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		select {
		case f := <-e.starts:
			f()
		case <-e.closed:
			return
		}
	}
}

// Close ends all workers and waits for them. Calls under way fail.
func (e *Engine) Close() error {
	e.mu.Lock()
	select {
	case <-e.closed:
	default:
		close(e.closed)
	}
	for _, l := range e.lines {
		l.stop()
		if l.worker != nil {
			l.worker.end(errClosed)
		}
	}
	e.mu.Unlock()
	e.running.Wait()
	return nil
}

// Add checks a module, meters it and returns when it is on the disk. Adding it
// twice is adding it once. Its types are checked by the first call.
func (e *Engine) Add(ctx context.Context, module []byte) (Info, error) {
	digest := sha256.Sum256(module)
	if info, ok := e.Info(digest); ok {
		return info, nil
	}
	m, err := gas.Meter(module)
	if err != nil {
		return Info{}, err
	}
	info := Info{Digest: digest, Size: int64(len(module)), Floats: m.Floats, Pages: m.Pages, MaxPages: m.MaxPages}
	if info.Command, err = fits(m); err != nil {
		return Info{}, err
	}
	if err := ctx.Err(); err != nil {
		return Info{}, fault.New(fault.Interrupted, "add module: %w", err)
	}
	if err := e.shelf.add(info, module, m); err != nil {
		return Info{}, fault.New(diskCode(err), "add module %x: %w", digest[:4], err)
	}
	return info, nil
}

// fits says whether a module is a command, or why it is neither that nor a reactor.
func fits(m gas.Module) (command bool, err error) {
	for _, im := range m.Imports {
		if _, ok := hostModules[im.Module][im.Name]; !ok {
			return false, fault.New(fault.BadModule, "add module: it imports %q of %q, which isn't there; it may import WASI preview 1 and the functions of hearth", im.Name, im.Module)
		}
	}
	reactor := false
	for _, name := range m.Exports {
		switch name {
		case exportStart:
			return true, nil
		case exportCall:
			reactor = true
		}
	}
	if !reactor {
		return false, fault.New(fault.BadModule, "add module: it exports neither %s nor %s", exportStart, exportCall)
	}
	return false, nil
}

// Info describes a module that is kept.
func (e *Engine) Info(digest [32]byte) (Info, bool) { return e.shelf.info(digest) }

func diskCode(err error) fault.Code {
	if isFull(err) {
		return fault.DiskFull
	}
	return fault.Internal
}
