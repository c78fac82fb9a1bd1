package host

import (
	"bytes"
	"context"
	"io"
	"testing"

	"hearth/compute/wasm"
	"hearth/core/fault"
	"hearth/core/store"
)

// A store comes behind the input and goes behind the log, is signed, and is paid in
// both directions.
func TestAStoreGoesInAndComesBackChanged(t *testing.T) {
	h := newHouse(t, Config{})
	was := store.New(store.MaxSize)
	for _, k := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		was.Set(k, bytes.Repeat([]byte(k), store.MaxValue))
	}
	before := was.Encode()
	var got wasm.Call
	change := true
	h.works.run = func(_ context.Context, c wasm.Call) (wasm.Result, error) {
		got = c
		s, err := store.Decode(c.Store, c.StoreMax)
		if err != nil || !change {
			return wasm.Result{Output: []byte("out"), Log: []byte("log"), Gas: 5}, err
		}
		s.Set("z", []byte("new"))
		return wasm.Result{Output: []byte("out"), Log: []byte("log"), Store: s.Encode(), Gas: 5}, nil
	}
	w := wish(h.module(), 5)
	w.Store, w.StoreMax = uint64(len(before)), store.MaxSize
	g := h.guest()
	d, err := g.run(w, append([]byte("input"), before...))
	if err != nil {
		t.Fatal(err)
	}
	if string(got.Input) != "input" || !bytes.Equal(got.Store, before) || got.StoreMax != store.MaxSize {
		t.Errorf("input %q, a store of %d bytes, which may become %d", got.Input, len(got.Store), got.StoreMax)
	}
	if _, _, err := g.fetch(1, d); err != nil {
		t.Fatal(err)
	}
	after := make([]byte, d.StoreBytes)
	if _, err := io.ReadFull(g, after); err != nil || store.Digest(after) != [32]byte(d.Store) {
		t.Errorf("%d bytes of a store, %v", len(after), err)
	}
	if s, err := store.Decode(after, store.MaxSize); err != nil || s.Len() != 9 {
		t.Errorf("%v", err)
	}
	counted := h.till.counted()
	if counted.in != uint64(5+len(before)) || counted.out != uint64(6+len(after)) {
		t.Errorf("%+v for %d bytes in and %d out", counted, 5+len(before), 6+len(after))
	}
	change = false
	if d, err = g.run(w, append([]byte("input"), before...)); err != nil || d.StoreBytes != 0 || [32]byte(d.Store) != store.Digest(before) {
		t.Errorf("a store that hasn't changed: %+v, %v", d, err)
	}
	if _, _, err := g.fetch(1, d); err != nil {
		t.Error(err)
	}
	g.goesOn("a store that hasn't changed")
}

func TestACallWithoutAStoreLeavesNone(t *testing.T) {
	h := newHouse(t, Config{})
	d, err := h.guest().run(wish(h.module(), 0), nil)
	if err != nil || d.Store != nil || d.StoreBytes != 0 {
		t.Errorf("%+v, %v", d, err)
	}
}

// What isn't a store is found by the engine; it costs its bytes and no gas.
func TestBytesThatAreNoStoreAreRefused(t *testing.T) {
	h := newHouse(t, Config{})
	h.works.run = func(_ context.Context, c wasm.Call) (wasm.Result, error) {
		return wasm.Result{}, fault.New(fault.BadRequest, "no store")
	}
	w := wish(h.module(), 0)
	w.Store, w.StoreMax = 9, 100
	g := h.guest()
	_, err := g.run(w, make([]byte, 9))
	want(t, "a store that is none", err, fault.BadRequest)
	g.ends("a store that is none")
	if got := h.till.counted(); got.in != 9 || got.ran != 0 {
		t.Errorf("%+v", got)
	}
}
