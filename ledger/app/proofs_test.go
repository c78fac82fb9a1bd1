package app_test

import (
	"slices"
	"testing"
	"time"

	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/proof"
	"hearth/core/quote"
	"hearth/core/statement"
	hoststypes "hearth/ledger/hosts/types"
	markettypes "hearth/ledger/market/types"
	proofstypes "hearth/ledger/proofs/types"
)

type hostsBond = hoststypes.MsgBond

// A host that shows what is drawn is paid for the period, and gets its fee back.
func TestAnAnsweredPeriodIsPaid(t *testing.T) {
	l := newStreet(t)
	s := l.storing(bert)
	l.must(settle(anna, 1), anna)
	if got := l.lease(1); got.Out != 0 {
		t.Fatalf("unproven time has earned %d", got.Out)
	}
	l.untilDrawn(bert)
	before := l.balance(bert.address)
	r := l.must(l.answer(bert, s...), bert)
	var res proofstypes.MsgAnswerResponse
	if l.response(r.Data, &res); !res.Paid || l.balance(bert.address) != before {
		t.Errorf("paid %t, the answer cost %d uember", res.Paid, before-l.balance(bert.address))
	}
	if got := l.proving(bert); got.Proven != 10 || got.Misses(proofRules) != 0 {
		t.Errorf("%+v", got)
	}
	l.must(settle(anna, 1), anna)
	if got := l.lease(1); got.Out != 10 || got.Commission != 1 { // a uember a second for 10 s
		t.Errorf("paid %d, commission %d", got.Out, got.Commission)
	}
	// The same period pays once, and a second try costs its fee.
	before = l.balance(bert.address)
	l.refuse("stale", &proofstypes.MsgAnswer{Host: bert.address, Period: l.turn(bert).Period, Answers: make([][]byte, 5)}, bert)
	if l.balance(bert.address) == before {
		t.Error("a refused answer was free")
	}
	for range 3 {
		l.proves(bert, s...)
	}
	l.must(settle(anna, 1), anna)
	if got := l.lease(1); got.Out != 40 {
		t.Errorf("four periods came to %d", got.Out)
	}
}

var proofRules = proofstypes.Local(0).Rules()

// Nothing but the very leaves that were drawn is an answer.
func TestWrongAnswers(t *testing.T) {
	l := newStreet(t)
	s := l.storing(bert, berta)
	l.untilDrawn(bert)
	good := l.answer(bert, s...)
	change := func(f func(*proofstypes.MsgAnswer)) *proofstypes.MsgAnswer {
		m := &proofstypes.MsgAnswer{Host: good.Host, Period: good.Period, Answers: slices.Clone(good.Answers)}
		f(m)
		return m
	}
	other := stored(1, 5000, 300_001, 1)
	cases := []struct {
		name, code string
		m          *proofstypes.MsgAnswer
	}{
		{"four of five", "bad_request", change(func(m *proofstypes.MsgAnswer) { m.Answers = m.Answers[:4] })},
		{"another period", "stale", change(func(m *proofstypes.MsgAnswer) { m.Period++ })},
		{"a leaf of another draw", "damaged_shard", change(func(m *proofstypes.MsgAnswer) { m.Answers[0] = s[0].leaf(func(n uint64) uint64 { return 7 }).Encode() })},
		{"other bytes", "damaged_shard", change(func(m *proofstypes.MsgAnswer) { m.Answers[1] = flip(t, m.Answers[1]) })},
		{"a leaf of another lease", "damaged_shard", change(func(m *proofstypes.MsgAnswer) { m.Answers[2] = other.leaf(func(uint64) uint64 { return 3 }).Encode() })},
		{"rubbish", "unknown_format", change(func(m *proofstypes.MsgAnswer) { m.Answers[3] = []byte("rubbish") })},
		{"a draw left out", "bad_request", change(func(m *proofstypes.MsgAnswer) { m.Answers[4] = nil })},
		{"a confession of another", "bad_request", change(func(m *proofstypes.MsgAnswer) { m.Answers[4], m.Confessed = nil, []uint64{2} })},
	}
	var txs [][]byte
	for _, c := range cases {
		txs = append(txs, l.tx(c.m, bert))
	}
	stranger := change(func(m *proofstypes.MsgAnswer) { m.Host = berta.address })
	txs = append(txs, l.tx(stranger, berta)) // her own draws are others
	for i, r := range l.block(txs...) {
		if i == len(cases) {
			if r.Code == 0 {
				t.Error("one host's answer counts for another")
			}
		} else if !hasCode(r.Log, cases[i].code) {
			t.Errorf("%s: %d, %q", cases[i].name, r.Code, r.Log)
		}
	}
	if got := l.proving(bert); got.Proven != 0 {
		t.Errorf("proven %d", got.Proven)
	}
}

func hasCode(log, code string) bool { return len(log) > len(code) && log[:len(code)+1] == code+":" }

func flip(t *testing.T, b []byte) []byte {
	t.Helper()
	a, err := proof.DecodeAnswer(b)
	if err != nil {
		t.Fatal(err)
	}
	a.Data = slices.Clone(a.Data)
	a.Data[0] ^= 1
	return a.Encode()
}

// From its slot on a host's storage stays as it is, so that nobody chooses what
// is drawn. Everything else goes on.
func TestTheFreeze(t *testing.T) {
	l := newStreet(t)
	s := l.storing(bert)
	l.untilDrawn(bert)
	next := stored(1, 777)
	if got := l.refusals(bert, l.by(l.says(next, 2, 1), bert)); !slices.Equal(got, []string{"frozen"}) {
		t.Errorf("another root: %v", got)
	}
	if got := l.refusals(bert, l.by(l.says(s[0], 2, 2), bert)); !slices.Equal(got, []string{"frozen"}) {
		t.Errorf("another rate: %v", got)
	}
	l.refuse("frozen", &proofstypes.MsgDeclareLoss{Host: bert.address, Leases: []uint64{1}}, bert)
	l.refuse("frozen", &markettypes.MsgClose{Signer: anna.address, Lease: 1}, anna)
	more := l.says(s[0], 2, 1)
	more.Total = 500
	if got := l.refusals(bert, l.by(more, bert)); got != nil {
		t.Errorf("traffic alone: %v", got)
	}
	l.must(l.answer(bert, s...), bert)
	if got := l.refusals(bert, l.by(with(l.says(next, 3, 1), 500), bert)); got != nil {
		t.Errorf("after the answer: %v", got)
	}
	l.proves(bert, next)
}

func with(s statement.Statement, total money.Amount) statement.Statement {
	s.Total = total
	return s
}

// A lease whose end falls into a freeze ends when that is over.
func TestAnEndWaitsForTheFreeze(t *testing.T) {
	l := newStreet(t)
	s := l.storing(bert)
	l.proves(bert, s...)
	for l.now() < l.turn(bert).Ends-3 {
		l.block()
	}
	l.must(&markettypes.MsgClose{Signer: bert.address, Lease: 1}, bert) // with a notice of 20 s
	l.proves(bert, s...)
	for l.now() < l.lease(1).EndsAt {
		l.block()
	}
	turn := l.turn(bert)
	if got := l.lease(1); !turn.Frozen || got.State != uint32(lease.Closing) {
		t.Fatalf("frozen %t, state %d", turn.Frozen, got.State)
	}
	for l.now() <= turn.Ends {
		l.block()
	}
	if got := l.lease(1); got.State != uint32(lease.Closed) || got.Out != 20 {
		t.Errorf("%+v", got)
	}
}

// Two misses in thirty periods cost their pay and no more, each further one a
// period's rates, seven in a row the bond: half to the leases by rate.
func TestWhatSilenceCosts(t *testing.T) {
	l := newStreet(t)
	l.must(l.opening(anna, anna, 100_000, bert), anna)
	l.must(&markettypes.MsgDeposit{Owner: berta.address, Amount: 200_000}, berta)
	l.must(l.mandateOf(berta), berta)
	l.must(l.opening(berta, berta, 100_000, bert), berta)
	a, b := stored(1, 5000), stored(2, 9000)
	if got := l.refusals(bert, l.by(l.says(a, 1, 1), bert), l.by(l.says(b, 1, 3), bert)); got != nil {
		t.Fatal(got)
	}
	l.bond(bert, 10_001)
	l.untilDrawn(bert) // the first period that is owed
	judge := func() *hoststypes.Host {
		l.must(&proofstypes.MsgJudge{Signer: anna.address, Host: bert.address}, anna)
		h := l.host(bert)
		return &h
	}
	const period = 4 * 10 // uember for all its leases
	want := []int64{10_001, 10_001, 10_001 - period, 10_001 - 2*period, 10_001 - 3*period, 10_001 - 4*period}
	for i, bond := range want {
		l.silence(1)
		if h := judge(); h.Bond != uint64(bond) || h.Proving.Run != uint32(i+1) {
			t.Fatalf("%d misses: bond %d, want %d; run %d", i+1, h.Bond, bond, h.Proving.Run)
		}
	}
	purseA, purseB := l.purse(anna), l.purse(berta)
	l.silence(1)
	h := judge()
	if h.Bond != 0 || h.Proving.Run != 7 {
		t.Fatalf("the seventh: bond %d, run %d", h.Bond, h.Proving.Run)
	}
	l.must(settle(anna, 1, 2), anna)
	half := (10_001 - 4*period) / 2
	if gotA, gotB := l.purse(anna)-purseA, l.purse(berta)-purseB; gotA != int64(half)/4 || gotB != int64(half)*3/4 {
		t.Errorf("a half of %d: anna got %d, berta %d", half, gotA, gotB)
	}
	// It has nothing left to lose but its pay, and may begin anew.
	l.silence(3)
	if h := judge(); h.Bond != 0 || h.Proving.Proven != 0 || h.Proving.Debt != 0 {
		t.Errorf("after three more: %+v", h)
	}
	l.proves(bert, a, b)
	l.must(settle(anna, 1, 2), anna)
	if a, b := l.lease(1), l.lease(2); a.Out != 10 || b.Out != 30 {
		t.Errorf("once it proves again: %d and %d", a.Out, b.Out)
	}
}

// A fine that no bond covers is paid out of the next earnings.
func TestAFineIsPaidOutOfEarnings(t *testing.T) {
	l := newStreet(t)
	s := l.storing(bert)
	l.untilDrawn(bert)
	l.silence(4)
	l.proves(bert, s...)
	if got := l.proving(bert); got.Debt != 20 || got.Run != 0 { // the third and the fourth
		t.Fatalf("%+v", got)
	}
	before := l.balance(bert.address)
	l.must(settle(anna, 1), anna)
	if got := l.proving(bert); got.Debt != 11 || l.balance(bert.address) != before || l.host(bert).Bond != 0 {
		t.Errorf("of 9 earned: debt %d, got %d", got.Debt, l.balance(bert.address)-before)
	}
}

// A host may admit a loss before it is drawn: its client gets three periods' rent
// out of the bond, and a new statement heals the lease.
func TestADeclaredLoss(t *testing.T) {
	l := newStreet(t)
	s := l.storing(bert, berta)
	l.bond(bert, 1000)
	l.proves(bert, s[0])
	l.untilFree(bert)
	l.refuse("unauthorized", &proofstypes.MsgDeclareLoss{Host: bert.address, Leases: []uint64{2}}, bert)
	l.untilFree(bert)
	before := l.purse(anna)
	l.must(&proofstypes.MsgDeclareLoss{Host: bert.address, Leases: []uint64{1}}, bert)
	if got := l.lease(1); got.Rate != 0 || l.purse(anna)-before != 30 || l.host(bert).Bond != 970 || l.host(bert).StorageRate != 0 {
		t.Fatalf("rate %d, compensated %d", got.Rate, l.purse(anna)-before)
	}
	l.silence(2) // nothing is owed
	l.must(&proofstypes.MsgJudge{Signer: anna.address, Host: bert.address}, anna)
	if got := l.proving(bert); got.Misses(proofRules) != 0 {
		t.Errorf("%+v", got)
	}
	l.refuse("bad_request", &proofstypes.MsgDeclareLoss{Host: bert.address, Leases: []uint64{1}}, bert)
	healed := stored(1, 4000)
	if got := l.refusals(bert, l.by(l.says(healed, 2, 1), bert)); got != nil {
		t.Fatal(got)
	}
	l.proves(bert, healed)
	l.proves(berta, s[1])
}

// A host that has lost some of what is drawn shows the rest and confesses: the
// period isn't paid, the lease is lost, the others go on.
func TestAConfession(t *testing.T) {
	l := newStreet(t)
	l.must(l.opening(anna, anna, 100_000, bert), anna)
	l.must(&markettypes.MsgDeposit{Owner: berta.address, Amount: 200_000}, berta)
	l.must(l.mandateOf(berta), berta)
	l.must(l.opening(berta, berta, 100_000, bert), berta)
	a, b := stored(1, 5000), stored(2, 9000)
	if got := l.refusals(bert, l.by(l.says(a, 1, 1), bert), l.by(l.says(b, 1, 1), bert)); got != nil {
		t.Fatal(got)
	}
	l.bond(bert, 1000)
	a.gone = true
	for { // until the lost one is drawn
		l.untilDrawn(bert)
		m := l.answer(bert, a, b)
		l.must(m, bert)
		if len(m.Confessed) > 0 {
			break
		}
		l.silence(1)
	}
	if got := l.lease(1); got.Rate != 0 {
		t.Errorf("the lost lease still earns %d", got.Rate)
	}
	if got := l.lease(2); got.Rate == 0 {
		t.Error("the other one doesn't")
	}
	if got := l.proving(bert); got.Misses(proofRules) == 0 || got.Run != 0 || l.host(bert).Bond != 970 || l.turn(bert).Frozen {
		t.Errorf("%+v, bond %d", got, l.host(bert).Bond)
	}
	l.proves(bert, b)
}

// A client may demand a leaf now: it pays for the answer, and the lease is lost
// without one.
func TestChallenges(t *testing.T) {
	l := newStreet(t)
	s := l.storing(bert, berta)
	l.bond(berta, 1000)
	l.refuse("mandate_refused", &proofstypes.MsgChallenge{Signer: berta.address, Lease: 1, Leaf: 5}, berta)
	before, paid := l.purse(anna), l.balance(bert.address)
	l.must(&proofstypes.MsgChallenge{Signer: anna.address, Lease: 1, Leaf: 1 << 63}, anna)
	if r := l.block(l.txWith(txGas, 2000, anna.address, &proofstypes.MsgChallenge{Signer: device.address, Lease: 2}, device))[0]; r.Code != 0 {
		t.Fatal(r.Log)
	}
	l.refuse("exists", &proofstypes.MsgChallenge{Signer: anna.address, Lease: 1}, anna)
	if got := l.purse(anna); got != before-20_000 {
		t.Fatalf("two challenges cost %d", before-got)
	}
	wrong := s[0].leaf(func(uint64) uint64 { return 0 }).Encode()
	l.refuse("bad_frame", &proofstypes.MsgAnswerChallenge{Host: bert.address, Lease: 1, Answer: wrong}, bert)
	right := s[0].leaf(func(total uint64) uint64 { return 1 << 63 % total }).Encode()
	l.refuse("unauthorized", &proofstypes.MsgAnswerChallenge{Host: berta.address, Lease: 1, Answer: right}, berta)
	fees := int64(2 * 2000)
	l.must(&proofstypes.MsgAnswerChallenge{Host: bert.address, Lease: 1, Answer: right}, bert)
	if got := l.balance(bert.address) - paid + fees + int64(l.host(bert).Bond); got != 10_000 {
		t.Errorf("the fee brought %d", got)
	}
	l.refuse("not_found", &proofstypes.MsgAnswerChallenge{Host: bert.address, Lease: 1, Answer: right}, bert)
	for range 15 { // berta is silent; a freeze may hold it up until the period ends
		l.block()
	}
	if got := l.lease(2); got.Rate != 0 || l.purse(anna) != before-10_000+30 {
		t.Errorf("rate %d, %d of %d left", got.Rate, l.purse(anna), before)
	}
	if got := l.lease(1); got.Rate == 0 {
		t.Error("the answered one was lost")
	}
}

// A period in which the ledger stood still is nobody's miss.
func TestALedgersPauseIsNobodysMiss(t *testing.T) {
	l := newStreet(t)
	s := l.storing(bert)
	l.proves(bert, s...)
	for range 10 {
		l.pass(100)
		l.block()
	}
	l.must(&proofstypes.MsgJudge{Signer: anna.address, Host: bert.address}, anna)
	if got := l.proving(bert); got.Misses(proofRules) != 0 || got.Proven != 10 {
		t.Errorf("%+v", got)
	}
	l.silence(1)
	l.proves(bert, s...)
}

// A second pause that ends in the same period takes back nothing of the first.
func TestTwoPausesOfOnePeriodAreNobodysMiss(t *testing.T) {
	p := proofstypes.Local(0)
	p.PeriodSeconds, p.VoidSeconds = 100, 10
	l := streetWith(t, p)
	l.storing(bert)
	until := func(period int64) {
		for l.turn(bert).Period < period {
			l.pass(4)
			l.block()
		}
	}
	owed := l.proving(bert).From
	until(owed)
	l.pass(210) // two periods on
	l.block()
	l.pass(20)
	l.block()
	if got := l.turn(bert).Period; got != owed+2 {
		t.Fatalf("it is period %d, the pauses were to end in %d", got, owed+2)
	}
	until(owed + 3)
	l.must(&proofstypes.MsgJudge{Signer: anna.address, Host: bert.address}, anna)
	if got := l.proving(bert); got.Misses(proofRules) != 0 || got.Judged != owed+2 {
		t.Errorf("%+v", got)
	}
}

// Leases are drawn by rate: one of a hundredth of the rates seldom, one without never.
func TestDrawsGoByRate(t *testing.T) {
	l := newStreet(t)
	for _, name := range []string{"carl", "cora"} {
		p := secpPerson(name)
		l.must(send(anna, p, 1_000_000), anna)
		l.must(&markettypes.MsgDeposit{Owner: p.address, Amount: 200_000}, p)
		l.must(l.mandateOf(p), p)
		l.must(l.opening(p, p, 100_000, bert), p)
	}
	l.must(l.opening(anna, anna, 100_000, bert), anna)
	shelves := []*shelf{stored(1, 500), stored(2, 500), stored(3, 500)}
	big, small, none := l.says(shelves[0], 1, 0), l.says(shelves[1], 1, 0), l.says(shelves[2], 1, 0)
	big.Units, small.Units, none.Units = quote.Units{99 * gib / 100}, quote.Units{gib / 100}, quote.Units{gib}
	if got := l.refusals(bert, l.by(big, bert), l.by(small, bert), l.by(none, bert)); got != nil {
		t.Fatal(got)
	}
	none.Seq, none.Units = 2, quote.Units{}
	if got := l.refusals(bert, l.by(none, bert)); got != nil {
		t.Fatal(got)
	}
	drawn := map[uint64]int{}
	for range 30 {
		for _, d := range l.untilDrawn(bert).Draws {
			drawn[d.Lease]++
		}
		l.must(l.answer(bert, shelves...), bert)
	}
	if drawn[1] < 135 || drawn[3] != 0 || drawn[1]+drawn[2] != 150 {
		t.Errorf("drawn %v times", drawn)
	}
}

// A full answer of five leaves of large leases fits the chain, and it costs no more
// gas than is given back.
func TestAnAnswerIsSmall(t *testing.T) {
	l := newStreet(t)
	l.must(l.opening(anna, anna, 100_000, bert), anna)
	s := large(1)
	if got := l.refusals(bert, l.by(l.says(s, 1, 1), bert)); got != nil {
		t.Fatal(got)
	}
	l.untilDrawn(bert)
	tx := l.tx(l.answer(bert, s), bert)
	if len(tx) > 12<<10 {
		t.Errorf("%d bytes", len(tx))
	}
	r := l.block(tx)[0]
	if r.Code != 0 || r.GasUsed > 600_000 {
		t.Errorf("%d gas, %s", r.GasUsed, r.Log)
	}
	t.Logf("%d bytes, %d gas", len(tx), r.GasUsed)
}

// large is a lease of 2^15 shards of 4 MiB, all of them the same bytes but for their
// place: so none but one has to be kept.
func large(id uint64) *shelf {
	s := stored(id, proof.MaxShard)
	one := s.tree.Slots()[0]
	slots := make([]proof.Shard, 1<<15)
	for i := range slots {
		slots[i] = one
	}
	s.tree = proof.NewSumTree(slots)
	return s
}

// A chain that goes on from another's export knows what is stored and owed.
func TestProofsTravel(t *testing.T) {
	l := newStreet(t)
	s := l.storing(bert, berta)
	l.bond(bert, 5000)
	l.proves(bert, s[0])
	l.must(&proofstypes.MsgChallenge{Signer: anna.address, Lease: 2, Leaf: 9}, anna)
	raw, err := l.Export(l.time.Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	n := startLedger(t, raw)
	if got := n.proving(bert); got.Proven != 10 {
		t.Errorf("%+v", got)
	}
	n.proves(bert, s[0])
	n.must(settle(bert, 1), bert)
	if got := n.lease(1); got.Out != 20 {
		t.Errorf("paid %d", got.Out)
	}
}
