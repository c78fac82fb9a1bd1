package client

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"hearth/core/call"
	"hearth/core/canon"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/store"
	"hearth/internal/bounded"
	"hearth/internal/durable"
)

const (
	stores       = "stores/" // what stores are kept under, by the name of their function
	storeMajor   = 1
	maxMachines  = 1024
	maxKept      = store.MaxBytes + 16*maxMachines + 128
	storeRetries = 4 // calls of one wish, where another machine has changed the store meanwhile
)

// A kept is a store as the account's storage has it.
type kept struct {
	content []byte            // canonical form
	changes map[uint64]uint64 // how many each machine has made
	version string            // of the object; "": there is none yet
	alone   bool              // nothing was claimed: no other machine was known
}

// size is what its keys and values take.
func (k kept) size() int { return len(k.content) - store.Overhead }

func (k kept) encode(name string) []byte {
	w := canon.New(storeMajor).String(name).Uint64(uint64(len(k.changes)))
	for _, device := range slices.Sorted(maps.Keys(k.changes)) {
		w.Uint64(device).Uint64(k.changes[device])
	}
	return w.Fixed(k.content).Bytes()
}

func decodeKept(name string, b []byte) (k kept, err error) {
	r := canon.Read(b, storeMajor)
	of, count := r.String(64), r.Uint64()
	rest := len(b) - 1 - 4 - len(of) - 8 - 16*int(min(count, maxMachines))
	if count > maxMachines || rest < 0 {
		return k, fault.New(fault.DamagedFile, "read the store of %s: %d machines in %d bytes", name, count, len(b))
	}
	k.changes, k.content = map[uint64]uint64{}, make([]byte, rest)
	for last := uint64(0); count > 0; count-- {
		device, made := r.Uint64(), r.Uint64()
		if made == 0 || device <= last && len(k.changes) > 0 {
			return k, fault.New(fault.DamagedFile, "read the store of %s: its machines aren't in order", name)
		}
		k.changes[device], last = made, device
	}
	r.Fixed(k.content)
	if err := r.Done(); err != nil {
		return k, fault.New(fault.CodeOf(err), "read the store of %s: %w", name, err)
	}
	if of != name {
		return k, fault.New(fault.DamagedFile, "read the store of %s: it is that of %q", name, of)
	}
	_, err = store.Decode(k.content, store.MaxSize)
	return k, err
}

// turn waits until nobody else on this machine reads or changes the store of a
// function: its calls run one after another.
func (x *Client) turn(ctx context.Context, name string) (leave func(), err error) {
	x.mu.Lock()
	t := x.turns[name]
	if t == nil {
		t = make(chan struct{}, 1)
		x.turns[name] = t
	}
	x.mu.Unlock()
	select {
	case t <- struct{}{}:
		return func() { <-t }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// read reads the store of a function. One that was never changed is empty.
func (x *Client) read(ctx context.Context, name string) (kept, error) {
	b := &bounded.Buffer{Most: maxKept}
	version, err := x.c.Blobs.Load(ctx, stores+name, b)
	if fault.CodeOf(err) == fault.NotFound {
		return kept{content: store.New(0).Encode(), changes: map[uint64]uint64{}}, nil
	}
	if err != nil {
		return kept{}, fmt.Errorf("read the store of %s: %w", name, err)
	}
	k, err := decodeKept(name, b.Bytes())
	k.version = version
	return k, err
}

// lost says once that changes which this machine has made aren't in a store: another
// machine has removed it, or changed it without having seen them.
func (x *Client) lost(name string, k kept) error {
	made, err := x.changes(name)
	if err != nil || k.changes[x.c.Device] >= made {
		return err
	}
	if err := x.note(name, k.changes[x.c.Device]); err != nil {
		return err
	}
	return fault.New(fault.Conflict, "the store of %s: %d of the changes that this machine has made aren't in it: another machine of the account has changed it at the same time, or removed it; this is said once",
		name, made-k.changes[x.c.Device])
}

func (x *Client) noteOf(name string) string { return filepath.Join(x.c.Dir, "stores", name) }

// changes is how many this machine knows that it has made to a store.
func (x *Client) changes(name string) (uint64, error) {
	b, err := os.ReadFile(x.noteOf(name))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("count the changes of a store: %w", err)
	case len(b) != 8:
		return 0, fault.New(fault.DamagedFile, "count the changes of a store: %s has %d bytes", x.noteOf(name), len(b))
	}
	return binary.BigEndian.Uint64(b), nil
}

func (x *Client) note(name string, made uint64) error {
	if err := os.MkdirAll(filepath.Dir(x.noteOf(name)), 0o700); err != nil {
		return fmt.Errorf("count the changes of a store: %w", err)
	}
	return durable.Write(x.noteOf(name), binary.BigEndian.AppendUint64(nil, made), 0o600)
}

// commit puts changed content in the place of k; fault.Exists where something else is
// there meanwhile.
func (x *Client) commit(ctx context.Context, name string, k kept, content []byte) error {
	if k.alone && x.accompanied() {
		return fault.New(fault.Exists, "keep the store of %s: another machine of the account has appeared meanwhile", name)
	}
	next := kept{content: content, changes: maps.Clone(k.changes)}
	next.changes[x.c.Device]++
	if len(next.changes) > maxMachines {
		return fault.New(fault.TooLarge, "keep the store of %s: more than %d machines have changed it", name, maxMachines)
	}
	if err := x.c.Blobs.Swap(ctx, stores+name, next.encode(name), k.version); err != nil {
		return fmt.Errorf("keep the store of %s: %w", name, err)
	}
	if err := x.note(name, next.changes[x.c.Device]); err != nil { // it only serves to tell of what is lost later
		x.c.Log.Warn("the changes of a store aren't counted", "function", name, "err", err)
	}
	return nil
}

// hold does something with the store of a function that is there, while nobody else
// changes it: the name becomes one of a file and a claim. What do is given lasts as long
// as that is sure.
func (x *Client) hold(ctx context.Context, name string, do func(ctx context.Context, k kept) error) error {
	leave, err := x.turn(ctx, name)
	if err != nil {
		return err
	}
	defer leave()
	alone := !x.accompanied()
	ctx, unclaim, err := x.claim(ctx, name)
	if err != nil {
		return err
	}
	defer unclaim()
	k, err := x.read(ctx, name)
	if err == nil {
		err = x.lost(name, k)
	}
	if err != nil {
		return err
	}
	k.alone = alone
	return do(ctx, k)
}

// keeping runs a function that has a store: on what is in it, and what the function
// has changed is kept before anybody gets the result. Where somebody else has changed
// the store meanwhile the result counts for nothing, and the call is run anew.
func (x *Client) keeping(ctx context.Context, name string, w Wish) (res Result, err error) {
	var spent money.Amount
	for range storeRetries {
		err = x.hold(ctx, name, func(ctx context.Context, k kept) error {
			res, err = x.keepingOnce(ctx, name, k, w)
			return err
		})
		res.Cost = money.AddCap(res.Cost, spent)
		if fault.CodeOf(err) != fault.Exists {
			return res, err
		}
		x.c.Log.Info("call run anew, its store was changed meanwhile", "function", name, "err", err)
		spent = res.Cost
	}
	return Result{}, fault.New(fault.Conflict, "call %s: each of %d times somebody else has changed its store meanwhile", name, storeRetries)
}

func (x *Client) keepingOnce(ctx context.Context, name string, k kept, w Wish) (Result, error) {
	f, err := x.Function(ctx, name) // what it is now, after its turn has come
	if err != nil {
		return Result{}, err
	}
	c, err := x.callOf(f, w)
	if err != nil {
		return Result{}, err
	}
	in := given{input: w.Input}
	if f.Store > 0 {
		if had := k.size(); had > f.Store {
			return Result{}, fault.New(fault.BadRequest, "call %s: its store has %d bytes, it may have %d: remove keys, or deploy it with a larger one", name, had, f.Store)
		}
		in.store, c.Store, c.StoreMax = k.content, store.Digest(k.content), uint64(f.Store)
	}
	res, err := x.verified(ctx, f, c, in, w.Verify)
	if err != nil || res.Store == nil {
		return res, err
	}
	return res, x.commit(ctx, name, k, res.Store)
}

// Stored gives what is in the store of a function.
func (x *Client) Stored(ctx context.Context, name string) (*store.Store, Function, error) {
	f, err := x.Function(ctx, name)
	if err != nil {
		return nil, f, err
	}
	k, err := x.read(ctx, name)
	if err != nil {
		return nil, f, err
	}
	s, err := store.Decode(k.content, store.MaxSize)
	return s, f, err
}

// Put gives a key of a function's store a value, between two calls.
func (x *Client) Put(ctx context.Context, name, key string, value []byte) error {
	return x.change(ctx, name, func(s *store.Store) error {
		switch s.Set(key, value) {
		case store.Refused:
			return fault.New(fault.TooLarge, "keep a value: a key is text of 1 to %d bytes, a value has at most %d", store.MaxKey, store.MaxValue)
		case store.Full:
			return fault.New(fault.TooLarge, "keep a value: the store of %s is full: deploy it with a larger one, or remove keys", name)
		}
		return nil
	})
}

// Forget removes a key of a function's store, between two calls.
func (x *Client) Forget(ctx context.Context, name, key string) error {
	return x.change(ctx, name, func(s *store.Store) error {
		if !s.Delete(key) {
			return fault.New(fault.NotFound, "the store of %s has no key %q", name, fault.Brief(key))
		}
		return nil
	})
}

func (x *Client) change(ctx context.Context, name string, do func(*store.Store) error) error {
	if _, err := x.Function(ctx, name); err != nil {
		return err
	}
	for range storeRetries {
		err := x.hold(ctx, name, func(ctx context.Context, k kept) error { return x.changeOnce(ctx, name, k, do) })
		if fault.CodeOf(err) != fault.Exists {
			return err
		}
	}
	return fault.New(fault.Conflict, "change the store of %s: each of %d times somebody else has changed it meanwhile", name, storeRetries)
}

func (x *Client) changeOnce(ctx context.Context, name string, k kept, do func(*store.Store) error) error {
	f, err := x.Function(ctx, name)
	if err != nil {
		return err
	}
	if f.Store == 0 {
		return fault.New(fault.BadRequest, "the function %s has no store; `hearth fn deploy --store SIZE` gives it one", name)
	}
	s, err := store.Decode(k.content, max(f.Store, k.size())) // one that is too large can lose keys
	if err != nil {
		return err
	}
	if err := do(s); err != nil {
		return err
	}
	b := s.Encode()
	if bytes.Equal(b, k.content) {
		return nil
	}
	return x.commit(ctx, name, k, b)
}

// resized settles how large a function's store is, which may not be less than what is
// in it. all are the functions as they were.
func (x *Client) resized(ctx context.Context, f *Function, all []Function) error {
	i := slices.IndexFunc(all, func(o Function) bool { return o.Name == f.Name })
	if f.Store == 0 && i >= 0 {
		f.Store = all[i].Store
		return nil
	}
	f.Store = max(f.Store, 0)
	if i < 0 {
		return nil
	}
	k, err := x.read(ctx, f.Name)
	if err != nil {
		return err
	}
	if had := k.size(); had > f.Store {
		return fault.New(fault.BadRequest, "deploy %s: its store has %d bytes, which is more than %d: remove keys first, or the function", f.Name, had, f.Store)
	}
	return nil
}

// forgotten drops the store of a function that is removed.
func (x *Client) forgotten(ctx context.Context, name string) error {
	claimed, err := x.c.Blobs.Names(ctx, claims+name+"/")
	if err != nil {
		return err
	}
	for _, blob := range append(claimed, stores+name) {
		if err := x.c.Blobs.Drop(ctx, blob); err != nil && fault.CodeOf(err) != fault.NotFound {
			return err
		}
	}
	if err := os.Remove(x.noteOf(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forget the store of %s: %w", name, err)
	}
	return nil
}

// given is what a call is given as bytes.
type given struct {
	input []byte
	store []byte // canonical form; nil: it has none
}

func (g given) bytes() []byte {
	if len(g.store) == 0 {
		return g.input
	}
	return slices.Concat(g.input, g.store)
}

// leaves checks a changed store that a host has handed over against what it has signed.
func leaves(o call.Outcome, c call.Call, b []byte) ([]byte, error) {
	if o.StoreBytes == 0 {
		return nil, nil
	}
	if store.Digest(b) != o.Store {
		return nil, fault.New(fault.BadFrame, "the host sent another store than it has signed")
	}
	if _, err := store.Decode(b, int(c.StoreMax)); err != nil {
		return nil, fault.New(fault.BadFrame, "the host has signed what is no store: %w", err)
	}
	return b, nil
}
