// Package mandate holds the limits within which a key may act for an account: a
// device's spending key, a steward's. It decides whether an act is allowed and
// counts what was spent; it never widens a limit by itself.
package mandate

import (
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/quote"
)

// Op is one thing a key may do, a bit of Ops.
type Op uint32

// The operations.
const (
	Open Op = 1 << iota
	Fund
	Sign
	Renew
	Close
	Remove // what is stored; without it a key can only add
	all    = Open | Fund | Sign | Renew | Close | Remove
)

// All is every operation there is: what an owner's own device may do.
const All = all

// Keep is what it takes to look after what is stored: nothing is removed and no
// lease is ended.
const Keep = Open | Fund | Sign | Renew

var names = map[Op]string{Open: "open", Fund: "fund", Sign: "sign", Renew: "renew", Close: "close", Remove: "remove"}

func (o Op) String() string { return names[o] }

// A Mandate lets Key act for Grantor.
type Mandate struct {
	Grantor string
	Key     [32]byte
	Ops     Op
	// Ceilings is the most that prices may be; a kind that is absent may not be bought.
	Ceilings    map[quote.Kind]quote.Prices
	Cap         money.Amount // what may be put into leases in one window of time
	Used        money.Amount // of it, since WindowStart
	WindowStart int64
	Until       int64 // unix seconds
}

// Check says whether a new mandate makes sense.
func (m Mandate) Check(now int64) error {
	switch {
	case m.Ops == 0 || m.Ops&^all != 0:
		return fault.New(fault.BadRequest, "mandate: operations %d", m.Ops)
	case m.Until <= now:
		return fault.New(fault.BadRequest, "mandate: it ends in the past")
	case m.Key == [32]byte{}:
		return fault.New(fault.BadRequest, "mandate: no key")
	}
	for k := range m.Ceilings {
		if !k.Valid() {
			return fault.New(fault.BadRequest, "mandate: unknown kind %d", k)
		}
	}
	return nil
}

// May says whether op is allowed now.
func (m Mandate) May(op Op, now int64) error {
	switch {
	case now >= m.Until:
		return fault.New(fault.MandateRefused, "mandate of %s: it ended %d s ago", m.Grantor, now-m.Until)
	case m.Ops&op != op:
		return fault.New(fault.MandateRefused, "mandate of %s: it doesn't allow to %s", m.Grantor, op)
	}
	return nil
}

// Covers says whether Key may sign units after before: less of anything takes the
// right to remove.
func (m Mandate) Covers(before, units quote.Units) error {
	for i := range before {
		if units[i] < before[i] && m.Ops&Remove == 0 {
			return fault.New(fault.MandateRefused, "mandate of %s: it doesn't allow to %s, and %d would become %d", m.Grantor, Remove, before[i], units[i])
		}
	}
	return nil
}

// Posts says whether what Key signed may still be posted: until grace seconds
// after the mandate's end, however it ended, so that ending it takes nothing
// from a host that was promised something. No date inside a statement counts
// here: a thief could write any.
func (m Mandate) Posts(now, grace int64) error {
	switch {
	case m.Ops&Sign == 0:
		return fault.New(fault.MandateRefused, "mandate of %s: it doesn't allow to %s", m.Grantor, Sign)
	case now-grace >= m.Until:
		return fault.New(fault.MandateRefused, "mandate of %s: it ended %d s ago, what was signed before could be posted for %d s", m.Grantor, now-m.Until, grace)
	}
	return nil
}

// Replace gives next in the place of m, of the same key. What was spent stays
// spent, and the right to sign isn't dropped while a host may hold a statement:
// for that the mandate is revoked first, and grace seconds go by.
func (m Mandate) Replace(next Mandate, now, grace int64) (Mandate, error) {
	if next.Ops&Sign == 0 && m.Posts(now, grace) == nil {
		return m, fault.New(fault.BadRequest, "mandate of %s: the key's right to sign ends only by revoking it", m.Grantor)
	}
	next.Used, next.WindowStart = m.Used, m.WindowStart
	return next, nil
}

// Buys says whether the prices are within the ceilings.
func (m Mandate) Buys(kind quote.Kind, prices quote.Prices) error {
	ceiling, ok := m.Ceilings[kind]
	if !ok {
		return fault.New(fault.MandateRefused, "mandate of %s: it doesn't allow to buy %s", m.Grantor, kind)
	}
	if !prices.Within(ceiling) {
		return fault.New(fault.PriceTooHigh, "mandate of %s: the price of %s is above its ceiling", m.Grantor, kind)
	}
	return nil
}

// Left is what may still be spent in the current window.
func (m Mandate) Left(now, window int64) money.Amount {
	if now-m.WindowStart >= window {
		return m.Cap
	}
	return money.SubFloor(m.Cap, m.Used)
}

// Spend counts amount against the cap of the current window (window seconds
// long) and returns the mandate after it. m is not changed.
func (m Mandate) Spend(amount money.Amount, now, window int64) (Mandate, error) {
	if now-m.WindowStart >= window {
		m.WindowStart, m.Used = now, 0
	}
	used, ok := money.Add(m.Used, amount)
	if !ok || used > m.Cap {
		return m, fault.New(fault.CapReached, "mandate of %s: %s more would pass its cap of %s in %d days, %s of which are used", m.Grantor, amount, m.Cap, max(1, window/86400), m.Used)
	}
	m.Used = used
	return m, nil
}
