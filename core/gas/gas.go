// Package gas rewrites WebAssembly modules so that they count what they compute:
// one module and one input use the same gas and give the same output on every
// machine and engine.
//
// It takes core modules of WebAssembly 2.0 (https://www.w3.org/TR/wasm-core-2/)
// that import functions only, and adds to them
//
//   - a charge at the head of each straight stretch of code, by the costs of docs/formats/gas.md,
//     and a trap at the next head of a function or loop once the gas is used up;
//   - the same for what takes time in proportion to an operand (bulk memory and
//     table instructions, growing), before it is done;
//   - a limit of nested calls, since engines end a recursion at different depths;
//   - one NaN: what arithmetic yields is always the canonical one, which the
//     standard leaves to the machine;
//   - a bound to how tables grow, which is in no limit of memory.
//
// It refuses threads, tail calls, exceptions, relaxed SIMD, garbage collected
// types, several memories, imported memories, tables and globals, whatever
// names something that the module doesn't have (else it could name what is
// added), and what isn't WebAssembly. It doesn't check types: the engine that
// compiles the result does.
//
// The way of counting is that of NEAR's and Parity's wasm-instrument, written anew.
package gas

import (
	"hearth/core/fault"
)

// Names of what the result exports beside what the module exported.
const (
	Left  = "hearth_gas"   // mutable i64: set it before a call; below 0 means that it was used up
	Depth = "hearth_depth" // mutable i32: calls that may still be nested; below 0 means that they were too many
	Start = "hearth_start" // the module's start function, if it had one; to be called once, before any other
)

// Version changes whenever a module's result or its use of gas does.
const Version = 1

// Limits of a module. They bound what rewriting it takes, and what running it
// takes beside its memory.
const (
	MaxModule = 64 << 20  // bytes
	MaxResult = 128 << 20 // bytes of all functions, rewritten
	MaxItems  = 1 << 20   // things in one section
	MaxBody   = 2 << 20   // bytes of one function
	MaxValues = 128       // parameters of one function, and results
	MaxLocals = 4096      // of one function, its parameters included
	MaxNested = 1024      // blocks within blocks
	MaxTables = 16
	MaxTable  = 1 << 20 // elements that all tables start with, and that each grows to
	// MaxDepth is how many calls can be nested. Below it lies the ceiling of
	// wazero's interpreter, the lowest of all engines in use: 2,000.
	MaxDepth = 1900
)

// pagesOf32Bits is how many pages of 64 KiB an address of 32 bits reaches.
const pagesOf32Bits = 1 << 16

// A Module is a rewritten module and what it is made of.
type Module struct {
	Code     []byte
	Imports  []Import
	Exports  []string // functions that it exports by itself
	Started  bool     // it exports Start
	Floats   bool     // it computes with floating point numbers, or SIMD
	Pages    uint32   // memory at the start, in pages of 64 KiB
	MaxPages uint32   // the most that it may grow to; 65536 if it doesn't say, 0 if it has none
	Elements uint64   // of all tables at the start
}

// An Import is a function that a module needs.
type Import struct{ Module, Name string }

// Meter rewrites a module. The result shares nothing with the argument.
func Meter(module []byte) (Module, error) {
	if len(module) > MaxModule {
		return Module{}, fault.New(fault.TooLarge, "meter module: %d bytes, %d are allowed", len(module), MaxModule)
	}
	m, err := parse(module)
	if err != nil {
		return Module{}, fault.New(fault.BadModule, "meter module: %w", err)
	}
	code, err := m.rewrite()
	if err != nil {
		return Module{}, fault.New(fault.BadModule, "meter module: %w", err)
	}
	return Module{
		Code: code, Imports: m.imports, Exports: m.exported, Started: m.started,
		Floats: m.floats, Pages: m.pages, MaxPages: m.maxPages, Elements: uint64(m.elements),
	}, nil
}
