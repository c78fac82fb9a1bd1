package proving

import (
	"math/bits"

	"hearth/core/fault"
	"hearth/core/money"
)

// Record is what the ledger knows of one host's proving. The zero Record is a
// new host's.
type Record struct {
	Proven int64 // seconds covered by answered proofs, in all: the clock of stored bytes
	// From is the first period in which it owes a proof, 0: it has no rates.
	From     int64
	Judged   int64  // the last period that is decided
	Answered int64  // the last period that it has answered
	Missed   uint32 // bit i: period Judged-i was missed
	Run      int    // misses since the last answer, counted up to Fatal+1
	// Debt is what fines have taken beyond the bond; the next earnings pay it.
	Debt money.Amount
}

// A Verdict is what came out of the periods judged.
type Verdict struct {
	Missed int64        // periods missed, all of them unpaid
	Fined  int64        // of them, how many cost a fine
	Fine   money.Amount // in all, for the commons
	// Forfeit says that the bond is lost: half goes to the host's leases by rate.
	Forfeit bool
}

// Voids finds void periods: the last one of the run of them that period lies in.
type Voids func(period int64) (last int64, void bool)

// Judge decides every period before now's, in bounded time however long the host
// was silent. rate is the sum of its storage rates, which hasn't changed since
// it was judged last: who changes it judges first.
func (r Record) Judge(now int64, rate money.Rate, voids Voids, p Params) (Record, Verdict) {
	var v Verdict
	last := p.At(now) - 1
	if r.From == 0 || r.From > last {
		r.skip(last)
	} else {
		r.skip(r.From - 1)
	}
	for r.Judged < last {
		if far := last - r.Judged - 32; r.Run >= p.Fatal && far > 0 {
			// Nothing is left to lose but pay, and of these nothing will be remembered.
			v.Missed += far
			r.Judged += far
		}
		if end, void := voids(r.Judged + 1); void {
			r.skip(min(max(end, r.Judged+1), last))
			continue
		}
		r.miss()
		r.Run = min(r.Run+1, p.Fatal+1) // which is enough to say that it was lost
		v.Missed++
		switch {
		case r.Run > p.Fatal:
		case r.Run == p.Fatal:
			v.Forfeit = true
		case r.fined(p):
			v.Fined++
		}
	}
	v.Fine = fines(rate, v.Fined, p)
	return r, v
}

func fines(rate money.Rate, n int64, p Params) money.Amount {
	one := uint64(rate.Over(p.Period))
	return money.Amount(money.MulDiv(one, uint64(n), 1))
}

// fined says whether the miss of the newest judged period is one too many.
func (r Record) fined(p Params) bool {
	return bits.OnesCount32(r.Missed<<(32-p.Window)) > p.MissesFree
}

// skip decides the periods up to and including one, as not missed.
func (r *Record) skip(period int64) {
	if n := period - r.Judged; n > 0 {
		r.Missed <<= min(n, 32)
		r.Judged = period
	}
}

// miss decides the next period as missed.
func (r *Record) miss() {
	r.Missed = r.Missed<<1 | 1
	r.Judged++
}

// Misses is how many of the last periods were missed.
func (r Record) Misses(p Params) int { return bits.OnesCount32(r.Missed << (32 - p.Window)) }

// Owes says whether the host, judged up to now, has still to prove in this period.
func (r Record) Owes(now int64, p Params) bool {
	period := p.At(now)
	return r.From > 0 && period >= r.From && r.Judged < period
}

// Frozen says whether root, rate and loss of the host's storage leases must stay
// as they are: from its slot on, until it has answered or the period ends. The
// record is judged up to now.
func (r Record) Frozen(now, slot int64, p Params) bool {
	return r.Owes(now, p) && now >= p.SlotBegins(p.At(now), slot)
}

// Rates takes note of a new sum of the host's storage rates. The record is judged
// up to now and not frozen. Who comes in the middle of a period proves from the next one on.
func (r Record) Rates(was, is money.Rate, now int64, p Params) Record {
	switch {
	case is == 0:
		r.From = 0
	case was == 0:
		r.From = p.At(now) + 1
	}
	return r
}

// Answer takes a right answer to all draws of this period: it is paid. The
// record is judged up to now.
func (r Record) Answer(now, slot int64, p Params) (Record, error) {
	if err := r.due(now, slot, p); err != nil {
		return r, err
	}
	period := p.At(now)
	r.skip(period)
	r.Answered, r.Run = period, 0
	r.Proven += p.Period
	return r, nil
}

// Confess takes an answer in which the host has admitted that some drawn leases are
// lost, and shown the other leaves. Those leases are then lost, the freeze ends
// and no misses in a row are counted on; but the period is a miss like any
// other. If it were paid, a host of many leases could keep none and confess the
// few that are drawn.
func (r Record) Confess(now, slot int64, rate money.Rate, p Params) (Record, Verdict, error) {
	if err := r.due(now, slot, p); err != nil {
		return r, Verdict{}, err
	}
	r.skip(p.At(now) - 1)
	r.miss()
	r.Answered, r.Run = r.Judged, 0
	v := Verdict{Missed: 1}
	if r.fined(p) {
		v.Fined = 1
	}
	v.Fine = fines(rate, v.Fined, p)
	return r, v, nil
}

func (r Record) due(now, slot int64, p Params) error {
	switch period := p.At(now); {
	case r.Answered == period && period > 0:
		return fault.New(fault.Stale, "answer for period %d: it is answered", period)
	case !r.Owes(now, p):
		return fault.New(fault.BadRequest, "answer for period %d: nothing is owed in it", period)
	case !r.Frozen(now, slot, p):
		return fault.New(fault.BadRequest, "answer for period %d: the host's slot begins at %d", period, p.SlotBegins(period, slot))
	}
	return nil
}
