package repair

import (
	"context"
	"sync"
	"time"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/quote"
	"hearth/storage/index"
)

// A Ledger tells of an account's leases.
type Ledger interface {
	Leases(ctx context.Context, client, host string) ([]lease.Lease, error) // a hint
	Lease(ctx context.Context, id uint64) (lease.Lease, error)              // proved
	Hosts(ctx context.Context) ([]chain.Host, error)                        // a hint
	Host(ctx context.Context, address string) (chain.Host, error)           // proved
}

// Bargains tells a Watcher about the leases of one account, and has prices that
// will end agreed anew. The zero fields take their stated defaults.
type Bargains struct {
	Ledger  Ledger // required
	Account string // required
	Rules   Rules
	// Renew asks the hosts of leases for their prices from now on; the error of a
	// lease has the code price_too_high where they pass the ceiling. nil: nobody is asked.
	Renew func(ctx context.Context, leases []lease.Lease) map[uint64]error
	Now   func() time.Time // default time.Now

	mu    sync.Mutex
	tried map[uint64]time.Time // when a lease was renewed last, or was to be
	dear  map[uint64]bool
}

// renewAgain is how long a host that asked too much, or didn't answer, isn't asked.
const renewAgain = 6 * time.Hour

// Leases lists every lease of the account for storage. What a list says isn't
// proved: that one is closed or its host leaves counts only with proof.
func (b *Bargains) Leases(ctx context.Context) (map[index.Place]Lease, error) {
	list, err := b.Ledger.Leases(ctx, b.Account, "")
	if err != nil {
		return nil, err
	}
	hosts, err := b.Ledger.Hosts(ctx)
	if err != nil {
		return nil, err
	}
	leaving := make(map[string]bool)
	for _, h := range hosts {
		leaving[h.Address] = h.LeavingAt != 0
	}
	out := make(map[index.Place]Lease, len(list))
	var expiring []lease.Lease
	now := b.now()
	for _, l := range list {
		if l.Kind != quote.Storage {
			continue
		}
		one := Lease{Known: true, TooDear: b.tooDear(l.ID)}
		if l.State != lease.Open && l.State != lease.Low {
			if one.Closed, one.Ending, err = b.proved(ctx, l); err != nil {
				return nil, err
			}
		} else if leaving[l.Host] {
			if one.Ending, err = b.leaves(ctx, l.Host); err != nil {
				return nil, err
			}
		}
		if !one.Closed && !one.Ending && l.Until < now.Add(b.Rules.Renew).Unix() && b.due(l.ID, now) {
			expiring = append(expiring, l)
		}
		out[index.Place{Host: l.Host, Lease: l.ID}] = one
	}
	b.renew(ctx, expiring, now)
	return out, nil
}

func (b *Bargains) now() time.Time {
	if b.Now == nil {
		return time.Now()
	}
	return b.Now()
}

func (b *Bargains) tooDear(id uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dear[id]
}

func (b *Bargains) due(id uint64, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Renew != nil && now.Sub(b.tried[id]) >= renewAgain
}

// renew asks for new prices, and remembers whose were too high.
func (b *Bargains) renew(ctx context.Context, expiring []lease.Lease, now time.Time) {
	if len(expiring) == 0 {
		return
	}
	errs := b.Renew(ctx, expiring)
	if ctx.Err() != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tried == nil {
		b.tried, b.dear = make(map[uint64]time.Time), make(map[uint64]bool)
	}
	for _, l := range expiring {
		b.tried[l.ID] = now
		b.dear[l.ID] = fault.CodeOf(errs[l.ID]) == fault.PriceTooHigh
	}
}

// proved reads a lease that a list calls ended.
func (b *Bargains) proved(ctx context.Context, l lease.Lease) (closed, ending bool, err error) {
	got, err := b.Ledger.Lease(ctx, l.ID)
	switch {
	case fault.CodeOf(err) == fault.NoLease:
		return true, false, nil
	case err != nil:
		return false, false, err
	}
	return got.State == lease.Closed, got.State == lease.Closing, nil
}

func (b *Bargains) leaves(ctx context.Context, host string) (bool, error) {
	h, err := b.Ledger.Host(ctx, host)
	if fault.CodeOf(err) == fault.NotFound {
		return true, nil
	}
	return err == nil && h.LeavingAt != 0, err
}
