package host

import (
	"context"

	"hearth/compute/sandbox"
	"hearth/compute/wire"
	"hearth/core/fault"
	"hearth/core/instance"
)

// A Suspender is what of an Engine keeps an instance while it doesn't run.
type Suspender interface {
	Checkpoint(ctx context.Context, id string, key []byte) (sandbox.State, error)
	Restore(ctx context.Context, id string, s sandbox.Spec, key []byte) error
}

const keySize = 32

// suspended says whether an instance can go on where it was.
func suspended(s sandbox.State) bool {
	return s.Phase == sandbox.Ended && s.Reason == sandbox.Checkpointed
}

// refuseAnew keeps what is suspended from being run anew by a client that doesn't know
// that it is.
func refuseAnew(id instance.ID) error {
	return fault.New(fault.BadCheckpoint, "start instance %x: it is suspended, and the key that it was suspended with isn't here; stop gives up what is kept of it", id)
}

// suspend has the engine write down an instance and end it.
func (h *Host) suspend(ctx context.Context, lease uint64, id instance.ID, key []byte) error {
	s, _, give, err := h.turn(ctx, lease, id, key)
	if err != nil {
		return err
	}
	defer give()
	switch {
	case suspended(s):
		return nil
	case s.Phase == "" || s.Phase == sandbox.Ended:
		return fault.New(fault.NotFound, "suspend instance %x: it isn't running", id)
	}
	_, err = h.c.Engine.Checkpoint(ctx, nameOf(id), key)
	return err
}

// resume has it go on. Its image is held as long as it is suspended.
func (h *Host) resume(ctx context.Context, lease uint64, id instance.ID, key []byte) error {
	s, spec, give, err := h.turn(ctx, lease, id, key)
	if err != nil {
		return err
	}
	defer give()
	switch {
	case s.Phase == sandbox.Unreachable: // it may go on, or not
		return fault.New(fault.Busy, "go on with instance %x: what runs it doesn't answer", id)
	case s.Phase != "" && s.Phase != sandbox.Ended:
		return nil
	case !suspended(s):
		return fault.New(fault.NotFound, "go on with instance %x: it isn't suspended", id)
	}
	if err := h.runs(ctx, lease); err != nil {
		return err
	}
	return h.begin(ctx, id, spec, nowhere{}, func(box sandbox.Spec) error {
		return h.c.Engine.Restore(ctx, nameOf(id), box, key)
	})
}

// turn makes the caller the only one that changes whether an instance runs, and says how
// it stands; the zero State: it was never started.
func (h *Host) turn(ctx context.Context, lease uint64, id instance.ID, key []byte) (s sandbox.State, spec instance.Spec, give func(), err error) {
	if len(key) != keySize {
		return s, spec, nil, fault.New(fault.BadRequest, "a key has %d bytes, not %d", len(key), keySize)
	}
	if spec, err = h.book.find(lease, id); err != nil {
		return s, spec, nil, err
	}
	if !h.take(id) {
		return s, spec, nil, fault.New(fault.Busy, "instance %x is being started or ended", id)
	}
	states, err := h.states(ctx)
	if err != nil {
		h.give(id)
		return s, spec, nil, err
	}
	return states[nameOf(id)], spec, func() { h.give(id) }, nil
}

func (v *visit) suspendOrder(lease uint64, ask *wire.Suspend) error {
	id, err := idOf(ask.GetId())
	if err == nil {
		err = v.suspend(v.ctx, lease, id, ask.GetKey())
	}
	clear(ask.GetKey())
	if err != nil {
		return err
	}
	return v.tell(&wire.Told{})
}

func (v *visit) resumeOrder(lease uint64, ask *wire.Resume) error {
	id, err := idOf(ask.GetId())
	if err == nil {
		err = v.resume(v.ctx, lease, id, ask.GetKey())
	}
	clear(ask.GetKey())
	if err != nil {
		return err
	}
	return v.tell(&wire.Told{})
}
