package host

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"
	"time"

	"hearth/core/fault"
	"hearth/core/quote"
	"hearth/market/gate"
	"hearth/p2p"
	"hearth/storage/wire"
)

// Protocol is the name of the exchange between client and host.
const Protocol = "/hearth/storage/1"

// Leases knows whose leases they are.
type Leases interface {
	gate.Leases
	// MayRemove says whether it may also remove what is stored.
	MayRemove(ctx context.Context, lease uint64, key ed25519.PublicKey) error
}

// Clients knows whose leases they are.
type Clients interface {
	// Client is the account of a lease's client.
	Client(ctx context.Context, lease uint64) (string, error)
}

// A ServerConfig is what a Server needs. A zero field takes its stated default.
type ServerConfig struct {
	Host     *Host         // required
	Meter    gate.Meter    // required
	Leases   Leases        // required
	ChainID  string        // required: grants are signed for it
	Clients  Clients       // knows whose pointers may lie here; nil: none are taken
	Patience time.Duration // for a payment that comes beside the bytes; default 500 ms
	Idle     time.Duration // between two requests of a stream; default 2 min
	Pause    time.Duration // for one block in either direction; default 30 s
	PerPeer  int           // requests of one peer at once; default 32
	Total    int           // requests at once, each needs a buffer of a block; default 256
	Log      *slog.Logger  // default: discard
}

// A Server answers clients on streams of Protocol.
type Server struct {
	c     ServerConfig
	flow  *flow
	gate  *gate.Gate
	reads pace // of pointers
}

// NewServer makes a Server; hand its Serve to the node.
func NewServer(c ServerConfig) (*Server, error) {
	if c.Host == nil || c.Meter == nil || c.Leases == nil || c.ChainID == "" {
		return nil, errors.New("serve storage: Host, Meter, Leases and ChainID are required")
	}
	for _, d := range []struct {
		v    *time.Duration
		zero time.Duration
	}{{&c.Patience, 500 * time.Millisecond}, {&c.Idle, 2 * time.Minute}, {&c.Pause, 30 * time.Second}} {
		if *d.v == 0 {
			*d.v = d.zero
		}
	}
	if c.PerPeer == 0 {
		c.PerPeer = 32
	}
	if c.Total == 0 {
		c.Total = 256
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{c: c, flow: newFlow(), gate: gate.New(gate.Config{
		Kind: quote.Storage, ChainID: c.ChainID, Leases: c.Leases, Meter: c.Meter, Patience: c.Patience, Pause: c.Pause,
		PerPeer: c.PerPeer, Total: c.Total, Now: c.Host.now,
	})}, nil
}

// visit is one stream.
type visit struct {
	*Server
	ctx    context.Context
	s      p2p.Stream
	pass   *gate.Pass
	ticket *ticket // nil: none was shown
}

// Serve serves one stream until the peer ends it, breaks the rules or is silent
// for too long. The caller closes the stream.
func (srv *Server) Serve(ctx context.Context, s p2p.Stream) {
	stop := context.AfterFunc(ctx, func() { s.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	v := &visit{Server: srv, ctx: ctx, s: s, pass: srv.gate.Pass(s.Remote())}
	for ctx.Err() == nil {
		if err := v.serveOne(); err != nil {
			if !errors.Is(err, io.EOF) {
				srv.c.Log.Debug("storage stream ends", "ip", s.RemoteIP(), "err", err)
			}
			return
		}
	}
}

// serveOne answers one request. An error ends the stream; a refusal is none,
// where both sides still know what comes next.
func (v *visit) serveOne() error {
	v.s.SetReadDeadline(time.Now().Add(v.c.Idle))
	var r wire.Request
	if err := p2p.ReadFrame(v.s, &r, p2p.MaxFrame); err != nil {
		if code := fault.CodeOf(err); code == fault.BadFrame || code == fault.TooLarge {
			return errors.Join(err, v.refuse(err))
		}
		return err
	}
	leave, err := v.gate.Enter(v.s.Remote())
	if err != nil {
		return v.refused(&r, err)
	}
	defer leave()
	if ask := r.GetGetPointers(); ask != nil { // anybody may who knows the key
		if err := v.getPointers(ask); err != nil && !errors.As(err, new(lost)) {
			return v.refused(&r, err)
		} else if err != nil {
			return err
		}
		return nil
	}
	if err := v.admit(&r); err != nil {
		return v.refused(&r, err)
	}
	switch ask := r.Ask.(type) {
	case *wire.Request_Put:
		err = v.put(r.Lease, ask.Put)
	case *wire.Request_Get:
		err = v.get(r.Lease, ask.Get)
	case *wire.Request_Range:
		err = v.ranged(r.Lease, ask.Range)
	case *wire.Request_Stage:
		err = v.stage(r.Lease, ask.Stage)
	case *wire.Request_Stat:
		err = v.stat(r.Lease, ask.Stat)
	case *wire.Request_Revoke:
		err = v.revoke(r.Lease, ask.Revoke)
	case *wire.Request_PutPointer:
		err = v.putPointer(r.Lease, ask.PutPointer)
	case nil:
		if r.Grant != nil {
			return v.answer(&wire.Response{})
		}
		err = fault.New(fault.BadRequest, "the request asks nothing")
	default:
		err = fault.New(fault.BadRequest, "the request isn't known")
	}
	if err == nil || errors.As(err, new(lost)) {
		return err
	}
	return v.refused(&r, err)
}

// lost is an error after which nothing can be said on the stream.
type lost struct{ error }

func (l lost) Unwrap() error { return l.error }

// admit checks that the peer may act on the lease: by the grant that comes with
// this request, or one before it on the stream.
func (v *visit) admit(r *wire.Request) error {
	if g := r.Grant; g != nil {
		if err := v.pass.Show(g.Lease, g.Peer, g.Until, g.Key, g.Sig); err != nil {
			return err
		}
	}
	if r.Ticket != nil {
		if err := v.show(r.Ticket); err != nil {
			return err
		}
	}
	return v.pass.Admit(v.ctx, r.Lease)
}

// refused tells the peer why. After a put the stream ends: its bytes may be on
// their way, and nobody wants them.
func (v *visit) refused(r *wire.Request, err error) error {
	if e := v.refuse(err); e != nil {
		return errors.Join(err, e)
	}
	if r.GetPut() != nil {
		return err
	}
	return nil
}

func (v *visit) refuse(err error) error {
	code, reason, own := fault.Told(err)
	if own {
		v.c.Log.Error("request fails", "ip", v.s.RemoteIP(), "err", err)
	}
	return v.answer(&wire.Response{Code: string(code), Reason: reason})
}

func (v *visit) answer(r *wire.Response) error {
	v.s.SetWriteDeadline(time.Now().Add(v.c.Pause))
	if err := p2p.WriteFrame(v.s, r); err != nil {
		return lost{err}
	}
	return nil
}

// take counts traffic against what is paid.
func (v *visit) take(lease, in, out uint64) error { return v.gate.Take(v.ctx, lease, in, out) }
