package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/multiformats/go-multistream"
	"google.golang.org/protobuf/proto"

	"hearth/core/fault"
)

// callTime bounds a Call or Exchange whose context has no deadline.
const callTime = 30 * time.Second

// Open opens a control stream. ctx bounds the opening only, not the stream. The
// error has the code host_unreachable, host_refused or busy, or is ctx's.
func (n *Node) Open(ctx context.Context, p Peer, protocol string) (Stream, error) {
	to, id, err := p.contact()
	if err != nil {
		return nil, err
	}
	s, err := n.openControl(ctx, id, to, protocol)
	if err != nil {
		return nil, openError(ctx, p, protocol, err)
	}
	return s, nil
}

// OpenBulk opens a stream for many bytes: over a direct connection where p has
// an endpoint for it that answers, else like Open.
func (n *Node) OpenBulk(ctx context.Context, p Peer, protocol string) (Stream, error) {
	to, id, err := p.contact()
	if err != nil {
		return nil, err
	}
	s, deaf, directErr := n.bulk.open(ctx, id, to, protocol)
	switch {
	case directErr == nil:
		n.metrics.dial(pathBulk, nil)
		n.bulk.remember(deaf)
		return s, nil
	case answered(directErr) || ctx.Err() != nil:
		n.metrics.dial(pathBulk, directErr)
		return nil, openError(ctx, p, protocol, directErr)
	case len(deaf) > 0:
		n.metrics.dial(pathBulk, directErr)
	}
	s, err = n.openControl(ctx, id, to, protocol)
	if err != nil {
		return nil, openError(ctx, p, protocol, fmt.Errorf("%w; %w", err, directErr))
	}
	if len(deaf) > 0 {
		n.log.Debug("bulk stream without a direct connection", "peer", p.String(), "err", directErr)
		n.bulk.remember(deaf)
	}
	return s, nil
}

// openControl connects if need be, and negotiates protocol.
func (n *Node) openControl(ctx context.Context, id peer.ID, to contact, name string) (_ *stream, err error) {
	defer func() { n.metrics.dial(pathControl, err) }()
	ctx, cancel := context.WithTimeout(ctx, n.cfg.DialTimeout)
	defer cancel()
	if err := n.connect(ctx, id, to); err != nil {
		return nil, err
	}
	s, err := n.host.NewStream(ctx, id, protocolID(name))
	if err != nil {
		return nil, err
	}
	n.idle.touch(s.Conn())
	m := n.metrics.paths[pathControl]
	return newStream(control{s}, to.key, remoteIP(s.Conn()), m, m.out), nil
}

// connect makes sure that there is a libp2p connection with id.
func (n *Node) connect(ctx context.Context, id peer.ID, to contact) error {
	if sw, ok := n.host.Network().(*swarm.Swarm); ok {
		sw.Backoff().Clear(id) // how often to try is the caller's decision
	}
	ctx, done := n.refusals.watch(ctx, append(n.host.Peerstore().Addrs(id), to.control...))
	defer done()
	err := n.host.Connect(ctx, peer.AddrInfo{ID: id, Addrs: to.control})
	switch {
	case err == nil:
		return nil
	case len(to.control) == 0:
		return fmt.Errorf("%w: %w", errNoAddress, dialError{err})
	case errors.Is(context.Cause(ctx), errRefused):
		return errRefused
	}
	return dialError{err}
}

// serveControl hands a libp2p stream to its protocol's handler.
func (n *Node) serveControl(s network.Stream) {
	key, err := publicKey(s.Conn().RemotePublicKey())
	handle := n.handler(string(s.Protocol()))
	if err != nil || handle == nil {
		n.metrics.refuse("protocol")
		_ = s.ResetWithError(network.StreamProtocolNegotiationFailed)
		return
	}
	n.idle.touch(s.Conn())
	m := n.metrics.paths[pathControl]
	st := newStream(control{s}, key, remoteIP(s.Conn()), m, m.in)
	defer st.Close()
	if !n.enter() {
		return
	}
	defer n.serving.Done()
	ctx, cancel := context.WithCancel(n.ctx)
	defer cancel()
	handle(ctx, st)
}

func remoteIP(c network.Conn) string {
	ip, err := manet.ToIP(c.RemoteMultiaddr())
	if err != nil {
		return ""
	}
	return ip.String()
}

// openError says what could not be opened, with the code that fits err.
func openError(ctx context.Context, p Peer, name string, err error) error {
	err = peerError(err)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("open %s to %s: %w", name, p, ctx.Err())
	case answered(err):
		return fmt.Errorf("open %s to %s: %w", name, p, err)
	case errors.Is(err, network.ErrResourceLimitExceeded):
		return fault.New(fault.Busy, "open %s to %s: this node's own limit: %w", name, p, err)
	case errors.As(err, new(multistream.ErrNotSupported[protocol.ID])):
		return fault.New(fault.HostRefused, "open %s to %s: not served there: %w", name, p, err)
	}
	return fault.New(fault.HostUnreachable, "open %s to %s: %w", name, p, err)
}

// dialError tells what libp2p tried, on one line: it makes a list of it.
type dialError struct{ error }

func (e dialError) Unwrap() error { return e.error }

func (e dialError) Error() string {
	var d *swarm.DialError
	if !errors.As(e.error, &d) || len(d.DialErrors) == 0 {
		return strings.ReplaceAll(e.error.Error(), "\n", "; ")
	}
	var tried []string
	for _, t := range d.DialErrors {
		tried = append(tried, fmt.Sprintf("%s: %s", t.Address, t.Cause))
	}
	return strings.Join(tried, "; ")
}

// Call opens a control stream, sends req and reads resp, of at most limit bytes.
// ctx bounds all of it; without a deadline there are 30 seconds.
func (n *Node) Call(ctx context.Context, p Peer, protocol string, req, resp proto.Message, limit int) error {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	s, err := n.Open(ctx, p, protocol)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := Exchange(ctx, s, req, resp, limit); err != nil {
		return fmt.Errorf("call %s at %s: %w", protocol, p, err)
	}
	return nil
}

// Exchange sends req on s and reads resp, of at most limit bytes. ctx bounds it;
// without a deadline there are 30 seconds. A peer that doesn't answer, or hangs
// up instead, is host_unreachable. After an error s is of no more use.
func Exchange(ctx context.Context, s Stream, req, resp proto.Message, limit int) error {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	t, _ := ctx.Deadline()
	s.SetDeadline(t)
	stop := context.AfterFunc(ctx, func() { s.SetDeadline(time.Unix(1, 0)) })
	err := WriteFrame(s, req)
	if err == nil || hungUp(err) {
		// A peer that refuses may close before it has read all: its answer counts.
		if e := ReadFrame(s, resp, limit); e == nil || err == nil {
			err = e
		}
	}
	if !stop() && errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	s.SetDeadline(time.Time{})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF):
		return fault.New(fault.HostUnreachable, "peer hung up without an answer: %w", io.ErrUnexpectedEOF)
	case answered(err):
		return err
	}
	return fault.New(fault.HostUnreachable, "%w", err)
}

// hungUp reports that a write failed because the peer had enough.
func hungUp(err error) bool {
	return errors.Is(err, errCut) || errors.Is(err, network.ErrReset) || errors.Is(err, io.ErrClosedPipe)
}

func withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, callTime)
}
