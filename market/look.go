package market

import (
	"hearth/core/quote"
	"hearth/core/statement"
	"hearth/p2p"
)

// Newest is the newest statement this node has signed on a lease, the zero one
// where there is none.
func (c *Client) Newest(lease uint64) statement.Statement { return c.j.get(lease).Newest.Statement }

// Prices are those of a lease in use here, zero of another.
func (c *Client) Prices(lease uint64) quote.Prices {
	c.mu.Lock()
	p := c.pairs[lease]
	c.mu.Unlock()
	if p == nil {
		return quote.Prices{}
	}
	return p.terms().Prices
}

// Peers are the hosts behind offers.
func Peers(offers []Offer) []p2p.Peer {
	var out []p2p.Peer
	for _, o := range offers {
		if o.Err == nil {
			out = append(out, o.Peer)
		}
	}
	return out
}

// Statement is the newest one of a lease, the zero one where there is none.
func (h *Host) Statement(lease uint64) statement.Statement { return h.j.get(lease).Newest.Statement }

// Used is what was used under a lease, as counted here: what is on its way counts.
func (c *Client) Used(lease uint64) quote.Use {
	c.mu.Lock()
	p := c.pairs[lease]
	c.mu.Unlock()
	if p == nil {
		return c.j.get(lease).Use
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rec.Use
}

// HostsChanged forgets the offers that were asked for: hosts came or went.
func (c *Client) HostsChanged() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.offers)
}

// Moved takes a host's new addresses. They may be anybody's word: who answers
// there has to prove the host's key.
func (c *Client) Moved(host string, addrs []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.offers)
	for _, p := range c.pairs {
		p.mu.Lock()
		if p.lease.Host == host {
			p.peer.Addrs = addrs
		}
		p.mu.Unlock()
	}
}
