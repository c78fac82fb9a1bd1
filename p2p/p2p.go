// Package p2p is how nodes reach each other. A peer is named by its ed25519
// key; every connection proves that key before a byte of ours passes.
//
// Control streams run over libp2p (TCP or QUIC, TLS 1.3, yamux). Bulk streams
// run over a TLS connection of their own with the same certificates where the
// peer has such an endpoint, which costs a third less CPU, and else over libp2p:
// a caller can't tell the difference. Peers are found by address or through a
// DHT of the network's own.
//
// The package refuses peers without an ed25519 key, whoever passes the Limits,
// and frames above their limit. It sets no deadlines on a stream it has handed
// over: whoever reads or writes does.
package p2p

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/prometheus/client_golang/prometheus"

	"hearth/core/fault"
)

// A Stream is one conversation with a peer. Reads and writes may run at the same
// time; Close may be called at any time and more than once. The side that reads
// sees io.EOF after the other side's Close, and another error when it was cut.
type Stream interface {
	io.ReadWriteCloser
	SetDeadline(time.Time) error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	Remote() ed25519.PublicKey // proven in the handshake
	RemoteIP() string          // as seen here; "" when there is none
}

// A Handler serves one stream. It sets deadlines for everything it reads and
// writes, and returns soon after ctx ends; the node closes s when it returns.
type Handler func(ctx context.Context, s Stream)

// A Config is what a Node needs. A zero field takes its stated default.
type Config struct {
	Key     ed25519.PrivateKey // required: the node's identity
	Network string             // required: the chain id; nodes of other networks are not met in the DHT

	// Listen holds libp2p multiaddrs such as /ip4/0.0.0.0/tcp/4001 and
	// /ip4/0.0.0.0/udp/4001/quic-v1. A node that listens serves the DHT; one
	// that doesn't (the default) only asks.
	Listen []string
	// BulkListen holds addresses for direct TLS, such as /ip4/0.0.0.0/tcp/4002/tls.
	BulkListen []string
	// Announce replaces the addresses found from the listeners, for nodes
	// behind a NAT or in a namespace: both kinds, at most MaxAddrs.
	Announce []string
	// AnnounceLoopback adds loopback addresses, which are otherwise announced
	// only when there is nothing else.
	AnnounceLoopback bool

	Limits          Limits        // zero fields: see there
	DialTimeout     time.Duration // to connect and to negotiate; default 5s
	BulkDialTimeout time.Duration // before a direct endpoint counts as deaf; default 2s
	BulkRetry       time.Duration // how long a deaf endpoint is left alone; default 1min
	IdleTimeout     time.Duration // a connection without streams is closed after it; default 5min

	Log     *slog.Logger         // default: discard
	Metrics *prometheus.Registry // default: counted, but not shown
}

// A Node is this machine's end of all streams. Its methods are safe together.
type Node struct {
	cfg      Config
	log      *slog.Logger
	metrics  *metrics
	host     host.Host
	dht      *dht.IpfsDHT
	bulk     *bulk
	idle     *idle
	refusals *refusals

	farewell time.Duration // what Close leaves to handlers that heed their context

	ctx    context.Context // ends with Close; handlers get it
	cancel context.CancelFunc

	mu       sync.Mutex
	handlers map[string]Handler
	closing  bool
	serving  sync.WaitGroup // handlers, listeners and the idle watch
}

// New starts a node: when it returns, the listeners accept.
func New(c Config) (_ *Node, err error) {
	if err := c.complete(); err != nil {
		return nil, fmt.Errorf("start p2p: %w", err)
	}
	n := &Node{cfg: c, log: c.Log, farewell: farewell, handlers: make(map[string]Handler), refusals: newRefusals()}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			n.Close()
			err = fmt.Errorf("start p2p: %w", err)
		}
	}()
	if n.metrics, err = newMetrics(c.Metrics); err != nil {
		return nil, err
	}
	key, err := crypto.UnmarshalEd25519PrivateKey(c.Key)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if n.bulk, err = newBulk(n, key); err != nil {
		return nil, err
	}
	if n.host, err = newHost(c, key, n.bulk.addrs(), n.metrics, n.refusals); err != nil {
		return nil, taken(err)
	}
	if err := listensAt(n.host.Network().ListenAddresses(), c.Listen); err != nil {
		return nil, err
	}
	if n.dht, err = newDHT(n.host, c); err != nil {
		return nil, err
	}
	n.idle = newIdle(n.host.Network(), c.IdleTimeout, dhtPrefix(c.Network)+"/")
	n.start(func() { n.idle.watch(n.ctx) })
	n.bulk.serve()
	return n, nil
}

// complete checks required fields and fills in defaults.
func (c *Config) complete() error {
	switch {
	case len(c.Key) != ed25519.PrivateKeySize:
		return errors.New("the key is not an ed25519 key")
	case c.Network == "":
		return errors.New("the network's chain id is missing")
	}
	if err := CheckAddrs(c.Announce); err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	setDefault(&c.DialTimeout, 5*time.Second)
	setDefault(&c.BulkDialTimeout, 2*time.Second)
	setDefault(&c.BulkRetry, time.Minute)
	setDefault(&c.IdleTimeout, 5*time.Minute)
	c.Limits.complete()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// taken gives a failure to listen its code, where another program is the reason.
// Of libp2p's error only the text is left.
func taken(err error) error {
	if strings.Contains(err.Error(), syscall.EADDRINUSE.Error()) {
		return fault.New(fault.AddressTaken, "%w", err)
	}
	return err
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Key is the node's public key, its name to others.
func (n *Node) Key() ed25519.PublicKey { return n.cfg.Key.Public().(ed25519.PublicKey) }

// Handle serves streams of protocol with h, control and bulk alike. It replaces
// an earlier handler; streams that run keep theirs.
func (n *Node) Handle(protocol string, h Handler) {
	n.mu.Lock()
	n.handlers[protocol] = h
	n.mu.Unlock()
	n.host.SetStreamHandler(protocolID(protocol), n.serveControl)
}

// handler finds the handler of protocol; nil: there is none.
func (n *Node) handler(protocol string) Handler {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.handlers[protocol]
}

// enter counts a goroutine that Close waits for; it calls serving.Done when it
// ends. After Close nobody enters.
func (n *Node) enter() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closing {
		return false
	}
	n.serving.Add(1)
	return true
}

// start runs f in a goroutine that Close waits for.
func (n *Node) start(f func()) bool {
	if !n.enter() {
		return false
	}
	go func() {
		defer n.serving.Done()
		f()
	}()
	return true
}

const (
	farewell   = 300 * time.Millisecond
	closeLimit = 10 * time.Second
)

// Close ends every stream and listener, as a rule within a second; it gives up on
// connections that don't end in ten. Handlers see their context end, get a moment
// to finish an answer, and are then cut off.
func (n *Node) Close() error {
	n.mu.Lock()
	again := n.closing
	n.closing = true
	n.mu.Unlock()
	if again {
		return nil
	}
	n.cancel()
	if n.bulk != nil {
		n.bulk.stopListening()
	}
	served := make(chan struct{})
	go func() { n.serving.Wait(); close(served) }()
	wait(served, n.farewell)
	if n.bulk != nil {
		n.bulk.cut()
	}
	gone := make(chan error, 1)
	go func() { gone <- n.closeHost() }()
	select {
	case err := <-gone:
		wait(served, n.farewell)
		return err
	case <-time.After(closeLimit):
		return errors.New("close p2p: connections did not end in time")
	}
}

func (n *Node) closeHost() error {
	var errs []error
	if n.dht != nil {
		errs = append(errs, n.dht.Close())
	}
	if n.host != nil {
		errs = append(errs, n.host.Close())
	}
	return errors.Join(errs...)
}

func wait(done <-chan struct{}, most time.Duration) {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}

// peerID is libp2p's name of key.
func peerID(key ed25519.PublicKey) (peer.ID, error) {
	pub, err := crypto.UnmarshalEd25519PublicKey(key)
	if err != nil {
		return "", err
	}
	return peer.IDFromPublicKey(pub)
}

// publicKey is the ed25519 key behind pub; peers with other keys are refused.
func publicKey(pub crypto.PubKey) (ed25519.PublicKey, error) {
	if pub == nil || pub.Type() != crypto.Ed25519 {
		return nil, errors.New("the peer's key is not an ed25519 key")
	}
	return pub.Raw()
}
