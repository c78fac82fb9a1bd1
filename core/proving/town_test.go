package proving_test

import (
	"encoding/binary"
	"math/rand/v2"

	"hearth/core/money"
	"hearth/core/proving"
)

// A scene is one way for a host to behave, over many periods.
type scene struct {
	name  string
	theft bool    // it wants to earn for what it hasn't
	gone  float64 // of the bytes of others' leases, what it doesn't keep
	whole bool    // whole leases are gone, not some leaves of each
	self  int     // leases with itself, which it can always show
	drawn tactic  // what it does when it can't show a drawn leaf
	// down says from when to when after a period's beginning it doesn't run.
	down func(period int64, rnd *rand.Rand) (from, to int64)
	// pause says how long the ledger stands still in a period, from a third of it on.
	pause func(period int64) int64
}

type tactic uint8

const (
	silent   tactic = iota
	confess         // it admits what was drawn, and shows the rest
	lateLoss        // it declares the drawn leases lost, after the draw
	latePost        // it posts a statement without them, signed by a client it owns
	dodge           // it declares all that is gone before each slot, and heals it after
	declare         // an honest one: once, before its slot; its clients store it again
)

const (
	others  = 100  // leases of others
	leaves  = 1000 // of one lease
	lasting = 90   // periods
	each    = money.Rate(money.RateUnit)
)

// A town is one host with its leases and a ledger.
type town struct {
	scene
	rnd    *rand.Rand
	p      proving.Params
	now    int64
	height uint64
	beacon proving.Beacon
	slots  []proving.Hash
	voids  map[int64]bool
	record proving.Record
	tree   proving.Fenwick
	rate   []money.Rate // by index, from 1; others' first
	lost   []uint64     // leaves that aren't kept, by index

	bond, cash, spent money.Amount // cash is what it was paid, spent what it paid into leases of its own
	stored            float64      // leases kept, times periods
	caught            int64        // the first period in which it couldn't answer, counted from 1; 0: never
	refused           int          // acts that the rules refused
	paid              int
	missed, fined     int64
	forfeits          int
	declared          bool
	hosted            int64
}

type row []uint64

func (r row) Get(i uint64) uint64 {
	if i >= uint64(len(r)) {
		return 0
	}
	return r[i]
}
func (r row) Set(i, v uint64) { r[i] = v }

func newTown(s scene, seed uint64) *town {
	t := &town{scene: s, rnd: rand.New(rand.NewPCG(seed, 1)), p: proving.Defaults(0, day, 6), voids: map[int64]bool{}}
	t.slots = make([]proving.Hash, t.p.Slots())
	t.tree.Cells = make(row, 4096)
	t.beacon.R = proving.Mix(proving.Hash{}, binary.BigEndian.AppendUint64(nil, seed))
	n := others + s.self
	t.rate, t.lost = make([]money.Rate, n+1), make([]uint64, n+1)
	for i := 1; i <= n; i++ {
		t.set(t.tree.Take(), each)
	}
	if s.drawn != declare { // else it happens later
		t.lose()
	}
	return t
}

// lose makes what isn't kept unprovable.
func (t *town) lose() {
	for i := 1; i <= others; i++ {
		switch {
		case t.whole && float64(i) <= t.gone*others:
			t.lost[i] = leaves
		case !t.whole:
			t.lost[i] = uint64(t.gone * leaves)
		}
	}
}

func (t *town) total() money.Rate { return money.Rate(t.tree.Total()) }

// set changes a lease's rate. It is refused while the host is frozen.
func (t *town) set(i uint64, rate money.Rate) {
	if t.record.Frozen(t.now, t.slot(), t.p) {
		t.refused++
		return
	}
	was := t.total()
	t.tree.Add(i, uint64(t.rate[i]), uint64(rate))
	t.rate[i] = rate
	t.record = t.record.Rates(was, t.total(), t.now, t.p)
}

func (t *town) slot() int64 {
	return proving.Slot("host", t.beacon.Period, t.beacon.Start, t.p.Slots())
}

// block makes a block at a time.
func (t *town) block(now int64) {
	if first, last, void := t.p.Void(t.now, now); void {
		for ; first <= last; first++ {
			t.voids[first] = true
		}
	}
	t.now = now
	t.height++
	var from, to int64
	t.beacon, from, to = t.beacon.Block(now, binary.BigEndian.AppendUint64(nil, t.height), t.p)
	for ; from < to; from++ {
		t.slots[from] = t.beacon.R
	}
	var v proving.Verdict
	t.record, v = t.record.Judge(now, t.total(), func(q int64) (int64, bool) { return q, t.voids[q] }, t.p)
	t.punish(v)
}

func (t *town) punish(v proving.Verdict) {
	t.missed += v.Missed
	t.fined += v.Fined
	t.record, t.bond, _ = t.record.Take(t.bond, v.Fine)
	if v.Forfeit {
		t.forfeits++
		half, _ := proving.Split(t.bond)
		t.cash += proving.Share(half, each*money.Rate(t.self), t.total()) // its own leases' part
		t.bond = 0
	}
}

// live lets a period pass, its number counted from the first.
func (t *town) live(period int64) {
	begins := t.p.Begins(period)
	from, to := int64(0), int64(0)
	if t.down != nil {
		from, to = t.down(period, t.rnd)
	}
	var still int64
	if t.pause != nil {
		still = t.pause(period)
	}
	done := false
	for into := int64(0); into < day; into += hour {
		if still > 0 && into > 8*hour && into <= 8*hour+still {
			continue
		}
		t.block(begins + into)
		if up := into < from || into >= to; up && !done {
			done = t.act(period)
		}
	}
	t.stored += others
	if t.theft {
		t.stored -= others * t.gone
	}
	t.hosted++
}

const hour = 3600

// act does what can be done now, and says whether the host is through with the period.
func (t *town) act(period int64) bool {
	switch t.drawn {
	case dodge, declare:
		t.beforeSlot(period)
	}
	if !t.record.Owes(t.now, t.p) {
		return false
	}
	if !t.record.Frozen(t.now, t.slot(), t.p) {
		return false
	}
	hit := t.hit()
	if len(hit) == 0 {
		t.answer()
		if t.drawn == dodge {
			t.heal()
		}
		return true
	}
	if t.caught == 0 {
		t.caught = t.hosted + 1
	}
	switch t.drawn {
	case confess:
		rec, v, err := t.record.Confess(t.now, t.slot(), t.total(), t.p)
		if err != nil {
			panic(err)
		}
		t.record = rec
		t.punish(v)
		for _, i := range hit {
			t.writeOff(i)
		}
		t.heal() // a client stores with it again
	case lateLoss:
		for range hit {
			if t.record.MayLose(each, t.now, t.slot(), t.p) != nil {
				t.refused++
			}
		}
	case latePost:
		for _, i := range hit {
			t.set(i, 0)
		}
	}
	return true
}

// beforeSlot declares what is gone, while that is allowed.
func (t *town) beforeSlot(period int64) {
	if t.drawn == declare && (period < 10 || t.declared) || t.record.Frozen(t.now, t.slot(), t.p) || t.record.Answered == period {
		return
	}
	if t.drawn == declare {
		t.declared = true
		t.lose()
	}
	for i := uint64(1); i <= others; i++ {
		if t.lost[i] > 0 && t.rate[i] > 0 {
			t.writeOff(i)
			if t.drawn == declare {
				t.lost[i] = 0 // what comes back is kept
			}
		}
	}
}

func (t *town) writeOff(i uint64) {
	if t.rate[i] == 0 {
		return
	}
	t.record, t.bond, _ = t.record.Take(t.bond, t.p.Loss(t.rate[i]))
	t.set(i, 0)
}

func (t *town) heal() {
	for i := uint64(1); i <= others; i++ {
		if t.rate[i] == 0 {
			t.set(i, each)
		}
	}
}

// hit are the drawn leases whose drawn leaf isn't there.
func (t *town) hit() (all []uint64) {
	seed := proving.SeedOf("host", t.beacon.Period, t.slots[t.slot()])
	for i := range t.p.Draws {
		at := t.tree.Find(seed.Rate(i, t.tree.Total()))
		if seed.Leaf(i, leaves) < t.lost[at] {
			all = append(all, at)
		}
	}
	return all
}

// answer proves the period and is paid for it.
func (t *town) answer() {
	before := t.record.Proven
	rec, err := t.record.Answer(t.now, t.slot(), t.p)
	if err != nil {
		panic(err)
	}
	t.record = rec
	t.paid++
	rent := t.total().Over(rec.Proven - before)
	t.spent += (each * money.Rate(t.self)).Over(rec.Proven - before)
	var host money.Amount
	t.record, host, _ = t.record.Repay(rent - rent/10)
	held := min(host/2, money.SubFloor(t.total().Over(30*day), t.bond))
	t.bond += held
	t.cash += host - held
	if t.declared {
		t.heal()
	}
}

// A result is what a scene came to: rent is that of others' leases in all
// periods, the unit of everything else.
type result struct {
	caught  float64 // mean period
	within7 float64
	paid    float64 // periods
	earned  float64 // kept after fines, losses and its own leases, against rent
	saved   float64 // storing that was not done, against all of it
	missed  float64
	fined   float64
	refused int
}

func play(s scene, runs int) (sum result) {
	n := float64(runs)
	rent := float64((each * others).Over(lasting * day))
	for run := range runs {
		t := newTown(s, uint64(run))
		for period := int64(1); period <= lasting+1; period++ { // nothing is owed in the first
			t.live(period)
			if period == 1 {
				t.hosted, t.stored = 0, 0
			}
		}
		first := t.caught
		if first == 0 {
			first = lasting + 1
		}
		sum.caught += float64(first) / n
		if first <= 7 {
			sum.within7 += 1 / n
		}
		sum.paid += float64(t.paid) / lasting / n
		sum.earned += (float64(t.cash) + float64(t.bond) - float64(t.spent) - float64(t.record.Debt)) / rent / n
		sum.saved += (1 - t.stored/(others*lasting)) / n
		sum.missed += float64(t.missed) / lasting / n
		sum.fined += float64(t.fined) / lasting / n
		sum.refused += t.refused
	}
	return sum
}
