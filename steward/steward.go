package steward

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"hearth/core/fault"
	"hearth/core/mandate"
	"hearth/market"
	"hearth/p2p"
	"hearth/storage/repair"
	"hearth/wallet"
)

// A Net opens streams to peers.
type Net interface {
	Open(ctx context.Context, peer p2p.Peer, protocol string) (p2p.Stream, error)
	OpenBulk(ctx context.Context, peer p2p.Peer, protocol string) (p2p.Stream, error)
	Key() ed25519.PublicKey
}

// A Config is what a Steward needs. A zero field takes its stated default.
type Config struct {
	Dir      string           // required: holds its records and statements
	Account  string           // required: the node's own
	Owner    string           // of its hosts; default: the account
	Ledger   market.Ledger    // required
	Net      Net              // required
	Spending *wallet.Spending // required: acts for clients
	Local    bool             // a local cloud: placement looks at no addresses
	Rules    repair.Rules     // default repair.Defaults()
	Every    time.Duration    // between two looks at a client's hosts; default a 24th of Rules.Patience
	Clients  int              // default 256
	Slabs    int64            // of one client; default 1 M

	FS       vfs.FS                // of the records; default the operating system's
	Registry prometheus.Registerer // metrics go there; nil: nowhere
	Now      func() time.Time      // default time.Now
	Log      *slog.Logger          // default: discard
}

func (c *Config) complete() error {
	if c.Dir == "" || c.Account == "" || c.Ledger == nil || c.Net == nil || c.Spending == nil {
		return errors.New("steward: Dir, Account, Ledger, Net and Spending are needed")
	}
	if c.Owner == "" {
		c.Owner = c.Account
	}
	if c.Rules == (repair.Rules{}) {
		c.Rules = repair.Defaults()
	}
	if c.Every == 0 {
		c.Every = max(c.Rules.Patience/24, time.Second)
	}
	if c.Clients == 0 {
		c.Clients = 256
	}
	if c.Slabs == 0 {
		c.Slabs = 1 << 20
	}
	if c.FS == nil {
		c.FS = vfs.Default
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Steward looks after its clients' data. Its methods are safe together.
type Steward struct {
	c     Config
	store *store
	m     *metrics

	mu      sync.Mutex
	run     context.Context // nil before Run
	workers map[string]*worker
	done    sync.WaitGroup
	asked   int // requests under way

	requests sync.WaitGroup
}

// A worker is the goroutine that works for one client.
type worker struct {
	end   context.CancelFunc
	over  chan struct{}
	job   *job
	heard time.Time // when the client has spoken last
}

// New opens what was promised before. It works once Run is called.
func New(c Config) (*Steward, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	db, err := openStore(filepath.Join(c.Dir, "records"), c.FS)
	if err != nil {
		return nil, err
	}
	s := &Steward{c: c, store: db, m: newMetrics(), workers: make(map[string]*worker)}
	if c.Registry != nil {
		if err := c.Registry.Register(s.m); err != nil {
			return nil, errors.Join(fmt.Errorf("open steward: %w", err), db.close())
		}
	}
	return s, nil
}

// Run works for all clients until ctx ends.
func (s *Steward) Run(ctx context.Context) {
	list, err := s.store.contracts()
	if err != nil {
		s.c.Log.Error("read contracts", "err", err)
	}
	s.mu.Lock()
	s.run = ctx
	s.mu.Unlock()
	for _, c := range list {
		s.start(c.account)
	}
	<-ctx.Done()
	s.mu.Lock()
	s.run = nil
	s.mu.Unlock()
	s.done.Wait()
	s.requests.Wait()
}

// Close closes the records; Run has returned.
func (s *Steward) Close() error {
	if s.c.Registry != nil {
		s.c.Registry.Unregister(s.m)
	}
	return s.store.close()
}

// start begins to work for a client, unless that is being done.
func (s *Steward) start(account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run == nil || s.run.Err() != nil || s.workers[account] != nil {
		return
	}
	ctx, end := context.WithCancel(s.run)
	w := &worker{end: end, over: make(chan struct{}), job: &job{s: s, account: account}}
	s.workers[account] = w
	s.m.clients.Set(float64(len(s.workers)))
	s.done.Go(func() {
		defer close(w.over)
		w.job.run(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.workers[account] == w { // the client was forgotten, and may come again
			delete(s.workers, account)
			s.m.clients.Set(float64(len(s.workers)))
		}
	})
}

// stop ends the work for a client and waits for it.
func (s *Steward) stop(account string) {
	s.mu.Lock()
	w := s.workers[account]
	delete(s.workers, account)
	s.m.clients.Set(float64(len(s.workers)))
	s.mu.Unlock()
	if w != nil {
		w.end()
		<-w.over
	}
}

func (s *Steward) count(account string) repair.Count {
	s.mu.Lock()
	w := s.workers[account]
	s.mu.Unlock()
	if w == nil {
		return repair.Count{}
	}
	return w.job.count()
}

// mandate is what an account lets this steward do now.
func (s *Steward) mandate(ctx context.Context, account string) (mandate.Mandate, error) {
	m, err := s.c.Ledger.Mandate(ctx, account, [32]byte(s.c.Spending.Public()))
	if fault.CodeOf(err) == fault.NotFound {
		return m, fault.New(fault.MandateRefused, "%s has given this steward no mandate", account)
	}
	if err != nil {
		return m, err
	}
	return m, m.May(mandate.Keep, s.c.Now().Unix())
}
