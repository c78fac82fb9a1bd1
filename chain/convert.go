package chain

import (
	"crypto/ed25519"

	"hearth/chain/pb/hostsv1"
	"hearth/chain/pb/marketv1"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/mandate"
	"hearth/core/money"
	"hearth/core/proving"
	"hearth/core/quote"
	"hearth/core/statement"
)

// The ledger's records and core's values say the same; here one becomes the
// other. A record in another form is one this program is too old for.

func odd(format string, args ...any) error { return fault.New(fault.UnknownFormat, format, args...) }

func corePrices(p *marketv1.Prices) (quote.Prices, error) {
	out := quote.Prices{In: p.GetIn(), Out: p.GetOut(), Gas: p.GetGas()}
	if len(p.GetUnit()) != len(out.Unit) {
		return out, odd("%d unit prices, not %d", len(p.GetUnit()), len(out.Unit))
	}
	copy(out.Unit[:], p.GetUnit())
	return out, nil
}

func pbPrices(p quote.Prices) *marketv1.Prices {
	return &marketv1.Prices{Unit: p.Unit[:], In: p.In, Out: p.Out, Gas: p.Gas}
}

func coreLease(l *marketv1.Lease) (lease.Lease, error) {
	prices, err := corePrices(l.GetPrices())
	if err != nil {
		return lease.Lease{}, odd("lease %d: %w", l.GetId(), err)
	}
	out := lease.Lease{
		ID: l.Id, Client: l.Client, Host: l.Host, Kind: quote.Kind(l.Kind), Prices: prices, Until: l.Until,
		In: money.Amount(l.In), Out: money.Amount(l.Out), Commission: money.Amount(l.Commission), Refunded: money.Amount(l.Refunded),
		Seq: l.Seq, Total: money.Amount(l.Total), Rate: money.Rate(l.Rate), AsOf: l.AsOf, RunsUntil: l.RunsUntil,
		State: lease.State(l.State), OpenedAt: l.OpenedAt, ClosedAt: l.ClosedAt, EndsAt: l.EndsAt,
		Acc: money.Product{Hi: l.AccHi, Lo: l.AccLo}, Clock0: l.Clock0,
	}
	switch {
	case l.Kind > 255 || !out.Kind.Valid() || l.State < uint32(lease.Open) || l.State > uint32(lease.Closed):
		return lease.Lease{}, odd("lease %d: kind %d, state %d", l.Id, l.Kind, l.State)
	case len(l.Units) != len(out.Units) || len(l.Root) != 0 && len(l.Root) != len(out.Root) ||
		len(l.Key) != 0 && len(l.Key) != len(out.Key):
		return lease.Lease{}, odd("lease %d: %d units, a root of %d bytes, a key of %d", l.Id, len(l.Units), len(l.Root), len(l.Key))
	}
	copy(out.Units[:], l.Units)
	copy(out.Root[:], l.Root)
	copy(out.Key[:], l.Key)
	if l.PricedAt != 0 {
		if out.Before, err = corePrices(l.GetBefore()); err != nil {
			return lease.Lease{}, odd("lease %d: %w", l.Id, err)
		}
		out.PricedAt = l.PricedAt
	}
	return out, nil
}

func coreMandate(m *marketv1.Mandate) (mandate.Mandate, error) {
	out := mandate.Mandate{
		Grantor: m.Grantor, Ops: mandate.Op(m.Operations), Ceilings: make(map[quote.Kind]quote.Prices, len(m.Ceilings)),
		Cap: money.Amount(m.Cap_30D), Used: money.Amount(m.Used), WindowStart: m.WindowStart, Until: m.Until,
	}
	if len(m.Key) != len(out.Key) {
		return mandate.Mandate{}, odd("mandate of %s: a key of %d bytes", m.Grantor, len(m.Key))
	}
	copy(out.Key[:], m.Key)
	for _, c := range m.Ceilings {
		prices, err := corePrices(c.GetPrices())
		if err != nil || c.Kind > 255 {
			return mandate.Mandate{}, odd("mandate of %s: ceiling of kind %d: %v", m.Grantor, c.Kind, err)
		}
		out.Ceilings[quote.Kind(c.Kind)] = prices
	}
	return out, nil
}

func pbQuote(q quote.Signed) *marketv1.Quote {
	return &marketv1.Quote{Host: q.Host, Kind: uint32(q.Kind), Prices: pbPrices(q.Prices), ValidUntil: q.ValidUntil, Sig: q.Sig}
}

func pbStatement(s statement.Signed) *marketv1.Statement {
	var root []byte
	if s.Root != [32]byte{} {
		root = s.Root[:]
	}
	return &marketv1.Statement{
		Lease: s.Lease, Seq: s.Seq, Total: uint64(s.Total), Units: s.Units[:], Root: root, AsOf: s.AsOf, RunsUntil: s.RunsUntil,
		ClientKey: s.ClientKey, ClientSig: s.ClientSig, HostSig: s.HostSig,
	}
}

func coreRules(p *marketv1.Params) lease.Params {
	return lease.Params{
		MinDeposit:     money.Amount(p.GetMinDeposit()),
		MaxUntil:       int64(p.GetMaxUntilSeconds()),
		MaxQuote:       int64(p.GetMaxQuoteSeconds()),
		MaxRun:         int64(p.GetMaxRunSeconds()),
		StorageReserve: int64(p.GetStorageReserveSeconds()),
		OtherReserve:   int64(p.GetOtherReserveSeconds()),
		CloseTime:      int64(p.GetCloseSeconds()),
		StorageNotice:  int64(p.GetStorageNoticeSeconds()),
		OtherNotice:    int64(p.GetOtherNoticeSeconds()),
		PruneTime:      int64(p.GetPruneSeconds()),
		MandateWindow:  int64(p.GetMandateWindowSeconds()),
		CommunityShare: p.GetCommunityShareMilli(),
		MaxOpen:        int(p.GetMaxBatchOpen()),
		MaxPost:        int(p.GetMaxBatchPost()),
		MaxSettle:      int(p.GetMaxBatchSettle()),
	}
}

// Roles of a host, a bit mask.
const (
	RoleStorage uint32 = 1 << iota
	RoleCompute
	RoleEdge
	RoleRelay
	RoleTalk
	RoleSteward // looks after others' data
)

// Hardware is what a host says it has.
type Hardware struct {
	CPUMilli    uint32
	MemoryBytes uint64
	DiskBytes   uint64
}

// A Host is a machine that offers services, as the ledger holds it.
type Host struct {
	Address         string // the machine's account
	Owner           string
	Key             [32]byte // ed25519: peer identity, signs quotes and statements
	Roles           uint32
	Region          string
	Hardware        Hardware
	EndpointsHash   [32]byte
	EndpointsHeight int64
	RegisteredAt    int64
	LeavingAt       int64 // 0: not leaving; else when its notice ends
	Bond            money.Amount
	Unbonding       money.Amount
	UnbondingUntil  int64
	StorageRate     money.Rate
	OtherRate       money.Rate
	Leases          uint64 // open ones
	// Proving is what it has proved of what it stores, as of the last time that
	// something happened to it: a silent host looks better than it is.
	Proving proving.Record
}

// PublicKey is the host's key.
func (h Host) PublicKey() ed25519.PublicKey { return ed25519.PublicKey(h.Key[:]) }

func coreHost(h *hostsv1.Host) (Host, error) {
	out := Host{
		Address: h.Address, Owner: h.Owner, Roles: h.Roles, Region: h.Region,
		Hardware:        Hardware{h.GetHardware().GetCpuMilli(), h.GetHardware().GetMemoryBytes(), h.GetHardware().GetDiskBytes()},
		EndpointsHeight: h.EndpointsHeight, RegisteredAt: h.RegisteredAt, LeavingAt: h.LeavingAt,
		Bond: money.Amount(h.Bond), Unbonding: money.Amount(h.Unbonding), UnbondingUntil: h.UnbondingUntil,
		StorageRate: money.Rate(h.StorageRate), OtherRate: money.Rate(h.OtherRate), Leases: h.Leases, Proving: coreProving(h.GetProving()),
	}
	if len(h.Key) != len(out.Key) || len(h.EndpointsHash) != len(out.EndpointsHash) {
		return Host{}, odd("host %s: a key of %d and a hash of %d bytes", h.Address, len(h.Key), len(h.EndpointsHash))
	}
	copy(out.Key[:], h.Key)
	copy(out.EndpointsHash[:], h.EndpointsHash)
	return out, nil
}
