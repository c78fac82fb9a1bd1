package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"hearth/chain"
	compute "hearth/compute/host"
	machines "hearth/compute/instance/host"
	"hearth/compute/throttle"
	"hearth/compute/wasm"
	"hearth/core/fault"
	"hearth/core/proof"
	"hearth/core/quote"
	"hearth/internal/owner"
	"hearth/market"
	"hearth/storage/host"
	"hearth/storage/host/prover"
)

// selling is the host role of a node.
type selling struct {
	n          *Node
	market     *market.Host
	store      *host.Host
	fees       *fees
	door       *host.Server
	prover     *prover.Prover
	engine     *wasm.Engine    // nil: functions aren't sold
	calls      *compute.Server // of them
	machines   *machines.Host  // nil: none are rented out
	noMachines error           // why not
	class      *class
	group      *throttle.Group // holds back what is computed for others; nil: nothing can here
	// what the ledger has paid
	earnings *earnings
	figures  hostFigures
	log      *slog.Logger
	ruined   chan struct{} // a shard was found to be damaged since the prover looked

	setting sync.Mutex // one change of the settings at a time

	mu       sync.Mutex
	pending  error // why the ledger's record isn't what it should be yet; nil: it is
	known    bool  // the ledger has had a record of this host in this run
	limits   limits
	watch    owner.Watch     // whether somebody uses the machine, where that matters
	looked   time.Time       // for it, last
	pace     string          // of what is computed for others, as it was told last
	bound    uint64          // thousandths of a core that it has together, as the group was told last; 0: all
	said     map[string]bool // all endpoints that this run has told, see elsewhere
	told     []string        // the endpoints in the record
	toldWhen time.Time
}

const (
	registerFirst = 20 * time.Second
	registerAgain = 5 * time.Second // doubled with each failure, up to a look
	lookAtRecord  = time.Minute
	recordFresh   = time.Hour
)

// startSelling opens what the host holds, takes requests, and tells the ledger
// where it answers. Where no ledger node answers it serves what it holds, and
// goes on trying.
func startSelling(ctx context.Context, n *Node) (*selling, error) {
	s := &selling{n: n, log: n.log, said: map[string]bool{}, ruined: make(chan struct{}, 1), limits: n.terms.limits, pending: errors.New("the ledger hasn't been asked yet")}
	s.fees = &fees{ledger: n.ledger, account: n.keys.Account(), kept: filepath.Join(n.dir, "data", "sponsor"), log: n.log}
	dir := filepath.Join(n.dir, "data")
	var err error
	s.store, err = host.Open(host.Config{
		Dir: filepath.Join(dir, "shards"), Capacity: int64(n.terms.capacity), PendingTTL: n.terms.pendingFor,
		Posted: true, Trash: n.terms.trashFor, ScrubEvery: n.terms.scrubEvery, Damaged: s.damaged, Registry: n.metrics, Log: n.log,
	})
	if err != nil {
		return nil, err
	}
	if s.earnings, err = openEarnings(filepath.Join(dir, "earnings"), n.ledger.Lease, n.log); err != nil {
		return nil, errors.Join(err, s.store.Close())
	}
	streets := map[quote.Kind]market.Street{quote.Storage: storageStreet{s.store, s}}
	prices := map[quote.Kind]quote.Prices{quote.Storage: n.terms.price}
	s.class = newClass(ctx, n)
	if n.terms.machines || n.terms.functions {
		s.group = openGroup(n.dir)
	}
	if n.terms.machines {
		if s.machines, s.noMachines = s.openMachines(ctx); s.noMachines != nil {
			s.log.Warn("no machines are rented out", "err", s.noMachines)
		}
	}
	if n.terms.functions || s.machines != nil {
		price := n.terms.functionPrice
		if s.machines != nil {
			price.Unit = n.terms.machinePrice
		}
		streets[quote.Compute], prices[quote.Compute] = computeStreet{s, s.machines}, price
	}
	s.market, err = market.NewHost(market.HostConfig{
		Dir: filepath.Join(dir, "market"), Ledger: payingLedger{n.memory, s.fees}, Account: n.keys.Account(), Key: n.keys.Node(),
		Prices: prices, Streets: streets, Machine: s.class.bytes, SettleEvery: n.terms.settleEvery, Log: n.log,
	})
	if err != nil {
		return nil, errors.Join(err, s.earnings.close(), s.store.Close())
	}
	fail := func(err error) (*selling, error) { return nil, errors.Join(err, s.close()) }
	if err := s.market.Reconcile(ctx); err != nil {
		return fail(err)
	}
	s.door, err = host.NewServer(host.ServerConfig{Host: s.store, Meter: s.market, Leases: s.market, Clients: s.market, ChainID: n.ledger.ChainID(), Log: n.log})
	if err != nil {
		return fail(err)
	}
	if s.prover, err = s.newProver(); err != nil {
		return fail(err)
	}
	first, cancel := context.WithTimeout(ctx, registerFirst)
	defer cancel()
	err = s.register(first)
	switch code := fault.CodeOf(err); {
	case code == fault.Exists || code == fault.MachineTooWeak:
		return fail(err)
	case err != nil:
		s.log.Warn("serve without a record on the ledger", "err", err)
	}
	n.net.Handle(market.Protocol, s.market.Serve)
	s.govern()
	if err := n.metrics.Register(&s.figures); err != nil {
		return fail(err)
	}
	n.net.Handle(host.Protocol, s.door.Serve)
	if n.terms.functions {
		if err := s.sellFunctions(); err != nil {
			return fail(err)
		}
	}
	if s.machines != nil {
		s.machines.Hold(ctx)
		n.net.Handle(machines.Protocol, s.machines.Serve)
	}
	return s, nil
}

// roles are those that the ledger names.
func (s *selling) roles() uint32 {
	roles := chain.RoleStorage
	if s.n.terms.functions || s.machines != nil {
		roles |= chain.RoleCompute
	}
	if s.n.terms.steward {
		roles |= chain.RoleSteward
	}
	return roles
}

// register makes the ledger's record of this host what it should be, and
// remembers how that went.
func (s *selling) register(ctx context.Context) error {
	endpoints := s.n.net.Addrs()
	s.mu.Lock()
	s.said[strings.Join(endpoints, " ")] = true
	s.mu.Unlock()
	err := s.tell(ctx, endpoints)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = err
	if err == nil {
		s.known, s.told, s.toldWhen = true, endpoints, time.Now()
	}
	return err
}

// registered says why this host isn't on the ledger as it should be, nil if it is.
func (s *selling) registered() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pending
}

// tell writes the record where it differs.
func (s *selling) tell(ctx context.Context, endpoints []string) error {
	want := chain.HostTerms{
		Roles: s.roles(), Region: s.n.settings.Host.Region, Endpoints: endpoints,
		Hardware: chain.Hardware{CPUMilli: uint32(runtime.NumCPU() * 1000), DiskBytes: s.n.terms.capacity},
	}
	s.mu.Lock()
	known := s.known
	s.mu.Unlock()
	address := s.n.address()
	have, err := s.n.ledger.Host(ctx, address)
	var msg proto.Message
	switch {
	case fault.CodeOf(err) == fault.NotFound && known:
		return nil // it has left: that is its owner's wish, until the next start
	case fault.CodeOf(err) == fault.NotFound:
		rules, err := s.n.ledger.HostRules(ctx)
		if err != nil {
			return fmt.Errorf("register host: %w", err)
		}
		if err := s.class.admits(rules.Least); err != nil {
			return fmt.Errorf("register host: %w", err)
		}
		owner := s.n.settings.Host.Owner
		if owner == "" {
			owner = address
		}
		key := [32]byte(s.n.keys.Node().Public().(ed25519.PublicKey))
		sig := ed25519.Sign(s.n.keys.Node(), chain.HostKeyDigest(s.n.ledger.ChainID(), address))
		msg = chain.RegisterHost(address, owner, key, sig, want)
	case err != nil:
		return err
	case !slices.Equal(have.Key[:], s.n.net.Key()):
		return fault.New(fault.Exists, "register host %s: the ledger knows it with another machine's key; one account is one host", address)
	case have.EndpointsHash == chain.EndpointsHash(endpoints) && have.Roles == want.Roles && have.Region == want.Region && have.Hardware == want.Hardware:
		return nil
	default:
		msg = chain.UpdateHost(address, want)
	}
	if _, err := s.fees.Send(ctx, msg); err != nil {
		return fmt.Errorf("register host: %w", err)
	}
	s.n.news.tell("info", "registered", "the ledger says that this host answers at %s", strings.Join(endpoints, ", "))
	return nil
}

// stayRegistered repairs the ledger's record until ctx ends: after a start
// without the ledger, and when this machine is reached elsewhere. An address has
// to last from one look to the next before it is told.
func (s *selling) stayRegistered(ctx context.Context) {
	wait, seen := registerAgain, s.n.net.Addrs()
	if s.registered() == nil {
		wait = lookAtRecord
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		s.mu.Lock()
		pending, told, age := s.pending, s.told, time.Since(s.toldWhen)
		s.mu.Unlock()
		now := s.n.net.Addrs()
		moved := !slices.Equal(now, told) && slices.Equal(now, seen)
		seen = now
		if pending == nil && !moved && age < recordFresh {
			wait = lookAtRecord
			continue
		}
		err := s.register(ctx)
		if err == nil {
			wait = lookAtRecord
			continue
		}
		if ctx.Err() == nil {
			s.log.Warn("tell the ledger where this host answers", "err", err)
		}
		wait = min(2*max(wait, registerAgain), lookAtRecord)
	}
}

// run settles on schedule, and keeps the host findable.
func (s *selling) run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { s.stayRegistered(ctx) })
	wg.Go(func() { s.keepHours(ctx) })
	wg.Go(func() { s.earnings.run(ctx) })
	wg.Go(func() { s.class.run(ctx) })
	wg.Go(func() { s.watchFigures(ctx) })
	wg.Go(func() { s.prover.Run(ctx) })
	wg.Go(func() { s.declareSoon(ctx) })
	if s.machines != nil {
		wg.Go(func() { s.machines.Run(ctx) })
	}
	s.market.Run(ctx)
	wg.Wait()
}

// stop settles a last time and closes what is held.
func (s *selling) stop(ctx context.Context) error {
	if _, err := s.market.Settle(ctx); err != nil {
		s.log.Warn("settle before the end", "err", err)
	}
	return s.close()
}

func (s *selling) close() error {
	var err error
	if s.engine != nil {
		err = s.engine.Close()
	}
	s.group.Close()
	return errors.Join(err, s.market.Close(), s.earnings.close(), s.store.Close())
}

// storageStreet shows the market what the store can answer for.
type storageStreet struct {
	*host.Host
	s *selling
}

// Free is how many bytes of shards fit; a paused host has no room.
func (s storageStreet) Free() uint64 {
	if s.s.allowed().Paused {
		return 0
	}
	return s.Host.Free()
}

// declareSoon has the prover look when a shard was found to be damaged: what is to
// be declared is declared now, not when the prover looks next.
func (s *selling) declareSoon(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.ruined:
			s.prover.Look()
		}
	}
}

// damaged tells people, and the prover, of a shard that can't be read any more.
// The store may call it before there is a prover.
func (s *selling) damaged(lease uint64, root proof.Hash) {
	select {
	case s.ruined <- struct{}{}:
	default:
	}
	s.n.news.tell("error", "damaged_shard", "a shard of lease %d is damaged (%x): look after the disk", lease, root[:8])
}

// age of the last settlement, for people.
func ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return time.Since(t).Round(time.Second).String() + " ago"
}
