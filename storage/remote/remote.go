// Package remote is a storage host as its client sees it: shards go there and
// come back over a few streams, paid ahead piece by piece. Everything a host
// sends is checked against roots and sizes that the client knows already; what
// doesn't match is an error and never reaches the caller's caller. The package
// also remembers how hosts have failed, so that they can be left alone for a while.
package remote

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"hearth/core/fault"
	"hearth/core/grant"
	"hearth/core/share"
	"hearth/p2p"
	"hearth/storage/wire"
)

// Protocol is the name of the exchange between client and host.
const Protocol = "/hearth/storage/1"

const (
	maxFrame   = 1 << 20
	maxIdle    = 4                // streams kept open
	maxStreams = 8                // requests at once
	regrant    = time.Hour        // long before a grant ends
	keepIdle   = 50 * time.Second // less than a host's patience with an idle stream
)

// A Pair is the bargain with one host: whom to ask, and who pays. Its methods
// may be called together.
type Pair interface {
	Lease() uint64
	Host() string // the host's account, its name in the index
	Peer() p2p.Peer
	// Grant gives what lets this node act on the lease, good for hours.
	Grant() (g grant.Grant, key ed25519.PublicKey, sig []byte)
	// Chunk is the most that one Pay should ask for.
	Chunk() uint64
	// Pay makes sure that so many bytes more are paid ahead, in to the host and
	// out of it. They are on their way until Over is told.
	Pay(ctx context.Context, in, out uint64) error
	// Over says that bytes that were paid for are on their way no more: the host
	// has counted them, or they never flow.
	Over(in, out uint64)
	// Resync learns from the host what was really used, besides what is on its way.
	Resync(ctx context.Context) error
	// State is how many bytes are reserved, and the root of what is stored.
	State(ctx context.Context) (units uint64, root [32]byte, err error)
	// Cover signs new units and a new root, and returns once the host has too.
	Cover(ctx context.Context, units uint64, root [32]byte) error
}

// A Dialer opens streams for bulk data.
type Dialer interface {
	OpenBulk(ctx context.Context, peer p2p.Peer, protocol string) (p2p.Stream, error)
}

// A Config is what a Host needs. A zero field takes its stated default.
type Config struct {
	Pair   Pair          // required
	Ticket *share.Link   // to read what the lease doesn't hold; nil: none
	Dialer Dialer        // required
	Dial   time.Duration // to open a stream; default 8s
	Pause  time.Duration // without a byte, or an answer, in either direction; default 20s
	Log    *slog.Logger  // default: discard
}

// A Host is one host under one lease. It is safe for concurrent use.
type Host struct {
	c     Config
	slots chan struct{} // one for each request at a time
	turn  chan struct{} // held while the lease's tree changes

	mu   sync.Mutex
	idle []*stream // the newest last

	busy  atomic.Int32
	dirty atomic.Bool // more was paid than may have been used
}

// New makes a Host. It speaks to nobody yet.
func New(c Config) (*Host, error) {
	if c.Pair == nil || c.Dialer == nil {
		return nil, errors.New("remote host: Pair and Dialer are needed")
	}
	if c.Dial == 0 {
		c.Dial = 8 * time.Second
	}
	if c.Pause == 0 {
		c.Pause = 20 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Host{c: c, slots: make(chan struct{}, maxStreams), turn: make(chan struct{}, 1)}, nil
}

// Name is the host's account.
func (h *Host) Name() string { return h.c.Pair.Host() }

// Lease is the lease's number.
func (h *Host) Lease() uint64 { return h.c.Pair.Lease() }

// Close ends the streams that nobody uses.
func (h *Host) Close() {
	h.mu.Lock()
	idle := h.idle
	h.idle = nil
	h.mu.Unlock()
	for _, s := range idle {
		s.Close()
	}
}

// A stream carries one request after another.
type stream struct {
	p2p.Stream
	granted time.Time // zero: not yet
	used    time.Time
	fresh   bool            // no request has gone over it yet
	ctx     context.Context // of the request under way
	in, out uint64          // what it has paid for
}

// past is a deadline that cuts off at once.
var past = time.Unix(1, 0)

// reading gives the next reads so much time, or none once the request was given up.
func (s *stream) reading(d time.Duration) {
	s.SetReadDeadline(time.Now().Add(d))
	if s.ctx.Err() != nil {
		s.SetReadDeadline(past)
	}
}

// writing is reading for the next writes.
func (s *stream) writing(d time.Duration) {
	s.SetWriteDeadline(time.Now().Add(d))
	if s.ctx.Err() != nil {
		s.SetWriteDeadline(past)
	}
}

// do runs f on a stream. One that was idle may have been closed by the host in
// the meantime: then f runs once more on a new one. So it does when the host has
// counted the traffic otherwise. After an error a stream is in an unknown state
// and is closed.
func (h *Host) do(ctx context.Context, what string, f func(s *stream) error) error {
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-h.slots }()
	if h.busy.Add(1) == 1 && h.dirty.Swap(false) {
		if err := h.c.Pair.Resync(ctx); err != nil {
			h.c.Log.Debug("count of traffic not learned", "host", h.Name(), "err", err)
		}
	}
	defer h.busy.Add(-1)
	var renewed, resynced bool
	for {
		s, err := h.take(ctx)
		if err != nil {
			return h.explain(ctx, what, err)
		}
		old := !s.fresh
		err = h.run(ctx, s, f)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
		case old && !renewed && !answered(err) && !errors.Is(err, os.ErrDeadlineExceeded):
			renewed = true
			h.Close() // the other idle ones are as old
			continue
		case fault.CodeOf(err) == fault.Unpaid && !resynced:
			// What was paid and not used, here or by another request, is counted anew.
			resynced = true
			if h.c.Pair.Resync(ctx) == nil {
				continue
			}
		}
		h.dirty.Store(true)
		return h.explain(ctx, what, err)
	}
}

// run runs f on s, cutting it off when ctx ends, and keeps s if all is well.
func (h *Host) run(ctx context.Context, s *stream, f func(s *stream) error) error {
	s.ctx = ctx
	stop := context.AfterFunc(ctx, func() { s.SetDeadline(past) })
	err := f(s)
	h.c.Pair.Over(s.in, s.out)
	s.in, s.out = 0, 0
	if !stop() || err != nil {
		s.Close()
		return err
	}
	s.fresh, s.used = false, time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.idle) < maxIdle {
		h.idle = append(h.idle, s)
		return nil
	}
	s.Close()
	return nil
}

// pay pays for bytes of the request under way.
func (h *Host) pay(ctx context.Context, s *stream, in, out int) error {
	if err := h.c.Pair.Pay(ctx, uint64(in), uint64(out)); err != nil {
		if Classify(err) == Garbage {
			return disputed{err}
		}
		return err
	}
	s.in += uint64(in)
	s.out += uint64(out)
	return nil
}

// A disputed error is what a host has answered to a payment, where that is no
// reason: it doesn't serve, and that says nothing of its shards.
type disputed struct{ error }

func (d disputed) Unwrap() error { return d.error }

// take gives an idle stream, or a new one.
func (h *Host) take(ctx context.Context) (*stream, error) {
	for {
		h.mu.Lock()
		n := len(h.idle)
		if n == 0 {
			h.mu.Unlock()
			break
		}
		s := h.idle[n-1]
		h.idle = h.idle[:n-1]
		h.mu.Unlock()
		if time.Since(s.used) < keepIdle {
			return s, nil
		}
		s.Close()
	}
	ctx, cancel := context.WithTimeout(ctx, h.c.Dial)
	defer cancel()
	s, err := h.c.Dialer.OpenBulk(ctx, h.c.Pair.Peer(), Protocol)
	if err != nil {
		return nil, err
	}
	return &stream{Stream: s, fresh: true}, nil
}

// ask sends a request; the first on a stream says who asks.
func (h *Host) ask(s *stream, r *wire.Request) error {
	r.Lease = h.c.Pair.Lease()
	if time.Since(s.granted) > regrant {
		g, key, sig := h.c.Pair.Grant()
		r.Grant = &wire.Grant{Lease: g.Lease, Peer: g.Peer[:], Until: g.Until, Key: key, Sig: sig}
		if l := h.c.Ticket; l != nil {
			r.Ticket = &wire.Ticket{
				Owner: l.Ticket.Owner, Serial: l.Ticket.Serial[:], Until: l.Ticket.Until, Contents: l.Ticket.Contents[:], Key: l.Key[:], Sig: l.Sig[:],
			}
		}
		s.granted = time.Now()
	}
	s.writing(h.c.Pause)
	return p2p.WriteFrame(s, r)
}

// answer reads a response; a refusal is an error with the host's code.
func (h *Host) answer(s *stream) (*wire.Response, error) {
	s.reading(h.c.Pause)
	return listen(s)
}

// listen is answer under the deadline that is set.
func listen(s *stream) (*wire.Response, error) {
	var r wire.Response
	if err := p2p.ReadFrame(s, &r, maxFrame); err != nil {
		return nil, err
	}
	if r.Code != "" {
		return nil, refusal(&r)
	}
	return &r, nil
}

// A refused error is what a host said, not what became of the stream.
type refused struct{ error }

func (r refused) Unwrap() error { return r.error }

// refusal takes over a code that is known, and a host's own trouble as its refusal.
func refusal(r *wire.Response) error {
	code := fault.Code(r.Code)
	if _, known := fault.Lookup(code); !known || code == fault.Internal {
		code = fault.HostRefused
	}
	return refused{fault.New(code, "the host says: %q", fault.Brief(r.Reason))}
}

// answered says that err is more than a lost stream.
func answered(err error) bool {
	var e *fault.Error
	return errors.As(err, &e)
}

// explain names the host in err, and gives a lost connection its code.
func (h *Host) explain(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	code := fault.HostUnreachable
	if answered(err) {
		code = fault.CodeOf(err)
	}
	return fault.New(code, "%s at %s: %w", what, h.Name(), err)
}

// Said says that err is what a host has answered, and not what was found out here.
func Said(err error) bool { return errors.As(err, new(refused)) || errors.As(err, new(disputed)) }
