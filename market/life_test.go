package market

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"
	"hearth/market/wire"
)

func TestARestartedHostKeepsAllItAcknowledged(t *testing.T) {
	_, s, _, p := deal(t, 1000*money.Ember)
	store(t, s, p, mib, rootNo(1))
	for range 10 {
		must(t, p.Pay(t.Context(), firstWindow, 0))
		must(t, s.Take(p.Lease(), firstWindow, 0))
		newest := s.newest(p.Lease())
		s.crash()
		if got := s.newest(p.Lease()); got.Statement != newest.Statement || string(got.HostSig) != string(newest.HostSig) {
			t.Fatalf("%+v was acknowledged, %+v is kept", newest, got)
		}
	}
	// With an orderly end the count of traffic is kept to the byte.
	must(t, p.Pay(t.Context(), 1000, 0))
	must(t, p.Resync(t.Context()))
	must(t, s.Take(p.Lease(), 777, 0))
	before := s.Sold()
	must(t, s.current().Close())
	s.start()
	if after := s.Sold(); len(after) != 1 || after[0] != before[0] {
		t.Errorf("%+v became %+v", before, after)
	}
	must(t, p.Pay(t.Context(), firstWindow, 0))
}

func TestARestartedClientGoesOn(t *testing.T) {
	_, s, b, p := deal(t, 1000*money.Ember)
	store(t, s, p, mib, rootNo(1))
	must(t, p.Pay(t.Context(), firstWindow, 0))
	must(t, s.Take(p.Lease(), firstWindow/2, 0)) // the rest was never used
	b.restart()
	if err := p.Pay(t.Context(), 10*mib, 0); err == nil {
		t.Error("a closed client paid")
	}
	p = b.pairs(mib)[0]
	units, root, err := p.State(t.Context())
	if err != nil || units != mib || root != rootNo(1) {
		t.Fatal(units, root, err)
	}
	if in := b.Used(p.Lease()).In; in != firstWindow/2 {
		t.Errorf("%d bytes are counted, %d were used", in, firstWindow/2)
	}
	seq := s.newest(p.Lease()).Seq
	must(t, p.Pay(t.Context(), 4*mib, 0))
	if s.newest(p.Lease()).Seq <= seq {
		t.Error("numbers went back")
	}
	if b.Newest(p.Lease()) != s.newest(p.Lease()).Statement {
		t.Error("the sides go by different statements")
	}
}

// hangsUp makes the host take n statements without an answer.
func (s *seller) hangsUp(n int32) {
	var times atomic.Int32
	s.lies(func(req *wire.Request, res *wire.Response) *wire.Response {
		if req.GetPropose() != nil && times.Add(1) <= n {
			return nil
		}
		return res
	})
}

func TestALostAnswerLosesNothing(t *testing.T) {
	for _, lost := range []int32{1, 2, 5} {
		w := newWorld(t)
		s := w.host("host")
		s.hangsUp(0) // so that all streams ask whether to lie
		p := w.client("client", 1000*money.Ember).pairs(mib)[0]
		must(t, p.Pay(t.Context(), 1000, 0))
		s.shelf.stage(p.Lease(), mib, rootNo(1))
		s.hangsUp(lost)
		for try := 0; ; try++ {
			err := p.Cover(t.Context(), mib, rootNo(1))
			if err == nil {
				break
			}
			refused(t, err, fault.HostUnreachable)
			if int32(try) > lost {
				t.Fatal(err)
			}
			if try%2 == 1 {
				s.crash() // after its commit, before its answer
			}
		}
		newest := s.newest(p.Lease())
		if newest.Seq != 2 || newest.Root != rootNo(1) || s.shelf.root(p.Lease()) != rootNo(1) {
			t.Errorf("statement %d, root %x, after %d lost answers", newest.Seq, newest.Root[:1], lost)
		}
		total := newest.Total
		must(t, p.Pay(t.Context(), 100, 0))
		if got := s.newest(p.Lease()).Total; got != total {
			t.Errorf("%d became %d: paid twice", total, got)
		}
	}
}

func TestAStatementThatNeverArrivedIsUsedUp(t *testing.T) {
	w := newWorld(t)
	s := w.host("host")
	b := w.client("client", 1000*money.Ember)
	p := b.pairs(mib)[0]
	must(t, p.Pay(t.Context(), firstWindow, 0))
	newest := s.newest(p.Lease())
	s.node.Close()
	if err := p.Pay(t.Context(), 8*mib, 0); err == nil {
		t.Fatal("paid nobody")
	}
	signed := b.Newest(p.Lease())
	if signed.Seq <= newest.Seq {
		t.Fatal("nothing was signed")
	}
	b.restart()
	if again := b.Newest(p.Lease()); again != signed {
		t.Error("what was signed is forgotten")
	}
	// The host comes back elsewhere; the client finds it by the ledger.
	s.node = newNode(t, s.c.Key, true)
	s.start()
	h, err := w.Host(t.Context(), "host")
	must(t, err)
	w.AddHost(h, s.node.Addrs())
	p = b.pairs(mib)[0]
	must(t, p.Pay(t.Context(), 1*mib, 0))
	if got := s.newest(p.Lease()); got.Seq <= signed.Seq || got.Total < signed.Total {
		t.Errorf("after number %d of %d came number %d of %d", signed.Seq, signed.Total, got.Seq, got.Total)
	}
}

func TestAHostThatMovedIsFoundByTheLedger(t *testing.T) {
	w, s, _, p := deal(t, money.Ember)
	must(t, p.Pay(t.Context(), 1000, 0))
	s.node.Close()
	s.node = newNode(t, s.c.Key, true)
	s.start()
	h, err := w.Host(t.Context(), "host")
	must(t, err)
	w.AddHost(h, s.node.Addrs())
	must(t, p.Pay(t.Context(), 2*mib, 0))
}

func TestAFullDiskAcknowledgesNothing(t *testing.T) {
	_, s, b, p := deal(t, 1000*money.Ember)
	must(t, p.Pay(t.Context(), 1000, 0))
	newest := s.newest(p.Lease())
	f := &failing{disk: s.j.f, err: syscall.ENOSPC}
	s.j.f = f
	s.shelf.stage(p.Lease(), mib, rootNo(1))
	refused(t, p.Cover(t.Context(), mib, rootNo(1)), fault.DiskFull)
	if s.newest(p.Lease()).Statement != newest.Statement || s.shelf.root(p.Lease()) != [32]byte{} {
		t.Error("something was done on the strength of a statement that isn't kept")
	}
	f.set(func() { f.err = nil })
	must(t, p.Cover(t.Context(), mib, rootNo(1)))
	own := &failing{disk: b.j.f, err: syscall.ENOSPC}
	b.j.f = own
	seq := s.newest(p.Lease()).Seq
	refused(t, p.Pay(t.Context(), mib, 0), fault.DiskFull)
	if s.newest(p.Lease()).Seq != seq {
		t.Error("the client sent what it doesn't keep")
	}
	own.set(func() { own.err = nil })
	must(t, p.Pay(t.Context(), mib, 0))
}

func TestSettlingPostsTheNewestAndPaysOnce(t *testing.T) {
	w, s, _, p := deal(t, 1000*money.Ember)
	store(t, s, p, mib, rootNo(1))
	must(t, p.Pay(t.Context(), firstWindow, 0))
	w.Advance(100 * time.Second)
	done, err := s.Settle(t.Context())
	if err != nil || done != (Settled{Leases: 1, Posted: 1}) {
		t.Fatal(done, err)
	}
	l, paid := w.lease(p.Lease()), w.Paid("host")
	if l.Seq != s.newest(p.Lease()).Seq || l.Root != rootNo(1) || paid < 90 || paid != l.Out-l.Out/10 {
		t.Errorf("number %d, %d paid, %d earned", l.Seq, paid, l.Out)
	}
	if s.Settled().IsZero() {
		t.Error("not noted")
	}
	txs, _ := w.Counts()
	if done, err = s.Settle(t.Context()); err != nil || done.Posted != 0 {
		t.Error(done, err)
	}
	after, _ := w.Counts()
	if more := w.Paid("host") - paid; more > 2 || after > txs+1 {
		t.Errorf("%d more for settling again", more)
	}
	// Often or once: the same.
	w.Advance(500 * time.Second)
	_, err = s.Settle(t.Context())
	must(t, err)
	w.Advance(time.Hour)
	_, err = s.Settle(t.Context())
	must(t, err)
	l = w.lease(p.Lease())
	if l.Out != l.Total+l.Accrued(w.Both()) || w.Paid("host") != l.Out-l.Out/10 {
		t.Errorf("%d earned, %d paid", l.Total+l.Accrued(w.Both()), w.Paid("host"))
	}
}

func TestManyLeasesSettleInBatches(t *testing.T) {
	w := newWorld(t)
	w.SetRules(func(p *lease.Params) { p.MaxPost, p.MaxSettle = 2, 3 })
	s := w.host("host")
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		must(t, w.client(name, money.Ember).pairs(mib)[0].Pay(t.Context(), 1000, 0))
	}
	done, err := s.Settle(t.Context())
	if err != nil || done != (Settled{Leases: 5, Posted: 5}) {
		t.Fatal(done, err)
	}
	all, err := w.Leases(t.Context(), "", "host")
	must(t, err)
	for _, l := range all {
		if l.Seq != 1 || l.Out == 0 {
			t.Errorf("lease %d: number %d, %d paid", l.ID, l.Seq, l.Out)
		}
	}
}

func TestRunTimeIsRenewedAndGapsAreNotPaid(t *testing.T) {
	w, s, b, p := dealIn(t, quote.Compute, 1000*money.Ember)
	store(t, s, p, mib, rootNo(1)) // 1 uember a second, for 10 minutes
	newest := func() statement.Statement { return s.newest(p.Lease()).Statement }
	began, seq := newest().AsOf, newest().Seq
	b.renew(t.Context(), online)
	if newest().Seq != seq {
		t.Error("renewed though more than half is left")
	}
	w.Advance(400 * time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { b.Tend(ctx); close(ended) }()
	until(t, "run time is renewed", func() bool { return newest().Seq > seq })
	cancel()
	<-ended
	if n := newest(); n.AsOf != began || n.RunsUntil < began+400+online {
		t.Errorf("%+v", n)
	}
	// The client is away for an hour: what wasn't signed isn't owed.
	signed := newest().RunsUntil - began
	w.Advance(time.Hour)
	b.renew(t.Context(), online)
	if n := newest(); n.Total != money.Amount(signed) || n.AsOf < began+4000 {
		t.Errorf("%d owed after %d signed seconds", n.Total, signed)
	}
	// Before a longer absence a week is signed.
	b.Leave(t.Context())
	if n := newest(); n.RunsUntil < w.Clock().Unix()+offline-5 {
		t.Errorf("%+v", n)
	}
	must(t, p.Pay(t.Context(), 1000, 0))
}

func TestARevokedKeysStatementIsPostedInTime(t *testing.T) {
	w, s, b, p := deal(t, money.Ember)
	must(t, p.Pay(t.Context(), firstWindow, 0))
	w.FollowKeys(s.MandateChanged)
	w.Grant(must1(w.Mandate(t.Context(), "client", [32]byte(b.key())))) // the same again
	if !s.lookAll(t.Context()) || w.lease(p.Lease()).Seq != 0 {
		t.Error("posted without need")
	}
	w.Revoke("client", b.key())
	if !s.lookAll(t.Context()) || w.lease(p.Lease()).Seq != 1 {
		t.Error("a statement that can't be posted much longer wasn't posted")
	}
	refused(t, p.Pay(t.Context(), 10*mib, 0), fault.MandateRefused)
	refused(t, s.Allowed(t.Context(), quote.Storage, p.Lease(), b.key()), fault.MandateRefused)
}

func TestALeaseOutlivesTheDeviceThatSignedForIt(t *testing.T) {
	w, s, b, p := deal(t, 1000*money.Ember)
	store(t, s, p, mib, rootNo(1))
	w.FollowKeys(s.MandateChanged)
	w.Revoke("client", b.key())
	if !s.lookAll(t.Context()) || w.lease(p.Lease()).Seq == 0 {
		t.Fatal("the statement wasn't posted")
	}
	w.ForgetKey("client", b.key())
	other := w.device("client").pairs(mib)[0]
	units, root, err := other.State(t.Context())
	if err != nil || units != mib || root != rootNo(1) {
		t.Fatal(units, root, err)
	}
	must(t, other.Pay(t.Context(), firstWindow, 0))
	store(t, s, other, 2*mib, rootNo(2))
}

func must1[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestAStreetThatStumblesCatchesUp(t *testing.T) {
	_, s, _, p := deal(t, money.Ember)
	s.shelf.broken = syscall.EIO
	store(t, s, p, mib, rootNo(1)) // the statement stands
	s.shelf.broken = nil
	_, err := s.Accept(t.Context(), s.newest(p.Lease()))
	must(t, err)
	if s.shelf.root(p.Lease()) != rootNo(1) {
		t.Error("sending it again doesn't carry it out")
	}
}

func TestWithoutALedgerWhatIsKnownGoesOn(t *testing.T) {
	w, s, _, p := deal(t, money.Ember)
	must(t, p.Pay(t.Context(), 1000, 0))
	w.SetDown(true)
	must(t, p.Pay(t.Context(), mib, 0))
	must(t, s.Take(p.Lease(), mib, 0))
	w.SetDown(false)
}

func TestConfigsAreChecked(t *testing.T) {
	if _, err := NewHost(HostConfig{}); err == nil {
		t.Error("a host of nothing")
	}
	if _, err := NewClient(ClientConfig{}); err == nil {
		t.Error("a client of nothing")
	}
	w := newWorld(t)
	s := w.host("host")
	if _, _, err := s.Quote(quote.Compute); fault.CodeOf(err) != fault.HostRefused {
		t.Error(err)
	}
	bad := s.c
	bad.Dir = t.TempDir()
	write(t, filepath.Join(bad.Dir, "sold.journal"), []byte("something else altogether, long enough to be looked at"))
	if _, err := NewHost(bad); fault.CodeOf(err) != fault.DamagedFile {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(bad.Dir, "sold.journal")); err != nil {
		t.Error("the file wasn't kept")
	}
	if peers := Peers([]Offer{{Host: chain.Host{}}, {Err: os.ErrClosed}}); len(peers) != 1 {
		t.Error(peers)
	}
}

// A host starts while the ledger is down, goes by its statements, and catches up
// with the ledger when that is there again.
func TestAHostStartsWithoutTheLedger(t *testing.T) {
	w := newWorld(t)
	s := w.host("host")
	b := w.client("client", 1000*money.Ember)
	p := b.pairs(mib)[0]
	store(t, s, p, mib, rootNo(1))
	s.shelf.stage(p.Lease(), 2*mib, rootNo(2)) // never covered
	must(t, s.current().Close())
	w.SetDown(true)
	s.start()
	if err := s.shelf.Covers(p.Lease(), quote.Units{2 * mib}, rootNo(2)); err == nil || s.shelf.root(p.Lease()) != rootNo(1) {
		t.Error("the staged change wasn't settled by the statement")
	}
	if s.lookAll(t.Context()) {
		t.Error("it is content with a ledger that is down")
	}
	w.SetDown(false)
	if !s.lookAll(t.Context()) || len(s.Sold()) != 1 {
		t.Error("the lease isn't known again")
	}
	must(t, p.Pay(t.Context(), 10*mib, 0))
}
