package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"hearth/api"
	"hearth/chain"
	"hearth/core/lease"
	"hearth/core/money"
)

// news hands events to everybody who listens. Who is slow misses some: an event
// is a courtesy, what matters is in the records.
type news struct {
	mu        sync.Mutex
	listeners map[chan api.Event]bool
}

const newsBacklog = 64

func (n *news) tell(severity, code, format string, args ...any) {
	e := api.Event{Time: time.Now().UTC(), Severity: severity, Code: code, Text: fmt.Sprintf(format, args...)}
	n.mu.Lock()
	defer n.mu.Unlock()
	for l := range n.listeners {
		select {
		case l <- e:
		default:
		}
	}
}

func (n *news) listen(ctx context.Context, tell func(api.Event) error) error {
	ch := make(chan api.Event, newsBacklog)
	n.mu.Lock()
	if n.listeners == nil {
		n.listeners = map[chan api.Event]bool{}
	}
	n.listeners[ch] = true
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		delete(n.listeners, ch)
		n.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-ch:
			if err := tell(e); err != nil {
				return err
			}
		}
	}
}

// report tells people what a change of the ledger means to them.
func (n *Node) report(c chain.Change) {
	switch c := c.(type) {
	case chain.LeaseChanged:
		mine := c.Lease.Client == n.address() || c.Lease.Host == n.address()
		switch {
		case !mine:
		case c.Lease.State == lease.Low && c.Reason != "posted":
			n.news.tell("warning", "lease_low", "lease %d with %s is down to its reserve: it takes no new data", c.Lease.ID, c.Lease.Host)
		case c.Reason == "closing" || c.Reason == "closed" || c.Reason == "opened":
			n.news.tell("info", "lease_"+c.Reason, "lease %d between %s and %s: %s", c.Lease.ID, c.Lease.Client, c.Lease.Host, c.Reason)
		}
	case chain.Paid:
		if c.Host == n.address() {
			n.news.tell("info", "paid", "lease %d paid %s, commission %s", c.Lease, c.Amount, c.Commission)
		}
	}
}

// warnings are said once for each fall below them.
var warnings = []struct {
	left time.Duration
	code string
}{{24 * time.Hour, "runway_24h"}, {72 * time.Hour, "runway_72h"}, {14 * 24 * time.Hour, "runway_14d"}}

const lookAtRunway = time.Minute

// watchRunway warns when purse and leases don't last much longer.
func (n *Node) watchRunway(ctx context.Context) {
	said := ""
	t := time.NewTicker(lookAtRunway)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		b, err := n.balance(ctx)
		if err != nil {
			n.log.Debug("look at the runway", "err", err)
			continue
		}
		code := ""
		if b.Runway != nil {
			code = warningFor(time.Duration(min(b.Runway.Seconds, 1<<31)) * time.Second)
		}
		if code != "" && code != said {
			n.news.tell("warning", code, "purse and leases last %d hours at the present rate: `hearth wallet fund AMOUNT`", b.Runway.Seconds/3600)
		}
		said = code
	}
}

// warningFor is the most urgent warning that a runway calls for; "": none.
func warningFor(left time.Duration) string {
	for _, w := range warnings {
		if left < w.left {
			return w.code
		}
	}
	return ""
}

// longRunway is as good as for ever: nothing worth the name is spent.
const longRunway = 100 * 365 * 24 * 3600

// runway is how many seconds a sum lasts at a rate.
func runway(sum money.Amount, rate money.Rate) int64 {
	if rate == 0 {
		return longRunway
	}
	return int64(min(money.MulDiv(uint64(sum), money.RateUnit, uint64(rate)), 1<<53))
}
