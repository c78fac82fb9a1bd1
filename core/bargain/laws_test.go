package bargain_test

import (
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"

	"pgregory.net/rapid"
)

// laws fails the history where one of them is broken.
func (w *world) laws(t *rapid.T) {
	w.everyCoinIsSomewhere(t)
	w.nobodySpendsPastAMandate(t)
	w.proofs(t)
	for _, p := range w.pairs {
		l := p.lease(w)
		if l.ID == 0 {
			continue
		}
		if err := l.Check(); err != nil {
			t.Fatal(err)
		}
		w.nothingFalls(t, p, l)
		w.aHostTakesOnlyWhatIsNewAndFair(t, p)
		w.nobodyIsPaidForMoreThanWasSigned(t, p, l)
		w.nobodyLosesMoreThanAWindow(t, p)
		w.whatAHostHoldsCanBePosted(t, p, l)
	}
}

// The accounts hold exactly what the records say, and no coin comes or goes.
func (w *world) everyCoinIsSomewhere(t *rapid.T) {
	g := w.ledger
	var free, held, bonds, wallets money.Amount
	commission := g.pruned
	for _, c := range w.clients {
		free += g.purses[c.account]
		wallets += g.wallets[c.account]
	}
	for _, h := range w.hosts {
		bonds += g.bonds[h.account]
		wallets += g.wallets[h.account]
	}
	for _, l := range g.leases {
		held += l.In - l.Out - l.Refunded
		commission += l.Commission
	}
	switch {
	case g.market != free+held+g.fees || g.fees != money.Amount(len(g.challenges))*turns.ChallengeFee:
		t.Fatalf("the market's account holds %d: %d in purses, %d in leases, %d in challenges", g.market, free, held, g.fees)
	case g.bonded != bonds:
		t.Fatalf("the hosts' account holds %d: bonds are %d", g.bonded, bonds)
	case g.commons != commission+g.fines:
		t.Fatalf("the commons hold %d: leases paid %d, hosts %d", g.commons, commission, g.fines)
	case wallets+g.market+g.bonded+g.commons != g.supply:
		t.Fatalf("of %d coins there are %d", g.supply, wallets+g.market+g.bonded+g.commons)
	}
}

// What left a purse under a mandate is counted, and never passes its cap in a window.
func (w *world) nobodySpendsPastAMandate(t *rapid.T) {
	for _, c := range w.clients {
		for _, d := range c.devices {
			h := holder{c.account, d.key.public}
			m := w.ledger.mandates[h]
			var sum money.Amount
			for _, s := range w.ledger.spent[h] {
				if s.at >= m.WindowStart {
					sum += s.amount
				}
			}
			if sum != m.Used {
				t.Fatalf("%s: a key spent %d, its mandate counts %d", c.account, sum, m.Used)
			}
			if m.Used > widest {
				t.Fatalf("%s: a key spent %d, the widest cap it ever had is %d", c.account, m.Used, widest)
			}
		}
	}
}

// Whatever a lease counts up never goes down.
func (w *world) nothingFalls(t *rapid.T, p *pair, l lease.Lease) {
	b := p.before
	p.before = l
	if l.In < b.In || l.Out < b.Out || l.Refunded < b.Refunded || l.Seq < b.Seq || l.Total < b.Total || l.AsOf < b.AsOf || l.RunsUntil < b.RunsUntil || l.State < lease.Closing && b.State >= lease.Closing {
		t.Fatalf("lease %d: %+v became %+v", p.id, b, l)
	}
}

// A host takes higher numbers only, gives no time away beyond what clocks may
// differ, and what it was owed already it stays owed.
func (w *world) aHostTakesOnlyWhatIsNewAndFair(t *rapid.T, p *pair) {
	k := p.taken
	if k.at == 0 {
		return
	}
	p.taken = taken{}
	owed := money.AddCap(k.prev.Total, k.rate.Over(min(k.at-statement.Skew, k.prev.RunsUntil)-k.prev.AsOf))
	switch {
	case k.next.Seq <= k.prev.Seq:
		t.Fatalf("lease %d: the host took number %d after %d", p.id, k.next.Seq, k.prev.Seq)
	case k.next.AsOf > max(k.at+statement.Skew, k.prev.AsOf):
		t.Fatalf("lease %d: the host gave %d s away", p.id, k.next.AsOf-k.at)
	case k.prev.Units != k.next.Units && k.next.Total < owed: // else its time goes on being counted
		t.Fatalf("lease %d: the host was owed %d, after the change %d", p.id, owed, k.next.Total)
	case k.next.Total < k.prev.Total:
		t.Fatalf("lease %d: the total fell from %d to %d", p.id, k.prev.Total, k.next.Total)
	}
}

// What was paid is covered by one statement of a client's key, or by an agreed
// end: its total, and its rate over the time it signed, never past run time,
// the present, or the end of the lease.
func (w *world) nobodyIsPaidForMoreThanWasSigned(t *rapid.T, p *pair, l lease.Lease) {
	if l.Out <= p.agreed {
		return
	}
	end := w.ledger.now
	if l.ClosedAt > 0 {
		end = min(end, l.ClosedAt)
	}
	for i := len(p.signed) - 1; i >= 0; i-- {
		s := p.signed[i]
		if l.Kind == quote.Storage && l.Out <= money.AddCap(s.Total, l.Accrued(w.ledger.clock(l.Host))) {
			return
		}
		if l.Out <= money.AddCap(s.Total, s.rate.Over(min(end, s.RunsUntil)-s.AsOf)) {
			return
		}
	}
	t.Fatalf("lease %d: %d paid, no statement says so much", p.id, l.Out)
}

// A client never signs for more than a window of traffic that hasn't flowed,
// unless a device of its own has given more away before; a
// host never lets more flow than was signed, but for what it forgot in a crash,
// each time less than a window.
func (w *world) nobodyLosesMoreThanAWindow(t *rapid.T, p *pair) {
	if p.exposed > max(p.served+window, p.given) {
		t.Fatalf("lease %d: its client signed for traffic of %d, %d has flowed", p.id, p.exposed, p.served)
	}
	m := p.sells.mem
	if m.rent+p.served-p.lost > m.newest.Total {
		t.Fatalf("lease %d: traffic of %d has flowed and %d s of rent went by, signed are %d", p.id, p.served, m.rent, m.newest.Total)
	}
	if forgotten := m.served - p.sells.disk.served; forgotten > window {
		t.Fatalf("lease %d: a crash would cost the host %d", p.id, forgotten)
	}
}

// A host that keeps to the rules can turn what it holds into money as long as
// the lease lives, whoever else has posted what, and it never loses by it.
func (w *world) whatAHostHoldsCanBePosted(t *rapid.T, p *pair, l lease.Lease) {
	s := p.sells.mem.newest
	if p.cheated || s.Seq <= l.Seq || l.State == lease.Closed || p.missed == s.Seq {
		return
	}
	if m := w.ledger.mandates[holder{l.Client, [32]byte(s.ClientKey)}]; w.ledger.now >= m.Until+rules.CloseTime {
		p.missed = s.Seq
		return
	}
	after, err := w.ledger.judge(s)
	// While the host is drawn it waits with what would change roots or rates.
	if err != nil {
		t.Fatalf("lease %d: the host can't post what it accepted: %v", p.id, err)
	}
	if want := min(s.Total, l.Funded()); after.Earned(w.ledger.clock(l.Host)) < want {
		t.Fatalf("lease %d: %d are signed, posting that earns %d", p.id, want, after.Earned(w.ledger.clock(l.Host)))
	}
	if after.Earned(w.ledger.clock(l.Host)) < l.Out {
		t.Fatalf("lease %d: posting takes back what was paid", p.id)
	}
}

// refused fails the history unless err carries one of the codes.
func refused(t *rapid.T, what string, err error, codes ...fault.Code) {
	for _, c := range codes {
		if fault.CodeOf(err) == c {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}
