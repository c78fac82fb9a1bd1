package client

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"hearth/core/canon"
	"hearth/core/fault"
	"hearth/internal/bounded"
	"hearth/internal/durable"
)

// Others are the account's other machines. What is kept reaches them after seconds
// or minutes by itself; a change of a store can't wait for that.
type Others interface {
	// Any says whether another machine is known.
	Any() bool
	// Tell returns when whoever meets from now on learns what was kept here.
	Tell(ctx context.Context) error
	// Meet is Tell, and then brings what any other has told before.
	Meet(ctx context.Context) error
}

const (
	claims     = "claims/" // who is about to change a store: by its function's name and the machine's number
	claimMajor = 1
	claimFor   = 10 * time.Minute // a claim holds unless it is withdrawn: its machine may have died
	claimSkew  = time.Minute      // by which two machines' clocks may differ
	claimTries = 12
	claimPause = time.Second // between two tries on average; by chance, so that two don't meet for ever
)

// errLong ends what holds a store for too long.
var errLong = fault.New(fault.Deadline, "it took more than %v, and others may change the store now", claimFor-claimSkew)

func (x *Client) claimOf(name string, device uint64) string {
	return fmt.Sprintf("%s%s/%016x", claims, name, device)
}

// claim keeps the account's other machines from changing a store until unclaim is
// called or within ends. It writes that it wants to, tells, and looks who else has: of two
// at once the later to tell sees the other, and each that sees one steps back. So
// never two go on. Who is alone asks nobody.
func (x *Client) claim(ctx context.Context, name string) (within context.Context, unclaim func(), err error) {
	if !x.accompanied() {
		_, err := x.joined()
		return ctx, func() {}, err
	}
	if err := x.join(ctx, name); err != nil {
		return nil, nil, fmt.Errorf("claim the store of %s: %w", name, err)
	}
	for range claimTries {
		if err := x.claims(ctx, name, x.c.Now().Add(claimFor)); err != nil {
			return nil, nil, err
		}
		within, cancel := context.WithTimeoutCause(ctx, claimFor-claimSkew, errLong)
		taken, err := false, x.c.Others.Meet(ctx)
		if err == nil {
			taken, err = x.claimed(ctx, name)
		}
		if err == nil && !taken {
			return within, func() { cancel(); x.unclaim(ctx, name) }, nil
		}
		cancel()
		x.unclaim(ctx, name)
		if err != nil {
			return nil, nil, fmt.Errorf("claim the store of %s: %w", name, err)
		}
		wait := time.NewTimer(claimPause/2 + rand.N(claimPause))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return nil, nil, context.Cause(ctx)
		}
	}
	return nil, nil, fault.New(fault.Conflict, "claim the store of %s: another machine of the account works with it", name)
}

func (x *Client) accompanied() bool { return x.c.Others != nil && x.c.Others.Any() }

// joined is since when this machine has to do with stores: from the first time that it
// is asked.
func (x *Client) joined() (time.Time, error) {
	file := filepath.Join(x.c.Dir, "stores", ".joined") // no function has that name
	b, err := os.ReadFile(file)
	switch {
	case err == nil && len(b) == 8:
		return time.Unix(int64(binary.BigEndian.Uint64(b)), 0), nil
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return time.Time{}, fmt.Errorf("begin with stores: %w", err)
	}
	now := x.c.Now()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return now, fmt.Errorf("begin with stores: %w", err)
	}
	return now, durable.Write(file, binary.BigEndian.AppendUint64(nil, uint64(now.Unix())), 0o600)
}

// join has a machine that is new to stores tell of itself, and wait until the others
// must have heard: who believes that it is alone claims nothing.
func (x *Client) join(ctx context.Context, name string) error {
	file := filepath.Join(x.c.Dir, "stores", ".joined")
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		if err := x.claims(ctx, name, time.Unix(0, 0)); err != nil { // there is something to tell
			return err
		}
		if err := x.c.Others.Meet(ctx); err != nil {
			return err
		}
	}
	since, err := x.joined()
	if err != nil {
		return err
	}
	rest := since.Add(x.c.Appear).Sub(x.c.Now())
	if rest <= 0 {
		return nil
	}
	x.c.Log.Info("this machine is new among those of the account, it waits before it changes a store", "function", name, "for", rest)
	wait := time.NewTimer(rest)
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// claims writes down until when this machine claims a store.
func (x *Client) claims(ctx context.Context, name string, until time.Time) error {
	if err := x.c.Blobs.Keep(ctx, x.claimOf(name, x.c.Device), canon.New(claimMajor).Int64(until.Unix()).Bytes()); err != nil {
		return fmt.Errorf("claim the store of %s: %w", name, err)
	}
	return nil
}

// claimed says whether another machine claims a store.
func (x *Client) claimed(ctx context.Context, name string) (bool, error) {
	names, err := x.c.Blobs.Names(ctx, claims+name+"/")
	if err != nil {
		return false, err
	}
	for _, n := range names {
		if n == x.claimOf(name, x.c.Device) {
			continue
		}
		b := &bounded.Buffer{Most: 64}
		if err := x.c.Blobs.Read(ctx, n, b); fault.CodeOf(err) == fault.NotFound {
			continue
		} else if err != nil {
			return false, err
		}
		r := canon.Read(bytes.Clone(b.Bytes()), claimMajor)
		until := r.Int64()
		if err := r.Done(); err != nil {
			return false, fault.New(fault.DamagedFile, "read %s: %w", n, err)
		}
		if time.Unix(until, 0).Add(claimSkew).After(x.c.Now()) {
			return true, nil
		}
	}
	return false, nil
}

// unclaim withdraws a claim, and returns when others know of it and of what was kept
// before. Where that fails they wait until it ends by itself.
func (x *Client) unclaim(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), claimSkew)
	defer cancel()
	err := x.claims(ctx, name, time.Unix(0, 0))
	if err == nil {
		err = x.c.Others.Tell(ctx)
	}
	if err != nil {
		x.c.Log.Warn("the account's other machines don't know yet that a store is free", "function", name, "err", err)
	}
}
