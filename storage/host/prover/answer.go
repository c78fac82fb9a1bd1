package prover

import (
	"context"
	"fmt"
	"slices"
	"time"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/proof"
)

// answer shows what is drawn for this period, and confesses what can't be shown.
func (p *Prover) answer(ctx context.Context, t chain.Turn) error {
	answers := make([]*proof.Answer, len(t.Draws))
	var confessed []uint64
	for i, d := range t.Draws {
		if slices.Contains(confessed, d.Lease) {
			continue
		}
		a, err := p.c.Store.ProveDraw(d.Lease, d.Root, func(total uint64) (uint64, error) {
			if total == 0 {
				return 0, fault.New(fault.NotFound, "nothing is stored under it")
			}
			return t.Seed.Leaf(i, total), nil
		})
		switch {
		case err == nil:
			answers[i] = &a
		case d.Root == (proof.Hash{}) || d.Root == proof.EmptyRoot():
			answers[i] = new(proof.Answer) // it has no leaves to show
		default:
			if err := p.confesses(ctx, t, d, err); err != nil {
				return err
			}
			confessed = append(confessed, d.Lease)
			for j := range i { // what was shown of it before doesn't count
				if t.Draws[j].Lease == d.Lease {
					answers[j] = nil
				}
			}
		}
	}
	if _, err := p.c.Ledger.Send(ctx, chain.Answer(p.c.Host, t.Period, answers, confessed)); err != nil {
		return err
	}
	p.answered = t.Period
	clear(p.doubts)
	p.mu.Lock()
	p.status.Last = time.Now()
	p.status.Turn.Frozen, p.status.Turn.Owes = false, false
	if len(confessed) > 0 {
		p.status.Confessed++
	} else {
		p.status.Answered++
	}
	p.mu.Unlock()
	if len(confessed) == 0 {
		p.results.WithLabelValues("answered").Inc()
		return nil
	}
	p.results.WithLabelValues("confessed").Inc()
	p.c.Tell("error", "proof_confessed", "period %d is unpaid: leases %v hold damaged shards and count as lost", t.Period, confessed)
	return nil
}

// confesses says with nil that a lease is to be confessed because of err. That is
// so where a second try in the same period finds the shard damaged or gone as
// well, under the very root that the ledger proves to have.
func (p *Prover) confesses(ctx context.Context, t chain.Turn, d chain.Draw, err error) error {
	switch fault.CodeOf(err) {
	case fault.DamagedShard, fault.NotFound, fault.Stale, fault.DamagedFile:
	default:
		return err
	}
	if p.doubts[d.Lease] != t.Period {
		p.doubts[d.Lease] = t.Period
		return err
	}
	l, lerr := p.c.Ledger.Lease(ctx, d.Lease)
	if lerr != nil {
		return fmt.Errorf("%w (%w)", err, lerr)
	}
	if l.Host != p.c.Host || l.Root != d.Root {
		return fault.New(fault.LedgerLies, "lease %d is drawn under a root that it hasn't", d.Lease)
	}
	p.c.Log.Error("confess a lost lease", "lease", d.Lease, "err", err)
	return nil
}

// demands answers open challenges.
func (p *Prover) demands(ctx context.Context) error {
	open, err := p.c.Ledger.Challenges(ctx, p.c.Host)
	if err != nil {
		return err
	}
	var first error
	for _, d := range open {
		a, err := p.c.Store.ProveDraw(d.Lease, d.Root, func(total uint64) (uint64, error) { return d.Leaf % max(total, 1), nil })
		if err == nil {
			_, err = p.c.Ledger.Send(ctx, chain.AnswerChallenge(p.c.Host, d.Lease, a))
		}
		if err != nil {
			if first == nil {
				first = fmt.Errorf("lease %d, due at %d: %w", d.Lease, d.Due, err)
			}
			continue
		}
		p.results.WithLabelValues("challenge").Inc()
	}
	return first
}

// declare gives leases up of which so much is damaged that waiting for the draw
// costs more than the loss: a draw that falls on a damaged shard costs a period of
// all leases.
func (p *Prover) declare(ctx context.Context) error {
	ruined, err := p.c.Store.Ruined()
	if err != nil || len(ruined) == 0 {
		return err
	}
	if p.rules == nil {
		r, err := p.c.Ledger.ProvingRules(ctx)
		if err != nil {
			return err
		}
		p.rules = &r
	}
	var lost []uint64
	for id, roots := range ruined {
		bad, all, err := p.c.Store.Share(id, roots)
		if err != nil {
			return err
		}
		if float64(bad)*float64(p.rules.Draws)*float64(p.rules.Period) <= float64(all)*float64(p.rules.LossSeconds) {
			continue
		}
		l, err := p.c.Ledger.Lease(ctx, id)
		if fault.CodeOf(err) == fault.NoLease {
			continue
		}
		if err != nil {
			return err
		}
		if l.Host == p.c.Host && l.Weight() > 0 && l.State != lease.Closed && len(lost) < 100 {
			lost = append(lost, id)
		}
	}
	if len(lost) == 0 {
		return nil
	}
	slices.Sort(lost)
	if _, err := p.c.Ledger.Send(ctx, chain.DeclareLoss(p.c.Host, lost)); err != nil && fault.CodeOf(err) != fault.Frozen {
		return err
	} else if err == nil {
		p.c.Tell("error", "loss_declared", "leases %v are declared lost: most of what they hold is damaged", lost)
	}
	return nil
}
