package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"hearth/chain"
	compute "hearth/compute/client"
	machines "hearth/compute/instance/client"
	"hearth/compute/wasm"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/placement"
	"hearth/core/quote"
	"hearth/market"
	"hearth/p2p"
	"hearth/storage/client"
	"hearth/storage/index"
	"hearth/storage/journal"
	"hearth/storage/remote"
	"hearth/storage/replica"
)

// buying is the client role of a node.
type buying struct {
	n         *Node
	account   *account
	market    *market.Client
	index     *index.Index
	files     *client.Client
	journal   *journal.Journal
	replica   *replica.Log
	care      *caring
	shares    *shareRole
	purses    *purses
	functions *compute.Client
	instances *machines.Client
	engine    *wasm.Engine // checks what hosts compute
	company   atomic.Bool  // the account has another machine
	log       *slog.Logger
}

// slabBuffers is how many slabs are in memory at once: two in flight, and one for
// what goes on in the background. Full slabs have 80 MiB each at 10 of 20, half
// the size is for objects below fullSlabs.
const (
	slabBuffers = 3
	fullSlabs   = 512 << 20
)

// startBuying opens the list of files and what was signed before. It needs no
// money and no host yet.
func startBuying(ctx context.Context, n *Node) (*buying, error) {
	b := &buying{n: n, log: n.log, account: &account{ledger: n.ledger, keys: n.keys, terms: n.terms, log: n.log}}
	dir := filepath.Join(n.dir, "data")
	spending := n.keys.Spending()
	var err error
	b.market, err = market.NewClient(market.ClientConfig{
		Dir: filepath.Join(dir, "market"), Ledger: n.memory, Dialer: n.net, Account: n.address(), Key: spending.Key(),
		Signer: chain.PaidBy(spending, n.address()), Ceilings: n.terms.ceilings(), Holds: b.holds, Log: n.log,
	})
	if err != nil {
		return nil, err
	}
	if b.index, err = index.Open(index.Config{Path: filepath.Join(dir, "index.db"), Device: n.device}); err != nil {
		return nil, errors.Join(err, b.market.Close())
	}
	if b.journal, err = journal.Open(journal.Config{Dir: filepath.Join(dir, "journal"), Log: n.log}); err != nil {
		return nil, errors.Join(err, b.index.Close(), b.market.Close())
	}
	b.files, err = client.New(ctx, client.Config{
		Index: b.index, Journal: b.journal, Market: storageMarket{b}, Readers: storageMarket{b}, Dialer: n.net, Class: n.terms.class, Buffers: slabBuffers, Full: fullSlabs, Log: n.log,
	})
	if err != nil {
		return nil, errors.Join(err, b.journal.Close(), b.index.Close(), b.market.Close())
	}
	b.shares, b.purses = &shareRole{b: b}, &purses{b: b}
	if b.replica, err = openLog(ctx, b); err != nil {
		b.files.Close()
		return nil, errors.Join(err, b.journal.Close(), b.index.Close(), b.market.Close())
	}
	if b.functions, err = startFunctions(b); err != nil {
		b.files.Close()
		return nil, errors.Join(err, b.journal.Close(), b.index.Close(), b.market.Close())
	}
	if b.care, err = startCaring(b); err != nil {
		b.files.Close()
		return nil, errors.Join(err, b.engine.Close(), b.journal.Close(), b.index.Close(), b.market.Close())
	}
	return b, nil
}

// run does what goes on beside requests: the account's affairs, run time of
// leases, and unfinished work with files.
func (b *buying) run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, f := range []func(context.Context){b.account.tend, b.market.Tend, b.files.Run, b.replica.Run, b.giveBack, b.purses.run, b.care.run} {
		wg.Go(func() { f(ctx) })
	}
	wg.Wait()
}

// leaseChanged tells market and files of a lease's new record; what lay under one
// that has closed is made anew elsewhere.
func (b *buying) leaseChanged(ctx context.Context, l lease.Lease) {
	b.market.Changed(l)
	if l.State != lease.Closed {
		return
	}
	if err := b.files.LeaseEnded(ctx, index.Place{Host: l.Host, Lease: l.ID}); err != nil && ctx.Err() == nil {
		b.log.Error("take note of an ended lease", "lease", l.ID, "err", err)
	}
}

// stop writes what has changed into the log, signs run time for the absence, and
// closes everything.
func (b *buying) stop(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := b.replica.Leave(ctx); err != nil {
			b.log.Warn("the newest changes of the list of files are on this machine only", "err", err)
		}
	})
	b.market.Leave(ctx)
	wg.Wait()
	b.shares.close()
	b.files.Close()
	return errors.Join(b.purses.close(), b.engine.Close(), b.journal.Close(), b.index.Close(), b.market.Close())
}

// storageMarket finds hosts for the storage street.
type storageMarket struct{ b *buying }

// Hosts asks for prices, lets placement choose, and has leases opened.
func (m storageMarket) Hosts(ctx context.Context, need client.Need) ([]remote.Pair, error) {
	if err := m.b.account.prepared(ctx); err != nil {
		return nil, err
	}
	offers, err := m.b.market.Offers(ctx, quote.Storage, false)
	if err == nil && usable(offers) < need.Want+need.Spares {
		offers, err = m.b.market.Offers(ctx, quote.Storage, true)
	}
	if err != nil {
		return nil, err
	}
	if len(offers) == 0 {
		return nil, fault.New(fault.NoHosts, "find hosts: the ledger names none that sells storage")
	}
	rules, err := m.b.n.ledger.HostRules(ctx)
	if err != nil {
		return nil, err
	}
	choice, err := m.choose(ctx, offers, need, rules)
	if err != nil {
		return nil, err
	}
	byHost := map[string]market.Offer{}
	for _, o := range offers {
		byHost[o.Host.Address] = o
	}
	var picked []market.Offer
	for _, h := range append(choice.Hosts, choice.Spares...) {
		picked = append(picked, byHost[h])
	}
	pairs, err := m.b.market.Open(ctx, picked, need.Bytes)
	if err != nil {
		return nil, err
	}
	out := make([]remote.Pair, len(pairs))
	for i, p := range pairs {
		out[i] = p
	}
	return out, nil
}

// usable counts the hosts that answered with a price.
func usable(offers []market.Offer) int {
	n := 0
	for _, o := range offers {
		if o.Err == nil {
			n++
		}
	}
	return n
}

// choose wants as many hosts as are needed, and settles for the least that will do.
func (m storageMarket) choose(ctx context.Context, offers []market.Offer, need client.Need, rules chain.HostRules) (choice placement.Choice, err error) {
	now := time.Now().Unix()
	var all []placement.Candidate
	silent := 0
	for _, o := range offers {
		if o.Err != nil {
			silent++
			continue
		}
		all = append(all, candidate(o, rules, now))
	}
	wish := placement.Wish{
		Class: need.Class, Want: need.Want, Spares: need.Spares, Shard: max(need.Shard, int64(min(need.Bytes, 1<<62))),
		Ceiling: m.b.n.terms.ceiling, Avoid: need.Avoid, Local: m.b.n.settings.Local,
		// One order of hosts for one client: its files share leases.
		Seed: sha256.Sum256([]byte(m.b.n.address())),
	}
	if wish.Used, err = m.used(ctx, need.Used, offers, rules, now); err != nil {
		return placement.Choice{}, err
	}
	choice, err = placement.Choose(all, wish)
	var short *placement.Shortage
	if errors.As(err, &short) && short.Found >= max(1, need.Least) {
		wish.Want, wish.Spares = short.Found, 0
		choice, err = placement.Choose(all, wish)
	}
	if err != nil && silent > 0 {
		return choice, fault.New(fault.CodeOf(err), "%w; %d more don't answer or ask too much", err, silent)
	}
	return choice, err
}

// used are the hosts that hold a shard already: those that don't answer count for
// their owner and their addresses all the same.
func (m storageMarket) used(ctx context.Context, hosts []string, offers []market.Offer, rules chain.HostRules, now int64) ([]placement.Candidate, error) {
	known := map[string]market.Offer{}
	for _, o := range offers {
		known[o.Host.Address] = o
	}
	var out []placement.Candidate
	for _, address := range hosts {
		o, ok := known[address]
		if !ok {
			h, err := m.b.n.ledger.Host(ctx, address)
			if fault.CodeOf(err) == fault.NotFound {
				continue // it has left the network
			}
			if err != nil {
				return nil, err
			}
			o = market.Offer{Host: h}
		}
		out = append(out, candidate(o, rules, now))
	}
	return out, nil
}

// Lease gives the bargain of a lease that an object lies under.
func (m storageMarket) Lease(ctx context.Context, id uint64) (remote.Pair, error) {
	return m.b.market.Lease(ctx, id)
}

// candidate is an offer as placement sees it.
func candidate(o market.Offer, rules chain.HostRules, now int64) placement.Candidate {
	return placement.Candidate{
		Host: o.Host.Address, Owner: o.Host.Owner, Addrs: p2p.IPs(o.Peer.Addrs), Region: o.Host.Region,
		Prices: o.Quote.Prices, Free: int64(min(o.Free, 1<<62)), Measured: measured(o.Latency),
		Young: now-o.Host.RegisteredAt < rules.Young || o.Host.Bond < bondTarget(o.Host, rules),
	}
}

// measured turns the time of an answer into placement's figure: 1000 for at
// once, half of it for 100 ms.
func measured(latency time.Duration) int {
	return max(1, int(1000*100/(100+latency.Milliseconds())))
}
