package client

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"hearth/core/fault"
	"hearth/core/proof"
	"hearth/storage/index"
	"hearth/storage/remote"
	"hearth/storage/seal"
	"hearth/storage/upload"
)

const (
	manyRemovals = 4096
	manySlabs    = 64
	together     = 8 // leases at which removals go on at once
)

// Run does what is left to do until ctx ends: it removes shards from hosts,
// places pending ones, replaces lost ones, and compacts slabs full of holes.
func (x *Client) Run(ctx context.Context) {
	tick := time.NewTicker(x.c.Every)
	defer tick.Stop()
	survey := time.NewTicker(x.c.Survey)
	defer survey.Stop()
	for {
		x.Work(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			x.rest()
		case <-survey.C:
			if _, err := x.tellRevoked(ctx); err != nil && ctx.Err() == nil {
				x.c.Log.Warn("revoked links", "err", err)
			}
			if n, err := x.Compact(ctx); err != nil && ctx.Err() == nil {
				x.c.Log.Warn("slabs not compacted", "err", err)
			} else if n > 0 {
				x.c.Log.Info("slabs compacted", "slabs", n)
			}
		case <-x.kick:
		}
	}
}

// Work does once what is due now. What fails is postponed, longer each time.
func (x *Client) Work(ctx context.Context) {
	x.takeLosses(ctx)
	if err := x.removals(ctx); err != nil && ctx.Err() == nil {
		x.c.Log.Warn("removals", "err", err)
	}
	if err := x.pending(ctx); err != nil && ctx.Err() == nil {
		x.c.Log.Warn("pending shards", "err", err)
	}
}

// later is when to try again after so many tries: 5 s, doubled up to an hour.
func (x *Client) later(tries int) int64 {
	return x.c.Now().Add(min(5*time.Second<<min(tries, 20), time.Hour)).Unix()
}

func (x *Client) takeLosses(ctx context.Context) {
	for {
		select {
		case l := <-x.losses:
			// Only if it still lies there: another read may have told before.
			s, err := x.c.Index.Slab(ctx, l.slab)
			if err != nil || s.At[l.shard] != l.at {
				continue
			}
			x.c.Log.Warn("shard lost", "slab", l.slab, "shard", l.shard, "host", l.at.Host, "err", l.why)
			if err := x.c.Index.Lose(ctx, l.slab, []int{l.shard}); err != nil {
				x.c.Log.Warn("lost shard not noted", "slab", l.slab, "shard", l.shard, "err", err)
			}
			x.blame(l.slab, l.at.Host)
		default:
			return
		}
	}
}

// blame keeps in mind, until a slab is whole again, who has lost a shard of it.
func (x *Client) blame(slab index.SlabID, host string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.lostBy[slab] == nil {
		x.lostBy[slab] = make(map[string]bool)
	}
	x.lostBy[slab][host] = true
}

func (x *Client) blamed(slab index.SlabID) map[string]bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return maps.Clone(x.lostBy[slab])
}

func (x *Client) forgive(slab index.SlabID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.lostBy, slab)
}

// LeaseEnded says that a lease is closed: what lay under it is made anew elsewhere.
func (x *Client) LeaseEnded(ctx context.Context, p index.Place) error {
	x.forget(p.Lease)
	defer x.wake()
	for {
		slabs, err := x.c.Index.At(ctx, p, 4096)
		if err != nil || len(slabs) == 0 {
			return err
		}
		for id, shards := range slabs {
			if err := x.c.Index.Lose(ctx, id, shards); err != nil && fault.CodeOf(err) != fault.NotFound {
				return err
			}
		}
	}
}

// removals frees space at hosts, lease by lease.
func (x *Client) removals(ctx context.Context) error {
	for {
		list, err := x.c.Index.Removals(ctx, x.c.Now().Unix(), manyRemovals)
		if err != nil || len(list) == 0 {
			return err
		}
		by := make(map[index.Place][]index.Removal)
		for _, r := range list {
			by[r.Place] = append(by[r.Place], r)
		}
		slots := make(chan struct{}, together)
		var wg sync.WaitGroup
		var mu sync.Mutex
		var failed error // what isn't noted would be listed again at once
		for p, group := range by {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				for len(group) > 0 && ctx.Err() == nil {
					n := min(len(group), remote.MaxChange)
					done, err := x.removeAt(ctx, p, group[:n])
					if err != nil {
						mu.Lock()
						failed = err
						mu.Unlock()
					}
					if !done {
						return
					}
					group = group[n:]
				}
			})
		}
		wg.Wait()
		if err := cmp.Or(ctx.Err(), failed); err != nil {
			return err
		}
	}
}

// removeAt removes shards at one lease. Where it isn't done the lease is postponed;
// the error is that this couldn't be noted.
func (x *Client) removeAt(ctx context.Context, p index.Place, group []index.Removal) (done bool, err error) {
	shards := make([]index.Shard, len(group))
	tries := 0
	for i, r := range group {
		shards[i], tries = r.Shard, max(tries, r.Tries)
	}
	err = x.take(ctx, p, shards)
	switch fault.CodeOf(err) {
	case "":
		return true, nil
	case fault.NoLease, fault.LeaseClosed: // the host has dropped everything with it
		x.forget(p.Lease)
		if err = x.c.Index.Removed(ctx, shards); err == nil {
			return true, nil
		}
	}
	if ctx.Err() != nil {
		return false, nil
	}
	x.c.Log.Debug("shards not removed", "host", p.Host, "lease", p.Lease, "shards", len(shards), "err", err)
	return false, x.c.Index.PostponeRemovals(ctx, p, x.later(tries))
}

// take has a host remove shards and notes that they are gone.
func (x *Client) take(ctx context.Context, p index.Place, shards []index.Shard) error {
	h, err := x.at(ctx, p)
	if err != nil {
		return err
	}
	err = h.Change(ctx, nil, x.stillToRemove(ctx, shards))
	if fault.CodeOf(err) != fault.NotFound {
		if err == nil {
			err = x.c.Index.Removed(ctx, shards)
		}
		return err
	}
	// Some were never covered there. The host tells which it doesn't have at all;
	// of the others each goes by itself, since one unknown to the tree spoils a change.
	roots := make([]proof.Hash, len(shards))
	for i, s := range shards {
		roots[i] = s.Root
	}
	held, err := h.Stat(ctx, roots)
	if err != nil {
		return err
	}
	var waits error
	for i, s := range shards {
		if held[i] {
			err := h.Change(ctx, nil, x.stillToRemove(ctx, []index.Shard{s}))
			if err != nil {
				waits = err // not part of the lease: the host drops it within a day
				if fault.CodeOf(err) != fault.NotFound {
					return err
				}
				continue
			}
		}
		if err := x.c.Index.Removed(ctx, []index.Shard{s}); err != nil {
			return err
		}
	}
	return waits
}

// stillToRemove asks, while the lease's tree is held still, what nobody wants back.
func (x *Client) stillToRemove(ctx context.Context, shards []index.Shard) func() ([]proof.Hash, error) {
	return func() ([]proof.Hash, error) {
		still, err := x.c.Index.StillToRemove(ctx, shards)
		if err != nil {
			return nil, err
		}
		roots := make([]proof.Hash, len(still))
		for i, s := range still {
			roots[i] = s.Root
		}
		return roots, nil
	}
}

// pending places shards that have no host.
func (x *Client) pending(ctx context.Context) error {
	for {
		list, err := x.c.Index.Pending(ctx, x.c.Now().Unix(), manySlabs)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, m := range list {
			err := x.complete(ctx, m)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				x.c.Log.Info("slab not completed", "slab", m.Slab, "shards", len(m.Shards), "err", err)
				if err := x.c.Index.PostponePending(ctx, m.Slab, x.later(m.Tries)); err != nil {
					return err
				}
			}
		}
	}
}

// complete places what is missing of a listed slab.
func (x *Client) complete(ctx context.Context, m index.Missing) error {
	s, err := x.c.Index.Slab(ctx, m.Slab)
	if err != nil {
		return err
	}
	id := x.c.Index.BeginRepair()
	placed := make(map[int]index.Place)
	before := append([]index.Place(nil), s.At...)
	failed := x.fill(ctx, id, s, x.c.Patience)
	for i, p := range s.At {
		if p != before[i] {
			placed[i] = p
		}
	}
	if err := x.c.Index.Repaired(context.WithoutCancel(ctx), id, m.Slab, placed); err != nil {
		return err
	}
	switch missing := s.Class.N - s.Placed(); {
	case missing == 0:
		x.forgive(m.Slab)
	case failed == nil:
		failed = fault.New(fault.StoredPartly, "%d shards are still pending", missing)
	}
	return failed
}

// fill makes the shards of s that have no place from others, places them, and
// writes into s where.
func (x *Client) fill(ctx context.Context, id int64, s *index.PlacedSlab, patience time.Duration) error {
	var want []int
	var used []string
	for i, p := range s.At {
		if p == (index.Place{}) {
			want = append(want, i)
			continue
		}
		used = append(used, p.Host)
	}
	if len(want) == 0 {
		return nil
	}
	hosts, err := x.find(ctx, Need{
		Class: s.Class, Want: len(want), Least: 1, Spares: 2, Shard: s.ShardSize, Bytes: uint64(s.ShardSize), Used: used,
		Avoid: x.blamed(s.ID),
	})
	if err != nil {
		return err
	}
	c, err := x.upload(id, s.Class, hosts)
	if err != nil {
		return err
	}
	c.Patience = patience
	return x.reader.Slab(ctx, s, func(buf *seal.Buffer, have []int) error {
		if err := seal.Rebuild(buf, s.Slab.Slab, have, want, max(1, x.c.Workers)); err != nil {
			return err
		}
		at, err := upload.Repair(ctx, c, s, want, buf.Shard)
		for i, p := range at {
			s.At[i] = p
		}
		if err != nil {
			return fmt.Errorf("place shards: %w", err)
		}
		return nil
	})
}
