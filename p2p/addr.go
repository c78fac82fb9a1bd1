package p2p

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"hearth/core/fault"
)

// Limits of a peer's list of addresses, whoever it comes from.
const (
	MaxAddrs   = 8
	MaxAddrLen = 128
)

// A Peer is a key and where to reach its owner. Addresses are multiaddrs:
// /ip4/1.2.3.4/tcp/4001 and /ip4/1.2.3.4/udp/4001/quic-v1 for libp2p,
// /ip4/1.2.3.4/tcp/4002/tls for direct TLS; dns, dns4, dns6 and ip6 as well.
type Peer struct {
	Key   ed25519.PublicKey
	Addrs []string
}

// String is the start of the key, for messages.
func (p Peer) String() string { return hex.EncodeToString(p.Key[:min(len(p.Key), 8)]) }

// CheckAddrs checks a list that somebody wants others to use: its length, and
// that each entry is an address of a known form.
func CheckAddrs(addrs []string) error {
	if err := checkSize(addrs); err != nil {
		return err
	}
	for _, s := range addrs {
		if _, err := parseEndpoint(s); err != nil {
			return err
		}
	}
	return nil
}

func checkSize(addrs []string) error {
	if len(addrs) > MaxAddrs {
		return fault.New(fault.TooLarge, "check addresses: %d entries, limit %d", len(addrs), MaxAddrs)
	}
	for _, s := range addrs {
		if len(s) > MaxAddrLen {
			return fault.New(fault.TooLarge, "check addresses: an entry of %d bytes, limit %d", len(s), MaxAddrLen)
		}
	}
	return nil
}

// Kinds of endpoints, in the order they are announced.
const (
	kindBulk = iota
	kindTCP
	kindQUIC
)

// An endpoint is one parsed address.
type endpoint struct {
	addr     ma.Multiaddr
	kind     int
	network  string // these two for package net
	hostport string
	named    bool // the host is a DNS name
}

// parseEndpoint reads one address. Nothing may follow it, not even the peer's ID.
func parseEndpoint(s string) (endpoint, error) {
	a, err := ma.NewMultiaddr(s)
	if err != nil {
		return endpoint{}, fault.New(fault.BadRequest, "read address: %w", err)
	}
	return classify(a)
}

func classify(a ma.Multiaddr) (endpoint, error) {
	e := endpoint{addr: a}
	bad := func(why string) (endpoint, error) {
		return endpoint{}, fault.New(fault.BadRequest, "read address %s: %s", a, why)
	}
	if len(a) < 2 {
		return bad("too short")
	}
	family := ""
	switch a[0].Code() {
	case ma.P_IP4, ma.P_DNS4:
		family = "4"
	case ma.P_IP6, ma.P_DNS6:
		family = "6"
	case ma.P_DNS:
	default:
		return bad("doesn't start with an IP address or a name")
	}
	var rest []int
	for _, c := range a[1:] {
		rest = append(rest, c.Code())
	}
	switch {
	case slices.Equal(rest, []int{ma.P_TCP, ma.P_TLS}):
		e.kind = kindBulk
	case slices.Equal(rest, []int{ma.P_TCP}):
		e.kind = kindTCP
	case slices.Equal(rest, []int{ma.P_UDP, ma.P_QUIC_V1}):
		e.kind = kindQUIC
	default:
		return bad("not tcp, quic-v1 or tcp/tls")
	}
	e.named = a[0].Code() != ma.P_IP4 && a[0].Code() != ma.P_IP6
	e.network = "tcp" + family
	e.hostport = net.JoinHostPort(a[0].Value(), a[1].Value())
	return e, nil
}

// A contact is a Peer ready to dial.
type contact struct {
	key     ed25519.PublicKey
	control []ma.Multiaddr
	bulk    []endpoint
}

// contact reads p. Addresses of a form that this version doesn't know are left
// out: a peer may have newer ones besides.
func (p Peer) contact() (contact, peer.ID, error) {
	c := contact{key: p.Key}
	if len(p.Key) != ed25519.PublicKeySize {
		return c, "", fault.New(fault.BadRequest, "read peer: a key of %d bytes", len(p.Key))
	}
	if err := checkSize(p.Addrs); err != nil {
		return c, "", err
	}
	id, err := peerID(p.Key)
	if err != nil {
		return c, "", fault.New(fault.BadRequest, "read peer %s: %w", p, err)
	}
	for _, s := range p.Addrs {
		e, err := parseEndpoint(s)
		switch {
		case err != nil:
		case e.kind == kindBulk:
			c.bulk = append(c.bulk, e)
		default:
			c.control = append(c.control, e.addr)
		}
	}
	return c, id, nil
}

// Addrs are the addresses to announce, at most MaxAddrs, direct endpoints
// included, the best first.
func (n *Node) Addrs() []string {
	if len(n.cfg.Announce) > 0 {
		return slices.Clone(n.cfg.Announce)
	}
	return texts(choose(n.host.Addrs(), true))
}

func texts(addrs []ma.Multiaddr) []string {
	var all []string
	for _, a := range addrs {
		all = append(all, a.String())
	}
	return all
}

// announcer returns what libp2p asks for addresses to tell others: given its own,
// all of this node's, the ones of use first.
func announcer(c Config, bulk []ma.Multiaddr) (func([]ma.Multiaddr) []ma.Multiaddr, error) {
	var fixed []ma.Multiaddr
	for _, s := range c.Announce {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			return nil, fmt.Errorf("announce %s: %w", s, err)
		}
		fixed = append(fixed, a)
	}
	if fixed != nil {
		return func([]ma.Multiaddr) []ma.Multiaddr { return slices.Clone(fixed) }, nil
	}
	return func(control []ma.Multiaddr) []ma.Multiaddr {
		return choose(append(resolve(bulk), control...), c.AnnounceLoopback)
	}, nil
}

// resolve replaces "every address" by the machine's addresses.
func resolve(addrs []ma.Multiaddr) []ma.Multiaddr {
	interfaces, err := manet.InterfaceMultiaddrs()
	if err != nil {
		return addrs
	}
	var all []ma.Multiaddr
	for _, a := range addrs {
		if r, err := manet.ResolveUnspecifiedAddress(a, interfaces); err == nil {
			all = append(all, r...)
		}
	}
	return all
}

// choose orders addrs by use, public ones first and the endpoints of one IP
// together, and cuts the list at MaxAddrs. Loopback is the last resort unless
// it is wanted.
func choose(addrs []ma.Multiaddr, loopback bool) []ma.Multiaddr {
	type candidate struct {
		endpoint
		rank int
		text string
	}
	var list []candidate
	elsewhere := false
	for _, a := range addrs {
		e, err := classify(a)
		if err != nil || manet.IsIP6LinkLocal(a) {
			continue
		}
		rank := 1
		switch {
		case manet.IsIPLoopback(a):
			rank = 2
		case manet.IsPublicAddr(a):
			rank = 0
		}
		elsewhere = elsewhere || rank < 2
		list = append(list, candidate{e, rank, a.String()})
	}
	slices.SortStableFunc(list, func(a, b candidate) int {
		if a.rank != b.rank {
			return a.rank - b.rank
		}
		if ip := a.addr[0].Compare(&b.addr[0]); ip != 0 {
			return ip
		}
		return a.kind - b.kind
	})
	var chosen []ma.Multiaddr
	seen := make(map[string]bool)
	for _, c := range list {
		if c.rank == 2 && elsewhere && !loopback || seen[c.text] || len(chosen) == MaxAddrs {
			continue
		}
		seen[c.text] = true
		chosen = append(chosen, c.addr)
	}
	return chosen
}

var errNoAddress = errors.New("no address of this peer is known")
