package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"hearth/compute/sandbox/wire"
	"hearth/core/fault"
	"hearth/internal/durable"
)

// Checkpoint suspends an instance: all that it is (memory, files, secrets) is written
// into its folder, sealed with key, and it ends with the reason Checkpointed. Until
// that is whole it is only held, and goes on when anything fails or ctx ends. Without
// the key, which the engine doesn't keep, nobody goes on from it; a key has 32 bytes.
//
// The file has at most the instance's memory and disk, and is gone with the next
// Restore or Start, with Stop, and with the instance.
func (e *Engine) Checkpoint(ctx context.Context, id string, key []byte) (State, error) {
	folder, err := e.folder(id)
	if err != nil {
		return State{}, err
	}
	if !held(folder) {
		return State{}, fault.New(fault.NotFound, "suspend %s: it isn't running", id)
	}
	if err := e.proveCheckpoint(ctx); err != nil {
		return State{}, err
	}
	return e.checkpoint(ctx, folder, key)
}

func (e *Engine) checkpoint(ctx context.Context, folder string, key []byte) (State, error) {
	c, reply, err := open(ctx, folder, wire.Request{Op: wire.OpCheckpoint, Key: key}, 0)
	if err != nil {
		return State{}, err
	}
	if err := errors.Join(c.Close(), gone(ctx, folder, reapWithin)); err != nil {
		return *reply.State, err
	}
	if reply.State.Reason != Checkpointed {
		return *reply.State, fault.New(fault.SandboxFailed, "suspend %s: it ended meanwhile (%s)", reply.State.ID, reply.State.Reason)
	}
	return *reply.State, nil
}

// Restore has a suspended instance go on where it was. s is what it was started with
// but for its secrets, which come back with it; its rootfs must hold the same files.
// Connections that it had are broken, programs that Exec ran are ended, its clock has
// gone on, and its log and its limits go on. What can't be gone on from is kept and
// nothing of it runs (fault.BadCheckpoint).
func (e *Engine) Restore(ctx context.Context, id string, s Spec, key []byte) error {
	folder, err := e.folder(id)
	if err != nil {
		return err
	}
	if held(folder) {
		return fault.New(fault.AlreadyRunning, "go on with %s: it is running", id)
	}
	if _, err := os.Stat(filepath.Join(folder, wire.Checkpoint)); err != nil {
		return fault.New(fault.BadCheckpoint, "go on with %s: %w", id, err)
	}
	return e.launch(ctx, folder, wire.Launch{ID: id, Spec: s, Restore: &wire.Restore{Key: key}})
}

// suspended says whether a whole checkpoint is in folder. One that was written when the
// machine went down, before anybody noted the end, is as good as any: from then on the
// instance did nothing more.
func suspended(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, wire.Checkpoint))
	return err == nil
}

// giveUp removes what is kept of a suspended instance, which has then just ended.
func (e *Engine) giveUp(ctx context.Context, folder string) (State, error) {
	s, err := e.look(ctx, folder)
	if err != nil || s.Phase != Ended || s.Reason != Checkpointed {
		return s, err
	}
	s.Reason = Stopped
	text, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		err = os.Remove(filepath.Join(folder, wire.Checkpoint))
	}
	if err == nil {
		err = durable.Write(filepath.Join(folder, wire.StateFile), append(text, '\n'), 0o600)
	}
	if err != nil {
		return s, fmt.Errorf("give up what is kept of %s: %w", s.ID, err)
	}
	return s, nil
}
