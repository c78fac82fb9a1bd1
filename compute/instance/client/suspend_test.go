package client_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"testing"

	"hearth/compute/sandbox"
	"hearth/core/fault"
	"hearth/core/money"
)

// Checkpoint notes the key where what is kept would lie.
func (e *engine) Checkpoint(_ context.Context, id string, key []byte) (s sandbox.State, err error) {
	err = e.with(id, func(b *box) {
		b.spec.Secrets = map[string][]byte{"sealed with": bytes.Clone(key)}
		b.state.Phase, b.state.Reason = sandbox.Ended, sandbox.Checkpointed
		s = b.state
	})
	return s, err
}

func (e *engine) Restore(_ context.Context, id string, s sandbox.Spec, key []byte) (err error) {
	if werr := e.with(id, func(b *box) {
		if !bytes.Equal(b.spec.Secrets["sealed with"], key) {
			err = fault.New(fault.BadCheckpoint, "another key")
			return
		}
		b.spec = s
		b.state.Phase, b.state.Reason, b.state.Restored = sandbox.Running, "", true
	}); werr != nil {
		return werr
	}
	return err
}

func (w *town) keysKept() int {
	names, err := w.Names(w.t.Context(), "suspended/")
	if err != nil {
		w.t.Fatal(err)
	}
	return len(names)
}

func TestASuspendedInstanceGoesOn(t *testing.T) {
	w := newTown(t)
	i := w.create("web")
	signed := w.desk.units
	for range 2 {
		want(t, "suspend", w.x.Suspend(t.Context(), "web"), "")
		want(t, "suspend it again", w.x.Suspend(t.Context(), "web"), "")
		if s := w.stands("web", "suspended"); s.Reason != "" {
			t.Errorf("%+v", s)
		}
		if w.desk.units != signed {
			t.Error("it isn't paid as before")
		}
		another := w.device() // any of the account's has the key
		want(t, "start", another.Start(t.Context(), "web"), "")
		w.stands("web", "running")
		if n := w.keysKept(); n != 0 {
			t.Errorf("%d keys are kept that open nothing", n)
		}
	}
	if err := w.engine.with(hex.EncodeToString(i.ID[:]), func(b *box) {
		if !b.state.Restored {
			t.Error("it began anew")
		}
	}); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsSuspendedIsNotRunAnewUnseen(t *testing.T) {
	w := newTown(t)
	i := w.create("web")
	want(t, "suspend", w.x.Suspend(t.Context(), "web"), "")
	if err := w.engine.with(hex.EncodeToString(i.ID[:]), func(b *box) { clear(b.spec.Secrets) }); err != nil {
		t.Fatal(err)
	}
	want(t, "start what is damaged", w.x.Start(t.Context(), "web"), fault.BadCheckpoint)
	w.stands("web", "suspended")
	want(t, "lose the key", w.Drop(t.Context(), "suspended/web"), "")
	want(t, "start without the key", w.x.Start(t.Context(), "web"), fault.BadCheckpoint)
	w.stands("web", "suspended")
	want(t, "give it up", w.x.Stop(t.Context(), "web", 0), "")
	w.stands("web", "exited")
	want(t, "suspend what doesn't run", w.x.Suspend(t.Context(), "web"), fault.NotFound)
	want(t, "start anew", w.x.Start(t.Context(), "web"), "")
	w.stands("web", "running")
}

// A host may say what isn't so, and be wrong about it tomorrow.
func TestAHostsWordAloneDropsNoKey(t *testing.T) {
	w := newTown(t)
	i := w.create("web")
	want(t, "suspend", w.x.Suspend(t.Context(), "web"), "")
	if err := w.engine.with(hex.EncodeToString(i.ID[:]), func(b *box) { b.state.Reason = "" }); err != nil {
		t.Fatal(err)
	}
	want(t, "start", w.x.Start(t.Context(), "web"), "") // as one that was stopped
	if n := w.keysKept(); n != 1 {
		t.Errorf("%d keys are kept", n)
	}
	want(t, "remove", w.x.Remove(t.Context(), "web", 0), "")
	if n := w.keysKept(); n != 0 {
		t.Errorf("%d keys are kept of what is gone", n)
	}
}

func TestTheKeyGoesWithTheInstance(t *testing.T) {
	w := newTown(t)
	w.create("web")
	want(t, "suspend", w.x.Suspend(t.Context(), "web"), "")
	if n := w.keysKept(); n != 1 {
		t.Errorf("%d keys are kept", n)
	}
	want(t, "remove", w.x.Remove(t.Context(), "web", 0), "")
	if n := w.keysKept(); n != 0 {
		t.Errorf("%d keys are kept of what is gone", n)
	}
	want(t, "suspend what is gone", w.x.Suspend(t.Context(), "web"), fault.NoInstance)
	if _, err := w.x.Create(t.Context(), "web", "app:1", "hearth1host", w.spec(), money.Ember); err != nil {
		t.Fatal(err)
	}
	w.stands("web", "running")
}
