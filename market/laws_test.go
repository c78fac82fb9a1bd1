package market

import (
	"context"
	"crypto/ed25519"
	"sync"
	"testing"
	"time"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"
	"hearth/market/wire"
)

func TestOffersAreAskedAndChecked(t *testing.T) {
	w := newWorld(t)
	good := w.host("a-good")
	dear := w.host("b-dear", func(c *HostConfig) {
		p := prices
		p.Out++
		c.Prices = map[quote.Kind]quote.Prices{quote.Storage: p}
	})
	liars := map[string]func(q *quote.Signed, key ed25519.PrivateKey){
		"c-expired": func(q *quote.Signed, key ed25519.PrivateKey) {
			q.ValidUntil = time.Now().Unix() - 1
			*q = q.Quote.Sign(key)
		},
		"d-ends-soon": func(q *quote.Signed, key ed25519.PrivateKey) {
			q.ValidUntil = time.Now().Unix() + 5
			*q = q.Quote.Sign(key)
		},
		"e-too-long":  func(q *quote.Signed, key ed25519.PrivateKey) { q.ValidUntil += 2 * 86400; *q = q.Quote.Sign(key) },
		"f-elsewhere": func(q *quote.Signed, key ed25519.PrivateKey) { q.ChainID = "hearth-ff"; *q = q.Quote.Sign(key) },
		"g-forged":    func(q *quote.Signed, key ed25519.PrivateKey) { q.Sig[0] ^= 1 },
		"h-other":     func(q *quote.Signed, key ed25519.PrivateKey) { q.Host = "a-good"; *q = q.Quote.Sign(key) },
	}
	want := map[string]fault.Code{
		good.name: "", dear.name: fault.PriceTooHigh, "c-expired": fault.QuoteExpired, "d-ends-soon": fault.QuoteExpired, "e-too-long": fault.BadRequest,
		"f-elsewhere": fault.WrongNetwork, "g-forged": fault.BadSignature, "h-other": fault.BadSignature, "i-gone": fault.HostUnreachable,
	}
	for name, change := range liars {
		s := w.host(name)
		s.lies(func(_ *wire.Request, res *wire.Response) *wire.Response {
			q, err := quote.Decode(res.GetQuote().GetQuote())
			if err != nil {
				t.Error(err)
			}
			change(&q, s.c.Key)
			res.GetQuote().Quote = q.Encode()
			return res
		})
	}
	gone := newKey(t)
	w.AddHost(chain.Host{Address: "i-gone", Key: [32]byte(gone.Public().(ed25519.PublicKey)), Roles: chain.RoleStorage}, []string{"/ip4/127.0.0.1/tcp/1"})
	w.AddHost(chain.Host{Address: "j-leaving", Roles: chain.RoleStorage, LeavingAt: 1}, nil)
	w.AddHost(chain.Host{Address: "k-other-kind", Roles: chain.RoleCompute}, nil)
	b := w.client("client", money.Ember)
	offers, err := b.Offers(t.Context(), quote.Storage, false)
	must(t, err)
	if len(offers) != len(want) {
		t.Fatalf("%d offers", len(offers))
	}
	for _, o := range offers {
		if code := fault.CodeOf(o.Err); code != want[o.Host.Address] {
			t.Errorf("%s: %v (%s), want %q", o.Host.Address, o.Err, code, want[o.Host.Address])
		}
	}
	// The list is the caller's own, and kept for a while.
	offers[0].Host.Address = "changed"
	good.node.Close()
	again, err := b.Offers(t.Context(), quote.Storage, false)
	must(t, err)
	if again[0].Host.Address != "a-good" || again[0].Err != nil {
		t.Error("answers are kept for half a minute")
	}
	if again, err = b.Offers(t.Context(), quote.Storage, true); err != nil || again[0].Err == nil {
		t.Error("fresh asks again")
	}
	if _, err := b.Offers(t.Context(), quote.Kind(0), false); fault.CodeOf(err) != fault.BadRequest {
		t.Error(err)
	}
}

func TestLeasesAreOpenedTogetherAndOnce(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"a", "b", "c", "d"} {
		w.host(name)
	}
	b := w.client("client", 100*money.Ember)
	before, _ := w.Counts()
	first := b.pairs(mib)
	if txs, _ := w.Counts(); txs != before+1 || len(first) != 4 {
		t.Errorf("%d transactions for %d leases", txs-before, len(first))
	}
	second := b.pairs(mib)
	for i := range first {
		if first[i] != second[i] {
			t.Error("a lease has one pair")
		}
	}
	if txs, _ := w.Counts(); txs != before+1 {
		t.Error("leases with money were opened or filled again")
	}
	poor := w.client("poor", 5)
	offers, err := poor.Offers(t.Context(), quote.Storage, false)
	must(t, err)
	_, err = poor.Open(t.Context(), offers, mib)
	refused(t, err, fault.NoFunds)
}

func TestWindowsGrow(t *testing.T) {
	_, s, _, p := deal(t, 10_000*money.Ember)
	must(t, s.Allowed(t.Context(), quote.Storage, p.Lease(), p.c.key()))
	refused(t, s.Take(p.Lease(), 1, 0), fault.Unpaid)
	var used, last uint64
	for used < 40*mib {
		must(t, p.Pay(t.Context(), 64<<10, 0))
		must(t, s.Take(p.Lease(), 64<<10, 0)) // what was paid may flow
		used += 64 << 10
		ahead := uint64(s.newest(p.Lease()).Total)*quote.GiB/prices.In - used
		if most := max(used, firstWindow) + 64<<10; ahead > most || ahead > lastWindow {
			t.Fatalf("%d bytes are paid ahead after %d", ahead, used)
		}
		last = max(last, ahead)
	}
	if last < lastWindow-(128<<10) {
		t.Errorf("at most %d were paid ahead", last)
	}
	if err := s.Take(p.Lease(), 2*lastWindow, 0); fault.CodeOf(err) != fault.Unpaid {
		t.Error("more than the window flowed")
	}
}

// Many requests that pay at once never use what another one paid.
func TestPaymentsTogetherAreAllCovered(t *testing.T) {
	_, s, b, p := deal(t, 10_000*money.Ember)
	must(t, p.Resync(t.Context()))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if err := p.Pay(t.Context(), 100<<10, 50<<10); err != nil {
					t.Error(err)
				}
				if err := s.Take(p.Lease(), 100<<10, 50<<10); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if used := b.Used(p.Lease()); used != (quote.Use{In: 160 * 100 << 10, Out: 160 * 50 << 10}) {
		t.Errorf("%+v are counted", used)
	}
}

func TestCoveredWaitsForPayment(t *testing.T) {
	_, s, _, p := deal(t, money.Ember)
	must(t, p.Resync(t.Context()))
	paid := s.Covered(p.Lease())
	refused(t, s.Take(p.Lease(), 100, 0), fault.Unpaid)
	must(t, p.Pay(t.Context(), 100, 0))
	<-paid
	must(t, s.Take(p.Lease(), 100, 0))
	<-s.Covered(999) // of a lease that isn't known nobody waits
}

func TestChangesAreSignedByBoth(t *testing.T) {
	_, s, b, p := deal(t, 1000*money.Ember)
	refused(t, p.Cover(t.Context(), mib, rootNo(1)), fault.Stale) // nothing is staged
	store(t, s, p, mib, rootNo(1))
	if s.shelf.root(p.Lease()) != rootNo(1) {
		t.Error("the street didn't commit")
	}
	newest := s.newest(p.Lease())
	must(t, newest.CheckHost(s.c.Key.Public().(ed25519.PublicKey)))
	if kept := b.j.get(p.Lease()).Agreed; kept.Statement != newest.Statement || kept.CheckHost(s.c.Key.Public().(ed25519.PublicKey)) != nil {
		t.Error("the client doesn't hold what the host has signed")
	}
	must(t, p.Cover(t.Context(), mib, rootNo(1))) // nothing to sign
	if s.newest(p.Lease()).Seq != newest.Seq {
		t.Error("signed for nothing")
	}
	units, root, err := p.State(t.Context())
	if err != nil || units != mib || root != rootNo(1) {
		t.Error(units, root, err)
	}
	store(t, s, p, 0, [32]byte{})
}

// A machine has cores, memory and a disk: a change of any of them is signed by both.
func TestAMachineIsReservedInAllItsDimensions(t *testing.T) {
	w := newWorld(t)
	w.kind, w.prices = quote.Compute, quote.Prices{Unit: [quote.Dims]uint64{30 << 30, 20 << 30, 10 << 30}}
	s := w.host("host")
	p := w.client("client", 1000*money.Ember).pairs(mib)[0]
	for i, units := range []quote.Units{{mib, 2 * mib, 3 * mib}, {mib, mib, 3 * mib}, {mib, mib, 0}, {}} {
		root := rootNo(byte(i + 1))
		if units == (quote.Units{}) {
			root = [32]byte{}
		}
		s.shelf.stageUnits(p.Lease(), units, root)
		less := units
		less[1]++
		refused(t, p.Reserve(t.Context(), less, root), fault.Stale)
		must(t, p.Reserve(t.Context(), units, root))
		if got, at, err := p.Reserved(t.Context()); err != nil || got != units || at != root {
			t.Errorf("%v and %x are signed, want %v and %x: %v", got, at[:2], units, root[:2], err)
		}
		must1(s.Settle(t.Context()))
		if l := w.lease(p.Lease()); l.Units != units || l.Rate != w.prices.Rate(units) {
			t.Errorf("on the ledger are %v at the rate %d, want %v at %d", l.Units, l.Rate, units, w.prices.Rate(units))
		}
	}
}

func TestASecondDeviceCatchesUp(t *testing.T) {
	w, s, _, p := deal(t, 1000*money.Ember)
	store(t, s, p, mib, rootNo(1))
	must(t, p.Pay(t.Context(), 1000, 0))
	other := w.device("client").pairs(mib)[0]
	if other.Lease() != p.Lease() {
		t.Fatal("the same account has one lease with a host")
	}
	units, root, err := other.State(t.Context())
	if err != nil || units != mib || root != rootNo(1) {
		t.Fatal(units, root, err)
	}
	must(t, other.Pay(t.Context(), firstWindow, 0))
	seq := s.newest(p.Lease()).Seq
	must(t, p.Pay(t.Context(), firstWindow, 0)) // is behind, catches up
	if s.newest(p.Lease()).Seq <= seq {
		t.Error("nothing was signed")
	}
	// A change of what another device has changed is the caller's to make anew.
	store(t, s, other, 2*mib, rootNo(2))
	s.shelf.stage(p.Lease(), 3*mib, rootNo(3))
	refused(t, p.Cover(t.Context(), 3*mib, rootNo(3)), fault.Stale)
	must(t, p.Cover(t.Context(), 2*mib, rootNo(2)))
}

func TestHostRefuses(t *testing.T) {
	w, s, b, p := dealIn(t, quote.Compute, 1000*money.Ember)
	store(t, s, p, mib, rootNo(1))
	must(t, p.Pay(t.Context(), 1000, 0))
	newest := s.newest(p.Lease())
	now := w.Clock().Unix()
	other := newKey(t)
	w.client("stranger", money.Ember)
	for _, tt := range []struct {
		name   string
		change func(s *statement.Statement)
		key    ed25519.PrivateKey
		forge  bool
		code   fault.Code
	}{
		{name: "an older number", change: func(s *statement.Statement) { s.Seq = 1 }, code: fault.Stale},
		{name: "the same number, another text", change: func(s *statement.Statement) { s.Seq--; s.Total++ }, code: fault.Stale},
		{name: "a lower total", change: func(s *statement.Statement) { s.Total-- }, code: fault.BadStatement},
		{name: "more than the lease holds", change: func(s *statement.Statement) { s.Total = w.lease(p.Lease()).Funded() + 1 }, code: fault.NoFunds},
		{name: "another network", change: func(s *statement.Statement) { s.ChainID = "hearth-ff" }, code: fault.WrongNetwork},
		{name: "another lease", change: func(s *statement.Statement) { s.Lease = 77 }, code: fault.NoLease},
		{name: "times that go back", change: func(s *statement.Statement) { s.RunsUntil-- }, code: fault.BadStatement},
		{name: "time ahead of the clock", change: func(s *statement.Statement) { s.AsOf = now + 1000; s.Total += 2000 }, code: fault.BadStatement},
		{name: "time without its rent", change: func(s *statement.Statement) { s.AsOf += 100 }, code: fault.BadStatement},
		{name: "time beyond what can be posted", change: func(s *statement.Statement) { s.RunsUntil = now + 8*86400 }, code: fault.BadStatement},
		{name: "what isn't staged", change: func(s *statement.Statement) { s.Root = rootNo(9) }, code: fault.Stale},
		{name: "a forged signature", forge: true, code: fault.BadSignature},
		{name: "a key without a mandate", key: other, code: fault.MandateRefused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			next := newest.Statement
			next.Seq++
			if tt.change != nil {
				tt.change(&next)
			}
			key := b.c.Key
			if tt.key != nil {
				key = tt.key
			}
			signed := next.SignClient(key)
			if tt.forge {
				signed.ClientSig[5] ^= 1
			}
			_, err := s.Accept(t.Context(), signed)
			refused(t, err, tt.code)
			if s.newest(p.Lease()).Seq != newest.Seq {
				t.Error("it was taken")
			}
		})
	}
	// The newest one again is the same answer, not a second payment.
	got, err := s.Accept(t.Context(), newest)
	if err != nil || got.Statement != newest.Statement {
		t.Error(got, err)
	}
}

func TestALeaseIsRefilledFromThePurse(t *testing.T) {
	w, s, _, p := deal(t, 100_000)
	before := w.lease(p.Lease()).In
	for range 200 {
		must(t, p.Pay(t.Context(), firstWindow, 0))
		must(t, s.Take(p.Lease(), firstWindow, 0))
		if w.lease(p.Lease()).In > before {
			break
		}
	}
	if w.lease(p.Lease()).In == before {
		t.Fatal("the lease was never filled up")
	}
	// In the end the purse is empty.
	var err error
	for range 2000 {
		if err = p.Pay(t.Context(), firstWindow, 0); err != nil {
			break
		}
	}
	refused(t, err, fault.NoFunds)
	if free, err := w.Purse(t.Context(), "client"); err != nil || free != 0 {
		t.Errorf("%d are left in the purse, %v", free, err)
	}
	// Money comes: it goes on at once.
	w.Deposit("client", money.Ember)
	must(t, p.Pay(t.Context(), firstWindow, 0))
	if total := s.newest(p.Lease()).Total; total > w.lease(p.Lease()).Funded() {
		t.Errorf("%d are signed", total)
	}
}

// The host's word that money is missing moves none.
func TestTheHostCantMakeAClientFund(t *testing.T) {
	w, s, _, p := deal(t, money.Ember)
	before := w.lease(p.Lease()).In
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	s.lies(func(req *wire.Request, res *wire.Response) *wire.Response {
		if req.GetPropose() != nil {
			if n++; n == 3 {
				cancel()
			}
			return s.refuse(fault.New(fault.NoFunds, "give me more"))
		}
		return res
	})
	if err := p.Pay(ctx, 1000, 0); err == nil {
		t.Fatal("paid")
	}
	if n < 3 || w.lease(p.Lease()).In != before {
		t.Errorf("asked %d times; %d became %d", n, before, w.lease(p.Lease()).In)
	}
}

func TestALowLeaseTakesNoNewData(t *testing.T) {
	_, s, _, p := deal(t, 36_000)
	s.shelf.stage(p.Lease(), 1000*mib, rootNo(1))
	refused(t, p.Cover(t.Context(), 1000*mib, rootNo(1)), fault.LeaseLow)
	store(t, s, p, 400*mib, rootNo(2)) // 400 uember a second, a reserve of 24000
	s.shelf.stage(p.Lease(), 800*mib, rootNo(3))
	refused(t, p.Cover(t.Context(), 800*mib, rootNo(3)), fault.LeaseLow)
	must(t, p.Pay(t.Context(), 0, firstWindow)) // all else goes on
	store(t, s, p, 100*mib, rootNo(4))
}
