package client

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"hearth/core/fault"
	"hearth/core/proof"
	"hearth/storage/index"
	"hearth/storage/remote"
	"hearth/storage/seal"
	"hearth/storage/upload"
)

// Read has a host give one leaf of a shard, with its proof, by the way that every
// read goes: it can't tell that this is an audit.
func (x *Client) Read(ctx context.Context, at index.Place, root proof.Hash, size, off int64) error {
	ctx, cancel := context.WithTimeout(ctx, x.auditPatience())
	defer cancel()
	h, err := x.at(ctx, at)
	if err != nil {
		return err
	}
	began := time.Now()
	data, _, err := h.Range(ctx, root, size, off, proof.LeafSize)
	if err == nil {
		x.book.Worked(at.Host, time.Since(began), int64(len(data)))
		return nil
	}
	if ctx.Err() == context.DeadlineExceeded { // it took its time: that is no answer
		err = fault.New(fault.HostUnreachable, "audit shard at %s: %w", at.Host, err)
	}
	x.book.Failed(at.Host, err)
	return err
}

// auditPatience is how long a leaf may take.
func (x *Client) auditPatience() time.Duration {
	if x.c.Pause > 0 {
		return x.c.Pause
	}
	return 20 * time.Second
}

// Lost takes note of a shard that its host can't give back: it is made anew in
// the background.
func (x *Client) Lost(_ context.Context, slab index.SlabID, shard int, at index.Place, why error) {
	x.lost(slab, shard, at, why)
}

// Shun says at which hosts nothing new should be put while there are better ones:
// those that were left for not serving.
func (x *Client) Shun(hosts map[string]bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.shun = hosts
}

func (x *Client) shunned() map[string]bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return maps.Clone(x.shun)
}

// Remake puts shards of a slab at other hosts; only then it leaves their old
// places, and what lies there is removed in the background. Those of made can't be
// read, those of moved still can. It gives the bytes placed, also with an error.
func (x *Client) Remake(ctx context.Context, id index.SlabID, made, moved []int) (int64, error) {
	s, err := x.c.Index.Slab(ctx, id)
	if err != nil {
		return 0, err
	}
	want := slices.Concat(made, moved)
	slices.Sort(want)
	if want = slices.Compact(want); len(want) == 0 || want[0] < 0 || want[len(want)-1] >= s.Class.N {
		return 0, fault.New(fault.BadRequest, "remake shards %v of slab %s: it has %d", want, id, s.Class.N)
	}
	need := Need{
		Class: s.Class, Want: len(want), Least: 1, Spares: 2, Shard: s.ShardSize, Bytes: uint64(s.ShardSize), Avoid: x.blamed(id),
	}
	if need.Avoid == nil {
		need.Avoid = make(map[string]bool)
	}
	from := *s
	from.At = slices.Clone(s.At)
	for i, p := range s.At {
		switch {
		case !slices.Contains(want, i):
			if p != (index.Place{}) {
				need.Used = append(need.Used, p.Host)
			}
		case p != (index.Place{}):
			need.Avoid[p.Host] = true
		}
	}
	for _, i := range made {
		from.At[i] = index.Place{}
	}
	repair := x.c.Index.BeginRepair()
	at, failed := x.replace(ctx, repair, &from, want, need)
	if err := x.c.Index.Repaired(context.WithoutCancel(ctx), repair, id, at); err != nil {
		return 0, err
	}
	x.wake() // to free what was left
	if failed == nil && len(at) < len(want) {
		failed = fault.New(fault.StoredPartly, "%d of %d shards found a new host", len(at), len(want))
	}
	return int64(len(at)) * s.ShardSize, failed
}

// replace reads a slab where it can be read and places the shards of want.
func (x *Client) replace(ctx context.Context, repair int64, from *index.PlacedSlab, want []int, need Need) (at map[int]index.Place, err error) {
	hosts, err := x.findStrictly(ctx, need)
	if err != nil {
		return nil, err
	}
	c, err := x.upload(repair, from.Class, hosts)
	if err != nil {
		return nil, err
	}
	err = x.reader.Slab(ctx, from, func(buf *seal.Buffer, have []int) error {
		missing := slices.DeleteFunc(slices.Clone(want), func(i int) bool { return slices.Contains(have, i) })
		if err := seal.Rebuild(buf, from.Slab.Slab, have, missing, max(1, x.c.Workers)); err != nil {
			return err
		}
		at, err = upload.Repair(ctx, c, from, want, buf.Shard)
		if err != nil {
			return fmt.Errorf("place shards: %w", err)
		}
		return nil
	})
	return at, err
}

// findStrictly is find without a way back to the hosts that the need avoids: they
// are what is being left. Others that were left once are better than none.
func (x *Client) findStrictly(ctx context.Context, need Need) ([]upload.Host, error) {
	better := need
	better.Avoid = x.shunned()
	if better.Avoid == nil {
		better.Avoid = make(map[string]bool)
	}
	maps.Copy(better.Avoid, need.Avoid)
	pairs, err := x.c.Market.Hosts(ctx, better)
	if len(better.Avoid) > len(need.Avoid) && (fault.CodeOf(err) == fault.NotEnoughHosts || err == nil && len(pairs) < need.Want) {
		pairs, err = x.c.Market.Hosts(ctx, need)
	}
	if err != nil {
		return nil, err
	}
	if len(pairs) < need.Least {
		return nil, fault.New(fault.NotEnoughHosts, "%d hosts found, %d are needed", len(pairs), need.Least)
	}
	// Those that failed lately come last.
	slices.SortStableFunc(pairs, func(a, b remote.Pair) int {
		_, x1 := x.book.Avoid(a.Host())
		_, x2 := x.book.Avoid(b.Host())
		switch {
		case x1 == x2:
			return 0
		case x1:
			return 1
		}
		return -1
	})
	hosts := make([]upload.Host, len(pairs))
	for i, p := range pairs {
		if hosts[i], err = x.host(p); err != nil {
			return nil, err
		}
	}
	return hosts, nil
}
