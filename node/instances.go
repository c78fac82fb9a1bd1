package node

import (
	"cmp"
	"context"
	"encoding/hex"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/crypto/ssh"

	"hearth/api"
	machines "hearth/compute/instance/client"
	"hearth/compute/registry"
	"hearth/core/fault"
	"hearth/core/instance"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/market"
)

// instanceBucket is where an account's instances are listed: objects like any, so that
// they come back with the phrase.
const instanceBucket = "hearth-instances"

// defaultPids is how many processes and threads an instance has that names no number.
const defaultPids = 512

// startInstances opens what the account rents.
func startInstances(b *buying, images *registry.Registry) (*machines.Client, error) {
	return machines.New(machines.Config{
		Market: machineMarket{b}, Records: bucketBlobs{b, instanceBucket}, Images: images, Dialer: b.n.net, Log: b.n.log,
	})
}

// holds says whether a host has and runs the instances that are signed for.
func (b *buying) holds(ctx context.Context, p *market.Pair, ahead time.Duration) error {
	if b.instances == nil { // the node ends before it has begun
		return nil
	}
	return b.instances.Holds(ctx, p, ahead)
}

// machineMarket finds bargains for machines.
type machineMarket struct{ b *buying }

func (m machineMarket) Open(ctx context.Context, host string, units quote.Units, most money.Amount) (machines.Pair, error) {
	if err := m.b.account.prepared(ctx); err != nil {
		return nil, err
	}
	offers, err := m.b.market.Offers(ctx, quote.Compute, false)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(offers, func(o market.Offer) bool { return o.Host.Address == host })
	if at < 0 {
		return nil, fault.New(fault.NoHosts, "rent a machine at %s: no such host computes for others", host)
	}
	if err := unfit(offers[at], units); err != nil {
		return nil, err
	}
	if err := notDearer(host, offers[at].Quote.Prices, units, most); err != nil { // before a lease is opened
		return nil, err
	}
	p, err := m.b.market.Rent(ctx, offers[at], units)
	if err != nil {
		return nil, err
	}
	// A lease that was there may have prices of its own.
	if err := notDearer(host, m.b.market.Prices(p.Lease()), units, most); err != nil {
		return nil, err
	}
	return p, nil
}

func (m machineMarket) Lease(ctx context.Context, id uint64) (machines.Pair, error) {
	p, err := m.b.market.Lease(ctx, id)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// unfit says why a machine can't be had of an offer, nil if it can.
func unfit(o market.Offer, units quote.Units) error {
	switch {
	case o.Err != nil:
		return o.Err
	case o.Quote.Prices.Unit == [quote.Dims]uint64{}:
		return fault.New(fault.HostRefused, "it rents out no machines")
	case o.Free < units[0]:
		return fault.New(fault.HostFull, "%.3g cores are left", float64(o.Free)/quote.GiB)
	}
	return nil
}

// notDearer refuses a machine that costs more in 30 days than most.
func notDearer(host string, p quote.Prices, units quote.Units, most money.Amount) error {
	if costs := p.Rate(units).OverUp(month); costs > most {
		return fault.New(fault.PriceTooHigh, "rent a machine at %s: it costs %s in 30 days, at most %s are allowed; nothing is reserved", host, costs, most)
	}
	return nil
}

// instanceRole shows the instances to the API.
type instanceRole struct{ b *buying }

func (r instanceRole) Bids(ctx context.Context, m api.Machine) (api.Bids, error) {
	if err := r.b.account.prepared(ctx); err != nil {
		return api.Bids{}, err
	}
	units := instance.Spec{CPU: m.CPU, Memory: m.Memory, Disk: m.Disk}.Units()
	out := api.Bids{Bids: []api.Bid{}}
	var err error
	if _, out.Spending, err = r.b.spending(ctx); err != nil {
		return out, err
	}
	offers, err := r.b.market.Offers(ctx, quote.Compute, true)
	verdicts := r.b.judge(offers)
	for _, o := range offers {
		if o.Host.Address == r.b.n.address() {
			continue
		}
		bid := api.Bid{Host: o.Host.Address, Region: o.Host.Region, Latency: o.Latency.Nanoseconds(), Free: machineOf(quote.Units{o.Free}).CPU}
		if why := unfit(o, units); why != nil {
			bid.Why = fault.Brief(why.Error())
		}
		bid.Class, bid.Speed, bid.Slow = classOf(o), verdicts[bid.Host].Speed, verdicts[bid.Host].Slow
		bid.Month = api.MoneyOf(o.Quote.Prices.Rate(units).OverUp(month))
		out.Bids = append(out.Bids, bid)
	}
	slices.SortStableFunc(out.Bids, func(a, b api.Bid) int {
		if (a.Why == "") != (b.Why == "") {
			return len(a.Why) - len(b.Why)
		}
		if a.Slow != b.Slow {
			return slowLast(a.Slow, b.Slow)
		}
		x, _ := a.Month.Value()
		y, _ := b.Month.Value()
		return cmp.Or(cmp.Compare(x, y), cmp.Compare(a.Latency, b.Latency))
	})
	return out, err
}

func (r instanceRole) Create(ctx context.Context, w api.InstanceWish) (api.Instance, error) {
	s := instance.Spec{
		Args: w.Args, Env: w.Env, Dir: w.Dir, User: w.User, CPU: w.CPU, Memory: w.Memory, Disk: w.Disk, Pids: cmp.Or(w.Pids, defaultPids), Allowed: w.Allowed,
	}
	var err error
	if s.Egress, err = instance.ParseEgress(cmp.Or(w.Egress, instance.None.String())); err != nil {
		return api.Instance{}, err
	}
	if s.Image, err = r.image(ctx, w.Image); err != nil {
		return api.Instance{}, err
	}
	most := money.Max
	if w.Most != nil {
		if most, err = w.Most.Value(); err != nil {
			return api.Instance{}, err
		}
	}
	hosts, err := r.takers(ctx, w)
	if err != nil {
		return api.Instance{}, err
	}
	secrets := make([]instance.Secret, len(w.Secrets))
	for n, one := range w.Secrets {
		secrets[n] = instance.Secret(one)
	}
	i, err := firstTaker(hosts, func(host string) (machines.Instance, error) {
		return r.b.instances.Create(ctx, w.Name, w.Image, host, s, most, secrets...)
	})
	if err != nil {
		return api.Instance{}, err
	}
	return r.show(machines.Standing{Instance: i, State: "running", Started: time.Now()}), nil
}

// firstTaker makes an instance at the first of hosts that takes it. Where none does it says why
// the first didn't; where something stays reserved, or it isn't a host's own refusal, no
// other is asked.
func firstTaker(hosts []string, create func(host string) (machines.Instance, error)) (i machines.Instance, err error) {
	var first error
	for _, host := range hosts {
		if i, err = create(host); err == nil || i.Name != "" {
			return i, err
		}
		if first == nil {
			first = err
		}
		if code := fault.CodeOf(err); code != fault.HostFull && code != fault.HostRefused {
			break
		}
	}
	return i, first
}

// mostTakers is how many hosts are asked to take an instance before it is given up.
const mostTakers = 8

// takers are the hosts that an instance may be made at, in the order in which they are
// tried: the one that is named, or those that can have it, the cheapest first.
func (r instanceRole) takers(ctx context.Context, w api.InstanceWish) (hosts []string, err error) {
	if w.Host != "" {
		return []string{w.Host}, nil
	}
	bids, err := r.Bids(ctx, w.Machine)
	if err != nil {
		return nil, err
	}
	for _, b := range bids.Bids {
		if b.Why == "" && len(hosts) < mostTakers {
			hosts = append(hosts, b.Host)
		}
	}
	if len(hosts) == 0 {
		return nil, fault.New(fault.NoHosts, "rent a machine: of %d hosts none can", len(bids.Bids))
	}
	return hosts, nil
}

// image finds the digest of what people call NAME, NAME:TAG or NAME@DIGEST.
func (r instanceRole) image(ctx context.Context, name string) (d [32]byte, err error) {
	found, err := r.b.n.images.images.Resolve(ctx, name)
	if err != nil {
		return d, err
	}
	b, err := hex.DecodeString(found.Encoded())
	if err != nil || len(b) != len(d) {
		return d, fault.New(fault.BadImage, "image %s: its digest %.100q isn't one by SHA-256", fault.Brief(name), string(found))
	}
	return [32]byte(b), nil
}

func (r instanceRole) show(s machines.Standing) api.Instance {
	out := api.Instance{
		Name: s.Name, ID: hex.EncodeToString(s.ID[:]), Image: s.Image, Digest: digest.NewDigestFromBytes(digest.SHA256, s.Spec.Image[:]).String(),
		Host: s.Host, Lease: s.Lease, Machine: api.Machine{CPU: s.Spec.CPU, Memory: s.Spec.Memory, Disk: s.Spec.Disk},
		State: s.State, Exit: s.Exit, Reason: s.Reason, Created: time.Unix(s.Created, 0).UTC(), Started: s.Started.UTC(), Ended: s.Ended.UTC(),
		Month: api.MoneyOf(r.b.market.Prices(s.Lease).Rate(s.Spec.Units()).OverUp(month)),
		Usage: api.Usage{CPU: s.CPU.Nanoseconds(), Memory: s.Memory, Pids: s.Pids, NetIn: s.NetIn, NetOut: s.NetOut, Taken: s.Taken.UTC()},
	}
	if key, err := ssh.NewPublicKey(s.SSHKey); err == nil {
		out.HostKey = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	}
	return out
}

func (r instanceRole) SSH(ctx context.Context, name string, in io.Reader, out io.Writer) error {
	return r.b.instances.SSH(ctx, name, machines.Streams{In: in, Out: out})
}

func (r instanceRole) Instances(ctx context.Context) (api.Instances, error) {
	list, err := r.b.instances.List(ctx)
	out := api.Instances{Instances: make([]api.Instance, len(list))}
	for i, s := range list {
		out.Instances[i] = r.show(s)
	}
	return out, err
}

func (r instanceRole) Start(ctx context.Context, name string) error {
	return r.b.instances.Start(ctx, name)
}

func (r instanceRole) Stop(ctx context.Context, name string, grace time.Duration) error {
	return r.b.instances.Stop(ctx, name, grace)
}

func (r instanceRole) Remove(ctx context.Context, name string, grace time.Duration) error {
	return r.b.instances.Remove(ctx, name, grace)
}

func (r instanceRole) Logs(ctx context.Context, name string, tail int, follow bool, w io.Writer) error {
	return r.b.instances.Logs(ctx, name, tail, follow, w)
}

func (r instanceRole) Exec(ctx context.Context, name string, p api.Program, in io.Reader, out, errs io.Writer, sizes <-chan api.Size) (int, error) {
	resize := make(chan machines.Size)
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case s := <-sizes:
				select {
				case resize <- machines.Size(s):
				case <-done:
					return
				}
			case <-done:
				return
			}
		}
	}()
	return r.b.instances.Exec(ctx, name, machines.Program{
		Args: p.Args, Env: p.Env, Dir: p.Dir, User: p.User, TTY: p.TTY, Rows: p.Size.Rows, Cols: p.Size.Cols,
	}, machines.Streams{In: in, Out: out, Err: errs, Resize: resize})
}

func (r instanceRole) Forward(ctx context.Context, name string, port uint16, in io.Reader, out io.Writer) error {
	return r.b.instances.Forward(ctx, name, port, machines.Streams{In: in, Out: out})
}
