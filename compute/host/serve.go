package host

import (
	"crypto/sha256"
	"fmt"
	"io"
	"time"

	"hearth/compute/wasm"
	"hearth/compute/wire"
	"hearth/core/call"
	"hearth/core/fault"
	"hearth/core/gas"
	"hearth/core/store"
)

// maxLog is what an engine keeps of a call's log, and a little.
const maxLog = 68 << 10

// gasSecond is what a call that was ended at its deadline owes for a second: how far
// it had come nobody can tell, and to run for nothing would be an attack.
const gasSecond = 1_000_000_000

// piece is how many bytes are paid for and moved at once.
const piece = 256 << 10

// read takes size bytes that follow a request, each piece once there is room and it
// is paid for: who only announces bytes holds no room. held is what is to be given
// back when they are needed no more.
func (v *visit) read(lease, size uint64) (b []byte, held int64, err error) {
	for uint64(len(b)) < size {
		n := min(size-uint64(len(b)), piece)
		if err := v.budget.take(int64(n)); err != nil {
			return nil, held, err
		}
		held += int64(n)
		if err := v.gate.Take(v.ctx, lease, n, 0); err != nil {
			return nil, held, err
		}
		at := len(b)
		b = append(b, make([]byte, n)...)
		v.wait(v.s.SetReadDeadline, v.c.Pause)
		if _, err := io.ReadFull(v.s, b[at:]); err != nil {
			return nil, held, lost{err}
		}
	}
	return b, held, nil
}

func (v *visit) put(lease uint64, ask *wire.Put) error {
	want, err := digest("module", ask.GetDigest())
	if err != nil {
		return err
	}
	if ask.Size == 0 || ask.Size > gas.MaxModule {
		return fault.New(fault.TooLarge, "put module: %d bytes, 1 to %d are allowed", ask.Size, gas.MaxModule)
	}
	module, held, err := v.read(lease, ask.Size)
	defer func() { v.budget.give(held) }()
	if err != nil {
		return err
	}
	if sha256.Sum256(module) != want {
		return fault.New(fault.BadRequest, "put module: the bytes don't have the digest %x", want[:8])
	}
	if _, err := v.c.Engine.Add(v.ctx, module); err != nil {
		return err
	}
	return v.answer(&wire.Response{})
}

// made is what a call has put out.
type made struct {
	lease uint64
	parts [3][]byte // output, log, and the store that it has changed
}

func (m *made) size() (n int) {
	for _, b := range m.parts {
		n += len(b)
	}
	return n
}

// drop forgets what nobody has fetched.
func (v *visit) drop() {
	if v.made != nil {
		v.budget.give(int64(v.made.size()))
		v.made = nil
	}
}

func (v *visit) call(lease uint64, ask *wire.Call) error {
	v.drop()
	module, err := digest("module", ask.GetModule())
	if err != nil {
		return err
	}
	seed, err := digest("seed", ask.GetSeed())
	if err != nil {
		return err
	}
	if ask.Input > call.MaxInput {
		return fault.New(fault.TooLarge, "call function: %d bytes of input, at most %d are allowed", ask.Input, call.MaxInput)
	}
	if ask.Store > min(ask.StoreMax, store.MaxSize)+store.Overhead || (ask.Store == 0) != (ask.StoreMax == 0) {
		return fault.New(fault.BadRequest, "call function: a store of %d bytes, which may become %d", ask.Store, ask.StoreMax)
	}
	c := call.Call{
		Module: module, Args: ask.Args, Env: ask.Env, Now: ask.Now, Seed: seed, Gas: ask.Gas, Pages: ask.Pages, MaxOutput: ask.MaxOutput,
		StoreMax: ask.StoreMax,
	}
	if ask.Store > 0 {
		c.Store = [32]byte{1} // until it is read
	}
	if err := c.Check(); err != nil {
		return err
	}
	if c.Pages > v.c.MaxPages {
		return fault.New(fault.HostFull, "call function: %d pages of memory, this host gives a call at most %d", c.Pages, v.c.MaxPages)
	}
	if v.c.Paused() {
		return fault.New(fault.HostFull, "call function: this host is paused by its owner")
	}
	if _, ok := v.c.Engine.Info(module); !ok {
		return fault.New(fault.NoModule, "call function: the module %x isn't here", module[:8])
	}
	if err := v.budget.take(maxLog); err != nil { // few calls put out more, and few run at once
		return err
	}
	defer v.budget.give(maxLog)
	sent, held, err := v.read(lease, ask.Input+ask.Store)
	defer func() { v.budget.give(held) }()
	if err != nil {
		return err
	}
	input, kept := sent[:ask.Input:ask.Input], sent[ask.Input:]
	c.Input = sha256.Sum256(input)
	if len(kept) == 0 {
		kept = nil
	} else {
		c.Store = store.Digest(kept)
	}
	out, err := v.run(lease, c, input, kept, time.Duration(ask.Deadline)*time.Millisecond)
	if err != nil {
		return err
	}
	v.made = &made{lease: lease, parts: [3][]byte{out.Output, out.Log, out.Store}}
	v.budget.hold(int64(v.made.size()))
	return v.answer(&wire.Response{Answer: &wire.Response_Done{Done: v.done(c, out)}})
}

// done signs what came of a call.
func (v *visit) done(c call.Call, out wasm.Result) *wire.Done {
	o := c.Ended(out.Exit, out.Gas, out.Fault, out.Output, out.Store)
	d := &wire.Done{
		Exit: o.Exit, Gas: o.Gas, Output: o.Output[:], OutputBytes: o.Bytes, Fault: string(o.Fault), StoreBytes: o.StoreBytes,
		Reason: fault.Brief(out.Reason), LogBytes: uint64(len(out.Log)), Sig: o.Sign(v.c.ChainID, c.Digest(), v.c.Key),
	}
	if c.StoreMax > 0 {
		d.Store = o.Store[:]
	}
	return d
}

// run runs a call whose gas is paid ahead, and counts back what it leaves.
func (v *visit) run(lease uint64, c call.Call, input, kept []byte, deadline time.Duration) (out wasm.Result, err error) {
	var ended func(used uint64)
	err = v.gate.Paid(v.ctx, lease, func() (err error) {
		ended, err = v.c.Meter.Hold(lease, c.Gas)
		return err
	})
	if err != nil {
		return out, err
	}
	used := uint64(0)
	defer func() { ended(used) }()
	limit := min(max(deadline, time.Millisecond), v.c.Longest)
	began := time.Now()
	out, err = v.c.Engine.Call(v.ctx, c.Module, wasm.Call{
		Args: c.Args, Env: c.Env, Input: input, Now: c.Now, Seed: c.Seed, Gas: c.Gas, Pages: c.Pages,
		Deadline: limit, MaxOutput: int(c.MaxOutput), Store: kept, StoreMax: int(c.StoreMax),
	})
	if out.Gas > c.Gas {
		return wasm.Result{}, fmt.Errorf("call function: the engine counts %d gas, the limit is %d", out.Gas, c.Gas)
	}
	took := time.Since(began)
	v.figures.count(took, out, err)
	if used = out.Gas; fault.CodeOf(err) == fault.Deadline {
		used = min(c.Gas, uint64(min(took, limit).Seconds()*gasSecond)) // to wait for its turn is free
	}
	return out, err
}

// fetch hands over what the call before has put out, once it is paid for.
func (v *visit) fetch(lease uint64) error {
	m := v.made
	if m == nil || m.lease != lease {
		return fault.New(fault.BadRequest, "fetch output: no call of this stream has left any")
	}
	if err := v.gate.Take(v.ctx, lease, 0, uint64(m.size())); err != nil {
		return err
	}
	defer v.drop()
	if err := v.answer(&wire.Response{}); err != nil {
		return err
	}
	for _, b := range m.parts {
		for len(b) > 0 {
			n := min(len(b), piece)
			v.wait(v.s.SetWriteDeadline, v.c.Pause)
			if _, err := v.s.Write(b[:n]); err != nil {
				return lost{err}
			}
			b = b[n:]
		}
	}
	return nil
}

func digest(what string, b []byte) (out [32]byte, err error) {
	if len(b) != len(out) {
		return out, fault.New(fault.BadRequest, "a %s has %d bytes, not %d", what, len(out), len(b))
	}
	return [32]byte(b), nil
}
