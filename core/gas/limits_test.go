package gas_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"hearth/core/fault"
	"hearth/core/gas"
)

// A part is a section: its number, how many things it says it has, and their bytes.
type part struct {
	id    byte
	count int
	body  []byte
}

func build(parts ...part) []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	for _, p := range parts {
		body := append(binary.AppendUvarint(nil, uint64(p.count)), p.body...)
		out = append(binary.AppendUvarint(append(out, p.id), uint64(len(body))), body...)
	}
	return out
}

// many is a part of a thing n times over.
func many(id byte, n int, thing ...byte) part { return part{id, n, bytes.Repeat(thing, n)} }

// code is a part of one function body.
func code(body ...byte) part {
	return part{10, 1, append(binary.AppendUvarint(nil, uint64(len(body))), body...)}
}

// one is a module of one function without parameters, a memory and a table. Its
// body begins with its locals.
func one(body ...byte) []byte {
	return build(many(1, 1, 0x60, 0, 0), many(3, 1, 0), many(4, 1, 0x70, 0, 0), many(5, 1, 0, 1), code(body...))
}

func TestWhatIsTooMuchIsRefused(t *testing.T) {
	wide := append(append([]byte{0x60}, 0x81, 1), bytes.Repeat([]byte{i32}, 129)...)
	nested := slices.Concat([]byte{0}, bytes.Repeat([]byte{0x02, none}, gas.MaxNested), bytes.Repeat([]byte{0x0b}, gas.MaxNested+1))
	root := slices.Concat([]byte{1, 1, f64, 0x20, 0}, bytes.Repeat([]byte{0x9f}, gas.MaxBody-100), []byte{0x1a, 0x0b})
	growing := many(10, 4, append(binary.AppendUvarint(nil, uint64(len(root))), root...)...)
	for want, b := range map[string][]byte{
		"129 values":          build(part{1, 1, append(wide, 0)}),
		"1048577 things":      build(many(1, gas.MaxItems+1, 0x60, 0, 0)),
		"more than 4096 l":    one(1, 0x81, 0x20, i32, 0x0b),
		"more than 4096 lo":   one(2, 1, i32, 0x80, 0x20, i32, 0x0b),
		"more than 1024 b":    one(nested...),
		"a function of":       one(append(make([]byte, gas.MaxBody), 0x0b)...),
		"grows to more":       build(many(1, 1, 0x60, 0, 0), many(3, 4, 0), growing),
		"tables of more than": build(many(4, 2, 0x70, 0, 0x81, 0x80, 0x20)),
		"more than 16 tables": build(many(4, 17, 0x70, 0, 0)),
		"a memory of more":    build(many(5, 1, 0, 0x81, 0x80, 4)),
		"at least 3 and at":   build(many(5, 1, 1, 3, 2)),
		"several memories":    build(many(5, 2, 0, 1)),
		"in 0 bytes":          build(part{1, math.MaxUint32, nil}),
		"more than 32 bits":   append(build(), 1, 0xff, 0xff, 0xff, 0xff, 0x1f),
		"ore than 32 bits":    append(build(), 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0),
		"more than 64 bits":   one(slices.Concat([]byte{0, 0x42}, bytes.Repeat([]byte{0x80}, 11), []byte{0x1a, 0x0b})...),
		"in 2 bytes":          one(0, 0x0e, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0x0b),
	} {
		if _, err := gas.Meter(b); fault.CodeOf(err) != fault.BadModule || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// Whoever meters the modules of strangers has to know what that takes.
func TestMeteringTakesMemoryInProportion(t *testing.T) {
	var types, kinds, calls []byte
	for i := range 20_000 { // each gives other values, so that each needs another block
		types = append(types, 0x60, 0, 8)
		for lane := range 8 {
			types = append(types, []byte{i32, i64, f32, f64}[i>>(2*lane)&3])
		}
		kinds = binary.AppendUvarint(kinds, uint64(i))
		call := append(binary.AppendUvarint([]byte{0, 0x10}, uint64(i)), 0x0b)
		calls = append(append(calls, byte(len(call))), call...)
	}
	for name, b := range map[string][]byte{
		"types":        build(many(1, gas.MaxItems, 0x60, 0, 0)),
		"functions":    build(many(1, 1, 0x60, 0, 0), many(3, gas.MaxItems, 0), many(10, gas.MaxItems, 2, 0, 0x0b)),
		"empty bodies": build(many(1, 1, 0x60, 0, 0), many(3, gas.MaxItems, 0), many(10, gas.MaxItems, 0)),
		"exports":      build(many(1, 1, 0x60, 0, 0), many(3, 1, 0), many(7, gas.MaxItems, 0, 0, 0), code(0, 0x0b)),
		"wide blocks":  build(part{1, 20_000, types}, part{3, 20_000, kinds}, part{10, 20_000, calls}),
		"labels":       one(slices.Concat([]byte{0, 0x41, 0, 0x0e, 0x80, 0x80, 0x40}, make([]byte, 1<<20+1), []byte{0x0b})...),
	} {
		var was, is runtime.MemStats
		runtime.ReadMemStats(&was)
		_, err := gas.Meter(b)
		runtime.ReadMemStats(&is)
		if took := (is.TotalAlloc - was.TotalAlloc) / uint64(len(b)); took > 200 { // all that it ever asks for, not at once
			t.Errorf("%s: %d bytes for each of %d: %v", name, took, len(b), err)
		}
	}
}

func TestGrowingIsPaidBeforeItHappens(t *testing.T) {
	grow := []byte{0x20, 0, 0x40, 0, 0x1a, 0x3f, 0}
	if got, left, _, err := try(t, assemble(grow), 3, 13_000); err != nil || got != 4 || left != 13_000-1-100-3*4096-1-2 {
		t.Errorf("%d pages, left %d: %v", got, left, err)
	}
	if _, left, _, err := try(t, assemble(grow), 3, 5000); err == nil || left >= 0 {
		t.Errorf("more than there is: left %d, %v", left, err)
	}
	// More than the module's own most is never had, and free.
	for _, n := range []int64{4, 1 << 16, math.MaxInt32, -1} {
		if got, left, _, err := try(t, assemble(grow), n, 5000); err != nil || got != 1 || left != 5000-104 {
			t.Errorf("%d pages more: %d, left %d, %v", n, got, left, err)
		}
	}
}

func TestATableGrowsToItsBoundAndNoFurther(t *testing.T) {
	endless := bytes.Replace(assemble([]byte{0xd0, 0x70, 0x20, 0, 0xfc, 15, 0}), []byte{4, 4, 1, 0x70, 0, 1}, []byte{4, 4, 1, 0x70, 0, 0}, 1)
	if got, left, _, err := try(t, endless, gas.MaxTable, plenty); err != nil || got != 0 || plenty-left < 8*gas.MaxTable {
		t.Errorf("%d, used %d, %v", got, plenty-left, err)
	}
	if got, _, _, err := try(t, endless, gas.MaxTable+1, plenty); err != nil || uint32(got) != math.MaxUint32 {
		t.Errorf("one more: %d, %v", got, err)
	}
}

// A large frame takes more of an engine's stack than a small one; the depth has to
// be used up before that is, on whatever engine.
func TestLargeFramesTakeSeveralLevels(t *testing.T) {
	// Vectors pile up, are kept over a call of itself, and are dropped.
	const n = 3000
	deep := slices.Concat(bytes.Repeat([]byte{0x20, 0, 0xfd, 17}, n), []byte{0x20, 0, 0x10, 0, 0x1a}, bytes.Repeat([]byte{0x1a}, n), []byte{0x20, 0})
	body := append([]byte{0}, append(deep, 0x0b)...)
	m := build(many(1, 1, 0x60, 1, i32, 1, i32), many(3, 1, 0), part{7, 1, []byte{2, 'f', '0', 0, 0}}, code(body...))
	_, left, depth, err := try(t, m, 1, plenty)
	calls := (plenty - left) / (6 * n)
	if err == nil || depth >= 0 || calls > gas.MaxDepth/7 {
		t.Errorf("left %d, depth %d, %d calls: %v", left, depth, calls, err)
	}
	leaf := append(append([]byte{0}, bytes.Repeat([]byte{0x01}, gas.MaxBody-20)...), 0x20, 0, 0x0b)
	m = build(many(1, 1, 0x60, 1, i32, 1, i32), many(3, 1, 0), part{7, 1, []byte{2, 'f', '0', 0, 0}}, code(leaf...))
	if got, _, depth, err := try(t, m, 7, plenty); err != nil || got != 7 || depth != gas.MaxDepth {
		t.Errorf("the largest function: %d, depth %d: %v", got, depth, err)
	}
}

func TestLocalsArePaid(t *testing.T) {
	m := build(many(1, 1, 0x60, 1, i32, 1, i32), many(3, 1, 0), part{7, 1, []byte{2, 'f', '0', 0, 0}}, code(1, 0x80, 0x10, v128, 0x20, 0, 0x0b))
	if _, left, _, err := try(t, m, 1, 1000); err != nil || left != 1000-512-1 {
		t.Errorf("left %d: %v", left, err)
	}
}

func TestWithoutAMemoryNoneIsTold(t *testing.T) {
	m, err := gas.Meter(build(many(4, 1, 0x70, 0, 9)))
	if err != nil || m.Pages != 0 || m.MaxPages != 0 {
		t.Errorf("%d of %d pages: %v", m.Pages, m.MaxPages, err)
	}
	if m, err = gas.Meter(build(many(5, 1, 0, 2))); err != nil || m.Pages != 2 || m.MaxPages != 1<<16 {
		t.Errorf("%d of %d pages: %v", m.Pages, m.MaxPages, err)
	}
}
