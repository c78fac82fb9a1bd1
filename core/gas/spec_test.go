package gas_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"hearth/core/gas"
)

// The standard's own test-suite, as wazero carries it, goes through the pass: what
// it says of a module must hold of the rewritten one, and both engines must use the
// same gas for every call.

type value struct {
	Type  string `json:"type"`
	Lane  string `json:"lane_type"`
	Value any    `json:"value"`
}

type action struct {
	Type   string  `json:"type"`
	Module string  `json:"module"`
	Field  string  `json:"field"`
	Args   []value `json:"args"`
}

type command struct {
	Type     string  `json:"type"`
	Line     int     `json:"line"`
	Name     string  `json:"name"`
	Filename string  `json:"filename"`
	Action   action  `json:"action"`
	Expected []value `json:"expected"`
	Text     string  `json:"text"`
	Kind     string  `json:"module_type"`
}

const plenty = 1 << 40

// world is one engine with the modules of one file of the suite.
type world struct {
	rt      wazero.Runtime
	current api.Module
	named   map[string]api.Module
	alone   bool // a module that would have changed others was refused
}

func newWorld(ctx context.Context, c wazero.RuntimeConfig) *world {
	w := &world{rt: wazero.NewRuntimeWithConfig(ctx, c), named: map[string]api.Module{}}
	b := w.rt.NewHostModuleBuilder("spectest")
	for name, params := range map[string][]api.ValueType{
		"print": nil, "print_i32": {api.ValueTypeI32}, "print_i64": {api.ValueTypeI64}, "print_f32": {api.ValueTypeF32}, "print_f64": {api.ValueTypeF64},
		"print_i32_f32": {api.ValueTypeI32, api.ValueTypeF32}, "print_f64_f64": {api.ValueTypeF64, api.ValueTypeF64},
	} {
		b.NewFunctionBuilder().WithGoFunction(api.GoFunc(func(context.Context, []uint64) {}), params, nil).Export(name)
	}
	if _, err := b.Instantiate(ctx); err != nil {
		panic(err)
	}
	return w
}

func (w *world) load(ctx context.Context, code []byte, name string) error {
	w.current = nil
	c, err := w.rt.CompileModule(ctx, code)
	if err != nil {
		return err
	}
	m, err := w.rt.InstantiateModule(ctx, c, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		return err
	}
	w.current = m
	if name != "" {
		w.named[name] = m
	}
	w.fill(m)
	if f := m.ExportedFunction(gas.Start); f != nil {
		_, err = f.Call(ctx)
	}
	return err
}

func (w *world) fill(m api.Module) {
	m.ExportedGlobal(gas.Left).(api.MutableGlobal).Set(plenty)
	m.ExportedGlobal(gas.Depth).(api.MutableGlobal).Set(gas.MaxDepth)
}

// call gives the results, the gas used, and why it trapped.
func (w *world) call(ctx context.Context, a action) (out []uint64, used uint64, err error) {
	m := w.current
	if a.Module != "" {
		if m = w.named[a.Module]; w.alone {
			m = nil
		}
	}
	if m == nil {
		return nil, 0, errNoModule
	}
	w.fill(m)
	var in []uint64
	for _, v := range a.Args {
		bits, _ := v.bits()
		in = append(in, bits...)
	}
	if a.Type == "get" {
		g := m.ExportedGlobal(a.Field)
		return []uint64{g.Get()}, 0, nil
	}
	f := m.ExportedFunction(a.Field)
	if f == nil {
		return nil, 0, fmt.Errorf("no function %q", a.Field)
	}
	out, err = f.Call(ctx, in...)
	return slices.Clone(out), plenty - m.ExportedGlobal(gas.Left).Get(), err
}

var errNoModule = errors.New("no module")

// bits gives a value as the engine takes it, v128 as two, and which bits of it
// count: the sign of a NaN is anybody's choice.
func (v value) bits() (out, count []uint64) {
	lanes, kind := []any{v.Value}, v.Type
	width := map[string]int{"i8": 8, "i16": 16, "i32": 32, "f32": 32}
	if v.Type == "v128" {
		lanes, kind = v.Value.([]any), v.Lane
	}
	bits := 64
	if n, ok := width[kind]; ok {
		bits = n
	}
	out = make([]uint64, max(1, len(lanes)*bits/64))
	count = slices.Clone(out)
	for i, l := range lanes {
		n, mask := number(l.(string), kind)
		mask &= math.MaxUint64 >> (64 - bits)
		out[i*bits/64] |= n & mask << (i * bits % 64)
		count[i*bits/64] |= mask << (i * bits % 64)
	}
	return out, count
}

func number(s, kind string) (n, mask uint64) {
	switch {
	case s == "null":
		return 0, math.MaxUint64
	case strings.HasPrefix(s, "nan:") && kind == "f32":
		return 0x7fc00000, 0x7fffffff
	case strings.HasPrefix(s, "nan:"):
		return 0x7ff8000000000000, 0x7fffffffffffffff
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		i, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			panic(err)
		}
		n = uint64(i)
	}
	if kind == "externref" {
		n++ // the engine takes 0 for null
	}
	return n, math.MaxUint64
}

// same compares results with what the suite expects.
func same(got []uint64, want []value) bool {
	for _, v := range want {
		if v.Type == "funcref" {
			return true // whatever it is
		}
		out, count := v.bits()
		if len(got) < len(out) {
			return false
		}
		for i := range out {
			if got[i]&count[i] != out[i] {
				return false
			}
		}
		got = got[len(out):]
	}
	return len(got) == 0
}

func suite(t *testing.T) string {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "internal/integration_test/spectest/v2/testdata")
}

func TestTheStandardsSuiteHoldsOfWhatIsMetered(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(suite(t), "*.json"))
	if err != nil || len(files) < 100 {
		t.Fatal(len(files), "files of the suite", err)
	}
	var sum tally
	for _, name := range files {
		sum.add(runSpec(t, name))
	}
	t.Logf("%+v", sum)
	if sum.Modules < 1000 || sum.Calls < 40_000 || sum.Refused > sum.Modules/10 {
		t.Errorf("too little was tested: %+v", sum)
	}
}

type tally struct{ Modules, Refused, Invalid, Calls, Traps int }

func (a *tally) add(b tally) {
	a.Modules += b.Modules
	a.Refused += b.Refused
	a.Invalid += b.Invalid
	a.Calls += b.Calls
	a.Traps += b.Traps
}

func runSpec(t *testing.T, name string) (n tally) {
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Commands []command }
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	features := wazero.NewRuntimeConfigCompiler().WithMemoryLimitPages(4096)
	worlds := []*world{newWorld(ctx, features), newWorld(ctx, wazero.NewRuntimeConfigInterpreter().WithMemoryLimitPages(4096))}
	defer func() {
		for _, w := range worlds {
			w.rt.Close(ctx)
		}
	}()
	for _, c := range file.Commands {
		where := fmt.Sprintf("%s:%d", strings.TrimSuffix(filepath.Base(name), ".json"), c.Line)
		if c.Kind == "text" {
			continue
		}
		switch c.Type {
		case "module":
			n.Modules++
			code, err := os.ReadFile(filepath.Join(filepath.Dir(name), c.Filename))
			if err != nil {
				t.Fatal(err)
			}
			m, err := gas.Meter(code)
			if err != nil {
				n.Refused++
				for _, w := range worlds {
					w.current, w.alone = nil, true
				}
				if !strings.Contains(err.Error(), "isn't a function") {
					t.Errorf("%s: %v", where, err)
				}
				continue
			}
			for _, w := range worlds {
				if err := w.load(ctx, m.Code, c.Name); err != nil && !strings.Contains(err.Error(), "not instantiated") {
					t.Errorf("%s: load: %v", where, err)
				}
			}
		case "assert_invalid", "assert_malformed":
			n.Invalid++
			code, err := os.ReadFile(filepath.Join(filepath.Dir(name), c.Filename))
			if err != nil {
				t.Fatal(err)
			}
			m, err := gas.Meter(code)
			if err != nil {
				continue
			}
			if _, err := worlds[0].rt.CompileModule(ctx, m.Code); err == nil {
				if _, err := worlds[0].rt.CompileModule(ctx, code); err != nil {
					t.Errorf("%s: %s: the rewritten module passes, the module doesn't: %v", where, c.Text, err)
				}
			}
		case "assert_return", "action", "assert_trap", "assert_exhaustion":
			var outs [2][]uint64
			var used [2]uint64
			var errs [2]error
			for i, w := range worlds {
				outs[i], used[i], errs[i] = w.call(ctx, c.Action)
			}
			if errors.Is(errs[0], errNoModule) {
				continue
			}
			n.Calls++
			if trapped := c.Type == "assert_trap" || c.Type == "assert_exhaustion"; trapped {
				n.Traps++
				if errs[0] == nil || errs[1] == nil {
					t.Errorf("%s: %s: no trap: %v", where, c.Action.Field, errs)
				}
			} else if errs[0] != nil || errs[1] != nil {
				t.Errorf("%s: %s: %v", where, c.Action.Field, errs)
			} else if c.Type == "assert_return" && (!same(outs[0], c.Expected) || !same(outs[1], c.Expected)) {
				t.Errorf("%s: %s: %x, want %v", where, c.Action.Field, outs, c.Expected)
			}
			if used[0] != used[1] {
				t.Errorf("%s: %s: gas %d with the compiler, %d with the interpreter", where, c.Action.Field, used[0], used[1])
			}
		}
	}
	return n
}
