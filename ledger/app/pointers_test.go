package app_test

import (
	"crypto/ed25519"
	"testing"

	"hearth/core/pointer"
	markettypes "hearth/ledger/market/types"
	pointerstypes "hearth/ledger/pointers/types"
)

func pointerKey() ed25519.PrivateKey { return edKey("anna's pointers") }

// points is a pointer of anna's.
func (l *ledger) points(device, seq uint64, prev pointer.Hash, key ed25519.PrivateKey) pointer.Signed {
	return pointer.Pointer{
		ChainID: l.chainID, Account: anna.address, Device: device, Seq: seq, Prev: prev,
		LogRoot: pointer.Hash{byte(seq)}, Time: l.now(),
	}.Sign(key)
}

func set(signer person, p pointer.Signed) *pointerstypes.MsgSetPointer {
	return &pointerstypes.MsgSetPointer{Signer: signer.address, Pointer: p.Encode()}
}

// pointers are the sequence numbers that the ledger shows, by device.
func (l *ledger) pointers(of person) map[uint64]uint64 {
	var res pointerstypes.QueryAccountResponse
	out := map[uint64]uint64{}
	if !l.query("/hearth.pointers.v1.Query/Account", &pointerstypes.QueryAccountRequest{Address: of.address}, &res) {
		return out
	}
	for _, b := range res.Account.Pointers {
		p, err := pointer.Decode(b)
		if err != nil {
			l.t.Fatal(err)
		}
		out[p.Device] = p.Seq
	}
	return out
}

func TestTheNewestPointerOfADeviceStands(t *testing.T) {
	l := newLedger(t, anna, device, bert)
	l.must(l.mandate(), anna)
	first := l.points(7, 1, pointer.Hash{}, pointerKey())
	second := l.points(7, 2, first.ID(), pointerKey())
	l.must(set(anna, first), anna)
	l.must(set(device, second), device)
	l.refuse("stale", set(anna, first), anna)
	l.must(set(anna, l.points(8, 1, pointer.Hash{}, pointerKey())), anna)
	l.must(set(anna, l.points(7, 9, pointer.Hash{4}, pointerKey())), anna) // some in between were only at hosts
	if got := l.pointers(anna); len(got) != 2 || got[7] != 9 || got[8] != 1 {
		t.Errorf("%v", got)
	}
	if got := l.pointers(bert); len(got) != 0 {
		t.Errorf("bert has none: %v", got)
	}
}

func TestWhatPointersAreRefused(t *testing.T) {
	l := newLedger(t, anna, device, bert)
	l.must(l.mandate(), anna)
	good := l.points(7, 1, pointer.Hash{}, pointerKey())
	l.refuse("mandate_refused", set(bert, good), bert)
	elsewhere := good.Pointer
	elsewhere.ChainID = "hearth-00000000000000000000"
	l.refuse("wrong_network", set(anna, elsewhere.Sign(pointerKey())), anna)
	forged := good
	forged.Sig[3]++
	l.refuse("bad_signature", set(anna, forged), anna)
	l.refuse("unknown_format", &pointerstypes.MsgSetPointer{Signer: anna.address, Pointer: append([]byte{2}, good.Encode()[1:]...)}, anna)
	l.must(set(device, good), device)
	// A device that was stolen can't put another's log in the place of the account's.
	thief := l.points(7, 99, pointer.Hash{1}, edKey("thief"))
	l.refuse("bad_signature", set(device, thief), device)
	l.must(&markettypes.MsgRevokeMandate{Grantor: anna.address, Key: public(deviceKey())}, anna)
	l.refuse("mandate_refused", set(device, l.points(7, 2, good.ID(), pointerKey())), device)
	if got := l.pointers(anna); got[7] != 1 {
		t.Errorf("%v", got)
	}
	// The account's own key decides which pointer key is the account's.
	l.must(set(anna, thief), anna)
	if got := l.pointers(anna); len(got) != 1 || got[7] != 99 {
		t.Errorf("%v", got)
	}
}

func TestAnAccountHasSoManyDevices(t *testing.T) {
	l := newLedger(t, anna)
	for i := range uint64(pointer.MaxDevices) {
		l.must(set(anna, l.points(i, 1, pointer.Hash{}, pointerKey())), anna)
	}
	l.refuse("too_large", set(anna, l.points(99, 1, pointer.Hash{}, pointerKey())), anna)
	l.pass(pointer.Forgotten)
	l.must(set(anna, l.points(99, 1, pointer.Hash{}, pointerKey())), anna)
	if got := l.pointers(anna); len(got) != pointer.MaxDevices || got[99] != 1 {
		t.Errorf("%v", got)
	}
}
