package host

import (
	"context"
	"time"

	"hearth/core/fault"
)

const (
	// writeDebt is how much a debt changes before it is written down again.
	writeDebt = time.Minute
	// mostRun is the longest that counts as run between two looks: beyond it this
	// machine was asleep, or its node was off.
	mostRun = time.Minute
)

// A debt is signed time of a lease in which its instances stood still for the owner's
// sake. The ledger pays it all the same; the host gives it back by running them as long
// when no time is signed.
type debt struct {
	owed  time.Duration
	since time.Time // what came after isn't counted yet; zero: nothing is to be counted
	still bool      // they have stood still since then
}

// at is the debt at a later moment: earns says whether the time since then is signed and
// paid, lapsed that it isn't signed. From now on they stand still, or don't.
func (d debt) at(now time.Time, still, earns, lapsed bool) debt {
	if passed := now.Sub(d.since); !d.since.IsZero() && passed > 0 {
		switch {
		case d.still && earns:
			d.owed += passed
		case !d.still && lapsed:
			d.owed = max(0, d.owed-min(passed, mostRun))
		}
	}
	if !still && d.owed == 0 {
		return debt{}
	}
	return debt{owed: d.owed, since: now, still: still}
}

// news says whether d is to be written down, where was is.
func (d debt) news(was debt) bool {
	return d.still != was.still || (d.owed == 0) != (was.owed == 0) || (d.owed-was.owed).Abs() >= writeDebt ||
		d.still && d.since.Sub(was.since) >= writeDebt
}

// count brings a lease's debt up to date and says what is owed.
func (b *book) count(lease uint64, still, earns, lapsed bool) (owed time.Duration, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	have := b.leases[lease]
	if have == nil {
		return 0, nil
	}
	have.debt = have.debt.at(b.now(), still, earns, lapsed)
	owed = have.debt.owed
	if have.debt.news(have.written) {
		err = b.keep(lease, b.of(lease))
	}
	return owed, err
}

// owes is what is owed to a lease.
func (b *book) owes(lease uint64) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a := b.leases[lease]; a != nil {
		return a.debt.owed
	}
	return 0
}

// runs says why a lease's instances don't run now; nil: they do. Those that stood still
// while they were paid run as long when they aren't.
func (h *Host) runs(ctx context.Context, lease uint64) error {
	err := h.c.Time.Runs(ctx, lease)
	lapsed := fault.CodeOf(err) == fault.Unpaid
	held := h.c.Rule().Held
	owed, cerr := h.book.count(lease, held != "", err == nil, lapsed)
	if cerr != nil {
		h.c.Log.Warn("write down what is owed", "lease", lease, "err", cerr)
	}
	switch {
	case held != "":
		return fault.New(fault.HostRefused, "%s", held)
	case lapsed && owed > 0:
		return nil
	}
	return err
}
