package remote

import (
	"bytes"
	"crypto/ed25519"
	"net"
	"testing"

	"lukechampine.com/blake3"

	"hearth/core/fault"
	"hearth/core/pointer"
	"hearth/p2p"
	"hearth/storage/wire"
)

func TestWrongPointersAreNotBelieved(t *testing.T) {
	mine := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
	public := mine.Public().(ed25519.PublicKey)
	head := []byte("head")
	drawn := func(by ed25519.PrivateKey, device, seq uint64) pointer.Signed {
		return pointer.Pointer{
			ChainID: "net", Account: "anna", Device: device, Seq: seq, Prev: pointer.Hash{1}, LogRoot: blake3.Sum256(head),
		}.Sign(by)
	}
	want := drawn(mine, 7, 5)
	changed := want.Pointer
	changed.Time++
	elsewhere := want.Pointer
	elsewhere.ChainID = "other"
	many := [][]byte{}
	for i := range uint64(pointer.MaxDevices + 1) {
		many = append(many, drawn(mine, i, 5).Encode())
	}
	for name, tt := range map[string]struct {
		answer     *wire.Pointers
		list, head fault.Code
	}{
		"the truth":            {&wire.Pointers{Pointers: [][]byte{want.Encode()}, Head: head}, "", ""},
		"a newer one":          {&wire.Pointers{Pointers: [][]byte{drawn(mine, 7, 6).Encode()}, Head: head}, "", ""},
		"an older one":         {&wire.Pointers{Pointers: [][]byte{drawn(mine, 7, 4).Encode()}, Head: head}, "", fault.Stale},
		"another head":         {&wire.Pointers{Pointers: [][]byte{want.Encode()}, Head: []byte("other")}, "", fault.BadFrame},
		"another device":       {&wire.Pointers{Pointers: [][]byte{drawn(mine, 8, 5).Encode()}, Head: head}, "", fault.BadFrame},
		"two of one number":    {&wire.Pointers{Pointers: [][]byte{changed.Sign(mine).Encode()}, Head: head}, "", fault.BadFrame},
		"another key":          {&wire.Pointers{Pointers: [][]byte{drawn(other, 7, 5).Encode()}, Head: head}, fault.BadSignature, fault.BadSignature},
		"another network":      {&wire.Pointers{Pointers: [][]byte{elsewhere.Sign(mine).Encode()}, Head: head}, fault.BadSignature, fault.BadSignature},
		"one device twice":     {&wire.Pointers{Pointers: [][]byte{want.Encode(), drawn(mine, 7, 6).Encode()}}, fault.BadFrame, fault.BadFrame},
		"too many devices":     {&wire.Pointers{Pointers: many}, fault.BadFrame, fault.BadFrame},
		"rubbish":              {&wire.Pointers{Pointers: [][]byte{{1, 2, 3}}}, fault.BadFrame, fault.BadFrame},
		"one of another major": {&wire.Pointers{Pointers: [][]byte{append([]byte{9}, want.Encode()[1:]...)}}, fault.UnknownFormat, fault.UnknownFormat},
	} {
		l, h := newLiar(t)
		l.answer = func(r *wire.Request, s net.Conn) {
			if r.Grant != nil || r.Lease != 0 {
				t.Error("a read of pointers needs no lease")
			}
			p2p.WriteFrame(s, &wire.Response{Answer: &wire.Response_Pointers{Pointers: tt.answer}})
		}
		if _, err := h.Pointers(t.Context(), "net", "anna", public); fault.CodeOf(err) != tt.list {
			t.Errorf("%s: list: %v", name, err)
		}
		if _, _, err := h.Head(t.Context(), want); fault.CodeOf(err) != tt.head {
			t.Errorf("%s: head: %v", name, err)
		}
	}
}
