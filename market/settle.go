package market

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"

	"google.golang.org/protobuf/proto"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/mandate"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"
)

// lookAgain is when a look at the ledger that went wrong is tried again.
const lookAgain = 30 * time.Second

// Run settles on schedule, and posts at once what would soon be too late, until
// ctx ends.
func (h *Host) Run(ctx context.Context) {
	t := time.NewTicker(h.c.SettleEvery)
	defer t.Stop()
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if _, err := h.Settle(ctx); err != nil && ctx.Err() == nil {
				h.c.Log.Warn("settle", "err", err)
			}
			continue
		case <-h.wake:
		case <-again:
		}
		again = nil
		if !h.lookAll(ctx) {
			again = time.After(lookAgain)
		}
	}
}

// look has Run look at a lease: it may be closing or closed, or the mandate of
// its key may have ended.
func (h *Host) look(id uint64) {
	h.mu.Lock()
	h.looks[id] = true
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *Host) lookAll(ctx context.Context) (done bool) {
	h.mu.Lock()
	ids := slices.Sorted(maps.Keys(h.looks))
	clear(h.looks)
	h.mu.Unlock()
	done = true
	for _, id := range ids {
		if err := h.attend(ctx, id); err != nil {
			done = false
			h.mu.Lock()
			h.looks[id] = true
			h.mu.Unlock()
			if ctx.Err() == nil {
				h.c.Log.Warn("look at lease", "lease", id, "err", err)
			}
		}
	}
	return done
}

// attend reads a lease with its proof and does what can't wait for a settlement:
// a closed lease is ended; the newest statement of a closing one, or of a key
// whose mandate has ended, is posted while that counts, and one that removes
// something because other keys wait for it.
func (h *Host) attend(ctx context.Context, id uint64) error {
	l, err := h.c.Ledger.Lease(ctx, id)
	switch {
	case fault.CodeOf(err) == fault.NoLease:
		return h.vanished(ctx, id)
	case err != nil:
		return err
	case l.Host != h.c.Account.Address():
		return nil
	case l.State == lease.Closed:
		h.end(id, h.c.Streets[l.Kind])
		return nil
	}
	newest := h.j.get(id).Newest
	b := h.adopt(l, newest.Seq > 0)
	if newest.Seq <= l.Seq {
		return nil
	}
	urgent := l.State == lease.Closing
	if !urgent {
		m, err := h.c.Ledger.Mandate(ctx, l.Client, [32]byte(newest.ClientKey))
		if code := fault.CodeOf(err); err != nil && code != fault.NotFound && code != fault.MandateRefused {
			return err
		}
		urgent = err != nil || m.May(mandate.Sign, h.now()) != nil
	}
	removes := less(l.Units, newest.Units)
	if !urgent && !removes {
		return nil
	}
	h.settling.Lock()
	defer h.settling.Unlock()
	var due []uint64
	if urgent {
		due = []uint64{id}
	}
	if err := h.send(ctx, []statement.Signed{newest.SignHost(h.c.Key)}, due); err != nil || !removes {
		return err
	}
	if l, err = h.c.Ledger.Lease(ctx, id); err != nil {
		return err
	}
	if b.learn(l); l.Seq >= newest.Seq { // else the host is drawn, and has to prove first
		b.lower(time.Time{})
	}
	return nil
}

// Settled is what one settlement came to.
type Settled struct {
	Leases   int
	Posted   int
	Notified int // leases whose end was announced, see lapsed
}

// Settle posts the statements that the ledger doesn't have yet, has every lease
// paid that has earned something, and gives notice for those that have lapsed.
func (h *Host) Settle(ctx context.Context) (Settled, error) {
	h.settling.Lock()
	defer h.settling.Unlock()
	leases, err := h.c.Ledger.Leases(ctx, "", h.c.Account.Address())
	if err != nil {
		return Settled{}, err
	}
	var post []statement.Signed
	var due, over []uint64
	for _, l := range leases { // a hint: it decides only about what is sent
		rec := h.j.get(l.ID)
		if h.lapsed(l, rec) {
			over = append(over, l.ID)
		}
		switch {
		case l.State == lease.Closed:
			if rec.Newest.Seq > 0 || rec.Ended {
				h.look(l.ID)
			}
			continue
		case rec.Newest.Seq > l.Seq && (!rec.Ended || l.State == lease.Closing):
			post = append(post, rec.Newest.SignHost(h.c.Key))
		default:
			rec.Newest.Seq = 0
		}
		if earns(l, rec.Newest.Statement, h.now()) {
			due = append(due, l.ID)
		}
	}
	out := Settled{Leases: len(due), Posted: len(post)}
	if err := h.send(ctx, post, due); err != nil {
		return out, err
	}
	h.mu.Lock()
	h.posted = time.Now()
	h.mu.Unlock()
	out.Notified, err = h.notify(ctx, over)
	return out, err
}

// Post posts the statements by which stored bytes have changed and pays nobody: a
// host's proofs are drawn from what is posted. A lease that was lost heals with
// whatever is newer.
func (h *Host) Post(ctx context.Context) (posted int, err error) {
	h.settling.Lock()
	defer h.settling.Unlock()
	leases, err := h.c.Ledger.Leases(ctx, "", h.c.Account.Address())
	if err != nil {
		return 0, err
	}
	var post []statement.Signed
	for _, l := range leases { // a hint: it decides only about what is sent
		rec := h.j.get(l.ID)
		s := rec.Newest
		changed := s.Units != l.Units || s.Root != l.Root || l.Rate == 0 && s.Units != (quote.Units{})
		if l.Kind == quote.Storage && l.State != lease.Closed && s.Seq > l.Seq && !rec.Ended && changed {
			post = append(post, s.SignHost(h.c.Key))
		}
	}
	return len(post), h.send(ctx, post, nil)
}

// send posts and settles in as few transactions as the ledger takes.
func (h *Host) send(ctx context.Context, post []statement.Signed, due []uint64) error {
	params, err := h.rules.get(ctx)
	if err != nil {
		return err
	}
	sort.Slice(post, func(i, j int) bool { return post[i].Lease < post[j].Lease })
	for len(post) > 0 || len(due) > 0 {
		var msgs []proto.Message
		if n := min(len(post), max(params.MaxPost, 1)); n > 0 {
			msgs = append(msgs, chain.PostStatements(h.c.Account.Address(), post[:n]))
			post = post[n:]
		}
		if n := min(len(due), max(params.MaxSettle, 1)); n > 0 && len(post) == 0 {
			msgs = append(msgs, chain.Settle(h.c.Account.Address(), due[:n]))
			due = due[n:]
		}
		receipt, err := h.c.Ledger.Send(ctx, h.c.Account, msgs...)
		if err != nil {
			return fmt.Errorf("settle: %w", err)
		}
		for id, err := range receipt.Skipped() {
			if fault.CodeOf(err) == fault.Frozen {
				h.c.Log.Debug("post statement", "lease", id, "err", err) // once this host has proven
				continue
			}
			h.c.Log.Warn("post statement", "lease", id, "err", err)
		}
	}
	return nil
}

// earns says whether a settlement would pay anything.
func earns(l lease.Lease, s statement.Statement, now int64) bool {
	if s.Seq > l.Seq {
		l.Total, l.AsOf, l.RunsUntil, l.Rate = s.Total, s.AsOf, s.RunsUntil, l.PricesAt(s.AsOf).Rate(s.Units)
	}
	return l.Earned(l.AtMost(now)) > l.Out
}

// consent agrees to a lease's end and says what stays the host's. The caller has the turn.
func (h *Host) consent(b *bargain) (money.Amount, error) {
	b.mu.Lock()
	l, rec := b.lease, b.rec
	if rec.Newest.Units != (quote.Units{}) {
		b.mu.Unlock()
		return 0, fault.New(fault.StillLeased, "refund lease %d: it still holds data", l.ID)
	}
	if !rec.Ended {
		// A call that is under way costs all that was put aside for it.
		rec.Ended, rec.Refund = true, min(b.owed(quote.Use{}), rec.Newest.Total)
		b.rec.Ended = true // nothing is used from here on
	}
	b.mu.Unlock()
	total := max(rec.Refund, l.Total)
	if err := h.j.append(l.ID, rec); err != nil {
		b.mu.Lock()
		b.rec.Ended = h.j.get(l.ID).Ended
		b.mu.Unlock()
		return 0, err
	}
	b.take(rec)
	return total, nil
}

// Settled is when the last settlement went through; zero: not yet.
func (h *Host) Settled() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.posted
}

// A Sold is one lease as its host sees it.
type Sold struct {
	Lease     uint64
	Client    string
	Statement statement.Statement
	quote.Use
	Signed money.Amount // all that its client has signed for
}

// Sold lists the host's bargains that have a statement.
func (h *Host) Sold() []Sold {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]Sold, 0, len(h.bargains))
	for id, b := range h.bargains {
		rec := b.record()
		if rec.Newest.Seq > 0 {
			out = append(out, Sold{Lease: id, Client: b.terms().Client, Statement: rec.Newest.Statement, Use: rec.Use, Signed: rec.Newest.Total})
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Lease < out[j].Lease })
	return out
}
