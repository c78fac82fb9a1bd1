package market

import (
	"context"
	"slices"
	"sort"
	"sync"
	"time"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/machine"
	"hearth/core/quote"
	"hearth/p2p"
)

// An Offer is a host that answered with a price within the ceilings, or why not.
type Offer struct {
	Host    chain.Host
	Peer    p2p.Peer
	Quote   quote.Signed
	Free    uint64         // room it says it has, in the kind's first unit
	Latency time.Duration  // of the question
	Machine *machine.Class // what it says that its machine can do, nobody may change it; nil: nothing, or nothing lately
	Err     error          // why the host can't be used now; nil: it can
}

type offered struct {
	at   time.Time
	list []Offer
}

const (
	askTime    = 5 * time.Second
	askAtOnce  = 64
	offerFresh = 30 * time.Second
	// quoteLeft is how long, in seconds, a quote must hold: until it was chosen and
	// a block has taken it, since one that ran out spoils the whole transaction.
	quoteLeft = 90
)

// Offers asks every host of the ledger's registry for its price, in parallel.
// Answers are kept for half a minute; fresh asks again. The caller owns the list.
func (c *Client) Offers(ctx context.Context, kind quote.Kind, fresh bool) ([]Offer, error) {
	called := time.Now()
	c.asking.Lock()
	defer c.asking.Unlock()
	c.mu.Lock()
	known := c.offers[kind]
	c.mu.Unlock()
	// Who waited for another's question has a fresh answer.
	if !known.at.IsZero() && (known.at.After(called) || !fresh && time.Since(known.at) < offerFresh) {
		return slices.Clone(known.list), nil
	}
	if !kind.Valid() {
		return nil, fault.New(fault.BadRequest, "ask for offers: unknown kind %d", kind)
	}
	params, err := c.rules.get(ctx)
	if err != nil {
		return nil, err
	}
	hosts, err := c.c.Ledger.Hosts(ctx)
	if err != nil {
		return nil, err
	}
	offers := make([]Offer, 0, len(hosts))
	for _, h := range hosts {
		if h.Roles&(1<<(kind-1)) != 0 && h.LeavingAt == 0 {
			offers = append(offers, Offer{Host: h})
		}
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, askAtOnce)
	for i := range offers {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			c.ask(ctx, &offers[i], kind, params.MaxQuote)
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err // what wasn't answered in time is no answer to keep
	}
	sort.Slice(offers, func(i, j int) bool { return offers[i].Host.Address < offers[j].Host.Address })
	c.mu.Lock()
	c.offers[kind] = offered{time.Now(), slices.Clone(offers)}
	c.mu.Unlock()
	return offers, nil
}

// ask fills in one host's answer.
func (c *Client) ask(ctx context.Context, o *Offer, kind quote.Kind, maxQuote int64) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	o.Peer, o.Err = c.peer(ctx, o.Host)
	if o.Err != nil {
		return
	}
	began := time.Now()
	q, answer, err := askQuote(ctx, c.c.Dialer, o.Peer, kind)
	o.Latency = time.Since(began)
	if err == nil {
		err = c.fair(q, o.Host, kind, maxQuote)
	}
	var class *machine.Class
	if err == nil {
		class, err = c.machine(answer.GetMachine(), o.Host)
	}
	if o.Err = err; err == nil {
		o.Quote, o.Free, o.Machine = q, answer.GetFree(), class
	}
}

// machine reads what a host tells of its machine. What is too old to be believed counts
// as not told; what isn't the host's own word is a lie.
func (c *Client) machine(b []byte, h chain.Host) (*machine.Class, error) {
	if len(b) == 0 {
		return nil, nil
	}
	s, err := machine.Decode(b)
	if fault.CodeOf(err) == fault.UnknownFormat {
		return nil, nil // of a newer program
	}
	if err == nil {
		err = s.Check(c.c.Ledger.ChainID(), h.Address, h.PublicKey(), c.now())
	}
	if fault.CodeOf(err) == fault.Stale {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &s.Class, nil
}

// fair says whether a quote is the host's, and one that can be used.
func (c *Client) fair(q quote.Signed, h chain.Host, kind quote.Kind, maxQuote int64) error {
	now := c.now()
	if err := q.Check(c.c.Ledger.ChainID(), h.PublicKey(), now, maxQuote); err != nil {
		return err
	}
	ceiling, ok := c.c.Ceilings[kind]
	switch {
	case q.Host != h.Address || q.Kind != kind:
		return fault.New(fault.BadSignature, "quote of %s: it names another host or kind", h.Address)
	case q.ValidUntil < now+quoteLeft:
		return fault.New(fault.QuoteExpired, "quote of %s: it ends in %d s", h.Address, q.ValidUntil-now)
	case !ok || !q.Prices.Within(ceiling):
		return fault.New(fault.PriceTooHigh, "quote of %s: above the ceiling for %s", h.Address, kind)
	}
	return nil
}

// peer is how a host is reached.
func (c *Client) peer(ctx context.Context, h chain.Host) (p2p.Peer, error) {
	addrs, err := c.c.Ledger.Endpoints(ctx, h)
	if err != nil {
		return p2p.Peer{}, err
	}
	return p2p.Peer{Key: h.PublicKey(), Addrs: addrs}, nil
}
