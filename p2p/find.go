package p2p

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/host"

	"hearth/core/fault"
)

// newDHT is a DHT that knows where peers are and nothing else: no records, which
// anybody could fill a host's memory with.
func newDHT(h host.Host, c Config) (*dht.IpfsDHT, error) {
	mode := dht.ModeClient
	if len(c.Listen) > 0 {
		mode = dht.ModeServer
	}
	d, err := dht.New(h,
		dht.ProtocolPrefix(protocolID(dhtPrefix(c.Network))),
		dht.Mode(mode),
		dht.DisableProviders(),
		dht.DisableValues())
	if err != nil {
		return nil, fmt.Errorf("start DHT: %w", err)
	}
	return d, nil
}

// dhtPrefix begins the names of the DHT's protocols: networks don't mix.
func dhtPrefix(network string) string { return "/hearth/" + network }

// Bootstrap connects to peers and fills the DHT's table from them. One that
// answers is enough; without one the error is host_unreachable.
func (n *Node) Bootstrap(ctx context.Context, peers []Peer) error {
	results := make(chan error, len(peers))
	for _, p := range peers {
		go func() { results <- n.meet(ctx, p) }()
	}
	met, last := len(peers) == 0, error(nil)
	for range peers {
		if err := <-results; err != nil {
			last = err
		} else {
			met = true
		}
	}
	if !met {
		return fault.New(fault.HostUnreachable, "bootstrap: none of %d peers answers: %w", len(peers), last)
	}
	if err := n.dht.Bootstrap(ctx); err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	return nil
}

// meet connects to p, so that the DHT learns about it.
func (n *Node) meet(ctx context.Context, p Peer) error {
	to, id, err := p.contact()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.DialTimeout)
	defer cancel()
	return n.connect(ctx, id, to)
}

// Find asks the DHT for key's addresses, direct endpoints included: at most
// MaxAddrs, to be taken as a hint until the peer has proven its key.
func (n *Node) Find(ctx context.Context, key ed25519.PublicKey) ([]string, error) {
	p := Peer{Key: key}
	_, id, err := p.contact()
	if err != nil {
		return nil, err
	}
	info, err := n.dht.FindPeer(ctx, id)
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil, fmt.Errorf("find %s: %w", p, ctx.Err())
		}
		return nil, fault.New(fault.HostUnreachable, "find %s: %w", p, err)
	}
	addrs := texts(choose(info.Addrs, true))
	if len(addrs) == 0 {
		return nil, fault.New(fault.HostUnreachable, "find %s: %w", p, errNoAddress)
	}
	return addrs, nil
}
