package node

import (
	"context"
	"crypto/ed25519"
	"math/bits"
	"path/filepath"

	"hearth/api"
	"hearth/compute/image"
	machines "hearth/compute/instance/host"
	"hearth/compute/sandbox"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/internal/program"
)

// SandboxProgram is what runs containers.
const SandboxProgram = "hearth-sandbox"

// computeStreet shows the market what this machine computes for others: calls of
// functions, which reserve nothing, and machines for instances.
type computeStreet struct {
	s        *selling
	machines *machines.Host // nil: none are rented out
}

// Free is how many 2^30ths of a core nobody has reserved; a host that takes nothing new
// has none.
func (c computeStreet) Free() uint64 {
	switch {
	case c.s.held().closed:
		return 0
	case c.machines != nil:
		return c.machines.Free()
	}
	return allCores()
}

func (c computeStreet) Covers(lease uint64, units quote.Units, root [32]byte) error {
	if c.machines != nil {
		return c.machines.Covers(lease, units, root)
	}
	if units != (quote.Units{}) || root != ([32]byte{}) {
		return fault.New(fault.HostRefused, "lease %d: this host rents out no machines", lease)
	}
	return nil
}

func (c computeStreet) Commit(lease uint64, units quote.Units, root [32]byte) error {
	if c.machines != nil {
		return c.machines.Commit(lease, units, root)
	}
	return nil
}

func (c computeStreet) Reconcile(lease uint64, root [32]byte) error {
	if c.machines != nil {
		return c.machines.Reconcile(lease, root)
	}
	if root != ([32]byte{}) {
		c.s.log.Error("instances are under a lease, and this host runs none now", "lease", lease, "err", c.s.noMachines)
	}
	return nil
}

func (c computeStreet) Drop(lease uint64) error {
	if c.machines != nil {
		return c.machines.Drop(lease)
	}
	return nil
}

// Sandboxes is the folder of what runs in containers on the host whose folder is dir.
func Sandboxes(dir string) string { return filepath.Join(dir, "data", "instances", "sandboxes") }

// openMachines opens the engine, and with it what is rented out. A host on which no
// container runs sells the rest, and says why.
func (s *selling) openMachines(ctx context.Context) (*machines.Host, error) {
	n := s.n
	program, err := program.Beside(SandboxProgram)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(n.dir, "data", "instances")
	engine, err := sandbox.Open(ctx, sandbox.Config{Program: program, Folder: Sandboxes(n.dir), Group: s.group.Name(), Log: n.log})
	if err != nil {
		return nil, err
	}
	images, err := image.Open(image.Config{Dir: filepath.Join(dir, "images"), Most: int64(n.terms.machine[2]), Owners: engine.Caps().Root, Log: n.log})
	if err != nil {
		return nil, err
	}
	return machines.Open(machines.Config{
		Dir: dir, Engine: engine, Images: images, Meter: saleDesk{s}, Leases: saleDesk{s}, Time: saleDesk{s}, ChainID: n.ledger.ChainID(), Key: n.keys.Node(),
		All: n.terms.machine, Rule: s.rule, Registry: n.metrics, Log: n.log,
	})
}

// saleDesk is the host's market, which is opened after what it sells.
type saleDesk struct{ s *selling }

func (d saleDesk) Take(lease, in, out uint64) error { return d.s.market.Take(lease, in, out) }

func (d saleDesk) Covered(lease uint64) <-chan struct{} { return d.s.market.Covered(lease) }

func (d saleDesk) Runs(ctx context.Context, lease uint64) error { return d.s.market.Runs(ctx, lease) }

func (d saleDesk) Takes(ctx context.Context, lease uint64) error { return d.s.market.Takes(ctx, lease) }

func (d saleDesk) Allowed(ctx context.Context, kind quote.Kind, lease uint64, key ed25519.PublicKey) error {
	return d.s.market.Allowed(ctx, kind, lease, key)
}

// rented shows what of this machine is rented out; nil: it never is.
func (s *selling) rented() *api.Rented {
	if !s.n.terms.machines {
		return nil
	}
	if s.machines == nil {
		return &api.Rented{Why: s.noMachines.Error()}
	}
	all, left := s.gives(s.held()), s.machines.Left()
	return &api.Rented{
		All: machineOf(all), Free: machineOf(left), Instances: s.machines.Count(),
		Core: monthly(s.n.terms.machinePrice[0]), Memory: monthly(s.n.terms.machinePrice[1]), Disk: monthly(s.n.terms.machinePrice[2]),
	}
}

func machineOf(u quote.Units) api.Machine {
	hi, lo := bits.Mul64(u[0], 1000)
	cpu, _ := bits.Div64(hi, lo, quote.GiB)
	return api.Machine{CPU: cpu, Memory: u[1], Disk: u[2]}
}

// monthly is what a unit's price comes to in 30 days for a core or a GiB.
func monthly(price uint64) api.Money { return api.MoneyOf(money.Rate(price).OverUp(month)) }
