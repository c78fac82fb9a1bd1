package bargain_test

import (
	"encoding/binary"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/proving"
	"hearth/core/quote"
)

// turns are the rules of proving: as in the real network, but for few slots, and
// pauses that may be longer than the time without one, so that a history needs few
// blocks.
var turns = func() proving.Params {
	p := proving.Defaults(start, day, 6)
	p.MaxSlots, p.VoidSeconds = 3, 17*hour
	return p
}()

// A prover is what the ledger keeps of one host's proofs.
type prover struct {
	record  proving.Record
	tree    proving.Fenwick
	index   map[uint64]uint64 // by lease
	leaseAt map[uint64]uint64 // by index
	fined   int64
	forfeit int
	diary   diary
}

type cells map[uint64]uint64

func (c cells) Get(i uint64) uint64 { return c[i] }
func (c cells) Set(i, v uint64)     { c[i] = v }

func newProver() *prover {
	return &prover{
		tree: proving.Fenwick{Cells: cells{}}, index: map[uint64]uint64{}, leaseAt: map[uint64]uint64{},
		diary: diary{outcome: map[int64]byte{}},
	}
}

func (p *prover) total() money.Rate { return money.Rate(p.tree.Total()) }

// clock is what the leases of a host earn by.
func (l *ledger) clock(host string) lease.Clock {
	c := lease.Clock{Now: l.now}
	if p := l.provers[host]; p != nil { // a forgotten lease names no host
		c.Proven = p.record.Proven
	}
	return c
}

// block lets the ledger's time go on to a time, as one block does.
func (l *ledger) block(now int64) {
	before := l.now
	l.now = now
	l.height++
	if first, last, void := turns.Void(before, now); void {
		l.voids = append(l.voids, [2]int64{first, last})
		l.pause = now
	}
	for q := turns.At(before); q < turns.At(now); q++ {
		for _, h := range l.hosts {
			l.provers[h].diary.end(q, l.void(q))
		}
	}
	var from, to int64
	l.beacon, from, to = l.beacon.Block(now, binary.BigEndian.AppendUint64(nil, l.height), turns)
	for ; from < to; from++ {
		l.slots[from] = l.beacon.R
	}
}

func (l *ledger) void(period int64) bool { _, void := l.voidRun(period); return void }

func (l *ledger) voidRun(period int64) (last int64, void bool) {
	for _, v := range l.voids {
		if v[0] <= period && period <= v[1] {
			last, void = max(last, v[1]), true
		}
	}
	return last, void
}

// slot is a host's slot in this period.
func (l *ledger) slot(host string) int64 {
	return proving.Slot(host, l.beacon.Period, l.beacon.Start, turns.Slots())
}

// touch decides a host's periods so far, and takes what they cost.
func (l *ledger) touch(host string) {
	p := l.provers[host]
	var v proving.Verdict
	p.record, v = p.record.Judge(l.now, p.total(), l.voidRun, turns)
	l.punish(host, v)
}

func (l *ledger) punish(host string, v proving.Verdict) {
	p := l.provers[host]
	p.fined += v.Fined
	taken := l.seize(host, v.Fine)
	l.commons += taken
	l.fines += taken
	if !v.Forfeit {
		return
	}
	p.forfeit++
	bond := l.bonds[host]
	half, _ := proving.Split(bond)
	for _, x := range l.leases {
		if x.Host == host && x.Kind == quote.Storage {
			share := proving.Share(half, x.Rate, p.total())
			l.purses[x.Client] += share
			l.market += share
			bond -= share
		}
	}
	l.bonded -= l.bonds[host]
	l.bonds[host] = 0
	l.commons += bond // the commons' half, and what rounding left
	l.fines += bond
}

// seize takes an amount out of a bond and says what was there.
func (l *ledger) seize(host string, amount money.Amount) (taken money.Amount) {
	p := l.provers[host]
	p.record, l.bonds[host], taken = p.record.Take(l.bonds[host], amount)
	l.bonded -= taken
	return taken
}

func (l *ledger) frozen(host string) bool {
	l.touch(host)
	return l.provers[host].record.Frozen(l.now, l.slot(host), turns)
}

// put writes a lease down, and its weight among those of its host. While the host
// is frozen neither that nor the root may change.
func (l *ledger) put(after lease.Lease) error {
	before := l.leases[after.ID]
	if after.Kind != quote.Storage || after.Rate == before.Rate && after.Root == before.Root {
		l.leases[after.ID] = after
		return nil
	}
	if l.frozen(after.Host) {
		return fault.New(fault.Frozen, "lease %d: its host is drawn", after.ID)
	}
	p := l.provers[after.Host]
	was := p.total()
	at, ok := p.index[after.ID]
	if !ok {
		at = p.tree.Take()
		p.index[after.ID], p.leaseAt[at] = at, after.ID
	}
	p.tree.Add(at, uint64(before.Rate), uint64(after.Rate))
	if after.Rate == 0 {
		p.tree.Release(at)
		delete(p.index, after.ID)
		delete(p.leaseAt, at)
	}
	p.record = p.record.Rates(was, p.total(), l.now, turns)
	p.diary.rates(was, p.total(), turns.At(l.now))
	l.leases[after.ID] = after
	return nil
}

// drawn are the leases that a host has to show a leaf of.
func (l *ledger) drawn(host string) (ids []uint64) {
	p := l.provers[host]
	seed := proving.SeedOf(host, l.beacon.Period, l.slots[l.slot(host)])
	for i := range turns.Draws {
		ids = append(ids, p.leaseAt[p.tree.Find(seed.Rate(i, p.tree.Total()))])
	}
	return ids
}

// answer takes a host's answer, in which it confesses some of the drawn leases.
func (l *ledger) answer(host string, lost []uint64) (err error) {
	l.touch(host)
	p := l.provers[host]
	if len(lost) == 0 {
		if p.record, err = p.record.Answer(l.now, l.slot(host), turns); err == nil {
			p.diary.answered(turns.At(l.now))
			for i, x := range l.leases {
				if x.Host == host && x.Kind == quote.Storage && !l.stopped[uint64(i)] {
					l.rent[uint64(i)] = l.rent[uint64(i)].Add(x.Rate.Times(day))
				}
			}
		}
		return err
	}
	var v proving.Verdict
	if p.record, v, err = p.record.Confess(l.now, l.slot(host), p.total(), turns); err != nil {
		return err
	}
	p.diary.confessed(turns.At(l.now))
	l.punish(host, v)
	for _, id := range lost {
		if l.leases[id].Rate > 0 { // it may have been drawn twice
			if err := l.lose(id); err != nil {
				return err
			}
		}
	}
	return nil
}

// lose writes a lease off: its client gets a few days of its rate from the bond.
func (l *ledger) lose(id uint64) error {
	x := l.leases[id]
	l.touch(x.Host)
	if err := l.provers[x.Host].record.MayLose(x.Rate, l.now, l.slot(x.Host), turns); err != nil {
		return err
	}
	after, was, err := x.Lose(l.clock(x.Host), rules)
	if err == nil {
		err = l.put(after)
	}
	if err == nil {
		got := l.seize(x.Host, turns.Loss(was))
		l.purses[x.Client] += got
		l.market += got
	}
	return err
}

// challenge has a client demand a leaf now.
func (l *ledger) challenge(id, leaf uint64) error {
	x := l.leases[id]
	c, err := turns.NewChallenge(id, leaf, x.Client, x.Rate, l.now)
	switch {
	case err != nil:
		return err
	case l.challenges[id] != (proving.Challenge{}):
		return fault.New(fault.Exists, "challenge lease %d: one is open", id)
	case l.purses[x.Client] < c.Fee:
		return fault.New(fault.NoFunds, "challenge lease %d", id)
	}
	l.purses[x.Client] -= c.Fee
	l.fees += c.Fee
	l.challenges[id] = c
	return nil
}

// meet ends a challenge that was answered.
func (l *ledger) meet(id uint64) {
	c := l.challenges[id]
	delete(l.challenges, id)
	l.fees -= c.Fee
	l.market -= c.Fee
	l.wallets[l.leases[id].Host] += c.Fee
}

// overdue ends challenges that nobody has answered in time.
func (l *ledger) overdue() {
	for id := range l.leases {
		c, open := l.challenges[uint64(id)]
		x := l.leases[id]
		if !open || l.now <= c.Due(l.pause, turns) || x.Rate > 0 && l.frozen(x.Host) {
			continue
		}
		delete(l.challenges, uint64(id))
		l.fees -= c.Fee
		l.purses[c.By] += c.Fee
		if x.Rate > 0 {
			if err := l.lose(uint64(id)); err != nil {
				panic(err)
			}
		}
	}
}
