package types

import (
	"crypto/ed25519"
	"errors"
	"maps"
	"slices"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/mandate"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"
)

// The records of the ledger and the values of core say the same; here one
// becomes the other. What comes from outside is checked for its form.

// Core reads prices: exactly three unit prices, or none for none.
func (p Prices) Core() (quote.Prices, error) {
	out := quote.Prices{In: p.In, Out: p.Out, Gas: p.Gas}
	return out, three(out.Unit[:], p.Unit, "unit prices")
}

// FromPrices writes prices.
func FromPrices(p quote.Prices) Prices {
	return Prices{Unit: p.Unit[:], In: p.In, Out: p.Out, Gas: p.Gas}
}

func three(into, from []uint64, what string) error {
	if len(from) != len(into) {
		return fault.New(fault.BadRequest, "%d %s, exactly %d are needed", len(from), what, len(into))
	}
	copy(into, from)
	return nil
}

// Core reads a lease. A record the ledger wrote itself is always whole.
func (l Lease) Core() (lease.Lease, error) {
	prices, err := l.Prices.Core()
	if err != nil {
		return lease.Lease{}, fault.New(fault.BadRequest, "lease %d: %w", l.Id, err)
	}
	out := lease.Lease{
		ID: l.Id, Client: l.Client, Host: l.Host, Kind: quote.Kind(l.Kind), Prices: prices, Until: l.Until,
		In: money.Amount(l.In), Out: money.Amount(l.Out), Commission: money.Amount(l.Commission), Refunded: money.Amount(l.Refunded),
		Seq: l.Seq, Total: money.Amount(l.Total), Rate: money.Rate(l.Rate), AsOf: l.AsOf, RunsUntil: l.RunsUntil,
		State: lease.State(l.State), OpenedAt: l.OpenedAt, ClosedAt: l.ClosedAt, EndsAt: l.EndsAt, PricedAt: l.PricedAt,
		Acc: money.Product{Hi: l.AccHi, Lo: l.AccLo}, Clock0: l.Clock0,
	}
	if l.Kind > 255 || !out.Kind.Valid() || l.State < uint32(lease.Open) || l.State > uint32(lease.Closed) {
		return lease.Lease{}, fault.New(fault.BadRequest, "lease %d: kind %d, state %d", l.Id, l.Kind, l.State)
	}
	if l.Before != nil {
		if out.Before, err = l.Before.Core(); err != nil {
			return lease.Lease{}, fault.New(fault.BadRequest, "lease %d: %w", l.Id, err)
		}
	}
	err = errors.Join(three(out.Units[:], l.Units, "units"), word(&out.Root, l.Root, "root"), word(&out.Key, l.Key, "key"))
	if err != nil {
		return lease.Lease{}, fault.New(fault.BadRequest, "lease %d: %w", l.Id, err)
	}
	return out, nil
}

// FromLease writes a lease.
func FromLease(l lease.Lease) Lease {
	out := Lease{
		Id: l.ID, Client: l.Client, Host: l.Host, Kind: uint32(l.Kind), Prices: FromPrices(l.Prices), Until: l.Until,
		In: uint64(l.In), Out: uint64(l.Out), Commission: uint64(l.Commission), Refunded: uint64(l.Refunded),
		Seq: l.Seq, Total: uint64(l.Total), Units: l.Units[:], Root: wordBytes(l.Root), Rate: uint64(l.Rate), AsOf: l.AsOf, RunsUntil: l.RunsUntil,
		State: uint32(l.State), OpenedAt: l.OpenedAt, ClosedAt: l.ClosedAt, EndsAt: l.EndsAt, PricedAt: l.PricedAt, Key: wordBytes(l.Key),
		AccHi: l.Acc.Hi, AccLo: l.Acc.Lo, Clock0: l.Clock0,
	}
	if l.PricedAt != 0 {
		before := FromPrices(l.Before)
		out.Before = &before
	}
	return out
}

// word reads 32 bytes, or none for all zeros.
func word(into *[32]byte, from []byte, what string) error {
	if len(from) != 0 && len(from) != len(into) {
		return fault.New(fault.BadRequest, "a %s of %d bytes, 32 are needed", what, len(from))
	}
	copy(into[:], from)
	return nil
}

func wordBytes(w [32]byte) []byte {
	if w == [32]byte{} {
		return nil
	}
	return w[:]
}

// Core reads a quote for one network.
func (q Quote) Core(chainID string) (quote.Signed, error) {
	prices, err := q.Prices.Core()
	if err != nil {
		return quote.Signed{}, fault.New(fault.BadRequest, "quote of %s: %w", q.Host, err)
	}
	if q.Kind > 255 || !quote.Kind(q.Kind).Valid() {
		return quote.Signed{}, fault.New(fault.BadRequest, "quote of %s: unknown kind %d", q.Host, q.Kind)
	}
	return quote.Signed{
		Quote: quote.Quote{ChainID: chainID, Host: q.Host, Kind: quote.Kind(q.Kind), Prices: prices, ValidUntil: q.ValidUntil},
		Sig:   q.Sig,
	}, nil
}

// FromQuote writes a quote.
func FromQuote(q quote.Signed) Quote {
	return Quote{Host: q.Host, Kind: uint32(q.Kind), Prices: FromPrices(q.Prices), ValidUntil: q.ValidUntil, Sig: q.Sig}
}

// Core reads a statement for one network.
func (s Statement) Core(chainID string) (statement.Signed, error) {
	out := statement.Signed{
		Statement: statement.Statement{
			ChainID: chainID, Lease: s.Lease, Seq: s.Seq, Total: money.Amount(s.Total), AsOf: s.AsOf, RunsUntil: s.RunsUntil,
		},
		ClientKey: s.ClientKey, ClientSig: s.ClientSig, HostSig: s.HostSig,
	}
	err := three(out.Units[:], s.Units, "units")
	if err == nil {
		err = word(&out.Root, s.Root, "root")
	}
	if err != nil {
		return statement.Signed{}, fault.New(fault.BadStatement, "statement %d of lease %d: %w", s.Seq, s.Lease, err)
	}
	return out, nil
}

// FromStatement writes a statement.
func FromStatement(s statement.Signed) Statement {
	return Statement{
		Lease: s.Lease, Seq: s.Seq, Total: uint64(s.Total), Units: s.Units[:], Root: wordBytes(s.Root), AsOf: s.AsOf, RunsUntil: s.RunsUntil,
		ClientKey: s.ClientKey, ClientSig: s.ClientSig, HostSig: s.HostSig,
	}
}

// Core reads a mandate.
func (m Mandate) Core() (mandate.Mandate, error) {
	out := mandate.Mandate{
		Grantor: m.Grantor, Ops: mandate.Op(m.Operations), Ceilings: make(map[quote.Kind]quote.Prices, len(m.Ceilings)),
		Cap: money.Amount(m.Cap_30D), Used: money.Amount(m.Used), WindowStart: m.WindowStart, Until: m.Until,
	}
	if len(m.Key) != ed25519.PublicKeySize {
		return mandate.Mandate{}, fault.New(fault.BadRequest, "mandate: a key of %d bytes, 32 are needed", len(m.Key))
	}
	copy(out.Key[:], m.Key)
	for _, c := range m.Ceilings {
		prices, err := c.Prices.Core()
		if err != nil {
			return mandate.Mandate{}, fault.New(fault.BadRequest, "mandate: ceiling of kind %d: %w", c.Kind, err)
		}
		kind := quote.Kind(c.Kind)
		if _, twice := out.Ceilings[kind]; twice || c.Kind > 255 {
			return mandate.Mandate{}, fault.New(fault.BadRequest, "mandate: two ceilings of kind %d, or none such", c.Kind)
		}
		out.Ceilings[kind] = prices
	}
	return out, nil
}

// FromMandate writes a mandate, its ceilings in the order of their kinds.
func FromMandate(m mandate.Mandate) Mandate {
	out := Mandate{
		Grantor: m.Grantor, Key: m.Key[:], Operations: uint32(m.Ops), Cap_30D: uint64(m.Cap), Used: uint64(m.Used),
		WindowStart: m.WindowStart, Until: m.Until,
	}
	for _, k := range slices.Sorted(maps.Keys(m.Ceilings)) {
		out.Ceilings = append(out.Ceilings, PriceCeiling{Kind: uint32(k), Prices: FromPrices(m.Ceilings[k])})
	}
	return out
}
