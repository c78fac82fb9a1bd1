package market

import (
	"context"
	"fmt"
	"sort"
	"time"

	"google.golang.org/protobuf/proto"

	"hearth/chain"
	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/statement"
)

// Run settles on schedule until ctx ends.
func (h *Host) Run(ctx context.Context) {
	t := time.NewTicker(h.c.SettleEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if _, err := h.Settle(ctx); err != nil && ctx.Err() == nil {
				h.c.Log.Warn("settle", "err", err)
			}
		}
	}
}

// Settled is what one settlement came to.
type Settled struct {
	Leases int
	Posted int
}

// Settle posts the statements that the ledger doesn't have yet and has every
// lease paid that has earned something.
func (h *Host) Settle(ctx context.Context) (Settled, error) {
	leases, err := h.c.Ledger.Leases(ctx, "", h.c.Account.Address())
	if err != nil {
		return Settled{}, err
	}
	params, err := h.rules.get(ctx)
	if err != nil {
		return Settled{}, err
	}
	var post []statement.Signed
	var due []uint64
	for _, l := range leases {
		if l.State == lease.Closed {
			h.end(l.ID, h.c.Streets[l.Kind])
			continue
		}
		newest := h.newest(ctx, l.ID)
		if newest.Seq > l.Seq {
			post = append(post, newest.SignHost(h.c.Key))
		}
		if earns(l, newest.Statement) {
			due = append(due, l.ID)
		}
	}
	sort.Slice(post, func(i, j int) bool { return post[i].Lease < post[j].Lease })
	out := Settled{Leases: len(due), Posted: len(post)}
	for len(post) > 0 || len(due) > 0 {
		var msgs []proto.Message
		if n := min(len(post), params.MaxPost); n > 0 {
			msgs = append(msgs, chain.PostStatements(h.c.Account.Address(), post[:n]))
			post = post[n:]
		}
		if n := min(len(due), params.MaxSettle); n > 0 && len(post) == 0 {
			msgs = append(msgs, chain.Settle(h.c.Account.Address(), due[:n]))
			due = due[n:]
		}
		if _, err := h.c.Ledger.Send(ctx, h.c.Account, msgs...); err != nil {
			return out, fmt.Errorf("settle: %w", err)
		}
	}
	h.mu.Lock()
	h.posted = time.Now()
	h.mu.Unlock()
	return out, nil
}

// newest is the newest statement of a lease.
func (h *Host) newest(ctx context.Context, id uint64) statement.Signed {
	b, err := h.bargain(ctx, id)
	if err != nil {
		return statement.Signed{}
	}
	b.count.Lock()
	defer b.count.Unlock()
	return b.rec.Newest
}

// earns says whether a settlement would pay anything worth its fee.
func earns(l lease.Lease, s statement.Statement) bool {
	if s.Seq > l.Seq {
		l.Total, l.AsOf, l.RunsUntil, l.Rate = s.Total, s.AsOf, s.RunsUntil, l.PricesAt(s.AsOf).Rate(s.Units)
	}
	return l.Earned(time.Now().Unix()) > l.Out
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
	In, Out   uint64
	Signed    money.Amount // all that its client has signed for
}

// Sold lists the host's bargains that have a statement.
func (h *Host) Sold() []Sold {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]Sold, 0, len(h.bargains))
	for id, b := range h.bargains {
		b.count.Lock()
		out = append(out, Sold{Lease: id, Client: b.lease.Client, Statement: b.rec.Newest.Statement, In: b.rec.In, Out: b.rec.Out, Signed: b.rec.Newest.Total})
		b.count.Unlock()
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Lease < out[j].Lease })
	return out
}
