package gas

import (
	"fmt"
	"slices"
)

// A writer rewrites function bodies.
type writer struct {
	m       *module
	types   uint32 // how many the module had: what is added comes behind them
	left    uint32 // the global with what is left of the gas
	depth   uint32 // the global with how deep calls may still be nested
	helpers uint32 // the first of the functions that are added
	floats  bool
	wraps   map[string]uint32 // types of blocks that are added, by their results
	out     []byte            // buffers of the function at hand
	run     []byte
	open    []block
}

// The functions that are added, in this order.
const (
	helpBulk  = iota // (length) -> length, charged by bulkShift
	helpTable        // (elements) -> elements, charged by costElement
	helpGrow         // (pages) -> what memory.grow says, charged by costPage if the module's most allows them
)

func newWriter(m *module) *writer {
	w := &writer{m: m, types: uint32(len(m.types)), left: uint32(m.globals), depth: uint32(m.globals) + 1, helpers: uint32(len(m.funcs)), wraps: map[string]uint32{}}
	m.sections[secType].add(0x60, 1, tyI32, 1, tyI32)
	return w
}

// addHelpers adds the functions that the rewritten code calls.
func (w *writer) addHelpers(bodies *section) {
	n := helpGrow
	charge := func(b []byte) []byte { // an i64 is on the stack; local 1 is one too
		b = append(b, opLocalSet, 1, opGlobalGet)
		b = append(appendU32(b, w.left), opLocalGet, 1, opI64Sub, opLocalTee, 1, opGlobalSet)
		b = append(appendU32(b, w.left), opLocalGet, 1)
		return append(b, trapBelow0...)
	}
	bulk := charge([]byte{1, 1, tyI64, opLocalGet, 0, opI64ExtendU, opI64Const, bulkShift, opI64ShrU})
	bodies.add(appendBytes(nil, append(bulk, opLocalGet, 0, opEnd))...)
	table := charge([]byte{1, 1, tyI64, opLocalGet, 0, opI64ExtendU, opI64Const, costElement, opI64Mul})
	bodies.add(appendBytes(nil, append(table, opLocalGet, 0, opEnd))...)
	if w.m.memories > 0 {
		n++
		grow := []byte{1, 1, tyI64, opLocalGet, 0, opI64ExtendU, opLocalTee, 1, opMemorySize, 0, opI64ExtendU, opI64Add}
		grow = append(appendS64(append(grow, opI64Const), int64(w.m.maxPages)), opI64LeU, opIf, tyVoid, opLocalGet, 1)
		grow = charge(append(appendS64(append(grow, opI64Const), costPage), opI64Mul))
		bodies.add(appendBytes(nil, append(grow, opEnd, opLocalGet, 0, opMemoryGrow, 0, opEnd))...)
	}
	for range n {
		w.m.sections[secFunc].add(appendU32(nil, w.types)...)
	}
}

// trapBelow0 ends the program if the i64 on the stack is below 0.
var trapBelow0 = []byte{opI64Const, 0, opI64LtS, opIf, tyVoid, opUnreachable, opEnd}

// kept are the sections of the result, as they stand in it.
var kept = [...]int{secType, secImport, secFunc, secTable, secMemory, secGlobal, secExport, secElem, secDataCount, secCode, secData}

// rewrite puts the module together again, with what is added to it.
func (m *module) rewrite() ([]byte, error) {
	w := newWriter(m)
	bodies := section{count: uint32(len(m.bodies)), own: true}
	for i, b := range m.bodies {
		fn := len(m.imports) + i
		code, err := w.function(m.types[m.funcs[fn]], b)
		if err != nil {
			return nil, fmt.Errorf("function %d: %w", fn, err)
		}
		if len(bodies.body)+len(code) > MaxResult {
			return nil, fmt.Errorf("function %d: it grows to more than %d bytes", fn, MaxResult)
		}
		bodies.body = appendBytes(bodies.body, code)
	}
	m.floats = m.floats || w.floats
	w.addHelpers(&bodies)
	m.sections[secCode] = bodies
	m.sections[secGlobal].add(tyI64, 1, opI64Const, 0, opEnd)
	depth := appendS64([]byte{tyI32, 1, opI32Const}, MaxDepth)
	m.sections[secGlobal].add(append(depth, opEnd)...)
	ex := &m.sections[secExport]
	ex.add(exportOf(Left, 3, w.left)...)
	ex.add(exportOf(Depth, 3, w.depth)...)
	if m.started {
		ex.add(exportOf(Start, 0, m.startFn)...)
	}
	out := []byte(header)
	for _, id := range kept {
		s := m.sections[id]
		if id == secDataCount {
			if len(s.body) > 0 {
				out = appendBytes(append(out, byte(id)), s.body)
			}
			continue
		}
		if s.count > 0 {
			out = appendU32(append(out, byte(id)), uint32(lebLen(s.count)+len(s.body)))
			out = append(appendU32(out, s.count), s.body...)
		}
	}
	return out, nil
}

// add adds an item.
func (s *section) add(item ...byte) {
	if !s.own {
		s.body, s.own = slices.Clone(s.body), true
	}
	s.count++
	s.body = append(s.body, item...)
}

func exportOf(name string, kind byte, index uint32) []byte {
	return appendU32(append(appendBytes(nil, []byte(name)), kind), index)
}
