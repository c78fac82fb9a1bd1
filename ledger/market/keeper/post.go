package keeper

import (
	"context"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/statement"
	"hearth/ledger/market/types"
	"hearth/ledger/refusal"
)

// PostStatements writes the newest statements of leases down. A statement that
// is stale or broken is skipped and named in the answer.
func (k MsgServer) PostStatements(ctx context.Context, m *types.MsgPostStatements) (_ *types.MsgPostStatementsResponse, err error) {
	defer refusal.In(&err)
	b, err := k.open(ctx)
	if err != nil {
		return nil, err
	}
	if n := len(m.Statements); n == 0 || n > b.rules.MaxPost {
		return nil, fault.New(fault.TooLarge, "post statements: %d of them, allowed are 1 to %d", n, b.rules.MaxPost)
	}
	out := &types.MsgPostStatementsResponse{}
	for _, s := range m.Statements {
		before, after, err := b.post(ctx, m.Signer, s)
		if code := fault.CodeOf(err); err != nil {
			if code == fault.Internal {
				return nil, err // the store, not the statement
			}
			out.Refusals = append(out.Refusals, types.Refusal{Lease: s.Lease, Code: string(code), Reason: err.Error()})
			continue
		}
		reason := "posted"
		if after.State == lease.Low && before.State == lease.Open {
			reason = "low"
		}
		if err := b.put(ctx, before, after, reason); err != nil {
			return nil, err
		}
	}
	return out, b.close(ctx)
}

// post decides about one statement and writes nothing.
func (b *book) post(ctx context.Context, signer string, m types.Statement) (before, after lease.Lease, err error) {
	s, err := m.Core(chainID(ctx))
	if err != nil {
		return before, after, err
	}
	if before, err = b.k.lease(ctx, s.Lease); err != nil {
		return before, after, err
	}
	if err := b.k.signed(ctx, b, before, signer, s); err != nil {
		return before, after, err
	}
	clock, err := b.clock(ctx, before)
	if err != nil {
		return before, after, err
	}
	if after, err = before.Post(s.Statement, clock, b.rules); err != nil {
		return before, after, err
	}
	copy(after.Key[:], s.ClientKey)
	if err := b.frozen(ctx, before, after); err != nil {
		return before, after, err
	}
	of, err := b.share(ctx, before.Host)
	if err != nil {
		return before, after, err
	}
	if _, fits := of.with(before, after); !fits {
		return before, after, fault.New(fault.BadStatement, "statement %d of lease %d: with it the rates of its host don't fit 64 bits", s.Seq, s.Lease)
	}
	return before, after, nil
}

// signed checks that both sides have agreed to s. The client always signs, with
// a key that had its mandate. The host signs too, unless it posts the statement
// itself and neither units nor root change: else a client could bury what it
// owes under a later statement that says less.
func (k Keeper) signed(ctx context.Context, b *book, l lease.Lease, signer string, s statement.Signed) error {
	charge(ctx)
	if err := s.CheckClient(s.ChainID); err != nil {
		return err
	}
	m, err := k.mandate(ctx, l.Client, s.ClientKey)
	if err != nil {
		return err
	}
	if err := m.Posts(b.now, b.rules.CloseTime); err != nil {
		return err
	}
	if err := m.Covers(l.Units, s.Units); err != nil {
		return err
	}
	posted := statement.Statement{Units: l.Units, Root: l.Root}
	if len(s.HostSig) == 0 && signer == l.Host && !posted.Changes(s.Statement) {
		return nil
	}
	h, err := k.c.Hosts.Host(ctx, l.Host)
	if err != nil {
		return err
	}
	charge(ctx)
	return s.CheckHost(h.Key)
}
