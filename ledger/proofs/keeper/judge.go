package keeper

import (
	"context"

	"cosmossdk.io/collections"

	"hearth/core/money"
	"hearth/core/proving"
	hoststypes "hearth/ledger/hosts/types"
	"hearth/ledger/proofs/types"
)

// A Standing is how a host stands in the present period.
type Standing struct {
	Proven int64 // the clock of its stored bytes
	Frozen bool  // its storage must stay as it is
	Until  int64 // when the period ends, and with it the freeze
}

// standing is a Standing with what it comes from.
type standing struct {
	Standing
	rules  proving.Params
	beacon types.Beacon
	host   hoststypes.Host
	record proving.Record // judged up to now
	slot   int64
	total  uint64 // the rates of its leases
	now    int64
}

// look judges a host and writes nothing down.
func (k Keeper) look(ctx context.Context, host string) (standing, proving.Verdict, error) {
	var none proving.Verdict
	s := standing{}
	var err error
	if s.rules, s.beacon, err = k.rules(ctx); err != nil {
		return s, none, err
	}
	if s.host, err = k.c.Hosts.Host(ctx, host); err != nil {
		return s, none, err
	}
	if s.total, err = k.total(ctx, host); err != nil {
		return s, none, err
	}
	// The newest block's time is the present, for transactions and questions alike.
	s.now = s.beacon.BlockTime
	b, err := s.beacon.Core()
	if err != nil {
		return s, none, err
	}
	var broken error
	r, verdict := s.host.Proving.Core().Judge(s.now, money.Rate(s.total), k.isVoid(ctx, &broken), s.rules)
	if broken != nil {
		return s, none, broken
	}
	period := s.rules.At(s.now)
	s.record, s.slot = r, proving.Slot(host, period, b.Start, s.rules.Slots())
	s.Standing = Standing{Proven: r.Proven, Frozen: r.Frozen(s.now, s.slot, s.rules), Until: s.rules.Begins(period + 1)}
	return s, verdict, nil
}

// Judge brings a host's record up to now. Whoever changes its leases' rates, or
// pays by its clock, calls it before.
func (k Keeper) Judge(ctx context.Context, host string) (Standing, error) {
	s, err := k.judge(ctx, host)
	return s.Standing, err
}

func (k Keeper) judge(ctx context.Context, host string) (standing, error) {
	s, v, err := k.look(ctx, host)
	if err != nil || s.record == s.host.Proving.Core() {
		return s, err
	}
	if v == (proving.Verdict{}) {
		return s, k.write(ctx, &s)
	}
	return s, k.punish(ctx, &s, v, s.record.Judged)
}

// write stores the record and the bond.
func (k Keeper) write(ctx context.Context, s *standing) error {
	s.host.Proving = hoststypes.FromRecord(s.record)
	return k.c.Hosts.SetProving(ctx, s.host.Address, s.record, money.Amount(s.host.Bond))
}

// punish carries a verdict out and writes the host down.
func (k Keeper) punish(ctx context.Context, s *standing, v proving.Verdict, period int64) error {
	result := "missed"
	if s.record.Answered == period {
		result = "confessed"
	}
	bond := money.Amount(s.host.Bond)
	r, rest, commons := s.record.Take(bond, v.Fine)
	if v.Forfeit {
		result = "forfeited"
		half, theirs := proving.Split(rest)
		if s.total == 0 || half == 0 {
			half, theirs = 0, rest
		}
		if err := k.forfeit(ctx, s.host.Address, half, s.total); err != nil {
			return err
		}
		rest, commons = 0, commons+theirs
	}
	s.record, s.host.Bond = r, uint64(rest)
	if err := k.write(ctx, s); err != nil {
		return err
	}
	if err := k.c.Hosts.ToCommons(ctx, hoststypes.ModuleName, commons); err != nil {
		return err
	}
	return emit(ctx, &types.EventProof{
		Host: s.host.Address, Result: result, Period: period, Periods: v.Missed, Fine: uint64(v.Fine), Bond: uint64(bond - rest),
	})
}

// forfeit sets the half of a lost bond aside for the leases, which take their
// shares as they are touched.
func (k Keeper) forfeit(ctx context.Context, host string, half money.Amount, total uint64) error {
	if half == 0 {
		return nil
	}
	tree, err := found(k.trees.Get(ctx, host))
	if err != nil {
		return err
	}
	tree.Forfeits++
	if err := k.trees.Set(ctx, host, tree); err != nil {
		return err
	}
	f := types.Forfeit{Host: host, Number: tree.Forfeits, Half: uint64(half), Total: total, RateLeft: total, Left: uint64(half)}
	return k.forfeits.Set(ctx, collections.Join(host, f.Number), f)
}
