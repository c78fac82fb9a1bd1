package app_test

import (
	"slices"
	"testing"

	"hearth/core/quote"
	"hearth/core/statement"
	markettypes "hearth/ledger/market/types"
)

// Statements that break a rule are skipped and named; the others count.
func TestStatements(t *testing.T) {
	l := newStreet(t)
	l.must(l.opening(anna, anna, 100_000, bert, berta), anna)
	now := l.now()
	base := statement.Statement{Lease: 1, Seq: 10, Total: 1000, Units: quote.Units{gib}, Root: [32]byte{1}, AsOf: now, RunsUntil: now + 5}
	if got := l.refusals(bert, l.by(base, bert)); got != nil {
		t.Fatalf("refused: %v", got)
	}
	with := func(f func(*statement.Statement)) statement.Statement {
		s := base
		s.Seq = 11
		f(&s)
		return s
	}
	same := with(func(s *statement.Statement) { s.Total = 2000 })
	same.ChainID = l.chainID
	strange := same.SignClient(edKey("a stranger"))
	mixed := l.by(same, bert)
	mixed.Total++
	short := l.by(same, bert)
	short.Units = short.Units[:2]
	late := l.by(with(func(s *statement.Statement) { s.ChainID = "hearth-1" }), bert)
	for name, tt := range map[string]struct {
		want   string
		signer person
		s      markettypes.Statement
	}{
		"the same again":                           {"stale", bert, l.by(base, bert)},
		"an older one":                             {"stale", bert, l.by(with(func(s *statement.Statement) { s.Seq = 9 }), bert)},
		"a lower total":                            {"bad_statement", bert, l.by(with(func(s *statement.Statement) { s.Total = 999 }), bert)},
		"an earlier time":                          {"bad_statement", bert, l.by(with(func(s *statement.Statement) { s.AsOf-- }), bert)},
		"other units without the host":             {"bad_signature", bert, l.by(with(func(s *statement.Statement) { s.Units[0]++ }))},
		"another root without the host":            {"bad_signature", bert, l.by(with(func(s *statement.Statement) { s.Root[0]++ }))},
		"by the client alone":                      {"bad_signature", anna, l.by(same)},
		"by a stranger alone":                      {"bad_signature", berta, l.by(same)},
		"signed by another host":                   {"bad_signature", bert, l.by(same, berta)},
		"by a key without a mandate":               {"mandate_refused", bert, markettypes.FromStatement(strange)},
		"changed after it was signed":              {"bad_signature", bert, mixed},
		"of another chain":                         {"bad_signature", bert, late},
		"with two units":                           {"bad_statement", bert, short},
		"of a lease that isn't there":              {"no_lease", bert, l.by(with(func(s *statement.Statement) { s.Lease = 99 }), bert)},
		"of a lease of another host, by this host": {"bad_signature", bert, l.by(with(func(s *statement.Statement) { s.Lease = 2 }))},
	} {
		t.Run(name, func(t *testing.T) {
			l.t = t
			if got := l.refusals(tt.signer, tt.s); !slices.Equal(got, []string{tt.want}) {
				t.Errorf("%v, want %s", got, tt.want)
			}
		})
	}
	l.t = t
	ok := l.by(statement.Statement{Lease: 2, Seq: 1, Units: quote.Units{gib}, AsOf: now, RunsUntil: now + 5}, berta)
	if got := l.refusals(anna, l.by(base, bert), ok, l.by(same, bert)); !slices.Equal(got, []string{"stale"}) {
		t.Errorf("refused %v", got)
	}
	if a, b := l.lease(1), l.lease(2); a.Seq != 11 || b.Seq != 1 {
		t.Errorf("at %d and %d", a.Seq, b.Seq)
	}
}

// Two statements with one number: the first posted counts, whatever the other
// says, and the host can't have both paid.
func TestANumberCountsOnce(t *testing.T) {
	l := newStreet(t)
	l.must(l.opening(anna, anna, 100_000, bert), anna)
	now := l.now()
	s := statement.Statement{Lease: 1, Seq: 1, Total: 1000, AsOf: now, RunsUntil: now}
	other := s
	other.Total = 5000
	if got := l.refusals(bert, l.by(s, bert), l.by(other, bert)); !slices.Equal(got, []string{"stale"}) {
		t.Errorf("refused %v", got)
	}
	l.must(settle(bert, 1), bert)
	if got := l.lease(1); got.Out != 1000 {
		t.Errorf("paid %d", got.Out)
	}
}

// After a mandate is revoked its host can post what it was promised, for a while.
func TestRevokingTakesNothingFromAHost(t *testing.T) {
	l := newStreet(t)
	l.must(l.opening(anna, anna, 100_000, bert), anna)
	now := l.now()
	promised := l.by(statement.Statement{Lease: 1, Seq: 1, Total: 1000, AsOf: now, RunsUntil: now}, bert)
	more := l.by(statement.Statement{Lease: 1, Seq: 2, Total: 2000, AsOf: now, RunsUntil: now}, bert)
	l.must(&markettypes.MsgRevokeMandate{Grantor: anna.address, Key: public(deviceKey())}, anna)
	if got := l.refusals(bert, promised); got != nil {
		t.Errorf("refused %v", got)
	}
	l.pass(9)
	if got := l.refusals(bert, more); !slices.Equal(got, []string{"mandate_refused"}) {
		t.Errorf("refused %v", got)
	}
}

// Rates that don't fit together are refused: were they cut off, the sum would be
// too small once one of them has gone, and with it the host's bond.
func TestRatesOfAHostFit(t *testing.T) {
	l := newStreet(t)
	m := l.opening(anna, anna, 10_000, bert)
	dear := prices
	dear.Unit[0] = 1<<64 - 1
	m.Open[0].Quote = l.quote(bert, quote.Storage, dear)
	l.must(m, anna)
	l.must(&markettypes.MsgDeposit{Owner: berta.address, Amount: 10_000}, berta)
	l.must(l.opening(berta, berta, 10_000, bert), berta)
	l.must(l.mandateOf(berta), berta)
	now := l.now()
	most := l.by(statement.Statement{Lease: 1, Seq: 1, Units: quote.Units{gib}, AsOf: now, RunsUntil: now}, bert)
	little := l.by(statement.Statement{Lease: 2, Seq: 1, Units: quote.Units{gib}, AsOf: now, RunsUntil: now}, bert)
	if got := l.refusals(bert, most, little); !slices.Equal(got, []string{"bad_statement"}) {
		t.Errorf("refused %v", got)
	}
	none := l.by(statement.Statement{Lease: 1, Seq: 2, AsOf: now, RunsUntil: now}, bert)
	if got := l.refusals(bert, none, little); got != nil {
		t.Errorf("refused %v", got)
	}
	if h := l.host(bert); h.StorageRate != 1e12 {
		t.Errorf("rate %d", h.StorageRate)
	}
}
