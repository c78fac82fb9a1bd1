package remote

import (
	"context"
	"math/rand/v2"
	"time"

	"hearth/core/fault"
	"hearth/core/proof"
	"hearth/core/share"
	"hearth/storage/wire"
)

// MaxChange is how many shards one Change may add or remove.
const MaxChange = proof.MaxSteps

// maxTries bounds how often a change is made anew because another device of the
// account was faster.
const maxTries = 12

// Change makes shards that were put before part of the lease, takes others out of
// it, and pays for the result: when it returns, a statement that both have signed
// covers it. remove is asked which ones while no other Change of this Host runs;
// it may be nil.
func (h *Host) Change(ctx context.Context, add []proof.Shard, remove func() ([]proof.Hash, error)) error {
	select {
	case h.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-h.turn }()
	var gone []proof.Hash
	if remove != nil {
		var err error
		if gone, err = remove(); err != nil {
			return err
		}
	}
	if len(add)+len(gone) == 0 {
		return nil
	}
	for try := 1; ; try++ {
		now, err := h.state(ctx)
		if err != nil {
			return err
		}
		err = h.change(ctx, now, add, gone)
		code := fault.CodeOf(err)
		if err == nil || code != fault.Stale && code != fault.BadStatement || try == maxTries {
			return err
		}
		// Another device may have changed the lease in between. Two that are at it at
		// once get out of step.
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rand.N(time.Duration(try) * 20 * time.Millisecond)):
		}
		if err := h.c.Pair.Resync(ctx); err != nil {
			return err
		}
		if then, e := h.state(ctx); code == fault.BadStatement && (e != nil || then == now) {
			return err // it wasn't that
		}
	}
}

// lease is what the newest statement says of a lease.
type lease struct {
	units uint64
	root  proof.Hash
}

func (h *Host) state(ctx context.Context) (l lease, err error) {
	units, root, err := h.c.Pair.State(ctx)
	if root == ([32]byte{}) {
		root = proof.EmptyRoot()
	}
	return lease{units, root}, err
}

func (h *Host) change(ctx context.Context, now lease, add []proof.Shard, remove []proof.Hash) error {
	next, grown, err := h.stage(ctx, now.root, add, remove)
	if err != nil {
		return err
	}
	if grown < 0 && uint64(-grown) > now.units {
		return fault.New(fault.BadStatement, "change lease %d: %d bytes leave, it has %d", h.Lease(), -grown, now.units)
	}
	return h.c.Pair.Cover(ctx, now.units+uint64(grown), next)
}

// stage has the host work out the tree after the change, and checks that it is
// exactly this change of the tree that both know.
func (h *Host) stage(ctx context.Context, root proof.Hash, add []proof.Shard, remove []proof.Hash) (next proof.Hash, grown int64, err error) {
	ask := &wire.Stage{Remove: packed(remove)}
	for i := range add {
		ask.Add = append(ask.Add, add[i].Root[:])
	}
	err = h.do(ctx, "change lease", func(s *stream) error {
		if err := h.ask(s, &wire.Request{Ask: &wire.Request_Stage{Stage: ask}}); err != nil {
			return err
		}
		r, err := h.answer(s)
		if err != nil {
			return err
		}
		steps, err := proof.DecodeSteps(r.GetStaged().GetSteps())
		if err != nil {
			return err
		}
		if next, grown, err = proof.FollowExactly(root, steps, add, remove); err != nil {
			return err
		}
		if r.GetStaged() == nil || next != rootOf(r.GetStaged().Root) {
			return fault.New(fault.BadStatement, "the staged root isn't the one the steps lead to")
		}
		return nil
	})
	return next, grown, err
}

func rootOf(b []byte) (h proof.Hash) {
	if len(b) == len(h) {
		copy(h[:], b)
	}
	return h
}

// Revoke has the host refuse a ticket for what the lease holds, until its end.
func (h *Host) Revoke(ctx context.Context, serial share.Serial, until int64) error {
	return h.do(ctx, "revoke ticket", func(s *stream) error {
		if err := h.ask(s, &wire.Request{Ask: &wire.Request_Revoke{Revoke: &wire.Revoke{Serial: serial[:], Until: until}}}); err != nil {
			return err
		}
		_, err := h.answer(s)
		return err
	})
}
