// Package host sells runs of functions to clients: it takes modules and calls,
// has the engine run them within limits, signs what came out, and hands it over.
// Gas is paid ahead up to a call's limit, bytes as they flow. It runs nothing that
// isn't paid for, and it promises nothing of who asks: the lease does.
package host

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hearth/compute/wasm"
	"hearth/compute/wire"
	"hearth/core/fault"
	"hearth/core/quote"
	"hearth/market/gate"
	"hearth/p2p"
)

// Protocol is the name of the exchange between client and host.
const Protocol = "/hearth/compute/1"

// A Meter counts what a lease has used against what its client has paid ahead.
type Meter interface {
	gate.Meter
	// Hold puts gas aside for a call; fault.Unpaid when it isn't covered. ended takes
	// what the call has used, and gives the rest back.
	Hold(lease, gas uint64) (ended func(used uint64), err error)
}

// An Engine runs modules.
type Engine interface {
	Add(ctx context.Context, module []byte) (wasm.Info, error)
	Info(digest [32]byte) (wasm.Info, bool)
	Call(ctx context.Context, digest [32]byte, c wasm.Call) (wasm.Result, error)
}

// A Config is what a Server needs. A zero field takes its stated default.
type Config struct {
	Engine   Engine             // required
	Meter    Meter              // required
	Leases   gate.Leases        // required
	ChainID  string             // required: grants and outcomes are signed for it
	Key      ed25519.PrivateKey // required: signs outcomes
	Patience time.Duration      // for a payment that comes beside the bytes; default 500 ms
	Idle     time.Duration      // between two requests of a stream; default 2 min
	Pause    time.Duration      // for a piece of bytes in either direction; default 30 s
	Longest  time.Duration      // a call may take so long; default 1 min
	PerPeer  int                // requests of one peer at once; default 32
	Total    int                // requests at once; default 128
	MaxPages uint32             // of memory that one call may have; default 4096
	Paused   func() bool        // no call is taken; default: never
	Memory   int64              // bytes of modules, inputs and outputs held at once; default 256 MiB
	Registry prometheus.Registerer
	Log      *slog.Logger     // default: discard
	Now      func() time.Time // default: time.Now
}

// A Server answers clients on streams of Protocol.
type Server struct {
	c       Config
	gate    *gate.Gate
	budget  budget
	figures figures
}

// New makes a Server; hand its Serve to the node.
func New(c Config) (*Server, error) {
	if c.Engine == nil || c.Meter == nil || c.Leases == nil || c.ChainID == "" || len(c.Key) != ed25519.PrivateKeySize {
		return nil, errors.New("serve functions: Engine, Meter, Leases, ChainID and Key are required")
	}
	for _, d := range []struct {
		v    *time.Duration
		zero time.Duration
	}{{&c.Patience, 500 * time.Millisecond}, {&c.Idle, 2 * time.Minute}, {&c.Pause, 30 * time.Second}, {&c.Longest, time.Minute}} {
		if *d.v == 0 {
			*d.v = d.zero
		}
	}
	if c.PerPeer == 0 {
		c.PerPeer = 32
	}
	if c.Total == 0 {
		c.Total = 128
	}
	if c.MaxPages == 0 {
		c.MaxPages = 4096
	}
	if c.Paused == nil {
		c.Paused = func() bool { return false }
	}
	if c.Memory == 0 {
		c.Memory = 256 << 20
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Server{c: c, figures: newFigures(), budget: budget{most: c.Memory}, gate: gate.New(gate.Config{
		Kind: quote.Compute, ChainID: c.ChainID, Leases: c.Leases, Meter: c.Meter, Patience: c.Patience, Pause: c.Pause,
		PerPeer: c.PerPeer, Total: c.Total, Now: func() int64 { return c.Now().Unix() },
	})}
	if c.Registry != nil {
		if err := s.figures.register(c.Registry); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// visit is one stream.
type visit struct {
	*Server
	ctx  context.Context
	s    p2p.Stream
	pass *gate.Pass
	made *made // by the call before, until it is fetched
}

// Serve serves one stream until the peer ends it, breaks the rules or is silent
// for too long. The caller closes the stream.
func (srv *Server) Serve(ctx context.Context, s p2p.Stream) {
	stop := context.AfterFunc(ctx, func() { s.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	v := &visit{Server: srv, ctx: ctx, s: s, pass: srv.gate.Pass(s.Remote())}
	defer v.drop()
	for ctx.Err() == nil {
		if err := v.serveOne(); err != nil {
			if !errors.Is(err, io.EOF) {
				srv.c.Log.Debug("compute stream ends", "ip", s.RemoteIP(), "err", err)
			}
			return
		}
	}
}

// wait sets the deadline of what comes next; none holds longer than ctx.
func (v *visit) wait(set func(time.Time) error, d time.Duration) {
	_ = set(time.Now().Add(d)) // a stream that is gone says so itself
	if v.ctx.Err() != nil {
		v.s.SetDeadline(time.Unix(1, 0))
	}
}

// serveOne answers one request. An error ends the stream; a refusal is none,
// where both sides still know what comes next.
func (v *visit) serveOne() error {
	v.wait(v.s.SetReadDeadline, v.c.Idle)
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
	if err := v.admit(&r); err != nil {
		return v.refused(&r, err)
	}
	switch ask := r.Ask.(type) {
	case *wire.Request_Put:
		err = v.put(r.Lease, ask.Put)
	case *wire.Request_Call:
		err = v.call(r.Lease, ask.Call)
	case *wire.Request_Fetch:
		err = v.fetch(r.Lease)
	case nil:
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

func (v *visit) admit(r *wire.Request) error {
	if g := r.Grant; g != nil {
		if err := v.pass.Show(g.Lease, g.Peer, g.Until, g.Key, g.Sig); err != nil {
			return err
		}
	}
	return v.pass.Admit(v.ctx, r.Lease)
}

// refused tells the peer why. Where bytes may be on their way that nobody wants,
// the stream ends.
func (v *visit) refused(r *wire.Request, err error) error {
	if e := v.refuse(err); e != nil {
		return errors.Join(err, e)
	}
	if r.GetPut() != nil || r.GetCall().GetInput() > 0 || r.GetCall().GetStore() > 0 {
		return err
	}
	return nil
}

func (v *visit) refuse(err error) error {
	if v.ctx.Err() != nil { // the host stops: that is no answer
		return lost{v.ctx.Err()}
	}
	code, reason, own := fault.Told(err)
	if own {
		v.c.Log.Error("request fails", "ip", v.s.RemoteIP(), "err", err)
	}
	return v.answer(&wire.Response{Code: string(code), Reason: reason})
}

func (v *visit) answer(r *wire.Response) error {
	v.wait(v.s.SetWriteDeadline, v.c.Pause)
	if err := p2p.WriteFrame(v.s, r); err != nil {
		return lost{err}
	}
	return nil
}
