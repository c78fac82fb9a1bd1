package wasm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/sys"

	"hearth/core/fault"
	"hearth/core/gas"
	"hearth/core/store"
)

// maxMetered is how large a metered module may be.
const maxMetered = 8 * gas.MaxModule

// softMemory is how much of Go's memory a worker has before it looks for garbage
// more often. The memory of calls isn't Go's.
const softMemory = 256 << 20

// A workplace is a worker as it sees itself.
type workplace struct {
	hello    hello
	runtime  wazero.Runtime
	module   wazero.CompiledModule
	config   wazero.ModuleConfig
	memories chan *region // as many as calls run at once

	writes sync.Mutex
	out    io.Writer

	mu      sync.Mutex
	cancels map[uint32]context.CancelFunc
}

// Work is a worker's main loop: it gives away what it may do, compiles the module
// that it is handed and runs calls of it until in ends. A program calls it in a
// process of its own, and ends when it returns.
func Work(in io.Reader, out io.Writer) error {
	debug.SetGCPercent(400) // what calls leave is little; below the soft limit it may lie longer
	debug.SetMemoryLimit(softMemory)
	r := bufio.NewReaderSize(in, 64<<10)
	raw, err := expect(r, kindHello, helloSize)
	if errors.Is(err, io.EOF) {
		return nil // the engine went away
	}
	if err != nil {
		return err
	}
	h, err := parseHello(raw)
	if err != nil {
		return err
	}
	weak, err := confine(memoryOf(h))
	if err != nil {
		return fmt.Errorf("confine worker: %w", err)
	}
	code, err := expect(r, kindModule, maxMetered)
	if err != nil {
		return err
	}
	w := &workplace{hello: h, out: out, memories: make(chan *region, h.Parallel), cancels: map[uint32]context.CancelFunc{}}
	if err := w.prepare(code); err != nil {
		return w.send(kindRefused, 0, text(err))
	}
	for range h.Parallel {
		m, err := newRegion(int(h.MaxPages) << 16)
		if err != nil {
			return fmt.Errorf("reserve memory: %w", err)
		}
		w.memories <- m
	}
	weak = append(weak, seal()...)
	if err := w.send(kindReady, 0, []byte(strings.Join(weak, ", "))); err != nil {
		return err
	}
	return w.loop(r)
}

// memoryOf is what the calls of a worker may take, with their inputs and outputs.
func memoryOf(h hello) uint64 {
	return uint64(h.Parallel) * (uint64(h.MaxPages)<<16 + 2*MaxInput + 2*MaxOutput + storeMemory)
}

// storeMemory is the most that a call's store takes, with the forms in which it comes
// and goes.
const storeMemory = 16 * store.MaxBytes

// maxCall is the longest body of a frame with a call.
const maxCall = MaxInput + store.MaxBytes + 3*MaxContext + 4096

// prepare compiles the module and the functions that it may call.
func (w *workplace) prepare(code []byte) error {
	ctx := context.Background()
	c := wazero.NewRuntimeConfig()
	if w.hello.Interpreted {
		c = wazero.NewRuntimeConfigInterpreter()
	}
	c = c.WithCloseOnContextDone(true).WithMemoryLimitPages(w.hello.MaxPages)
	if cache, err := wazero.NewCompilationCacheWithDir("."); err == nil { // else it takes longer
		c = c.WithCompilationCache(cache)
	}
	w.runtime = wazero.NewRuntimeWithConfig(ctx, c)
	w.config = wazero.NewModuleConfig().WithName("").WithStartFunctions()
	for name := range hostModules {
		if err := host(ctx, w.runtime, name); err != nil {
			return err
		}
	}
	var err error
	if w.module, err = w.runtime.CompileModule(ctx, code); err != nil {
		return err
	}
	return typed(w.module)
}

// loop takes frames until there are no more.
func (w *workplace) loop(r io.Reader) error {
	for {
		h, err := readHeader(r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		body, err := h.body(r, maxCall)
		if err != nil {
			return err
		}
		switch h.kind {
		case kindCall:
			c, err := parseCall(body)
			if err != nil {
				return err
			}
			w.accept(h.id, &c)
		case kindCancel:
			w.mu.Lock()
			if cancel := w.cancels[h.id]; cancel != nil {
				cancel()
			}
			w.mu.Unlock()
		default:
			return fmt.Errorf("%w: kind %d", errFrame, h.kind)
		}
	}
}

// accept runs a call beside the others.
func (w *workplace) accept(id uint32, c *Call) {
	i := &instance{call: c}
	ctx, cancel := context.WithTimeout(context.Background(), c.Deadline)
	w.mu.Lock()
	w.cancels[id] = cancel
	w.mu.Unlock()
	go func() {
		i.memory = <-w.memories
		i.memory.limit = uint64(c.Pages) << 16
		r, kind, err := w.run(ctx, i)
		w.mu.Lock()
		delete(w.cancels, id)
		w.mu.Unlock()
		cancel()
		if kind == kindResult {
			err = w.finish(id, r)
		} else {
			err = w.send(kind, id, text(err))
		}
		i.memory.wipe()
		w.memories <- i.memory
		_ = err // the engine is gone, and the loop is about to notice
	}()
}

// run runs a call in a fresh instance. The kind says whether the result counts.
func (w *workplace) run(ctx context.Context, i *instance) (Result, byte, error) {
	if err := i.open(); err != nil {
		return Result{}, kindBroken, err
	}
	base := w.hello.Base + i.load()
	if i.call.Gas < base {
		return Result{Gas: i.call.Gas, Fault: fault.OutOfGas, Reason: "the gas isn't enough to begin"}, kindResult, nil
	}
	m, err := w.runtime.InstantiateModule(experimental.WithMemoryAllocator(ctx, i.memory), w.module, w.config)
	if err != nil {
		if ctx.Err() != nil {
			return Result{}, kindLate, nil
		}
		return Result{Gas: base, Fault: fault.Trapped, Reason: "it can't be begun: " + firstLine(err)}, kindResult, nil
	}
	defer m.Close(ctx)
	i.left = m.ExportedGlobal(gas.Left).(api.MutableGlobal)
	i.left.Set(i.call.Gas - base)
	exit, err := w.steps(context.WithValue(ctx, instanceKey{}, i), m)
	return i.outcome(exit, err, m)
}

// steps calls what a module wants called, in turn.
func (w *workplace) steps(ctx context.Context, m api.Module) (exit uint32, err error) {
	names := make([]string, 0, 3)
	if w.hello.Started {
		names = append(names, gas.Start)
	}
	if w.hello.Command {
		names = append(names, exportStart)
	} else {
		names = append(names, exportInit, exportCall)
	}
	for _, name := range names {
		f := m.ExportedFunction(name)
		if f == nil {
			continue // _initialize needn't be there
		}
		out, err := f.Call(ctx)
		if err != nil {
			return 0, err
		}
		if name == exportCall {
			exit = uint32(out[0])
		}
	}
	return exit, nil
}

// outcome is what came of a call that ended with err.
func (i *instance) outcome(exit uint32, err error, m api.Module) (Result, byte, error) {
	left := int64(i.left.Get())
	r := Result{Exit: exit, Output: i.output, Log: i.log.bytes(), Gas: i.call.Gas - uint64(max(left, 0))}
	var closed *sys.ExitError
	trap, trapped := "", false
	if err != nil {
		trap, trapped = strings.CutPrefix(firstLine(err), "wasm error: ")
	}
	switch {
	case i.fault != "":
		r.Fault, r.Reason = i.fault, i.reason
	case left < 0:
		r.Fault, r.Reason = fault.OutOfGas, fmt.Sprintf("%d gas is used up", i.call.Gas)
	case i.exited:
		r.Exit = i.exit
	case err == nil:
	case errors.As(err, &closed):
		return Result{}, kindLate, nil
	case trapped && int32(m.ExportedGlobal(gas.Depth).Get()) < 0:
		r.Fault, r.Reason = fault.Trapped, fmt.Sprintf("calls are nested more than %d deep", gas.MaxDepth)
	case trapped:
		r.Fault, r.Reason = fault.Trapped, trap
	default:
		return Result{}, kindBroken, err
	}
	if r.Fault == "" && r.Exit == 0 {
		r.Store = i.changed()
	}
	return r, kindResult, nil
}

func (w *workplace) finish(id uint32, r Result) error {
	return w.write(finish(r.append(newFrame(kindResult, id, len(r.Output)+len(r.Log)+len(r.Store)+len(r.Reason)+64)), 0))
}

func (w *workplace) send(kind byte, id uint32, body []byte) error {
	return w.write(finish(append(newFrame(kind, id, len(body)), body...), 0))
}

func (w *workplace) write(frame []byte) error {
	w.writes.Lock()
	defer w.writes.Unlock()
	_, err := w.out.Write(frame)
	return err
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line[:min(len(line), maxReason/2)]
}

// text is an error as it is sent.
func text(err error) []byte {
	if err == nil {
		return nil
	}
	return []byte(firstLine(err))
}
