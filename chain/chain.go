// Package chain is a node's window on the ledger: it reads records with proofs
// that a light client checks, sends transactions, and follows what changes. It
// links no part of the Cosmos SDK, holds no keys, and decides nothing. What it
// calls proved was signed by the validators that follow from the genesis, which
// the network's name pins; what it calls a hint is one ledger node's word.
package chain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"hearth/core/fault"
	"hearth/core/network"
)

// Denom is the coin's unit on the ledger.
const Denom = "uember"

// A Checkpoint is a block known to be right from elsewhere.
type Checkpoint struct {
	Height int64
	Hash   []byte // of the header, 32 bytes
}

// A Config is what a Client needs. A zero field takes its stated default.
type Config struct {
	Network network.Name // required
	// Dir keeps the newest trusted block, so that a restart goes on from there.
	// Empty: nothing is kept. It must exist and belong to this client alone.
	Dir string
	// Trusting is how long a block is trusted. Who signed it must still have stake to
	// lose, so it is less than the time stake waits; default two thirds of 14 days.
	Trusting   time.Duration
	Checkpoint *Checkpoint   // where to start again once all that was trusted is older; default none
	Timeout    time.Duration // of one request; default 10s
	Patience   time.Duration // for a block or a node to appear; default 30s
	Poll       time.Duration // between looks for a new block; default 100ms
	GasPrice   uint64        // 10^-6 uember for a unit of gas; default 1000
	Lifetime   time.Duration // of a transaction, at most 9 minutes; default 2 minutes
	Log        *slog.Logger  // default: discard

	now func() time.Time // tests set it
}

func (c *Config) complete() error {
	if !network.ValidID(c.Network.ChainID) || len(c.Network.URLs) == 0 {
		return fault.New(fault.BadNetworkName, "open ledger client: network %q isn't whole", c.Network.String())
	}
	set := func(d *time.Duration, usual time.Duration) {
		if *d <= 0 {
			*d = usual
		}
	}
	set(&c.Trusting, 14*24*time.Hour*2/3)
	set(&c.Timeout, 10*time.Second)
	set(&c.Patience, 30*time.Second)
	set(&c.Poll, 100*time.Millisecond)
	set(&c.Lifetime, 2*time.Minute)
	c.Lifetime = min(c.Lifetime, 9*time.Minute) // the ledger's limit is 10
	if c.GasPrice == 0 {
		c.GasPrice = 1000
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.now == nil {
		c.now = time.Now
	}
	return nil
}

// A Client speaks to the ledger nodes of one network. It is safe for concurrent use.
type Client struct {
	c         Config
	nodes     []*node
	preferred atomic.Int32 // the node asked first: the last one that answered well
	trust     *trust
	seen      atomic.Int64 // no read goes back behind the newest block of our own transactions

	clock    nonces
	accounts sync.Map // address -> uint64, the account's number, which never changes
	proved   provedHosts
	dirs     endpointsCache
}

// Dial returns a client that trusts a block: the one it kept, or the first one,
// checked against the genesis that the name pins. Once something is kept, Dial
// needs no ledger node to answer.
func Dial(ctx context.Context, c Config) (*Client, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	cl := &Client{c: c}
	for _, u := range c.Network.URLs {
		cl.nodes = append(cl.nodes, newNode(u, c.Timeout))
	}
	cl.trust = newTrust(c.Dir, c.Network.ChainID, c.Log)
	if err := cl.anchor(ctx); err != nil {
		cl.closeIdle()
		return nil, err
	}
	return cl, nil
}

// Close keeps the newest trusted block and lets go of connections.
func (c *Client) Close() error {
	c.closeIdle()
	return c.trust.save()
}

func (c *Client) closeIdle() {
	for _, n := range c.nodes {
		n.http.CloseIdleConnections()
	}
}

// ChainID is the network's.
func (c *Client) ChainID() string { return c.c.Network.ChainID }

// Network is the name this client was opened with.
func (c *Client) Network() network.Name { return c.c.Network }

// errNotYet is a ledger node's answer about a block that isn't there yet.
var errNotYet = errors.New("no such block yet")

// ask tries fn on the nodes in turn, the preferred one first, until one succeeds.
// A node that lies or doesn't answer is passed over; an answer with a code of its own
// (a refusal) is final.
func (c *Client) ask(ctx context.Context, what string, fn func(*node) error) error {
	first := int(c.preferred.Load())
	var down, lie error
	notYet := false
	for i := range c.nodes {
		at := (first + i) % len(c.nodes)
		n := c.nodes[at]
		err := fn(n)
		if err == nil {
			c.preferred.Store(int32(at))
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", what, ctx.Err())
		}
		switch fault.CodeOf(err) {
		case fault.LedgerLies, fault.WrongNetwork:
			c.c.Log.Warn("ledger node contradicts itself or the network", "what", what, "url", n.url, "err", err)
			lie = errors.Join(lie, fmt.Errorf("%s: %w", n.url, err))
		case fault.Internal, fault.LedgerDown:
			if errors.Is(err, errNotYet) {
				notYet = true
				break
			}
			c.c.Log.Debug("ledger node doesn't answer", "what", what, "url", n.url, "err", err)
			down = errors.Join(down, fmt.Errorf("%s: %w", n.url, err))
		default:
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	switch {
	case notYet:
		return fmt.Errorf("%s: %w", what, errNotYet)
	case lie != nil:
		return fault.New(fault.CodeOf(lie), "%s: %w", what, lie)
	}
	return fault.New(fault.LedgerDown, "%s: %w", what, down)
}

// await repeats fn while it answers errNotYet, up to the client's patience.
func (c *Client) await(ctx context.Context, fn func() error) error {
	limit := time.NewTimer(c.c.Patience)
	defer limit.Stop()
	for {
		err := fn()
		if !errors.Is(err, errNotYet) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", ctx.Err(), err)
		case <-limit.C:
			return fault.New(fault.LedgerDown, "the ledger stands still: %w", err)
		case <-time.After(c.c.Poll):
		}
	}
}

// raise lifts a to v, never lowers it.
func raise(a *atomic.Int64, v int64) {
	for old := a.Load(); old < v && !a.CompareAndSwap(old, v); old = a.Load() {
	}
}
