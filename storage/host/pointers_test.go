package host

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"lukechampine.com/blake3"

	"hearth/core/fault"
	"hearth/core/pointer"
	"hearth/storage/wire"
)

const account = "hearth1anna"

// Client says that lease 1 is anna's.
func (m *till) Client(_ context.Context, lease uint64) (string, error) {
	if lease != 1 {
		return "", fault.New(fault.NoLease, "there is no lease %d", lease)
	}
	return account, nil
}

// points is a pointer of anna's to a head.
func points(by ed25519.PrivateKey, device, seq uint64, head []byte) pointer.Signed {
	p := pointer.Pointer{ChainID: chainID, Account: account, Device: device, Seq: seq, LogRoot: blake3.Sum256(head), Time: 1_800_000_000}
	if seq > 1 {
		p.Prev = pointer.Hash{9}
	}
	return p.Sign(by)
}

func putPointerReq(p pointer.Signed, head []byte) *wire.Request {
	return &wire.Request{Lease: 1, Ask: &wire.Request_PutPointer{PutPointer: &wire.PutPointer{Pointer: p.Encode(), Head: head}}}
}

func getPointersReq(key ed25519.PublicKey, device uint64, head bool) *wire.Request {
	return &wire.Request{Ask: &wire.Request_GetPointers{GetPointers: &wire.GetPointers{Key: key, Device: device, Head: head}}}
}

func TestPointersAreReadByWhoKnowsTheKey(t *testing.T) {
	d := newDoor(t, Config{}, ServerConfig{})
	d.till.pay(1 << 20)
	mine := key(t)
	public := mine.Public().(ed25519.PublicKey)
	owner, stranger := d.stream(), d.knock()
	a, b := []byte("a head"), bytes.Repeat([]byte("b"), MaxHead)
	for _, r := range []*wire.Request{
		putPointerReq(points(mine, 7, 1, a), a), putPointerReq(points(mine, 7, 3, b), b), putPointerReq(points(mine, 8, 1, a), a),
	} {
		if _, err := ask(owner, r); err != nil {
			t.Fatal(err)
		}
	}
	if in, _ := d.till.used(); in < MaxHead {
		t.Errorf("%d bytes were metered", in)
	}
	r, err := ask(stranger, getPointersReq(public, 0, false))
	if err != nil || len(r.GetPointers().GetPointers()) != 2 {
		t.Fatalf("%v, %v", r, err)
	}
	r, err = ask(stranger, getPointersReq(public, 7, true))
	if err != nil || !bytes.Equal(r.GetPointers().GetHead(), b) {
		t.Fatalf("head: %v", err)
	}
	if p, err := pointer.Decode(r.GetPointers().Pointers[0]); err != nil || p.Seq != 3 {
		t.Errorf("pointer %d, %v", p.Seq, err)
	}
	if _, err := ask(stranger, getPointersReq(public, 99, true)); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("a device that isn't there: %v", err)
	}
	r, err = ask(stranger, getPointersReq(key(t).Public().(ed25519.PublicKey), 0, false))
	if err != nil || len(r.GetPointers().GetPointers()) != 0 {
		t.Errorf("another key: %v, %v", r, err)
	}
	if _, err := ask(stranger, getPointersReq(public[:31], 0, false)); fault.CodeOf(err) != fault.BadRequest {
		t.Errorf("a short key: %v", err)
	}
}

func TestWhatPointersAHostRefuses(t *testing.T) {
	d := newDoor(t, Config{}, ServerConfig{})
	mine, head := key(t), []byte("head")
	s := d.stream()
	if _, err := ask(s, putPointerReq(points(mine, 7, 5, head), head)); fault.CodeOf(err) != fault.Unpaid {
		t.Errorf("unpaid: %v", err)
	}
	d.till.pay(1 << 20)
	if _, err := ask(d.knock(), putPointerReq(points(mine, 7, 5, head), head)); fault.CodeOf(err) != fault.Unauthorized {
		t.Errorf("without a grant: %v", err)
	}
	if _, err := ask(s, putPointerReq(points(mine, 7, 5, head), head)); err != nil {
		t.Fatal(err)
	}
	else1 := points(mine, 7, 6, head).Pointer
	else1.Account = "hearth1bert"
	else2 := points(mine, 7, 6, head).Pointer
	else2.ChainID = "hearth-other"
	big := make([]byte, MaxHead+1)
	for name, tt := range map[string]struct {
		p    pointer.Signed
		head []byte
		want fault.Code
	}{
		"an older one":              {points(mine, 7, 4, head), head, fault.Stale},
		"the next of another log":   {points(mine, 7, 6, head), head, fault.Stale},
		"one of another account":    {else1.Sign(mine), head, fault.BadSignature},
		"one of another network":    {else2.Sign(mine), head, fault.BadSignature},
		"one to another head":       {points(mine, 7, 7, head), []byte("other"), fault.BadFrame},
		"one without a head":        {points(mine, 7, 7, nil), nil, fault.TooLarge},
		"one with too large a head": {points(mine, 7, 7, big), big, fault.TooLarge},
	} {
		if _, err := ask(s, putPointerReq(tt.p, tt.head)); fault.CodeOf(err) != tt.want {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
	if p, _, err := d.host.Head(mine.Public().(ed25519.PublicKey), 7); err != nil || p.Seq != 5 {
		t.Errorf("pointer %d stands, %v", p.Seq, err)
	}
}

func TestPointersOutliveTheProcessAndEndWithTheLease(t *testing.T) {
	fs := vfs.NewMem()
	h := open(t, Config{FS: fs})
	mine, head := key(t), []byte("head")
	public := mine.Public().(ed25519.PublicKey)
	for device := range uint64(pointer.MaxDevices) {
		if err := h.PutPointer(1+device%2, points(mine, device, 1, head), head); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.PutPointer(1, points(mine, 99, 1, head), head); fault.CodeOf(err) != fault.TooLarge {
		t.Errorf("one device too many: %v", err)
	}
	for range 3 * pointer.MaxDevices { // keys cost nothing
		if err := h.PutPointer(3, points(key(t), 1, 1, head), head); err != nil && fault.CodeOf(err) != fault.TooLarge {
			t.Fatal(err)
		}
	}
	late := points(mine, 99, 1, head).Pointer
	late.Time += pointer.Forgotten
	if err := h.PutPointer(1, late.Sign(mine), head); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = open(t, Config{FS: fs})
	list, err := h.Pointers(public)
	if err != nil || len(list) != pointer.MaxDevices {
		t.Fatalf("%d pointers after a restart, %v", len(list), err)
	}
	for lease := uint64(1); lease <= 3; lease++ {
		if err := h.Drop(lease); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for _, kind := range []byte{keyPointer, keyPointed} {
		if err := h.store.Each([]byte{kind}, func([]byte, []byte) error { n++; return nil }); err != nil || n != 0 {
			t.Errorf("%d records are left, %v", n, err)
		}
	}
}

func TestReadsOfPointersHaveAPace(t *testing.T) {
	var p pace
	now := time.Unix(1_800_000_000, 0)
	count := func(peer byte, n int) (yes int) {
		for range n {
			if p.step([32]byte{peer}, now) {
				yes++
			}
		}
		return yes
	}
	if got := count(1, 1000); got != readsBurst {
		t.Errorf("%d at once", got)
	}
	now = now.Add(2 * time.Second)
	if got := count(1, 1000); got != 2*readsEach {
		t.Errorf("%d after two seconds", got)
	}
	all := 0
	for peer := range byte(50) {
		all += count(peer+2, 100)
	}
	if all > 2*readsAll {
		t.Errorf("%d of all peers at once", all)
	}
}
