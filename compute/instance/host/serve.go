package host

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"math"
	"time"

	"hearth/compute/sandbox"
	"hearth/compute/wire"
	"hearth/core/fault"
	"hearth/core/instance"
	"hearth/market/gate"
	"hearth/p2p"
)

// maxGrace is how long an instance may take to end when it is asked to.
const maxGrace = time.Minute

// visit is one stream.
type visit struct {
	*Host
	ctx  context.Context
	s    p2p.Stream
	pass *gate.Pass
}

// Serve serves one stream until the peer ends it, breaks the rules or is silent
// for too long. The caller closes the stream.
func (h *Host) Serve(ctx context.Context, s p2p.Stream) {
	stop := context.AfterFunc(ctx, func() { s.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	v := &visit{Host: h, ctx: ctx, s: s, pass: h.gate.Pass(s.Remote())}
	for ctx.Err() == nil {
		if err := v.serveOne(); err != nil {
			if !errors.Is(err, io.EOF) {
				h.c.Log.Debug("instance stream ends", "ip", s.RemoteIP(), "err", err)
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

// lost is an error after which nothing can be said on the stream.
type lost struct{ error }

func (l lost) Unwrap() error { return l.error }

// errOver says that the stream has been used up, as both sides know.
var errOver = lost{io.EOF}

// serveOne answers one order. An error ends the stream; a refusal is none, where
// both sides still know what comes next.
func (v *visit) serveOne() error {
	v.wait(v.s.SetReadDeadline, v.c.Idle)
	var o wire.Order
	if err := p2p.ReadFrame(v.s, &o, p2p.MaxFrame); err != nil {
		if code := fault.CodeOf(err); code == fault.BadFrame || code == fault.TooLarge {
			return errors.Join(err, v.refuse(err))
		}
		return err
	}
	leave, err := v.gate.Enter(v.s.Remote())
	if err != nil {
		return v.refuse(err)
	}
	defer leave()
	if err = v.admit(&o); err == nil {
		err = v.obey(&o)
	}
	if err == nil || errors.As(err, new(lost)) {
		return err
	}
	return v.refuse(err)
}

func (v *visit) admit(o *wire.Order) error {
	if g := o.Grant; g != nil {
		if err := v.pass.Show(g.Lease, g.Peer, g.Until, g.Key, g.Sig); err != nil {
			return err
		}
	}
	return v.pass.Admit(v.ctx, o.Lease)
}

func (v *visit) obey(o *wire.Order) error {
	switch ask := o.Ask.(type) {
	case *wire.Order_Create:
		return v.create(o.Lease, ask.Create)
	case *wire.Order_Remove:
		return v.remove(o.Lease, ask.Remove)
	case *wire.Order_Stop:
		return v.end(o.Lease, ask.Stop)
	case *wire.Order_Suspend:
		return v.suspendOrder(o.Lease, ask.Suspend)
	case *wire.Order_Resume:
		return v.resumeOrder(o.Lease, ask.Resume)
	case *wire.Order_Start:
		return v.run(o.Lease, ask.Start)
	case *wire.Order_Show:
		return v.show(o.Lease)
	case *wire.Order_Logs:
		return v.logs(o.Lease, ask.Logs)
	case *wire.Order_Exec:
		return v.exec(o.Lease, ask.Exec)
	case *wire.Order_Dial:
		return v.dial(o.Lease, ask.Dial)
	case *wire.Order_Ssh:
		return v.ssh(o.Lease, ask.Ssh)
	}
	return fault.New(fault.BadRequest, "the order isn't known")
}

func (v *visit) refuse(err error) error {
	if v.ctx.Err() != nil { // the host stops: that is no answer
		return lost{v.ctx.Err()}
	}
	code, reason, own := fault.Told(err)
	if own {
		v.c.Log.Error("order fails", "ip", v.s.RemoteIP(), "err", err)
	}
	return v.tell(&wire.Told{Code: string(code), Reason: reason})
}

func (v *visit) tell(t *wire.Told) error {
	v.wait(v.s.SetWriteDeadline, v.c.Pause)
	if err := p2p.WriteFrame(v.s, t); err != nil {
		return lost{err}
	}
	return nil
}

func idOf(b []byte) (instance.ID, error) {
	if len(b) != len(instance.ID{}) {
		return instance.ID{}, fault.New(fault.BadRequest, "an instance's id has %d bytes, not %d", len(b), len(instance.ID{}))
	}
	return instance.ID(b), nil
}

func (v *visit) create(lease uint64, ask *wire.Create) error {
	id, err := idOf(ask.GetId())
	if err != nil {
		return err
	}
	spec, err := instance.Decode(ask.GetSpec())
	if err != nil {
		return err
	}
	rule := v.c.Rule()
	if rule.Closed {
		return fault.New(fault.HostFull, "reserve machine: this host's owner takes nothing new at this hour")
	}
	if err := v.c.Time.Takes(v.ctx, lease); err != nil {
		return err
	}
	next, err := v.book.stage(lease, rule.All, func(r instance.Roster) (instance.Roster, *instance.Spec, error) {
		e := instance.Entry{ID: id, Spec: spec.Digest(), Units: spec.Units()}
		if have, there := r.Get(id); there && have != e {
			return nil, nil, fault.New(fault.Exists, "reserve machine: instance %x is there and is another", id)
		}
		return r.With(e), &spec, nil
	})
	if err != nil {
		return err
	}
	return v.tell(&wire.Told{Answer: &wire.Told_Roster{Roster: next.Encode()}})
}

func (v *visit) end(lease uint64, ask *wire.Stop) error {
	id, err := idOf(ask.GetId())
	if err != nil {
		return err
	}
	if err := v.stop(v.ctx, lease, id, graceOf(ask.GetGrace())); err != nil {
		return err
	}
	return v.tell(&wire.Told{})
}

func graceOf(seconds uint32) time.Duration { return min(time.Duration(seconds)*time.Second, maxGrace) }

func (v *visit) remove(lease uint64, ask *wire.Remove) error {
	id, err := idOf(ask.GetId())
	if err != nil {
		return err
	}
	if err := v.stop(v.ctx, lease, id, graceOf(ask.GetGrace())); err != nil && fault.CodeOf(err) != fault.NoInstance {
		return err
	}
	next, err := v.book.stage(lease, v.c.Rule().All, func(r instance.Roster) (instance.Roster, *instance.Spec, error) {
		return r.Without(id), nil, nil
	})
	if err != nil {
		return err
	}
	return v.tell(&wire.Told{Answer: &wire.Told_Roster{Roster: next.Encode()}})
}

func (v *visit) run(lease uint64, ask *wire.Start) error {
	id, err := idOf(ask.GetId())
	if err != nil {
		return err
	}
	p := &parcels{v: v, lease: lease}
	if err := v.start(v.ctx, lease, id, p); err != nil {
		switch {
		case p.rest > 0: // the image is to blame, not the stream
			err = v.refuse(err)
			p.skip()
			return lost{errors.Join(err, p.broken)}
		case p.broken != nil:
			return lost{p.broken}
		}
		return err
	}
	return v.tell(&wire.Told{})
}

func (v *visit) show(lease uint64) error {
	r := v.book.roster(lease)
	states, err := v.states(v.ctx)
	if err != nil {
		return err
	}
	out := &wire.Shown{
		Roster: r.Encode(), SshKey: v.sshKey.Public().(ed25519.PublicKey),
		Held: v.c.Rule().Held, Owed: uint64(v.book.owes(lease) / time.Second),
	}
	for _, e := range r {
		spec, _ := v.book.find(lease, e.ID) // one that is gone by now has none
		out.Standing = append(out.Standing, v.standing(e.ID, spec.Secrets, states))
	}
	return v.tell(&wire.Told{Answer: &wire.Told_Shown{Shown: out}})
}

// standing is how an instance stands, as its client is told.
func (v *visit) standing(id instance.ID, secrets [32]byte, states map[string]sandbox.State) *wire.Standing {
	s, started := states[nameOf(id)]
	if !started {
		return &wire.Standing{State: "reserved", Reason: v.reason(id)}
	}
	out := &wire.Standing{Started: seconds(s.Started)}
	if suspended(s) {
		out.State, out.Ended = "suspended", seconds(s.Ended)
		return out
	}
	switch s.Phase {
	case sandbox.Ended:
		out.State, out.Exit, out.Reason, out.Ended = "exited", int32(s.Exit), fault.Brief(s.Reason), seconds(s.Ended)
		out.Waits = v.waits(id, secrets, s)
		if why := v.reason(id); why != "" && lostIn(s) {
			out.Reason = fault.Brief(out.Reason + "; it can't be run again: " + why)
		}
		return out
	case sandbox.Paused:
		out.State, out.Reason = "paused", v.reason(id)
	case sandbox.Running:
		out.State = "running"
	default:
		out.State, out.Reason = "unknown", "what runs it doesn't answer"
		return out
	}
	if u, err := v.c.Engine.Stats(v.ctx, nameOf(id)); err == nil {
		out.Cpu, out.Memory, out.NetIn, out.NetOut = uint64(u.CPU), u.Memory, u.NetIn, u.NetOut
		out.Pids = uint32(min(u.Pids, math.MaxUint32))
	}
	return out
}

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
