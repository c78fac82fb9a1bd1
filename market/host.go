package market

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/mandate"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"
)

// A Street is what the host's market asks of the service that is sold: whether
// what a client wants signed is true, and to make it so once it is signed.
type Street interface {
	// Free is how much more could be reserved, in the kind's first unit.
	Free() uint64
	// Covers says whether a change to these units and this root is staged.
	Covers(lease uint64, units uint64, root [32]byte) error
	// Commit makes the staged change the truth: a statement covers it now.
	Commit(lease uint64, units uint64, root [32]byte) error
	// Reconcile settles after a crash whether a staged change took effect: root is
	// the one of the newest statement.
	Reconcile(lease uint64, root [32]byte) error
	// Drop frees all that a lease reserved.
	Drop(lease uint64) error
}

// A HostConfig is what a Host needs.
type HostConfig struct {
	Dir      string // required; holds the statements
	Ledger   Ledger
	Account  chain.Signer       // the machine's account: posts and settles
	Key      ed25519.PrivateKey // signs quotes and statements
	Prices   map[quote.Kind]quote.Prices
	Streets  map[quote.Kind]Street
	QuoteFor time.Duration // how long a quote holds; default 30 min
	// SettleEvery is the pause between settlements; default 24 h.
	SettleEvery time.Duration
	Log         *slog.Logger // default: discard
}

// Host is the selling side of one node.
type Host struct {
	c     HostConfig
	j     *journal
	rules rules

	mu       sync.Mutex // guards what follows
	bargains map[uint64]*bargain
	mandates map[mandateKey]cachedMandate
	posted   time.Time // of the last settlement
}

type mandateKey struct {
	grantor string
	key     [32]byte
}

type cachedMandate struct {
	mandate mandate.Mandate
	err     error
	at      time.Time
}

// bargain is one lease as the host sees it.
type bargain struct {
	mu   sync.Mutex // held during one exchange
	read time.Time  // when lease was read; guarded by mu

	count   sync.Mutex  // guards what follows; never held while waiting
	lease   lease.Lease // written with mu held as well
	rec     Record
	covered chan struct{} // closed and replaced when more is paid
}

// terms is the lease as it was last read.
func (b *bargain) terms() lease.Lease {
	b.count.Lock()
	defer b.count.Unlock()
	return b.lease
}

// learn takes the ledger's newer record. The caller holds b.mu.
func (b *bargain) learn(l lease.Lease) {
	b.count.Lock()
	defer b.count.Unlock()
	b.lease, b.read = l, time.Now()
}

// NewHost opens the statements and brings the streets to what they say.
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
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	j, err := openJournal(filepath.Join(c.Dir, "sold.journal"))
	if err != nil {
		return nil, err
	}
	h := &Host{c: c, j: j, rules: rules{ledger: c.Ledger}, bargains: map[uint64]*bargain{}, mandates: map[mandateKey]cachedMandate{}}
	return h, nil
}

// Reconcile tells the streets, once at start, which staged changes took effect.
func (h *Host) Reconcile(ctx context.Context) error {
	for _, id := range h.j.leases() {
		b, err := h.bargain(ctx, id)
		if fault.CodeOf(err) == fault.NoLease {
			h.end(id, nil)
			continue
		}
		if err != nil {
			return err
		}
		if s, ok := h.c.Streets[b.terms().Kind]; ok {
			if err := s.Reconcile(id, h.j.get(id).Newest.Root); err != nil {
				return fmt.Errorf("reconcile lease %d: %w", id, err)
			}
		}
	}
	return nil
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
		ValidUntil: time.Now().Add(h.c.QuoteFor).Unix(),
	}
	return q.Sign(h.c.Key), street.Free(), nil
}

// bargain finds the lease among those known, or on the ledger.
func (h *Host) bargain(ctx context.Context, id uint64) (*bargain, error) {
	h.mu.Lock()
	b := h.bargains[id]
	h.mu.Unlock()
	if b != nil {
		return b, nil
	}
	l, err := h.c.Ledger.Lease(ctx, id)
	if err != nil {
		return nil, err
	}
	if l.Host != h.c.Account.Address() {
		return nil, fault.New(fault.NoLease, "lease %d is another host's", id)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if b = h.bargains[id]; b == nil {
		b = &bargain{lease: l, read: time.Now(), rec: h.j.get(id), covered: make(chan struct{})}
		b.rec.Newest.ChainID, b.rec.Newest.Lease = h.c.Ledger.ChainID(), id
		h.bargains[id] = b
	}
	return b, nil
}

// refresh reads the lease again, at most about once a block. The caller holds b.mu.
func (h *Host) refresh(ctx context.Context, b *bargain) error {
	if time.Since(b.read) < 300*time.Millisecond {
		return nil
	}
	l, err := h.c.Ledger.Lease(ctx, b.lease.ID)
	if err == nil {
		b.learn(l)
	}
	return err
}

// Changed takes a lease's new record as the blocks tell it.
func (h *Host) Changed(l lease.Lease) {
	h.mu.Lock()
	b := h.bargains[l.ID]
	h.mu.Unlock()
	if l.Host != h.c.Account.Address() {
		return
	}
	if l.State == lease.Closed {
		h.end(l.ID, h.c.Streets[l.Kind])
		return
	}
	if b != nil {
		b.mu.Lock()
		b.learn(l)
		b.mu.Unlock()
	}
}

// MandateChanged forgets what was known about a client's keys.
func (h *Host) MandateChanged(grantor string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for k := range h.mandates {
		if k.grantor == grantor {
			delete(h.mandates, k)
		}
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

// Allowed says whether key may act for the lease's client.
func (h *Host) Allowed(ctx context.Context, id uint64, key ed25519.PublicKey) error {
	b, err := h.bargain(ctx, id)
	if err != nil {
		return err
	}
	return h.allowed(ctx, b.terms().Client, key)
}

const (
	mandateFresh = 5 * time.Minute // a revocation reaches us by its event before that
	refusalFresh = time.Second
)

func (h *Host) allowed(ctx context.Context, client string, key ed25519.PublicKey) error {
	if len(key) != ed25519.PublicKeySize {
		return fault.New(fault.BadSignature, "key of %d bytes", len(key))
	}
	k := mandateKey{client, [32]byte(key)}
	h.mu.Lock()
	c, ok := h.mandates[k]
	h.mu.Unlock()
	fresh := mandateFresh
	if c.err != nil {
		fresh = refusalFresh
	}
	if !ok || time.Since(c.at) > fresh {
		c.mandate, c.err = h.c.Ledger.Mandate(ctx, client, k.key)
		c.at = time.Now()
		if code := fault.CodeOf(c.err); c.err == nil || code == fault.MandateRefused || code == fault.NotFound {
			h.mu.Lock()
			h.mandates[k] = c
			h.mu.Unlock()
		}
	}
	if c.err != nil {
		return c.err
	}
	return c.mandate.May(mandate.Sign, time.Now().Unix())
}

// Take counts traffic of a lease that is about to flow. It refuses what hasn't
// been paid ahead, and then counts nothing.
func (h *Host) Take(id, in, out uint64) error {
	h.mu.Lock()
	b := h.bargains[id]
	h.mu.Unlock()
	if b == nil {
		return fault.New(fault.NoLease, "take traffic: lease %d isn't known here", id)
	}
	b.count.Lock()
	defer b.count.Unlock()
	owed := money.AddCap(b.rec.Rent, b.lease.PricesAt(b.rec.Newest.AsOf).Traffic(b.rec.In+in, b.rec.Out+out))
	if owed > b.rec.Newest.Total {
		return fault.New(fault.Unpaid, "take traffic: lease %d owes %d uember with it, %d are signed", id, owed, b.rec.Newest.Total)
	}
	b.rec.In += in
	b.rec.Out += out
	return nil
}

// Covered gives a channel that is closed when more is paid on a lease: who was
// refused by Take may wait for it.
func (h *Host) Covered(id uint64) <-chan struct{} {
	h.mu.Lock()
	b := h.bargains[id]
	h.mu.Unlock()
	if b == nil {
		closed := make(chan struct{})
		close(closed)
		return closed
	}
	b.count.Lock()
	defer b.count.Unlock()
	return b.covered
}

// Accept checks a client's statement, makes it durable, signs it where the host
// has to, and lets the street commit. It gives the newest statement, also with
// the error Stale.
func (h *Host) Accept(ctx context.Context, s statement.Signed) (statement.Signed, error) {
	b, err := h.bargain(ctx, s.Lease)
	if err != nil {
		return statement.Signed{}, err
	}
	if err := s.CheckClient(h.c.Ledger.ChainID()); err != nil {
		return statement.Signed{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := h.allowed(ctx, b.lease.Client, s.ClientKey); err != nil {
		return statement.Signed{}, err
	}
	b.count.Lock()
	rec := b.rec
	b.count.Unlock()
	if err := h.judge(ctx, b, rec.Newest.Statement, s.Statement); err != nil {
		return rec.Newest, err
	}
	street := h.c.Streets[b.lease.Kind]
	changes := rec.Newest.Changes(s.Statement)
	s.HostSig = nil
	if changes {
		if street == nil {
			return rec.Newest, fault.New(fault.HostRefused, "statement %d of lease %d: %s isn't sold here", s.Seq, s.Lease, b.lease.Kind)
		}
		if err := street.Covers(s.Lease, s.Units[0], s.Root); err != nil {
			return rec.Newest, err
		}
		s = s.SignHost(h.c.Key)
	}
	rent := money.Amount(0)
	if s.AsOf > rec.Newest.AsOf {
		rent = rec.Newest.Rent(b.lease.PricesAt(rec.Newest.AsOf), s.AsOf)
	}
	return s, h.commit(b, s, rent, changes, street)
}

// judge applies the rules. A refusal for want of money looks at the ledger again
// first: the client may have funded the lease a moment ago.
func (h *Host) judge(ctx context.Context, b *bargain, prev, next statement.Statement) error {
	params, err := h.rules.get(ctx)
	if err != nil {
		return err
	}
	for again := false; ; again = true {
		now := time.Now().Unix()
		err := prev.Follow(next, b.lease.PricesAt(prev.AsOf), b.lease.Funded(), now)
		if err == nil {
			err = h.affords(b.lease, prev, next, now, params)
		}
		code := fault.CodeOf(err)
		if err == nil || again || code != fault.NoFunds && code != fault.LeaseLow {
			return err
		}
		if rerr := h.refresh(ctx, b); rerr != nil {
			return rerr
		}
	}
}

// affords says whether the lease can take next: it isn't ending, it runs no
// further ahead than can be posted, and new data leaves its reserve whole.
func (h *Host) affords(l lease.Lease, prev, next statement.Statement, now int64, p lease.Params) error {
	switch {
	case l.State == lease.Closed || l.State == lease.Closing && l.ClosedAt <= now:
		return fault.New(fault.LeaseClosed, "statement %d of lease %d: it is %s", next.Seq, l.ID, l.State)
	case next.RunsUntil > now+p.MaxRun:
		return fault.New(fault.BadStatement, "statement %d of lease %d: it runs %d s ahead, at most %d can be posted", next.Seq, l.ID, next.RunsUntil-now, p.MaxRun)
	case next.Units[0] <= prev.Units[0]:
		return nil
	}
	l.State, l.Seq = lease.Open, 0
	after, err := l.Post(next, now, p)
	if err != nil {
		return err
	}
	if after.State == lease.Low {
		return fault.New(fault.LeaseLow, "statement %d of lease %d: %d uember would be left, the reserve for its data is %d", next.Seq, l.ID, after.Free(now), after.Reserve(p))
	}
	return nil
}

// commit makes s durable before anything is done on the strength of it.
func (h *Host) commit(b *bargain, s statement.Signed, rent money.Amount, changes bool, street Street) error {
	b.count.Lock()
	rec := b.rec
	rec.Newest, rec.Rent = s, rec.Rent+rent
	b.count.Unlock()
	if err := h.j.append(s.Lease, rec); err != nil {
		return err
	}
	if changes {
		if err := street.Commit(s.Lease, s.Units[0], s.Root); err != nil {
			// The statement stands and the staged change is durable: Reconcile at the
			// next start carries it out.
			h.c.Log.Error("commit change", "lease", s.Lease, "err", err)
		}
	}
	b.count.Lock()
	b.rec.Newest, b.rec.Rent = s, rec.Rent
	close(b.covered)
	b.covered = make(chan struct{})
	b.count.Unlock()
	return nil
}

// Close makes the metered traffic durable and closes the statements.
func (h *Host) Close() error {
	h.mu.Lock()
	bargains := h.bargains
	h.bargains = map[uint64]*bargain{}
	h.mu.Unlock()
	for id, b := range bargains {
		b.count.Lock()
		rec := b.rec
		b.count.Unlock()
		if rec.Newest.Seq == 0 {
			continue
		}
		if err := h.j.append(id, rec); err != nil {
			h.c.Log.Warn("keep metered traffic", "lease", id, "err", err)
		}
	}
	return h.j.close()
}
