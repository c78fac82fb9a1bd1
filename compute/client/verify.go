package client

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"hearth/compute/wasm"
	"hearth/core/call"
	"hearth/core/fault"
)

// MaxVerify is how many other hosts one call is checked on at most.
const MaxVerify = 8

// An Engine runs modules on this machine, to check what hosts say.
type Engine interface {
	Add(ctx context.Context, module []byte) (wasm.Info, error)
	Info(digest [32]byte) (wasm.Info, bool)
	Call(ctx context.Context, digest [32]byte, c wasm.Call) (wasm.Result, error)
}

// verified runs a call, and checks its outcome where the host isn't trusted yet or
// chance has it: on others that are drawn once the outcome is signed, and now and
// then on this machine. Where two differ this machine decides, and who has signed
// something else is a liar.
func (x *Client) verified(ctx context.Context, f Function, c call.Call, in given, others int) (Result, error) {
	res, err := x.somewhere(ctx, f, c, in, who{})
	if err != nil || others == 0 {
		return res, err
	}
	self := rand.Float64() < selfCheck
	all := []Result{res}
	if x.trust.sample(res.Host) {
		for range others {
			more, err := x.somewhere(ctx, f, c, in, who{notOwners: owners(all), random: true})
			if ctx.Err() != nil {
				return Result{}, context.Cause(ctx)
			}
			if err != nil { // nobody else is there: then only this machine can tell
				x.c.Log.Info("check a call on this machine, for want of others", "function", f.Name, "err", err)
				self = true
				break
			}
			all = append(all, more)
		}
		self = self || !agree(all)
	} else if !self {
		return res, nil
	}
	if !self {
		return x.settled(f, c, all, res)
	}
	own, err := x.here(ctx, f, c, in)
	if err != nil {
		if agree(all) && len(all) > others {
			return x.settled(f, c, all, res)
		}
		return Result{}, fault.New(fault.NotVerified, "call %s: hosts differ, and this machine can't tell who is right: %w", f.Name, err)
	}
	return x.settled(f, c, all, own)
}

// settled counts who was right, remembers who wasn't, and gives the right result,
// with what all of it has cost.
func (x *Client) settled(f Function, c call.Call, all []Result, right Result) (Result, error) {
	out := right
	out.Cost, out.Witnesses, out.Here = 0, nil, right.Host == ""
	for _, r := range all {
		out.Cost += r.Cost
		if r.Outcome == right.Outcome {
			x.trust.wasRight(r.Host)
			out.Witnesses = append(out.Witnesses, r.Host)
			if out.Host == "" {
				out.Host, out.Log, out.Took = r.Host, r.Log, r.Took
			}
			continue
		}
		id := c.Digest()
		l := Liar{
			Host: r.Host, At: x.c.Now().UTC(), Function: f.Name, Call: hex.EncodeToString(id[:]),
			Signed: told(r.Outcome), Right: told(right.Outcome),
		}
		x.c.Log.Warn("a host has signed a wrong outcome, and is hired no more", "host", l.Host, "function", f.Name, "signed", l.Signed, "right", l.Right)
		if err := x.trust.lied(l); err != nil {
			return Result{}, err
		}
		x.dismiss(r.Host)
	}
	return out, nil
}

// told is an outcome in words.
func told(o call.Outcome) string {
	end := fmt.Sprintf("exit %d", o.Exit)
	if o.Fault != "" {
		end = string(o.Fault)
	}
	kept := ""
	if o.Store != [32]byte{} {
		kept = fmt.Sprintf(", store %x", o.Store[:8])
	}
	return fmt.Sprintf("%s, %d gas, output %x of %d bytes%s", end, o.Gas, o.Output[:8], o.Bytes, kept)
}

func agree(all []Result) bool {
	return !slices.ContainsFunc(all, func(r Result) bool { return r.Outcome != all[0].Outcome })
}

func owners(all []Result) (out []string) {
	for _, r := range all {
		out = append(out, r.owner)
	}
	return out
}

// here runs a call on this machine. Its outcome is nobody's word.
func (x *Client) here(ctx context.Context, f Function, c call.Call, in given) (Result, error) {
	if _, ok := x.c.Engine.Info(f.Module); !ok {
		module, err := x.module(ctx, f)
		if err != nil {
			return Result{}, err
		}
		if _, err := x.c.Engine.Add(ctx, module); err != nil {
			return Result{}, err
		}
	}
	began := time.Now()
	out, err := x.c.Engine.Call(ctx, f.Module, wasm.Call{
		Args: c.Args, Env: c.Env, Input: in.input, Now: c.Now, Seed: c.Seed, Gas: c.Gas, Pages: c.Pages,
		Deadline: 5 * MaxDeadline, MaxOutput: int(c.MaxOutput), // hosts may be faster
		Store: in.store, StoreMax: int(c.StoreMax),
	})
	if err != nil {
		return Result{}, fmt.Errorf("run %s on this machine: %w", f.Name, err)
	}
	return Result{
		Outcome: c.Ended(out.Exit, out.Gas, out.Fault, out.Output, out.Store),
		Output:  out.Output, Store: out.Store, Log: out.Log, Reason: out.Reason, Took: time.Since(began),
	}, nil
}

// Liars are the hosts that this machine has found to sign wrong outcomes, by host.
func (x *Client) Liars() []Liar {
	list := x.trust.list()
	slices.SortFunc(list, func(a, b Liar) int { return strings.Compare(a.Host, b.Host) })
	return list
}
