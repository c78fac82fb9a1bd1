package node

import (
	"context"
	"time"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/lease"
)

// follow hands what the blocks tell to the roles.
func (n *Node) follow(ctx context.Context) {
	for ctx.Err() == nil {
		err := n.ledger.Follow(ctx, 0, func(b chain.Block) error {
			n.mu.Lock()
			n.seen, n.came = b, time.Now()
			n.mu.Unlock()
			for _, c := range b.Changes {
				n.changed(ctx, c)
				n.report(c)
			}
			return nil
		})
		if ctx.Err() != nil {
			return
		}
		n.log.Warn("follow ledger", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Second):
		}
	}
}

func (n *Node) changed(ctx context.Context, c chain.Change) {
	switch c := c.(type) {
	case chain.LeaseChanged:
		if c.Lease.Client != n.address() && c.Lease.Host != n.address() {
			return
		}
		// Data is dropped and rebuilt when a lease is closed: not on a ledger node's word.
		if c.Lease.State == lease.Closed && !n.closed(ctx, c.Lease.ID) {
			if ctx.Err() == nil {
				n.log.Warn("a lease is said to be closed and isn't", "lease", c.Lease.ID)
			}
			return
		}
		if n.buys != nil && c.Lease.Client == n.address() {
			n.buys.leaseChanged(ctx, c.Lease)
		}
		if n.sells != nil && c.Lease.Host == n.address() {
			n.sells.market.Changed(c.Lease)
		}
	case chain.Paid:
		if n.sells != nil && c.Host == n.address() {
			n.sells.earnings.look(c.Lease)
		}
	case chain.Challenged:
		if n.sells != nil {
			n.sells.challenged(c)
		}
	case chain.EndpointsChanged:
		n.memory.moved(c.Address, c.Endpoints)
		if n.sells != nil && c.Address == n.address() {
			go n.sells.elsewhere(ctx, c.Endpoints)
		}
		if n.buys != nil {
			n.buys.market.Moved(c.Address, c.Endpoints)
		}
	case chain.HostChanged, chain.HostGone:
		if n.buys != nil {
			n.buys.market.HostsChanged()
		}
	case chain.MandateChanged:
		if n.sells != nil {
			n.sells.market.MandateChanged(c.Grantor)
		}
	}
}

// closed says whether it is proved that a lease is closed, or pruned already. It
// waits for a ledger node that answers: what is missed here isn't told again.
func (n *Node) closed(ctx context.Context, id uint64) bool {
	for {
		l, err := n.ledger.Lease(ctx, id)
		if err == nil || fault.CodeOf(err) == fault.NoLease {
			return err != nil || l.State == lease.Closed
		}
		n.log.Warn("read a lease that is said to be closed", "lease", id, "err", err)
		select {
		case <-ctx.Done():
			return false
		case <-time.After(5 * time.Second):
		}
	}
}
