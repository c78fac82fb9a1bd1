package steward

import (
	"context"
	"math/rand/v2"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/placement"
	"hearth/core/proof"
	"hearth/core/quote"
	"hearth/market"
	"hearth/storage/index"
	"hearth/storage/repair"
)

// A Judge checks what a steward says it did, before the client takes it over.
type Judge struct {
	Account string // the client's
	Steward string // the steward's
	Owner   string // of the steward's hosts, by the ledger
	Ceiling quote.Prices
	Local   bool
	Offers  []market.Offer // of all hosts, fresh
	// Lease reads one with proof.
	Lease func(ctx context.Context, id uint64) (lease.Lease, error)
	// Read has a host give a piece of a shard, with proof.
	Read func(ctx context.Context, at index.Place, root proof.Hash, size, off int64) error
}

// A Verdict is what becomes of an act.
type Verdict uint8

// The verdicts.
const (
	Taken   Verdict = iota // the shard lies there now
	Refused                // it isn't taken over, and removed where it lies
	Later                  // it can't be judged now
)

const (
	// passable is how many hosts that the draw put first a steward may have passed
	// over, or a fifth of all: those that were out of reach then.
	passable = 2
	samples  = 3 // pieces that the new host has to show
)

// Check judges one act, given the slab as the client knows it, earlier acts
// included. The error says why it isn't taken.
func (j *Judge) Check(ctx context.Context, s Slab, a Act) (Verdict, error) {
	no := func(format string, args ...any) (Verdict, error) {
		return Refused, fault.New(fault.HostRefused, "steward "+j.Steward+": "+format, args...)
	}
	switch {
	case !a.Sure:
		return no("%s may hold shard %d of %s, and hasn't signed for it", a.New.Host, a.Shard, a.Slab)
	case s.Gone || a.Shard >= len(s.At):
		return no("nobody wants shard %d of %s any more", a.Shard, a.Slab)
	case a.Root != s.Roots[a.Shard] || a.Size != s.ShardSize:
		return no("it put other bytes in the place of shard %d of %s", a.Shard, a.Slab)
	case a.Old != s.At[a.Shard]:
		return no("shard %d of %s lies elsewhere than it thought", a.Shard, a.Slab)
	}
	avoid := own(j.Offers, j.Steward, j.Owner)
	if avoid[a.New.Host] {
		return no("it put shard %d of %s at a host of its own", a.Shard, a.Slab)
	}
	if v, err := j.lease(ctx, a); v != Taken {
		return v, err
	}
	if a.Old.Host != "" {
		avoid[a.Old.Host] = true
	}
	all := j.known(a)
	w := wish(s, s.At, a.Shard, j.Offers, avoid, j.Ceiling, j.Local)
	passed, err := placement.Passed(all, w, a.New.Host)
	if err != nil {
		return no("shard %d of %s: %w", a.Shard, a.Slab, err)
	}
	if len(passed) > max(passable, len(all)/5) {
		return no("for shard %d of %s it passed over %d hosts that the draw put before %s", a.Shard, a.Slab, len(passed), a.New.Host)
	}
	return j.proves(ctx, a)
}

// known are the hosts that answer, and the new one in any case: it may be full or
// dearer by now, which its lease isn't.
func (j *Judge) known(a Act) []placement.Candidate {
	var out []placement.Candidate
	for _, o := range j.Offers {
		c := candidate(o)
		switch {
		case o.Host.Address == a.New.Host:
			c.Free = a.Size
		case o.Err != nil:
			continue
		default:
			c.Prices, c.Free = o.Quote.Prices, int64(min(o.Free, 1<<62))
		}
		out = append(out, c)
	}
	return out
}

// lease checks the bargain under which the shard was put there.
func (j *Judge) lease(ctx context.Context, a Act) (Verdict, error) {
	l, err := j.Lease(ctx, a.New.Lease)
	why := "it is another's"
	switch {
	case fault.CodeOf(err) == fault.NoLease:
		why = "there is none"
	case err != nil:
		return Later, err
	case l.State == lease.Closed:
		why = "it is closed"
	case !l.Prices.Within(j.Ceiling):
		why = "it is too dear"
	case l.Client == j.Account && l.Host == a.New.Host && l.Kind == quote.Storage:
		return Taken, nil
	}
	return Refused, fault.New(fault.HostRefused, "steward %s: shard %d of %s under lease %d: %s", j.Steward, a.Shard, a.Slab, a.New.Lease, why)
}

// proves has the new host show pieces of the shard.
func (j *Judge) proves(ctx context.Context, a Act) (Verdict, error) {
	for range samples {
		err := j.Read(ctx, a.New, a.Root, a.Size, rand.Int64N(a.Size))
		switch {
		case err == nil:
		case repair.AnswerOf(err) == repair.Lost:
			return Refused, fault.New(fault.HostRefused, "steward %s: %s doesn't hold shard %d of %s: %w", j.Steward, a.New.Host, a.Shard, a.Slab, err)
		default:
			return Later, err
		}
	}
	return Taken, nil
}
