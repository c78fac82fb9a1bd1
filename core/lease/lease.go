// Package lease holds the rules of a lease: what a client has put in, what its
// host has earned, how the rest goes back. It is pure; the ledger and every node
// run this same code, so they can't disagree. It checks no signatures: package
// statement does.
//
// All figures are cumulative, so settling often and settling once pay the same.
package lease

import (
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"
)

// State says how far a lease's life has gone.
type State uint8

// The states. Their numbers are part of the ledger's records.
const (
	Open    State = 1 + iota
	Low           // down to its reserve: no new data, all else goes on
	Closing       // ended by one side; the host may still post
	Closed        // paid out; kept for a while, then pruned
)

var states = [...]string{Open: "open", Low: "low", Closing: "closing", Closed: "closed"}

func (s State) String() string {
	if s >= Open && s <= Closed {
		return states[s]
	}
	return "unknown"
}

// Params are durations in seconds and limits, the same for all leases of a network.
type Params struct {
	MinDeposit       money.Amount
	MaxUntil         int64 // how far ahead prices may be frozen
	MaxQuote         int64 // how long a quote may be valid
	MaxRun           int64 // how far runs_until may be ahead
	StorageReserve   int64 // of rate
	OtherReserve     int64
	CloseTime        int64 // in which a host may post after its client has closed
	StorageNotice    int64
	OtherNotice      int64
	PruneTime        int64
	MandateWindow    int64
	CommunityShare   uint64 // of the commission, thousandths
	MaxOpen, MaxPost int
	MaxSettle        int
}

// A Lease is one bargain as the ledger holds it.
type Lease struct {
	ID           uint64
	Client, Host string // accounts
	Kind         quote.Kind
	Prices       quote.Prices
	Until        int64 // how long the prices hold
	// Before are the prices of statements as of a time before PricedAt, when
	// Prices came: new prices never reach back.
	Before   quote.Prices
	PricedAt int64

	In         money.Amount // all that was ever put in
	Out        money.Amount // all that was ever paid out of it, commission included
	Commission money.Amount // floor(Out/10)
	Refunded   money.Amount // all that ever went back to the purse

	// The newest statement posted, and its rate.
	Seq       uint64
	Total     money.Amount
	Units     quote.Units
	Root      [32]byte
	Rate      money.Rate
	AsOf      int64
	RunsUntil int64
	// Acc is what earlier rates have earned on the proven clock, and Clock0 how far
	// that clock was when Rate came. Only stored bytes earn by it.
	Acc    money.Product
	Clock0 int64
	// Key is the client's key under that statement, written by who has checked its
	// signature. Refills count against its mandate.
	Key [32]byte

	State    State
	OpenedAt int64
	ClosedAt int64 // when earning stops, 0: not ending
	EndsAt   int64 // when the rest goes back
}

// New is a lease as it stands after its opening.
func New(id uint64, client string, q quote.Quote, until int64, amount money.Amount, now int64) Lease {
	return Lease{ID: id, Client: client, Host: q.Host, Kind: q.Kind, Prices: q.Prices, Until: until, In: amount, State: Open, OpenedAt: now}
}

// CheckOpen says whether these terms may open a lease.
func (p Params) CheckOpen(amount money.Amount, until, now int64) error {
	switch {
	case amount < p.MinDeposit:
		return fault.New(fault.BadRequest, "open lease: %d uember put in, at least %d are needed", amount, p.MinDeposit)
	case until <= now || until-now > p.MaxUntil:
		return fault.New(fault.BadRequest, "open lease: prices are to hold for %d s, allowed are 1 to %d", until-now, p.MaxUntil)
	}
	return nil
}

// Ended says whether no new statement about future time is possible.
func (l Lease) Ended() bool { return l.State == Closed }

// Funded is what the lease holds in all: put in, less refunded.
func (l Lease) Funded() money.Amount { return money.SubFloor(l.In, l.Refunded) }

// Held is what the ledger keeps for it now.
func (l Lease) Held() money.Amount { return money.SubFloor(l.Funded(), l.Out) }

// Reserve is what the lease must keep to be more than low.
func (l Lease) Reserve(p Params) money.Amount {
	seconds := p.OtherReserve
	if l.Kind == quote.Storage {
		seconds = p.StorageReserve
	}
	return l.Rate.OverUp(seconds)
}

// Fund adds amount.
func (l Lease) Fund(amount money.Amount, c Clock, p Params) (Lease, error) {
	if l.State != Open && l.State != Low {
		return l, fault.New(fault.LeaseClosed, "fund lease %d: it is %s", l.ID, l.State)
	}
	in, ok := money.Add(l.In, amount)
	if !ok || amount == 0 {
		return l, fault.New(fault.BadRequest, "fund lease %d: %d uember can't be added", l.ID, amount)
	}
	l.In = in
	return l.rate(c, p), nil
}

// Reprice gives the lease a new quote's prices. They count for statements as of
// now and later. Until one of those is posted no other prices are taken: so a
// statement has one price, whenever it is posted.
func (l Lease) Reprice(prices quote.Prices, until, now int64) (Lease, error) {
	switch {
	case l.State != Open && l.State != Low:
		return l, fault.New(fault.LeaseClosed, "reprice lease %d: it is %s", l.ID, l.State)
	case prices == l.Prices:
		l.Until = max(l.Until, until)
		return l, nil
	case l.AsOf < l.PricedAt:
		return l, fault.New(fault.BadRequest, "reprice lease %d: no statement under the prices of %d s ago is posted yet", l.ID, now-l.PricedAt)
	}
	l.Before, l.PricedAt = l.Prices, now
	l.Prices, l.Until = prices, until
	return l, nil
}

// PricesAt are the prices of a statement as of a time.
func (l Lease) PricesAt(asOf int64) quote.Prices {
	if asOf < l.PricedAt {
		return l.Before
	}
	return l.Prices
}

// rate tells open from low.
func (l Lease) rate(c Clock, p Params) Lease {
	if l.State == Open || l.State == Low {
		l.State = Open
		if l.Free(c) < l.Reserve(p) {
			l.State = Low
		}
	}
	return l
}

// Post takes a statement. Signatures and the right to post are checked before.
// Of run time signed too far ahead only what MaxRun allows counts: the total
// must not be lost with it. Other stored bytes earn from the clock's next proven
// period on, and a lost lease does so again.
func (l Lease) Post(s statement.Statement, c Clock, p Params) (Lease, error) {
	switch {
	case l.State == Closed:
		return l, fault.New(fault.LeaseClosed, "post statement %d: lease %d is closed", s.Seq, l.ID)
	case s.Lease != l.ID:
		return l, fault.New(fault.BadStatement, "post statement %d: it is of lease %d, not %d", s.Seq, s.Lease, l.ID)
	case s.Seq <= l.Seq:
		return l, fault.New(fault.Stale, "post statement %d of lease %d: number %d is posted already", s.Seq, l.ID, l.Seq)
	case s.Total < l.Total || s.AsOf < l.AsOf || s.RunsUntil < l.RunsUntil:
		return l, fault.New(fault.BadStatement, "post statement %d of lease %d: total or time fall below number %d", s.Seq, l.ID, l.Seq)
	}
	l = l.fold(c)
	l.Seq, l.Total, l.Units, l.Root, l.AsOf = s.Seq, s.Total, s.Units, s.Root, s.AsOf
	l.RunsUntil = max(l.RunsUntil, min(s.RunsUntil, c.Now+p.MaxRun))
	l.Rate = l.PricesAt(s.AsOf).Rate(s.Units)
	if l.Kind == quote.Storage && l.Clock0 != stopped {
		l.Clock0 = c.Proven
	}
	return l.rate(c, p), nil
}

// A Flow is what moves when a lease is settled or closed. Amounts are uember.
type Flow struct {
	FromPurse  money.Amount // refill, from the client's purse into the lease
	ToHost     money.Amount
	Commission money.Amount
	ToPurse    money.Amount // refund
}

// Settle refills the lease and pays what was earned by now. free is what a
// refill may take: the client's free purse, and no more than the mandate of Key
// has left, else a stolen key could drain the purse through a host of its own.
// An empty lease that still reserves something begins to close.
func (l Lease) Settle(c Clock, free money.Amount, p Params) (Lease, Flow) {
	var f Flow
	if l.State == Closed {
		return l, f
	}
	if l.State != Closing {
		l, f.FromPurse = l.refill(c, free, p)
	}
	l, f.ToHost, f.Commission = l.pay(c)
	if l.State != Closing && l.Free(c) == 0 && l.Units != (quote.Units{}) {
		l = l.stop(c)
		l.State, l.ClosedAt, l.EndsAt = Closing, c.Now, c.Now+p.CloseTime
		return l, f
	}
	return l.rate(c, p), f
}

// refill brings a lease below its reserve (or half the smallest deposit) up to
// twice that, as far as the purse goes.
func (l Lease) refill(c Clock, purse money.Amount, p Params) (Lease, money.Amount) {
	// What is owed may pass what is held; both the gap and the reserve are missing then.
	owed := money.AddCap(l.Total, l.Accrued(c))
	floor := max(l.Reserve(p), p.MinDeposit/2)
	if l.Funded() >= money.AddCap(owed, floor) {
		return l, 0
	}
	want := money.SubFloor(money.AddCap(owed, money.AddCap(floor, floor)), l.Funded())
	amount := min(want, purse)
	in, ok := money.Add(l.In, amount)
	if !ok {
		return l, 0
	}
	l.In = in
	return l, amount
}

// pay moves Out up to Earned. The commission is floor(Out/10) of all that was
// ever paid, so the remainder stays with the host.
func (l Lease) pay(c Clock) (after Lease, toHost, commission money.Amount) {
	earned := l.Earned(c)
	paid := earned - l.Out
	commission = earned/10 - l.Commission
	l.Out, l.Commission = earned, earned/10
	return l, paid - commission, commission
}

// Side is who ends a lease.
type Side uint8

// The sides.
const (
	ByClient Side = 1 + iota // the host may post for a while
	ByHost                   // a notice: it serves and earns until its end
)

// Close begins the end of a lease.
func (l Lease) Close(by Side, c Clock, p Params) (Lease, error) {
	now := c.Now
	switch {
	case l.State == Closed:
		return l, fault.New(fault.LeaseClosed, "close lease %d: it is closed", l.ID)
	case by == ByHost && l.State == Closing:
		return l, fault.New(fault.LeaseClosed, "close lease %d: it is closing already", l.ID)
	case by == ByClient && l.State == Closing && l.EndsAt <= now+p.CloseTime:
		return l, fault.New(fault.LeaseClosed, "close lease %d: it is closing already", l.ID)
	}
	l.State = Closing
	if by == ByClient {
		l = l.stop(c)
		l.ClosedAt, l.EndsAt = now, now+p.CloseTime
		return l, nil
	}
	notice := p.OtherNotice
	if l.Kind == quote.Storage {
		notice = p.StorageNotice
	}
	l.ClosedAt, l.EndsAt = now+notice, now+notice
	return l, nil
}

// CloseAgreed ends a lease at once: the client sends it, the host has consented
// to total as all it will ever have earned, proven rent apart.
func (l Lease) CloseAgreed(total money.Amount, c Clock) (Lease, Flow, error) {
	switch {
	case l.State == Closed:
		return l, Flow{}, fault.New(fault.LeaseClosed, "close lease %d: it is closed", l.ID)
	case total < l.Total:
		return l, Flow{}, fault.New(fault.BadStatement, "close lease %d: the agreed total of %d is below the posted %d", l.ID, total, l.Total)
	}
	l = l.stop(c)
	l.Total, l.AsOf, l.RunsUntil = total, max(c.Now, l.AsOf), max(c.Now, l.RunsUntil)
	l.ClosedAt = c.Now
	l, f := l.finish(c)
	return l, f, nil
}

// Due says whether Finish has something to do.
func (l Lease) Due(now int64) bool { return l.State == Closing && now >= l.EndsAt }

// Finish pays a closing lease out for the last time and returns the rest.
func (l Lease) Finish(c Clock) (Lease, Flow, error) {
	if !l.Due(c.Now) {
		return l, Flow{}, fault.New(fault.BadRequest, "finish lease %d: it is %s until %d", l.ID, l.State, l.EndsAt)
	}
	l, f := l.finish(c)
	return l, f, nil
}

func (l Lease) finish(c Clock) (Lease, Flow) {
	var f Flow
	l, f.ToHost, f.Commission = l.pay(c)
	f.ToPurse = l.Held()
	l.Refunded += f.ToPurse
	l = l.stop(c)
	l.State, l.EndsAt, l.Rate, l.Units = Closed, c.Now, 0, quote.Units{}
	return l, f
}

// Prunable says whether a closed lease may be forgotten.
func (l Lease) Prunable(now int64, p Params) bool {
	return l.State == Closed && now >= l.EndsAt+p.PruneTime
}

// Check says which law of a lease is broken, if any.
func (l Lease) Check() error {
	switch {
	case l.Out > l.Funded():
		return fault.New(fault.Internal, "lease %d: %d paid out of %d", l.ID, l.Out, l.Funded())
	case l.Commission != l.Out/10:
		return fault.New(fault.Internal, "lease %d: commission %d of %d", l.ID, l.Commission, l.Out)
	case l.Refunded > l.In:
		return fault.New(fault.Internal, "lease %d: %d refunded of %d", l.ID, l.Refunded, l.In)
	}
	return nil
}
