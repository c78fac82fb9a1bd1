package client

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"hearth/compute/wire"
	"hearth/core/fault"
	"hearth/p2p"
)

const (
	piece = 32 << 10
	// beat is how often either side says that it is there; who is silent for four
	// times as long is gone.
	beat = 30 * time.Second
)

// A talk is one stream, and what was paid for on it.
type talk struct {
	x    *Client
	pair Pair
	s    p2p.Stream

	mu      sync.Mutex
	in, out uint64 // paid for
	got     uint64 // of out
}

// open opens a stream that ends with ctx.
func (x *Client) open(ctx context.Context, pair Pair, how func(context.Context, p2p.Peer, string) (p2p.Stream, error)) (t *talk, end func(), err error) {
	dial, cancel := context.WithTimeout(ctx, x.c.Dial)
	defer cancel()
	s, err := how(dial, pair.Peer(), Protocol)
	if err != nil {
		return nil, nil, fault.New(fault.HostUnreachable, "reach %s: %w", pair.Host(), err)
	}
	t = &talk{x: x, pair: pair, s: s}
	stop := context.AfterFunc(ctx, func() { s.SetDeadline(time.Unix(1, 0)) })
	return t, func() {
		stop()
		s.Close()
		t.over(ctx)
	}, nil
}

// over gives back what was paid for and not used.
func (t *talk) over(ctx context.Context) {
	t.mu.Lock()
	in, out, got := t.in, t.out, t.got
	t.mu.Unlock()
	t.pair.Over(in, out)
	if out <= got {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.x.c.Pause)
	defer cancel()
	if err := t.pair.Resync(ctx); err != nil {
		t.x.c.Log.Debug("count of what was used not learned", "host", t.pair.Host(), "err", err)
	}
}

func (t *talk) pay(ctx context.Context, in, out uint64) error {
	if in+out == 0 {
		return nil
	}
	if err := t.pair.Pay(ctx, in, out); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.in += in
	t.out += out
	return nil
}

// ahead pays for what comes, so that the host need not wait for it.
func (t *talk) ahead(ctx context.Context) error {
	t.mu.Lock()
	left := t.out - min(t.out, t.got)
	t.mu.Unlock()
	chunk := max(t.pair.Chunk(), 2*piece)
	if left > chunk/2 {
		return nil
	}
	return t.pay(ctx, 0, chunk)
}

// wait sets the deadline of what comes next; none holds longer than ctx.
func (t *talk) wait(ctx context.Context, set func(time.Time) error, more time.Duration) {
	_ = set(time.Now().Add(t.x.c.Pause + more)) // a stream that is gone says so itself
	if ctx.Err() != nil {
		t.s.SetDeadline(time.Unix(1, 0))
	}
}

func (t *talk) send(ctx context.Context, m proto.Message) error {
	t.wait(ctx, t.s.SetWriteDeadline, 0)
	return p2p.WriteFrame(t.s, m)
}

// order sends an order with the grant and reads its answer.
func (t *talk) order(ctx context.Context, o *wire.Order, more time.Duration) (*wire.Told, error) {
	o.Lease = t.pair.Lease()
	g, key, sig := t.pair.Grant()
	o.Grant = &wire.Grant{Lease: g.Lease, Peer: g.Peer[:], Until: g.Until, Key: key, Sig: sig}
	if err := t.send(ctx, o); err != nil {
		return nil, t.explain(ctx, err)
	}
	return t.answer(ctx, more)
}

// answer reads what the host tells; a refusal is an error with the host's code.
func (t *talk) answer(ctx context.Context, more time.Duration) (*wire.Told, error) {
	t.wait(ctx, t.s.SetReadDeadline, more)
	var told wire.Told
	if err := p2p.ReadFrame(t.s, &told, p2p.MaxFrame); err != nil {
		return nil, t.explain(ctx, err)
	}
	if told.Code == "" {
		return &told, nil
	}
	return nil, fault.New(refusal(fault.Code(told.Code)), "the host says: %q", fault.Brief(told.Reason))
}

// said is what the host may have said before it stopped reading, or else err.
func (t *talk) said(ctx context.Context, err error) error {
	if _, told := t.answer(ctx, 0); told != nil && fault.CodeOf(told) != fault.HostUnreachable {
		return told
	}
	return t.explain(ctx, err)
}

// explain gives a lost connection its code.
func (t *talk) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fault.New(fault.HostUnreachable, "talk to %s: %w", t.pair.Host(), err)
}

// refusal is the code of a host's word. It says nothing about this machine, its
// account and its ledger, and nothing that is unknown here.
func refusal(code fault.Code) fault.Code {
	switch code {
	case fault.BadRequest, fault.BadImage, fault.TooLarge, fault.Unpaid, fault.NoFunds, fault.Busy, fault.HostFull, fault.NoInstance, fault.Stale,
		fault.BadStatement, fault.SandboxFailed, fault.AtLimit, fault.InstanceEnded, fault.PortClosed, fault.NoLease, fault.LeaseClosed,
		fault.MandateRefused, fault.Unauthorized, fault.BadSignature, fault.BadFrame, fault.Exists, fault.NotFound, fault.BadCheckpoint:
		return code
	}
	return fault.HostRefused
}
