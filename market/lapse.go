package market

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/quote"
)

const (
	// settleIn is how long a host answers before it says of clients that they are
	// gone: those that are there sign within minutes, whoever was away.
	settleIn = time.Hour
	// maxNotices is how many leases one transaction ends.
	maxNotices = 50
)

// lapsed says whether the client has left what it reserves behind: nobody has paid
// for it for so long that nobody will. Stored bytes are paid for by the ledger
// until the lease is empty.
func (h *Host) lapsed(l lease.Lease, rec Record) bool {
	s := rec.Newest
	if l.State != lease.Open && l.State != lease.Low || s.Units == (quote.Units{}) || l.Seq > s.Seq || l.Kind == quote.Storage {
		return false
	}
	return h.now() > h.began+int64(settleIn/time.Second) && h.now() > s.RunsUntil+int64(h.c.Lapse/time.Second)
}

// notify gives notice for leases that have lapsed by their proved record too. The
// ledger ends them in its time, and their data goes with them.
func (h *Host) notify(ctx context.Context, over []uint64) (n int, err error) {
	var msgs []proto.Message
	for i, id := range over {
		l, err := h.c.Ledger.Lease(ctx, id)
		if err != nil && fault.CodeOf(err) != fault.NoLease {
			return n, err
		}
		if err == nil && l.Host == h.c.Account.Address() && h.lapsed(l, h.j.get(id)) {
			msgs = append(msgs, chain.CloseLease(h.c.Account.Address(), id))
		}
		if len(msgs) == 0 || len(msgs) < maxNotices && i < len(over)-1 {
			continue
		}
		if _, err := h.c.Ledger.Send(ctx, h.c.Account, msgs...); err != nil {
			return n, fmt.Errorf("give notice for %d leases: %w", len(msgs), err)
		}
		n, msgs = n+len(msgs), nil
	}
	return n, nil
}
