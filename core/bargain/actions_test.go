package bargain_test

import (
	"strconv"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/statement"

	"pgregory.net/rapid"
)

// actions are all that may happen, the common ones more often.
func (w *world) actions() map[string]func(*rapid.T) {
	all := map[string]func(*rapid.T){"": w.laws}
	for _, a := range []struct {
		name  string
		often int
		do    func(*rapid.T)
	}{
		{"time", 5, w.time},
		{"days", 2, w.days},
		{"ledger pauses", 1, w.pause},
		{"host up and down", 2, w.hostUpAndDown},
		{"data goes", 1, w.dataGoes},
		{"loss", 1, w.declareLoss},
		{"answer out of turn", 1, w.answerOutOfTurn},
		{"challenge", 1, w.challenge},
		{"purse", 1, w.purse},
		{"open", 2, w.open},
		{"fund", 2, w.fund},
		{"prices", 2, w.prices},
		{"stale quote", 1, w.staleQuote},
		{"mandates", 2, w.mandates},
		{"pay", 5, w.payAhead},
		{"serve", 5, w.traffic},
		{"cover", 4, w.cover},
		{"renew", 3, w.renew},
		{"two at once", 2, w.twoAtOnce},
		{"crash", 2, w.crash},
		{"host posts", 3, w.post},
		{"old statement", 1, w.postOld},
		{"client posts", 1, w.clientPosts},
		{"settle", 4, w.settle},
		{"end", 1, w.end},
		{"finish", 3, w.finish},
		{"prune", 1, w.prune},
		{"forgery", 1, w.forgery},
		{"wild proposal", 3, w.wildProposal},
		{"foul play", 1, w.foulPlay},
	} {
		for i := range a.often {
			all[a.name+" "+strconv.Itoa(i+1)] = a.do
		}
	}
	return all
}

// somePair is any lease, most often one that lives.
func (w *world) somePair(t *rapid.T) *pair {
	among := w.pairs
	if rapid.IntRange(0, 3).Draw(t, "any") > 0 {
		var living []*pair
		for _, p := range w.pairs {
			if s := p.lease(w).State; s == lease.Open || s == lease.Low {
				living = append(living, p)
			}
		}
		if len(living) > 0 {
			among = living
		}
	}
	return among[rapid.IntRange(0, len(among)-1).Draw(t, "lease")]
}

func someDevice(t *rapid.T) int { return rapid.IntRange(0, 1).Draw(t, "device") }

var (
	anyMishap = rapid.SampledFrom([]mishap{nothing, nothing, nothing, nothing, nothing, nothing, askLost, crashBefore, crashAfter, answerLost})
	anyTime   = rapid.SampledFrom([]int64{1, 1, 10, minute, minute, 10 * minute, 10 * minute, hour, hour, 6 * hour, day, 3 * day, 8 * day, 15 * day, 40 * day})
	someMoney = rapid.SampledFrom([]money.Amount{1, 100, 5_000, 10_000, 50_000, 50_000, 200_000, 700_000})
	somePrice = rapid.SampledFrom(unitPrices)
	someUnits = rapid.SampledFrom([]uint64{0, 1 << 20, 1 << 28, 1 << 30, 7 << 30, 40 << 30})
)

// Days go by: enough for a host that is down to lose its bond.
func (w *world) days(t *rapid.T) {
	w.pass(day * rapid.SampledFrom([]int64{9, 1, 3, 40}).Draw(t, "days"))
}

// time goes by; most often a little.
func (w *world) time(t *rapid.T) { w.pass(anyTime.Draw(t, "later")) }

// A device pays for traffic ahead. What may go wrong goes wrong.
func (w *world) payAhead(t *rapid.T) {
	_ = w.pay(w.somePair(t), someDevice(t), anyMishap.Draw(t, "mishap"))
}

// Traffic flows as far as it is paid. Some of it a device counts and then forgets.
func (w *world) traffic(t *rapid.T) {
	p, n := w.somePair(t), someDevice(t)
	if w.serve(p, money.Amount(rapid.Uint64Range(1, window).Draw(t, "traffic"))) {
		p.buys[n].synced = false // it asks the host before it pays again
	}
}

// A device stores more or less: other units, another root, signed by both.
func (w *world) cover(t *rapid.T) {
	p, n := w.somePair(t), someDevice(t)
	units, ahead := someUnits.Draw(t, "units"), rapid.SampledFrom([]int64{10 * minute, 6 * day}).Draw(t, "ahead")
	_ = w.store(p, n, units, ahead, anyMishap.Draw(t, "mishap"))
}

func (w *world) store(p *pair, n int, units uint64, ahead int64, what mishap) error {
	return w.propose(p, n, what, func(next *statement.Statement, now int64) money.Amount {
		rent := w.advance(p, n, next, now, ahead)
		next.Units[0] = units
		next.Root[0]++
		return rent
	})
}

// A device or the steward signs more run time.
func (w *world) renew(t *rapid.T) {
	p, n := w.somePair(t), rapid.IntRange(0, steward).Draw(t, "device")
	ahead := rapid.SampledFrom([]int64{10 * minute, 6 * day}).Draw(t, "ahead")
	_ = w.propose(p, n, anyMishap.Draw(t, "mishap"), func(next *statement.Statement, now int64) money.Amount {
		if now < next.RunsUntil {
			next.RunsUntil = max(next.RunsUntil, now+ahead)
			return 0
		}
		return w.advance(p, n, next, now, ahead)
	})
}

// Two devices sign on the same newest statement: the second is stale and gets
// the first one's, on which its next may follow.
func (w *world) twoAtOnce(t *rapid.T) {
	p := w.somePair(t)
	w.sync(p, 0)
	w.sync(p, 1)
	if p.buys[0].base != p.buys[1].base {
		return // one of them has missed something: pay's business
	}
	first := someDevice(t)
	second := 1 - first
	if w.pay(p, first, nothing) != nil {
		return
	}
	err := w.pay(p, second, nothing)
	// Or its own view of money or time keeps it from asking at all.
	refused(t, "the second of two devices", err, fault.Stale, fault.NoFunds, fault.MandateRefused, fault.BadStatement)
	if w.sync(p, second); fault.CodeOf(err) == fault.Stale && p.buys[second].base != p.sells.mem.newest.Statement {
		t.Fatal("the second device isn't told the newest statement")
	}
}

// A side loses what it had only in memory.
func (w *world) crash(t *rapid.T) {
	p := w.somePair(t)
	if n := rapid.IntRange(-1, steward).Draw(t, "who"); n >= 0 {
		p.buys[n].crash()
		return
	}
	p.crashHost()
}
