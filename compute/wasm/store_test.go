package wasm_test

import (
	"bytes"
	"strings"
	"testing"

	"hearth/compute/wasm"
	"hearth/core/fault"
	"hearth/core/store"
)

// stored is a store with these keys, each with its name in capitals as its value.
func stored(keys ...string) []byte {
	s := store.New(store.MaxSize)
	for _, k := range keys {
		s.Set(k, []byte(strings.ToUpper(k)))
	}
	return s.Encode()
}

func TestAProgramKeepsWhatItSets(t *testing.T) {
	e := engine(t)
	probe := add(t, e, program(t, "probe"))
	long := strings.Repeat("k", store.MaxKey+1)
	for name, tt := range map[string]struct {
		do     string
		before []byte
		most   int
		output string
		after  []byte // nil: as it was
	}{
		"nothing":           {"keep", stored("a"), 100, "", nil},
		"a key":             {"keep get:a", stored("a"), 100, "a 1 \"A\"\n", nil},
		"a long value":      {"keep get:abcdef", stored("abcdef"), 100, "abcdef 6 \"ABCD\"\n", nil},
		"a key that isn't":  {"keep get:b get:", stored("a"), 100, "b -1 \"\"\n -1 \"\"\n", nil},
		"a new key":         {"keep set:b:B get:b", stored("a"), 100, "b 0\nb 1 \"B\"\n", stored("a", "b")},
		"another value":     {"keep set:a:x set:a:A", stored("a"), 100, "a 0\na 0\n", nil},
		"one key less":      {"keep delete:b delete:b", stored("a", "b"), 100, "b 1\nb 0\n", stored("a")},
		"there and back":    {"keep set:b:1 delete:b", stored("a"), 100, "b 0\nb 1\n", nil},
		"all in order":      {"keep set:ab: list:", stored("b", "a", "ü"), 100, "ab 0\na\nab\nb\nü\n", with(stored("a", "b", "ü"), "ab")},
		"some of them":      {"keep list:a list:x", stored("b", "a", "aa", "ab/c"), 100, "a\naa\nab/c\n", nil},
		"no room":           {"keep set:b:BB set:b:B", stored("a"), 20, "b 1\nb 0\n", stored("a", "b")},
		"no store":          {"keep set:b:B get:b delete:b list:", nil, 0, "b 1\nb -1 \"\"\nb 0\n", nil},
		"no key":            {"keep set::x large:b set:" + long + ":x", stored(), 1000, " 2\nb 2\n" + long + " 2\n", nil},
		"a failure":         {"forget set:b:B", stored("a"), 100, "b 0\n", nil},
		"a panic":           {"keep-and-panic set:b:B", stored("a"), 100, "b 0\n", nil},
		"what there may be": {"keep set:b:B", stored("a"), 20, "b 0\n", stored("a", "b")},
	} {
		r := call(t, e, probe, wasm.Call{Args: append([]string{"p"}, strings.Split(tt.do, " ")...), Store: tt.before, StoreMax: tt.most})
		if string(r.Output) != tt.output || !bytes.Equal(r.Store, tt.after) || r.Fault != "" {
			t.Errorf("%s: output %q, store %q, exit %d, %s %s", name, r.Output, r.Store, r.Exit, r.Fault, r.Log)
		}
	}
}

// with is a store with one more key, without a value.
func with(b []byte, key string) []byte {
	s, err := store.Decode(b, store.MaxSize)
	if err != nil {
		panic(err)
	}
	s.Set(key, nil)
	return s.Encode()
}

func TestAStoreThatIsNoneIsRefused(t *testing.T) {
	e := engine(t)
	module := add(t, e, tiny.bytes())
	for name, c := range map[string]struct {
		call wasm.Call
		want fault.Code
	}{
		"a store":              {wasm.Call{Store: stored(), StoreMax: 1}, ""},
		"room without a store": {wasm.Call{StoreMax: 1}, fault.BadRequest},
		"a store without room": {wasm.Call{Store: stored()}, fault.BadRequest},
		"more than it may be":  {wasm.Call{Store: stored("a"), StoreMax: 9}, fault.BadRequest},
		"more than any may be": {wasm.Call{Store: stored(), StoreMax: store.MaxSize + 1}, fault.TooLarge},
		"below nothing":        {wasm.Call{Store: stored(), StoreMax: -1}, fault.TooLarge},
		"other bytes":          {wasm.Call{Store: []byte("no store"), StoreMax: 100}, fault.BadRequest},
	} {
		c.call.Gas = plenty
		if _, err := e.Call(t.Context(), module, c.call); fault.CodeOf(err) != c.want {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// set sets the key "k" n times, to size bytes.
func set(n int, size byte) []byte {
	one := []byte{0x41, 0, 0x41, 1, 0x41, 0, 0x41, size, 0x10, 0, 0x1a}
	return assembly{imports: []string{"hearth.kv_set"}, types: []byte{5}, data: "k", body: append(bytes.Repeat(one, n), 0x41, 0)}.bytes()
}

// What a store does costs by the bytes that it moves, by the keys that move aside, and
// by what there is to be read before the call.
func TestKeepingCostsGas(t *testing.T) {
	e := open(t, config(t))
	gas := func(module, before []byte) uint64 {
		r := call(t, e, add(t, e, module), wasm.Call{Store: before, StoreMax: 4096})
		if r.Fault != "" || r.Exit != 0 {
			t.Fatalf("%+v", r)
		}
		return r.Gas
	}
	if a, b := gas(set(1, 4), stored()), gas(set(1, 60), stored()); b != a+14 {
		t.Errorf("4 bytes cost %d, 60 bytes %d", a, b)
	}
	none, some := gas(set(1, 4), stored()), gas(set(1, 4), stored("a", "b"))
	if want := none + uint64(2*(len(stored("a", "b"))-len(stored()))) + 2*1000 + 2*40/4; some != want {
		t.Errorf("a key beside two costs %d, beside none %d: not %d", some, none, want)
	}
	large := store.New(store.MaxSize)
	large.Set("large", make([]byte, store.MaxValue))
	r := call(t, e, add(t, e, set(1, 4)), wasm.Call{Gas: 30_000, Store: large.Encode(), StoreMax: store.MaxSize})
	if r.Fault != fault.OutOfGas || r.Gas != 30_000 {
		t.Errorf("less gas than the store costs to be read: %+v", r)
	}
}

func TestAKeyOutsideOfMemoryIsATrap(t *testing.T) {
	e := open(t, config(t))
	a := assembly{imports: []string{"hearth.kv_set"}, types: []byte{5}, body: []byte{0x41, 0x7f, 0x41, 8, 0x41, 0, 0x41, 0, 0x10, 0}}
	if r := call(t, e, add(t, e, a.bytes()), wasm.Call{Store: stored(), StoreMax: 100}); r.Fault != fault.Trapped || r.Store != nil {
		t.Errorf("%+v", r)
	}
}
