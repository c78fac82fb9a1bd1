package apitest

import (
	"context"
	"slices"
	"time"

	"hearth/api"
	"hearth/core/fault"
	"hearth/core/money"
)

// Steward is the account of the one steward there is.
const Steward = "hearth1steward"

// share is the part of this device's cap that a steward gets where nothing is said.
const share = 10

func (n stewards) List(context.Context) (api.Stewards, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return api.Stewards{Stewards: append([]api.Steward{}, n.hired...), Cap: api.MoneyOf(n.cap / share)}, nil
}

func (n stewards) Hire(_ context.Context, host string, q api.HireSteward) (api.Steward, error) {
	if host == "" {
		host = Steward
	}
	if host != Steward {
		return api.Steward{}, fault.New(fault.NotFound, "host %s: not on the ledger", host)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	s := api.Steward{
		Host: host, State: "working", Cap: api.MoneyOf(n.cap / share), Spent: api.MoneyOf(0), Until: n.Now.Add(90 * 24 * time.Hour),
		Ceiling: api.Prices{Month: api.MoneyOf(10 * money.Ember), In: api.MoneyOf(0), Out: api.MoneyOf(0), Tgas: api.MoneyOf(0)},
	}
	if q.Cap != nil {
		s.Cap = *q.Cap
	}
	if q.Until != nil {
		s.Until = *q.Until
	}
	if q.Month != nil {
		s.Ceiling.Month = *q.Month
	}
	n.hired = []api.Steward{s}
	return s, nil
}

func (n stewards) Dismiss(_ context.Context, host string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := slices.IndexFunc(n.hired, func(s api.Steward) bool { return s.Host == host })
	if i < 0 {
		return fault.New(fault.NotFound, "dismiss steward: %s isn't hired", host)
	}
	n.hired = slices.Delete(n.hired, i, i+1)
	return nil
}
