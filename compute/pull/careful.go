package pull

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"hearth/core/fault"
)

// careful is the way to a registry and to wherever that leads. It gives each answer and
// each read a time, bounds what isn't asked for by us, and keeps logins where they
// belong: in the clear nothing goes but to this machine, unless the user says so, and
// a redirect takes no login along to another host.
type careful struct {
	next  http.RoundTripper
	clear bool // without TLS anywhere
	stall time.Duration
}

const (
	maxToken   = 1 << 20
	maxTrouble = 64 << 10 // of an answer that isn't what was asked for
	maxHops    = 5
)

// RoundTrip sends one request.
func (c *careful) RoundTrip(r *http.Request) (*http.Response, error) {
	refuse := func(format string, args ...any) (*http.Response, error) {
		if r.Body != nil {
			_ = r.Body.Close() // nothing was sent
		}
		return nil, fault.New(fault.RegistryDown, format, args...)
	}
	if r.URL.Scheme != "https" && (r.URL.Scheme != "http" || !c.clear && !loopback(r.URL.Host)) {
		return refuse("it leads to %.100q, where all would go in the clear; nothing was sent there", r.URL.Scheme+"://"+r.URL.Host)
	}
	hops, astray := 0, false
	for at := r; at.Response != nil && at.Response.Request != nil; hops++ { // it was led here
		at = at.Response.Request
		astray = astray || !same(at.URL, r.URL)
	}
	if hops > 0 && r.Method != http.MethodGet && r.Method != http.MethodHead {
		return refuse("where it has its tokens made, %.100q, leads elsewhere; nothing was sent there", r.URL.Host)
	}
	ctx, end := context.WithCancelCause(r.Context())
	slow := fault.New(fault.RegistryDown, "%.100s is silent for %v", r.URL.Host, c.stall)
	t := time.AfterFunc(c.stall, func() { end(slow) })
	r = r.Clone(ctx)
	if astray {
		r.Header.Del("Authorization")
		r.Header.Del("Cookie")
	}
	a, err := c.next.RoundTrip(r)
	t.Stop()
	if err != nil {
		if errors.Is(context.Cause(ctx), slow) {
			err = passing{slow}
		}
		end(nil)
		return nil, err
	}
	b := &timed{from: a.Body, ctx: ctx, end: end, timer: t, stall: c.stall, slow: slow, most: -1}
	switch {
	case a.StatusCode/100 != 2:
		b.most = maxTrouble
	case r.Header.Get("Accept") == "": // what we ask for says what it wants: this is a token
		b.most = maxToken
	}
	a.Body = b
	return a, nil
}

// same says that two addresses are one host's, at one port, in one way.
func same(a, b *url.URL) bool { return a.Scheme == b.Scheme && a.Host == b.Host }

// timed gives each read its time.
type timed struct {
	from  io.ReadCloser
	ctx   context.Context
	end   context.CancelCauseFunc
	timer *time.Timer
	stall time.Duration
	slow  error
	most  int64 // bytes that are left to read; < 0: any
}

// Read reads as much as there is.
func (t *timed) Read(p []byte) (int, error) {
	if t.most == 0 {
		return 0, fault.New(fault.TooLarge, "it answers with more than an answer of its kind may have")
	}
	if t.most > 0 {
		p = p[:min(int64(len(p)), t.most)]
	}
	t.timer.Reset(t.stall)
	n, err := t.from.Read(p)
	t.timer.Stop()
	if t.most > 0 {
		t.most -= int64(n)
	}
	if err != nil && !errors.Is(err, io.EOF) && errors.Is(context.Cause(t.ctx), t.slow) {
		err = t.slow
	}
	return n, err
}

// Close ends the answer.
func (t *timed) Close() error {
	t.timer.Stop()
	t.end(nil)
	return t.from.Close()
}

// follow bounds redirects.
func follow(_ *http.Request, before []*http.Request) error {
	if len(before) > maxHops {
		return fault.New(fault.RegistryDown, "it leads on and on: more than %d redirects", maxHops)
	}
	return nil
}

// passing is an error after which trying again may help.
type passing struct{ error }

func (p passing) Unwrap() error { return p.error }
