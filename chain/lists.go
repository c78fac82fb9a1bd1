package chain

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"hearth/chain/pb/hostsv1"
	"hearth/chain/pb/marketv1"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/machine"
	"hearth/core/mandate"
	"hearth/core/quote"
)

const (
	pageSize = 200
	maxList  = 1 << 20
	proveAll = 8   // at once
	proofAge = 600 // blocks, after which a host's record is proved again though it is the same
)

// list asks the application by a method's name. The answer is the node's word.
// height 0 asks for the newest state; the answer's height is returned.
func (n *node) list(ctx context.Context, method string, height int64, in, out proto.Message) (int64, error) {
	request, err := proto.Marshal(in)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", method, err)
	}
	r, err := n.query(ctx, method, request, height, false)
	if err != nil {
		return 0, err
	}
	if r.Code != 0 {
		return 0, &Refusal{Codespace: r.Codespace, Code: r.Code, Log: r.Log}
	}
	if err := proto.Unmarshal(r.Value, out); err != nil {
		return 0, odd("%s: %w", method, err)
	}
	return r.Height, nil
}

func (c *Client) hint(ctx context.Context, method string, in, out proto.Message) error {
	return c.ask(ctx, method, func(n *node) error {
		_, err := n.list(ctx, method, 0, in, out)
		return err
	})
}

// provedHosts remembers which records were proved, and when.
type provedHosts struct {
	mu sync.Mutex
	m  map[string]provedHost
}

type provedHost struct {
	record []byte
	height int64
}

// Hosts are all hosts of the ledger by address. Each record is proved, or is the
// very record that was proved at most 600 blocks before. That none is left out is
// the ledger node's word.
func (c *Client) Hosts(ctx context.Context) ([]Host, error) {
	var out []Host
	err := c.await(ctx, func() error {
		return c.ask(ctx, "list hosts", func(n *node) error {
			records, height, err := n.hosts(ctx)
			if err != nil {
				return err
			}
			if err := c.proveHosts(ctx, n, records, height); err != nil {
				return err
			}
			out = make([]Host, len(records))
			for i, r := range records {
				if out[i], err = coreHost(r); err != nil {
					return err
				}
			}
			return nil
		})
	})
	return out, err
}

// hosts fetches every page at one height.
func (n *node) hosts(ctx context.Context) (all []*hostsv1.Host, height int64, err error) {
	for after := ""; ; {
		var page hostsv1.QueryHostsResponse
		at, err := n.list(ctx, "/hearth.hosts.v1.Query/Hosts", height, &hostsv1.QueryHostsRequest{After: after, Limit: pageSize}, &page)
		if err != nil {
			return nil, 0, err
		}
		if height != 0 && at != height {
			return nil, 0, fault.New(fault.LedgerLies, "it was asked about block %d and answers about %d", height, at)
		}
		height = at
		for _, h := range page.Hosts {
			if h.GetAddress() <= after {
				return nil, 0, fault.New(fault.LedgerLies, "the hosts are not in order")
			}
			after = h.Address
		}
		if all = append(all, page.Hosts...); len(all) > maxList {
			return nil, 0, fault.New(fault.TooLarge, "more than %d hosts", maxList)
		}
		if len(page.Hosts) < pageSize {
			return all, height, nil
		}
	}
}

// proveHosts proves what hasn't been, several at once, all at the list's height.
func (c *Client) proveHosts(ctx context.Context, n *node, records []*hostsv1.Host, height int64) error {
	c.proved.mu.Lock()
	if c.proved.m == nil {
		c.proved.m = make(map[string]provedHost)
	}
	known := make(map[string]provedHost, len(records))
	for _, h := range records {
		if p, ok := c.proved.m[h.Address]; ok && height-p.height < proofAge {
			known[h.Address] = p
		}
	}
	c.proved.mu.Unlock()

	var fresh sync.Map
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(proveAll)
	for _, h := range records {
		raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(h)
		if err != nil {
			return err
		}
		if p, ok := known[h.Address]; ok && bytes.Equal(p.record, raw) {
			fresh.Store(h.Address, p)
			continue
		}
		g.Go(func() error {
			value, _, err := c.proveFrom(ctx, n, hostsStore, hostKey(h.Address), height, 0)
			if err != nil {
				return err
			}
			var proved hostsv1.Host
			if err := proto.Unmarshal(value, &proved); err != nil || !proto.Equal(&proved, h) {
				return fault.New(fault.LedgerLies, "host %s: the list says otherwise than the proof", h.Address)
			}
			fresh.Store(h.Address, provedHost{raw, height})
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	c.proved.mu.Lock()
	defer c.proved.mu.Unlock()
	clear(c.proved.m) // who is gone from the list is forgotten
	fresh.Range(func(k, v any) bool {
		c.proved.m[k.(string)] = v.(provedHost)
		return true
	})
	return nil
}

// Leases lists the leases of a client, of a host, or (both empty) all, by id.
// The list is a hint; Lease proves one.
func (c *Client) Leases(ctx context.Context, client, host string) ([]lease.Lease, error) {
	var out []lease.Lease
	err := c.ask(ctx, "list leases", func(n *node) (err error) {
		out, err = n.leases(ctx, client, host)
		return err
	})
	return out, err
}

// AllLeases is Leases as all ledger nodes together tell it, asked at once: none of
// them can leave out or end a lease that another names. Where they disagree whose it
// is there is one for each. It fails only where none answers.
func (c *Client) AllLeases(ctx context.Context, client, host string) ([]lease.Lease, error) {
	lists, errs := make([][]lease.Lease, len(c.nodes)), make([]error, len(c.nodes))
	var wg sync.WaitGroup
	for i, n := range c.nodes {
		wg.Go(func() {
			if lists[i], errs[i] = n.leases(ctx, client, host); errs[i] != nil {
				errs[i] = fmt.Errorf("%s: %w", n.url, errs[i])
			}
		})
	}
	wg.Wait()
	if !slices.Contains(errs, nil) {
		return nil, fault.New(fault.LedgerDown, "list leases: %w", errors.Join(errs...))
	}
	type bargain struct {
		id           uint64
		client, host string
		kind         quote.Kind
	}
	all := map[bargain]lease.Lease{}
	for _, l := range slices.Concat(lists...) {
		key := bargain{l.ID, l.Client, l.Host, l.Kind}
		if had, ok := all[key]; !ok || l.State < had.State || l.State == had.State && l.Seq > had.Seq {
			all[key] = l
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b lease.Lease) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Client, b.Client), cmp.Compare(a.Kind, b.Kind))
	}), nil
}

// leases fetches every page at one height.
func (n *node) leases(ctx context.Context, client, host string) (out []lease.Lease, err error) {
	var height int64
	for after := uint64(0); ; {
		var page marketv1.QueryLeasesResponse
		at, err := n.list(ctx, "/hearth.market.v1.Query/Leases", height, &marketv1.QueryLeasesRequest{Client: client, Host: host, After: after, Limit: pageSize}, &page)
		if err != nil {
			return nil, err
		}
		height = at
		for _, l := range page.Leases {
			if l.GetId() <= after || client != "" && l.Client != client || host != "" && l.Host != host {
				return nil, fault.New(fault.LedgerLies, "lease %d doesn't belong where it stands in the list", l.GetId())
			}
			after = l.Id
			one, err := coreLease(l)
			if err != nil {
				return nil, err
			}
			out = append(out, one)
		}
		if len(out) > maxList {
			return nil, fault.New(fault.TooLarge, "more than %d leases", maxList)
		}
		if len(page.Leases) < pageSize {
			return out, nil
		}
	}
}

// Mandates lists what an account has granted. The list is a hint; Mandate proves one.
func (c *Client) Mandates(ctx context.Context, grantor string) ([]mandate.Mandate, error) {
	var res marketv1.QueryMandatesResponse
	if err := c.hint(ctx, "/hearth.market.v1.Query/Mandates", &marketv1.QueryMandatesRequest{Grantor: grantor}, &res); err != nil {
		return nil, err
	}
	out := make([]mandate.Mandate, 0, len(res.Mandates))
	for _, m := range res.Mandates {
		one, err := coreMandate(m)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

// Rules are the market's parameters, as core/lease takes them: a hint.
func (c *Client) Rules(ctx context.Context) (lease.Params, error) {
	var res marketv1.QueryParamsResponse
	if err := c.hint(ctx, "/hearth.market.v1.Query/Params", &marketv1.QueryParamsRequest{}, &res); err != nil {
		return lease.Params{}, err
	}
	if res.Params == nil {
		return lease.Params{}, errors.New("read the market's parameters: the answer holds none")
	}
	return coreRules(res.Params), nil
}

// HostRules are the parameters of hosts, durations in seconds.
type HostRules struct {
	StorageBond, OtherBond     int64 // the bond's target: this long of a host's rates
	Unbonding                  int64
	StorageNotice, OtherNotice int64
	Young                      int64 // a host younger than this counts as young in placement
	Least                      machine.Least
}

// HostRules are a hint.
func (c *Client) HostRules(ctx context.Context) (HostRules, error) {
	var res hostsv1.QueryParamsResponse
	if err := c.hint(ctx, "/hearth.hosts.v1.Query/Params", &hostsv1.QueryParamsRequest{}, &res); err != nil {
		return HostRules{}, err
	}
	p := res.GetParams()
	least := p.GetLeast()
	return HostRules{
		int64(p.GetStorageBondSeconds()), int64(p.GetOtherBondSeconds()), int64(p.GetUnbondingSeconds()),
		int64(p.GetStorageNoticeSeconds()), int64(p.GetOtherNoticeSeconds()), int64(p.GetYoungSeconds()),
		machine.Least{
			Core: least.GetCore(), Memory: least.GetMemory(), Copy: least.GetCopy(),
			DiskWrite: least.GetDiskWrite(), DiskRead: least.GetDiskRead(),
		},
	}, nil
}
