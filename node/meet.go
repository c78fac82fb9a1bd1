package node

import (
	"context"
	"math/rand/v2"
	"time"

	"hearth/chain"
	"hearth/p2p"
)

const (
	acquaintances = 16 // peers that are met through the ledger
	meetAgain     = 10 * time.Minute
)

// directory is the ledger with a second place to look for a host's addresses:
// the peers' DHT, where no ledger node keeps the block any more that announced them.
type directory struct {
	*chain.Client
	net *p2p.Node
}

// Endpoints are a host's addresses.
func (d directory) Endpoints(ctx context.Context, h chain.Host) ([]string, error) {
	addrs, err := d.Client.Endpoints(ctx, h)
	if err == nil {
		return addrs, nil
	}
	if found, ferr := d.net.Find(ctx, h.PublicKey()); ferr == nil && len(found) > 0 {
		return found, nil
	}
	return nil, err
}

// meet joins the network's DHT through a few hosts that the ledger names, now
// and again from time to time.
func (n *Node) meet(ctx context.Context) {
	for {
		if err := n.net.Bootstrap(ctx, n.strangers(ctx)); err != nil && ctx.Err() == nil {
			n.log.Debug("meet peers", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(meetAgain):
		}
	}
}

// strangers are some hosts of the registry, drawn at random.
func (n *Node) strangers(ctx context.Context) []p2p.Peer {
	hosts, err := n.ledger.Hosts(ctx)
	if err != nil {
		return nil
	}
	rand.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	var out []p2p.Peer
	for _, h := range hosts {
		if h.Address == n.address() {
			continue
		}
		if addrs, err := n.ledger.Endpoints(ctx, h); err == nil {
			out = append(out, p2p.Peer{Key: h.PublicKey(), Addrs: addrs})
		}
		if len(out) == acquaintances {
			break
		}
	}
	return out
}
