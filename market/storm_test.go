package market

import (
	"sync"
	"testing"
	"time"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/quote"
)

// Everything at once: two devices pay, cover and renew, the host settles, blocks
// tell. No total falls, what flowed is paid, money is neither made nor lost.
func TestEverythingAtOnce(t *testing.T) {
	w, s, b, p := deal(t, 100_000*money.Ember)
	w.Follow(func(l lease.Lease) { s.current().Changed(l); b.Changed(l) })
	w.FollowKeys(func(grantor string) { s.current().MandateChanged(grantor) })
	other := w.device("client")
	q := other.pairs(mib)[0]
	end := make(chan struct{})
	var work, around sync.WaitGroup
	loop := func(wg *sync.WaitGroup, pause time.Duration, f func()) {
		wg.Go(func() {
			for {
				select {
				case <-end:
					return
				case <-time.After(pause):
					f()
				}
			}
		})
	}
	fine := func(err error) {
		switch fault.CodeOf(err) {
		case "", fault.Stale, fault.Unpaid, fault.NoLease, fault.HostUnreachable:
		default:
			t.Error(err)
		}
	}
	for _, pair := range []*Pair{p, p, q} {
		loop(&work, time.Millisecond, func() {
			if err := pair.Pay(t.Context(), 64<<10, 32<<10); err != nil {
				fine(err)
				return
			}
			fine(s.current().Take(pair.Lease(), 64<<10, 32<<10))
		})
	}
	n := byte(0)
	loop(&work, 5*time.Millisecond, func() {
		n++
		s.shelf.stage(p.Lease(), uint64(n)*mib, rootNo(n))
		fine(p.Cover(t.Context(), uint64(n)*mib, rootNo(n)))
	})
	var last money.Amount
	loop(&around, 3*time.Millisecond, func() {
		newest := s.newest(p.Lease())
		if newest.Total < last {
			t.Errorf("%d became %d", last, newest.Total)
		}
		last = newest.Total
		s.current().Sold()
		b.Used(p.Lease())
		b.Newest(p.Lease())
	})
	loop(&around, 20*time.Millisecond, func() {
		_, err := s.current().Settle(t.Context())
		must(t, err)
		s.current().lookAll(t.Context())
		other.renew(t.Context(), offline)
		fine(q.Resync(t.Context()))
	})
	loop(&around, 50*time.Millisecond, func() {
		_, err := b.Offers(t.Context(), quote.Storage, true)
		must(t, err)
	})
	time.Sleep(1500 * time.Millisecond)
	until(t, "there are many statements", func() bool { return s.newest(p.Lease()).Seq >= 20 })
	close(end)
	work.Wait()
	around.Wait()
	must(t, p.Resync(t.Context()))
	sold := s.Sold()[0]
	rec := s.j.get(p.Lease())
	if owed := rec.Rent + prices.Owed(sold.Use); owed > sold.Signed {
		t.Errorf("%d flowed, %d are signed", owed, sold.Signed)
	}
	done, err := s.Settle(t.Context())
	if err != nil || w.lease(p.Lease()).Total != s.newest(p.Lease()).Total {
		t.Error(done, err)
	}
}
