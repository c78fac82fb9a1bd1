package download

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"hearth/core/fault"
	"hearth/core/proof"
	"hearth/storage/index"
	"hearth/storage/remote"
)

// An attempt is one shard on its way from its host.
type attempt struct {
	shard  int
	place  index.Place
	began  time.Time
	moved  atomic.Int64 // unix nanoseconds of the newest verified block
	cancel context.CancelFunc
	hedged bool // another has been asked in its stead
	err    error
	ended  time.Time
}

// A race fetches any k shards of one slab. Its fields belong to the goroutine
// that runs it; attempts send their end and tell when they move.
type race struct {
	c    *Config
	ctx  context.Context
	slab *index.PlacedSlab
	part span
	into func(shard int) []byte

	queue   []int // shards not asked for, best first
	tried   map[int]int
	running map[*attempt]struct{}
	have    []int
	took    []time.Duration
	failed  []*attempt
	ends    chan *attempt
}

// A span is a row of whole blocks of every shard.
type span struct {
	first    int   // block
	from, to int64 // bytes of a shard
}

// spanOf are the blocks in which bytes of a shard lie.
func spanOf(shardSize, from, to int64) span {
	first := from / proof.BlockSize
	end := min((to+proof.BlockSize-1)/proof.BlockSize*proof.BlockSize, shardSize)
	return span{int(first), first * proof.BlockSize, end}
}

func (s span) bytes() int64 { return s.to - s.from }

// fetch fills a span of k shards of the slab, verified, and says which. Others
// may have been written to in part. With too few the error is fault.NotEnoughShards and
// says of each host why.
func fetch(ctx context.Context, c *Config, slab *index.PlacedSlab, part span, into func(int) []byte) ([]int, error) {
	ctx, cancel := context.WithCancel(ctx)
	r := &race{
		c: c, ctx: ctx, slab: slab, part: part, into: into,
		tried: make(map[int]int), running: make(map[*attempt]struct{}), ends: make(chan *attempt),
	}
	defer func() { // nobody writes into a shard after this
		cancel()
		for len(r.running) > 0 {
			delete(r.running, <-r.ends)
		}
	}()
	r.order()
	if len(r.queue) < slab.Class.K {
		return nil, r.tooFew()
	}
	if err := r.run(); err != nil {
		return nil, err
	}
	slices.Sort(r.have)
	for _, a := range r.failed {
		if class := remote.Classify(a.err); class == remote.Lost || class == remote.Garbage {
			r.c.lost(slab.ID, a.shard, a.place, a.err)
		}
	}
	return r.have, nil
}

// order lines the shards up: data shards on hosts that are well, since nothing
// has to be rebuilt from them; other shards on such hosts, the quick ones first;
// slow hosts; those that failed lately.
func (r *race) order() {
	var paces []time.Duration
	for i, p := range r.slab.At {
		if p == (index.Place{}) {
			continue
		}
		r.queue = append(r.queue, i)
		if pace := r.c.Book.Pace(p.Host); pace > 0 {
			paces = append(paces, pace)
		}
	}
	var typical time.Duration
	if len(paces) > 0 {
		slices.Sort(paces)
		typical = paces[len(paces)/2]
	}
	remote.Sort(r.c.Book, r.queue, func(i int) string { return r.slab.At[i].Host })
	first := func(i int) bool {
		return i < r.slab.Class.K && r.c.Book.Quick(r.slab.At[i].Host, typical)
	}
	slices.SortStableFunc(r.queue, func(a, b int) int {
		switch fa, fb := first(a), first(b); {
		case fa && fb:
			return cmp.Compare(a, b)
		case fa:
			return -1
		case fb:
			return 1
		}
		return 0
	})
}

func (r *race) run() error {
	for range r.slab.Class.K {
		r.next()
	}
	tick := time.NewTicker(r.c.Stall / 5)
	defer tick.Stop()
	for len(r.have) < r.slab.Class.K {
		if len(r.running) == 0 {
			return r.tooFew()
		}
		select {
		case a := <-r.ends:
			r.ended(a)
		case <-tick.C:
			r.hedge()
		case <-r.ctx.Done():
			return context.Cause(r.ctx)
		}
	}
	return nil
}

// next asks for the next shard in line.
func (r *race) next() {
	if len(r.queue) == 0 {
		return
	}
	shard := r.queue[0]
	r.queue = r.queue[1:]
	r.tried[shard]++
	ctx, cancel := context.WithCancel(r.ctx)
	a := &attempt{shard: shard, place: r.slab.At[shard], began: time.Now(), cancel: cancel}
	a.moved.Store(a.began.UnixNano())
	r.running[a] = struct{}{}
	again := r.tried[shard] > 1
	go func() {
		a.err = r.get(ctx, a, again)
		a.ended = time.Now()
		r.ends <- a
	}()
}

func (r *race) get(ctx context.Context, a *attempt, again bool) error {
	if again { // a short breath for a host that was busy
		select {
		case <-time.After(r.c.Stall):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	h, err := r.c.Resolve(ctx, a.place)
	if err != nil {
		return err
	}
	return h.Get(ctx, r.slab.Roots[a.shard], r.slab.ShardSize, r.part.first, r.into(a.shard)[r.part.from:r.part.to], func(int) {
		a.moved.Store(time.Now().UnixNano())
	})
}

// hedge asks another in the stead of each attempt that stands still, or that is
// much slower than those that have ended.
func (r *race) hedge() {
	now := time.Now()
	limit := r.c.Stall
	if n := len(r.took); n > 0 {
		sorted := slices.Sorted(slices.Values(r.took))
		limit = max(limit, 2*sorted[n/2])
	}
	if !r.lively(now, limit) {
		limit *= 4 // nobody moves: it may well be this machine, or its line
	}
	half := len(r.have) >= (r.slab.Class.K+1)/2
	for a := range r.running {
		still := now.Sub(time.Unix(0, a.moved.Load())) > limit
		late := half && now.Sub(a.began) > limit
		if !a.hedged && (still || late) && len(r.queue) > 0 {
			a.hedged = true
			r.c.Log.Debug("slow host, asking another", "slab", r.slab.ID, "shard", a.shard, "host", a.place.Host)
			r.next()
		}
	}
}

// lively says whether anything has come within the limit.
func (r *race) lively(now time.Time, limit time.Duration) bool {
	for a := range r.running {
		if at := a.moved.Load(); at > a.began.UnixNano() && now.Sub(time.Unix(0, at)) <= limit {
			return true
		}
	}
	return len(r.have) > 0
}

func (r *race) ended(a *attempt) {
	delete(r.running, a)
	a.cancel()
	if a.err == nil {
		took := a.ended.Sub(a.began)
		r.c.Book.Worked(a.place.Host, took, r.part.bytes())
		r.took = append(r.took, took)
		r.have = append(r.have, a.shard)
		return
	}
	r.c.Book.Failed(a.place.Host, a.err)
	r.failed = append(r.failed, a)
	r.c.Log.Debug("shard not read", "slab", r.slab.ID, "shard", a.shard, "host", a.place.Host, "err", a.err)
	switch remote.Classify(a.err) {
	case remote.Busy, remote.Unreachable, remote.Unpaid:
		if r.tried[a.shard] < 2 {
			r.queue = append(r.queue, a.shard) // once more, when nobody else is left
		}
	}
	if !a.hedged {
		r.next()
	}
	for len(r.running)+len(r.have) < r.slab.Class.K && len(r.queue) > 0 {
		r.next()
	}
}

// tooFew says which hosts failed and why.
func (r *race) tooFew() error {
	var why []string
	var errs []error
	seen := make(map[int]bool)
	for _, a := range slices.Backward(r.failed) {
		if !seen[a.shard] {
			seen[a.shard] = true
			why = append(why, fmt.Sprintf("%s: %s", a.place.Host, remote.Classify(a.err)))
			errs = append(errs, a.err)
		}
	}
	if n := len(r.slab.At) - r.slab.Placed(); n > 0 {
		why = append(why, fmt.Sprintf("%d shards pending", n))
	}
	code := fault.NotEnoughShards
	if remote.Classify(errors.Join(errs...)) == remote.Own {
		code = fault.DiskFull
	}
	return fault.New(code, "read slab %s: %d of %d shards, %d are needed (%s): %w", r.slab.ID, len(r.have), len(r.slab.At),
		r.slab.Class.K, strings.Join(why, ", "), errors.Join(errs...))
}
