package call_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"hearth/core/call"
	"hearth/core/fault"
	"hearth/core/store"
)

const net = "hearth-0123456789abcdef0123"

var (
	key    = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	public = key.Public().(ed25519.PublicKey)
)

func some() call.Call {
	return call.Call{
		Module: [32]byte{1}, Args: []string{"fn", "a"}, Env: []string{"A=b"}, Input: sha256.Sum256([]byte("in")),
		Now: 1_800_000_000_000_000_000, Seed: [32]byte{2}, Gas: 5_000_000_000, Pages: 2048, MaxOutput: 1 << 20,
	}
}

// keeping is some call of a function with a store.
func keeping() call.Call {
	c := some()
	c.Store, c.StoreMax = store.Digest(store.New(0).Encode()), 100
	return c
}

func TestWhatNoHostTakesIsRefused(t *testing.T) {
	long := make([]string, call.MaxCount+1)
	for _, tt := range []struct {
		name string
		do   func(c *call.Call)
		want fault.Code
	}{
		{"a call", func(*call.Call) {}, ""},
		{"no arguments", func(c *call.Call) { c.Args = nil }, ""},
		{"an empty variable", func(c *call.Call) { c.Env = []string{"A="} }, ""},
		{"all the words there may be", func(c *call.Call) { c.Args, c.Env = []string{strings.Repeat("a", call.MaxWords-1)}, nil }, ""},
		{"one byte more", func(c *call.Call) { c.Args, c.Env = []string{strings.Repeat("a", call.MaxWords)}, nil }, fault.TooLarge},
		{"too many words", func(c *call.Call) { c.Args = long }, fault.TooLarge},
		{"a zero byte", func(c *call.Call) { c.Args = []string{"a\x00b"} }, fault.BadRequest},
		{"what is no text", func(c *call.Call) { c.Args = []string{"\xff"} }, fault.BadRequest},
		{"a variable that is no text", func(c *call.Call) { c.Env = []string{"A=\xc3"} }, fault.BadRequest},
		{"a variable without a name", func(c *call.Call) { c.Env = []string{"=b"} }, fault.BadRequest},
		{"a variable without a value", func(c *call.Call) { c.Env = []string{"A"} }, fault.BadRequest},
		{"no gas", func(c *call.Call) { c.Gas = 0 }, fault.BadRequest},
		{"more gas than is counted", func(c *call.Call) { c.Gas = 1<<62 + 1 }, fault.BadRequest},
		{"no memory", func(c *call.Call) { c.Pages = 0 }, fault.BadRequest},
		{"more memory than there is", func(c *call.Call) { c.Pages = call.MaxPages + 1 }, fault.BadRequest},
		{"no output", func(c *call.Call) { c.MaxOutput = 0 }, fault.BadRequest},
		{"too much output", func(c *call.Call) { c.MaxOutput = call.MaxOutput + 1 }, fault.BadRequest},
		{"a store", func(c *call.Call) { *c = keeping() }, ""},
		{"the largest store", func(c *call.Call) { *c = keeping(); c.StoreMax = store.MaxSize }, ""},
		{"a larger store", func(c *call.Call) { *c = keeping(); c.StoreMax = store.MaxSize + 1 }, fault.BadRequest},
		{"a store without room", func(c *call.Call) { *c = keeping(); c.StoreMax = 0 }, fault.BadRequest},
		{"room without a store", func(c *call.Call) { c.StoreMax = 1 }, fault.BadRequest},
		{"a clock before its time", func(c *call.Call) { c.Now = -1 }, fault.BadRequest},
	} {
		c := some()
		tt.do(&c)
		if got := fault.CodeOf(c.Check()); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// The digest covers every field: what differs in one is another call.
func TestADigestNamesOneCall(t *testing.T) {
	c := some()
	seen := map[[32]byte]string{c.Digest(): "itself"}
	add := func(name string, c call.Call) {
		if other, ok := seen[c.Digest()]; ok {
			t.Errorf("%s has the digest of %s", name, other)
		}
		seen[c.Digest()] = name
	}
	for i := range reflect.TypeFor[call.Call]().NumField() {
		d := some()
		f := reflect.ValueOf(&d).Elem().Field(i)
		switch f.Kind() {
		case reflect.Array:
			f.Index(31).SetUint(f.Index(31).Uint() + 1)
		case reflect.Slice:
			f.Set(reflect.Append(f, reflect.ValueOf("C=d")))
		case reflect.Int64:
			f.SetInt(f.Int() + 1)
		default:
			f.SetUint(f.Uint() + 1)
		}
		add(reflect.TypeFor[call.Call]().Field(i).Name, d)
	}
	kept := keeping()
	add("a store", kept)
	kept.Store[0]++
	add("another store", kept)
	kept.StoreMax++
	add("more room", kept)
	moved := some() // from one list to the other
	moved.Args, moved.Env = []string{"fn"}, []string{"a", "A=b"}
	add("a word in the other list", moved)
	joined := some()
	joined.Args = []string{"fna"}
	add("two words in one", joined)
}

func TestASignatureCoversTheOutcomeAndItsCall(t *testing.T) {
	id := some().Digest()
	o := call.Outcome{Exit: 1, Gas: 9, Output: [32]byte{3}, Bytes: 4, Fault: fault.Trapped}
	sig := o.Sign(net, id, key)
	if err := o.Verify(net, id, public, sig); err != nil {
		t.Fatal(err)
	}
	other := id
	other[0]++
	stored := o
	stored.Store = [32]byte{5}
	longer := stored
	longer.StoreBytes = 1
	for name, err := range map[string]error{
		"exit":      call.Outcome{Exit: 2, Gas: 9, Output: [32]byte{3}, Bytes: 4, Fault: fault.Trapped}.Verify(net, id, public, sig),
		"gas":       call.Outcome{Exit: 1, Gas: 8, Output: [32]byte{3}, Bytes: 4, Fault: fault.Trapped}.Verify(net, id, public, sig),
		"output":    call.Outcome{Exit: 1, Gas: 9, Output: [32]byte{4}, Bytes: 4, Fault: fault.Trapped}.Verify(net, id, public, sig),
		"bytes":     call.Outcome{Exit: 1, Gas: 9, Output: [32]byte{3}, Bytes: 5, Fault: fault.Trapped}.Verify(net, id, public, sig),
		"fault":     call.Outcome{Exit: 1, Gas: 9, Output: [32]byte{3}, Bytes: 4}.Verify(net, id, public, sig),
		"store":     stored.Verify(net, id, public, sig),
		"digest":    stored.Verify(net, id, public, longer.Sign(net, id, key)),
		"call":      o.Verify(net, other, public, sig),
		"network":   o.Verify(net+"4", id, public, sig),
		"key":       o.Verify(net, id, make([]byte, 32), sig),
		"short key": o.Verify(net, id, public[:31], sig),
		"no sig":    o.Verify(net, id, public, nil),
	} {
		if fault.CodeOf(err) != fault.BadSignature {
			t.Errorf("another %s: %v", name, err)
		}
	}
}

func TestAnOutcomeKeepsToItsCall(t *testing.T) {
	c := some()
	for _, tt := range []struct {
		name string
		o    call.Outcome
		want fault.Code
	}{
		{"all it may", call.Outcome{Gas: c.Gas, Bytes: c.MaxOutput}, ""},
		{"out of gas", call.Outcome{Gas: c.Gas, Fault: fault.OutOfGas}, ""},
		{"more gas", call.Outcome{Gas: c.Gas + 1}, fault.BadFrame},
		{"more output", call.Outcome{Bytes: c.MaxOutput + 1}, fault.BadFrame},
		{"a fault that is the host's own", call.Outcome{Fault: fault.Busy}, fault.BadFrame},
		{"a word that is no code", call.Outcome{Fault: "tired"}, fault.BadFrame},
		{"a store that it hasn't", call.Outcome{Store: [32]byte{1}, StoreBytes: 9}, fault.BadFrame},
		{"bytes of a store that it hasn't", call.Outcome{StoreBytes: 9}, fault.BadFrame},
	} {
		if got := fault.CodeOf(tt.o.Check(c)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// Only a function that ended well changes its store.
func TestAnOutcomeKeepsToTheStoreOfItsCall(t *testing.T) {
	c := keeping()
	changed := [32]byte{1}
	for _, tt := range []struct {
		name string
		o    call.Outcome
		want fault.Code
	}{
		{"as it was", call.Outcome{Store: c.Store}, ""},
		{"a change", call.Outcome{Store: changed, StoreBytes: 109}, ""},
		{"as it was, and failed", call.Outcome{Store: c.Store, Exit: 1}, ""},
		{"as it was, and trapped", call.Outcome{Store: c.Store, Fault: fault.Trapped}, ""},
		{"no store", call.Outcome{}, fault.BadFrame},
		{"a change, and failed", call.Outcome{Store: changed, StoreBytes: 9, Exit: 1}, fault.BadFrame},
		{"a change, and trapped", call.Outcome{Store: changed, StoreBytes: 9, Fault: fault.Trapped}, fault.BadFrame},
		{"a change without bytes", call.Outcome{Store: changed}, fault.BadFrame},
		{"bytes without a change", call.Outcome{Store: c.Store, StoreBytes: 9}, fault.BadFrame},
		{"more than it may have", call.Outcome{Store: changed, StoreBytes: 110}, fault.BadFrame},
		{"bytes without end", call.Outcome{Store: changed, StoreBytes: 1<<64 - 1}, fault.BadFrame},
	} {
		if got := fault.CodeOf(tt.o.Check(c)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// The canonical bytes are put together here once more, field by field, as
// docs/formats/call.md has them.
func TestTheDigestIsOfTheBytesInTheBook(t *testing.T) {
	c := some()
	b := []byte{1}
	b = append(b, c.Module[:]...)
	for _, list := range [][]string{c.Args, c.Env} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(list)))
		for _, s := range list {
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
		}
	}
	b = append(b, c.Input[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Now))
	b = append(b, c.Seed[:]...)
	for _, v := range []uint64{c.Gas, uint64(c.Pages), c.MaxOutput} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	if want := sha256.Sum256(append([]byte("hearth/call/1"), b...)); c.Digest() != want {
		t.Errorf("%x, want %x", c.Digest(), want)
	}
	k := keeping()
	b[0] = 2
	b = binary.BigEndian.AppendUint64(append(b, k.Store[:]...), k.StoreMax)
	if want := sha256.Sum256(append([]byte("hearth/call/2"), b...)); k.Digest() != want {
		t.Errorf("with a store: %x, want %x", k.Digest(), want)
	}
}

type vector struct {
	Name    string
	ChainID string `json:"chain_id"`
	Call    string // its digest
	Exit    uint32
	Gas     uint64 `json:",string"`
	Output  string
	Bytes   uint64 `json:",string"`
	Fault   string
	Store   string
	Stored  uint64 `json:"store_bytes,string"`
	Seed    string `json:"host_seed"`
	Sig     string
}

func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("../../docs/formats/testdata/outcome.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) == 0 {
		t.Fatal("no vectors")
	}
	for _, v := range vectors {
		id, err1 := hex.DecodeString(v.Call)
		out, err2 := hex.DecodeString(v.Output)
		seed, err3 := hex.DecodeString(v.Seed)
		if err1 != nil || err2 != nil || err3 != nil {
			t.Fatal(err1, err2, err3)
		}
		o := call.Outcome{Exit: v.Exit, Gas: v.Gas, Output: [32]byte(out), Bytes: v.Bytes, Fault: fault.Code(v.Fault)}
		if v.Store != "" {
			kept, err := hex.DecodeString(v.Store)
			if err != nil {
				t.Fatal(err)
			}
			o.Store, o.StoreBytes = [32]byte(kept), v.Stored
		}
		if got := hex.EncodeToString(o.Sign(v.ChainID, [32]byte(id), ed25519.NewKeyFromSeed(seed))); got != v.Sig {
			t.Errorf("%s: signature %s, want %s", v.Name, got, v.Sig)
		}
	}
}
