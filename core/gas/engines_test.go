package gas_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"hearth/core/gas"
)

// An outcome is what one call came to.
type outcome struct {
	results string
	trap    string
	left    int64
	depth   int32
	memory  [32]byte
	globals string
}

// trace runs every exported function of a generated module on an engine, with the
// arguments that the seed gives, and tells each outcome. It gives up where stop says so.
func trace(t testing.TB, c wazero.RuntimeConfig, code []byte, seed uint64, stop func(i int) bool) []outcome {
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, c.WithMemoryLimitPages(16))
	defer rt.Close(ctx)
	host := func(_ context.Context, _ api.Module, stack []uint64) { stack[0] = uint64(uint32(stack[0])*3 + 1) }
	if _, err := rt.NewHostModuleBuilder("env").NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(host), []api.ValueType{api.ValueTypeI32}, []api.ValueType{api.ValueTypeI32}).
		Export("host").Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	m, err := rt.InstantiateWithConfig(ctx, code, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	names := []string{gas.Start}
	for i := range 8 {
		names = append(names, "f"+string(rune('0'+i)), "f"+string(rune('0'+i)))
	}
	chance := rand.New(rand.NewPCG(seed, 1))
	var all []outcome
	for _, name := range names {
		f := m.ExportedFunction(name)
		if f == nil {
			continue
		}
		var in []uint64
		for _, k := range f.Definition().ParamTypes() {
			in = append(in, chance.Uint64()>>chance.IntN(64))
			switch k {
			case api.ValueTypeI32, api.ValueTypeF32:
				in[len(in)-1] &= 1<<32 - 1
			case v128:
				in = append(in, chance.Uint64())
			}
		}
		if stop(len(all)) {
			break
		}
		all = append(all, called(ctx, m, f, in))
	}
	return all
}

func called(ctx context.Context, m api.Module, f api.Function, in []uint64) outcome {
	left, _ := m.ExportedGlobal(gas.Left).(api.MutableGlobal)
	depth, _ := m.ExportedGlobal(gas.Depth).(api.MutableGlobal)
	var o outcome
	if left != nil {
		left.Set(50_000)
		depth.Set(gas.MaxDepth)
	}
	out, err := f.Call(ctx, in...)
	at := 0
	for _, k := range f.Definition().ResultTypes() {
		if k == v128 {
			at++
		} else if err == nil && (k == i32 || k == f32) {
			out[at] &= 1<<32 - 1 // the engine leaves anything above
		}
		at++
	}
	o.results = fmt.Sprintf("%x", out)
	if err != nil {
		o.trap, _, _ = strings.Cut(err.Error(), "\n")
	}
	if left != nil {
		o.left, o.depth = int64(left.Get()), int32(depth.Get())
	}
	b, _ := m.Memory().Read(0, m.Memory().Size())
	o.memory = sha256.Sum256(b)
	for i := range 8 {
		if g := m.ExportedGlobal("g" + string(rune('0'+i))); g != nil {
			o.globals += fmt.Sprintf("%x ", g.Get()) // of v128 the lower half
		}
	}
	return o
}

func always(int) bool { return false }

// agree is the law of the package, of one generated module.
func agree(t testing.TB, seed uint64, floats bool) []outcome {
	code := generate(seed, floats)
	m, err := gas.Meter(code)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	fast := trace(t, wazero.NewRuntimeConfigCompiler(), m.Code, seed, always)
	slow := trace(t, wazero.NewRuntimeConfigInterpreter(), m.Code, seed, always)
	for i := range fast {
		if fast[i] != slow[i] {
			t.Errorf("seed %d, call %d: compiler %+v, interpreter %+v", seed, i, fast[i], slow[i])
		}
	}
	if floats || m.Started {
		return fast
	}
	// What didn't run out does the same without us; a NaN would be another one.
	plain := trace(t, wazero.NewRuntimeConfigCompiler(), code, seed, func(i int) bool { return i == len(fast) || fast[i].out() })
	for i, p := range plain {
		f := fast[i]
		f.left, f.depth = 0, 0
		if f != p {
			t.Errorf("seed %d, call %d: metered %+v, as it was %+v", seed, i, f, p)
		}
	}
	return fast
}

// out says whether gas or depth were used up.
func (o outcome) out() bool { return o.left < 0 || o.depth < 0 }

func TestAThousandModulesRunAlikeOnBothEngines(t *testing.T) {
	count := map[string]int{}
	for seed := range uint64(1000) {
		for _, o := range agree(t, seed, seed%2 == 0) {
			count["calls"]++
			switch {
			case o.left < 0:
				count["out of gas"]++
			case o.depth < 0:
				count["too deep"]++
			default:
				count[o.trap]++
			}
		}
	}
	t.Log(count)
	for what, least := range map[string]int{
		"calls": 6000, "": 2000, "out of gas": 300, "too deep": 20, "wasm error: unreachable": 100, "wasm error: out of bounds memory access": 100,
		"wasm error: integer divide by zero": 20, "wasm error: indirect call type mismatch": 20, "wasm error: invalid table access": 20,
		"wasm error: invalid conversion to integer": 10,
	} {
		if count[what] < least {
			t.Errorf("%d %q, want at least %d: the modules are too thin", count[what], what, least)
		}
	}
}

func FuzzEngines(f *testing.F) {
	f.Add(uint64(1000), true)
	f.Add(uint64(1001), false)
	f.Fuzz(func(t *testing.T, seed uint64, floats bool) { agree(t, seed, floats) })
}
