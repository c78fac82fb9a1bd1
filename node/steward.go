package node

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"path/filepath"
	"sort"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"hearth/api"
	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/mandate"
	"hearth/core/money"
	"hearth/core/proof"
	"hearth/core/quote"
	"hearth/market"
	"hearth/p2p"
	"hearth/steward"
	"hearth/storage/index"
	"hearth/storage/repair"
	"hearth/wallet"
)

// repairRules are the rules of this network's kind.
func (n *Node) repairRules() repair.Rules {
	if n.settings.Local {
		return repair.Local()
	}
	return repair.Defaults()
}

// startStewarding opens the steward role. Its door is the host's address.
func startStewarding(n *Node) (*steward.Steward, error) {
	s, err := steward.New(steward.Config{
		Dir: filepath.Join(n.dir, "data", "steward"), Account: n.address(), Owner: n.settings.Host.Owner, Ledger: n.memory, Net: beside{n.net},
		Spending: n.keys.Spending(), Local: n.settings.Local, Rules: n.repairRules(), Registry: n.metrics, Log: n.log,
	})
	if err == nil {
		n.net.Handle(steward.Protocol, s.Serve)
	}
	return s, err
}

// beside is the network for a steward, who may look after shards that lie at the
// host of its own node.
type beside struct{ *p2p.Node }

func (b beside) Open(ctx context.Context, peer p2p.Peer, protocol string) (p2p.Stream, error) {
	if peer.Key.Equal(b.Key()) {
		return b.OpenOwn(protocol)
	}
	return b.Node.Open(ctx, peer, protocol)
}

func (b beside) OpenBulk(ctx context.Context, peer p2p.Peer, protocol string) (p2p.Stream, error) {
	if peer.Key.Equal(b.Key()) {
		return b.OpenOwn(protocol)
	}
	return b.Node.OpenBulk(ctx, peer, protocol)
}

// caring looks after what this client stores: itself, and through stewards while
// it is away.
type caring struct {
	b       *buying
	watcher *repair.Watcher
	patron  *steward.Patron
}

// startCaring opens what is remembered of stewards.
func startCaring(b *buying) (*caring, error) {
	n := b.n
	data := filepath.Join(n.dir, "data")
	c := &caring{b: b}
	rules := n.repairRules()
	var err error
	c.watcher, err = repair.New(repair.Config{
		List: b.index, Hand: hand{b, &repair.Bargains{Ledger: ledgerOf{n}, Account: n.address(), Rules: rules, Renew: b.market.Renew}},
		Rules: rules, Kept: filepath.Join(data, "audits.json"), Left: filepath.Join(data, "left.json"), Together: 1, Registry: n.metrics, Log: n.log,
	})
	if err != nil {
		return nil, err
	}
	asks, err := steward.NewClient(steward.ClientConfig{
		ChainID: n.ledger.ChainID(), Account: n.address(), Key: n.keys.Spending().Key(), Net: n.net,
	})
	if err != nil {
		return nil, err
	}
	p := steward.PatronConfig{
		Path: filepath.Join(data, "stewards.json"), Account: n.address(), Client: asks, Index: b.index, Bank: b.account, Ledger: n.memory,
		Offers: func(ctx context.Context) ([]market.Offer, error) { return b.market.Offers(ctx, quote.Storage, true) },
		Read:   b.files.Read, Local: n.settings.Local, Log: n.log,
	}
	if n.settings.Local {
		p.Every, p.Patience = 3*time.Second, 30*time.Second
	}
	c.patron, err = steward.NewPatron(p)
	return c, err
}

// run first takes over what stewards did, then looks after everything.
func (c *caring) run(ctx context.Context) {
	c.patron.Tend(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { c.patron.Run(ctx) })
	wg.Go(func() { c.watcher.Run(ctx) })
	if c.b.n.settings.Client.Stewards > 0 {
		wg.Go(func() { c.hireSome(ctx) })
	}
	wg.Wait()
}

const hireAgain = 10 * time.Second

// hireSome hires stewards until there are as many as the settings say.
func (c *caring) hireSome(ctx context.Context) {
	for ctx.Err() == nil {
		have := c.patron.List()
		if len(have) >= c.b.n.settings.Client.Stewards {
			return
		}
		if err := c.b.account.prepared(ctx); err == nil {
			if _, err := c.hire(ctx, "", c.limits()); err != nil && ctx.Err() == nil {
				c.b.log.Info("hire a steward", "err", err)
			} else {
				continue
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(hireAgain):
		}
	}
}

// limits are those of a steward where nothing else is said: a tenth of what this
// device may spend, for 90 days.
func (c *caring) limits() steward.Limits {
	return steward.Limits{Cap: max(c.b.account.limit()/10, 1), Until: time.Now().Unix() + 90*24*3600, Ceiling: c.b.n.terms.ceiling}
}

// hire engages the steward at a host, or any that the ledger names.
func (c *caring) hire(ctx context.Context, host string, l steward.Limits) (steward.Hired, error) {
	if host != "" {
		return c.patron.Hire(ctx, host, l)
	}
	hired := make(map[string]bool)
	for _, h := range c.patron.List() {
		hired[h.Host] = true
	}
	hosts, err := c.b.n.memory.Hosts(ctx)
	if err != nil {
		return steward.Hired{}, err
	}
	// The oldest first: age is what can't be had quickly.
	sort.Slice(hosts, func(i, j int) bool { return hosts[i].RegisteredAt < hosts[j].RegisteredAt })
	var errs []error
	for _, h := range hosts {
		if h.Roles&chain.RoleSteward == 0 || h.LeavingAt != 0 || hired[h.Address] || h.Address == c.b.n.address() {
			continue
		}
		got, err := c.patron.Hire(ctx, h.Address, l)
		if err == nil || ctx.Err() != nil {
			return got, err
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return steward.Hired{}, fault.New(fault.NoHosts, "hire a steward: the ledger names none that isn't hired already")
	}
	return steward.Hired{}, errors.Join(errs...)
}

// hand carries a watcher's decisions out with the client's means.
type hand struct {
	b        *buying
	bargains *repair.Bargains
}

func (h hand) Leases(ctx context.Context) (map[index.Place]repair.Lease, error) {
	return h.bargains.Leases(ctx)
}

func (h hand) Read(ctx context.Context, at index.Place, root proof.Hash, size, off int64) error {
	return h.b.files.Read(ctx, at, root, size, off)
}

func (h hand) Lost(ctx context.Context, id index.SlabID, shard int, at index.Place, why error) {
	h.b.files.Lost(ctx, id, shard, at, why)
}

func (h hand) Remake(ctx context.Context, id index.SlabID, made, moved []int) (int64, error) {
	return h.b.files.Remake(ctx, id, made, moved)
}

func (h hand) Shun(hosts map[string]bool) { h.b.files.Shun(hosts) }

// ledgerOf is the ledger as a watcher asks it: proofs only where something is to
// follow from them, never from memory.
type ledgerOf struct{ n *Node }

func (l ledgerOf) Leases(ctx context.Context, client, host string) ([]lease.Lease, error) {
	return l.n.ledger.Leases(ctx, client, host)
}

func (l ledgerOf) Lease(ctx context.Context, id uint64) (lease.Lease, error) {
	return l.n.ledger.Lease(ctx, id)
}

func (l ledgerOf) Hosts(ctx context.Context) ([]chain.Host, error) { return l.n.ledger.Hosts(ctx) }

func (l ledgerOf) Host(ctx context.Context, address string) (chain.Host, error) {
	return l.n.ledger.Host(ctx, address)
}

// Entrust gives a key a mandate, and pays its fees.
func (a *account) Entrust(ctx context.Context, m mandate.Mandate) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, err := a.ledger.Mandate(ctx, a.address(), m.Key)
	known := err == nil
	if code := fault.CodeOf(err); err != nil && code != fault.NotFound && code != fault.MandateRefused {
		return err
	}
	msgs := []proto.Message{chain.GrantMandate(m)}
	if !known {
		fees, err := chain.GrantFees(a.address(), wallet.AddressOfEd25519(ed25519.PublicKey(m.Key[:])), time.Now().Unix()+10*mandateTime)
		if err != nil {
			return err
		}
		msgs = append(msgs, fees)
	}
	_, err = a.ledger.Send(ctx, a.keys.Account(), msgs...)
	return err
}

// Revoke ends a key's mandate.
func (a *account) Revoke(ctx context.Context, key [32]byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, err := a.ledger.Send(ctx, a.keys.Account(), chain.RevokeMandate(a.address(), key))
	return err
}

// stewardRole shows the stewards to the API.
type stewardRole struct{ c *caring }

// List shows those hired, and how the slabs are.
func (r stewardRole) List(ctx context.Context) (api.Stewards, error) {
	out := api.Stewards{Stewards: []api.Steward{}, Care: care(r.c.watcher.Count()), Cap: api.MoneyOf(r.c.limits().Cap)}
	for _, h := range r.c.patron.List() {
		out.Stewards = append(out.Stewards, r.show(ctx, h))
	}
	return out, nil
}

func care(n repair.Count) api.Care {
	return api.Care{
		Slabs: n.Slabs, Due: n.Urgency[repair.Due], Urgent: n.Urgency[repair.Urgent], Beyond: n.Urgency[repair.Beyond],
		Unknown: n.Standing[repair.Unknown], Missing: n.Standing[repair.Away] + n.Standing[repair.Gone] + n.Standing[repair.Pending],
		Remade: n.Remade, Bytes: n.Bytes, Audits: n.Audits,
	}
}

func (r stewardRole) show(ctx context.Context, h steward.Hired) api.Steward {
	out := api.Steward{
		Host: h.Host, Until: time.Unix(h.Until, 0).UTC(), Cap: api.MoneyOf(h.Cap), Ceiling: prices(h.Ceiling), Slabs: int64(h.Slabs),
		Restored: h.Taken, Bytes: h.Bytes, Refused: h.Refused, Trouble: h.Trouble, Complaint: h.Complain, State: "working",
	}
	if h.Heard > 0 {
		out.Heard = time.Unix(h.Heard, 0).UTC()
	}
	key, err := hex.DecodeString(h.Key)
	if err == nil && len(key) == 32 {
		if m, err := r.c.b.n.memory.Mandate(ctx, r.c.b.n.address(), [32]byte(key)); err == nil {
			out.Spent = api.MoneyOf(m.Used)
		}
	}
	switch {
	case h.Leaving:
		out.State = "dismissed"
	case h.Until <= time.Now().Unix():
		out.State = "ended"
	case h.Trouble != "":
		out.State = "silent"
	}
	return out
}

// Hire engages a steward; what isn't said is as the settings have it.
func (r stewardRole) Hire(ctx context.Context, host string, q api.HireSteward) (api.Steward, error) {
	l := r.c.limits()
	if q.Cap != nil {
		v, err := q.Cap.Value()
		if err != nil {
			return api.Steward{}, err
		}
		l.Cap = v
	}
	if q.Until != nil {
		l.Until = q.Until.Unix()
	}
	if q.Month != nil {
		v, err := q.Month.Value()
		if err != nil {
			return api.Steward{}, err
		}
		l.Ceiling.Unit[0] = money.MulDiv(uint64(v), money.RateUnit, month)
	}
	if err := r.c.b.account.prepared(ctx); err != nil {
		return api.Steward{}, err
	}
	h, err := r.c.hire(ctx, host, l)
	if err != nil {
		return api.Steward{}, err
	}
	return r.show(ctx, h), nil
}

// Dismiss ends a steward's mandate.
func (r stewardRole) Dismiss(ctx context.Context, host string) error {
	return r.c.patron.Dismiss(ctx, host)
}
