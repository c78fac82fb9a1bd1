package prover

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"hearth/chain"
	"hearth/core/fault"
)

// postAt is when a host posts in a period: in its second half, in which whoever
// has answered isn't frozen, each at a time of its own.
func (p *Prover) postAt(t chain.Turn) int64 {
	h := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(p.c.Host), uint64(t.Period)))
	half := (t.Ends - t.Begins) / 2
	spread := uint64(max(half*7/10, 1))
	return t.Begins + half + int64(binary.BigEndian.Uint64(h[:])%spread)
}

// crowded is the part of the room that removed shards may take until they are
// reason enough to post early.
const crowded = 16

// mayPost says whether what has changed should be posted now: when it is time,
// at once where the period before brought no chance, early where what was removed
// takes much room.
func (p *Prover) mayPost(t chain.Turn, length time.Duration) bool {
	switch {
	case t.Time >= p.postAt(t):
		return p.posted != t.Period
	case p.posted > 0 && p.posted != t.Period && p.posted != t.Period-1:
		return true
	}
	s := p.c.Store.Stats()
	return s.Kept > s.Capacity/crowded && time.Since(p.postedAt) > length/5
}

// post posts, and has the store forget what the ledger has gone past.
func (p *Prover) post(ctx context.Context, t chain.Turn) error {
	if _, err := p.c.Market.Post(ctx); err != nil {
		return err
	}
	p.posted, p.postedAt = t.Period, time.Now()
	return p.forget(ctx)
}

// forget tells the store, by proof, which roots the ledger has now.
func (p *Prover) forget(ctx context.Context) error {
	behind, err := p.c.Store.Behind()
	if err != nil {
		return err
	}
	for _, id := range behind {
		newest := p.c.Market.Statement(id)
		l, err := p.c.Ledger.Lease(ctx, id)
		if fault.CodeOf(err) == fault.NoLease {
			continue // its end is the market's
		}
		if err != nil {
			return err
		}
		err = p.c.Store.Posted(id, l.Root, newest.Seq > 0 && l.Seq >= newest.Seq)
		switch fault.CodeOf(err) {
		case "", fault.NotFound, fault.LeaseClosed:
			if err != nil {
				p.c.Log.Debug("forget what the ledger has gone past", "lease", id, "err", err)
			}
		default:
			return fmt.Errorf("lease %d: %w", id, err)
		}
	}
	return nil
}
