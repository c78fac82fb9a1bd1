package steward

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/mandate"
	"hearth/core/money"
	"hearth/core/proof"
	"hearth/core/quote"
	"hearth/internal/durable"
	"hearth/market"
	"hearth/p2p"
	"hearth/storage/index"
)

// An Index is the client's list of what lies where.
type Index interface {
	PlacementsSince(ctx context.Context, seq int64, limit int) ([]index.Watched, error)
	Slab(ctx context.Context, id index.SlabID) (*index.PlacedSlab, error)
	BeginRepair() int64
	Repaired(ctx context.Context, upload int64, id index.SlabID, at map[int]index.Place) error
	// Discard has a shard removed from a host, unless it is wanted there.
	Discard(ctx context.Context, s index.Shard) (removed bool, err error)
}

// A Bank changes what stewards may do; the account's own key signs.
type Bank interface {
	// Entrust gives a key a mandate, and fees for its transactions.
	Entrust(ctx context.Context, m mandate.Mandate) error
	// Revoke ends a mandate.
	Revoke(ctx context.Context, key [32]byte) error
}

// A PatronConfig is what a Patron needs. A zero field takes its stated default.
type PatronConfig struct {
	Path    string // required: a file that remembers the stewards
	Account string // required
	Client  *Client
	Index   Index
	Bank    Bank
	Ledger  interface {
		Lease(ctx context.Context, id uint64) (lease.Lease, error)
		Host(ctx context.Context, address string) (chain.Host, error)
		Endpoints(ctx context.Context, h chain.Host) ([]string, error)
		Mandate(ctx context.Context, grantor string, key [32]byte) (mandate.Mandate, error)
	}
	Offers func(ctx context.Context) ([]market.Offer, error)
	// Read has a host give a piece of a shard, with proof.
	Read  func(ctx context.Context, at index.Place, root proof.Hash, size, off int64) error
	Local bool
	Every time.Duration // between two reports; default 1 min
	// Patience is how long a host may be silent at which a steward has put something,
	// before that is refused; default 1 h.
	Patience time.Duration
	Now      func() time.Time // default time.Now
	Log      *slog.Logger     // default: discard
}

// A Patron has stewards. Its methods are safe together.
type Patron struct {
	c PatronConfig

	mu    sync.Mutex // held while a steward is spoken with
	hired map[string]*Hired
	shown atomic.Pointer[[]Hired] // hired, by name, for who doesn't wait
	kick  chan struct{}
}

// Hired is one steward as its client sees it.
type Hired struct {
	Host    string       `json:"host"` // under which it is on the ledger
	Key     string       `json:"key"`  // hex; signs statements
	Since   int64        `json:"since"`
	Until   int64        `json:"until"`
	Cap     money.Amount `json:"cap"`
	Ceiling quote.Prices `json:"ceiling"`

	Told     int64    `json:"told"`     // up to which change of places
	Settled  uint64   `json:"settled"`  // up to which of its acts
	Again    []string `json:"again"`    // slabs to tell once more
	Taken    int64    `json:"taken"`    // shards taken over
	Bytes    int64    `json:"bytes"`    // of them
	Refused  int64    `json:"refused"`  // shards not taken over
	Heard    int64    `json:"heard"`    // unix second of its newest answer
	Slabs    uint64   `json:"slabs"`    // that it looks after
	Audits   uint64   `json:"audits"`   // since its start
	Trouble  string   `json:"trouble"`  // why it couldn't be spoken with
	Leaving  bool     `json:"leaving"`  // it is being dismissed
	Waiting  uint64   `json:"waiting"`  // an act that can't be judged yet
	From     int64    `json:"from"`     // unix second since when
	Complain string   `json:"complain"` // the newest reason for a refusal
}

// records is the file's form.
type records struct {
	Format int     `json:"format"`
	Hired  []Hired `json:"hired"`
}

// NewPatron opens what is remembered.
func NewPatron(c PatronConfig) (*Patron, error) {
	if c.Path == "" || c.Account == "" || c.Client == nil || c.Index == nil || c.Bank == nil || c.Ledger == nil || c.Offers == nil || c.Read == nil {
		return nil, errors.New("patron: Path, Account, Client, Index, Bank, Ledger, Offers and Read are needed")
	}
	if c.Every == 0 {
		c.Every = time.Minute
	}
	if c.Patience == 0 {
		c.Patience = time.Hour
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	p := &Patron{c: c, hired: map[string]*Hired{}, kick: make(chan struct{}, 1)}
	p.show()
	b, err := os.ReadFile(c.Path)
	if errors.Is(err, os.ErrNotExist) {
		return p, nil
	}
	var r records
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		return nil, fault.New(fault.DamagedFile, "read stewards: %w", err)
	}
	if r.Format != major {
		return nil, fault.New(fault.UnknownFormat, "read stewards: format %d, known is %d", r.Format, major)
	}
	for _, h := range r.Hired {
		p.hired[h.Host] = &h
	}
	p.show()
	return p, nil
}

// keep writes the stewards down. The caller holds mu.
func (p *Patron) keep() error {
	p.show()
	b, err := json.Marshal(records{Format: major, Hired: *p.shown.Load()})
	if err == nil {
		err = durable.Write(p.c.Path, b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep stewards: %w", err)
	}
	return nil
}

// List shows the stewards, also while one is spoken with that doesn't answer.
func (p *Patron) List() []Hired { return slices.Clone(*p.shown.Load()) }

// show has List tell what is known now. The caller holds mu.
func (p *Patron) show() {
	var out []Hired
	for _, host := range slices.Sorted(maps.Keys(p.hired)) {
		out = append(out, *p.hired[host])
	}
	p.shown.Store(&out)
}

// Limits are what a steward may spend.
type Limits struct {
	Cap     money.Amount // in 30 days
	Until   int64        // unix seconds
	Ceiling quote.Prices
}

func (p *Patron) peer(ctx context.Context, host string) (p2p.Peer, chain.Host, error) {
	h, err := p.c.Ledger.Host(ctx, host)
	if err != nil {
		return p2p.Peer{}, h, err
	}
	addrs, err := p.c.Ledger.Endpoints(ctx, h)
	return p2p.Peer{Key: h.PublicKey(), Addrs: addrs}, h, err
}

// Hire gives the steward at a host its mandate, and has it begin. One that is hired
// already gets the new limits.
func (p *Patron) Hire(ctx context.Context, host string, l Limits) (Hired, error) {
	peer, _, err := p.peer(ctx, host)
	if err != nil {
		return Hired{}, err
	}
	terms, err := p.c.Client.Terms(ctx, peer)
	if err != nil {
		return Hired{}, err
	}
	if terms.Account != host {
		return Hired{}, fault.New(fault.HostRefused, "hire steward %s: it calls itself %s", host, terms.Account)
	}
	m := mandate.Mandate{
		Grantor: p.c.Account, Key: terms.Key, Ops: mandate.Keep, Cap: l.Cap, Until: l.Until,
		Ceilings: map[quote.Kind]quote.Prices{quote.Storage: l.Ceiling},
	}
	if err := m.Check(p.c.Now().Unix()); err != nil {
		return Hired{}, err
	}
	if err := p.c.Bank.Entrust(ctx, m); err != nil {
		return Hired{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	known, err := p.c.Client.Hire(ctx, peer)
	if err != nil {
		return Hired{}, errors.Join(err, p.c.Bank.Revoke(ctx, terms.Key))
	}
	h := p.hired[host]
	if h == nil {
		h = &Hired{Host: host, Since: p.c.Now().Unix(), Told: known}
		p.hired[host] = h
	}
	h.Key, h.Until, h.Cap, h.Ceiling, h.Leaving = hex.EncodeToString(terms.Key[:]), l.Until, l.Cap, l.Ceiling, false
	p.wake()
	return *h, p.keep()
}

func (p *Patron) wake() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// Dismiss ends a steward's mandate, takes over what it did last, and has it forget
// the account. The first is what counts; the rest is done later if it doesn't answer.
func (p *Patron) Dismiss(ctx context.Context, host string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.hired[host]
	if h == nil {
		return fault.New(fault.NotFound, "dismiss steward: %s isn't hired", host)
	}
	key, err := hex.DecodeString(h.Key)
	if err != nil || len(key) != 32 {
		return fault.New(fault.DamagedFile, "dismiss steward %s: its key is %q", host, h.Key)
	}
	if err := p.c.Bank.Revoke(ctx, [32]byte(key)); err != nil && fault.CodeOf(err) != fault.MandateRefused && fault.CodeOf(err) != fault.NotFound {
		return err
	}
	h.Leaving = true
	if err := p.keep(); err != nil {
		return err
	}
	if err := p.tend(ctx, h); err != nil {
		p.c.Log.Info("dismissed steward doesn't answer", "steward", host, "err", err)
	}
	return nil
}

// Run tells the stewards what lies where and takes over what they did, until ctx ends.
func (p *Patron) Run(ctx context.Context) {
	for {
		p.Tend(ctx)
		select {
		case <-ctx.Done():
			return
		case <-p.kick:
		case <-time.After(p.c.Every):
		}
	}
}

// Tend speaks with every steward once.
func (p *Patron) Tend(ctx context.Context) {
	for _, one := range p.List() {
		p.mu.Lock()
		if h := p.hired[one.Host]; h != nil {
			err := p.tend(ctx, h)
			h.Trouble = ""
			if err != nil && ctx.Err() == nil {
				h.Trouble = err.Error()
				p.c.Log.Info("speak with steward", "steward", h.Host, "err", err)
			}
			p.show()
		}
		p.mu.Unlock()
		if ctx.Err() != nil {
			return
		}
	}
}

// tend speaks with one. The caller holds mu.
func (p *Patron) tend(ctx context.Context, h *Hired) error {
	peer, host, err := p.peer(ctx, h.Host)
	if err != nil {
		return err
	}
	if !h.Leaving {
		known, err := p.c.Client.Hire(ctx, peer) // it may have forgotten us
		if err != nil {
			return err
		}
		h.Told = known
	}
	// What it did comes first: it is told where shards lie after that.
	if err := p.takeOver(ctx, h, peer, host); err != nil {
		return err
	}
	if h.Leaving {
		if err := p.c.Client.Dismiss(ctx, peer); err != nil {
			return err
		}
		delete(p.hired, h.Host)
		return p.keep()
	}
	if err := p.tell(ctx, h, peer); err != nil {
		return err
	}
	h.Heard = p.c.Now().Unix()
	return p.keep()
}
