package node

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"hearth/api"
	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
)

// pay sends a transaction with the account's own key.
func (n *Node) pay(ctx context.Context, msgs ...proto.Message) (api.Tx, error) {
	receipt, err := n.ledger.Send(ctx, n.keys.Account(), msgs...)
	if err != nil {
		return api.Tx{}, err
	}
	return tx(receipt), nil
}

func tx(r chain.Receipt) api.Tx {
	return api.Tx{Hash: r.Hash, Height: r.Height, Fee: api.MoneyOf(money.Amount(r.Fee))}
}

type hostRole struct{ s *selling }

// Status puts the ledger's record, the store's figures and the statements side by side.
func (r hostRole) Status(ctx context.Context) (api.Host, error) {
	out, err := r.status(ctx)
	if err == nil {
		r.s.figures.take(out)
	}
	return out, err
}

func (r hostRole) status(ctx context.Context) (api.Host, error) {
	s, n := r.s, r.s.n
	stats := s.store.Stats()
	out := api.Host{
		Account: n.address(), State: "serving", Reach: n.reach(), Capacity: stats.Capacity,
		Used: max(0, stats.Stored-stats.Pending-stats.Trash-stats.Kept), Pending: stats.Pending, Served: stats.Served, Received: stats.Received,
		Prices: prices(n.terms.price), Functions: s.sold(), Machines: s.rented(), Class: s.class.shown(), Checklist: nodeRole{n}.Ready(ctx),
		Free: int64(min(s.store.Free(), 1<<62)), Trash: stats.Trash, Kept: stats.Kept, Damaged: stats.Bad, Reads: stats.Reads, Scrubbed: stats.Scrub,
	}
	out.Limits = s.limitsNow()
	h, err := n.ledger.Host(ctx, n.address())
	if fault.CodeOf(err) == fault.NotFound {
		out.State = "left"
		return out, nil
	}
	if err != nil {
		return out, err
	}
	rules, err := n.ledger.HostRules(ctx)
	if err != nil {
		return out, err
	}
	leases, err := n.ledger.Leases(ctx, "", n.address())
	if err != nil {
		return out, err
	}
	var rate money.Rate
	for _, l := range leases {
		if s.earnings.misses(l) {
			s.earnings.look(l.ID)
		}
		if l.State == lease.Open || l.State == lease.Low {
			out.Leases++
		}
		if st := s.market.Statement(l.ID); st.Seq > l.Seq {
			rate += l.Prices.Rate(st.Units)
		} else {
			rate += l.Rate
		}
	}
	gross := rate.Over(month)
	out.Month, out.Projected = api.MoneyOf(gross), api.MoneyOf(gross-gross/commission)
	net, cut := s.earnings.total(leases)
	out.Earned, out.Commission = api.MoneyOf(net), api.MoneyOf(cut)
	out.Bond, out.Target = api.MoneyOf(h.Bond), api.MoneyOf(bondTarget(h, rules))
	s.proofs(&out, h)
	if h.LeavingAt > 0 {
		out.State, out.LeavesAt = "leaving", time.Unix(h.LeavingAt, 0).UTC()
	}
	strong := api.Check{Name: "machine", OK: true}
	if err := s.class.admits(rules.Least); err != nil {
		strong.OK, strong.Detail = false, err.Error()
	}
	out.Checklist = append(out.Checklist, strong)
	out.Checklist = append(out.Checklist, api.Check{Name: "settlement", OK: true, Detail: "the last one was " + ago(s.market.Settled())})
	return out, nil
}

// Leave gives notice for every lease and for the host.
func (r hostRole) Leave(ctx context.Context) (api.Host, error) {
	s, n := r.s, r.s.n
	leases, err := n.ledger.Leases(ctx, "", n.address())
	if err != nil {
		return api.Host{}, err
	}
	msgs := []proto.Message{chain.LeaveHost(n.address())}
	for _, l := range leases {
		if l.State == lease.Open || l.State == lease.Low {
			msgs = append(msgs, chain.CloseLease(n.address(), l.ID))
		}
		if len(msgs) == maxNotices {
			if _, err := s.fees.Send(ctx, msgs...); err != nil {
				return api.Host{}, err
			}
			msgs = nil
		}
	}
	if len(msgs) > 0 {
		if _, err := s.fees.Send(ctx, msgs...); err != nil {
			return api.Host{}, err
		}
	}
	return r.Status(ctx)
}

const commission = 10 // of what a lease pays, one part in so many isn't the host's

const maxNotices = 50 // messages of one transaction
