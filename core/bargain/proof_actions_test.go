package bargain_test

import (
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/proving"
	"hearth/core/quote"

	"pgregory.net/rapid"
)

// pass lets time go by while the ledger runs: a block at each slot and each end of
// a period. Hosts that are up answer when it is their turn.
func (w *world) pass(seconds int64) {
	g := w.ledger
	for until := g.now + seconds; g.now < until; {
		g.block(min(until, nextSlot(g.now)))
		w.hostsAct()
	}
}

// nextSlot is when the next slot or period after a time begins.
func nextSlot(now int64) int64 {
	period := turns.At(now)
	for slot := range turns.Slots() {
		if at := turns.SlotBegins(period, slot); at > now {
			return at
		}
	}
	return turns.Begins(period + 1)
}

// pause lets time go by while the ledger stands still.
func (w *world) pause(t *rapid.T) {
	w.ledger.block(w.ledger.now + rapid.SampledFrom([]int64{hour, 17 * hour, 17*hour + 1, 30 * hour, 3 * day}).Draw(t, "pause"))
	w.hostsAct()
}

func (w *world) hostsAct() {
	for _, h := range w.hosts {
		if h.up {
			w.hostActs(h)
		}
	}
	w.ledger.overdue()
}

// hostActs has a host answer what it can: challenges, and its draw.
func (w *world) hostActs(h *host) {
	g := w.ledger
	for _, p := range w.pairs {
		if c := g.challenges[p.id]; c.Lease != 0 && p.host == h && !p.gone {
			g.meet(p.id)
		}
	}
	if !g.frozen(h.account) {
		return
	}
	var lost []uint64
	for _, id := range g.drawn(h.account) {
		for _, p := range w.pairs {
			if p.id == id && p.gone {
				lost = append(lost, id)
			}
		}
	}
	if len(lost) > 0 && !h.confesses {
		return
	}
	if err := g.answer(h.account, lost); err != nil {
		panic(err)
	}
}

// A host goes down or comes back, or begins to confess what it has lost.
func (w *world) hostUpAndDown(t *rapid.T) {
	h := w.hosts[rapid.IntRange(0, 1).Draw(t, "host")]
	h.up = rapid.IntRange(0, 2).Draw(t, "up") > 0
	h.confesses = rapid.Bool().Draw(t, "confesses")
}

// The bytes of a lease are lost, or come back with its next repair.
func (w *world) dataGoes(t *rapid.T) {
	p := w.somePair(t)
	p.gone = rapid.Bool().Draw(t, "gone")
}

// A host declares a lease lost. It may not once it is drawn.
func (w *world) declareLoss(t *rapid.T) {
	p := w.somePair(t)
	before, g := p.lease(w), w.ledger
	if before.ID == 0 {
		return
	}
	frozen := g.frozen(p.host.account)
	purse, bond := g.purses[before.Client], g.bonds[p.host.account]
	err := g.lose(p.id)
	switch {
	case before.Kind != quote.Storage || before.State == lease.Closed || before.Rate == 0:
		refused(t, "a loss of nothing", err, fault.BadRequest, fault.LeaseClosed, fault.Frozen)
	case frozen:
		refused(t, "a loss after the draw", err, fault.Frozen)
	case err != nil:
		t.Fatalf("lease %d: an honest loss is refused: %v", p.id, err)
	default:
		if got := g.purses[before.Client] - purse; got != min(bond, before.Rate.Over(3*day)) {
			t.Fatalf("lease %d: its client got %d for the loss", p.id, got)
		}
	}
}

// A host tries to answer when it isn't its turn, or again.
func (w *world) answerOutOfTurn(t *rapid.T) {
	h := w.hosts[rapid.IntRange(0, 1).Draw(t, "host")]
	if w.ledger.frozen(h.account) {
		return
	}
	was := w.ledger.provers[h.account].record
	refused(t, "an answer out of turn", w.ledger.answer(h.account, nil), fault.BadRequest, fault.Stale)
	if w.ledger.provers[h.account].record != was {
		t.Fatal("a refused answer left a trace")
	}
}

// A client demands a leaf now.
func (w *world) challenge(t *rapid.T) {
	p := w.somePair(t)
	l := p.lease(w)
	if l.ID == 0 || l.Kind != quote.Storage {
		return
	}
	_ = w.ledger.challenge(p.id, rapid.Uint64().Draw(t, "leaf"))
	if c := w.ledger.challenges[p.id]; c != (proving.Challenge{}) && c.Fee != turns.ChallengeFee {
		t.Fatalf("lease %d: a challenge for %d", p.id, c.Fee)
	}
}
