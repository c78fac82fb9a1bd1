package app_test

import (
	"slices"
	"testing"

	"hearth/core/mandate"
	"hearth/core/quote"
	"hearth/core/statement"
	markettypes "hearth/ledger/market/types"
)

// A steward's key can add and can't take away, also with a host as its accomplice.
func TestAKeyThatMayOnlyKeepLowersNothing(t *testing.T) {
	l := newStreet(t)
	l.must(l.opening(anna, anna, 100_000, bert), anna)
	steward := l.mandate()
	steward.Key, steward.Operations = public(edKey("a steward")), uint32(mandate.Keep)
	l.must(steward, anna)
	now := l.now()
	by := func(key string, seq, units uint64, root byte) markettypes.Statement {
		s := statement.Statement{ChainID: l.chainID, Lease: 1, Seq: seq, Units: quote.Units{units}, Root: [32]byte{root}, AsOf: now, RunsUntil: now + 5}
		return markettypes.FromStatement(s.SignClient(edKey(key)).SignHost(hostKey(bert)))
	}
	if got := l.refusals(bert, l.by(statement.Statement{Lease: 1, Seq: 1, Units: quote.Units{100}, Root: [32]byte{1}, AsOf: now, RunsUntil: now + 5}, bert)); got != nil {
		t.Fatalf("refused %v", got)
	}
	for _, units := range []uint64{0, 99} {
		if got := l.refusals(bert, by("a steward", 2, units, 2)); !slices.Equal(got, []string{"mandate_refused"}) {
			t.Errorf("100 units became %d: %v", units, got)
		}
	}
	l.untilFree(bert)
	if got := l.refusals(bert, by("a steward", 2, 150, 2)); got != nil {
		t.Errorf("more was refused: %v", got)
	}
	l.untilFree(bert)
	if got := l.refusals(bert, l.by(statement.Statement{Lease: 1, Seq: 3, Units: quote.Units{50}, Root: [32]byte{3}, AsOf: now, RunsUntil: now + 5}, bert)); got != nil {
		t.Errorf("the owner's device was refused: %v", got)
	}
}
