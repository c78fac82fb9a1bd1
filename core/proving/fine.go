package proving

import (
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/proof"
)

// Take takes amount out of a host's bond; what the bond doesn't cover becomes
// the record's debt. taken is what was there.
func (r Record) Take(bond, amount money.Amount) (after Record, rest, taken money.Amount) {
	taken = min(bond, amount)
	r.Debt = money.AddCap(r.Debt, amount-taken)
	return r, bond - taken, taken
}

// Repay takes the debt out of earnings, before anything else does. What it takes
// goes to the commons.
func (r Record) Repay(earned money.Amount) (after Record, toHost, toCommons money.Amount) {
	toCommons = min(r.Debt, earned)
	r.Debt -= toCommons
	return r, earned - toCommons, toCommons
}

// Split divides a forfeited bond between the host's leases and the commons.
func Split(bond money.Amount) (leases, commons money.Amount) { return bond / 2, bond - bond/2 }

// Share is what one lease gets of its host's forfeited half, total being the sum of
// rates at that time. Rounding leaves a rest, which is the commons'.
func Share(half money.Amount, rate, total money.Rate) money.Amount {
	if total == 0 {
		return 0
	}
	return money.Amount(money.MulDiv(uint64(half), uint64(min(rate, total)), uint64(total)))
}

// Loss is what the client of a lost lease gets, by Take from the host's bond. What
// becomes debt goes to the commons.
func (p Params) Loss(rate money.Rate) money.Amount { return rate.Over(p.LossSeconds) }

// MayLose says whether a host may declare a lease lost: not while it is frozen, and
// no lease that has no rate.
func (r Record) MayLose(rate money.Rate, now, slot int64, p Params) error {
	switch {
	case r.Frozen(now, slot, p):
		return fault.New(fault.Frozen, "declare loss: the host is drawn and has not answered; it may only confess")
	case rate == 0:
		return fault.New(fault.BadRequest, "declare loss: the lease has no rate")
	}
	return nil
}

// A Challenge demands one leaf of a lease now.
type Challenge struct {
	Lease uint64
	Leaf  uint64 // the leaf is this, modulo the leaves under the lease's root when it is answered
	By    string // whose purse has paid the fee
	Fee   money.Amount
	Since int64
}

// NewChallenge opens a challenge of a lease with this rate.
func (p Params) NewChallenge(lease, leaf uint64, by string, rate money.Rate, now int64) (Challenge, error) {
	if rate == 0 {
		return Challenge{}, fault.New(fault.BadRequest, "challenge lease %d: nothing is stored in it", lease)
	}
	return Challenge{Lease: lease, Leaf: leaf, By: by, Fee: p.ChallengeFee, Since: now}, nil
}

// Due is until when it may be answered, pause being the end of the ledger's last
// pause that was too long (Void): the time then runs anew.
func (c Challenge) Due(pause int64, p Params) int64 {
	return max(c.Since, pause) + p.ChallengeSeconds()
}

// Verify checks the answer under the lease's root.
func (c Challenge) Verify(root proof.Hash, a proof.Answer) error {
	return verify(root, a, func(leaves uint64) uint64 { return c.Leaf % leaves })
}
