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

// class is that of a small machine with a GPU.
func (n host) class() *api.Class {
	return &api.Class{
		Core: 2_100_000_000, All: 8_000_000_000, Cores: 4, Memory: 8 << 30, Copy: 10_000_000_000, DiskWrite: 400_000_000, DiskRead: 500_000_000, DiskFree: 100 << 30,
		GPUs: []api.GPU{{Vendor: "NVIDIA", Model: "NVIDIA T4", Memory: 16 << 30}}, Measured: n.Now,
	}
}

// Measure finds the same again, and a disk that is too slow.
func (n host) Measure(context.Context) (api.Measured, error) {
	c := *n.class()
	c.DiskWrite = 4_000_000
	return api.Measured{Class: c, Short: []api.Shortfall{{What: "disk_write", Reason: "disk writes 4 MB a second, 10 MB are needed", Fix: "use another disk"}}}, nil
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
