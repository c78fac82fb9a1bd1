package keeper

import (
	"context"

	"cosmossdk.io/collections"

	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/proving"
	hoststypes "hearth/ledger/hosts/types"
	"hearth/ledger/proofs/types"
)

// tree is a host's Fenwick tree in the store. It keeps the first error.
type tree struct {
	ctx  context.Context
	k    Keeper
	host string
	kept types.Tree
	proving.Fenwick
	err error
}

func (k Keeper) tree(ctx context.Context, host string) (*tree, error) {
	kept, err := found(k.trees.Get(ctx, host))
	t := &tree{ctx: ctx, k: k, host: host, kept: kept}
	t.Fenwick = proving.Fenwick{Cells: t, Size: proving.Size{Cap: kept.Cap, Used: kept.Used, Free: kept.Free}}
	return t, err
}

// Get reads a cell.
func (t *tree) Get(i uint64) uint64 {
	v, err := found(t.k.cells.Get(t.ctx, collections.Join(t.host, i)))
	if t.err == nil {
		t.err = err
	}
	return v
}

// Set writes a cell; zeros take no room.
func (t *tree) Set(i, value uint64) {
	at := collections.Join(t.host, i)
	var err error
	if value == 0 {
		err = t.k.cells.Remove(t.ctx, at)
	} else {
		err = t.k.cells.Set(t.ctx, at, value)
	}
	if t.err == nil {
		t.err = err
	}
}

// save writes what is kept beside the cells.
func (t *tree) save() error {
	if t.err != nil {
		return t.err
	}
	is := t.kept
	is.Cap, is.Used, is.Free = t.Size.Cap, t.Size.Used, t.Size.Free
	if is == t.kept {
		return nil
	}
	return t.k.trees.Set(t.ctx, t.host, is)
}

// total is the sum of the rates of a host's storage leases.
func (k Keeper) total(ctx context.Context, host string) (uint64, error) {
	t, err := k.tree(ctx, host)
	if err != nil {
		return 0, err
	}
	return t.Total(), t.err
}

// Weigh takes note of a storage lease's rate, 0 for one that earns nothing any
// more. Its host is judged and, where the rate differs, not frozen. share is what
// the lease's client gets of bonds that the host has lost; it lies in the hosts'
// account.
func (k Keeper) Weigh(ctx context.Context, host string, lease uint64, rate money.Rate) (share money.Amount, err error) {
	w, err := found(k.weights.Get(ctx, lease))
	if err != nil {
		return 0, err
	}
	t, err := k.tree(ctx, host)
	if err != nil {
		return 0, err
	}
	if w.Rate > 0 && w.Forfeits < t.kept.Forfeits {
		if share, err = k.share(ctx, &w, t.kept.Forfeits); err != nil {
			return 0, err
		}
		if err := k.weights.Set(ctx, lease, w); err != nil {
			return 0, err
		}
		if share > 0 {
			if err := emit(ctx, &types.EventCompensated{Lease: lease, Host: host, Amount: uint64(share)}); err != nil {
				return 0, err
			}
		}
	}
	if w.Rate == uint64(rate) {
		return share, nil
	}
	return share, k.reweigh(ctx, t, w, host, lease, uint64(rate))
}

// reweigh changes a lease's weight, and with it what its host owes.
func (k Keeper) reweigh(ctx context.Context, t *tree, w types.Weight, host string, lease, rate uint64) error {
	s, _, err := k.look(ctx, host)
	if err != nil {
		return err
	}
	if s.Frozen {
		return fault.New(fault.Frozen, "lease %d: its host has still to prove what it stores, by %d", lease, s.Until)
	}
	before := t.Total()
	if w.Index == 0 {
		w = types.Weight{Host: host, Lease: lease, Index: t.Take(), Forfeits: t.kept.Forfeits}
		if err := k.byIndex.Set(ctx, collections.Join(host, w.Index), lease); err != nil {
			return err
		}
	}
	t.Add(w.Index, w.Rate, rate)
	if rate == 0 {
		t.Release(w.Index)
		if err := k.byIndex.Remove(ctx, collections.Join(host, w.Index)); err != nil {
			return err
		}
		err = k.weights.Remove(ctx, lease)
	} else {
		w.Rate = rate
		err = k.weights.Set(ctx, lease, w)
	}
	if err != nil {
		return err
	}
	after := t.Total()
	if err := t.save(); err != nil {
		return err
	}
	s.record = s.record.Rates(money.Rate(before), money.Rate(after), s.now, s.rules)
	if s.record == s.host.Proving.Core() {
		return nil
	}
	return k.write(ctx, &s)
}

// share takes a lease's part of every bond that its host has lost since the last time.
func (k Keeper) share(ctx context.Context, w *types.Weight, upTo uint64) (sum money.Amount, err error) {
	for n := w.Forfeits + 1; n <= upTo; n++ {
		at := collections.Join(w.Host, n)
		f, err := k.forfeits.Get(ctx, at)
		if err != nil {
			return 0, err
		}
		part := min(uint64(proving.Share(money.Amount(f.Half), money.Rate(w.Rate), money.Rate(f.Total))), f.Left)
		f.Left, f.RateLeft = f.Left-part, f.RateLeft-min(w.Rate, f.RateLeft)
		sum = money.AddCap(sum, money.Amount(part))
		if f.RateLeft > 0 {
			err = k.forfeits.Set(ctx, at, f)
		} else if err = k.c.Hosts.ToCommons(ctx, hoststypes.ModuleName, money.Amount(f.Left)); err == nil {
			err = k.forfeits.Remove(ctx, at)
		}
		if err != nil {
			return 0, err
		}
	}
	w.Forfeits = upTo
	return sum, nil
}
