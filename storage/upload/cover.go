package upload

import (
	"context"
	"sync"
	"time"

	"hearth/core/proof"
	"hearth/storage/index"
	"hearth/storage/remote"
)

// A sealed slab is one whose shards are placed, and maybe not covered yet.
type sealed struct {
	index.PlacedSlab
	hosts []Host // by shard; nil: nowhere
}

// at is one shard of a batch.
type at struct {
	slab  *sealed
	shard int
}

// cover has every host sign for the shards of these slabs that lie there: one
// change and one statement a host. Shards whose host doesn't sign lie nowhere. It
// fails only where this machine is at fault.
func cover(ctx context.Context, c *Config, slabs []*sealed) error {
	by := make(map[Host][]at)
	var intended []index.Shard
	for _, s := range slabs {
		for i, h := range s.hosts {
			if h == nil {
				continue
			}
			by[h] = append(by[h], at{s, i})
			intended = append(intended, index.Shard{Place: placeOf(h), Root: s.Roots[i], Size: s.ShardSize})
		}
	}
	if len(intended) == 0 {
		return nil
	}
	if err := c.Intend(ctx, intended); err != nil {
		return err
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var own error
	for h, list := range by {
		wg.Go(func() {
			for len(list) > 0 {
				n := min(len(list), remote.MaxChange)
				if err := coverAt(ctx, c, h, list[:n]); err != nil {
					mu.Lock()
					own = err
					mu.Unlock()
					return
				}
				list = list[n:]
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if own != nil {
		return own
	}
	for _, s := range slabs {
		for i, h := range s.hosts {
			if h != nil {
				s.At[i] = placeOf(h)
			}
		}
	}
	return nil
}

func placeOf(h Host) index.Place { return index.Place{Host: h.Name(), Lease: h.Lease()} }

// coverAt tries until the host has signed or patience ends. The error is trouble
// of this machine.
func coverAt(ctx context.Context, c *Config, h Host, list []at) error {
	add := make([]proof.Shard, len(list))
	for i, a := range list {
		add[i] = proof.Shard{Size: a.slab.ShardSize, Root: a.slab.Roots[a.shard]}
	}
	ctx, cancel := context.WithTimeout(ctx, c.Patience)
	defer cancel()
	for {
		err := h.Change(ctx, add, nil)
		if err == nil {
			return nil
		}
		c.Book.Failed(h.Name(), err)
		c.Log.Debug("shards not covered", "host", h.Name(), "shards", len(list), "err", err)
		class := remote.Classify(err)
		if class == remote.Own {
			return err
		}
		if ctx.Err() == nil && passing(class) {
			select {
			case <-time.After(c.Retry):
				continue
			case <-ctx.Done():
			}
		}
		for _, a := range list {
			a.slab.hosts[a.shard] = nil // each shard belongs to one host, so to one goroutine
		}
		return nil
	}
}
