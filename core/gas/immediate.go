package gas

// label reads how many blocks out a jump goes.
func (f *body) label() {
	out := f.u32()
	if f.open == nil || f.err != nil {
		return // a look ahead
	}
	if int64(out) >= int64(len(f.open)) {
		f.fail("a jump out of %d blocks of %d", out, len(f.open))
		return
	}
	if b := &f.open[len(f.open)-1-int(out)]; b.op != opLoop {
		b.target = true
	}
}

// immediate reads what follows an instruction and gives its cost.
func (f *body) immediate(op byte) uint16 {
	switch immediates[op] {
	case immNone:
	case immBlock:
		f.blockKind()
	case immLabel:
		f.label()
	case immLabels:
		for range f.count() {
			f.label()
		}
		f.label()
	case immFunc:
		f.called(op)
	case immIndirect:
		f.yields(f.index("type", len(f.m.types)))
		f.index("table", f.m.tables)
	case immTypes:
		f.m.values(&f.reader)
	case immLocal:
		f.index("local", f.locals)
	case immGlobal:
		f.index("global", f.m.globals)
	case immTable:
		f.index("table", f.m.tables)
	case immMemarg:
		f.memarg()
	case immZero:
		f.memory()
	case immI32:
		f.leb(32)
	case immI64:
		f.leb(64)
	case imm4:
		f.take(4)
	case imm8:
		f.take(8)
	case immRef:
		ref(&f.reader)
	case immMore:
		return f.immediateMore()
	case immVector:
		return f.immediateVector()
	default:
		f.fail("instruction %#x isn't known", op)
	}
	return uint16(costs[op])
}

// blockKind reads a block's type: none, a value's, or an index.
func (f *body) blockKind() {
	at := f.at
	switch c := f.u8(); {
	case c == tyVoid:
	case c >= 0x40 && c < 0x80: // a negative number of one byte
		f.at = at
		f.m.value(&f.reader)
	default:
		f.at = at
		f.yields(f.index("type", len(f.m.types)))
	}
}

// yields notes what a call or block of a type takes and yields, when looking ahead.
func (f *body) yields(t uint32) {
	if f.err == nil && f.open == nil {
		f.wide += len(f.m.types[t].params) + len(f.m.types[t].results)
	}
}

// called reads which function is called, or referred to: that must be one that
// the module names outside of code too.
func (f *body) called(op byte) {
	i := f.index("function", len(f.m.funcs))
	switch {
	case op == opCall && f.err == nil:
		f.yields(f.m.funcs[i])
	case op == opRefFunc && !f.m.declared[i]:
		f.fail("function %d is referred to and not declared", i)
	}
}

// memory reads which memory is meant: there is but one, and its number one byte.
func (f *body) memory() {
	if f.u8() != 0 || f.m.memories == 0 {
		f.fail("no such memory")
	}
}

func (f *body) memarg() {
	if align := f.u32(); align > 4 {
		f.fail("alignment 2^%d", align)
	}
	f.u32()
}

func (f *body) immediateMore() uint16 {
	switch f.sub = f.u32(); f.sub {
	case 0, 1, 2, 3, 4, 5, 6, 7: // saturating conversions
	case 8: // memory.init
		f.u32()
		f.memory()
	case 9, 13: // data.drop, elem.drop
		f.u32()
	case 10: // memory.copy
		f.memory()
		f.memory()
	case 11: // memory.fill
		f.memory()
	case 12: // table.init
		f.u32()
		f.index("table", f.m.tables)
	case 14: // table.copy
		f.index("table", f.m.tables)
		f.index("table", f.m.tables)
	case 15, 16, 17: // table.grow, size, fill
		f.index("table", f.m.tables)
	default:
		f.fail("instruction fc %d isn't known", f.sub)
	}
	return costMore
}

func (f *body) immediateVector() uint16 {
	f.sub = f.u32()
	switch op := f.sub; {
	case op <= 11, op == 92, op == 93: // loads and stores
		f.memarg()
	case op == 12, op == 13: // v128.const, shuffle
		f.take(16)
	case op >= 21 && op <= 34: // a lane
		f.u8()
	case op >= 84 && op <= 91: // a lane in memory
		f.memarg()
		f.u8()
	case op > 0xff:
		f.fail("instruction fd %d isn't known; relaxed SIMD isn't taken", op)
	}
	switch f.sub {
	case 0xe3, 0xe7, 0xef, 0xf3: // square roots, divisions
		return costDivide
	}
	return costVector
}
