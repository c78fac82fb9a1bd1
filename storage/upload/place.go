package upload

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"hearth/core/proof"
	"hearth/storage/remote"
)

// An attempt is one shard on its way to one host.
type attempt struct {
	shard  int
	host   Host
	began  time.Time
	cancel context.CancelFunc
	err    error
	ended  time.Time
}

// A retry is a host that may be tried again.
type retry struct {
	host Host
	at   time.Time
}

// A round places the shards of one slab. All its fields belong to the goroutine
// that runs it; attempts only send their end.
type round struct {
	c     *Config
	ctx   context.Context
	roots []proof.Hash
	need  int // shards without which it is in vain
	body  func(shard int) []byte

	at      []Host // where a shard lies, nil while it lies nowhere
	placed  int
	running map[int][]*attempt // by shard
	count   int                // attempts under way
	waiting []int              // shards that nobody can take now
	free    []Host             // hosts that have not been tried for this slab
	later   []retry
	took    []time.Duration // of shards that were placed
	ends    chan *attempt
	errs    map[string]error // the newest of each host

	hedgeAt time.Time // when the slowest are tried elsewhere too; zero: not yet
	endAt   time.Time // when patience ends; zero: nothing is stuck
}

// place puts each shard on a host of its own, in the order of hosts as far as
// they do; those behind the first n are spares. It returns where they lie; fewer
// than all with the reasons. Once half of them are placed, the slow are tried on
// spares too; once need are, nothing waits longer than patience.
func place(ctx context.Context, c *Config, hosts []Host, roots []proof.Hash, need int, body func(int) []byte) ([]Host, error) {
	ctx, cancel := context.WithCancel(ctx)
	r := &round{
		c: c, ctx: ctx, roots: roots, need: need, body: body,
		at: make([]Host, len(roots)), running: make(map[int][]*attempt),
		free: hosts, ends: make(chan *attempt),
	}
	defer func() { // nobody reads a body after this
		cancel()
		for r.count > 0 {
			r.drop(<-r.ends)
		}
	}()
	r.sort()
	for i := range roots {
		r.assign(i)
	}
	return r.at, r.run()
}

// passing says of a way to fail that another try may do.
func passing(c remote.Class) bool {
	return c == remote.Busy || c == remote.Unreachable || c == remote.Unpaid
}

// sort moves hosts that failed lately behind the others, and leaves out those
// from which nothing can be hoped for.
func (r *round) sort() {
	now := time.Now()
	good := r.free[:0:0]
	for _, h := range r.free {
		class, avoid := r.c.Book.Avoid(h.Name())
		switch {
		case !avoid:
			good = append(good, h)
		case passing(class):
			r.later = append(r.later, retry{h, now.Add(r.c.Retry)})
		}
	}
	r.free = good
}

// assign starts a shard at the next free host, or lets it wait.
func (r *round) assign(shard int) {
	if len(r.free) == 0 {
		r.waiting = append(r.waiting, shard)
		r.stuck()
		return
	}
	h := r.free[0]
	r.free = r.free[1:]
	r.start(shard, h)
}

func (r *round) start(shard int, h Host) {
	ctx, cancel := context.WithCancel(r.ctx)
	a := &attempt{shard: shard, host: h, began: time.Now(), cancel: cancel}
	r.running[shard] = append(r.running[shard], a)
	r.count++
	go func() {
		a.err = h.Put(ctx, r.roots[shard], r.body(shard))
		a.ended = time.Now()
		r.ends <- a
	}()
}

// stuck starts the clock of patience.
func (r *round) stuck() {
	if r.endAt.IsZero() {
		r.endAt = time.Now().Add(r.c.Patience)
	}
}

func (r *round) run() error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for r.placed < len(r.at) {
		now := time.Now()
		r.wake(now)
		if !r.endAt.IsZero() && !now.Before(r.endAt) && (r.enough() || r.count == 0) {
			return r.why()
		}
		if r.count == 0 && len(r.later) == 0 {
			return r.why()
		}
		timer.Reset(r.next(now))
		select {
		case a := <-r.ends:
			r.ended(a)
		case <-timer.C:
		case <-r.ctx.Done():
			return context.Cause(r.ctx)
		}
	}
	return nil
}

// why is what went wrong last at each host.
func (r *round) why() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(r.errs)) {
		errs = append(errs, r.errs[name])
	}
	return errors.Join(errs...)
}

func (r *round) enough() bool { return r.placed >= r.need }

// next is how long there is nothing to do but to listen.
func (r *round) next(now time.Time) time.Duration {
	at := now.Add(time.Minute)
	for _, t := range []time.Time{r.hedgeAt, r.endAt} {
		if t.After(now) && t.Before(at) {
			at = t
		}
	}
	if len(r.waiting) > 0 {
		for _, l := range r.later {
			if l.at.Before(at) {
				at = l.at
			}
		}
	}
	return max(at.Sub(now), time.Millisecond)
}

// wake does what the clock says.
func (r *round) wake(now time.Time) {
	if !r.hedgeAt.IsZero() && !now.Before(r.hedgeAt) {
		r.hedge(now)
	}
	patient := r.endAt.IsZero() || now.Before(r.endAt)
	for patient && len(r.waiting) > 0 && len(r.later) > 0 {
		slices.SortStableFunc(r.later, func(a, b retry) int { return a.at.Compare(b.at) })
		if r.later[0].at.After(now) {
			return
		}
		h, shard := r.later[0].host, r.waiting[0]
		r.later, r.waiting = r.later[1:], r.waiting[1:]
		r.start(shard, h)
	}
}

// hedge gives each shard that is still under way to a spare as well; the first
// that has it wins.
func (r *round) hedge(now time.Time) {
	r.hedgeAt = now.Add(r.limit())
	shards := make([]int, 0, len(r.running))
	for shard := range r.running {
		shards = append(shards, shard)
	}
	slices.SortFunc(shards, func(a, b int) int {
		return cmp.Or(cmp.Compare(len(r.running[a]), len(r.running[b])), cmp.Compare(a, b))
	})
	for _, shard := range shards {
		if len(r.free) == 0 {
			r.stuck()
			return
		}
		r.c.Log.Debug("slow host, trying a spare", "shard", shard, "host", r.running[shard][0].host.Name(), "spare", r.free[0].Name())
		r.start(shard, r.free[0])
		r.free = r.free[1:]
	}
}

// limit is how long a shard may take, going by the others.
func (r *round) limit() time.Duration {
	if len(r.took) == 0 {
		return r.c.Slow
	}
	sorted := slices.Sorted(slices.Values(r.took))
	return max(r.c.Slow, 3*sorted[len(sorted)/2])
}

// spare has a host that was merely slower take a shard that waits, or stand behind
// the others: else a spare that was called too early is missed where it is needed.
func (r *round) spare(h Host) {
	if len(r.waiting) == 0 {
		r.free = append(r.free, h)
		return
	}
	shard := r.waiting[0]
	r.waiting = r.waiting[1:]
	r.start(shard, h)
}

// drop takes an attempt off the books.
func (r *round) drop(a *attempt) {
	a.cancel()
	r.count--
	left := slices.DeleteFunc(r.running[a.shard], func(b *attempt) bool { return b == a })
	if len(left) == 0 {
		delete(r.running, a.shard)
		return
	}
	r.running[a.shard] = left
}

// ended takes in how an attempt went.
func (r *round) ended(a *attempt) {
	r.drop(a)
	took := a.ended.Sub(a.began)
	size := int64(len(r.body(a.shard)))
	switch {
	case a.err == nil && r.at[a.shard] == nil:
		r.c.Book.Worked(a.host.Name(), took, size)
		r.at[a.shard] = a.host
		r.placed++
		r.took = append(r.took, took)
		for _, other := range r.running[a.shard] {
			r.c.Book.Slow(other.host.Name(), time.Since(other.began), size)
			other.cancel()
		}
		if 2*r.placed >= len(r.at) && r.hedgeAt.IsZero() {
			// Half of them tell what is usual. The attempts began together.
			r.hedgeAt = a.began.Add(r.limit())
		}
		r.c.placed(size)
	case r.at[a.shard] != nil: // the slower of two; its copy is covered by nothing and vanishes
		if a.err == nil || errors.Is(a.err, context.Canceled) {
			r.spare(a.host)
		}
	default:
		r.failed(a)
	}
}

func (r *round) failed(a *attempt) {
	r.c.Book.Failed(a.host.Name(), a.err)
	if r.errs == nil {
		r.errs = map[string]error{}
	}
	r.errs[a.host.Name()] = a.err
	r.c.Log.Debug("shard not placed", "shard", a.shard, "host", a.host.Name(), "err", a.err)
	if passing(remote.Classify(a.err)) {
		r.later = append(r.later, retry{a.host, time.Now().Add(r.c.Retry)})
	}
	if len(r.running[a.shard]) == 0 {
		r.assign(a.shard)
	}
}
