package node

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/pointer"
	"hearth/core/quote"
	"hearth/storage/client"
	"hearth/storage/index"
	"hearth/storage/replica"
)

const (
	hiddenBucket = ".hearth" // holds the log of the index
	// companyGrace is how long a slab that nobody uses is kept once other devices
	// write into the same list of files: one of them may just have begun to use it.
	companyGrace = 10 * time.Minute
	lookLocally  = 10 * time.Second
)

func stateOfLog(dir string) string { return filepath.Join(dir, "data", "replica") }

// openLog opens this device's log of the list of files.
func openLog(ctx context.Context, b *buying) (*replica.Log, error) {
	n := b.n
	c := replica.Config{
		ChainID: n.ledger.ChainID(), Account: n.address(), Device: n.device, Signer: n.keys.Pointer(), Key: n.keys.Index().Reveal(),
		Path: stateOfLog(n.dir), Index: loggedIndex{b.index}, Slabs: b.files.Hidden(hiddenBucket),
		Hosts: &leasedHosts{b: b}, Ledger: pointerLedger{n}, Post: n.terms.pointerEvery,
		Company: func() { b.index.SetGrace(companyGrace); b.company.Store(true) }, Log: n.log,
	}
	if n.settings.Local {
		c.Look = lookLocally
	}
	l, err := replica.Open(ctx, c)
	if err != nil {
		return nil, err
	}
	return l, n.metrics.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "hearth_index_log_unflushed_changes", Help: "Changes of the list of files that hosts don't have yet, with those that small objects in the journal make once they are packed; at most a megabyte and a thousand are counted.",
	}, func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		// The journal first: what is packed in between is a change then.
		kept, err := b.index.Journaled(ctx, 1000, math.MaxInt64)
		if err != nil {
			return math.NaN()
		}
		count, err := l.Unflushed(ctx)
		if err != nil {
			return math.NaN()
		}
		return float64(len(kept) + count)
	}))
}

// loggedIndex is the list of files as its log sees it.
type loggedIndex struct{ *index.Index }

func (i loggedIndex) Used(ctx context.Context) (bool, error) {
	list, err := i.Index.Buckets(ctx)
	return len(list) > 0, err
}

func (i loggedIndex) Changes(ctx context.Context, after int64, limit int) ([]replica.Change, error) {
	list, err := i.Index.Changes(ctx, after, limit)
	out := make([]replica.Change, len(list))
	for k, c := range list {
		out[k] = replica.Change(c)
	}
	return out, err
}

// leasedHosts are the hosts that this account has leases with.
type leasedHosts struct {
	b *buying

	mu   sync.Mutex
	last []index.Place // what the ledger has said last
}

// Leased asks every ledger node that is known, so that none leaves a host out alone;
// while none answers, what they have said before counts.
func (h *leasedHosts) Leased(ctx context.Context) ([]index.Place, error) {
	n := h.b.n
	list, err := n.ledger.AllLeases(ctx, n.address(), "")
	var places []index.Place
	if err == nil {
		places = leasedPlaces(list, func(id uint64) (lease.Lease, error) { return n.ledger.Lease(ctx, id) })
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err == nil:
		h.last = places
	case fault.CodeOf(err) != fault.LedgerDown || h.last == nil:
		return nil, err
	}
	return slices.Clone(h.last), nil
}

// leasedPlaces is one place for each host that a lease of storage is named with.
// Where several are, the newest that the ledger proves counts: so nobody hides a
// host behind a lease that he has made up.
func leasedPlaces(list []lease.Lease, prove func(id uint64) (lease.Lease, error)) []index.Place {
	named := map[string][]uint64{}
	for _, l := range list {
		if l.Kind == quote.Storage && l.State != lease.Closed {
			named[l.Host] = append(named[l.Host], l.ID)
		}
	}
	var out []index.Place
	for host, ids := range named {
		slices.Sort(ids)
		slices.Reverse(ids)
		i := 0
		for ; i < len(ids)-1; i++ { // the last one is what is left
			if l, err := prove(ids[i]); err == nil && l.Host == host && l.State != lease.Closed {
				break
			}
		}
		out = append(out, index.Place{Host: host, Lease: ids[i]})
	}
	slices.SortFunc(out, func(a, b index.Place) int { return cmp.Or(cmp.Compare(a.Lease, b.Lease), cmp.Compare(a.Host, b.Host)) })
	return out
}

func (h *leasedHosts) Put(ctx context.Context, at index.Place, p pointer.Signed, head []byte) error {
	host, err := h.b.files.Host(ctx, at)
	if err != nil {
		return err
	}
	return host.PutPointer(ctx, p, head)
}

func (h *leasedHosts) Pointers(ctx context.Context, at index.Place) ([]pointer.Signed, error) {
	host, err := h.b.files.Host(ctx, at)
	if err != nil {
		return nil, err
	}
	n := h.b.n
	return host.Pointers(ctx, n.ledger.ChainID(), n.address(), n.keys.Pointer().Public().(ed25519.PublicKey))
}

func (h *leasedHosts) Head(ctx context.Context, at index.Place, p pointer.Signed) (pointer.Signed, []byte, error) {
	host, err := h.b.files.Host(ctx, at)
	if err != nil {
		return p, nil, err
	}
	return host.Head(ctx, p)
}

// pointerLedger keeps this account's pointers on the ledger.
type pointerLedger struct{ n *Node }

func (l pointerLedger) Pointers(ctx context.Context) ([]pointer.Signed, error) {
	return l.n.ledger.Pointers(ctx, l.n.address())
}

// SetPointer signs with the device's key; with the account's own where the ledger
// has the pointers of somebody else who held a mandate.
func (l pointerLedger) SetPointer(ctx context.Context, p pointer.Signed) error {
	device := chain.PaidBy(l.n.keys.Spending(), l.n.address())
	_, err := l.n.ledger.Send(ctx, device, chain.SetPointer(device.Address(), p))
	if fault.CodeOf(err) == fault.BadSignature {
		_, err = l.n.ledger.Send(ctx, l.n.keys.Account(), chain.SetPointer(l.n.address(), p))
	}
	return err
}

var _ replica.Slabs = client.Hidden{}
