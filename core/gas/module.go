package gas

import (
	"errors"
	"fmt"
	"math"
)

// Sections by their numbers.
const (
	secCustom = iota
	secType
	secImport
	secFunc
	secTable
	secMemory
	secGlobal
	secExport
	secStart
	secElem
	secCode
	secData
	secDataCount
)

// order in which sections stand; those of one module ascend in it.
var order = [...]int{
	secType: 1, secImport: 2, secFunc: 3, secTable: 4, secMemory: 5, secGlobal: 6, secExport: 7,
	secStart: 8, secElem: 9, secDataCount: 10, secCode: 11, secData: 12,
}

const header = "\x00asm\x01\x00\x00\x00"

type signature struct{ params, results []byte }

// A section's items: how many, and their bytes without the count.
type section struct {
	count uint32
	body  []byte
	own   bool // the bytes are no longer those of the argument
}

// module is a module taken apart, as far as it has to be.
type module struct {
	sections [secDataCount + 1]section
	types    []signature
	imports  []Import
	funcs    []uint32 // type of each function, imported ones first
	bodies   [][]byte
	tables   int
	elements int // that the tables start with
	memories int
	globals  int
	exported []string
	declared map[uint32]bool // functions that the code may refer to
	startFn  uint32
	started  bool
	floats   bool
	pages    uint32
	maxPages uint32
}

func parse(b []byte) (*module, error) {
	if len(b) < len(header) || string(b[:4]) != header[:4] {
		return nil, errors.New("it isn't WebAssembly")
	}
	if string(b[4:8]) != header[4:] {
		return nil, fmt.Errorf("version %x; only core modules of version 1 are taken, no components", b[4:8])
	}
	m := &module{declared: map[uint32]bool{}}
	r := &reader{b: b, at: len(header)}
	last := 0
	for r.more() {
		id := r.u8()
		body := r.take(int(r.u32()))
		if r.err != nil {
			return nil, r.err
		}
		if id == secCustom { // names for debuggers, and the like
			c := &reader{b: body}
			if c.name(); c.err != nil {
				return nil, fmt.Errorf("section 0: %w", c.err)
			}
			continue
		}
		if int(id) >= len(order) || order[id] <= last {
			return nil, fmt.Errorf("section %d is unknown, twice there or out of order", id)
		}
		last = order[id]
		if err := m.section(id, body); err != nil {
			return nil, fmt.Errorf("section %d: %w", id, err)
		}
	}
	if n := len(m.funcs) - len(m.imports); n != len(m.bodies) {
		return nil, fmt.Errorf("%d functions with %d bodies", n, len(m.bodies))
	}
	return m, r.err
}

func (m *module) section(id byte, body []byte) error {
	r := &reader{b: body}
	if id == secStart {
		m.startFn, m.started = r.index("function", len(m.funcs)), true
		if r.err == nil {
			if sig := m.types[m.funcs[m.startFn]]; len(sig.params)+len(sig.results) > 0 {
				r.fail("the start function takes or gives something")
			}
		}
		return r.end()
	}
	if id == secDataCount {
		m.sections[id] = section{body: body}
		r.u32()
		return r.end()
	}
	n := r.count()
	if n > MaxItems {
		return fmt.Errorf("%d things, %d are taken", n, MaxItems)
	}
	m.sections[id] = section{count: uint32(n), body: body[min(r.at, len(body)):]}
	each := map[byte]func(*reader){
		secType: m.typ, secImport: m.imported, secFunc: m.function, secTable: m.table, secMemory: m.memory, secGlobal: m.global,
		secExport: m.export, secElem: m.segment, secCode: m.code, secData: m.data,
	}[id]
	if id == secTable {
		m.sections[id] = section{own: true} // the limits are ours
	}
	for i := 0; i < n && r.err == nil; i++ {
		each(r)
	}
	return r.end()
}

func (r *reader) end() error {
	if r.err == nil && r.at < len(r.b) {
		r.fail("%d bytes too many", len(r.b)-r.at)
	}
	return r.err
}

func (m *module) value(r *reader) byte {
	t := r.u8()
	switch t {
	case tyF32, tyF64, tyV128:
		m.floats = true
	case tyI32, tyI64, tyFunc, tyExtern:
	default:
		r.fail("value type %#x", t)
	}
	return t
}

func (m *module) values(r *reader) []byte {
	n := r.count()
	if n > MaxValues {
		r.fail("%d values, %d are taken", n, MaxValues)
		return nil
	}
	ts := make([]byte, n)
	for i := range ts {
		ts[i] = m.value(r)
	}
	return ts
}

func (m *module) typ(r *reader) {
	if form := r.u8(); form != 0x60 {
		r.fail("type of form %#x; only functions have types", form)
	}
	m.types = append(m.types, signature{m.values(r), m.values(r)})
}

func (m *module) imported(r *reader) {
	im := Import{r.name(), r.name()}
	if kind := r.u8(); kind != 0 {
		r.fail("import %q.%q isn't a function", im.Module, im.Name)
	}
	m.imports = append(m.imports, im)
	m.function(r)
}

func (m *module) function(r *reader) {
	m.funcs = append(m.funcs, r.index("type", len(m.types)))
}

// table reads a table, and writes it with a most that bounds how it grows: what
// tables hold is in no memory that a host could limit.
func (m *module) table(r *reader) {
	kind := ref(r)
	least, most := limits(r)
	if m.elements += int(least); m.elements > MaxTable {
		r.fail("tables of more than %d elements", MaxTable)
	}
	if m.tables++; m.tables > MaxTables {
		r.fail("more than %d tables", MaxTables)
	}
	if r.err == nil {
		m.sections[secTable].add(appendU32(appendU32([]byte{kind, 1}, least), min(most, MaxTable))...)
	}
}

func (m *module) memory(r *reader) {
	least, most := limits(r)
	if m.pages, m.maxPages = least, min(most, pagesOf32Bits); least > pagesOf32Bits {
		r.fail("a memory of more than %d pages", pagesOf32Bits)
	}
	if m.memories++; m.memories > 1 {
		r.fail("several memories")
	}
}

// limits reads the least and the most of a table or memory.
func limits(r *reader) (least, most uint32) {
	flag := r.u8()
	if flag > 1 {
		r.fail("limits of kind %d; shared and 64-bit memories aren't taken", flag)
	}
	least, most = r.u32(), math.MaxUint32
	if flag == 1 {
		most = r.u32()
	}
	if least > most {
		r.fail("at least %d and at most %d", least, most)
	}
	return least, most
}

func ref(r *reader) byte {
	t := r.u8()
	if t != tyFunc && t != tyExtern {
		r.fail("reference type %#x", t)
	}
	return t
}

func (m *module) global(r *reader) {
	m.value(r)
	r.u8()
	m.constant(r)
	m.globals++
}

func (m *module) export(r *reader) {
	name, kind := r.name(), r.u8()
	if name == Left || name == Depth || name == Start {
		r.fail("export %q: the name is taken", name)
	}
	switch kind {
	case 0:
		m.declare(r)
		m.exported = append(m.exported, name)
	case 1:
		r.index("table", m.tables)
	case 2:
		r.index("memory", m.memories)
	case 3:
		r.index("global", m.globals)
	default:
		r.fail("export %q of kind %d", name, kind)
	}
}

// constant reads an expression that a module starts with. There are no imported
// globals that it could read.
func (m *module) constant(r *reader) {
	for r.more() {
		switch op := r.u8(); op {
		case opI32Const:
			r.leb(32)
		case opI64Const:
			r.leb(64)
		case opF32Const:
			r.take(4)
		case opF64Const:
			r.take(8)
		case opRefNull:
			ref(r)
		case opRefFunc:
			m.declare(r)
		case opVector:
			if sub := r.u32(); sub != 12 {
				r.fail("instruction fd %d in a constant", sub)
			}
			r.take(16)
		case opEnd:
			return
		default:
			r.fail("instruction %#x in a constant", op)
		}
	}
	r.fail("%w", errShort)
}

func (m *module) segment(r *reader) {
	flag := r.u32()
	if flag > 7 {
		r.fail("elements of kind %d", flag)
	}
	active, explicit, expressions := flag&1 == 0, flag&2 != 0, flag&4 != 0
	if active && explicit {
		r.index("table", m.tables)
	}
	if active {
		m.constant(r)
	}
	if flag&3 != 0 { // the kind is told
		if expressions {
			ref(r)
		} else if kind := r.u8(); kind != 0 {
			r.fail("elements of kind %d", kind)
		}
	}
	for range r.count() {
		if expressions {
			m.constant(r)
		} else {
			m.declare(r)
		}
	}
}

// declare reads a function that is named outside of code.
func (m *module) declare(r *reader) { m.declared[r.index("function", len(m.funcs))] = true }

func (m *module) data(r *reader) {
	switch flag := r.u32(); flag {
	case 0:
		m.constant(r)
	case 1:
	case 2:
		r.index("memory", m.memories)
		m.constant(r)
	default:
		r.fail("data of kind %d", flag)
	}
	r.take(r.count())
}

func (m *module) code(r *reader) {
	b := r.take(int(r.u32()))
	if len(b) > MaxBody {
		r.fail("a function of %d bytes, %d are taken", len(b), MaxBody)
	}
	m.bodies = append(m.bodies, b)
}
