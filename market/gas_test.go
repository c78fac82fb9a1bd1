package market

import (
	"sync"
	"testing"
	"time"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"
	"hearth/market/wire"
)

const ggas = 1_000_000_000

func gas(n uint64) quote.Use { return quote.Use{Gas: n} }

// compute is a call that is paid for, and uses some of its limit.
func compute(t testing.TB, s *seller, p *Pair, limit, used uint64) {
	t.Helper()
	must(t, p.PayFor(t.Context(), gas(limit)))
	ended := must1(s.Hold(p.Lease(), limit))
	ended(used)
	p.Ran(limit, used)
}

// paid is how much gas the newest statement covers.
func (s *seller) paid(lease uint64) uint64 { return uint64(s.newest(lease).Total) * 1_000_000 }

func (p *Pair) gasCounted() uint64 { p.mu.Lock(); defer p.mu.Unlock(); return p.rec.Gas }

// held is what the host keeps aside, and used what it counts.
func (s *seller) gas(lease uint64) (used, held uint64) {
	rec, held := s.current().known(lease).metered()
	return rec.Gas, held
}

func TestGasIsPaidAheadAndWhatIsNotUsedIsCountedBack(t *testing.T) {
	_, s, _, p := functions(t, 1000*money.Ember)
	must(t, p.Resync(t.Context()))
	_, err := s.Hold(p.Lease(), 1)
	refused(t, err, fault.Unpaid)
	_, err = s.Hold(999, 1)
	refused(t, err, fault.NoLease)
	const limit, used = 50 * ggas, ggas / 10
	compute(t, s, p, limit, used)
	if got := s.paid(p.Lease()); got != limit+firstGas {
		t.Errorf("%d gas are paid for a call of %d", got, uint64(limit))
	}
	seq := s.newest(p.Lease()).Seq
	for range 10 { // the window covers what they use
		compute(t, s, p, limit, used)
	}
	if s.newest(p.Lease()).Seq != seq {
		t.Error("a statement for a call that used what was left of others")
	}
	for range 2000 {
		compute(t, s, p, limit, used)
		if ahead := s.paid(p.Lease()) - p.gasCounted(); ahead > limit+lastGas {
			t.Fatalf("%d gas are paid ahead", ahead)
		}
	}
	if n := s.newest(p.Lease()).Seq - seq; n > 2000/50 {
		t.Errorf("%d statements for 2000 calls", n)
	}
	if got, held := s.gas(p.Lease()); got != 2011*used || held != 0 || p.gasCounted() != got {
		t.Errorf("the host counts %d, %d aside, the client %d", got, held, p.gasCounted())
	}
}

// What was held is given back once, and never more than that.
func TestGasIsGivenBackOnce(t *testing.T) {
	_, s, _, p := functions(t, 1000*money.Ember)
	must(t, p.PayFor(t.Context(), gas(10*ggas)))
	first, second := must1(s.Hold(p.Lease(), 4*ggas)), must1(s.Hold(p.Lease(), 6*ggas))
	_, err := s.Hold(p.Lease(), firstGas+1)
	refused(t, err, fault.Unpaid)
	free := s.Covered(p.Lease())
	first(ggas)
	<-free
	first(0)
	first(ggas)
	if used, held := s.gas(p.Lease()); used != ggas || held != 6*ggas {
		t.Errorf("%d used, %d held", used, held)
	}
	second(100 * ggas) // it can't have
	if used, held := s.gas(p.Lease()); used != 7*ggas || held != 0 {
		t.Errorf("%d used, %d held", used, held)
	}
	_, err = s.Hold(p.Lease(), 1<<63)
	refused(t, err, fault.Unpaid)
	_, err = s.Hold(p.Lease(), 1<<64-1)
	refused(t, err, fault.Unpaid)
}

func TestCallsAtOnceDontUseEachOthersGas(t *testing.T) {
	_, s, _, p := functions(t, 10_000*money.Ember)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range uint64(20) {
				limit := (1 + i%5) * 3 * ggas
				if err := p.PayFor(t.Context(), quote.Use{In: 1000, Gas: limit}); err != nil {
					t.Error(err)
					return
				}
				ended, err := s.Hold(p.Lease(), limit)
				if err != nil {
					t.Error(err)
					return
				}
				if err := s.Take(p.Lease(), 1000, 0); err != nil {
					t.Error(err)
				}
				if i%7 == 0 {
					if err := p.Resync(t.Context()); err != nil {
						t.Error(err)
					}
				}
				ended(limit / 3)
				p.Over(1000, 0)
				p.Ran(limit, limit/3)
			}
		})
	}
	wg.Wait()
	must(t, p.Resync(t.Context()))
	used, held := s.gas(p.Lease())
	if want := uint64(8 * 4 * (1 + 2 + 3 + 4 + 5) * ggas); used != want || held != 0 || p.gasCounted() != want {
		t.Errorf("the host counts %d, %d aside, the client %d; %d were used", used, held, p.gasCounted(), want)
	}
}

// Another device pays for its own calls, and leaves what this one's have paid for.
func TestAnotherDeviceLeavesACallsGas(t *testing.T) {
	w, s, _, p := functions(t, 1000*money.Ember)
	q := w.device("client").pairs(mib)[0]
	must(t, p.Resync(t.Context()))
	var limits uint64
	for range 5 {
		must(t, p.PayFor(t.Context(), gas(7*ggas)))
		limits += 7 * ggas
		compute(t, s, q, 20*ggas, 2*ggas)
	}
	ended := must1(s.Hold(p.Lease(), limits))
	compute(t, s, q, 20*ggas, 2*ggas) // while they run as well
	ended(limits / 7)
	p.Ran(limits, limits/7)
	for i, d := range []*Pair{p, q} {
		must(t, d.Resync(t.Context()))
		if got := d.gasCounted(); got != 6*2*ggas+limits/7+uint64(i)*ggas {
			t.Errorf("%d gas are counted", got)
		}
		compute(t, s, d, 30*ggas, ggas)
	}
	if most := 7*2*ggas + limits + 2*(30*ggas+lastGas); s.paid(p.Lease()) > most {
		t.Errorf("%d gas are paid for, at most %d were asked for", s.paid(p.Lease()), most)
	}
}

func TestACallThatBrokeOffIsCountedAsTheHostCountsItOnce(t *testing.T) {
	_, s, _, p := functions(t, 1000*money.Ember)
	const limit = 30 * ggas
	must(t, p.PayFor(t.Context(), gas(limit)))
	ended := must1(s.Hold(p.Lease(), limit))
	p.Ran(limit, limit) // nobody knows
	must(t, p.Resync(t.Context()))
	if got := p.gasCounted(); got != limit {
		t.Errorf("%d gas are counted while the host may still use %d", got, uint64(limit))
	}
	// Meanwhile others go on, and pay for themselves.
	compute(t, s, p, limit, ggas)
	ended(3 * ggas)
	must(t, p.Resync(t.Context()))
	if got := p.gasCounted(); got != 4*ggas {
		t.Errorf("%d gas are counted, 4 Ggas were used", got)
	}
	total := s.newest(p.Lease()).Total
	compute(t, s, p, limit, ggas)
	if now := s.newest(p.Lease()).Total; now != total {
		t.Errorf("what the call left was paid for again: %d, then %d", total, now)
	}
}

// Also without a question for it: who pays next asks again what became of the call.
func TestACallThatEndsLaterIsCountedBeforeMoreIsPaid(t *testing.T) {
	_, s, _, p := functions(t, 1000*money.Ember)
	const limit = 30 * ggas
	must(t, p.PayFor(t.Context(), gas(limit)))
	ended := must1(s.Hold(p.Lease(), limit))
	p.Ran(limit, limit)
	must(t, p.Resync(t.Context()))
	ended(0)
	total := s.newest(p.Lease()).Total
	compute(t, s, p, limit, ggas)
	if now := s.newest(p.Lease()).Total; now != total || p.gasCounted() != ggas {
		t.Errorf("%d became %d, %d gas are counted", total, now, p.gasCounted())
	}
}

func TestARestartedHostForgetsCallsUnderWay(t *testing.T) {
	_, s, b, p := functions(t, 1000*money.Ember)
	compute(t, s, p, 5*ggas, 2*ggas)
	must(t, p.PayFor(t.Context(), gas(20*ggas)))
	must1(s.Hold(p.Lease(), 20*ggas))
	must(t, s.current().Close()) // orderly: what ended is kept, what was under way is not
	s.start()
	p.Ran(20*ggas, 20*ggas)
	must(t, p.Resync(t.Context()))
	if used, held := s.gas(p.Lease()); used != 2*ggas || held != 0 || p.gasCounted() != used {
		t.Errorf("%d used, %d held, the client counts %d", used, held, p.gasCounted())
	}
	total := s.newest(p.Lease()).Total
	b.restart()
	p = b.pairs(mib)[0]
	compute(t, s, p, 20*ggas, ggas)
	if now := s.newest(p.Lease()).Total; now != total {
		t.Errorf("%d became %d: what was paid ahead is gone", total, now)
	}
}

// What a host counts of gas without having been asked ends the trade.
func TestInventedGasIsNoticed(t *testing.T) {
	for name, invent := range map[string]func(st *wire.StateAnswer, all uint64){
		"as used": func(st *wire.StateAnswer, all uint64) { st.Gas = all },
		"as held": func(st *wire.StateAnswer, all uint64) { st.Gas, st.Held = 0, all },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.kind, w.prices = quote.Compute, priced
			s := w.host("host")
			s.lies(func(_ *wire.Request, res *wire.Response) *wire.Response {
				if st := res.GetState(); st != nil && len(st.Statement) > 0 {
					got := must1(statement.Decode(st.Statement))
					invent(st, uint64(got.Total)*1_000_000)
				}
				return res
			})
			p := w.client("client", 1000*money.Ember).pairs(mib)[0]
			var err error
			var asked uint64
			for range 100 {
				asked += ggas / 10
				if err = p.PayFor(t.Context(), gas(ggas/10)); err != nil {
					break
				}
				p.Ran(ggas/10, 0) // nothing ran
				if err = p.Resync(t.Context()); err != nil {
					break
				}
			}
			refused(t, err, fault.HostRefused)
			if lost := s.paid(p.Lease()); lost > asked+mostUnaskedGas+2*lastGas {
				t.Errorf("%d gas were paid for, %d were asked for", lost, asked)
			}
		})
	}
}

// What a call has given back was never used: no host can claim it later.
func TestGasThatWasGivenBackIsNotBelieved(t *testing.T) {
	w := newWorld(t)
	w.kind, w.prices = quote.Compute, priced
	s := w.host("host")
	s.lies(func(_ *wire.Request, res *wire.Response) *wire.Response {
		if st := res.GetState(); st != nil && len(st.Statement) > 0 {
			st.Gas = mostUnaskedGas + 1
		}
		return res
	})
	p := w.client("client", 1000*money.Ember).pairs(mib)[0]
	for range 10 {
		compute(t, s, p, 3*lastGas, 0)
	}
	refused(t, p.Resync(t.Context()), fault.HostRefused)
}

// What a lease should hold goes by its kind: calls need no reserve of storage.
func TestWhatALeaseNeedsGoesByItsKind(t *testing.T) {
	params := lease.Params{MinDeposit: 10_000, StorageReserve: 14 * 86400, OtherReserve: 60}
	for _, tt := range []struct {
		name  string
		kind  quote.Kind
		units quote.Units
		use   quote.Use
		want  money.Amount
	}{
		{"nothing", quote.Compute, quote.Units{}, quote.Use{}, 10_000},
		{"traffic and gas", quote.Compute, quote.Units{}, quote.Use{In: 10 * mib, Gas: 50 * ggas}, 60_000},
		{"a machine", quote.Compute, quote.Units{1000 * mib}, quote.Use{}, 2 * 60 * 1000},
		{"a MiB stored", quote.Storage, quote.Units{mib}, quote.Use{Out: mib}, 2*14*86400 + 1000},
	} {
		if got := needed(tt.kind, priced, tt.units, tt.use, params); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

// A call may be larger than all the slack there is, also after another device has
// signed: it is no lie then.
func TestALargeCallIsNoLie(t *testing.T) {
	w, s, _, p := functions(t, 10_000*money.Ember)
	q := w.device("client").pairs(mib)[0]
	const limit = 20 * mostUnaskedGas
	must(t, p.PayFor(t.Context(), gas(limit)))
	compute(t, s, q, ggas, ggas)
	must(t, p.Resync(t.Context()))
	ended := must1(s.Hold(p.Lease(), limit))
	compute(t, s, p, 2*lastGas, ggas) // signs
	must(t, p.Resync(t.Context()))
	if got := p.gasCounted(); got != limit+2*ggas {
		t.Errorf("%d gas are counted while the call is under way", got)
	}
	ended(limit)
	p.Ran(limit, limit)
	compute(t, s, p, 2*lastGas, ggas)
	must(t, p.Resync(t.Context()))
	if got := p.gasCounted(); got != limit+3*ggas {
		t.Errorf("%d gas are counted", got)
	}
}

func TestALeaseThatOwesOnlyGasIsSettledToTheUember(t *testing.T) {
	w, s, b, p := functions(t, money.Ember)
	l := w.lease(p.Lease())
	if want := max(w.rules(t).MinDeposit, priced.Owed(quote.Use{In: mib, Out: mib}.Plus(windows(2)))); l.In != want || l.Units != (quote.Units{}) {
		t.Errorf("%d uember were put in, %d are enough", l.In, want)
	}
	compute(t, s, p, 5*ggas, 3*ggas)
	w.Advance(time.Hour)
	done, err := s.Settle(t.Context())
	if err != nil || done != (Settled{Leases: 1, Posted: 1}) {
		t.Fatal(done, err)
	}
	total := s.newest(p.Lease()).Total
	if l = w.lease(p.Lease()); total != 6000 || l.Total != total || l.Out != total || w.Paid("host") != total-total/10 || l.State != lease.Open {
		t.Errorf("%d signed, %d posted, %d paid out, %d to the host, the lease is %s", total, l.Total, l.Out, w.Paid("host"), l.State)
	}
	if done, err = s.Settle(t.Context()); err != nil || done != (Settled{}) {
		t.Error("settled for nothing", done, err)
	}
	compute(t, s, p, 5*ggas, 5*ggas-1) // 7,999,999,999 in all, 8000 uember
	must1(s.Settle(t.Context()))
	if paid, signed := w.Paid("host"), s.newest(p.Lease()).Total; paid != signed-signed/10 {
		t.Errorf("%d paid of %d", paid, signed)
	}
	id, signed := p.Lease(), s.newest(p.Lease()).Total
	must(t, p.Refund(t.Context()))
	if l = w.lease(id); l.State != lease.Closed || l.Out != signed || b.Newest(id).Seq != 0 {
		t.Errorf("the lease is %s, %d of %d paid out", l.State, l.Out, signed)
	}
}

func (w *world) rules(t testing.TB) lease.Params { return must1(w.Rules(t.Context())) }

// What was only paid ahead goes back at the end; a call under way costs its limit.
func TestARefundKeepsTheGasOfACallUnderWay(t *testing.T) {
	for name, tt := range map[string]struct {
		ends bool
		want money.Amount
	}{"ended": {true, 1001}, "under way": {false, 5000}} {
		t.Run(name, func(t *testing.T) {
			w, s, _, p := functions(t, money.Ember)
			must(t, p.PayFor(t.Context(), gas(5*ggas)))
			ended := must1(s.Hold(p.Lease(), 5*ggas))
			if tt.ends {
				ended(ggas + 1)
			}
			id := p.Lease()
			must(t, p.Refund(t.Context()))
			ended(0)
			if l := w.lease(id); l.State != lease.Closed || l.Out != tt.want {
				t.Errorf("the lease is %s, %d are paid out", l.State, l.Out)
			}
			if _, err := s.Hold(id, 1); err == nil {
				t.Error("a call after the end")
			}
		})
	}
}

func TestALeaseIsRefilledForGas(t *testing.T) {
	w, s, _, p := functions(t, 3*money.Ember)
	before := w.lease(p.Lease()).In
	compute(t, s, p, 200*ggas, ggas)
	if l := w.lease(p.Lease()); l.In <= before || l.In > 201_000+priced.Owed(windows(18))+w.rules(t).MinDeposit {
		t.Errorf("%d became %d", before, l.In)
	}
	total := s.newest(p.Lease()).Total
	refused(t, p.PayFor(t.Context(), gas(10*quote.Tgas)), fault.NoFunds)
	refused(t, p.PayFor(t.Context(), gas(1<<64-1)), fault.NoFunds)
	if now := s.newest(p.Lease()).Total; now != total {
		t.Errorf("%d became %d for calls that were refused", total, now)
	}
	compute(t, s, p, 200*ggas, ggas)
}

// A statement names its prices by its time, so that time goes on where nothing is
// reserved too: else new prices never counted.
func TestTheTimeOfALeaseWithoutUnitsGoesOn(t *testing.T) {
	w, s, _, p := functions(t, money.Ember)
	compute(t, s, p, ggas, ggas)
	first := s.newest(p.Lease()).AsOf
	w.Advance(time.Hour)
	compute(t, s, p, 50*ggas, ggas)
	if n := s.newest(p.Lease()); first == 0 || n.AsOf < first+3600 || n.Total != 1000+50_000+1000 {
		t.Errorf("as of %d, then %d; %d uember", first, n.AsOf, n.Total)
	}
}

// A lease without units isn't renewed, yet its end is noticed, though no block told.
func TestTheEndOfALeaseWithoutUnitsIsNoticed(t *testing.T) {
	w, s, b, p := functions(t, money.Ember)
	compute(t, s, p, ggas, ggas)
	id, seq := p.Lease(), s.newest(p.Lease()).Seq
	b.renew(t.Context(), online)
	if b.Newest(id).Seq != seq || s.newest(id).Seq != seq {
		t.Fatal("it was renewed, or forgotten")
	}
	w.End(id)
	b.renew(t.Context(), online)
	if b.Newest(id).Seq != 0 {
		t.Error("a closed lease is kept")
	}
	refused(t, p.PayFor(t.Context(), gas(100*ggas)), fault.LeaseClosed)
	must(t, s.current().Close())
	s.start()
	if s.newest(id).Seq != 0 || s.shelf.dropped() != 1 {
		t.Error("its host keeps it")
	}
}

// A host that starts, with or without the ledger, goes on where it was.
func TestAHostOfFunctionsStartsAgain(t *testing.T) {
	w, s, _, p := functions(t, money.Ember)
	compute(t, s, p, 5*ggas, 3*ggas)
	for _, down := range []bool{false, true} {
		must(t, s.current().Close())
		w.SetDown(down)
		s.start()
		w.SetDown(false)
		if s.lookAll(t.Context()); len(s.Sold()) != 1 || s.Sold()[0].Gas < 3*ggas {
			t.Errorf("%+v", s.Sold())
		}
		compute(t, s, p, 5*ggas, ggas)
	}
	w.Advance(8 * week)
	if done, err := s.Settle(t.Context()); err != nil || done.Notified != 0 {
		t.Error("nothing is reserved, and it has lapsed", done, err)
	}
}
