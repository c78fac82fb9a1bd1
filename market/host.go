package market

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/quote"
)

// A Street is what the host's market asks of the service that is sold: whether
// what a client wants signed is true, and to make it so once it is signed.
type Street interface {
	// Free is how much more could be reserved, in the kind's first unit.
	Free() uint64
	// Covers says whether a change to these units and this root is staged.
	Covers(lease uint64, units quote.Units, root [32]byte) error
	// Commit makes the staged change the truth: a statement covers it now. To
	// commit again changes nothing.
	Commit(lease uint64, units quote.Units, root [32]byte) error
	// Reconcile settles after a crash whether a staged change took effect: root is
	// the one of the newest statement.
	Reconcile(lease uint64, root [32]byte) error
	// Drop frees all that a lease reserved.
	Drop(lease uint64) error
}

// A HostConfig is what a Host needs.
type HostConfig struct {
	Dir     string // required; holds the statements
	Ledger  Ledger
	Account chain.Signer       // the machine's account: posts and settles
	Key     ed25519.PrivateKey // signs quotes and statements
	Prices  map[quote.Kind]quote.Prices
	Streets map[quote.Kind]Street
	// Machine is core/machine's signed encoding of what this machine can do, told beside
	// quotes of the kind compute; nil from it: nothing is told. Default: nothing.
	Machine  func() []byte
	QuoteFor time.Duration // how long a quote holds; default 30 min
	// SettleEvery is the pause between settlements; default 24 h.
	SettleEvery time.Duration
	// Lapse is how long data is kept whose run time is over: then the host gives
	// notice. Default 7 days.
	Lapse time.Duration
	Log   *slog.Logger // default: discard

	clock func() time.Time // tests set it
}

// Host is the selling side of one node. Its methods are safe together.
type Host struct {
	c     HostConfig
	j     *journal
	rules rules

	settling sync.Mutex    // one settlement at a time
	wake     chan struct{} // something is in looks
	began    int64         // when this run of it did

	mu          sync.Mutex // guards what follows
	bargains    map[uint64]*bargain
	mandates    map[mandateKey]cachedMandate
	mandateTurn uint64          // counts changes, so that an old answer isn't kept
	looks       map[uint64]bool // leases to look at on the ledger, see look
	posted      time.Time       // of the last settlement
}

// NewHost opens the statements.
func NewHost(c HostConfig) (*Host, error) {
	if c.Dir == "" || c.Ledger == nil || c.Account == nil || len(c.Key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("market host: Dir, Ledger, Account and Key are needed")
	}
	if c.QuoteFor == 0 {
		c.QuoteFor = 30 * time.Minute
	}
	if c.SettleEvery == 0 {
		c.SettleEvery = 24 * time.Hour
	}
	if c.Lapse == 0 {
		c.Lapse = 7 * 24 * time.Hour
	}
	if c.Machine == nil {
		c.Machine = func() []byte { return nil }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.clock == nil {
		c.clock = time.Now
	}
	j, err := openJournal(filepath.Join(c.Dir, "sold.journal"))
	if err != nil {
		return nil, err
	}
	return &Host{
		c: c, j: j, rules: rules{ledger: c.Ledger}, wake: make(chan struct{}, 1), began: c.clock().Unix(),
		bargains: map[uint64]*bargain{}, mandates: map[mandateKey]cachedMandate{}, looks: map[uint64]bool{},
	}, nil
}

func (h *Host) now() int64 { return h.c.clock().Unix() }

// Reconcile tells the streets, once at start, which staged changes took effect,
// and ends leases that closed in the meantime. Without the ledger it goes by the
// statements alone; Run looks at the leases when the ledger answers again.
func (h *Host) Reconcile(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	var down atomic.Bool
	for _, id := range h.j.leases() {
		g.Go(func() error {
			if down.Load() {
				h.reconcileAlone(id)
				return nil
			}
			b, err := h.bargain(ctx, id)
			switch code := fault.CodeOf(err); {
			case code == fault.NoLease:
				if err := h.vanished(ctx, id); err != nil {
					h.c.Log.Warn("reconcile", "lease", id, "err", err)
					h.look(id)
				}
				return nil
			case code == fault.LedgerDown:
				h.c.Log.Warn("reconcile without the ledger", "err", err)
				down.Store(true)
				h.reconcileAlone(id)
				return nil
			case err != nil:
				return err
			}
			l := b.terms()
			if l.State == lease.Closed {
				h.end(id, h.c.Streets[l.Kind])
				return nil
			}
			h.look(id) // it may have begun to close
			if s, ok := h.c.Streets[l.Kind]; ok {
				err := s.Reconcile(id, h.j.get(id).Newest.Root)
				if l.Kind == quote.Compute && fault.CodeOf(err) == fault.DamagedFile {
					// What ran here is lost with its list; its client sees that, and signs it off.
					h.c.Log.Error("what is reserved under a lease isn't known here any more", "lease", id, "err", err)
					return nil
				}
				if err != nil {
					return fmt.Errorf("reconcile lease %d: %w", id, err)
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// reconcileAlone reconciles a lease of which only the statements are known. A
// street that can't has dropped it, because it is closed, or will say so when asked.
func (h *Host) reconcileAlone(id uint64) {
	h.look(id)
	for kind, s := range h.c.Streets {
		if err := s.Reconcile(id, h.j.get(id).Newest.Root); err != nil {
			h.c.Log.Warn("reconcile without the ledger", "lease", id, "kind", kind, "err", err)
		}
	}
}

// Quote is the host's signed price list for a kind, and the room it has.
func (h *Host) Quote(kind quote.Kind) (quote.Signed, uint64, error) {
	prices, ok := h.c.Prices[kind]
	street, sold := h.c.Streets[kind]
	if !ok || !sold {
		return quote.Signed{}, 0, fault.New(fault.HostRefused, "quote %s: this host doesn't sell it", kind)
	}
	q := quote.Quote{
		ChainID: h.c.Ledger.ChainID(), Host: h.c.Account.Address(), Kind: kind, Prices: prices,
		ValidUntil: h.c.clock().Add(h.c.QuoteFor).Unix(),
	}
	return q.Sign(h.c.Key), street.Free(), nil
}

// Changed takes what a block tells of a lease. That is one ledger node's word: it
// only says that the record is worth reading, with its proof.
func (h *Host) Changed(l lease.Lease) {
	if l.Host != h.c.Account.Address() {
		return
	}
	if b := h.known(l.ID); b != nil {
		b.hear(l)
	}
	if l.State == lease.Closing || l.State == lease.Closed {
		h.look(l.ID)
	}
}

// end forgets a closed lease. Its data goes once the ledger has paid.
func (h *Host) end(id uint64, s Street) {
	h.mu.Lock()
	delete(h.bargains, id)
	h.mu.Unlock()
	streets := map[quote.Kind]Street{0: s}
	if s == nil {
		streets = h.c.Streets // gone from the ledger: whichever street had it
	}
	for _, s := range streets {
		if err := s.Drop(id); err != nil {
			h.c.Log.Warn("drop lease", "lease", id, "err", err)
			return
		}
	}
	if err := h.j.forget(id); err != nil {
		h.c.Log.Warn("forget lease", "lease", id, "err", err)
	}
}

// vanished ends a lease that the ledger doesn't show any more. One that can't
// have been pruned yet is kept: what was read is then older than the lease.
func (h *Host) vanished(ctx context.Context, id uint64) error {
	params, err := h.rules.get(ctx)
	if err != nil {
		return err
	}
	if s := h.j.get(id).Newest; s.Seq > 0 && s.AsOf+params.PruneTime > h.now() {
		return fault.New(fault.LedgerLies, "lease %d: the ledger shows none, yet it was in use %d s ago", id, h.now()-s.AsOf)
	}
	h.end(id, nil)
	return nil
}

// Close makes what was metered durable and closes the statements.
func (h *Host) Close() error {
	h.mu.Lock()
	bargains := h.bargains
	h.bargains = map[uint64]*bargain{}
	h.mu.Unlock()
	var entries []*entry
	for id, b := range bargains {
		rec, kept := b.record(), h.j.get(id)
		if rec.Newest.Seq > 0 && rec.Use != kept.Use {
			entries = append(entries, &entry{lease: id, rec: rec, done: make(chan error, 1)})
		}
	}
	if err := h.j.put(entries...); err != nil {
		h.c.Log.Warn("keep what was metered", "err", err)
	}
	return h.j.close()
}
