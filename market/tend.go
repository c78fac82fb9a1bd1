package market

import (
	"context"
	"sync"
	"time"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/quote"
)

// renewAtOnce bounds the exchanges of one round.
const renewAtOnce = 32

// Tend keeps the run time of leases that hold something signed a little ahead
// until ctx ends. Before a longer absence, Leave signs more.
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

// Leave signs run time for the longest absence. Hosts that don't answer in time
// are left out.
func (c *Client) Leave(ctx context.Context) { c.renew(ctx, offline) }

func (c *Client) renew(ctx context.Context, ahead int64) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, renewAtOnce)
	over := c.over(ctx)
	for _, id := range c.j.leases() {
		c.mu.Lock()
		ended := c.ended[id] || over[id]
		c.mu.Unlock()
		if !ended && c.j.get(id).Newest.Units == (quote.Units{}) {
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			wg.Wait()
			return
		}
		wg.Go(func() {
			defer func() { <-slots }()
			err := c.renewOne(ctx, id, ahead, ended)
			if err != nil && ctx.Err() == nil {
				c.c.Log.Warn("renew lease", "lease", id, "err", err)
			}
		})
	}
	wg.Wait()
}

// over are leases that hold nothing and that the ledger shows as closed, or not at
// all: a hint, where no block told. Whether what holds something has ended is seen
// when it is renewed.
func (c *Client) over(ctx context.Context) map[uint64]bool {
	over := map[uint64]bool{}
	for _, id := range c.j.leases() {
		if c.j.get(id).Newest.Units == (quote.Units{}) {
			over[id] = true
		}
	}
	if len(over) == 0 {
		return nil
	}
	have, err := c.c.Ledger.Leases(ctx, c.c.Account, "")
	if err != nil {
		c.c.Log.Debug("look for leases that ended", "err", err)
		return nil
	}
	for _, l := range have {
		if l.State != lease.Closed {
			delete(over, l.ID)
		}
	}
	return over
}

func (c *Client) renewOne(ctx context.Context, id uint64, ahead int64, ended bool) error {
	if !ended {
		p, err := c.Lease(ctx, id)
		if err == nil && runsOut(p.terms().Kind, c.j.get(id).Newest.Statement, c.now(), ahead) {
			err = c.c.Holds(ctx, p, time.Duration(ahead)*time.Second)
		}
		if err == nil {
			err = p.renew(ctx, ahead)
		}
		if code := fault.CodeOf(err); code != fault.NoLease && code != fault.LeaseClosed {
			return err
		}
	}
	// That a lease has ended is by the ledger's record, never by the host's word.
	l, err := c.c.Ledger.Lease(ctx, id)
	switch {
	case fault.CodeOf(err) == fault.NoLease:
		params, err := c.rules.get(ctx)
		if err != nil {
			return err
		}
		if c.j.get(id).Newest.AsOf+params.PruneTime > c.now() {
			return fault.New(fault.LedgerLies, "lease %d: the ledger shows none, yet it was in use a moment ago", id)
		}
	case err != nil:
		return err
	case l.State == lease.Closing:
		return nil
	case l.State != lease.Closed:
		c.mu.Lock()
		delete(c.ended, id)
		c.mu.Unlock()
		return nil
	}
	c.c.Log.Info("lease ended", "lease", id)
	c.forget(id)
	return nil
}

// forget drops a lease that is closed for good.
func (c *Client) forget(id uint64) {
	c.mu.Lock()
	p := c.pairs[id]
	delete(c.pairs, id)
	delete(c.ended, id)
	c.mu.Unlock()
	if p != nil {
		p.hangUp(fault.New(fault.LeaseClosed, "lease %d has ended", id))
	}
	if err := c.j.forget(id); err != nil {
		c.c.Log.Warn("forget lease", "lease", id, "err", err)
	}
}
