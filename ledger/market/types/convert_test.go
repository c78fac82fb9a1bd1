package types_test

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"hearth/core/lease"
	"hearth/core/mandate"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"
	"hearth/ledger/market/types"
)

func word(r *rapid.T, name string) (w [32]byte) {
	copy(w[:], rapid.SliceOfN(rapid.Byte(), 0, 32).Draw(r, name))
	return w
}

func prices(r *rapid.T) (p quote.Prices) {
	u := rapid.Uint64()
	for i := range p.Unit {
		p.Unit[i] = u.Draw(r, "unit")
	}
	p.In, p.Out, p.Gas = u.Draw(r, "in"), u.Draw(r, "out"), u.Draw(r, "gas")
	return p
}

// A lease comes back from the ledger's record as it went in.
func TestALeaseAndItsRecord(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		u, i := rapid.Uint64(), rapid.Int64()
		a := func(name string) money.Amount { return money.Amount(u.Draw(r, name)) }
		l := lease.Lease{
			ID: u.Draw(r, "id"), Client: rapid.String().Draw(r, "client"), Host: rapid.String().Draw(r, "host"),
			Kind: quote.Kind(rapid.IntRange(1, 5).Draw(r, "kind")), Prices: prices(r), Until: i.Draw(r, "until"),
			In: a("in"), Out: a("out"), Commission: a("commission"), Refunded: a("refunded"),
			Seq: u.Draw(r, "seq"), Total: a("total"), Units: quote.Units{u.Draw(r, "u0"), u.Draw(r, "u1"), u.Draw(r, "u2")}, Root: word(r, "root"),
			Rate: money.Rate(u.Draw(r, "rate")), AsOf: i.Draw(r, "as of"), RunsUntil: i.Draw(r, "runs until"), Key: word(r, "key"),
			State: lease.State(rapid.IntRange(1, 4).Draw(r, "state")), OpenedAt: i.Draw(r, "opened"), ClosedAt: i.Draw(r, "closed"), EndsAt: i.Draw(r, "ends"),
		}
		if rapid.Bool().Draw(r, "repriced") {
			l.PricedAt, l.Before = rapid.Int64Range(1, 1<<40).Draw(r, "priced"), prices(r)
		}
		record := types.FromLease(l)
		raw, err := record.Marshal()
		if err != nil {
			r.Fatal(err)
		}
		var back types.Lease
		if err := back.Unmarshal(raw); err != nil {
			r.Fatal(err)
		}
		if got, err := back.Core(); err != nil || got != l {
			r.Fatalf("%+v, %v, want %+v", got, err, l)
		}
	})
}

// A mandate, too, and always in the same bytes.
func TestAMandateAndItsRecord(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := mandate.Mandate{
			Grantor: "hearth1x", Key: word(r, "key"), Ops: mandate.Op(rapid.Uint32().Draw(r, "ops")), Ceilings: map[quote.Kind]quote.Prices{},
			Cap: money.Amount(rapid.Uint64().Draw(r, "cap")), Used: money.Amount(rapid.Uint64().Draw(r, "used")),
			WindowStart: rapid.Int64().Draw(r, "start"), Until: rapid.Int64().Draw(r, "until"),
		}
		for _, k := range rapid.SliceOfDistinct(rapid.IntRange(1, 5), rapid.ID).Draw(r, "kinds") {
			m.Ceilings[quote.Kind(k)] = prices(r)
		}
		record := types.FromMandate(m)
		got, err := record.Core()
		if err != nil {
			r.Fatal(err)
		}
		again := types.FromMandate(got)
		a, err := record.Marshal()
		if err != nil {
			r.Fatal(err)
		}
		b, err := again.Marshal()
		if err != nil || !bytes.Equal(a, b) {
			r.Fatalf("%x, %v, want %x", b, err, a)
		}
	})
}

// Whatever comes in as a statement is refused, or says the same in core.
func FuzzStatement(f *testing.F) {
	whole := types.FromStatement(statement.Signed{Statement: statement.Statement{Lease: 1, Seq: 2, Total: 3, Units: quote.Units{4}, Root: [32]byte{5}, AsOf: 6, RunsUntil: 7}})
	raw, err := whole.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte{})
	f.Add([]byte{0x22, 1, 1})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m types.Statement
		if m.Unmarshal(raw) != nil {
			return
		}
		s, err := m.Core("hearth-1")
		if err != nil {
			return
		}
		again, err := types.FromStatement(s).Core("hearth-1")
		if err != nil || !bytes.Equal(again.Digest(), s.Digest()) {
			t.Errorf("%+v, %v, was %+v", again, err, s)
		}
	})
}

// Whatever comes in as an opening is refused, or says the same in core.
func FuzzQuote(f *testing.F) {
	whole := types.FromQuote(quote.Signed{Quote: quote.Quote{Host: "hearth1x", Kind: quote.Storage, ValidUntil: 1}, Sig: []byte{1}})
	raw, err := whole.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte{0x10, 9})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m types.Quote
		if m.Unmarshal(raw) != nil {
			return
		}
		q, err := m.Core("hearth-1")
		if err != nil {
			return
		}
		again, err := types.FromQuote(q).Core("hearth-1")
		if err != nil || !bytes.Equal(again.Encode(), q.Encode()) {
			t.Errorf("%+v, %v, was %+v", again, err, q)
		}
	})
}
