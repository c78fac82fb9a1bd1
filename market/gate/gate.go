// Package gate is the door of a street's host: who may act on a lease, how many
// requests there are at once, and whether what flows is paid. It knows nothing of
// what is sold, and lets nobody in on a lease's number alone: a peer shows a grant
// that a key of the lease's client has signed for it.
package gate

import (
	"context"
	"crypto/ed25519"
	"sync"
	"time"

	"hearth/core/fault"
	"hearth/core/grant"
	"hearth/core/quote"
)

// A Meter counts what a lease has used against what its client has paid ahead.
type Meter interface {
	// Take counts traffic that is about to flow; fault.Unpaid when it isn't covered.
	Take(lease, in, out uint64) error
	// Covered gives a channel that is closed when more is paid.
	Covered(lease uint64) <-chan struct{}
}

// Leases knows whose leases they are.
type Leases interface {
	// Allowed says whether a key may act for the client of a lease of this kind.
	Allowed(ctx context.Context, kind quote.Kind, lease uint64, key ed25519.PublicKey) error
}

// A Config is what a Gate needs; all of it is required.
type Config struct {
	Kind     quote.Kind
	ChainID  string // grants are signed for it
	Leases   Leases
	Meter    Meter
	Patience time.Duration // for a payment that comes beside the bytes
	Pause    time.Duration // for the ledger's answer on who may act
	PerPeer  int           // requests of one peer at once
	Total    int           // requests at once
	Now      func() int64  // unix seconds
}

// A Gate is one street's. It is safe for concurrent use.
type Gate struct {
	c Config

	mu    sync.Mutex
	peers map[[ed25519.PublicKeySize]byte]int
	total int
}

// New makes a Gate.
func New(c Config) *Gate {
	return &Gate{c: c, peers: map[[ed25519.PublicKeySize]byte]int{}}
}

// Enter counts a request; the limits of peer and host hold until leave.
func (g *Gate) Enter(key ed25519.PublicKey) (leave func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	peer := [ed25519.PublicKeySize]byte(key)
	if g.total >= g.c.Total || g.peers[peer] >= g.c.PerPeer {
		return nil, fault.New(fault.Busy, "%d requests are under way, %d of them yours", g.total, g.peers[peer])
	}
	g.total++
	g.peers[peer]++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.total--
		if g.peers[peer]--; g.peers[peer] == 0 {
			delete(g.peers, peer)
		}
	}, nil
}

// Take counts traffic against what is paid. A client pays beside the bytes, so
// that a payment may be a little behind them.
func (g *Gate) Take(ctx context.Context, lease, in, out uint64) error {
	return g.Paid(ctx, lease, func() error { return g.c.Meter.Take(lease, in, out) })
}

// Paid has take tried again while it isn't covered and a payment may come.
func (g *Gate) Paid(ctx context.Context, lease uint64, take func() error) error {
	late := time.NewTimer(g.c.Patience)
	defer late.Stop()
	for {
		covered := g.c.Meter.Covered(lease) // before asking: no payment is missed
		err := take()
		if fault.CodeOf(err) != fault.Unpaid {
			return err
		}
		select {
		case <-covered:
		case <-late.C:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// maxGrants is how many leases one stream may speak for.
const maxGrants = 64

// A Pass is what the peer of one stream has shown. One request at a time uses it.
type Pass struct {
	g      *Gate
	peer   ed25519.PublicKey
	grants map[uint64]granted
}

type granted struct {
	until int64
	key   ed25519.PublicKey
}

// Pass is that of a stream whose peer has shown nothing yet.
func (g *Gate) Pass(peer ed25519.PublicKey) *Pass {
	return &Pass{g: g, peer: peer, grants: map[uint64]granted{}}
}

// Show takes a grant as it came over the wire: for peer, signed by key.
func (p *Pass) Show(lease uint64, peer []byte, until int64, key, sig []byte) error {
	if len(peer) != ed25519.PublicKeySize || string(peer) != string(p.peer) {
		return fault.New(fault.Unauthorized, "grant for lease %d: it is another peer's", lease)
	}
	signed := grant.Grant{Lease: lease, Peer: [32]byte(peer), Until: until}
	if err := grant.Verify(p.g.c.ChainID, signed, key, sig, p.g.c.Now()); err != nil {
		return err
	}
	if _, known := p.grants[lease]; !known && len(p.grants) >= maxGrants {
		return fault.New(fault.TooLarge, "grant for lease %d: a stream speaks for at most %d leases", lease, maxGrants)
	}
	p.grants[lease] = granted{until, append(ed25519.PublicKey(nil), key...)}
	return nil
}

// Admit checks that the peer may act on the lease: by a grant that was shown.
func (p *Pass) Admit(ctx context.Context, lease uint64) error {
	g, ok := p.grants[lease]
	if !ok || p.g.c.Now() > g.until {
		return fault.New(fault.Unauthorized, "no grant for lease %d holds now", lease)
	}
	ctx, cancel := context.WithTimeout(ctx, p.g.c.Pause)
	defer cancel()
	return p.g.c.Leases.Allowed(ctx, p.g.c.Kind, lease, g.key)
}

// Key is the key that let the peer act on the lease.
func (p *Pass) Key(lease uint64) ed25519.PublicKey { return p.grants[lease].key }
