package client

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"hearth/core/call"
	"hearth/core/fault"
	"hearth/core/money"
)

// A Wish is what somebody wants of one call.
type Wish struct {
	Args  []string // behind the function's name
	Env   []string // NAME=value, after the function's own
	Input []byte
	// Verify is on how many other hosts an outcome is checked, where it is; 0: none is.
	Verify int
}

// A Result is what a host says that became of a call, and has signed.
type Result struct {
	call.Outcome
	Output []byte
	Log    []byte // what it wrote on standard error; no part of what is signed
	Reason string // of a fault
	Store  []byte // what the function's store has become; nil: it is as it was
	Host   string
	Took   time.Duration // from the wish to the last byte
	Cost   money.Amount  // of gas and bytes, each call rounded up; of checks too, and of bringing the module there

	Witnesses []string // hosts that have signed this outcome
	Here      bool     // this machine has computed it too
	owner     string
}

// tries is how many hosts are asked for one call.
const tries = 4

// Invoke runs a function once. A function that fails is a Result with a fault or
// an exit status; an error says that no host ran it.
func (x *Client) Invoke(ctx context.Context, name string, w Wish) (Result, error) {
	f, err := x.Function(ctx, name)
	if err != nil {
		return Result{}, err
	}
	var res Result
	if f.Store > 0 {
		res, err = x.keeping(ctx, name, w)
	} else {
		var c call.Call
		if c, err = x.callOf(f, w); err != nil {
			return Result{}, err
		}
		res, err = x.verified(ctx, f, c, given{input: w.Input}, w.Verify)
	}
	if err != nil {
		return Result{}, err
	}
	x.logs.add(f.Name, x.c.Now(), res)
	return res, nil
}

// callOf is a call of f, but for its store.
func (x *Client) callOf(f Function, w Wish) (call.Call, error) {
	c := call.Call{
		Module: f.Module, Args: append([]string{f.Name}, w.Args...), Env: append(append([]string{}, f.Env...), w.Env...),
		Now: x.c.Now().UnixNano(), Gas: f.Gas, Pages: f.Pages, MaxOutput: call.MaxOutput,
	}
	if _, err := rand.Read(c.Seed[:]); err != nil {
		return c, fmt.Errorf("call %s: %w", f.Name, err)
	}
	if len(w.Input) > call.MaxInput {
		return c, fault.New(fault.TooLarge, "call %s: %d bytes of input, at most %d are allowed", f.Name, len(w.Input), call.MaxInput)
	}
	c.Input = sha256.Sum256(w.Input)
	if err := c.Check(); err != nil {
		return c, err
	}
	if w.Verify < 0 || w.Verify > MaxVerify || w.Verify > 0 && x.c.Engine == nil {
		return c, fault.New(fault.BadRequest, "call %s: checked on %d other hosts, 0 to %d are allowed", f.Name, w.Verify, MaxVerify)
	}
	return c, nil
}

// somewhere asks one host after another until one has run the call.
func (x *Client) somewhere(ctx context.Context, f Function, c call.Call, in given, q who) (Result, error) {
	began := time.Now()
	var last error
	for range tries {
		w, err := x.hire(ctx, q)
		if err != nil {
			if last != nil {
				err = fmt.Errorf("%w; before that: %w", err, last)
			}
			return Result{}, err
		}
		res, err := w.run(ctx, f, c, in)
		x.done(w, err)
		if err == nil {
			res.Took = time.Since(began)
			return res, nil
		}
		if ctx.Err() != nil {
			return Result{}, context.Cause(ctx)
		}
		if !elsewhere(err) {
			return Result{}, err
		}
		x.c.Log.Info("call elsewhere", "function", f.Name, "host", w.pair.Host(), "err", err)
		q.avoid, last = append(slices.Clone(q.avoid), w.pair.Host()), err
	}
	return Result{}, last
}

// elsewhere says whether another host may do what one hasn't: what is the call's
// own fault, or this machine's, is the same everywhere.
func elsewhere(err error) bool {
	if errors.As(err, new(ours)) {
		return false
	}
	switch fault.CodeOf(err) {
	case fault.BadRequest, fault.BadModule, fault.TooLarge, fault.Deadline, fault.NoFunds, fault.LeaseLow, fault.CapReached:
		return false
	}
	return true
}

// Logs writes what is kept on this machine of a function's log.
func (x *Client) Logs(ctx context.Context, name string, w io.Writer) error {
	if _, err := x.Function(ctx, name); err != nil {
		return err
	}
	return x.logs.read(name, w)
}
