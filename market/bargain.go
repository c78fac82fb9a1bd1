package market

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/mandate"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"
)

// readPause is how long a lease's record isn't asked for again.
const readPause = 300 * time.Millisecond

// bargain is one lease as the host sees it.
type bargain struct {
	turn sync.Mutex // held during one exchange
	read time.Time  // when the lease was asked for last; with the turn

	mu      sync.Mutex  // guards what follows; never held while waiting
	lease   lease.Lease // proved
	told    lease.Lease // what a block said, a hint
	rec     Record
	held    uint64        // gas that calls under way may use
	covered chan struct{} // closed and replaced when more is paid, or given back
	lowered time.Time     // see lowers
}

// terms is the lease as it was last proved.
func (b *bargain) terms() lease.Lease {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lease
}

func (b *bargain) record() Record {
	rec, _ := b.metered()
	return rec
}

// metered is the record, and the gas that calls under way may use beside it.
func (b *bargain) metered() (rec Record, held uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rec, b.held
}

// learn takes a proved record, unless it is older than the one known.
func (b *bargain) learn(l lease.Lease) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !behind(l, b.lease) {
		b.lease = l
	}
}

func (b *bargain) hear(l lease.Lease) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told = l
}

// rumour says whether a block told of something that has to be read at once.
func (b *bargain) rumour() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return pressing(b.lease, b.told)
}

// take makes rec the newest and tells those who wait for it. Use goes on being
// counted meanwhile.
func (b *bargain) take(rec Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	rec.Use = b.rec.Use
	b.rec = rec
	b.tell()
}

// tell wakes those who wait for more to be covered. The caller holds mu.
func (b *bargain) tell() {
	close(b.covered)
	b.covered = make(chan struct{})
}

// bargain finds the lease among those known, or on the ledger.
func (h *Host) bargain(ctx context.Context, id uint64) (*bargain, error) {
	if b := h.known(id); b != nil {
		return b, nil
	}
	l, err := h.c.Ledger.Lease(ctx, id)
	if err != nil {
		return nil, err
	}
	if l.Host != h.c.Account.Address() {
		return nil, fault.New(fault.NoLease, "lease %d is another host's", id)
	}
	return h.adopt(l, true), nil
}

// adopt takes a proved record of a lease of this host into its bargain, which is
// made where it is missing and wanted.
func (h *Host) adopt(l lease.Lease, wanted bool) *bargain {
	h.mu.Lock()
	defer h.mu.Unlock()
	b := h.bargains[l.ID]
	switch {
	case b != nil:
		b.learn(l)
	case wanted:
		b = &bargain{lease: l, read: time.Now(), rec: h.j.get(l.ID), covered: make(chan struct{})}
		b.rec.Newest.ChainID, b.rec.Newest.Lease = h.c.Ledger.ChainID(), l.ID
		if l.State != lease.Closed { // else it is about to be forgotten
			h.bargains[l.ID] = b
		}
	}
	return b
}

// refresh reads the lease again, after a breath since the last time. The caller
// has the turn.
func (h *Host) refresh(ctx context.Context, b *bargain) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(readPause - time.Since(b.read)):
	}
	b.read = time.Now()
	l, err := h.c.Ledger.Lease(ctx, b.terms().ID)
	if err == nil {
		b.learn(l)
	}
	return err
}

// known is the bargain of a lease that was asked for since the start, nil of another.
func (h *Host) known(id uint64) *bargain {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.bargains[id]
}

// Take counts traffic of a lease that is about to flow. It refuses what hasn't
// been paid ahead, and then counts nothing.
func (h *Host) Take(id, in, out uint64) error {
	b := h.known(id)
	if b == nil {
		return fault.New(fault.NoLease, "take traffic: lease %d isn't known here", id)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	flow := quote.Use{In: in, Out: out}
	if err := b.covers(flow); err != nil {
		return fmt.Errorf("take traffic: %w", err)
	}
	b.rec.Use = b.rec.Plus(flow)
	return nil
}

// Hold puts so much gas aside for a call that is about to begin. It refuses what
// hasn't been paid ahead, and then counts nothing. ended takes what the call has
// used, at most gas of it, and gives the rest back. It is to be told before the call
// is answered, also of a call that broke off; from the second time on it does nothing.
func (h *Host) Hold(id, gas uint64) (ended func(used uint64), err error) {
	b := h.known(id)
	if b == nil {
		return nil, fault.New(fault.NoLease, "hold gas: lease %d isn't known here", id)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.covers(quote.Use{Gas: gas}); err != nil {
		return nil, fmt.Errorf("hold gas: %w", err)
	}
	b.held += gas
	var once sync.Once
	return func(used uint64) { once.Do(func() { b.release(gas, min(used, gas)) }) }, nil
}

// release counts what was used of gas that was held, and gives the rest back.
func (b *bargain) release(gas, used uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held -= gas
	b.rec.Gas += used
	if used < gas {
		b.tell()
	}
}

// covers says whether more is paid ahead. The caller holds mu.
func (b *bargain) covers(more quote.Use) error {
	if b.rec.Ended {
		return fault.New(fault.LeaseClosed, "the end of lease %d is agreed", b.lease.ID)
	}
	if owed := b.owed(more); owed > b.rec.Newest.Total {
		return fault.New(fault.Unpaid, "lease %d owes %d uember with it, %d are signed", b.lease.ID, owed, b.rec.Newest.Total)
	}
	return nil
}

// owed is what the lease comes to with more, and all that calls under way may use.
// The caller holds mu.
func (b *bargain) owed(more quote.Use) money.Amount {
	use := b.rec.Plus(quote.Use{Gas: b.held}).Plus(more)
	return money.AddCap(b.rec.Rent, b.lease.PricesAt(b.rec.Newest.AsOf).Owed(use))
}

// Covered gives a channel that is closed when more is paid on a lease, or given
// back: who was refused by Take or Hold may wait for it.
func (h *Host) Covered(id uint64) <-chan struct{} {
	b := h.known(id)
	if b == nil {
		closed := make(chan struct{})
		close(closed)
		return closed
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.covered
}

// Accept checks a client's statement, makes it durable, signs it where the host
// has to, and lets the street commit. It gives the newest statement, also with an
// error. To send the newest one again gives it back: its answer may have got lost.
func (h *Host) Accept(ctx context.Context, s statement.Signed) (statement.Signed, error) {
	if err := s.CheckClient(h.c.Ledger.ChainID()); err != nil {
		return statement.Signed{}, err
	}
	b, err := h.bargain(ctx, s.Lease)
	if err != nil {
		return statement.Signed{}, err
	}
	b.turn.Lock()
	defer b.turn.Unlock()
	l, rec := b.terms(), b.record()
	if err := h.allowed(ctx, l.Client, s.ClientKey, mandate.Sign); err != nil {
		return statement.Signed{}, err
	}
	street := h.c.Streets[l.Kind]
	if rec.Newest.Statement == s.Statement && bytes.Equal(rec.Newest.ClientKey, s.ClientKey) {
		if street != nil && s.Root != ([32]byte{}) {
			h.carryOut(street, s.Statement)
		}
		return rec.Newest, nil
	}
	if rec.Ended {
		return rec.Newest, fault.New(fault.LeaseClosed, "statement %d of lease %d: its end is agreed", s.Seq, s.Lease)
	}
	if err := h.priced(ctx, b, rec.Newest.Statement, s.Statement); err != nil {
		return rec.Newest, err
	}
	if err := h.judge(ctx, b, rec.Newest.Statement, s.Statement); err != nil {
		return rec.Newest, err
	}
	if err := h.lowers(ctx, b, rec.Newest, s); err != nil {
		return rec.Newest, err
	}
	s.HostSig = nil
	changes := rec.Newest.Changes(s.Statement)
	if changes {
		if street == nil {
			return rec.Newest, fault.New(fault.HostRefused, "statement %d of lease %d: %s isn't sold here", s.Seq, s.Lease, l.Kind)
		}
		if err := street.Covers(s.Lease, s.Units, s.Root); err != nil {
			return rec.Newest, err
		}
		s = s.SignHost(h.c.Key)
	}
	next := rec
	if s.AsOf > rec.Newest.AsOf {
		next.Rent = money.AddCap(next.Rent, rec.Newest.Rent(b.terms().SignedPrices(rec.Newest.AsOf), s.AsOf))
	}
	next.Newest = s
	// Durable before anything is done on the strength of it.
	if err := h.j.append(s.Lease, next); err != nil {
		return rec.Newest, err
	}
	if changes {
		h.carryOut(street, s.Statement)
	}
	b.take(next)
	return s, nil
}

// carryOut has the street commit what both have signed. If it can't now, the
// statement stands and the change is staged durably: it is done when the client
// sends the statement again, or at the next start.
func (h *Host) carryOut(street Street, s statement.Statement) {
	if err := street.Commit(s.Lease, s.Units, s.Root); err != nil {
		h.c.Log.Error("commit change", "lease", s.Lease, "err", err)
	}
}

// priced refuses a lease more of this machine whose prices are of a time when none of
// it was rented out: it would be had for nothing. Its client asks for new prices. The
// caller has the turn.
func (h *Host) priced(ctx context.Context, b *bargain, prev, next statement.Statement) error {
	l := b.terms()
	asked := h.c.Prices[l.Kind]
	if l.Kind != quote.Compute || !grows(prev.Units, next.Units) || !unpriced(l.PricesAt(next.AsOf), asked) {
		return nil
	}
	if err := h.refresh(ctx, b); err != nil {
		return err
	}
	switch l = b.terms(); {
	case !unpriced(l.PricesAt(next.AsOf), asked):
		return nil
	case !unpriced(l.Prices, asked):
		return fault.New(fault.Busy, "statement %d of lease %d: it is as of %d, the new prices count from %d on", next.Seq, l.ID, next.AsOf, l.PricedAt)
	}
	return fault.New(fault.QuoteExpired, "statement %d of lease %d: its prices are of a time when no machines were rented out here", next.Seq, l.ID)
}

// unpriced says whether what is reserved costs nothing by frozen prices, and something
// by those that are asked now.
func unpriced(frozen, asked quote.Prices) bool {
	return frozen.Unit == [quote.Dims]uint64{} && asked.Unit != frozen.Unit
}

// judge applies the rules. What blocks have told of the lease's end or prices is
// read first, if that can be had. A refusal for want of money looks at the ledger
// again: the client may have funded the lease a moment ago.
func (h *Host) judge(ctx context.Context, b *bargain, prev, next statement.Statement) error {
	params, err := h.rules.get(ctx)
	if err != nil {
		return err
	}
	if b.rumour() && time.Since(b.read) > readPause {
		if err := h.refresh(ctx, b); err != nil {
			h.c.Log.Debug("read lease", "lease", next.Lease, "err", err)
		}
	}
	err = follows(b.terms(), prev, next, h.now(), params)
	if code := fault.CodeOf(err); code != fault.NoFunds && code != fault.LeaseLow {
		return err
	}
	if err := h.refresh(ctx, b); err != nil {
		return err
	}
	return follows(b.terms(), prev, next, h.now(), params)
}
