package repair

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hearth/core/fault"
	"hearth/core/proof"
	"hearth/storage/index"
)

// A List is what is watched.
type List interface {
	// SlabsAfter lists slabs in the order of their names, those after one.
	SlabsAfter(ctx context.Context, after index.SlabID, limit int) ([]index.PlacedSlab, error)
}

// A Hand carries out what is decided.
type Hand interface {
	// Leases tells of every bargain under which shards may lie. That one is closed
	// or ending is proved.
	Leases(ctx context.Context) (map[index.Place]Lease, error)
	// Read has a host give a small stretch of a shard, with its proof.
	Read(ctx context.Context, at index.Place, root proof.Hash, size, off int64) error
	// Lost takes note of a shard that its host can't give back.
	Lost(ctx context.Context, slab index.SlabID, shard int, at index.Place, why error)
	// Remake puts shards of a slab at other hosts and leaves their old places.
	// Those of made can't be read, those of moved still can. It says how many bytes
	// were placed, also with an error.
	Remake(ctx context.Context, slab index.SlabID, made, moved []int) (bytes int64, err error)
	// Shun says at which hosts, these and no others, nothing new should be put while
	// there are better ones. The map is the hand's.
	Shun(hosts map[string]bool)
}

// A Config is what a Watcher needs. A zero field takes its stated default.
type Config struct {
	List  List          // required
	Hand  Hand          // required
	Rules Rules         // default Defaults()
	Every time.Duration // between two looks; default a 24th of Rules.Patience, 1 s to 10 min
	// Kept is a file that remembers how far the reading of all shards has come;
	// empty: it begins anywhere.
	Kept     string
	Left     string                // a file that remembers hosts that were left; empty: nothing does
	Together int                   // slabs that are repaired at once; default 2
	Registry prometheus.Registerer // metrics go there; nil: nowhere
	Now      func() time.Time      // default time.Now
	Log      *slog.Logger          // default: discard
}

// Limits of what is kept in memory and done in one look.
const (
	page      = 256  // slabs that are listed at once
	mostJobs  = 1024 // repairs of one look; the next one finds more
	mostReads = 4096 // audits of one look
	atOnce    = 16   // questions at once
)

// A Watcher looks after the slabs of a list. Run and Look are for one goroutine.
type Watcher struct {
	c Config
	m *metrics

	hosts   map[string]Host
	why     map[string]error // the newest error of a host
	leases  map[index.Place]Lease
	samples map[index.Place]sample
	failed  map[index.SlabID]failure
	state   Count
	swept   time.Time
	wrong   bool // some place stands badly: look at every slab again
	round   round
	left    left

	mu     sync.Mutex
	report Count // a copy of state for others
}

// A sample is a shard to ask a host for.
type sample struct {
	slab  index.SlabID
	shard int
	root  proof.Hash
	size  int64
}

// A failure is a repair that didn't work.
type failure struct {
	times int
	again time.Time
}

// Count is what the newest look at all slabs has found.
type Count struct {
	Slabs     int
	Shards    int
	Urgency   [Beyond + 1]int  // slabs
	Standing  [Pending + 1]int // shards
	Remade    int64            // shards, since the start
	Bytes     int64            // of them
	Failed    int64            // repairs that didn't work
	Audits    int64
	AuditLost int64
}

// New makes a watcher.
func New(c Config) (*Watcher, error) {
	if c.List == nil || c.Hand == nil {
		return nil, errors.New("repair: List and Hand are needed")
	}
	if c.Rules == (Rules{}) {
		c.Rules = Defaults()
	}
	if c.Every == 0 {
		c.Every = min(max(c.Rules.Patience/24, time.Second), 10*time.Minute)
	}
	if c.Together == 0 {
		c.Together = 2
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	w := &Watcher{
		c: c, m: newMetrics(), hosts: map[string]Host{}, why: map[string]error{}, samples: map[index.Place]sample{}, failed: map[index.SlabID]failure{},
	}
	w.round.load(c.Kept, c.Now(), c.Log)
	w.left.load(c.Left, c.Log)
	if c.Registry != nil {
		if err := c.Registry.Register(w.m); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// Run looks again and again until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	defer func() {
		if w.c.Registry != nil {
			w.c.Registry.Unregister(w.m)
		}
	}()
	for ctx.Err() == nil {
		more, err := w.Look(ctx)
		if err != nil && ctx.Err() == nil {
			w.c.Log.Warn("look after slabs", "err", err)
		}
		if more && err == nil {
			continue
		}
		// Not all watchers of a network ask at the same time.
		pause := time.Duration(float64(w.c.Every) * (0.9 + 0.2*rand.Float64()))
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// Count is what the newest look has found. It is safe to call at any time.
func (w *Watcher) Count() Count {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.report
}

// Look asks hosts, decides and repairs, once. more says that there was more to
// repair than fits one look.
func (w *Watcher) Look(ctx context.Context) (more bool, err error) {
	if w.leases, err = w.c.Hand.Leases(ctx); err != nil {
		return false, err
	}
	if w.swept.IsZero() {
		if _, err := w.sweep(ctx); err != nil { // to know whom to ask
			return false, err
		}
	}
	w.ask(ctx)
	if err := w.audit(ctx); err != nil {
		return false, err
	}
	if err := w.leave(); err != nil {
		return false, err
	}
	jobs := []job(nil)
	if w.wrong = w.troubled(); w.wrong || w.c.Now().Sub(w.swept) >= min(w.c.Rules.Audit/100, time.Hour) {
		if jobs, err = w.sweep(ctx); err != nil {
			return false, err
		}
	}
	worked := w.do(ctx, jobs)
	w.publish()
	return worked && len(jobs) == mostJobs, ctx.Err()
}

func (w *Watcher) publish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report = w.state
	w.m.set(w.state, w.round.age(w.c.Now()))
}

// ask puts one small question to every host. When nobody answers at all it is
// this machine that is cut off, and nobody's fault.
func (w *Watcher) ask(ctx context.Context) {
	type asked struct {
		at  index.Place
		s   sample
		err error
	}
	var list []asked
	for at, s := range w.samples {
		list = append(list, asked{at: at, s: s})
	}
	each(len(list), atOnce, func(i int) {
		a := &list[i]
		a.err = w.c.Hand.Read(ctx, a.at, a.s.root, a.s.size, rand.Int64N(a.s.size))
	})
	if ctx.Err() != nil {
		return
	}
	heard := make(map[string]Answer)
	answered := false
	for _, a := range list {
		answer := AnswerOf(a.err)
		w.m.audits[answer].Inc()
		answered = answered || answer == Served || answer == Refused || answer == Lost
		if answer == Lost {
			w.lost(ctx, a.s.slab, a.s.shard, a.at, a.err)
		}
		if a.err != nil {
			w.why[a.at.Host] = a.err
		}
		if was, ok := heard[a.at.Host]; !ok || better(answer, was) {
			heard[a.at.Host] = answer
		}
	}
	now := w.c.Now()
	for host, answer := range heard {
		if answer == Silent && !answered && len(heard) > 1 {
			continue
		}
		w.hosts[host] = w.hosts[host].Hear(answer, now, w.c.Rules)
	}
	// Hosts that hold nothing any more are forgotten.
	for host := range w.hosts {
		if _, asked := heard[host]; !asked {
			delete(w.hosts, host)
			delete(w.why, host)
		}
	}
}

// better says of two answers of one host which one tells more for it.
func better(a, b Answer) bool { return b == Nothing || a != Nothing && a < b }

func (w *Watcher) lost(ctx context.Context, id index.SlabID, shard int, at index.Place, why error) {
	w.state.AuditLost++
	delete(w.samples, at)
	w.wrong = true
	w.swept = time.Time{} // it is looked at anew, with another sample
	w.c.Hand.Lost(ctx, id, shard, at, why)
}

// stand is what a place is worth now.
func (w *Watcher) stand(at index.Place) Standing {
	if at == (index.Place{}) {
		return Pending
	}
	return Stand(w.hosts[at.Host], w.leases[at], w.c.Now(), w.c.Rules)
}

// troubled says whether any place needs a look at the slabs.
func (w *Watcher) troubled() bool {
	for at := range w.samples {
		if s := w.stand(at); s == Leaving || s.missing() {
			return true
		}
	}
	return w.state.Standing[Pending] > 0
}

// A job is a slab to be repaired.
type job struct {
	id    index.SlabID
	plan  Plan
	shown int // shards left
}

// sweep looks at every slab, takes samples, and lists what is to be done, the
// most urgent first.
func (w *Watcher) sweep(ctx context.Context) ([]job, error) {
	now := w.c.Now()
	state := Count{
		Remade: w.state.Remade, Bytes: w.state.Bytes, Failed: w.state.Failed, Audits: w.state.Audits, AuditLost: w.state.AuditLost,
	}
	samples := make(map[index.Place]sample)
	seen := make(map[index.Place]int)
	var jobs []job
	var after index.SlabID
	shards := make([]Standing, 0, 64)
	for {
		slabs, err := w.c.List.SlabsAfter(ctx, after, page)
		if err != nil {
			return nil, err
		}
		for i := range slabs {
			s := &slabs[i]
			shards = shards[:0]
			for j, at := range s.At {
				standing := w.stand(at)
				shards = append(shards, standing)
				state.Standing[standing]++
				if at == (index.Place{}) {
					continue
				}
				// Each shard of a place is its sample with the same chance.
				if seen[at]++; rand.IntN(seen[at]) == 0 {
					samples[at] = sample{s.ID, j, s.Roots[j], s.ShardSize}
				}
			}
			plan := Decide(s.Class, shards)
			state.Slabs++
			state.Shards += len(s.At)
			state.Urgency[plan.Urgency]++
			if len(plan.Make)+len(plan.Move) > 0 && !now.Before(w.failed[s.ID].again) {
				jobs = append(jobs, job{s.ID, plan, len(s.At) - len(plan.Make)})
				if len(jobs) >= 2*mostJobs {
					jobs = foremost(jobs)
				}
			}
		}
		if len(slabs) < page {
			break
		}
		after = slabs[len(slabs)-1].ID
	}
	w.state, w.samples, w.swept = state, samples, now
	for id, f := range w.failed { // of slabs that are well again, or gone
		if now.Sub(f.again) > w.c.Rules.MostDelay {
			delete(w.failed, id)
		}
	}
	return foremost(jobs), nil
}

// foremost leaves the most urgent jobs, in that order.
func foremost(jobs []job) []job {
	slices.SortStableFunc(jobs, func(a, b job) int {
		return cmp.Or(cmp.Compare(b.plan.Urgency, a.plan.Urgency), cmp.Compare(a.shown, b.shown))
	})
	return jobs[:min(len(jobs), mostJobs)]
}

// do repairs, and says whether any repair worked.
func (w *Watcher) do(ctx context.Context, jobs []job) (worked bool) {
	var mu sync.Mutex
	each(len(jobs), w.c.Together, func(i int) {
		if ctx.Err() != nil {
			return
		}
		j := jobs[i]
		bytes, err := w.c.Hand.Remake(ctx, j.id, j.plan.Make, j.plan.Move)
		if ctx.Err() != nil || fault.CodeOf(err) == fault.NotFound {
			return // nobody needs the slab any more
		}
		mu.Lock()
		defer mu.Unlock()
		w.state.Bytes += bytes
		w.m.bytes.Add(float64(bytes))
		if err == nil {
			delete(w.failed, j.id)
			n := len(j.plan.Make) + len(j.plan.Move)
			w.state.Remade += int64(n)
			w.m.remade.Add(float64(n))
			worked = true
			w.c.Log.Info("slab repaired", "slab", j.id, "urgency", j.plan.Urgency, "made", len(j.plan.Make), "moved", len(j.plan.Move))
			return
		}
		f := w.failed[j.id]
		f.times++
		f.again = w.c.Now().Add(w.c.Rules.Delay(f.times))
		w.failed[j.id] = f
		w.state.Failed++
		w.m.failed.Inc()
		w.c.Log.Warn("slab not repaired", "slab", j.id, "urgency", j.plan.Urgency, "again", f.again, "err", err)
	})
	return worked
}

// each calls f for every i below n, some at once.
func each(n, slots int, f func(i int)) {
	free := make(chan struct{}, slots)
	var wg sync.WaitGroup
	for i := range n {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			f(i)
		})
	}
	wg.Wait()
}
