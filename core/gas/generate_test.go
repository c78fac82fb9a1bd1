package gas_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
)

// Types of values, as a module writes them.
const (
	i32  = 0x7f
	i64  = 0x7e
	f32  = 0x7d
	f64  = 0x7c
	v128 = 0x7b
	none = 0x40
)

type types []byte

type signature struct{ params, results types }

// A generator makes valid modules by chance: the same seed gives the same one.
type generator struct {
	*rand.Rand
	kinds     types // of values that it uses
	sigs      []signature
	funcs     []signature // imported first
	globals   types       // all may be set
	locals    types       // of the function at hand
	results   types
	labels    []types // of the blocks that are open, outermost first
	fuel      int     // how much more code it writes
	out       []byte
	counters  int // locals, at the end, that loops count in
	countFrom int
}

// Floats that something is special about; the NaN have a sign and something in them.
var (
	floats32 = []uint32{0, 1 << 31, 0x7fc00000, 0xffc12345, 0x7fa00001, 0x7f800000, 0xff800000, 1, 0x4f000000, 0xcf000000, 0x3f800000}
	floats64 = []uint64{0, 1 << 63, 0x7ff8000000000000, 0xfff8000012345678, 0x7ff4000000000001, 0x7ff0000000000000, 0xfff0000000000000, 1, 0x43e0000000000000, 0x3ff0000000000000}
)

func appendSigned(b []byte, v int64) []byte {
	for v < -64 || v > 63 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v)&0x7f)
}

func (g *generator) put(b ...byte) { g.out = append(g.out, b...) }

func (g *generator) number(n int) { g.out = binary.AppendUvarint(g.out, uint64(n)) }

func pick[T any](g *generator, from []T) T { return from[g.IntN(len(from))] }

func (g *generator) some(most int) types {
	t := make(types, g.IntN(most+1))
	for i := range t {
		t[i] = pick(g, g.kinds)
	}
	return t
}

// generate makes a module with functions f0, f1... exported; with floats and
// vectors, or without.
func generate(seed uint64, floats bool) []byte {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 0)), kinds: types{i32, i64}}
	if floats {
		g.kinds = types{i32, i64, f32, f64, v128}
	}
	g.sigs = []signature{{types{i32}, types{i32}}, {}}
	for range 6 {
		g.sigs = append(g.sigs, signature{g.some(3), g.some(3)})
	}
	imported, own := 1, 2+g.IntN(5)
	g.funcs = []signature{g.sigs[0]} // the host's
	kinds := []int{0}
	for range own {
		kinds = append(kinds, 2+g.IntN(6))
	}
	start := g.IntN(4) == 0
	if start {
		kinds = append(kinds, 1)
		own++
	}
	for _, k := range kinds[1:] {
		g.funcs = append(g.funcs, g.sigs[k])
	}
	g.globals = append(types{i32, i64}, g.some(4)...)

	out := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, n int, body []byte) {
		body = append(binary.AppendUvarint(nil, uint64(n)), body...)
		out = append(binary.AppendUvarint(append(out, id), uint64(len(body))), body...)
	}
	list := func(b []byte, t types) []byte { return append(append(b, byte(len(t))), t...) }

	var b []byte
	for _, s := range g.sigs {
		b = list(list(append(b, 0x60), s.params), s.results)
	}
	section(1, len(g.sigs), b)
	section(2, imported, []byte("\x03env\x04host\x00\x00"))
	b = nil
	for _, k := range kinds[1:] {
		b = append(b, byte(k))
	}
	section(3, own, b)
	section(4, 2, []byte{0x70, 1, 8, 20, 0x6f, 0, 3})
	section(5, 1, []byte{1, 1, 3})
	b = nil
	for _, t := range g.globals {
		g.out = append(b, t, 1)
		g.constant(t)
		b = append(g.out, 0x0b)
	}
	section(6, len(g.globals), b)
	b = nil
	for i := range own {
		b = append(b, 2, 'f', '0'+byte(i), 0, byte(imported+i))
	}
	b = append(b, 3, 'm', 'e', 'm', 2, 0)
	for i := range g.globals {
		b = append(b, 2, 'g', '0'+byte(i), 3, byte(i))
	}
	section(7, own+1+len(g.globals), b)
	if start {
		out = append(out, 8, 1, byte(imported+own-1))
	}
	b = []byte{0, 0x41, 0, 0x0b, 5} // active
	for range 5 {
		b = append(b, byte(g.IntN(len(g.funcs))))
	}
	b = append(b, 1, 0, 3, byte(g.IntN(len(g.funcs))), 1, 1) // passive
	b = append(b, 3, 0, byte(len(g.funcs)))                  // declared
	for i := range g.funcs {
		b = append(b, byte(i))
	}
	section(9, 3, b)
	out = append(out, 12, 1, 2)
	b = nil
	for i := range own {
		code := g.function(g.funcs[imported+i])
		b = append(binary.AppendUvarint(b, uint64(len(code))), code...)
	}
	section(10, own, b)
	section(11, 2, []byte("\x00\x41\x03\x0b\x05hello\x01\x08passive!"))
	return out
}

func (g *generator) function(s signature) []byte {
	added := g.some(5)
	g.locals, g.results = slices.Concat(s.params, added), s.results
	g.counters, g.countFrom = 6, len(g.locals)
	g.labels, g.fuel, g.out = []types{s.results}, 40+g.IntN(160), nil
	g.number(len(added) + 1)
	for _, t := range added {
		g.put(1, t)
	}
	g.put(6, i32)
	g.statements(0)
	g.values(s.results, 0)
	g.put(0x0b)
	return g.out
}

func (g *generator) constant(t byte) {
	switch t {
	case i32:
		g.out = appendSigned(append(g.out, 0x41), int64(int32(g.Uint32()>>g.IntN(32))))
	case i64:
		g.out = appendSigned(append(g.out, 0x42), int64(g.Uint64()>>g.IntN(64)))
	case f32:
		v := pick(g, floats32)
		if g.IntN(2) == 0 {
			v = math.Float32bits(float32(g.NormFloat64() * 1000))
		}
		g.out = binary.LittleEndian.AppendUint32(append(g.out, 0x43), v)
	case f64:
		v := pick(g, floats64)
		if g.IntN(2) == 0 {
			v = math.Float64bits(g.NormFloat64() * 1000)
		}
		g.out = binary.LittleEndian.AppendUint64(append(g.out, 0x44), v)
	case v128:
		g.put(0xfd, 12)
		for range 4 {
			g.out = binary.LittleEndian.AppendUint32(g.out, pick(g, floats32))
		}
	}
}

func (g *generator) values(ts types, depth int) {
	for _, t := range ts {
		g.value(t, depth)
	}
}
