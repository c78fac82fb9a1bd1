// Package door answers HTTP requests with functions: a request for /NAME/rest is
// one call of the function NAME, in the form of CGI (RFC 3875), and what it puts
// out is the answer. It bounds what strangers can make an account pay for: the
// size of a request, how many are answered at once, and how often each function
// is called. It believes nothing that a function puts out.
package door

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"hearth/compute/client"
	"hearth/core/call"
	"hearth/core/fault"
)

// Functions runs functions; compute/client is one.
type Functions interface {
	// Function finds one by its name; fault.NotFound where there is none.
	Function(ctx context.Context, name string) (client.Function, error)
	Invoke(ctx context.Context, name string, w client.Wish) (client.Result, error)
}

// A Config is what a Door needs. A zero field takes its stated default.
type Config struct {
	Functions Functions // required
	Listen    string    // required: host:port

	Names  []string // of hosts in requests that are answered beside this machine's own; default: any, on loopback none
	Only   []string // functions that are called; default: all
	Rate   float64  // requests a second of each function; default DefaultRate
	AtOnce int      // calls at once; default 16
	Verify int      // on how many other hosts outcomes are checked, as client.Wish has it
	// Credentials has Authorization and Cookie passed to functions; default: not, since
	// the hosts that run them can read it.
	Credentials bool

	rest time.Duration // default restPatience

	Metrics *Metrics     // default: figures that nobody sees
	Log     *slog.Logger // default: discard
}

// DefaultRate is how many requests a second of one function are answered.
const DefaultRate = 20

const (
	headerPatience = 10 * time.Second
	restPatience   = 10 * time.Second // for the body of a request that is refused before it is read
	bodyPatience   = time.Minute      // for a whole body, in either direction
	idlePatience   = 2 * time.Minute
	queue          = 5 * time.Second // for a call to have its turn, and its answer to have room
	bringing       = 2 * time.Minute // to find a host and bring it the function, beside the call's own time
	closePatience  = time.Second

	maxHeader      = 32 << 10 // fits into the words of a call
	maxConnections = 512
	maxBodies      = 256 << 20 // bytes held of bodies, both ways
	firstPiece     = 32 << 10  // of a body that has room reserved; then as much again as has come
)

// A Door answers requests. It is safe for concurrent use.
type Door struct {
	c       Config
	private bool                // it listens on a loopback address
	turns   chan struct{}       // one is held during a call
	room    *semaphore.Weighted // of bodies
	ready   chan struct{}
	open    atomic.Int64 // connections

	mu    sync.Mutex
	rates map[string]*rate.Limiter // of functions that there are, or were
	lines map[string]chan struct{} // of those with a store: one is in it for each call that has its turn or waits for it
	calls sync.WaitGroup
}

// New makes a door, which listens from Serve on.
func New(c Config) (*Door, error) {
	if c.Functions == nil || c.Listen == "" {
		return nil, errors.New("functions over HTTP: Functions and Listen are required")
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return nil, fault.New(fault.BadRequest, "functions over HTTP: listen on %s: %w", c.Listen, err)
	}
	if c.Rate < 0 || c.AtOnce < 0 || c.Verify < 0 || c.Verify > client.MaxVerify {
		return nil, fault.New(fault.BadRequest, "functions over HTTP: %g requests a second, %d at once, checked on %d hosts: neither is below 0, and at most %d hosts check",
			c.Rate, c.AtOnce, c.Verify, client.MaxVerify)
	}
	if c.Rate == 0 {
		c.Rate = DefaultRate
	}
	if c.AtOnce == 0 {
		c.AtOnce = 16
	}
	if c.rest == 0 {
		c.rest = restPatience
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Door{
		c: c, private: loopback(host), turns: make(chan struct{}, c.AtOnce), room: semaphore.NewWeighted(maxBodies),
		ready: make(chan struct{}), rates: map[string]*rate.Limiter{}, lines: map[string]chan struct{}{},
	}, nil
}

// Ready is closed when the door answers.
func (d *Door) Ready() <-chan struct{} { return d.ready }

// Rate is how many requests a second of one function are answered.
func (d *Door) Rate() float64 { return d.c.Rate }

// Serve answers until ctx ends. It is called once.
func (d *Door) Serve(ctx context.Context) error {
	l, err := net.Listen("tcp", d.c.Listen)
	if err != nil {
		return fault.New(fault.AddressTaken, "functions over HTTP: listen on %s: %w", d.c.Listen, err)
	}
	calls, end := context.WithCancel(context.WithoutCancel(ctx))
	defer d.calls.Wait()
	defer end()
	server := &http.Server{
		Handler: d, ReadHeaderTimeout: headerPatience, IdleTimeout: idlePatience, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return calls }, ConnState: d.bound,
		ErrorLog: slog.NewLogLogger(d.c.Log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() {
		quiet, cancel := context.WithTimeout(calls, closePatience)
		defer cancel()
		if server.Shutdown(quiet) != nil {
			_ = server.Close() // what is left of it is cut off
		}
		end()
	})
	close(d.ready)
	err = server.Serve(l)
	if stop() {
		_ = server.Close() // it ended by itself; err says why
		return err
	}
	<-calls.Done()
	return nil
}

// bound keeps down how many connections there are.
func (d *Door) bound(c net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		if d.open.Add(1) > maxConnections {
			_ = c.Close() // what it says of it comes up when it is read
		}
	case http.StateClosed, http.StateHijacked:
		d.open.Add(-1)
	}
}

// ServeHTTP answers one request.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.calls.Add(1)
	defer d.calls.Done()
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Time{}) // the one of the request before; a recorder has none
	if r.Body != http.NoBody {
		_ = control.SetReadDeadline(time.Now().Add(d.c.rest)) // net/http reads on behind a refusal, and has no deadline of its own
	}
	seen := d.c.Metrics.Enter("")
	defer seen.Leave()
	name, rest, deeper := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if deeper {
		rest = "/" + rest
	}
	a, done, err := d.call(w, r, visit{name: name, rest: rest, body: -1, credentials: d.c.Credentials})
	defer done()
	if err != nil {
		a = refusal(name, err)
		level := slog.LevelDebug
		if a.status >= http.StatusInternalServerError {
			level = slog.LevelInfo
		}
		d.c.Log.Log(r.Context(), level, "request not answered by its function", "function", cut(name), "status", a.status, "err", err)
	}
	if r.Context().Err() == nil {
		send(w, r, a)
		d.c.Metrics.Out.Add(float64(len(a.body)))
	} else {
		a.status = gone
	}
	count(seen, a.status)
}

// send writes an answer. A client that is gone needs none.
func send(w http.ResponseWriter, r *http.Request, a answer) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(bodyPatience)) // a recorder has none
	h := w.Header()
	for name, values := range a.header {
		h[name] = values
	}
	if len(h["Content-Type"]) == 0 {
		h["Content-Type"] = nil // nothing guesses it
	}
	if r.Method != http.MethodHead && a.status != http.StatusNoContent && a.status != http.StatusNotModified {
		h.Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(a.body)
	}
}

// call has a function answer. done gives back what the answer holds, and is never nil.
func (d *Door) call(w http.ResponseWriter, r *http.Request, v visit) (a answer, done func(), err error) {
	held := int64(0)
	done = func() { d.room.Release(held) }
	if err := d.meant(r); err != nil {
		return a, done, err
	}
	if r.Method == http.MethodConnect || r.Method == http.MethodTrace {
		return a, done, refused{http.StatusMethodNotAllowed, fault.New(fault.BadRequest, "no function is asked with %s", r.Method)}
	}
	f, err := d.function(r.Context(), v.name)
	if err != nil {
		return a, done, err
	}
	if r.ContentLength > call.MaxInput {
		return a, done, fault.New(fault.TooLarge, "a body of %d bytes, at most %d are allowed", r.ContentLength, call.MaxInput)
	}
	wish := client.Wish{Verify: d.c.Verify}
	if wish.Input, err = d.body(w, r, &held); err != nil {
		return a, done, err
	}
	d.c.Metrics.In.Add(float64(len(wish.Input)))
	if r.ContentLength != 0 {
		v.body = len(wish.Input)
	}
	if wish.Env, err = v.environment(r, f.Env); err != nil {
		return a, done, err
	}
	res, err := d.run(r.Context(), f, wish, &held)
	if err != nil {
		return a, done, err
	}
	if a, err = parse(res.Output); err != nil {
		return a, done, err
	}
	return a, done, nil
}

// function finds the one that is asked for, unless it is asked too often.
func (d *Door) function(ctx context.Context, name string) (client.Function, error) {
	if len(d.c.Only) > 0 && !slices.Contains(d.c.Only, name) {
		return client.Function{}, fault.New(fault.NotFound, "there is no function %q", fault.Brief(cut(name)))
	}
	if name == "" {
		return client.Function{}, fault.New(fault.NotFound, "functions are at /NAME")
	}
	f, err := d.c.Functions.Function(ctx, name)
	if err != nil {
		return f, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.rates[name]
	if l == nil {
		l = rate.NewLimiter(rate.Limit(d.c.Rate), max(1, int(2*d.c.Rate)))
		d.rates[name] = l
	}
	if !l.Allow() {
		return f, refused{http.StatusTooManyRequests, fault.New(fault.Busy, "more than %g requests a second", d.c.Rate)}
	}
	return f, nil
}

// body reads what a request brings, within its time. It holds room for what has come
// and as much again, not for what may: who only says that he has much holds nothing.
func (d *Door) body(w http.ResponseWriter, r *http.Request, held *int64) ([]byte, error) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyPatience)) // a recorder has none
	from := http.MaxBytesReader(w, r.Body, call.MaxInput)
	var b []byte
	var probe [1]byte // nothing is reserved to learn that nothing comes
	for {
		to := b[len(b):cap(b)]
		if len(to) == 0 {
			to = probe[:]
		}
		n, err := from.Read(to)
		if n > 0 && cap(b) == len(b) {
			if b = d.grow(b, r.ContentLength, held); b == nil {
				return nil, fault.New(fault.Busy, "there is no room for the body now")
			}
			b = append(b, probe[0])
		} else {
			b = b[:len(b)+n]
		}
		switch {
		case errors.Is(err, io.EOF):
			_ = control.SetReadDeadline(time.Time{}) // else the connection ends with it
			return b, nil
		case errors.As(err, new(*http.MaxBytesError)):
			return nil, fault.New(fault.TooLarge, "a body of more than %d bytes", call.MaxInput)
		case err != nil:
			return nil, refused{http.StatusRequestTimeout, fault.New(fault.BadRequest, "read the body: %w", err)}
		}
	}
}

// grow gives a full b room for more of a body, whose length is given where it is known,
// or nil where there is none.
func (d *Door) grow(b []byte, length int64, held *int64) []byte {
	size := max(2*int64(cap(b)), firstPiece)
	if length > int64(len(b)) {
		size = min(size, length)
	}
	size = min(size, call.MaxInput)
	if !d.room.TryAcquire(size - *held) {
		return nil
	}
	*held = size
	return append(make([]byte, 0, size), b...)
}

// run waits for its turn and has a host run the call. held is what the request holds
// of the room for bodies; afterwards that is what the output takes.
func (d *Door) run(ctx context.Context, f client.Function, w client.Wish, held *int64) (client.Result, error) {
	leave, err := d.stand(ctx, f)
	if err != nil {
		return client.Result{}, err
	}
	defer leave()
	done, err := enter(ctx, d.turns, queue)
	if err != nil {
		return client.Result{}, err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, f.Deadline+bringing)
	defer cancel()
	res, err := d.c.Functions.Invoke(ctx, f.Name, w)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return res, fault.New(fault.Deadline, "no host has answered within %s", f.Deadline+bringing)
	case err != nil:
		return res, err
	case res.Fault != "":
		return res, refused{http.StatusInternalServerError, fault.New(res.Fault, "%s", fault.Brief(res.Reason))}
	case res.Exit != 0:
		return res, fault.New(fault.FunctionFailed, "it ended with status %d", res.Exit)
	}
	d.room.Release(*held)
	*held = 0
	ctx, cancel = context.WithTimeout(ctx, queue)
	defer cancel()
	if err := d.room.Acquire(ctx, int64(len(res.Output))); err != nil {
		return res, fault.New(fault.Busy, "there is no room for the answer now")
	}
	*held = int64(len(res.Output))
	return res, nil
}
