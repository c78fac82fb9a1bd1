// Package client runs functions on other people's machines: it keeps modules
// and their settings in the account's storage, hires hosts for calls, pays gas and
// bytes, and checks what a host signs and hands over. It believes no host that a
// result is right: it only makes sure who said so.
package client

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"hearth/core/fault"
	"hearth/core/grant"
	"hearth/core/quote"
	"hearth/p2p"
)

// Protocol is the name of the exchange between client and host.
const Protocol = "/hearth/compute/1"

// A Pair is the bargain with one host. Its methods may be called together.
type Pair interface {
	Lease() uint64
	Host() string // the host's account
	Owner() string
	Peer() p2p.Peer
	// Grant gives what lets this node act on the lease, good for hours.
	Grant() (g grant.Grant, key ed25519.PublicKey, sig []byte)
	// PayFor makes sure that so much more is paid ahead. It is on its way until Over
	// is told of bytes, and Ran of a call's gas, with what of it was used.
	PayFor(ctx context.Context, use quote.Use) error
	Over(in, out uint64)
	Ran(gas, used uint64)
	// Resync learns from the host what was really used, besides what is on its way.
	Resync(ctx context.Context) error
	Prices() quote.Prices
}

// A Market finds hosts.
type Market interface {
	// Hosts gives bargains with hosts that sell calls, the best first: at most so
	// many, and none of those to avoid.
	Hosts(ctx context.Context, most int, avoid []string) ([]Pair, error)
}

// Blobs keeps bytes under names, sealed, at hosts, for all devices of the account.
type Blobs interface {
	Keep(ctx context.Context, name string, b []byte) error
	// Read writes what is kept under name; fault.NotFound where nothing is.
	Read(ctx context.Context, name string, w io.Writer) error
	Drop(ctx context.Context, name string) error
	// Load is Read, and gives the version of what it has read.
	Load(ctx context.Context, name string, w io.Writer) (version string, err error)
	// Swap keeps b in the place of that version, "" for nothing; fault.Exists where
	// something else is there.
	Swap(ctx context.Context, name string, b []byte, version string) error
	// Names are those that begin so, in order.
	Names(ctx context.Context, prefix string) ([]string, error)
}

// A Dialer opens streams to peers.
type Dialer interface {
	Open(ctx context.Context, peer p2p.Peer, protocol string) (p2p.Stream, error)
	OpenBulk(ctx context.Context, peer p2p.Peer, protocol string) (p2p.Stream, error)
}

// A Config is what a Client needs. A zero field takes its stated default.
type Config struct {
	Dir     string // required: copies of modules, and logs
	Market  Market // required
	Blobs   Blobs  // required
	Dialer  Dialer // required
	ChainID string // required: outcomes are signed for it
	Engine  Engine // runs calls here, to check hosts; nil: no call is checked
	Device  uint64 // this machine's number among the account's
	Others  Others // the account's other machines; nil: there are none
	// Appear is how long a machine that joins others may be unknown to one of them that
	// works; default 90 s. So long it changes no store.
	Appear time.Duration
	Hosts  int // hired together; default 3
	Most   int // hired in all; default 16
	Dial   time.Duration
	Pause  time.Duration    // without a byte, or an answer, beside a call's own time; default 20 s
	Log    *slog.Logger     // default: discard
	Now    func() time.Time // default: time.Now
}

// Client runs the account's functions. It is safe for concurrent use.
type Client struct {
	c    Config
	logs logs

	trust  *trust
	speeds *speeds

	changing sync.Mutex    // one change of the functions at a time
	hiring   chan struct{} // held by the one who looks for hosts

	mu     sync.Mutex // guards what follows
	crew   []*worker
	hired  time.Time
	nobody time.Time                // when the market had nobody else
	soiled map[uint64]bool          // leases on which something broke off: see Pair.Resync
	turns  map[string]chan struct{} // of stores, by function: one is in it while somebody has it
}

// New makes a Client. It speaks to nobody yet.
func New(c Config) (*Client, error) {
	if c.Dir == "" || c.Market == nil || c.Blobs == nil || c.Dialer == nil || c.ChainID == "" {
		return nil, errors.New("functions: Dir, Market, Blobs, Dialer and ChainID are required")
	}
	if c.Hosts == 0 {
		c.Hosts = 3
	}
	if c.Most == 0 {
		c.Most = 16
	}
	if c.Dial == 0 {
		c.Dial = 8 * time.Second
	}
	if c.Pause == 0 {
		c.Pause = 20 * time.Second
	}
	if c.Appear == 0 {
		c.Appear = 90 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	t, err := openTrust(c.Dir)
	if err != nil {
		return nil, err
	}
	s, err := openSpeeds(c.Dir)
	if err != nil {
		return nil, err
	}
	return &Client{c: c, logs: logs{dir: c.Dir}, trust: t, speeds: s, hiring: make(chan struct{}, 1), soiled: map[uint64]bool{}, turns: map[string]chan struct{}{}}, nil
}

// answered says that err is what a host has said or what was found out about it,
// and not a lost stream.
func answered(err error) bool {
	var e *fault.Error
	return errors.As(err, &e)
}
