package steward

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"hearth/chain"
	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/core/mandate"
	"hearth/core/placement"
	"hearth/core/proof"
	"hearth/core/quote"
	"hearth/market"
	"hearth/storage/download"
	"hearth/storage/index"
	"hearth/storage/remote"
	"hearth/storage/repair"
	"hearth/storage/seal"
)

// A job is the work for one client. One goroutine runs it.
type job struct {
	s       *Steward
	account string

	mandate  mandate.Mandate
	market   *market.Client
	bargains *repair.Bargains
	watcher  *repair.Watcher
	reader   *download.Reader
	book     *remote.Book

	mu    sync.Mutex // guards what follows
	hosts map[uint64]*remote.Host
	pools map[erasure.Class]*seal.Pool
	lost  map[loss]time.Time // when it is to be made anew
	left  map[string]bool    // hosts that serve nobody
	last  repair.Count
}

// A loss is a shard that its host says it can't give back.
type loss struct {
	slab  index.SlabID
	shard int
	at    index.Place
}

const (
	mostLosses = 1024
	buffers    = 2 // slabs in memory for each class of a client
	tries      = 4 // hosts for one shard
	// After so long without a mandate a client is forgotten.
	forgetAfter = 7 * 24 * time.Hour
)

// run works until ctx ends.
func (j *job) run(ctx context.Context) {
	defer j.close()
	for ctx.Err() == nil {
		more, err := j.look(ctx)
		if err != nil && ctx.Err() == nil {
			j.s.c.Log.Info("look after client", "client", j.account, "err", err)
			if j.forgotten() {
				j.s.c.Log.Info("client without a mandate forgotten", "client", j.account)
				if err := j.s.store.dismiss(j.account); err != nil {
					j.s.c.Log.Error("forget client", "client", j.account, "err", err)
				}
				return
			}
		}
		if more && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(j.s.c.Every):
		}
	}
}

func (j *job) count() repair.Count {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last
}

// forgotten says whether the mandate ended long ago.
func (j *job) forgotten() bool {
	return j.mandate.Until > 0 && j.s.c.Now().Unix() > j.mandate.Until+int64(forgetAfter/time.Second)
}

// look does what the mandate allows now.
func (j *job) look(ctx context.Context) (more bool, err error) {
	m, err := j.s.mandate(ctx, j.account)
	if err != nil {
		if m.Until > 0 {
			j.mandate = m
		}
		j.close() // nothing is signed any more
		return false, err
	}
	if j.market == nil || !maps.Equal(m.Ceilings, j.mandate.Ceilings) {
		j.close()
		if err := j.open(m); err != nil {
			return false, err
		}
	}
	j.mandate = m
	more, err = j.watcher.Look(ctx)
	j.mu.Lock()
	j.last = j.watcher.Count()
	lost := j.due()
	j.mu.Unlock()
	return more, errors.Join(err, j.restore(ctx, lost))
}

// due takes the losses whose time has come. The caller holds mu.
func (j *job) due() (out []loss) {
	for l, at := range j.lost {
		if !j.s.c.Now().Before(at) {
			out = append(out, l)
			delete(j.lost, l)
		}
	}
	return out
}

// open makes what the work needs, under the limits of a mandate.
func (j *job) open(m mandate.Mandate) (err error) {
	c := &j.s.c
	j.market, err = market.NewClient(market.ClientConfig{
		Dir: filepath.Join(c.Dir, "market", hex.EncodeToString([]byte(j.account))), Ledger: c.Ledger, Dialer: c.Net, Account: j.account,
		Key: c.Spending.Key(), Signer: chain.PaidBy(c.Spending, j.account), Ceilings: m.Ceilings, Log: c.Log,
	})
	if err != nil {
		return err
	}
	j.book = remote.NewBook(c.Now)
	if j.lost == nil {
		j.lost = make(map[loss]time.Time)
	}
	j.hosts, j.pools = make(map[uint64]*remote.Host), make(map[erasure.Class]*seal.Pool)
	j.reader, err = download.New(download.Config{
		Resolve: func(ctx context.Context, p index.Place) (download.Host, error) { return j.at(ctx, p) },
		Pool:    j.pool, Book: j.book, Slabs: 1, Lost: func(id index.SlabID, shard int, at index.Place, why error) {
			j.Lost(context.Background(), id, shard, at, why)
		},
		Log: c.Log,
	})
	if err != nil {
		return err
	}
	j.bargains = &repair.Bargains{Ledger: c.Ledger, Account: j.account, Rules: c.Rules, Renew: j.market.Renew, Now: c.Now}
	kept := filepath.Join(c.Dir, "market", hex.EncodeToString([]byte(j.account)))
	j.watcher, err = repair.New(repair.Config{
		List: j, Hand: j, Rules: c.Rules, Every: c.Every, Together: 1, Now: c.Now, Log: c.Log,
		Kept: filepath.Join(kept, "audits.json"), Left: filepath.Join(kept, "left.json"),
	})
	return err
}

// close ends what open has made.
func (j *job) close() {
	j.mu.Lock()
	hosts, m := j.hosts, j.market
	j.hosts, j.market = nil, nil
	j.mu.Unlock()
	for _, h := range hosts {
		h.Close()
	}
	if m != nil {
		if err := m.Close(); err != nil {
			j.s.c.Log.Warn("close statements", "client", j.account, "err", err)
		}
	}
}

func (j *job) pool(c erasure.Class) (p *seal.Pool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if p = j.pools[c]; p == nil {
		if p, err = seal.NewPool(c, buffers); err == nil {
			j.pools[c] = p
		}
	}
	return p, err
}

// at finds the host of a place.
func (j *job) at(ctx context.Context, p index.Place) (*remote.Host, error) {
	j.mu.Lock()
	h := j.hosts[p.Lease]
	j.mu.Unlock()
	if h != nil {
		return h, nil
	}
	pair, err := j.market.Lease(ctx, p.Lease)
	if err != nil {
		return nil, err
	}
	if pair.Host() != p.Host {
		return nil, fault.New(fault.NoLease, "lease %d is with %s, not with %s", p.Lease, pair.Host(), p.Host)
	}
	return j.host(pair)
}

func (j *job) host(p remote.Pair) (*remote.Host, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if h := j.hosts[p.Lease()]; h != nil {
		return h, nil
	}
	h, err := remote.New(remote.Config{Pair: p, Dialer: j.s.c.Net, Log: j.s.c.Log})
	if err == nil && j.hosts != nil {
		j.hosts[p.Lease()] = h
	}
	return h, err
}

// SlabsAfter is the watcher's list.
func (j *job) SlabsAfter(_ context.Context, after index.SlabID, limit int) ([]index.PlacedSlab, error) {
	return j.s.store.slabsAfter(j.account, after, limit)
}

// Leases tells the watcher of the client's bargains.
func (j *job) Leases(ctx context.Context) (map[index.Place]repair.Lease, error) {
	return j.bargains.Leases(ctx)
}

// readTime is how long a host may take for a small piece.
const readTime = 20 * time.Second

// Read has a host give one leaf of a shard.
func (j *job) Read(ctx context.Context, at index.Place, root proof.Hash, size, off int64) error {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	h, err := j.at(ctx, at)
	if err != nil {
		return err
	}
	_, _, err = h.Range(ctx, root, size, off, proof.LeafSize)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fault.New(fault.HostUnreachable, "audit shard at %s: %w", at.Host, err)
	}
	j.book.Failed(at.Host, err)
	return err
}

// Lost takes note of a shard to be made anew. A client that is there may have
// replaced, moved or deleted it and gets the time to say so.
func (j *job) Lost(_ context.Context, id index.SlabID, shard int, at index.Place, why error) {
	l, due := loss{id, shard, at}, j.s.c.Now()
	if j.s.present(j.account) {
		due = due.Add(j.s.c.Rules.Patience)
	}
	j.mu.Lock()
	_, known := j.lost[l]
	if !known && len(j.lost) < mostLosses {
		j.lost[l] = due
	}
	j.mu.Unlock()
	if !known {
		j.s.c.Log.Info("shard not there any more", "client", j.account, "slab", id, "shard", shard, "host", at.Host, "err", why)
	}
}

// Shun takes note of hosts that were left.
func (j *job) Shun(hosts map[string]bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.left = hosts
}

func (j *job) shunned() map[string]bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.left
}

// restore makes lost shards anew.
func (j *job) restore(ctx context.Context, lost []loss) error {
	var errs []error
	for _, l := range lost {
		s, err := j.s.store.slab(j.account, l.slab)
		if err != nil || l.shard >= len(s.At) || s.At[l.shard] != l.at {
			continue
		}
		j.s.c.Log.Warn("shard lost", "client", j.account, "slab", l.slab, "shard", l.shard, "host", l.at.Host)
		if _, err := j.Remake(ctx, l.slab, []int{l.shard}, nil); err != nil {
			errs = append(errs, err)
			j.mu.Lock()
			j.lost[l] = j.s.c.Now().Add(j.s.c.Rules.MostDelay)
			j.mu.Unlock()
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// Remake makes shards anew and puts each at the host that the draw says.
func (j *job) Remake(ctx context.Context, id index.SlabID, made, moved []int) (bytes int64, err error) {
	s, err := j.s.store.slab(j.account, id)
	if err != nil {
		return 0, err
	}
	from := s.placed()
	from.At = slices.Clone(s.At)
	for _, i := range made {
		from.At[i] = index.Place{}
	}
	want := slices.Concat(made, moved)
	if want, err = j.placeable(ctx, s, want); len(want) == 0 {
		return 0, err // nothing is read, and paid for, in vain
	}
	noroom := err
	err = j.reader.Slab(ctx, &from, func(buf *seal.Buffer, have []int) error {
		missing := slices.DeleteFunc(slices.Clone(want), func(i int) bool { return slices.Contains(have, i) })
		if err := seal.Rebuild(buf, from.Slab.Slab, have, missing, 1); err != nil {
			return err
		}
		var errs []error
		for _, i := range want {
			at, err := j.place(ctx, s, i, buf.Shard(i))
			if err != nil {
				errs = append(errs, err)
				continue
			}
			s.At[i] = at
			bytes += s.ShardSize
			j.s.m.shards.Inc()
			j.s.m.bytes.Add(float64(s.ShardSize))
		}
		return errors.Join(errs...)
	})
	return bytes, errors.Join(noroom, err)
}

// placeable leaves those shards for which the draw has a host, and says why others
// have none.
func (j *job) placeable(ctx context.Context, s Slab, want []int) (can []int, err error) {
	offers, err := j.market.Offers(ctx, quote.Storage, false)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, i := range want {
		w := wish(s, s.At, i, offers, j.avoided(s, i, offers), j.mandate.Ceilings[quote.Storage], j.s.c.Local)
		if _, err := placement.Choose(candidates(offers), w); err != nil {
			errs = append(errs, err)
			continue
		}
		can = append(can, i)
	}
	return can, errors.Join(errs...)
}

// avoided are hosts at which a shard may not be put: the one it leaves, and this
// steward's own.
func (j *job) avoided(s Slab, shard int, offers []market.Offer) map[string]bool {
	avoid := own(offers, j.s.c.Account, j.s.c.Owner)
	if old := s.At[shard]; old.Host != "" {
		avoid[old.Host] = true
	}
	return avoid
}

// place puts a shard at the host that the draw gives, or the next one where that
// doesn't take it. It passes over hosts that it has left, though no more of them
// than its client lets pass.
func (j *job) place(ctx context.Context, s Slab, shard int, body []byte) (index.Place, error) {
	offers, err := j.market.Offers(ctx, quote.Storage, false)
	if err != nil {
		return index.Place{}, err
	}
	avoid := j.avoided(s, shard, offers)
	byHost := make(map[string]market.Offer)
	for _, o := range offers {
		byHost[o.Host.Address] = o
	}
	var errs []error
	left := j.shunned()
	var passed []string
	for len(errs) < tries {
		w := wish(s, s.At, shard, offers, avoid, j.mandate.Ceilings[quote.Storage], j.s.c.Local)
		choice, err := placement.Choose(candidates(offers), w)
		if err != nil && len(passed) > 0 { // they are better than none
			for _, name := range passed {
				delete(avoid, name)
			}
			passed, left = nil, nil
			continue
		}
		if err != nil {
			return index.Place{}, errors.Join(append(errs, err)...)
		}
		name := choice.Hosts[0]
		if left[name] && len(passed) < passable {
			passed = append(passed, name)
			avoid[name] = true
			continue
		}
		at, err := j.put(ctx, s, shard, byHost[name], body)
		if err == nil {
			return at, nil
		}
		if code := fault.CodeOf(err); ctx.Err() != nil || code == fault.MandateRefused || code == fault.NoFunds || code == fault.LedgerDown {
			return index.Place{}, err // no other host would do better
		}
		j.s.m.failed.Inc()
		avoid[name] = true
		errs = append(errs, err)
	}
	return index.Place{}, errors.Join(errs...)
}

// put has one host take a shard and sign for it. That it may have is noted before.
func (j *job) put(ctx context.Context, s Slab, shard int, o market.Offer, body []byte) (index.Place, error) {
	pairs, err := j.market.Open(ctx, []market.Offer{o}, uint64(s.ShardSize))
	if err != nil {
		return index.Place{}, err
	}
	h, err := j.host(pairs[0])
	if err != nil {
		return index.Place{}, err
	}
	if err := h.Put(ctx, s.Roots[shard], body); err != nil {
		return index.Place{}, err
	}
	at := index.Place{Host: h.Name(), Lease: h.Lease()}
	act, err := j.s.store.intend(j.account, Act{
		Slab: s.ID, Shard: shard, Old: s.At[shard], New: at, Root: s.Roots[shard], Size: s.ShardSize, At: j.s.c.Now().Unix(),
	})
	if err != nil {
		return index.Place{}, err
	}
	if err := h.Change(ctx, []proof.Shard{{Size: s.ShardSize, Root: s.Roots[shard]}}, nil); err != nil {
		j.s.store.failed(j.account, act)
		return index.Place{}, fmt.Errorf("have %s sign for a shard: %w", h.Name(), err)
	}
	return at, j.s.store.done(j.account, act)
}
