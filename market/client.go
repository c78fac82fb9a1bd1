package market

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/p2p"
)

// A Dialer opens streams to peers.
type Dialer interface {
	Open(ctx context.Context, peer p2p.Peer, protocol string) (p2p.Stream, error)
	Key() ed25519.PublicKey
}

// A ClientConfig is what a Client needs.
type ClientConfig struct {
	Dir      string // required; holds the statements
	Ledger   Ledger
	Dialer   Dialer
	Account  string             // whose purse pays
	Key      ed25519.PrivateKey // the device's spending key: signs statements under a mandate of Account
	Signer   chain.Signer       // the same key's account on the ledger
	Others   bool               // who is somebody else may sign with Key too, and their traffic is no host's lie
	Ceilings map[quote.Kind]quote.Prices
	PricesIn time.Duration // for how long prices are frozen; default 30 days
	// Holds is asked before the time of what a lease reserves is signed on, so far ahead:
	// whether its host has it still, and runs it. Default: that is taken for granted.
	Holds func(ctx context.Context, p *Pair, ahead time.Duration) error
	Log   *slog.Logger // default: discard

	clock func() time.Time // tests set it
}

// Client is the buying side of one node. Its methods are safe together.
type Client struct {
	c     ClientConfig
	j     *journal
	rules rules

	opening sync.Mutex // one opening at a time, so that no lease is opened twice
	asking  sync.Mutex // one round of questions at a time

	mu     sync.Mutex // guards what follows
	pairs  map[uint64]*Pair
	offers map[quote.Kind]offered
	ended  map[uint64]bool // closed, by a block's word
	closed bool
}

// NewClient opens what was signed before.
func NewClient(c ClientConfig) (*Client, error) {
	if c.Dir == "" || c.Ledger == nil || c.Dialer == nil || c.Account == "" || len(c.Key) != ed25519.PrivateKeySize || c.Signer == nil {
		return nil, fmt.Errorf("market client: Dir, Ledger, Dialer, Account, Key and Signer are needed")
	}
	if c.PricesIn == 0 {
		c.PricesIn = 30 * 24 * time.Hour
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.clock == nil {
		c.clock = time.Now
	}
	if c.Holds == nil {
		c.Holds = func(context.Context, *Pair, time.Duration) error { return nil }
	}
	j, err := openJournal(filepath.Join(c.Dir, "bought.journal"))
	if err != nil {
		return nil, err
	}
	return &Client{
		c: c, j: j, rules: rules{ledger: c.Ledger},
		pairs: map[uint64]*Pair{}, offers: map[quote.Kind]offered{}, ended: map[uint64]bool{},
	}, nil
}

func (c *Client) now() int64 { return c.c.clock().Unix() }

func (c *Client) key() ed25519.PublicKey { return c.c.Key.Public().(ed25519.PublicKey) }

// Open gives a pair for each offer that can carry bytes of data, opening leases
// and filling up low ones in as few transactions as the ledger takes. Storage
// reserves room for them, other kinds only move them. Pairs come in the order of
// the offers, which are all of one kind.
func (c *Client) Open(ctx context.Context, offers []Offer, bytes uint64) ([]*Pair, error) {
	var more quote.Units
	if len(offers) > 0 && offers[0].Quote.Kind == quote.Storage {
		more[0] = bytes
	}
	return c.open(ctx, offers, more, quote.Use{In: bytes, Out: bytes})
}

// Rent gives a pair that can reserve so many units more. Moving bytes is paid for as
// they flow. A lease that is there keeps its prices, unless the offer has better ones
// or the host would refuse them.
func (c *Client) Rent(ctx context.Context, o Offer, more quote.Units) (*Pair, error) {
	pairs, err := c.open(ctx, []Offer{o}, more, quote.Use{})
	if err != nil {
		return nil, err
	}
	return pairs[0], nil
}

func (c *Client) open(ctx context.Context, offers []Offer, more quote.Units, use quote.Use) ([]*Pair, error) {
	c.opening.Lock()
	defer c.opening.Unlock()
	if len(offers) == 0 {
		return nil, nil
	}
	params, err := c.rules.get(ctx)
	if err != nil {
		return nil, err
	}
	kind := offers[0].Quote.Kind
	current, err := c.current(ctx, kind)
	if err != nil {
		return nil, err
	}
	now := c.now()
	use = use.Plus(windows(2))
	until := now + min(params.MaxUntil-60, int64(c.c.PricesIn/time.Second))
	var open []chain.OpenLease
	var fund []chain.FundLease
	asked := map[string]bool{}
	for _, o := range offers {
		l, ok := current[o.Host.Address]
		switch {
		case asked[o.Host.Address]:
		case !ok:
			open = append(open, chain.OpenLease{Quote: o.Quote, Amount: needed(kind, o.Quote.Prices, more, use, params), Until: until})
		default:
			units := l.Units
			for d := range units {
				units[d] += more[d]
			}
			f := chain.FundLease{Lease: l.ID}
			prices := l.Prices
			if kind == quote.Compute && more != (quote.Units{}) && reprices(l, o.Quote.Prices) {
				prices, f.Quote, f.Until = o.Quote.Prices, &o.Quote, until
			}
			if want := needed(kind, prices, units, use, params); c.unspent(l, now) < want/2 {
				f.Amount = want
			}
			if f.Amount > 0 || f.Quote != nil {
				fund = append(fund, f)
			}
		}
		asked[o.Host.Address] = true
	}
	if len(open)+len(fund) > 0 {
		if err := c.send(ctx, open, fund, params); err != nil {
			return nil, err
		}
		if current, err = c.current(ctx, kind); err != nil {
			return nil, err
		}
	}
	pairs := make([]*Pair, len(offers))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, o := range offers {
		l, ok := current[o.Host.Address]
		if !ok {
			return nil, fault.New(fault.NoLease, "open lease with %s: the ledger doesn't show it", o.Host.Address)
		}
		g.Go(func() (err error) {
			pairs[i], err = c.prove(ctx, l, o.Peer)
			return err
		})
	}
	return pairs, g.Wait()
}

// reprices says whether a lease is to take new prices before it reserves more: nothing
// of them is dearer, or they are dearer than nothing. The ledger takes none while no
// statement under the last ones is posted.
func reprices(l lease.Lease, asked quote.Prices) bool {
	better := asked.Within(l.Prices) && asked.Unit != l.Prices.Unit
	return l.AsOf >= l.PricedAt && (better || unpriced(l.Prices, asked))
}

// current lists the client's usable leases of a kind by host: a hint.
func (c *Client) current(ctx context.Context, kind quote.Kind) (map[string]lease.Lease, error) {
	have, err := c.c.Ledger.Leases(ctx, c.c.Account, "")
	if err != nil {
		return nil, err
	}
	out := map[string]lease.Lease{}
	for _, l := range have {
		if l.Kind == kind && (l.State == lease.Open || l.State == lease.Low) {
			out[l.Host] = l
		}
	}
	return out, nil
}

// prove gives the pair of a lease that a list has named, once the ledger has
// proved a record that isn't older.
func (c *Client) prove(ctx context.Context, l lease.Lease, peer p2p.Peer) (*Pair, error) {
	c.mu.Lock()
	p := c.pairs[l.ID]
	c.mu.Unlock()
	if p != nil && !behind(p.terms(), l) {
		p.meet(peer)
		return p, nil
	}
	proved, err := c.c.Ledger.Lease(ctx, l.ID)
	if err != nil {
		return nil, err
	}
	if proved.Client != c.c.Account || proved.Host != l.Host || proved.Kind != l.Kind {
		return nil, fault.New(fault.LedgerLies, "lease %d: the list says otherwise than the proof", l.ID)
	}
	return c.pair(proved, peer)
}

// needed is what a lease should hold for these units and so much use: twice the
// reserve that its kind asks for, and what the use costs.
func needed(kind quote.Kind, p quote.Prices, units quote.Units, use quote.Use, params lease.Params) money.Amount {
	reserve := lease.Lease{Kind: kind, Rate: p.Rate(units)}.Reserve(params)
	return max(params.MinDeposit, money.AddCap(money.AddCap(reserve, reserve), p.Owed(use)))
}

// windows are n of the largest windows of everything that is paid ahead.
func windows(n uint64) quote.Use {
	return quote.Use{In: n * lastWindow, Out: n * lastWindow, Gas: n * lastGas}
}

// unspent is what a lease has left after what this node has signed.
func (c *Client) unspent(l lease.Lease, now int64) money.Amount {
	rent := l.Rate.Over(now - l.AsOf)
	if l.Kind == quote.Storage {
		rent = l.Accrued(l.AtMost(now))
	}
	signed := money.AddCap(c.j.get(l.ID).Newest.Total, rent)
	return min(l.Free(l.AtMost(now)), money.SubFloor(l.Funded(), signed))
}

// send opens and funds, at most params.MaxOpen in one transaction.
func (c *Client) send(ctx context.Context, open []chain.OpenLease, fund []chain.FundLease, params lease.Params) error {
	most := max(params.MaxOpen, 1)
	for len(open)+len(fund) > 0 {
		n := min(len(open), most)
		m := min(len(fund), most-n)
		msg := chain.OpenLeases(c.c.Signer.Address(), c.c.Account, open[:n], fund[:m])
		if _, err := c.c.Ledger.Send(ctx, c.c.Signer, msg); err != nil {
			return fmt.Errorf("open %d leases, fund %d: %w", n, m, err)
		}
		open, fund = open[n:], fund[m:]
	}
	return nil
}

// pair is the one Pair of a lease; l is proved.
func (c *Client) pair(l lease.Lease, peer p2p.Peer) (*Pair, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClientClosed
	}
	p := c.pairs[l.ID]
	if p == nil {
		p = &Pair{c: c, turn: make(chan struct{}, 1), lease: l, rec: c.j.get(l.ID)}
		p.rec.Newest.ChainID, p.rec.Newest.Lease = c.c.Ledger.ChainID(), l.ID
		c.pairs[l.ID] = p
	}
	p.learn(l)
	p.meet(peer)
	return p, nil
}

// Lease gives the pair of a lease that exists already.
func (c *Client) Lease(ctx context.Context, id uint64) (*Pair, error) {
	c.mu.Lock()
	p := c.pairs[id]
	c.mu.Unlock()
	if p != nil {
		return p, nil
	}
	l, err := c.c.Ledger.Lease(ctx, id)
	if err != nil {
		return nil, err
	}
	if l.Client != c.c.Account {
		return nil, fault.New(fault.NoLease, "lease %d is another client's", id)
	}
	h, err := c.c.Ledger.Host(ctx, l.Host)
	if err != nil {
		return nil, err
	}
	peer, err := c.peer(ctx, h)
	if err != nil {
		return nil, err
	}
	return c.pair(l, peer)
}

// Changed takes what a block tells of a lease. That is one ledger node's word: the
// record is read, with its proof, before anything follows from it.
func (c *Client) Changed(l lease.Lease) {
	c.mu.Lock()
	p := c.pairs[l.ID]
	if l.State == lease.Closed && l.Client == c.c.Account {
		c.ended[l.ID] = true
	}
	c.mu.Unlock()
	if p != nil {
		p.hear(l)
	}
}

// Close ends open exchanges and closes the statements.
func (c *Client) Close() error {
	c.mu.Lock()
	pairs := c.pairs
	c.pairs, c.closed = map[uint64]*Pair{}, true
	c.mu.Unlock()
	for _, p := range pairs {
		p.hangUp(errClientClosed)
	}
	return c.j.close()
}

// closeLease ends a lease: at once where sig is the host's consent to total, else
// after the time in which the host may still post.
func (c *Client) closeLease(ctx context.Context, id uint64, sig []byte, total money.Amount) error {
	msg := chain.CloseLease(c.c.Signer.Address(), id)
	if len(sig) > 0 {
		msg = chain.CloseAgreed(c.c.Signer.Address(), id, total, sig)
	}
	_, err := c.c.Ledger.Send(ctx, c.c.Signer, msg)
	return err
}
