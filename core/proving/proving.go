// Package proving holds the rules by which hosts prove, period for period, that
// they still hold what they are paid for: when a host's turn comes, which leaves
// it must show, what an answer earns and what silence costs. It is pure; the
// ledger and every node run this same code. It knows no money but fines, and no
// leases but their rates: who calls it keeps those.
//
// Time is block time in unix seconds. Periods are numbered from 1; 0 is "never".
package proving

import (
	"hearth/core/fault"
	"hearth/core/money"
)

// Params are the same for all hosts of a network.
type Params struct {
	Start       int64 // when period 1 begins
	Period      int64 // P, seconds
	MaxSlots    int64 // of the period's first half
	Draws       int   // leaves a host must show in a period
	MissesFree  int   // in Window periods; each further one is fined
	Window      int   // periods, at most 32
	Fatal       int   // misses in a row that cost the bond
	LossSeconds int64 // of a lost lease's rate, to its client
	// VoidSeconds is the longest pause between two blocks that hosts must bear.
	VoidSeconds  int64
	ChallengeFee money.Amount
}

// Defaults are the parameters for a period and a usual time between blocks, in seconds.
func Defaults(start, period, block int64) Params {
	return Params{
		Start: start, Period: period, MaxSlots: 512, Draws: 5, MissesFree: 2, Window: 30, Fatal: 7,
		LossSeconds: 3 * 24 * 3600, VoidSeconds: max(period/8, 10*block), ChallengeFee: 10_000,
	}
}

// Check says whether the parameters make sense.
func (p Params) Check() error {
	switch {
	case p.Start < 0 || p.Period < 2 || p.Period > 1<<32:
		return fault.New(fault.BadRequest, "proving: a period of %d s from %d", p.Period, p.Start)
	case p.MaxSlots < 1 || p.MaxSlots > 1<<16:
		return fault.New(fault.BadRequest, "proving: %d slots", p.MaxSlots)
	case p.Draws < 1 || p.Draws > 64:
		return fault.New(fault.BadRequest, "proving: %d draws", p.Draws)
	case p.Window < 1 || p.Window > 32 || p.MissesFree < 0 || p.Fatal < 1 || p.Fatal > 255:
		return fault.New(fault.BadRequest, "proving: %d misses free in %d, %d fatal", p.MissesFree, p.Window, p.Fatal)
	case p.LossSeconds < 0 || p.VoidSeconds < 1:
		return fault.New(fault.BadRequest, "proving: %d s for a loss, pauses of %d s", p.LossSeconds, p.VoidSeconds)
	}
	return nil
}

// At is the number of the period that a time lies in; 0 before the first.
func (p Params) At(now int64) int64 {
	if now < p.Start {
		return 0
	}
	return (now-p.Start)/p.Period + 1
}

// Begins is when a period begins.
func (p Params) Begins(period int64) int64 { return p.Start + (period-1)*p.Period }

// Slots is how many slots a period has: as many as MaxSlots, none shorter than a
// second. They divide the first half by time, so the speed of blocks doesn't matter.
func (p Params) Slots() int64 { return max(1, min(p.MaxSlots, p.Period/2)) }

// SlotBegins is when a slot of a period begins.
func (p Params) SlotBegins(period, slot int64) int64 {
	half, slots := p.Period/2, p.Slots()
	return p.Begins(period) + (slot*half+slots-1)/slots
}

// begun is how many slots of its period have begun at a time, at least one.
func (p Params) begun(now int64) int64 {
	into, half, slots := now-p.Begins(p.At(now)), p.Period/2, p.Slots()
	return min(into*slots/half+1, slots)
}

// Void says which periods a pause between the times of two blocks makes void, first
// and last: those that it touches, if it was longer than hosts must bear.
func (p Params) Void(before, now int64) (first, last int64, void bool) {
	if now-before <= p.VoidSeconds || p.At(now) == 0 {
		return 0, 0, false
	}
	return max(1, p.At(before)), p.At(now), true
}

// ChallengeSeconds is the time to answer a challenge.
func (p Params) ChallengeSeconds() int64 { return max(1, p.Period/2) }
