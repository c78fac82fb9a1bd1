package p2p

import (
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
)

// youngConn is how long a new connection is safe from the connection manager.
const youngConn = 30 * time.Second

// newHost is libp2p with what Hearth uses and nothing else: TCP with TLS 1.3 and
// yamux, QUIC; no relays, no multicast, no guesses about reachability.
func newHost(c Config, key crypto.PrivKey, bulk []ma.Multiaddr, m *metrics, r *refusals) (host.Host, error) {
	announce, err := announcer(c, bulk)
	if err != nil {
		return nil, err
	}
	resources, err := newResources(c.Limits, m)
	if err != nil {
		return nil, err
	}
	high := c.Limits.Conns * 3 / 4
	conns, err := connmgr.NewConnManager(c.Limits.Conns/2, high, connmgr.WithGracePeriod(youngConn))
	if err != nil {
		return nil, err
	}
	mux := *yamux.DefaultTransport
	mux.MaxStreamWindowSize = maxWindow
	options := []libp2p.Option{
		libp2p.Identity(key),
		libp2p.Transport(tcp.NewTCPTransport, tcp.DisableReuseport(), tcp.WithConnectionTimeout(c.DialTimeout), tcp.WithDialerForAddr(r.dialer)),
		libp2p.Transport(quic.NewTransport),
		libp2p.Security(libp2ptls.ID, libp2ptls.New),
		libp2p.Muxer(yamux.ID, &mux),
		libp2p.ResourceManager(resources),
		libp2p.ConnectionManager(conns),
		libp2p.SwarmOpts(swarm.WithDialRanker(rankTCPFirst)),
		libp2p.WithDialTimeout(c.DialTimeout),
		libp2p.AddrsFactory(announce),
		libp2p.UserAgent("hearth"),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
		libp2p.DisableIdentifyAddressDiscovery(),
		libp2p.Ping(false),
	}
	if len(c.Listen) > 0 {
		options = append(options, libp2p.ListenAddrStrings(c.Listen...), libp2p.ForceReachabilityPublic())
	} else {
		options = append(options, libp2p.NoListenAddrs, libp2p.ForceReachabilityPrivate())
	}
	return libp2p.New(options...)
}

func protocolID(name string) protocol.ID { return protocol.ID(name) }

const (
	quicDelay  = 300 * time.Millisecond // QUIC costs four times the CPU of TCP: only where TCP doesn't answer
	otherDelay = 50 * time.Millisecond  // between addresses of one kind
)

// rankTCPFirst says when each address of a peer is dialed.
func rankTCPFirst(addrs []ma.Multiaddr) []network.AddrDelay {
	var ranked []network.AddrDelay
	var tcps, others int
	for _, a := range addrs {
		e, err := classify(a)
		if err == nil && e.kind == kindTCP {
			ranked = append(ranked, network.AddrDelay{Addr: a, Delay: time.Duration(tcps) * otherDelay})
			tcps++
		}
	}
	wait := time.Duration(0)
	if tcps > 0 {
		wait = quicDelay
	}
	for _, a := range addrs {
		e, err := classify(a)
		if err != nil || e.kind != kindTCP {
			ranked = append(ranked, network.AddrDelay{Addr: a, Delay: wait + time.Duration(others)*otherDelay})
			others++
		}
	}
	return ranked
}
