package gas_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/tetratelabs/wazero"

	"hearth/core/gas"
)

// A vector is a module, what it is rewritten to, and what calls of it
// use, each on an instance of its own. Values
// are the bits of arguments and results, v128 the lower half first.
type vector struct {
	Name    string       `json:"name"`
	Module  string       `json:"module"`
	Metered string       `json:"metered"`
	Calls   []vectorCall `json:"calls"`
}

type vectorCall struct {
	Function string   `json:"function"`
	Args     []string `json:"args"`
	Results  []string `json:"results,omitempty"` // none: it traps
	Gas      int64    `json:"gas"`
}

const vectorsFile = "../../docs/formats/testdata/gas.json"

// Who changes these has to change the version too.
func TestTheVectorsHold(t *testing.T) {
	raw, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(raw, &all); err != nil || len(all) < 4 {
		t.Fatal(len(all), err)
	}
	for _, v := range all {
		module, _ := hex.DecodeString(v.Module)
		want, _ := hex.DecodeString(v.Metered)
		m, err := gas.Meter(module)
		if err != nil || !bytes.Equal(m.Code, want) {
			t.Errorf("%s: %x, want %x: %v", v.Name, m.Code, want, err)
			continue
		}
		for _, config := range []wazero.RuntimeConfig{wazero.NewRuntimeConfigCompiler(), wazero.NewRuntimeConfigInterpreter()} {
			runVector(t, config, v, m.Code)
		}
	}
}

func runVector(t *testing.T, config wazero.RuntimeConfig, v vector, code []byte) {
	ctx := t.Context()
	w := newWorld(ctx, config)
	defer w.rt.Close(ctx)
	for _, c := range v.Calls {
		if err := w.load(ctx, code, ""); err != nil {
			t.Fatal(err)
		}
		a := action{Field: c.Function}
		for _, arg := range c.Args {
			a.Args = append(a.Args, value{Type: "i64", Value: arg})
		}
		out, used, err := w.call(ctx, a)
		for i, k := range w.current.ExportedFunction(c.Function).Definition().ResultTypes() {
			if err == nil && (k == i32 || k == f32) {
				out[i] &= 1<<32 - 1
			}
		}
		if results := decimal(out); int64(used) != c.Gas || !slices.Equal(results, c.Results) {
			t.Errorf("%s: %s(%s): %s with %d gas, want %s with %d: %v", v.Name, c.Function, c.Args, results, used, c.Results, c.Gas, err)
		}
	}
}

func decimal(vs []uint64) (out []string) {
	for _, v := range vs {
		out = append(out, strconv.FormatUint(v, 10))
	}
	return out
}
