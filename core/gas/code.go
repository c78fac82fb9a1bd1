package gas

// A block is one that is open.
type block struct {
	op     byte
	target bool // something jumps to its end
}

// A body is one function being rewritten.
type body struct {
	*writer
	reader
	sig    signature
	locals int             // its own
	added  []byte          // types of the locals that are added
	temps  map[byte]uint32 // of them, those that hold a result for a moment, by type
	gas    uint32          // the local with what is left of the gas
	level  uint32          // the local with the depth
	deep   bool            // the depth counts it: it calls, or its frame is a large one
	wide   int             // values that its calls and typed blocks take and yield
	open   []block
	out    []byte
	run    []byte // the straight stretch at hand, not yet charged
	cost   int64  // of it
	head   bool   // it begins a function or a loop: there it ends if the gas is used up
	dead   bool   // nothing gets here
	sub    uint32 // the number behind opMore and opVector
}

func (w *writer) function(sig signature, code []byte) ([]byte, error) {
	f := &body{writer: w, reader: reader{b: code}, sig: sig, locals: len(sig.params), out: w.out[:0], run: w.run[:0], head: true}
	groups := f.count()
	from := f.at
	for range groups {
		if n := f.u32(); int64(n) > int64(MaxLocals-f.locals) {
			f.fail("more than %d locals", MaxLocals)
		} else {
			f.locals += int(n)
		}
		w.m.value(&f.reader)
	}
	declared := code[from:f.at]
	f.deep = f.survey() || f.levels() > 1
	f.gas = f.local(tyI64)
	f.cost = int64(f.locals-len(sig.params)) >> localsShift
	if f.deep {
		f.level = f.local(tyI32)
	}
	f.open = append(w.open[:0], block{op: opBlock})
	for f.err == nil && len(f.open) > 0 {
		f.step()
	}
	if err := f.end(); err != nil {
		return nil, err
	}
	w.out, w.run, w.open = f.out, f.run, f.open // room for the next one
	out := make([]byte, 0, len(f.out)+len(declared)+64)
	out = append(appendU32(out, uint32(groups+len(f.added))), declared...)
	for _, t := range f.added {
		out = append(out, 1, t)
	}
	out = f.reload(out)
	if f.deep {
		return f.nested(out), nil
	}
	return append(out, f.out...), nil
}

// survey looks ahead: it says whether a function may call one, and notes what its
// calls and blocks yield.
func (f *body) survey() (nests bool) {
	was := f.reader
	for f.more() {
		op := f.u8()
		nests = nests || op == opCall || op == opCallIndirect
		f.immediate(op)
	}
	f.reader = was
	return nests
}

// A level of depth is a frame of this many bytes: wazero's compiler has 50 MB for
// all frames, so that MaxDepth of them fit in.
const frameBytes = 16 << 10

// levels is how many levels of depth a function's frame takes: an engine may keep
// in it each local and whatever an instruction yields, which takes 16 bytes at
// most, and two of code at least where it isn't counted as wide.
func (f *body) levels() int64 { return int64(1 + (16*(f.locals+f.wide)+8*len(f.b))/frameBytes) }

// nested writes a function's code into a block that counts the depth around it.
func (f *body) nested(out []byte) []byte {
	levels := f.levels()
	out = appendU32(append(out, opGlobalGet), f.depth)
	out = append(appendS64(append(out, opI32Const), levels), opI32Sub, opLocalTee)
	out = appendU32(append(appendU32(out, f.level), opGlobalSet), f.depth)
	out = appendU32(append(out, opLocalGet), f.level)
	out = append(out, opI32Const, 0, opI32LtS, opIf, tyVoid, opUnreachable, opEnd)
	out = append(f.blockType(append(out, opBlock)), f.out...) // its last end is the block's
	out = append(appendU32(append(out, opLocalGet), f.level), opI32Const)
	out = append(appendS64(out, levels), opI32Add, opGlobalSet)
	return append(appendU32(out, f.depth), opEnd)
}

// blockType writes the type of a block that yields what the function does.
func (f *body) blockType(out []byte) []byte {
	switch len(f.sig.results) {
	case 0:
		return append(out, tyVoid)
	case 1:
		return append(out, f.sig.results[0])
	}
	i, ok := f.wraps[string(f.sig.results)]
	if !ok {
		types := &f.m.sections[secType]
		i = types.count
		f.wraps[string(f.sig.results)] = i
		types.add(append([]byte{0x60, 0}, appendBytes(nil, f.sig.results)...)...)
	}
	return appendS64(out, int64(i))
}

// local adds a local and gives its index.
func (f *body) local(t byte) uint32 {
	f.added = append(f.added, t)
	return uint32(f.locals + len(f.added) - 1)
}

// temp gives a local that holds a result of a type for a moment.
func (f *body) temp(t byte) uint32 {
	i, ok := f.temps[t]
	if !ok {
		if f.temps == nil {
			f.temps = map[byte]uint32{}
		}
		i = f.local(t)
		f.temps[t] = i
	}
	return i
}

// reload takes over what is left of the gas after somebody else may have used some.
func (f *body) reload(out []byte) []byte {
	out = appendU32(append(out, opGlobalGet), f.left)
	return appendU32(append(out, opLocalSet), f.gas)
}

// flush writes the stretch at hand behind its charge. What is left lies in a
// local, so that a loop has no need to read it from memory, and is written
// through to the global, so that it is right when the program is cut off.
func (f *body) flush() {
	if f.head {
		f.cost = max(f.cost, 1)
	}
	if f.cost > 0 && !f.dead {
		f.out = appendU32(append(f.out, opLocalGet), f.gas)
		f.out = append(appendS64(append(f.out, opI64Const), f.cost), opI64Sub, opLocalTee)
		f.out = appendU32(append(appendU32(f.out, f.gas), opGlobalSet), f.left)
		if f.head {
			f.out = append(appendU32(append(f.out, opLocalGet), f.gas), trapBelow0...)
		}
	}
	f.out = append(f.out, f.run...)
	f.run, f.cost, f.head, f.dead = f.run[:0], 0, false, false
}

// step takes over one instruction.
func (f *body) step() {
	from := f.at
	op := f.u8()
	f.cost += int64(f.immediate(op))
	if f.err != nil {
		return
	}
	ins := f.b[from:f.at]
	f.floats = f.floats || floating(op) || op == opVector || op == opMore && f.sub < 8
	switch {
	case op == opReturn && f.deep: // out of the block that counts the depth, not around its end
		f.run = appendU32(append(f.run, opBr), uint32(len(f.open)-1))
	case op == opMemoryGrow:
		f.help(helpGrow)
	case op == opMore:
		f.more0xfc(ins)
	case op == opCall, op == opCallIndirect:
		f.run = f.reload(append(f.run, ins...))
	default:
		f.run = append(f.run, ins...)
	}
	f.canonical(op)
	f.control(op)
}

// help calls one of the functions that are added.
func (f *body) help(which uint32) {
	f.run = f.reload(appendU32(append(f.run, opCall), f.helpers+which))
}

// more0xfc takes over an instruction behind opMore. What it works on is paid for
// by the length on top of the stack.
func (f *body) more0xfc(ins []byte) {
	switch f.sub {
	case 8, 10, 11: // memory.init, copy, fill
		f.help(helpBulk)
	case 12, 14, 15, 17: // table.init, copy, grow, fill
		f.help(helpTable)
	}
	f.run = append(f.run, ins...)
}

// control ends the stretch where the program may go on elsewhere, or come from
// elsewhere.
func (f *body) control(op byte) {
	switch op {
	case opBlock, opLoop, opIf:
		if len(f.open) == MaxNested {
			f.fail("more than %d blocks within each other", MaxNested)
		}
		f.open = append(f.open, block{op: op})
		if op != opBlock {
			f.flush()
			f.head = op == opLoop
		}
	case opElse:
		if f.open[len(f.open)-1].op != opIf {
			f.fail("else without if")
		}
		f.flush()
	case opEnd:
		b := f.open[len(f.open)-1]
		f.open = f.open[:len(f.open)-1]
		if f.dead || b.target || b.op == opIf || len(f.open) == 0 {
			f.flush()
		}
	case opBrIf:
		f.flush()
	case opBr, opBrTable, opReturn, opUnreachable:
		f.flush()
		f.dead = true
	}
}
