package client

import (
	"context"
	"crypto/rand"
	"fmt"

	"hearth/compute/wire"
	"hearth/core/canon"
	"hearth/core/fault"
	"hearth/core/instance"
	"hearth/internal/bounded"
)

// What opens a suspended instance is kept under its name, as long as it is suspended.
const (
	keys      = "suspended/"
	keysMajor = 1
	keySize   = 32
)

// Suspend has the host write down all that an instance is, sealed with a key that only
// the account has, and end it. It stays reserved, and paid for; Start has it go on where
// it was. The key is kept before anything is sealed with it.
func (x *Client) Suspend(ctx context.Context, name string) error {
	i, pair, err := x.find(ctx, name)
	if err != nil {
		return err
	}
	key, err := x.keyOf(ctx, i)
	if err == nil && key == nil {
		key = make([]byte, keySize)
		_, _ = rand.Read(key) // it never fails
		err = x.c.Records.Keep(ctx, keys+name, canon.New(keysMajor).Fixed(i.ID[:]).Fixed(key).Bytes())
	}
	if err != nil {
		return fmt.Errorf("suspend instance %s: %w", name, err)
	}
	t, end, err := x.open(ctx, pair, x.c.Dialer.Open)
	if err != nil {
		return err
	}
	defer end()
	if _, err = t.order(ctx, &wire.Order{Ask: &wire.Order_Suspend{Suspend: &wire.Suspend{Id: i.ID[:], Key: key}}}, x.c.Prepare); err != nil {
		return fmt.Errorf("suspend instance %s: %w", name, err)
	}
	return nil
}

// resume has a suspended instance go on, and says whether it does: one that isn't
// suspended doesn't.
func (x *Client) resume(ctx context.Context, pair Pair, i Instance) (on bool, err error) {
	key, err := x.keyOf(ctx, i)
	if err != nil || key == nil {
		return false, err
	}
	t, end, err := x.open(ctx, pair, x.c.Dialer.Open)
	if err != nil {
		return false, err
	}
	defer end()
	_, err = t.order(ctx, &wire.Order{Ask: &wire.Order_Resume{Resume: &wire.Resume{Id: i.ID[:], Key: key}}}, x.c.Prepare)
	switch code := fault.CodeOf(err); {
	case code == fault.NotFound: // its host's word alone: the key stays until the instance is removed
		return false, nil
	case err != nil:
		return false, fmt.Errorf("go on with instance %s: %w", i.Name, err)
	}
	if err := x.c.Records.Drop(ctx, keys+i.Name); err != nil {
		x.c.Log.Warn("drop the key of an instance that isn't suspended", "name", i.Name, "err", err)
	}
	return true, nil
}

// keyOf is what an instance was suspended with; nil where it wasn't, as far as is known.
func (x *Client) keyOf(ctx context.Context, i Instance) ([]byte, error) {
	b := &bounded.Buffer{Most: maxRecord, Err: fault.New(fault.TooLarge, "a record has more than %d bytes", maxRecord)}
	err := x.c.Records.Read(ctx, keys+i.Name, b)
	if fault.CodeOf(err) == fault.NotFound {
		return nil, nil
	}
	var id instance.ID
	key := make([]byte, keySize)
	if err == nil {
		r := canon.Read(b.Bytes(), keysMajor)
		r.Fixed(id[:])
		r.Fixed(key)
		err = r.Done()
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("read what instance %s was suspended with: %w", i.Name, err)
	case id != i.ID: // that of another, which had the name before
		return nil, nil
	}
	return key, nil
}

// forgetKey drops the key of an instance whose record is gone.
func (x *Client) forgetKey(ctx context.Context, name string) {
	if _, err := x.read(ctx, name); fault.CodeOf(err) != fault.NoInstance {
		return
	}
	if err := x.c.Records.Drop(ctx, keys+name); err != nil && fault.CodeOf(err) != fault.NotFound {
		x.c.Log.Warn("drop the key of an instance that is gone", "name", name, "err", err)
	}
}
