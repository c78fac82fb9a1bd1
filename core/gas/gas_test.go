package gas_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"hearth/core/fault"
	"hearth/core/gas"
)

// assemble makes a module of one memory, a table of one function, a global, and
// these functions, exported as f0, f1 and so on. Each takes an i32 and gives one.
func assemble(bodies ...[]byte) []byte {
	section := func(id byte, body ...byte) []byte { return append([]byte{id, byte(len(body))}, body...) }
	n := byte(len(bodies))
	funcs, exports, code := []byte{n}, []byte{n}, []byte{n}
	for i, b := range bodies {
		funcs = append(funcs, 0)
		exports = append(exports, 2, 'f', '0'+byte(i), 0, byte(i))
		code = append(append(code, byte(len(b)+2), 0), append(b, 0x0b)...)
	}
	out := []byte("\x00asm\x01\x00\x00\x00")
	for _, s := range [][]byte{
		section(1, 1, 0x60, 1, 0x7f, 1, 0x7f), section(3, funcs...), section(4, 1, 0x70, 0, 1), section(5, 1, 1, 1, 4),
		section(6, 1, 0x7f, 1, 0x41, 0, 0x0b), section(7, exports...), section(10, code...),
	} {
		out = append(out, s...)
	}
	return out
}

// try meters a module and calls f0 on both engines, which must agree.
func try(t *testing.T, module []byte, arg, limit int64) (result uint64, left int64, depth int32, err error) {
	t.Helper()
	m, err := gas.Meter(module)
	if err != nil {
		t.Fatal(err)
	}
	type outcome struct {
		result uint64
		left   int64
		depth  int32
		failed bool
	}
	var seen []outcome
	for _, c := range []wazero.RuntimeConfig{wazero.NewRuntimeConfigCompiler(), wazero.NewRuntimeConfigInterpreter()} {
		ctx := t.Context()
		rt := wazero.NewRuntimeWithConfig(ctx, c)
		mod, failed := rt.Instantiate(ctx, m.Code)
		if failed != nil {
			t.Fatal(failed)
		}
		mod.ExportedGlobal(gas.Left).(api.MutableGlobal).Set(uint64(limit))
		var out []uint64
		out, err = mod.ExportedFunction("f0").Call(ctx, uint64(arg))
		o := outcome{left: int64(mod.ExportedGlobal(gas.Left).Get()), depth: int32(mod.ExportedGlobal(gas.Depth).Get()), failed: err != nil}
		if err == nil {
			o.result = out[0] & (1<<32 - 1) // the engine leaves anything above
		}
		seen = append(seen, o)
		rt.Close(ctx)
	}
	if seen[0] != seen[1] {
		t.Errorf("compiler %+v, interpreter %+v", seen[0], seen[1])
	}
	return seen[0].result, seen[0].left, seen[0].depth, err
}

func TestWhatRunsForEverEndsWithItsGas(t *testing.T) {
	for name, body := range map[string][]byte{
		"a loop":              {0x03, 0x40, 0x0c, 0, 0x0b, 0x41, 0},
		"a loop that asks":    {0x03, 0x40, 0x41, 1, 0x0d, 0, 0x0b, 0x41, 0},
		"a loop over a table": {0x03, 0x40, 0x41, 0, 0x0e, 0, 0, 0x0b, 0x41, 0},
		"filling memory":      {0x03, 0x40, 0x41, 0, 0x41, 7, 0x41, 0x80, 0x80, 4, 0xfc, 11, 0, 0x0c, 0, 0x0b, 0x41, 0},
		"growing a table":     {0x03, 0x40, 0xd0, 0x70, 0x41, 0x80, 8, 0xfc, 15, 0, 0x1a, 0x0c, 0, 0x0b, 0x41, 0},
		"a loop in a block that it jumps out of and in": {0x03, 0x40, 0x02, 0x40, 0x0c, 0, 0x0b, 0x0c, 0, 0x0b, 0x41, 0},
	} {
		_, left, depth, err := try(t, assemble(body), 0, 100_000)
		if err == nil || left >= 0 || left < -200_000 {
			t.Errorf("%s: left %d, %v", name, left, err)
		}
		if depth < 0 {
			t.Errorf("%s: taken for a recursion", name)
		}
	}
}

func TestWhatCallsItselfForEverEndsAtOneDepth(t *testing.T) {
	_, left, depth, err := try(t, assemble([]byte{0x20, 0, 0x10, 0}), 0, plenty)
	if err == nil || depth >= 0 || left < 0 {
		t.Errorf("left %d, depth %d, %v", left, depth, err)
	}
	// f(n) = n == 0 ? 0 : f(n-1) + 1
	down := assemble([]byte{0x20, 0, 0x45, 0x04, 0x7f, 0x41, 0, 0x05, 0x20, 0, 0x41, 1, 0x6b, 0x10, 0, 0x41, 1, 0x6a, 0x0b})
	got, _, depth, err := try(t, down, gas.MaxDepth-1, plenty)
	if err != nil || got != gas.MaxDepth-1 {
		t.Errorf("%d, %v", got, err)
	}
	if depth != gas.MaxDepth {
		t.Errorf("after it the depth is %d, %d before", depth, gas.MaxDepth)
	}
	if _, _, depth, err := try(t, down, gas.MaxDepth, plenty); err == nil || depth >= 0 {
		t.Errorf("one deeper: depth %d, %v", depth, err)
	}
}

func TestTheDepthIsGivenBackHoweverAFunctionEnds(t *testing.T) {
	for name, body := range map[string][]byte{
		"at its end":              {0x20, 0, 0x10, 1},
		"return":                  {0x20, 0, 0x10, 1, 0x0f},
		"return within blocks":    {0x02, 0x40, 0x03, 0x40, 0x20, 0, 0x10, 1, 0x0f, 0x0b, 0x0b, 0x41, 0},
		"a jump out of all of it": {0x02, 0x40, 0x20, 0, 0x10, 1, 0x0c, 1, 0x0b, 0x41, 0},
		"one if":                  {0x20, 0, 0x10, 1, 0x20, 0, 0x0d, 0},
		"by a table":              {0x02, 0x40, 0x20, 0, 0x10, 1, 0x20, 0, 0x0e, 1, 1, 1, 0x0b, 0x41, 0},
	} {
		got, _, depth, err := try(t, assemble(body, []byte{0x20, 0, 0x41, 1, 0x6a}), 6, plenty)
		if err != nil || got != 7 || depth != gas.MaxDepth {
			t.Errorf("%s: %d, depth %d of %d, %v", name, got, depth, gas.MaxDepth, err)
		}
	}
}

func TestGasIsTheSumOfWhatRan(t *testing.T) {
	for name, c := range map[string]struct {
		body []byte
		used int64
	}{
		"nothing":               {[]byte{0x20, 0}, 1},
		"an addition":           {[]byte{0x20, 0, 0x41, 1, 0x6a}, 3},
		"a branch not taken":    {[]byte{0x41, 0, 0x04, 0x40, 0x41, 5, 0x1a, 0x0b, 0x20, 0}, 3},
		"a branch taken":        {[]byte{0x41, 1, 0x04, 0x40, 0x41, 5, 0x1a, 0x0b, 0x20, 0}, 5},
		"behind a jump":         {[]byte{0x02, 0x40, 0x0c, 0, 0x41, 5, 0x1a, 0x0b, 0x20, 0}, 2},
		"a page more":           {[]byte{0x41, 1, 0x40, 0}, 1 + 100 + 4096},
		"a page that isn't had": {[]byte{0x41, 9, 0x40, 0}, 1 + 100},
		"1024 bytes filled":     {[]byte{0x41, 0, 0x41, 0, 0x41, 0x80, 8, 0xfc, 11, 0, 0x20, 0}, 3 + 4 + 64 + 1},
	} {
		if _, left, _, err := try(t, assemble(c.body), 1, 10_000); err != nil || 10_000-left != c.used {
			t.Errorf("%s: used %d, want %d: %v", name, 10_000-left, c.used, err)
		}
	}
}

// What is added has numbers behind those of the module. Code that names them
// would be able to pay itself.
func TestNobodyReachesWhatIsAdded(t *testing.T) {
	for name, body := range map[string][]byte{
		"sets the gas":           {0x42, 1, 0x24, 1, 0x41, 0},
		"reads the gas":          {0x23, 1, 0x1a, 0x41, 0},
		"sets the depth":         {0x41, 1, 0x24, 2, 0x41, 0},
		"calls what charges":     {0x41, 0, 0x10, 1},
		"refers to what charges": {0xd2, 1, 0x1a, 0x41, 0},
		"sets the local":         {0x42, 1, 0x21, 1, 0x41, 0},
		"uses the added type":    {0x41, 0, 0x41, 0, 0x11, 1, 0},
		"blocks of its type":     {0x41, 0, 0x02, 1, 0x0b},
	} {
		if _, err := gas.Meter(assemble(body)); fault.CodeOf(err) != fault.BadModule {
			t.Errorf("%s: %v", name, err)
		}
	}
	taken := []byte(strings.Replace(string(assemble([]byte{0x20, 0})), "\x07\x06\x01\x02f0", "\x07\x0e\x01\x0ahearth_gas", 1))
	if _, err := gas.Meter(taken); fault.CodeOf(err) != fault.BadModule || !strings.Contains(err.Error(), "taken") {
		t.Errorf("exports the gas under its name: %v", err)
	}
}

func TestArithmeticYieldsOneNaN(t *testing.T) {
	f32 := func(v uint32) []byte { return []byte{0x43, byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)} }
	odd := f32(0xffc12345) // a NaN with its sign set and something in it
	for name, body := range map[string][]byte{
		"added":     append(append(append([]byte{}, odd...), f32(math.Float32bits(1))...), 0x92),
		"0 / 0":     append(append(f32(0), f32(0)...), 0x95),
		"the root":  append(f32(math.Float32bits(-1)), 0x91),
		"promoted":  append(append([]byte{}, odd...), 0xbb, 0xb6),
		"least":     append(append(append([]byte{}, odd...), f32(0)...), 0x96),
		"of lanes":  append(append(append(append([]byte{}, odd...), 0xfd, 19), append(odd, 0xfd, 19)...), 0xfd, 0xe4, 1, 0xfd, 31, 2),
		"nearest":   append(append([]byte{}, odd...), 0x90),
		"of double": append(append(append([]byte{}, odd...), 0xbb), append(append([]byte{}, odd...), 0xbb, 0xa2, 0xb6)...),
	} {
		got, _, _, err := try(t, assemble(append(body, 0xbc)), 0, plenty)
		if err != nil || uint32(got) != 0x7fc00000 {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
	got, _, _, err := try(t, assemble(append(odd, 0xbc)), 0, plenty)
	if err != nil || uint32(got) != 0xffc12345 {
		t.Errorf("one that is only carried changes: %x, %v", got, err)
	}
}

func TestWhatComputesWithoutFloatsIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		body   []byte
		floats bool
	}{
		"integers":   {[]byte{0x20, 0, 0x41, 1, 0x6a}, false},
		"a constant": {[]byte{0x43, 0, 0, 0, 0, 0x1a, 0x20, 0}, true},
		"converted":  {[]byte{0x20, 0, 0xb2, 0xfc, 0}, true},
		"loaded":     {[]byte{0x20, 0, 0x2a, 2, 0, 0x1a, 0x20, 0}, true},
		"vectors":    {[]byte{0x20, 0, 0xfd, 17, 0x1a, 0x20, 0}, true},
	} {
		m, err := gas.Meter(assemble(c.body))
		if err != nil || m.Floats != c.floats || m.Pages != 1 || m.MaxPages != 4 {
			t.Errorf("%s: %v, %v", name, m.Floats, err)
		}
	}
}

func TestWhatIsNoModuleIsRefused(t *testing.T) {
	good := assemble([]byte{0x20, 0})
	for name, b := range map[string][]byte{
		"nothing":       nil,
		"text":          []byte("(module)"),
		"a component":   []byte("\x00asm\x0d\x00\x01\x00"),
		"cut off":       good[:len(good)-3],
		"more behind":   append(append([]byte{}, good...), 1, 0),
		"threads":       assemble([]byte{0xfe, 0, 0}),
		"a tail call":   assemble([]byte{0x20, 0, 0x12, 0}),
		"relaxed lanes": assemble([]byte{0xfd, 0x80, 2}),
	} {
		_, err := gas.Meter(b)
		if fault.CodeOf(err) != fault.BadModule {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := gas.Meter(make([]byte, gas.MaxModule+1)); fault.CodeOf(err) != fault.TooLarge {
		t.Error(err)
	}
}

func TestAGoProgramSaysTheSameForTheSameGas(t *testing.T) {
	code := goProgram(t)
	m, err := gas.Meter(code)
	if err != nil {
		t.Fatal(err)
	}
	plain, metered := newEngine(t, wazero.NewRuntimeConfigCompiler(), code), newEngine(t, wazero.NewRuntimeConfigCompiler(), m.Code)
	slow := newEngine(t, wazero.NewRuntimeConfigInterpreter(), m.Code)
	const work = "matrix"
	want, _, _ := plain.run(t, work, 0)
	got, left, _ := metered.run(t, work, plenty)
	again, leftAgain, _ := slow.run(t, work, plenty)
	if got != want || again != want || want == "" {
		t.Errorf("%q, metered %q and %q", want, got, again)
	}
	if left != leftAgain {
		t.Errorf("gas left: %d with the compiler, %d with the interpreter", left, leftAgain)
	}
	if _, left, err := metered.run(t, work, (plenty-left)/2); err == nil || left >= 0 {
		t.Errorf("half of the gas is enough: left %d, %v", left, err)
	}
}

func FuzzMeter(f *testing.F) {
	f.Add(assemble([]byte{0x20, 0, 0x10, 0}))
	f.Add(assemble([]byte{0x03, 0x40, 0x0c, 0, 0x0b, 0x41, 0}, []byte{0x20, 0, 0x40, 0}))
	for seed := range uint64(8) {
		f.Add(generate(seed, seed%2 == 0))
	}
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithMemoryLimitPages(16))
	f.Cleanup(func() { rt.Close(ctx) })
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := gas.Meter(b)
		if err != nil {
			var fe *fault.Error
			if !errors.As(err, &fe) {
				t.Fatalf("no code: %v", err)
			}
			return
		}
		was, before := rt.CompileModule(ctx, b)
		now, after := rt.CompileModule(ctx, m.Code)
		if before != nil && strings.Contains(before.Error(), "custom section") {
			before = after // the standard lets a broken one be, and we leave it out
		}
		if (before == nil) != (after == nil) {
			t.Errorf("the engine says %v of the module, %v of the rewritten one", before, after)
		}
		for _, c := range []wazero.CompiledModule{was, now} {
			if c != nil {
				c.Close(ctx)
			}
		}
	})
}
