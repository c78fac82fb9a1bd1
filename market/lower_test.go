package market

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"hearth/core/fault"
	"hearth/core/mandate"
	"hearth/core/money"
)

// keeper is a second key of the account, which may add and not take away.
func keeper(w *world, account string) *buyer {
	b := w.device(account)
	m := must1(w.Mandate(w.t.Context(), account, [32]byte(b.key())))
	m.Ops = mandate.Keep
	w.Revoke(account, b.key())
	w.Grant(m)
	return b
}

func TestAKeyThatMayOnlyKeepLowersNothing(t *testing.T) {
	w, s, _, p := deal(t, money.Ember)
	store(t, s, p, 2*mib, rootNo(1))
	k := keeper(w, "client")
	q := k.pairs(mib)[0]
	s.shelf.stage(q.Lease(), mib, rootNo(2))
	refused(t, q.Cover(t.Context(), mib, rootNo(2)), fault.MandateRefused)
	refused(t, s.MayRemove(t.Context(), q.Lease(), k.Client.key()), fault.MandateRefused)
	refused(t, q.Refund(t.Context()), fault.MandateRefused)
	must(t, q.Resync(t.Context()))
	store(t, s, q, 3*mib, rootNo(3))
	if n := s.newest(p.Lease()); n.Units[0] != 3*mib || !k.key().Equal(ed25519.PublicKey(n.ClientKey)) {
		t.Errorf("%+v", n)
	}
}

// What the owner has removed is posted before a key without the right signs on:
// else its statements could never be, and the host would prove against an old root.
func TestARemovalIsPostedBeforeAKeeperSigns(t *testing.T) {
	w, s, _, p := deal(t, money.Ember)
	store(t, s, p, 4*mib, rootNo(1))
	must1(s.Settle(t.Context()))
	if l := w.lease(p.Lease()); l.Units[0] != 4*mib {
		t.Fatalf("%d bytes are posted", l.Units[0])
	}
	store(t, s, p, mib, rootNo(2)) // not posted
	q := keeper(w, "client").pairs(mib)[0]
	store(t, s, q, 2*mib, rootNo(3))
	if l := w.lease(p.Lease()); l.Units[0] != mib {
		t.Errorf("%d bytes are posted", l.Units[0])
	}
	must1(s.Settle(t.Context()))
	if l := w.lease(p.Lease()); l.Units[0] != 2*mib {
		t.Errorf("the keeper's statement isn't: %d", l.Units[0])
	}
}

// A key without the right may find a removal that isn't posted also when it only
// pays: its statement becomes the newest, and the only one that can be posted.
func TestARemovalIsPostedBeforeAKeeperPays(t *testing.T) {
	w, s, _, p := deal(t, money.Ember)
	store(t, s, p, 4*mib, rootNo(1))
	must1(s.Settle(t.Context()))
	store(t, s, p, mib, rootNo(2)) // not posted
	q := keeper(w, "client").pairs(mib)[0]
	must(t, q.Pay(t.Context(), 0, mib))
	if n := s.newest(p.Lease()); n.ClientKey == nil || bytes.Equal(n.ClientKey, p.c.key()) {
		t.Fatal("the keeper has signed nothing")
	}
	must1(s.Settle(t.Context()))
	if l := w.lease(p.Lease()); l.Units[0] != mib || l.Seq != s.newest(p.Lease()).Seq {
		t.Errorf("posted are %d bytes of statement %d, signed is statement %d", l.Units[0], l.Seq, s.newest(p.Lease()).Seq)
	}
}
