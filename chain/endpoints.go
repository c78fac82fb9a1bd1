package chain

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"

	"hearth/core/fault"
)

// endpointsCache holds endpoints by their hash: they are what they are.
type endpointsCache struct {
	mu sync.Mutex
	m  map[[32]byte][]string
}

const maxEndpointsKept = 1 << 16

// Endpoints are where a host says it answers (multiaddrs). The ledger's state
// holds their hash, an event of an old block the text; the hash proves the text.
// h is a proved record.
func (c *Client) Endpoints(ctx context.Context, h Host) ([]string, error) {
	c.dirs.mu.Lock()
	known, ok := c.dirs.m[h.EndpointsHash]
	c.dirs.mu.Unlock()
	if ok {
		return slices.Clone(known), nil
	}
	var found []string
	err := c.ask(ctx, "read endpoints of "+h.Address, func(n *node) error {
		events, err := n.events(ctx, h.EndpointsHeight)
		if err != nil {
			return err
		}
		for _, change := range events {
			e, ok := change.(EndpointsChanged)
			if ok && e.Address == h.Address && EndpointsHash(e.Endpoints) == h.EndpointsHash {
				found = e.Endpoints
				return nil
			}
		}
		return fault.New(fault.LedgerLies, "block %d shows none with the hash in the host's record", h.EndpointsHeight)
	})
	if err != nil {
		return nil, err
	}
	c.dirs.mu.Lock()
	defer c.dirs.mu.Unlock()
	if c.dirs.m == nil || len(c.dirs.m) >= maxEndpointsKept {
		c.dirs.m = make(map[[32]byte][]string)
	}
	c.dirs.m[h.EndpointsHash] = found
	return slices.Clone(found), nil
}

// EndpointsHash is SHA-256 over each endpoint behind its length in two bytes.
func EndpointsHash(endpoints []string) (sum [32]byte) {
	h := sha256.New()
	for _, e := range endpoints {
		h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(e))))
		h.Write([]byte(e))
	}
	return [32]byte(h.Sum(nil))
}

// events are the typed changes of one block, unproved.
func (n *node) events(ctx context.Context, height int64) ([]Change, error) {
	var res blockResults
	if err := n.call(ctx, "block_results", largeAnswer, map[string]any{"height": height}, &res); err != nil {
		return nil, notYet(pruned(err))
	}
	if res.Height != height {
		return nil, fault.New(fault.LedgerLies, "it was asked about block %d and answers about %d", height, res.Height)
	}
	return res.changes()
}
