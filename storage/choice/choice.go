// Package choice finds the hosts that a client stores at: it asks the market for
// offers, chooses by the rules of core/placement, and has leases opened. It bends
// no rule: what isn't found is said with the reasons.
package choice

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net/netip"
	"strings"
	"time"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/placement"
	"hearth/core/quote"
	"hearth/market"
	"hearth/storage/client"
	"hearth/storage/remote"
)

// A Market is that of a storage client, over the hosts of the ledger. Its choice
// is steady: the same hosts again while they are good, so that a client has few
// leases. Its fields stay as they are while it is used.
type Market struct {
	Client *market.Client   // required
	Seed   [32]byte         // the client's own: others choose other hosts
	Local  bool             // a local cloud: one machine may be many hosts
	Now    func() time.Time // default time.Now
}

var (
	_ client.Market = (*Market)(nil)
	_ remote.Pair   = (*market.Pair)(nil)
)

// Lease gives the bargain of a lease.
func (c *Market) Lease(ctx context.Context, id uint64) (remote.Pair, error) {
	p, err := c.Client.Lease(ctx, id)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Hosts chooses hosts and opens leases with those that there are none with yet.
// Where the choice fails, it is tried again with new prices, and then with hosts
// that failed lately.
func (c *Market) Hosts(ctx context.Context, n client.Need) ([]remote.Pair, error) {
	tries := []struct {
		fresh bool
		avoid map[string]bool
	}{{false, n.Avoid}, {true, n.Avoid}, {false, nil}}
	var first error
	for _, t := range tries {
		n.Avoid = t.avoid
		pairs, err := c.hosts(ctx, n, t.fresh)
		if err == nil {
			return pairs, nil
		}
		switch fault.CodeOf(err) {
		case fault.NotEnoughHosts, fault.QuoteExpired, fault.TxRefused:
			first = cmp.Or(first, err)
		default:
			return nil, err
		}
	}
	return nil, first
}

func (c *Market) hosts(ctx context.Context, n client.Need, fresh bool) ([]remote.Pair, error) {
	offers, err := c.Client.Offers(ctx, quote.Storage, fresh)
	if err != nil {
		return nil, err
	}
	chosen, err := c.choose(offers, n)
	if err != nil {
		return nil, err
	}
	pairs, err := c.Client.Open(ctx, chosen, n.Bytes)
	if err != nil {
		return nil, err
	}
	out := make([]remote.Pair, len(pairs))
	for i, p := range pairs {
		out[i] = p
	}
	return out, nil
}

// choose decides among offers; it asks nobody.
func (c *Market) choose(offers []market.Offer, n client.Need) ([]market.Offer, error) {
	now := time.Now
	if c.Now != nil {
		now = c.Now
	}
	w := placement.Wish{
		Seed: c.Seed, Class: n.Class, Want: n.Want, Spares: n.Spares, Shard: max(n.Shard, int64(n.Bytes)),
		Ceiling: anyPrice, Avoid: n.Avoid, Local: c.Local,
	}
	used := make(map[string]bool, len(n.Used))
	for _, name := range n.Used {
		used[name] = true
	}
	var candidates []placement.Candidate
	by := make(map[string]market.Offer, len(offers))
	for _, o := range offers {
		by[o.Host.Address] = o
		switch k := candidate(o, now().Unix()); {
		case used[k.Host]: // its owner and network count, whether it answers or not
			w.Used = append(w.Used, k)
			delete(used, k.Host)
		case o.Err == nil:
			candidates = append(candidates, k)
		}
	}
	for name := range used { // gone from the ledger's list
		w.Used = append(w.Used, placement.Candidate{Host: name})
	}
	choice, err := placement.Choose(candidates, w)
	var few *placement.Shortage
	if errors.As(err, &few) && few.Found >= max(n.Least, 1) {
		w.Want, w.Spares = few.Found, 0
		choice, err = placement.Choose(candidates, w)
	}
	if err != nil {
		return nil, err
	}
	var out []market.Offer
	for _, name := range append(choice.Hosts, choice.Spares...) {
		out = append(out, by[name])
	}
	return out, nil
}

// anyPrice is no ceiling: the market has left out what is above the client's.
var anyPrice = quote.Prices{
	Unit: [quote.Dims]uint64{math.MaxUint64, math.MaxUint64, math.MaxUint64},
	In:   math.MaxUint64, Out: math.MaxUint64, Gas: math.MaxUint64,
}

const day = 24 * 3600

func candidate(o market.Offer, now int64) placement.Candidate {
	k := placement.Candidate{
		Host: o.Host.Address, Owner: o.Host.Owner, Region: o.Host.Region, Prices: o.Quote.Prices,
		Free: int64(min(o.Free, math.MaxInt64)), Young: young(o.Host, now),
	}
	seen := make(map[netip.Addr]bool)
	for _, a := range o.Peer.Addrs {
		if ip, ok := address(a); ok && !seen[ip] {
			seen[ip] = true
			k.Addrs = append(k.Addrs, ip)
		}
	}
	return k
}

// young says of a host that it isn't 30 days old, or that its bond is below its
// target: 30 days of its storage rates and one of the others.
func young(h chain.Host, now int64) bool {
	target := money.AddCap(h.StorageRate.Over(30*day), h.OtherRate.Over(day))
	return now-h.RegisteredAt < 30*day || h.Bond < target
}

// address is the IP address that a multiaddr begins with.
func address(multi string) (netip.Addr, bool) {
	parts := strings.SplitN(strings.TrimPrefix(multi, "/"), "/", 3)
	if len(parts) < 2 || parts[0] != "ip4" && parts[0] != "ip6" {
		return netip.Addr{}, false
	}
	ip, err := netip.ParseAddr(parts[1])
	return ip, err == nil
}
