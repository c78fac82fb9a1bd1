package bargain_test

import (
	"hearth/core/money"

	"pgregory.net/rapid"
)

// A diary judges a host the simple way: each period by itself when it ends, from
// a list of all of them. The ledger's record must come to the same, however
// seldom it is looked at.
type diary struct {
	outcome map[int64]byte // a answered, m missed, c confessed, v void; else nothing was owed
	since   int64          // the period in which the host had its first rate; 0: it has none
	proofs  int64
	run     int
	fined   int64
	forfeit int
}

func (d *diary) rates(was, is money.Rate, period int64) {
	switch {
	case is == 0:
		d.since = 0
	case was == 0:
		d.since = period
	}
}

func (d *diary) answered(period int64) {
	d.outcome[period] = 'a'
	d.proofs++
	d.run = 0
}

func (d *diary) confessed(period int64) {
	d.outcome[period] = 'c'
	d.run = 0
	if d.misses(period) > turns.MissesFree {
		d.fined++
	}
}

// end judges a period that nothing was heard in.
func (d *diary) end(period int64, void bool) {
	switch {
	case period == 0 || d.since == 0 || period <= d.since || d.outcome[period] != 0:
		return
	case void:
		d.outcome[period] = 'v'
		return
	}
	d.outcome[period] = 'm'
	d.run++
	switch {
	case d.run > turns.Fatal:
	case d.run == turns.Fatal:
		d.forfeit++
	case d.misses(period) > turns.MissesFree:
		d.fined++
	}
}

// misses counts those in the window that ends with a period.
func (d *diary) misses(period int64) (n int) {
	for q := period - int64(turns.Window) + 1; q <= period; q++ {
		if o := d.outcome[q]; o == 'm' || o == 'c' {
			n++
		}
	}
	return n
}

// aHostIsJudgedAsPeriodByPeriod: laziness changes nothing.
func (w *world) aHostIsJudgedAsPeriodByPeriod(t *rapid.T) {
	for _, h := range w.hosts {
		p := w.ledger.provers[h.account]
		w.ledger.touch(h.account)
		r, d := p.record, p.diary
		switch {
		case r.Proven != d.proofs*day:
			t.Fatalf("%s: %d s proven by %d answers", h.account, r.Proven, d.proofs)
		case r.Run != min(d.run, turns.Fatal+1) || r.Misses(turns) != d.misses(r.Judged):
			t.Fatalf("%s: %d misses, %d in a row; period by period %d, %d", h.account, r.Misses(turns), r.Run, d.misses(r.Judged), d.run)
		case p.fined != d.fined || p.forfeit != d.forfeit:
			t.Fatalf("%s: %d fines, %d bonds lost; period by period %d, %d", h.account, p.fined, p.forfeit, d.fined, d.forfeit)
		}
	}
}

// proofs are the laws of proving and of the proven clock.
func (w *world) proofs(t *rapid.T) {
	g := w.ledger
	for _, h := range w.hosts {
		p := g.provers[h.account]
		var sum money.Rate
		for id, x := range g.leases {
			if x.Host != h.account || x.Kind.String() != "storage" {
				continue
			}
			sum += x.Rate
			if got := x.Accrued(g.clock(h.account)); got != g.rent[uint64(id)].Amount() {
				t.Fatalf("lease %d: %d accrued, answers came to %d", id, got, g.rent[uint64(id)].Amount())
			}
		}
		if p.total() != sum {
			t.Fatalf("%s: the tree holds rates of %d, leases %d", h.account, p.total(), sum)
		}
		w.nothingMovesUnderAFrozenHost(t, h)
	}
	if rapid.IntRange(0, 3).Draw(t, "look at the hosts") == 0 {
		w.aHostIsJudgedAsPeriodByPeriod(t)
	}
}

// nothingMovesUnderAFrozenHost: between draw and answer roots and rates stay.
func (w *world) nothingMovesUnderAFrozenHost(t *rapid.T, h *host) {
	g := w.ledger
	copied := g.provers[h.account].record
	copied, _ = copied.Judge(g.now, 0, g.voidRun, turns)
	period := g.beacon.Period
	if !copied.Frozen(g.now, g.slot(h.account), turns) {
		h.still = nil
		return
	}
	seen := map[uint64]weight{}
	for id, x := range g.leases {
		if x.Host == h.account && x.Rate > 0 && x.Kind.String() == "storage" {
			seen[uint64(id)] = weight{x.Rate, x.Root}
		}
	}
	if h.still != nil && h.frozenIn == period {
		if len(seen) != len(h.still) {
			t.Fatalf("%s: %d leases earned when it was drawn, now %d", h.account, len(h.still), len(seen))
		}
		for id, was := range h.still {
			if seen[id] != was {
				t.Fatalf("%s: lease %d changed between draw and answer", h.account, id)
			}
		}
	}
	h.still, h.frozenIn = seen, period
}

type weight struct {
	rate money.Rate
	root [32]byte
}
