package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"hearth/compute/sandbox/wire"
	"hearth/core/fault"
)

// request asks a running instance's keeper.
func (e *Engine) request(ctx context.Context, id string, r wire.Request) (wire.Reply, error) {
	folder, err := e.folder(id)
	if err != nil {
		return wire.Reply{}, err
	}
	if !held(folder) {
		return wire.Reply{}, over(folder, r.Op, id)
	}
	reply, err := ask(ctx, folder, r)
	if err == nil && r.Op == wire.OpStats && reply.Usage == nil {
		err = fmt.Errorf("%s %s: the keeper's answer lacks it", r.Op, id)
	}
	return reply, err
}

// over says that an instance doesn't run, and how it ended.
func over(folder, op, id string) error {
	s, err := saved(folder)
	if err != nil {
		return err
	}
	if s.Phase != Ended {
		s.Reason = Lost
	}
	return fault.New(fault.InstanceEnded, "%s %s: it has ended: %s", op, id, s.Reason)
}

// ask makes a request that is answered at once.
func ask(ctx context.Context, folder string, r wire.Request) (wire.Reply, error) {
	c, reply, err := open(ctx, folder, r, answerWithin)
	if err != nil {
		return wire.Reply{}, err
	}
	return reply, c.Close()
}

// open makes a request and gives the connection, for what follows the reply. What may
// take for ever has a within of 0.
func open(ctx context.Context, folder string, r wire.Request, within time.Duration) (net.Conn, wire.Reply, error) {
	var reply wire.Reply
	c, err := dial(ctx, folder)
	if err != nil {
		return nil, reply, fault.New(fault.SandboxFailed, "%s %s: ask its keeper: %w", r.Op, filepath.Base(folder), err)
	}
	if within > 0 {
		c.SetDeadline(time.Now().Add(within))
	}
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	err = wire.WriteMessage(c, r)
	if err == nil {
		err = wire.ReadMessage(c, &reply)
	}
	if !stop() && ctx.Err() != nil {
		err = ctx.Err()
	}
	switch {
	case err != nil:
		err = fault.New(fault.SandboxFailed, "%s %s: ask its keeper: %w", r.Op, filepath.Base(folder), err)
	case reply.Error != "":
		err = fault.New(known(reply.Code), "%s", reply.Error)
	case reply.State == nil:
		err = fault.New(fault.SandboxFailed, "%s %s: the keeper's answer says nothing", r.Op, filepath.Base(folder))
	}
	if err != nil {
		return nil, reply, errors.Join(err, c.Close())
	}
	c.SetDeadline(time.Time{})
	return c, reply, nil
}

// known is a code that this build has a meaning for.
func known(code string) fault.Code {
	if _, ok := fault.Lookup(fault.Code(code)); ok {
		return fault.Code(code)
	}
	return fault.SandboxFailed
}

// saved is what the keeper wrote last.
func saved(folder string) (State, error) {
	text, err := os.ReadFile(filepath.Join(folder, wire.StateFile))
	if errors.Is(err, os.ErrNotExist) {
		return State{}, fault.New(fault.NotFound, "instance %s: there is none", filepath.Base(folder))
	}
	var s State
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		return State{}, fault.New(fault.DamagedFile, "read the state of %s: %w", filepath.Base(folder), err)
	}
	return s, nil
}
