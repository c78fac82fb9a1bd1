package market

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"path/filepath"
	"sort"
	"sync"
	"time"

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
	Ceilings map[quote.Kind]quote.Prices
	PricesIn time.Duration // for how long prices are frozen; default 30 days
	Log      *slog.Logger  // default: discard
}

// Client is the buying side of one node.
type Client struct {
	c     ClientConfig
	j     *journal
	rules rules

	mu     sync.Mutex
	pairs  map[uint64]*Pair
	offers map[quote.Kind]offered
	open   sync.Mutex // one opening at a time, so that no lease is opened twice
}

type offered struct {
	at   time.Time
	list []Offer
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
	j, err := openJournal(filepath.Join(c.Dir, "bought.journal"))
	if err != nil {
		return nil, err
	}
	return &Client{c: c, j: j, rules: rules{ledger: c.Ledger}, pairs: map[uint64]*Pair{}, offers: map[quote.Kind]offered{}}, nil
}

// An Offer is a host that answered with a price within the ceilings, or why not.
type Offer struct {
	Host    chain.Host
	Peer    p2p.Peer
	Quote   quote.Signed
	Free    uint64        // room it says it has, in the kind's first unit
	Latency time.Duration // of the question
	Err     error         // why the host can't be used now; nil: it can
}

const (
	askTime    = 5 * time.Second
	offerFresh = 30 * time.Second
	maxQuote   = 24 * 3600
)

// Offers asks every host of the ledger's registry for its price, in parallel.
// Answers are kept for half a minute; fresh asks again.
func (c *Client) Offers(ctx context.Context, kind quote.Kind, fresh bool) ([]Offer, error) {
	c.mu.Lock()
	known := c.offers[kind]
	c.mu.Unlock()
	if !fresh && time.Since(known.at) < offerFresh {
		return known.list, nil
	}
	hosts, err := c.c.Ledger.Hosts(ctx)
	if err != nil {
		return nil, err
	}
	var wg sync.WaitGroup
	offers := make([]Offer, 0, len(hosts))
	for _, h := range hosts {
		if h.Roles&(1<<(kind-1)) == 0 || h.LeavingAt > 0 {
			continue
		}
		offers = append(offers, Offer{Host: h})
	}
	slots := make(chan struct{}, 64)
	for i := range offers {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			c.ask(ctx, &offers[i], kind)
		})
	}
	wg.Wait()
	sort.Slice(offers, func(i, j int) bool { return offers[i].Host.Address < offers[j].Host.Address })
	c.mu.Lock()
	c.offers[kind] = offered{time.Now(), offers}
	c.mu.Unlock()
	return offers, nil
}

// ask fills in one host's answer.
func (c *Client) ask(ctx context.Context, o *Offer, kind quote.Kind) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	o.Peer, o.Err = c.peer(ctx, o.Host)
	if o.Err != nil {
		return
	}
	began := time.Now()
	o.Quote, o.Free, o.Err = askQuote(ctx, c.c.Dialer, o.Peer, kind)
	o.Latency = time.Since(began)
	if o.Err != nil {
		return
	}
	o.Err = o.Quote.Check(c.c.Ledger.ChainID(), o.Peer.Key, time.Now().Unix(), maxQuote+300)
	if o.Err == nil && (o.Quote.Host != o.Host.Address || o.Quote.Kind != kind) {
		o.Err = fault.New(fault.BadSignature, "quote of %s: it names another host or kind", o.Host.Address)
	}
	if ceiling, ok := c.c.Ceilings[kind]; o.Err == nil && (!ok || !o.Quote.Prices.Within(ceiling)) {
		o.Err = fault.New(fault.PriceTooHigh, "quote of %s: above the ceiling for %s", o.Host.Address, kind)
	}
}

// peer is how a host is reached.
func (c *Client) peer(ctx context.Context, h chain.Host) (p2p.Peer, error) {
	addrs, err := c.c.Ledger.Endpoints(ctx, h)
	if err != nil {
		return p2p.Peer{}, err
	}
	return p2p.Peer{Key: h.Key[:], Addrs: addrs}, nil
}

// Open gives a pair for each offer that can carry bytes of data, opening leases
// and filling up low ones in as few transactions as the ledger takes. Pairs come in the order of
// the offers.
func (c *Client) Open(ctx context.Context, offers []Offer, bytes uint64) ([]*Pair, error) {
	c.open.Lock()
	defer c.open.Unlock()
	params, err := c.rules.get(ctx)
	if err != nil {
		return nil, err
	}
	have, err := c.c.Ledger.Leases(ctx, c.c.Account, "")
	if err != nil {
		return nil, err
	}
	now := time.Now().Unix()
	current := map[string]lease.Lease{}
	for _, l := range have {
		if len(offers) > 0 && l.Kind == offers[0].Quote.Kind && (l.State == lease.Open || l.State == lease.Low) {
			current[l.Host] = l
		}
	}
	until := now + min(params.MaxUntil-60, int64(c.c.PricesIn/time.Second))
	var open []chain.OpenLease
	var fund []chain.FundLease
	for _, o := range offers {
		l, ok := current[o.Host.Address]
		if !ok {
			open = append(open, chain.OpenLease{Quote: o.Quote, Amount: needed(o.Quote.Prices, quote.Units{bytes}, bytes, params), Until: until})
			continue
		}
		units := l.Units
		units[0] += bytes
		if want := needed(l.Prices, units, bytes, params); c.unspent(l, now) < want/2 {
			fund = append(fund, chain.FundLease{Lease: l.ID, Amount: want})
		}
	}
	if err := c.send(ctx, open, fund, params); err != nil {
		return nil, err
	}
	if len(open)+len(fund) > 0 {
		if have, err = c.c.Ledger.Leases(ctx, c.c.Account, ""); err != nil {
			return nil, err
		}
		for _, l := range have {
			if l.Kind == offers[0].Quote.Kind && (l.State == lease.Open || l.State == lease.Low) {
				current[l.Host] = l
			}
		}
	}
	pairs := make([]*Pair, len(offers))
	for i, o := range offers {
		l, ok := current[o.Host.Address]
		if !ok {
			return nil, fault.New(fault.NoLease, "open lease with %s: the ledger doesn't show it", o.Host.Address)
		}
		pairs[i] = c.pair(l, o.Peer)
	}
	return pairs, nil
}

// needed is what a lease should hold for so much data: twice its reserve, and
// its traffic in and out with a window to spare.
func needed(p quote.Prices, units quote.Units, traffic uint64, params lease.Params) money.Amount {
	rate := p.Rate(units)
	reserve := rate.OverUp(params.StorageReserve)
	flow := p.Traffic(traffic+2*lastWindow, traffic+2*lastWindow)
	return max(params.MinDeposit, money.AddCap(money.AddCap(reserve, reserve), flow))
}

// unspent is what a lease has left after what this node has signed.
func (c *Client) unspent(l lease.Lease, now int64) money.Amount {
	signed := money.AddCap(c.j.get(l.ID).Newest.Total, l.Rate.Over(now-l.AsOf))
	return min(l.Free(now), money.SubFloor(l.Funded(), signed))
}

// send opens and funds, at most params.MaxOpen in one transaction.
func (c *Client) send(ctx context.Context, open []chain.OpenLease, fund []chain.FundLease, params lease.Params) error {
	for len(open)+len(fund) > 0 {
		n := min(len(open), params.MaxOpen)
		m := min(len(fund), params.MaxOpen-n)
		msg := chain.OpenLeases(c.c.Signer.Address(), c.c.Account, open[:n], fund[:m])
		if _, err := c.c.Ledger.Send(ctx, c.c.Signer, msg); err != nil {
			return fmt.Errorf("open %d leases, fund %d: %w", n, m, err)
		}
		open, fund = open[n:], fund[m:]
	}
	return nil
}

// pair is the one Pair of a lease.
func (c *Client) pair(l lease.Lease, peer p2p.Peer) *Pair {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pairs[l.ID]
	if p == nil {
		p = &Pair{c: c, peer: peer, lease: l, rec: c.j.get(l.ID)}
		p.rec.Newest.ChainID, p.rec.Newest.Lease = c.c.Ledger.ChainID(), l.ID
		c.pairs[l.ID] = p
	}
	p.learn(l)
	return p
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
	return c.pair(l, peer), nil
}

// Changed takes a lease's new record as the blocks tell it.
func (c *Client) Changed(l lease.Lease) {
	c.mu.Lock()
	p := c.pairs[l.ID]
	if l.State == lease.Closed {
		delete(c.pairs, l.ID)
	}
	c.mu.Unlock()
	if p != nil {
		p.learn(l)
	}
}

// Tend keeps the run time of leases that hold something signed ahead until ctx
// ends, then signs a week more: the node may stay away for so long.
func (c *Client) Tend(ctx context.Context) {
	t := time.NewTicker(online / 5 * time.Second)
	defer t.Stop()
	for {
		c.renew(ctx, online)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// Leave signs run time for the longest absence. Hosts that don't answer in time are left out.
func (c *Client) Leave(ctx context.Context) { c.renew(ctx, offline) }

func (c *Client) renew(ctx context.Context, ahead int64) {
	var wg sync.WaitGroup
	for _, id := range c.j.leases() {
		if c.j.get(id).Newest.Units == (quote.Units{}) {
			continue
		}
		wg.Go(func() {
			p, err := c.Lease(ctx, id)
			if err == nil {
				err = p.renew(ctx, ahead)
			}
			switch code := fault.CodeOf(err); {
			case err == nil || ctx.Err() != nil:
			case code == fault.NoLease || code == fault.LeaseClosed:
				c.c.Log.Info("lease ended", "lease", id)
				if err := c.j.forget(id); err != nil {
					c.c.Log.Warn("forget lease", "lease", id, "err", err)
				}
			default:
				c.c.Log.Warn("renew lease", "lease", id, "err", err)
			}
		})
	}
	wg.Wait()
}

// Close closes the statements.
func (c *Client) Close() error { return c.j.close() }

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
