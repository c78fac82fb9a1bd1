package host

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"io"
	"testing"
	"time"

	"hearth/compute/wasm"
	"hearth/compute/wire"
	"hearth/core/fault"
	"hearth/p2p"

	"google.golang.org/protobuf/proto"
)

// wireStream plays recorded bytes to a server, and keeps its answers.
type wireStream struct {
	io.Reader
	io.Writer
	remote ed25519.PublicKey
}

func (wireStream) Close() error                     { return nil }
func (wireStream) SetDeadline(time.Time) error      { return nil }
func (wireStream) SetReadDeadline(time.Time) error  { return nil }
func (wireStream) SetWriteDeadline(time.Time) error { return nil }
func (s wireStream) Remote() ed25519.PublicKey      { return s.remote }
func (wireStream) RemoteIP() string                 { return "" }

// Whatever a peer with a grant sends, the server stays up, counts its requests
// out, and holds neither bytes nor gas when the stream has ended.
func FuzzServe(f *testing.F) {
	h := newHouse(f, Config{})
	h.works.run = func(_ context.Context, c wasm.Call) (wasm.Result, error) {
		switch c.Gas % 4 {
		case 0:
			return wasm.Result{}, errors.New("broken")
		case 1:
			return wasm.Result{}, fault.New(fault.Deadline, "late")
		case 2:
			return wasm.Result{Gas: c.Gas + 1}, nil
		}
		return wasm.Result{Output: bytes.Clone(c.Input[:min(len(c.Input), c.MaxOutput)]), Log: []byte("log"), Gas: c.Gas / 2, Store: bytes.Clone(c.Store)}, nil
	}
	known := h.module()
	body := []byte("some bytes of input")
	digest := sha256.Sum256(body)
	odd := wish(known, len(body))
	odd.Gas += 3 // it runs well
	keeps := wish(known, len(body)-9)
	keeps.Gas, keeps.Store, keeps.StoreMax = odd.Gas, 9, 100
	for _, talk := range [][]proto.Message{
		{putReq(digest[:], len(body))},
		{callReq(wish(known, len(body)))},
		{callReq(odd), fetchReq(1), fetchReq(2)},
		{callReq(odd), callReq(odd)},
		{callReq(keeps), fetchReq(1)},
		{fetchReq(1)},
		{&wire.Request{}},
		{&wire.Request{Lease: 2, Grant: slip(2)}},
	} {
		var b bytes.Buffer
		for _, r := range talk {
			if err := p2p.WriteFrame(&b, r); err != nil {
				f.Fatal(err)
			}
			if r.(*wire.Request).GetPut() != nil || r.(*wire.Request).GetCall() != nil {
				b.Write(body)
			}
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	var hello bytes.Buffer
	if err := p2p.WriteFrame(&hello, &wire.Request{Lease: 1, Grant: slip(1)}); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var answers bytes.Buffer
		h.srv.Serve(t.Context(), wireStream{io.MultiReader(bytes.NewReader(hello.Bytes()), bytes.NewReader(in)), &answers, public(peer)})
		var first wire.Response
		if err := p2p.ReadFrame(&answers, &first, p2p.MaxFrame); err != nil || first.Code != string(fault.BadRequest) {
			t.Errorf("the grant: %v, %v", &first, err)
		}
		if n := h.srv.budget.used.Load(); n != 0 {
			t.Fatalf("%d bytes are held for nobody", n)
		}
		if got := h.till.counted(); got.held != 0 || h.till.endedTwice {
			t.Fatalf("%+v", got)
		}
		for range h.srv.c.PerPeer {
			leave, err := h.srv.gate.Enter(public(peer))
			if err != nil {
				t.Fatal("a request was never counted out")
			}
			defer leave()
		}
	})
}
