package apitest

import (
	"context"
	"slices"
	"time"

	"hearth/api"
	"hearth/core/fault"
	"hearth/core/money"
)

func (n host) Limits(context.Context) (api.HostLimits, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.limits
	l.Schedule = append([]string{}, l.Schedule...)
	return l, nil
}

func (n host) SetLimits(ctx context.Context, l api.HostLimits) (api.HostLimits, error) {
	if slices.Contains(l.Schedule, "") {
		return api.HostLimits{}, fault.New(fault.BadConfig, "set limits: a line of the schedule is empty")
	}
	n.mu.Lock()
	n.limits = l
	n.limits.Now = api.LimitsNow{Paused: l.Paused}
	n.mu.Unlock()
	return n.Limits(ctx)
}

// Earnings are two payments, an hour apart.
func (n host) Earnings(_ context.Context, since time.Time) (api.Earnings, error) {
	out := api.Earnings{Earnings: []api.Earning{}}
	var sum money.Amount
	for i := range 2 {
		e := api.Earning{
			Time: n.Now.Add(time.Duration(i-2) * time.Hour), Lease: uint64(i + 1), Client: address,
			Gross: api.MoneyOf(1_000_000), Commission: api.MoneyOf(100_000), Net: api.MoneyOf(900_000),
		}
		if !e.Time.Before(since) {
			out.Earnings, sum = append(out.Earnings, e), sum+900_000
		}
	}
	out.Net = api.MoneyOf(sum)
	return out, nil
}
