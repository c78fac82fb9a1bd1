package wasm

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"
	"time"

	"hearth/core/fault"
)

func TestMessagesComeThroughAsTheyWere(t *testing.T) {
	c := Call{
		Args: []string{"a", ""}, Env: []string{"B=c"}, Input: []byte("in"), Now: -5, Seed: [32]byte{1, 31: 2},
		Gas: 1 << 60, Pages: 9, Deadline: time.Second, MaxOutput: 77, Store: []byte("kept"), StoreMax: 50,
	}
	frame := finish(c.append(newFrame(kindCall, 3, c.room())), 0)
	h, err := readHeader(bytes.NewReader(frame))
	if err != nil || h != (header{kindCall, 3, len(frame) - headerSize}) {
		t.Fatalf("%+v, %v", h, err)
	}
	if got, err := parseCall(frame[headerSize:]); err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("%+v, %v", got, err)
	}
	r := Result{Exit: 7, Output: []byte("out"), Log: []byte("log"), Gas: 5, Fault: fault.Trapped, Reason: "why"}
	if got, err := parseResult(r.append(nil), &c); err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("%+v, %v", got, err)
	}
	r = Result{Output: []byte("out"), Log: []byte("log"), Store: []byte("kept, and more")}
	if got, err := parseResult(r.append(nil), &c); err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("%+v, %v", got, err)
	}
	m := hello{Parallel: 2, MaxPages: 3, Interpreted: true, Command: true, Started: true, Base: 4}
	if got, err := parseHello(m.append(nil)); err != nil || got != m {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAWorkersResultKeepsToItsCall(t *testing.T) {
	c := Call{Gas: 10, MaxOutput: 3, StoreMax: 4}
	for name, r := range map[string]Result{
		"more gas":                       {Gas: 11},
		"more output":                    {Output: []byte("long")},
		"a long log":                     {Log: make([]byte, MaxLog+200)},
		"no text":                        {Reason: "\xff"},
		"more store":                     {Store: make([]byte, 14)},
		"a failure that keeps something": {Exit: 1, Store: make([]byte, 9)},
		"a trap that keeps something":    {Fault: fault.Trapped, Store: make([]byte, 9)},
	} {
		if _, err := parseResult(r.append(nil), &c); !errors.Is(err, errFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzFrames(f *testing.F) {
	c := Call{Gas: 100, MaxOutput: 50, StoreMax: 20}
	f.Add(finish((&Result{Output: []byte("out"), Gas: 3}).append(newFrame(kindResult, 1, 0)), 0))
	f.Add(finish((&Result{Store: []byte("kept")}).append(newFrame(kindResult, 1, 0)), 0))
	f.Add(finish((&Call{Args: []string{"a"}}).append(newFrame(kindCall, 1, 0)), 0))
	f.Add(finish(hello{}.append(newFrame(kindHello, 0, 0)), 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		h, err := readHeader(r)
		if err != nil {
			return
		}
		body, err := h.body(r, 1<<16)
		if err != nil {
			if !errors.Is(err, errFrame) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatal(err)
			}
			return
		}
		if len(body) != h.size {
			t.Fatalf("%d bytes of %d", len(body), h.size)
		}
		if got, err := parseResult(body, &c); err == nil {
			if got.Gas > c.Gas || len(got.Output) > c.MaxOutput {
				t.Errorf("%+v", got)
			}
			if !bytes.Equal(got.append(nil), body) {
				t.Error("a result has two forms")
			}
		}
		if got, err := parseCall(body); err == nil && !bytes.Equal(got.append(nil), body) {
			t.Error("a call has two forms")
		}
		_, _ = parseHello(body)
	})
}
