package p2p

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

const (
	handshakeTime = 10 * time.Second // for a newcomer, its first open chunk included
	idleAccepted  = 2 * time.Minute  // an accepted connection without a stream
	idleDialed    = time.Minute      // shorter, so that the dialing side hangs up first
)

// bulk is the node's part with direct connections: listeners, the connections
// accepted, and those kept to dial with.
type bulk struct {
	node    *Node
	id      *libp2ptls.Identity
	records *records

	listeners []net.Listener

	mu     sync.Mutex
	live   map[*direct]struct{}  // every connection after its handshake
	raw    map[net.Conn]struct{} // accepted, before or after
	subnet counts[string]
	peer   counts[string]
	idle   map[string][]*kept // by peer, the most recent last
	kept   int
	deaf   map[string]time.Time // endpoint -> until when it is left alone
	closed bool
}

// counts are numbers that vanish at zero.
type counts[K comparable] map[K]int

// take adds one unless there are limit already.
func (c counts[K]) take(k K, limit int) bool {
	if c[k] >= limit {
		return false
	}
	c[k]++
	return true
}

func (c counts[K]) put(k K) {
	if c[k]--; c[k] <= 0 {
		delete(c, k)
	}
}

func newBulk(n *Node, key crypto.PrivKey) (*bulk, error) {
	id, err := libp2ptls.NewIdentity(key)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	b := &bulk{
		node: n, id: id, records: newRecords(),
		live: make(map[*direct]struct{}), raw: make(map[net.Conn]struct{}),
		subnet: make(counts[string]), peer: make(counts[string]),
		idle: make(map[string][]*kept), deaf: make(map[string]time.Time),
	}
	for _, s := range n.cfg.BulkListen {
		e, err := parseEndpoint(s)
		if err == nil && e.kind != kindBulk {
			err = fmt.Errorf("want the form /ip4/0.0.0.0/tcp/4002/tls")
		}
		if err != nil {
			b.stopListening()
			return nil, fmt.Errorf("listen on %s: %w", s, err)
		}
		l, err := net.Listen(e.network, e.hostport)
		if err != nil {
			b.stopListening()
			return nil, taken(fmt.Errorf("listen on %s: %w", s, err))
		}
		b.listeners = append(b.listeners, l)
	}
	return b, nil
}

// addrs are the addresses listened on, in the form they are announced.
func (b *bulk) addrs() []ma.Multiaddr {
	var all []ma.Multiaddr
	for _, l := range b.listeners {
		a, err := manet.FromNetAddr(l.Addr())
		if err != nil {
			continue // not an IP address: nothing others could dial
		}
		all = append(all, a.Encapsulate(ma.StringCast("/tls")))
	}
	return all
}

// config is TLS for a connection with want, or with anybody when it is empty.
func (b *bulk) config(want peer.ID) (*tls.Config, <-chan crypto.PubKey) {
	c, key := b.id.ConfigForPeer(want)
	c.NextProtos = []string{bulkALPN}
	c.DynamicRecordSizingDisabled = true
	return c, key
}

// secure finishes the handshake on c, within ctx.
func (b *bulk) secure(ctx context.Context, c *tls.Conn, key <-chan crypto.PubKey) (*direct, error) {
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	if got := c.ConnectionState().NegotiatedProtocol; got != bulkALPN {
		return nil, fmt.Errorf("protocol %q, want %q", got, bulkALPN)
	}
	pub, err := publicKey(<-key)
	if err != nil {
		return nil, err
	}
	d := &direct{Conn: c, key: pub, ip: hostIP(c.RemoteAddr()), records: b.records}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, net.ErrClosed
	}
	b.live[d] = struct{}{}
	return d, nil
}

// drop ends d for good.
func (b *bulk) drop(d *direct) {
	b.mu.Lock()
	delete(b.live, d)
	b.mu.Unlock()
	d.hangUp()
}

func (b *bulk) stopListening() {
	for _, l := range b.listeners {
		l.Close()
	}
}

// cut ends every connection, and those to come.
func (b *bulk) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for d := range b.live {
		d.hangUp()
	}
	for c := range b.raw {
		c.Close()
	}
	for _, list := range b.idle {
		for _, k := range list {
			k.timer.Stop()
		}
	}
	clear(b.idle)
	b.kept = 0
}
