package market

import (
	"context"
	"sync/atomic"
	"testing"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/statement"
	"hearth/market/wire"
)

func TestALyingHostIsFoundOut(t *testing.T) {
	accepted := func(change func(s *statement.Signed, host *seller)) func(*seller, *wire.Request, *wire.Response) {
		return func(s *seller, _ *wire.Request, res *wire.Response) {
			if a := res.GetAccepted(); a != nil {
				got, err := statement.Decode(a.Statement)
				if err == nil {
					change(&got, s)
					a.Statement = got.Encode()
				}
			}
		}
	}
	state := func(change func(s *wire.StateAnswer, host *seller)) func(*seller, *wire.Request, *wire.Response) {
		return func(s *seller, _ *wire.Request, res *wire.Response) {
			if st := res.GetState(); st != nil {
				change(st, s)
			}
		}
	}
	pay := func(ctx context.Context, _ *seller, p *Pair) error { return p.Pay(ctx, firstWindow, 0) }
	cover := func(ctx context.Context, s *seller, p *Pair) error {
		s.shelf.stage(p.Lease(), 2*mib, rootNo(2))
		return p.Cover(ctx, 2*mib, rootNo(2))
	}
	resync := func(ctx context.Context, _ *seller, p *Pair) error { return p.Resync(ctx) }
	first := map[*seller]statement.Signed{}
	for _, tt := range []struct {
		name string
		lie  func(*seller, *wire.Request, *wire.Response)
		do   func(context.Context, *seller, *Pair) error
		code fault.Code
	}{
		{"accepts another statement", accepted(func(s *statement.Signed, _ *seller) { s.Total++ }), pay, fault.BadStatement},
		{"doesn't sign a change", accepted(func(s *statement.Signed, _ *seller) { s.HostSig = nil }), cover, fault.BadSignature},
		{"signs a change with another key", accepted(func(s *statement.Signed, _ *seller) { *s = s.SignHost(newKey(t)) }), cover, fault.BadSignature},
		{"answers nothing to the point", func(_ *seller, _ *wire.Request, res *wire.Response) { res.Answer = nil }, resync, fault.BadFrame},
		{"counts more than is signed", state(func(s *wire.StateAnswer, _ *seller) { s.InBytes += 1 << 30 }), resync, fault.HostRefused},
		{"counts rent that isn't owed", state(func(s *wire.StateAnswer, _ *seller) { s.Rent = 1 << 40 }), resync, fault.HostRefused},
		{"shows garbage", state(func(s *wire.StateAnswer, _ *seller) { s.Statement = s.Statement[:20] }), resync, fault.BadFrame},
		{"shows nothing", state(func(s *wire.StateAnswer, _ *seller) { *s = wire.StateAnswer{} }), resync, fault.BadStatement},
		{"shows an older statement", state(func(s *wire.StateAnswer, h *seller) { s.Statement = first[h].Encode(); s.InBytes, s.Rent = 0, 0 }), resync, fault.BadStatement},
		{"shows one nobody signed", state(func(s *wire.StateAnswer, h *seller) {
			next := h.newest(1).Statement
			next.Seq++
			s.Statement = next.SignClient(newKey(t)).Encode()
		}), resync, fault.BadSignature},
		{"shows another lease's", state(func(s *wire.StateAnswer, h *seller) {
			next := h.newest(1).Statement
			next.Lease = 9
			s.Statement = next.SignClient(newKey(t)).Encode()
		}), resync, fault.BadStatement},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			s := w.host("host")
			honest := atomic.Bool{}
			honest.Store(true)
			s.lies(func(req *wire.Request, res *wire.Response) *wire.Response {
				if !honest.Load() {
					tt.lie(s, req, res)
				}
				return res
			})
			b := w.client("client", 1000*money.Ember)
			p := b.pairs(mib)[0]
			must(t, p.Pay(t.Context(), 1, 0))
			first[s] = s.newest(p.Lease())
			store(t, s, p, mib, rootNo(1))
			must(t, p.Pay(t.Context(), firstWindow, 0))
			honest.Store(false)
			refused(t, tt.do(t.Context(), s, p), tt.code)
			if tt.do != nil && tt.name == "shows an older statement" {
				// Neither does a client fall for it that has just started.
				b.restart()
				refused(t, b.pairs(mib)[0].Resync(t.Context()), tt.code)
				p = b.pairs(mib)[0]
			}
			// With the truth it goes on.
			honest.Store(true)
			must(t, p.Pay(t.Context(), firstWindow, 0))
			store(t, s, p, 3*mib, rootNo(3))
		})
	}
}

// A host that takes a cover and hides its signature is found out though the
// change itself shows up.
func TestACoverWithoutTheHostsSignatureIsNone(t *testing.T) {
	w := newWorld(t)
	s := w.host("host")
	s.lies(func(req *wire.Request, res *wire.Response) *wire.Response {
		if req.GetPropose() != nil {
			return s.refuse(fault.New(fault.Stale, "try again"))
		}
		if st := res.GetState(); st != nil && len(st.Statement) > 0 {
			got, _ := statement.Decode(st.Statement)
			got.HostSig = nil
			st.Statement = got.Encode()
		}
		return res
	})
	p := w.client("client", 1000*money.Ember).pairs(mib)[0]
	s.shelf.stage(p.Lease(), mib, rootNo(1))
	refused(t, p.Cover(t.Context(), mib, rootNo(1)), fault.BadSignature)
}

// What a host counts again and again without having been asked ends the trade:
// nobody loses more than a few windows.
func TestInventedTrafficIsNoticed(t *testing.T) {
	w := newWorld(t)
	s := w.host("host")
	s.lies(func(_ *wire.Request, res *wire.Response) *wire.Response {
		if st := res.GetState(); st != nil && len(st.Statement) > 0 {
			got, _ := statement.Decode(st.Statement)
			st.InBytes, st.OutBytes = uint64(got.Total-money.Amount(st.Rent))<<30/prices.In, 0 // all that was paid
		}
		return res
	})
	p := w.client("client", 1000*money.Ember).pairs(mib)[0]
	var err error
	for range 100 {
		if err = p.Pay(t.Context(), 1000, 0); err == nil {
			err = p.Resync(t.Context())
		}
		if err != nil {
			break
		}
	}
	refused(t, err, fault.HostRefused)
	if lost := uint64(s.newest(p.Lease()).Total) << 30 / prices.In; lost > mostUnasked+2*lastWindow {
		t.Errorf("%d bytes were paid for", lost)
	}
}

// Several buyers with one key, such as the readers of a link whose owner pays: what
// the others use is no host's lie, and each goes on from the others' statements.
func TestBuyersWithOneKeyTakeTurns(t *testing.T) {
	w := newWorld(t)
	s := w.host("host")
	s.lies(func(_ *wire.Request, res *wire.Response) *wire.Response {
		if st := res.GetState(); st != nil && len(st.Statement) > 0 {
			got, _ := statement.Decode(st.Statement)
			st.InBytes, st.OutBytes = uint64(got.Total-money.Amount(st.Rent))<<30/prices.In, 0 // the others have used it all
		}
		return res
	})
	one := w.client("client", 1000*money.Ember)
	one.c.Others = true
	one.restart()
	other := &buyer{w: w, node: newNode(t, newKey(t), false), c: one.c}
	other.c.Dir, other.c.Dialer = t.TempDir(), other.node
	other.start()
	t.Cleanup(func() { other.Client.Close() })
	both := []*Pair{one.pairs(mib)[0], other.pairs(mib)[0]}
	if both[0].Lease() != both[1].Lease() {
		t.Fatal("they have a lease each")
	}
	for range 30 {
		for _, p := range both {
			must(t, p.Resync(t.Context()))
			must(t, p.Pay(t.Context(), 1000, 0))
		}
	}
	if paid := uint64(s.newest(both[0].Lease()).Total) << 30 / prices.In; paid < 2*mostUnasked {
		t.Errorf("%d bytes were paid for: the law was not tried", paid)
	}
}

// A ledger node's events alone convince nobody.
func TestEventsAreOnlyHints(t *testing.T) {
	w, s, b, p := deal(t, 100_000)
	store(t, s, p, mib, rootNo(1))
	l := w.lease(p.Lease())
	rich := l
	rich.In += 1 << 40
	rich.Prices.In++
	closed := rich
	closed.State = lease.Closed
	for _, told := range []lease.Lease{rich, closed} {
		s.Changed(told)
		b.Changed(told)
		s.lookAll(t.Context())
		b.renew(t.Context(), online)
		if s.current().bargains[l.ID] == nil || s.shelf.dropped() > 0 || b.j.get(l.ID).Newest.Seq == 0 {
			t.Fatal("a lease was ended on somebody's word")
		}
		if got, err := b.Lease(t.Context(), l.ID); err != nil || got != p || p.terms().In > w.lease(l.ID).In || p.terms().Prices != prices {
			t.Error("terms were taken over without proof")
		}
		must(t, p.Pay(t.Context(), firstWindow, 0))
		if s.current().bargains[l.ID].terms().In > w.lease(l.ID).In {
			t.Error("the host believes in money that isn't there")
		}
	}
}
