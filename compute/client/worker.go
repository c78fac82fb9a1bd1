package client

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"hearth/compute/wire"
	"hearth/core/call"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/p2p"
)

const (
	// fresh is how long hosts are kept before better ones are looked for.
	fresh = 10 * time.Minute
	// askAgain is how long the market isn't asked for more when it had none.
	askAgain = 30 * time.Second
)

// A worker is a host that was hired for calls.
type worker struct {
	x    *Client
	pair Pair
	busy atomic.Int32

	tempo tempo
}

// soil notes that more was paid for on the worker's lease than may have been used,
// also for who is hired on that lease later.
func (w *worker) soil() {
	w.x.mu.Lock()
	defer w.x.mu.Unlock()
	w.x.soiled[w.pair.Lease()] = true
}

// clean learns what was really used, if something broke off before.
func (w *worker) clean(ctx context.Context) {
	w.x.mu.Lock()
	soiled := w.x.soiled[w.pair.Lease()]
	delete(w.x.soiled, w.pair.Lease())
	w.x.mu.Unlock()
	if !soiled {
		return
	}
	if err := w.pair.Resync(ctx); err != nil {
		w.soil()
		w.x.c.Log.Debug("count of what was used not learned", "host", w.pair.Host(), "err", err)
	}
}

// who says which host may run a call.
type who struct {
	avoid     []string // hosts that were tried
	notOwners []string
	random    bool // any of them, not the least busy: so that nobody can tell who is asked
}

func (q who) fits(w *worker) bool {
	return !slices.Contains(q.avoid, w.pair.Host()) && !slices.Contains(q.notOwners, w.pair.Owner())
}

const (
	// crowd is how many calls a host has under way when one more is looked for.
	crowd = 2
	// draw is from how many hosts one is drawn, where there are as many.
	draw = 5
)

// hire gives one of the hosts hired. More are hired where none fits, or where all
// are busy.
func (x *Client) hire(ctx context.Context, q who) (*worker, error) {
	if w := x.pick(q, true); w != nil {
		return w, nil
	}
	select {
	case x.hiring <- struct{}{}:
		defer func() { <-x.hiring }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	for {
		if w := x.pick(q, true); w != nil {
			return w, nil
		}
		more, err := x.grow(ctx, q)
		if more > 0 {
			continue
		}
		if w := x.pick(q, false); w != nil {
			return w, nil
		}
		if err == nil {
			err = fault.New(fault.NoHosts, "hire a host: nobody else sells calls of functions within the ceiling")
		}
		return nil, err
	}
}

// grow hires hosts that weren't before, and says how many.
func (x *Client) grow(ctx context.Context, q who) (int, error) {
	avoid := slices.Concat(q.avoid, x.trust.hosts())
	x.mu.Lock()
	for _, w := range x.crew {
		avoid = append(avoid, w.pair.Host())
	}
	room := x.c.Most - len(x.crew)
	x.mu.Unlock()
	if room <= 0 {
		return 0, nil
	}
	pairs, err := x.c.Market.Hosts(ctx, min(room, x.c.Hosts), avoid)
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.crew) == 0 {
		x.hired = x.c.Now()
	}
	if len(pairs) == 0 {
		x.nobody = x.c.Now()
	}
	had := len(x.crew)
	for _, p := range pairs {
		if !slices.ContainsFunc(x.crew, func(w *worker) bool { return w.pair.Lease() == p.Lease() }) {
			x.crew = append(x.crew, &worker{x: x, pair: p})
		}
	}
	return len(x.crew) - had, err
}

// pick takes one of the hosts hired that fits. With choosy it takes none where all
// are busy, or few to draw from, and there may be others.
func (x *Client) pick(q who, choosy bool) *worker {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := x.c.Now()
	if now.Sub(x.hired) > fresh {
		x.crew = nil
	}
	fit := slices.DeleteFunc(slices.Clone(x.crew), func(w *worker) bool { return !q.fits(w) })
	if len(fit) == 0 {
		return nil
	}
	best := fit[0] // the market has named the best first
	if q.random {
		best = fit[rand.IntN(len(fit))]
	}
	for _, w := range fit {
		if !q.random && w.busy.Load() < best.busy.Load() {
			best = w
		}
	}
	scarce := q.random && len(fit) < draw || !q.random && best.busy.Load() >= crowd
	if choosy && scarce && len(x.crew) < x.c.Most && now.Sub(x.nobody) > askAgain {
		return nil
	}
	best.busy.Add(1)
	return best
}

// done takes a worker back; one that failed is hired no more until others are
// looked for. One that blames the call is asked last: it may lie.
func (x *Client) done(w *worker, err error) {
	w.busy.Add(-1)
	if err == nil || fault.CodeOf(err) == fault.Busy {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	there := len(x.crew)
	x.crew = slices.DeleteFunc(x.crew, func(o *worker) bool { return o == w })
	if len(x.crew) < there && !elsewhere(err) {
		x.crew = append(x.crew, w)
	}
}

func (x *Client) dismiss(host string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.crew = slices.DeleteFunc(x.crew, func(w *worker) bool { return w.pair.Host() == host })
}

// run runs a call there. A host that doesn't have the module gets it.
func (w *worker) run(ctx context.Context, f Function, c call.Call, in given) (Result, error) {
	var sent, counted bool
	for {
		w.clean(ctx)
		res, err := w.once(ctx, f, c, in)
		if err == nil {
			if sent {
				res.Cost = money.AddCap(res.Cost, w.pair.Prices().Owed(quote.Use{In: uint64(f.Size)}))
			}
			return res, nil
		}
		w.soil()
		switch code := fault.CodeOf(err); {
		case code == fault.NoModule && !sent:
			sent = true
			if err = w.send(ctx, f); err == nil {
				continue
			}
		case code == fault.Unpaid && !counted:
			counted = true
			continue
		}
		return Result{}, w.explain(ctx, "call "+f.Name, err)
	}
}

// explain names the host, and gives a lost connection its code.
func (w *worker) explain(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.As(err, new(ours)) {
		return err
	}
	code := fault.HostUnreachable
	if answered(err) {
		code = fault.CodeOf(err)
	}
	return fault.New(code, "%s at %s: %w", what, w.pair.Host(), err)
}

// ours is an error that no host has a part in: another can't help.
type ours struct{ error }

func (o ours) Unwrap() error { return o.error }

// A talk is one stream, and what was paid for on it.
type talk struct {
	w       *worker
	s       p2p.Stream
	in, out uint64
}

// open opens a stream that ends with ctx.
func (w *worker) open(ctx context.Context, how func(context.Context, p2p.Peer, string) (p2p.Stream, error)) (t *talk, end func(), err error) {
	dial, cancel := context.WithTimeout(ctx, w.x.c.Dial)
	defer cancel()
	s, err := how(dial, w.pair.Peer(), Protocol)
	if err != nil {
		return nil, nil, err
	}
	t = &talk{w: w, s: s}
	stop := context.AfterFunc(ctx, func() { s.SetDeadline(time.Unix(1, 0)) })
	return t, func() {
		stop()
		w.pair.Over(t.in, t.out)
		s.Close()
	}, nil
}

func (t *talk) pay(ctx context.Context, in, out uint64) error {
	if in+out == 0 {
		return nil
	}
	if err := t.w.pair.PayFor(ctx, quote.Use{In: in, Out: out}); err != nil {
		return err
	}
	t.in += in
	t.out += out
	return nil
}

// ask sends a request with the grant, and the bytes that belong to it, each piece
// once it is paid for.
func (t *talk) ask(ctx context.Context, r *wire.Request, body []byte) error {
	r.Lease = t.w.pair.Lease()
	g, key, sig := t.w.pair.Grant()
	r.Grant = &wire.Grant{Lease: g.Lease, Peer: g.Peer[:], Until: g.Until, Key: key, Sig: sig}
	first := min(len(body), piece)
	if err := t.pay(ctx, uint64(first), 0); err != nil {
		return err
	}
	t.wait(ctx, t.s.SetWriteDeadline, 0)
	if err := p2p.WriteFrame(t.s, r); err != nil {
		return err
	}
	for paid := first; len(body) > 0; {
		t.wait(ctx, t.s.SetWriteDeadline, 0)
		if _, err := t.s.Write(body[:paid]); err != nil {
			return t.said(ctx, err)
		}
		if body = body[paid:]; len(body) == 0 {
			break
		}
		paid = min(len(body), piece)
		if err := t.pay(ctx, uint64(paid), 0); err != nil {
			return err
		}
	}
	return nil
}

const piece = 256 << 10

// said is what the host may have said before it stopped reading, or else err.
func (t *talk) said(ctx context.Context, err error) error {
	if _, told := t.answer(ctx, 0); answered(told) {
		return told
	}
	return err
}

// wait sets the deadline of what comes next; none holds longer than ctx.
func (t *talk) wait(ctx context.Context, set func(time.Time) error, more time.Duration) {
	_ = set(time.Now().Add(t.w.x.c.Pause + more)) // a stream that is gone says so itself
	if ctx.Err() != nil {
		t.s.SetDeadline(time.Unix(1, 0))
	}
}

// answer reads a response; a refusal is an error with the host's code.
func (t *talk) answer(ctx context.Context, more time.Duration) (*wire.Response, error) {
	t.wait(ctx, t.s.SetReadDeadline, more)
	var r wire.Response
	if err := p2p.ReadFrame(t.s, &r, p2p.MaxFrame); fault.CodeOf(err) == fault.TooLarge {
		return nil, fault.New(fault.BadFrame, "the host's answer: %w", err) // it is the host's that is too large
	} else if err != nil {
		return nil, err
	}
	if r.Code == "" {
		return &r, nil
	}
	return nil, fault.New(refusal(fault.Code(r.Code)), "the host says: %q", fault.Brief(r.Reason))
}

// refusal is the code of a host's word. It says nothing about this machine, its
// account and its ledger, and nothing that is unknown here.
func refusal(code fault.Code) fault.Code {
	switch code {
	case fault.BadRequest, fault.BadModule, fault.TooLarge, fault.Deadline, fault.NoModule, fault.Unpaid, fault.Busy, fault.HostFull,
		fault.SandboxFailed, fault.NoLease, fault.LeaseClosed, fault.MandateRefused, fault.Unauthorized, fault.BadSignature, fault.BadFrame:
		return code
	}
	return fault.HostRefused
}

// send brings the function's module to the host.
func (w *worker) send(ctx context.Context, f Function) error {
	module, err := w.x.module(ctx, f)
	if err != nil {
		return ours{err}
	}
	t, end, err := w.open(ctx, w.x.c.Dialer.OpenBulk)
	if err != nil {
		return err
	}
	defer end()
	if err := t.ask(ctx, &wire.Request{Ask: &wire.Request_Put{Put: &wire.Put{Digest: f.Module[:], Size: uint64(len(module))}}}, module); err != nil {
		return err
	}
	_, err = t.answer(ctx, compiling)
	return err
}

// compiling is how long a host may take over a module.
const compiling = time.Minute

// once has the host run the call, checks what it signs, and fetches what came out.
func (w *worker) once(ctx context.Context, f Function, c call.Call, in given) (res Result, err error) {
	t, end, err := w.open(ctx, w.x.c.Dialer.Open)
	if err != nil {
		return res, err
	}
	defer end()
	if err := w.pair.PayFor(ctx, quote.Use{Gas: c.Gas}); err != nil {
		return res, err
	}
	used := c.Gas // until the host has said otherwise
	defer func() { w.pair.Ran(c.Gas, used) }()
	err = t.ask(ctx, &wire.Request{Ask: &wire.Request_Call{Call: &wire.Call{
		Module: c.Module[:], Args: c.Args, Env: c.Env, Input: uint64(len(in.input)), Now: c.Now, Seed: c.Seed[:],
		Gas: c.Gas, Pages: c.Pages, MaxOutput: c.MaxOutput, Deadline: uint32(f.Deadline / time.Millisecond),
		StoreMax: c.StoreMax, Store: uint64(len(in.store)),
	}}}, in.bytes())
	if err != nil {
		return res, err
	}
	sent := time.Now()
	r, err := t.answer(ctx, compiling+f.Deadline)
	if err != nil {
		return res, err
	}
	took := time.Since(sent)
	d := r.GetDone()
	if res.Outcome, err = outcome(d, c, w.x.c.ChainID, w.pair.Peer().Key); err != nil {
		return res, err
	}
	used = res.Gas
	w.timed(c.Module, res.Gas, len(in.input)+len(in.store), took)
	res.Witnesses = []string{w.pair.Host()}
	res.Host, res.owner, res.Reason = w.pair.Host(), w.pair.Owner(), fault.Brief(d.Reason)
	if err := t.fetch(ctx, c, &res, d.LogBytes); err != nil {
		return res, err
	}
	res.Cost = w.pair.Prices().Owed(quote.Use{In: t.in, Out: t.out, Gas: res.Gas})
	return res, nil
}

// outcome reads what a host has signed of a call.
func outcome(d *wire.Done, c call.Call, chainID string, key ed25519.PublicKey) (o call.Outcome, err error) {
	if d == nil || len(d.Output) != len(o.Output) || d.LogBytes > maxLog || len(d.Store) != 0 && len(d.Store) != len(o.Store) {
		return o, fault.New(fault.BadFrame, "the host's answer isn't an outcome")
	}
	o = call.Outcome{Exit: d.Exit, Gas: d.Gas, Output: [32]byte(d.Output), Bytes: d.OutputBytes, Fault: fault.Code(d.Fault), StoreBytes: d.StoreBytes}
	copy(o.Store[:], d.Store)
	if err := o.Check(c); err != nil {
		return o, err
	}
	return o, o.Verify(chainID, c.Digest(), key, d.Sig)
}

const maxLog = 68 << 10 // as hosts keep

// fetch reads what a call has put out and what its store has become, and compares it
// with what was signed.
func (t *talk) fetch(ctx context.Context, c call.Call, res *Result, logBytes uint64) (err error) {
	o := res.Outcome
	all := make([]byte, o.Bytes+logBytes+o.StoreBytes)
	if len(all) > 0 {
		if err := t.pay(ctx, 0, uint64(len(all))); err != nil {
			return err
		}
		sent := time.Now()
		if err := t.ask(ctx, &wire.Request{Ask: &wire.Request_Fetch{Fetch: &wire.Fetch{}}}, nil); err != nil {
			return err
		}
		if _, err := t.answer(ctx, 0); err != nil {
			return err
		}
		t.w.tempo.trip(time.Since(sent))
		for at := 0; at < len(all); at += piece {
			t.wait(ctx, t.s.SetReadDeadline, 0)
			if _, err := io.ReadFull(t.s, all[at:min(at+piece, len(all))]); err != nil {
				if errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				return err
			}
		}
	}
	kept := o.Bytes + logBytes
	res.Output, res.Log = all[:o.Bytes:o.Bytes], all[o.Bytes:kept:kept]
	if sha256.Sum256(res.Output) != o.Output {
		return fault.New(fault.BadFrame, "the host sent another output than it has signed")
	}
	res.Store, err = leaves(o, c, all[kept:])
	return err
}
