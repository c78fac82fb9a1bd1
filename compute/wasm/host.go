package wasm

import (
	"context"
	"errors"
	"maps"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// Names that the engine looks for in a module.
const (
	exportStart = "_start"
	exportInit  = "_initialize"
	exportCall  = "hearth_call"
)

// A hostFunction is what a program may call. Types are written as a letter each:
// i for an i32, I for an i64.
type hostFunction struct {
	params, result string
	run            func(i *instance, p []uint64) uint64
}

// hostModules are all functions that a module may import.
var hostModules = map[string]map[string]hostFunction{
	"hearth":                 together(hearthFunctions, storeFunctions),
	"wasi_snapshot_preview1": wasiFunctions,
}

var hearthFunctions = map[string]hostFunction{
	"input_size": {"", "I", func(i *instance, _ []uint64) uint64 { return uint64(len(i.call.Input)) }},
	"input_read": {"iiI", "i", func(i *instance, p []uint64) uint64 {
		if p[2] >= uint64(len(i.call.Input)) {
			return 0
		}
		from := i.call.Input[p[2]:]
		return uint64(copy(i.must("input_read", p[0], min(p[1]&0xffff_ffff, uint64(len(from)))), from))
	}},
	"output_write": {"ii", "i", func(i *instance, p []uint64) uint64 {
		i.write(i.must("output_write", p[0], p[1]))
		return p[1]
	}},
	"log": {"ii", "", func(i *instance, p []uint64) uint64 {
		i.log.write(i.must("log", p[0], p[1]))
		return 0
	}},
}

func together(of ...map[string]hostFunction) map[string]hostFunction {
	all := map[string]hostFunction{}
	for _, m := range of {
		maps.Copy(all, m)
	}
	return all
}

type instanceKey struct{}

// host makes a host module.
func host(ctx context.Context, rt wazero.Runtime, name string) error {
	b := rt.NewHostModuleBuilder(name)
	for name, f := range hostModules[name] {
		b = b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, _ api.Module, stack []uint64) {
			i := ctx.Value(instanceKey{}).(*instance)
			i.charge(gasHost)
			if v := f.run(i, stack); f.result != "" {
				stack[0] = v
			}
		}), types(f.params), types(f.result)).Export(name)
	}
	_, err := b.Instantiate(ctx)
	return err
}

func types(letters string) []api.ValueType {
	t := []api.ValueType{}
	for _, c := range letters {
		switch c {
		case 'i':
			t = append(t, api.ValueTypeI32)
		case 'I':
			t = append(t, api.ValueTypeI64)
		}
	}
	return t
}

// typed says why a compiled module's imports or exports don't have the types that
// they must have.
func typed(c wazero.CompiledModule) error {
	for _, im := range c.ImportedFunctions() {
		module, name, _ := im.Import()
		f, ok := hostModules[module][name]
		if !ok || !is(im, f.params, f.result) {
			return errors.New("it imports " + name + " of " + module + " with other types")
		}
	}
	exports := c.ExportedFunctions()
	for name, result := range map[string]string{exportStart: "", exportInit: "", exportCall: "i"} {
		if f, ok := exports[name]; ok && !is(f, "", result) {
			return errors.New("it exports " + name + " with other types")
		}
	}
	return nil
}

func is(f api.FunctionDefinition, params, result string) bool {
	return string(f.ParamTypes()) == string(types(params)) && string(f.ResultTypes()) == string(types(result))
}
