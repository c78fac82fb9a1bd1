package market

import (
	"context"
	"sync"
	"time"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/quote"
)

// Renew asks the hosts of leases what they ask from now on, and has the ledger
// freeze that for another term where it is within the ceiling. It gives the error
// of each lease that wasn't renewed: price_too_high where the host asks too much.
func (c *Client) Renew(ctx context.Context, leases []lease.Lease) map[uint64]error {
	errs := make(map[uint64]error)
	params, err := c.rules.get(ctx)
	if err != nil {
		for _, l := range leases {
			errs[l.ID] = err
		}
		return errs
	}
	until := c.now() + min(params.MaxUntil-60, int64(c.c.PricesIn/time.Second))
	var mu sync.Mutex
	var fund []chain.FundLease
	var wg sync.WaitGroup
	slots := make(chan struct{}, askAtOnce)
	for _, l := range leases {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			q, err := c.requote(ctx, l, params.MaxQuote)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs[l.ID] = err
				return
			}
			fund = append(fund, chain.FundLease{Lease: l.ID, Quote: &q, Until: until})
		})
	}
	wg.Wait()
	for most := max(params.MaxOpen, 1); len(fund) > 0; {
		n := min(len(fund), most)
		if err := c.send(ctx, nil, fund[:n], params); err != nil {
			for _, f := range fund[:n] {
				errs[f.Lease] = err
			}
		}
		fund = fund[n:]
	}
	return errs
}

func (c *Client) requote(ctx context.Context, l lease.Lease, maxQuote int64) (q quote.Signed, err error) {
	if l.Client != c.c.Account {
		return q, fault.New(fault.NoLease, "renew lease %d: it is another client's", l.ID)
	}
	h, err := c.c.Ledger.Host(ctx, l.Host)
	if err != nil {
		return q, err
	}
	o := Offer{Host: h}
	if c.ask(ctx, &o, l.Kind, maxQuote); o.Err != nil {
		return q, o.Err
	}
	return o.Quote, nil
}
