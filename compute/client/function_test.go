package client

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"hearth/core/call"
	"hearth/core/fault"
	"hearth/core/gas"
	"hearth/core/store"
)

// modules are those that are kept, and those of them that this machine has.
func (w *town) modules(x *Client) (kept, copies int) {
	names, _ := w.Names(w.t.Context(), modules)
	for _, n := range names {
		if _, err := os.Stat(filepath.Join(x.c.Dir, n)); err == nil {
			copies++
		}
	}
	all, _ := filepath.Glob(filepath.Join(x.c.Dir, modules, "*"))
	if len(all) != copies {
		w.t.Errorf("%d copies, of %d kept", len(all), len(names))
	}
	return len(names), copies
}

func TestAModuleIsKeptAsLongAsAFunctionUsesIt(t *testing.T) {
	w := newTown(t, 0)
	x := w.client() // f, module 1
	deploy := func(name string, n byte) {
		t.Helper()
		if _, err := x.Deploy(t.Context(), Function{Name: name}, module(n)); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(name string) {
		t.Helper()
		if err := x.Remove(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	for i, step := range []struct {
		do   func()
		kept int
	}{
		{func() {}, 1},
		{func() { deploy("f", 1) }, 1},                 // once more
		{func() { deploy("g", 1) }, 1},                 // shared
		{func() { deploy("f", 2) }, 2},                 // replaced, g has it still
		{func() { deploy("g", 2) }, 1},                 // nobody has it
		{func() { deploy("h", 3) }, 2},                 //
		{func() { remove("f") }, 2},                    // g has it still
		{func() { remove("g") }, 1},                    //
		{func() { remove("h") }, 0},                    //
		{func() { deploy("f", 1); deploy("g", 4) }, 2}, // what was dropped is kept anew
	} {
		step.do()
		if kept, copies := w.modules(x); kept != step.kept || copies != kept {
			t.Errorf("step %d: %d modules are kept, %d of them here, not %d", i, kept, copies, step.kept)
		}
		all, err := x.Functions(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if b, err := x.module(t.Context(), f); err != nil || len(b) != int(f.Size) {
				t.Errorf("step %d: %s has no module: %v", i, f.Name, err)
			}
		}
	}
	want(t, "removed twice", x.Remove(t.Context(), "h"), fault.NotFound)
}

func TestSettingsComeBackAsTheyWereGiven(t *testing.T) {
	w := newTown(t, 0)
	x := w.client(func(c *Config) { c.Now = func() time.Time { return time.Unix(1_900_000_000, 5) } })
	f := mustFind(t, x)
	if f.Gas != DefaultGas || f.Pages != DefaultPages || f.Deadline != DefaultDeadline || f.Env != nil || f.Created != 1_900_000_000 || f.Size != int64(len(module(1))) {
		t.Errorf("%+v", f)
	}
	var many []string
	for i := range call.MaxCount {
		many = append(many, fmt.Sprintf("V%d=%s", i, strings.Repeat("v", 57)))
	}
	for _, f := range []Function{
		{Name: "a-1", Gas: 1, Pages: 1, Deadline: time.Millisecond, Env: []string{"A=", "B=b=b"}},
		{Name: strings.Repeat("a", 63), Gas: 1 << 62, Pages: call.MaxPages, Deadline: MaxDeadline, Env: many},
	} {
		put, err := x.Deploy(t.Context(), f, module(2))
		if err != nil {
			t.Fatal(err)
		}
		got, err := x.Function(t.Context(), f.Name)
		if err != nil || !reflect.DeepEqual(put, got) || got.Gas != f.Gas || got.Pages != f.Pages || got.Deadline != f.Deadline || !slices.Equal(got.Env, f.Env) {
			t.Errorf("%.100v, %v", fmt.Sprint(got), err)
		}
	}
	all, err := x.Functions(t.Context())
	if err != nil || len(all) != 3 {
		t.Errorf("%d functions, %v", len(all), err)
	}
}

func TestWhatNoCallCouldHaveIsNotDeployed(t *testing.T) {
	w := newTown(t, 0)
	x := w.client()
	before := fmt.Sprint(w.kept)
	larger := append(module(1), 5, 3, 1, 0, 9) // a memory of 9 pages
	for name, c := range map[string]struct {
		f      Function
		module []byte
		code   fault.Code
	}{
		"no name":                 {Function{}, module(1), fault.BadName},
		"a long name":             {Function{Name: strings.Repeat("a", 64)}, module(1), fault.BadName},
		"a capital":               {Function{Name: "F"}, module(1), fault.BadName},
		"a hyphen at its end":     {Function{Name: "f-"}, module(1), fault.BadName},
		"a path":                  {Function{Name: "../f"}, module(1), fault.BadName},
		"a line":                  {Function{Name: "f\n"}, module(1), fault.BadName},
		"no module":               {Function{Name: "g"}, nil, fault.TooLarge},
		"no end of a module":      {Function{Name: "g"}, make([]byte, gas.MaxModule+1), fault.TooLarge},
		"a poem":                  {Function{Name: "g"}, []byte("a poem"), fault.BadModule},
		"much gas":                {Function{Name: "g", Gas: 1<<62 + 1}, module(1), fault.BadRequest},
		"much memory":             {Function{Name: "g", Pages: call.MaxPages + 1}, module(1), fault.BadRequest},
		"much time":               {Function{Name: "g", Deadline: MaxDeadline + 1}, module(1), fault.BadRequest},
		"little time":             {Function{Name: "g", Deadline: 1}, module(1), fault.BadRequest},
		"no variable":             {Function{Name: "g", Env: []string{"A"}}, module(1), fault.BadRequest},
		"too many variables":      {Function{Name: "g", Env: make([]string, call.MaxCount+1)}, module(1), fault.TooLarge},
		"more than it may have":   {Function{Name: "g", Pages: 8}, larger, fault.BadRequest},
		"a module instead of f's": {Function{Name: "f"}, []byte("a poem"), fault.BadModule},
	} {
		_, err := x.Deploy(t.Context(), c.f, c.module)
		want(t, name, err, c.code)
	}
	if fmt.Sprint(w.kept) != before {
		t.Error("something is kept")
	}
	if _, err := x.Deploy(t.Context(), Function{Name: "g", Pages: 9}, larger); err != nil {
		t.Error(err)
	}
}

func TestADamagedCopyOfAModuleIsReadAnew(t *testing.T) {
	w := newTown(t, 1)
	x := w.client()
	f := mustFind(t, x)
	for name, damage := range map[string]func(path string) error{
		"a flipped bit": func(path string) error { return os.WriteFile(path, module(9), 0o600) },
		"nothing in it": func(path string) error { return os.Truncate(path, 0) },
		"gone":          os.Remove,
	} {
		if err := damage(x.copyOf(f.Module)); err != nil {
			t.Fatal(err)
		}
		clear(w.hosts[0].modules)
		if _, err := x.Invoke(t.Context(), "f", Wish{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if b, err := os.ReadFile(x.copyOf(f.Module)); err != nil || !bytes.Equal(b, module(1)) {
			t.Errorf("%s: the copy isn't mended: %q, %v", name, b, err)
		}
	}
	// Where no copy can be kept, the call runs all the same.
	if err := os.RemoveAll(filepath.Join(x.c.Dir, modules)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(x.c.Dir, modules[:len(modules)-1]), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	clear(w.hosts[0].modules)
	if _, err := x.Invoke(t.Context(), "f", Wish{}); err != nil {
		t.Error(err)
	}
}

func TestARecordThatIsNotAFunctionsIsNotBelieved(t *testing.T) {
	w := newTown(t, 0)
	x := w.client()
	record := w.kept["functions/f"]
	for name, c := range map[string]struct {
		record []byte
		code   fault.Code
	}{
		"another's":    {bytes.Replace(record, []byte("\x01f"), []byte("\x01g"), 1), fault.DamagedFile},
		"cut":          {record[:len(record)-1], fault.BadFrame},
		"more":         {append(bytes.Clone(record), 0), fault.BadFrame},
		"a later form": {append([]byte{3}, record[1:]...), fault.UnknownFormat},
		"no room":      {binary.BigEndian.AppendUint64(append([]byte{2}, record[1:]...), 0), fault.BadFrame},
		"too much":     {binary.BigEndian.AppendUint64(append([]byte{2}, record[1:]...), store.MaxSize+1), fault.BadFrame},
		"half of it":   {append([]byte{2}, record[1:]...), fault.BadFrame},
		"without end":  {make([]byte, 1<<20), fault.TooLarge},
	} {
		w.kept["functions/f"] = c.record
		_, err := x.Function(t.Context(), "f")
		want(t, name, err, c.code)
		// It is in the way, and can be removed; the module may be another's.
		_, err = x.Deploy(t.Context(), Function{Name: "g"}, module(2))
		want(t, name+" beside it", err, c.code)
		want(t, name+" goes", x.Remove(t.Context(), "f"), "")
		if kept, _ := w.modules(x); kept != 1 {
			t.Errorf("%s: %d modules are kept", name, kept)
		}
		if _, err := x.Functions(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.kept["functions/f"] = record
	w.broken["functions/f"] = errors.New("no")
	_, err := x.Functions(t.Context())
	if err == nil {
		t.Error("what can't be read is left out")
	}
}

func FuzzDecodeFunction(f *testing.F) {
	f.Add(Function{Name: "f", Size: 9, Gas: 1, Pages: 1, Deadline: time.Second}.encode())
	f.Add(Function{Name: "a-long-name", Size: 1 << 20, Gas: DefaultGas, Pages: 1 << 16, Deadline: MaxDeadline, Env: []string{"A=b", "C="}}.encode())
	f.Add(Function{Name: "f", Size: 9, Gas: 1, Pages: 1<<32 - 1, Deadline: time.Second}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decodeFunction(b)
		if err != nil {
			return
		}
		if !bytes.Equal(got.encode(), b) {
			t.Error("a function has two forms")
		}
		if err := got.check(); err != nil {
			t.Error(err)
		}
	})
}
