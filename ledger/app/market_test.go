package app_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"testing"

	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"
	markettypes "hearth/ledger/market/types"
)

func sign(key ed25519.PrivateKey, digest []byte) []byte { return ed25519.Sign(key, digest) }

func TestAPurseIsDepositedAndWithdrawn(t *testing.T) {
	l := newLedger(t, anna, bert)
	l.must(&markettypes.MsgDeposit{Owner: anna.address, Amount: 500}, anna)
	l.must(&markettypes.MsgWithdraw{Owner: anna.address, Amount: 200}, anna)
	if got := l.purse(anna); got != 300 {
		t.Errorf("%d free", got)
	}
	l.refuse("no_funds", &markettypes.MsgWithdraw{Owner: anna.address, Amount: 301}, anna)
	l.refuse("no_funds", &markettypes.MsgWithdraw{Owner: bert.address}, bert)
	l.refuse("no_funds", &markettypes.MsgDeposit{Owner: anna.address, Amount: 2 * fortune}, anna)
	l.refuse("bad_request", &markettypes.MsgDeposit{Owner: anna.address}, anna)
	l.must(&markettypes.MsgWithdraw{Owner: anna.address}, anna) // all
	if got := l.purse(anna); got != 0 {
		t.Errorf("%d free", got)
	}
	if r := l.do(&markettypes.MsgWithdraw{Owner: anna.address}, bert); r.Code == 0 {
		t.Error("bert withdrew from anna's purse")
	}
}

// A whole life: opened by a device, used, settled, refilled, closed, forgotten.
func TestALeasesLife(t *testing.T) {
	l := newStreet(t)
	r := l.block(l.txWith(txGas, 2000, anna.address, l.opening(device, anna, 10_000, bert, berta), device))[0]
	if r.Code != 0 {
		t.Fatal(r.Log)
	}
	var res markettypes.MsgOpenLeasesResponse
	l.response(r.Data, &res)
	if !slices.Equal(res.Ids, []uint64{1, 2}) || l.purse(anna) != 980_000 {
		t.Fatalf("opened %v, %d left", res.Ids, l.purse(anna))
	}

	// 1000 of traffic, and 2 uember a second once they are proven, which here nobody does.
	now := l.now()
	s := statement.Statement{Lease: 1, Seq: 3, Total: 1000, Units: quote.Units{2 * gib}, Root: [32]byte{7}, AsOf: now, RunsUntil: now + 60}
	if got := l.refusals(bert, l.by(s, bert)); got != nil {
		t.Fatalf("refused: %v", got)
	}
	if got := l.lease(1); got.Rate != 2e12 || got.Seq != 3 || !bytes.Equal(got.Key, public(deviceKey())) {
		t.Errorf("posted: %+v", got)
	}
	l.pass(9) // and two blocks: 11 seconds
	before := l.balance(bert.address)
	l.must(settle(anna, 1, 2, 99), anna)
	got := l.lease(1)
	earned := int64(1000)
	if int64(got.Out) != earned || int64(got.Commission) != earned/10 {
		t.Errorf("paid %d, commission %d, want %d", got.Out, got.Commission, earned)
	}
	toHost := earned - earned/10
	if h := l.host(bert); l.balance(bert.address)-before != toHost-int64(h.Bond) || h.Bond != 120 { // 60 s of 2 a second
		t.Errorf("host got %d, bond %d, of %d", l.balance(bert.address)-before, h.Bond, toHost)
	}

	// Low: below its reserve, twice that and what is owed is refilled when it is settled.
	s.Seq, s.Total = 4, 9_900
	l.must(post(bert, l.by(s)), bert)
	if got := l.lease(1); got.State != 2 {
		t.Errorf("state %d, want low", got.State)
	}
	l.must(settle(bert, 1), bert)
	if got := l.lease(1); got.State != 1 || got.In <= 10_000 || l.purse(anna) != 980_000-int64(got.In-10_000) {
		t.Errorf("refilled to %d, state %d, %d left", got.In, got.State, l.purse(anna))
	}

	// Closed by the device; the host may post for a while.
	l.untilFree(bert)
	if r := l.block(l.txWith(txGas, 2000, anna.address, &markettypes.MsgClose{Signer: device.address, Lease: 1}, device))[0]; r.Code != 0 {
		t.Fatal(r.Log)
	}
	s.Seq, s.Total = 5, 9_950
	l.must(post(bert, l.by(s)), bert)
	l.pass(10)
	l.block()
	got = l.lease(1)
	if got.State != 4 || got.Out+got.Refunded != got.In || got.Out < 9_950 || l.purse(anna) != 980_000-int64(got.Out)+10_000 {
		t.Errorf("closed: %+v, %d left", got, l.purse(anna))
	}
	if h := l.host(bert); h.Leases != 0 || h.StorageRate != 0 {
		t.Errorf("host: %+v", h)
	}
	l.refuse("lease_closed", &markettypes.MsgClose{Signer: anna.address, Lease: 1}, anna)
	l.pass(30)
	l.block()
	if _, ok := l.findLease(1); ok {
		t.Error("not forgotten")
	}
	if got := l.leases(&markettypes.QueryLeasesRequest{Client: anna.address}); !slices.Equal(got, []uint64{2}) {
		t.Errorf("anna has leases %v", got)
	}
}

func (l *ledger) leases(q *markettypes.QueryLeasesRequest) (ids []uint64) {
	l.t.Helper()
	var res markettypes.QueryLeasesResponse
	if !l.query("/hearth.market.v1.Query/Leases", q, &res) {
		l.t.Fatal("no answer")
	}
	for _, x := range res.Leases {
		ids = append(ids, x.Id)
	}
	return ids
}

func TestLeasesComeInPages(t *testing.T) {
	l := newStreet(t)
	l.must(l.opening(anna, anna, 10_000, bert, berta), anna)
	for _, tt := range []struct {
		q    markettypes.QueryLeasesRequest
		want []uint64
	}{
		{markettypes.QueryLeasesRequest{}, []uint64{1, 2}},
		{markettypes.QueryLeasesRequest{Limit: 1}, []uint64{1}},
		{markettypes.QueryLeasesRequest{After: 1}, []uint64{2}},
		{markettypes.QueryLeasesRequest{Client: anna.address, After: 1}, []uint64{2}},
		{markettypes.QueryLeasesRequest{Client: bert.address}, nil},
		{markettypes.QueryLeasesRequest{Host: bert.address}, []uint64{1}},
		{markettypes.QueryLeasesRequest{Host: berta.address, Limit: 5}, []uint64{2}},
	} {
		if got := l.leases(&tt.q); !slices.Equal(got, tt.want) {
			t.Errorf("%+v: %v, want %v", tt.q, got, tt.want)
		}
	}
}

func TestOpeningIsAllOrNothing(t *testing.T) {
	l := newStreet(t)
	l.must(l.opening(anna, anna, 10_000, bert), anna)
	expired := l.opening(anna, anna, 10_000, berta)
	expired.Open[0].Quote = markettypes.FromQuote(quote.Quote{ChainID: l.chainID, Host: berta.address, Kind: quote.Storage, Prices: prices, ValidUntil: l.now() - 1}.Sign(hostKey(berta)))
	early := l.opening(anna, anna, 10_000, berta)
	early.Open[0].Quote = markettypes.FromQuote(quote.Quote{ChainID: l.chainID, Host: berta.address, Kind: quote.Storage, Prices: prices, ValidUntil: l.now() + 100_000}.Sign(hostKey(berta)))
	foreign := l.opening(anna, anna, 10_000, berta)
	foreign.Open[0].Quote = markettypes.FromQuote(quote.Quote{ChainID: "hearth-1", Host: berta.address, Kind: quote.Storage, Prices: prices, ValidUntil: l.now() + 100}.Sign(hostKey(berta)))
	forged := l.opening(anna, anna, 10_000, berta)
	forged.Open[0].Quote.Prices.Unit[0]--
	edge := l.opening(anna, anna, 10_000, berta)
	edge.Open[0].Quote = l.quote(berta, quote.Edge, prices)
	twice := l.opening(anna, anna, 10_000, berta, berta)
	again := l.opening(anna, anna, 10_000, berta, bert)
	long := l.opening(anna, anna, 10_000, berta)
	long.Open[0].Until = l.now() + 91*24*3600
	many := l.opening(anna, anna, 10_000, berta)
	many.Open = slices.Repeat(many.Open, 51)
	odd := l.opening(anna, anna, 10_000, berta)
	odd.Open[0].Quote.Prices.Unit = []uint64{1}
	nobody := l.opening(anna, anna, 10_000, secpPerson("nobody"))
	for name, tt := range map[string]struct {
		want string
		m    *markettypes.MsgOpenLeases
	}{
		"below the smallest deposit":    {"bad_request", l.opening(anna, anna, 9_999, berta)},
		"beyond the purse":              {"no_funds", l.opening(anna, anna, 990_001, berta)},
		"an expired quote":              {"quote_expired", expired},
		"a quote that lasts too long":   {"bad_request", early},
		"a quote of another chain":      {"bad_signature", foreign},
		"a changed quote":               {"bad_signature", forged},
		"a quote with one unit price":   {"bad_request", odd},
		"what the host doesn't offer":   {"host_refused", edge},
		"of somebody who isn't a host":  {"not_a_host", nobody},
		"two with one host":             {"exists", twice},
		"one that is open already":      {"exists", again},
		"prices frozen for too long":    {"bad_request", long},
		"too many":                      {"too_large", many},
		"nothing":                       {"too_large", &markettypes.MsgOpenLeases{Signer: anna.address, Client: anna.address}},
		"fund a lease that isn't there": {"no_lease", &markettypes.MsgOpenLeases{Signer: anna.address, Client: anna.address, Fund: []markettypes.FundLease{{Lease: 9, Amount: 1}}}},
		"fund nothing":                  {"bad_request", &markettypes.MsgOpenLeases{Signer: anna.address, Client: anna.address, Fund: []markettypes.FundLease{{Lease: 1}}}},
	} {
		t.Run(name, func(t *testing.T) {
			l.t = t
			l.refuse(tt.want, tt.m, anna)
			if got := l.purse(anna); got != 990_000 {
				t.Errorf("%d free", got)
			}
		})
	}
	l.t = t
	l.must(&markettypes.MsgDeposit{Owner: bert.address, Amount: 10_000}, bert)
	l.refuse("unauthorized", &markettypes.MsgOpenLeases{Signer: bert.address, Client: bert.address, Fund: []markettypes.FundLease{{Lease: 1, Amount: 10_000}}}, bert)
}

func TestALeaseIsFundedAndRenewed(t *testing.T) {
	l := newStreet(t)
	l.must(l.opening(anna, anna, 10_000, bert), anna)
	cheaper := prices
	cheaper.Unit[0] /= 2
	q := l.quote(bert, quote.Storage, cheaper)
	l.must(&markettypes.MsgOpenLeases{Signer: anna.address, Client: anna.address, Fund: []markettypes.FundLease{{Lease: 1, Amount: 5, Quote: &q, Until: l.now() + 2000}}}, anna)
	got := l.lease(1)
	if got.In != 10_005 || got.Prices.Unit[0] != cheaper.Unit[0] || got.Before == nil || got.Before.Unit[0] != prices.Unit[0] || got.PricedAt != l.now() {
		t.Errorf("after renewal: %+v", got)
	}
	other := l.quote(berta, quote.Storage, cheaper)
	l.refuse("bad_request", &markettypes.MsgOpenLeases{Signer: anna.address, Client: anna.address, Fund: []markettypes.FundLease{{Lease: 1, Quote: &other, Until: l.now() + 2000}}}, anna)
}

func TestWhatAMandateMayNot(t *testing.T) {
	l := newStreet(t)
	grant := func(change func(*markettypes.MsgGrantMandate)) {
		t.Helper()
		m := l.mandate()
		change(m)
		l.must(m, anna)
	}
	try := func(want string, m *markettypes.MsgOpenLeases) {
		t.Helper()
		r := l.block(l.txWith(txGas, 2000, anna.address, m, device))[0]
		if r.Code == 0 || !strings.HasPrefix(r.Log, want+": ") {
			t.Errorf("code %d, %q, want %s", r.Code, r.Log, want)
		}
	}
	grant(func(m *markettypes.MsgGrantMandate) { m.Operations = 4 })
	try("mandate_refused", l.opening(device, anna, 10_000, bert))
	grant(func(m *markettypes.MsgGrantMandate) { m.Cap_30D = 15_000 })
	try("cap_reached", l.opening(device, anna, 10_000, bert, berta))
	grant(func(m *markettypes.MsgGrantMandate) { m.Ceilings = nil })
	try("mandate_refused", l.opening(device, anna, 10_000, bert))
	grant(func(m *markettypes.MsgGrantMandate) { m.Ceilings[0].Prices.Out-- })
	try("price_too_high", l.opening(device, anna, 10_000, bert))
	grant(func(m *markettypes.MsgGrantMandate) { m.Until = l.now() + 2 })
	l.pass(5)
	try("mandate_refused", l.opening(device, anna, 10_000, bert))
	grant(func(*markettypes.MsgGrantMandate) {})
	l.must(&markettypes.MsgRevokeMandate{Grantor: anna.address, Key: public(deviceKey())}, anna)
	try("mandate_refused", l.opening(device, anna, 10_000, bert))
	l.refuse("mandate_refused", l.opening(berta, anna, 10_000, bert), berta)
	l.refuse("mandate_refused", &markettypes.MsgRevokeMandate{Grantor: anna.address, Key: public(deviceKey())}, anna)

	// What was spent stays spent when the mandate is replaced.
	grant(func(m *markettypes.MsgGrantMandate) { m.Cap_30D = 15_000 })
	if r := l.block(l.txWith(txGas, 2000, anna.address, l.opening(device, anna, 10_000, bert), device))[0]; r.Code != 0 {
		t.Fatal(r.Log)
	}
	grant(func(m *markettypes.MsgGrantMandate) { m.Cap_30D = 15_000 })
	try("cap_reached", l.opening(device, anna, 10_000, berta))
}

func TestAGrantorHasAHundredMandates(t *testing.T) {
	l := newLedger(t, anna)
	var txs [][]byte
	for i := range 101 {
		m := l.mandate()
		m.Key = public(edKey(fmt.Sprint("key ", i)))
		txs = append(txs, l.tx(m, anna))
	}
	refused := 0
	for _, r := range l.block(txs...) {
		if r.Code != 0 {
			refused++
		}
	}
	var res markettypes.QueryMandatesResponse
	l.query("/hearth.market.v1.Query/Mandates", &markettypes.QueryMandatesRequest{Grantor: anna.address}, &res)
	if refused != 1 || len(res.Mandates) != 100 {
		t.Errorf("%d refused, %d there", refused, len(res.Mandates))
	}
}

func TestAnEndedMandateIsForgotten(t *testing.T) {
	l := newStreet(t)
	l.must(&markettypes.MsgRevokeMandate{Grantor: anna.address, Key: public(deviceKey())}, anna)
	count := func() int {
		var res markettypes.QueryMandatesResponse
		l.query("/hearth.market.v1.Query/Mandates", &markettypes.QueryMandatesRequest{Grantor: anna.address}, &res)
		return len(res.Mandates)
	}
	if count() != 1 {
		t.Error("forgotten at once")
	}
	l.pass(10)
	l.block()
	if count() != 0 {
		t.Error("not forgotten")
	}
}

// A key that was stolen can drain no more of the purse than its mandate says,
// not even through refills of a lease with a host of the thief.
func TestRefillsCountAgainstTheMandate(t *testing.T) {
	l := newStreet(t)
	m := l.mandate()
	m.Cap_30D = 30_000
	l.must(m, anna)
	if r := l.block(l.txWith(txGas, 2000, anna.address, l.opening(device, anna, 10_000, bert), device))[0]; r.Code != 0 {
		t.Fatal(r.Log)
	}
	now := l.now()
	l.must(post(bert, l.by(statement.Statement{Lease: 1, Seq: 1, Total: 900_000, AsOf: now, RunsUntil: now}, bert)), bert)
	for range 3 {
		l.must(settle(bert, 1), bert)
	}
	if got := l.purse(anna); got != 970_000 {
		t.Errorf("%d left, want 970000", got)
	}
}

func TestEndingAtOnceTakesTheHostsConsent(t *testing.T) {
	l := newStreet(t)
	l.must(l.opening(anna, anna, 50_000, bert, berta), anna)
	consent := func(host person, id, total uint64) []byte {
		return sign(hostKey(host), statement.RefundDigest(l.chainID, id, money.Amount(total)))
	}
	l.refuse("bad_signature", &markettypes.MsgClose{Signer: anna.address, Lease: 1, HostSig: consent(berta, 1, 10), Total: 10}, anna)
	l.refuse("bad_signature", &markettypes.MsgClose{Signer: anna.address, Lease: 1, HostSig: consent(bert, 1, 10), Total: 9}, anna)
	l.refuse("bad_signature", &markettypes.MsgClose{Signer: anna.address, Lease: 1, HostSig: consent(bert, 2, 10), Total: 10}, anna)
	l.refuse("bad_request", &markettypes.MsgClose{Signer: bert.address, Lease: 1, HostSig: consent(bert, 1, 10), Total: 10}, bert)
	l.refuse("mandate_refused", &markettypes.MsgClose{Signer: berta.address, Lease: 1}, berta)
	l.must(&markettypes.MsgClose{Signer: anna.address, Lease: 1, HostSig: consent(bert, 1, 10), Total: 10}, anna)
	if got := l.lease(1); got.State != 4 || got.Out != 10 || got.Refunded != 49_990 || l.purse(anna) != 949_990 {
		t.Errorf("closed: %+v, %d free", got, l.purse(anna))
	}
	l.must(l.opening(anna, anna, 10_000, bert), anna) // a new one may follow
}

// The ledger ends at most fifty leases a block, and all of them in the end.
func TestWorkOfABlockIsBounded(t *testing.T) {
	const n = 60
	people := []person{anna}
	for i := range n {
		people = append(people, secpPerson(fmt.Sprint("host ", i)))
	}
	l := newLedger(t, people...)
	var txs [][]byte
	for _, h := range people[1:] {
		txs = append(txs, l.tx(l.registration(h), h))
	}
	l.block(txs...)
	l.must(&markettypes.MsgDeposit{Owner: anna.address, Amount: 1_000_000}, anna)
	open := func(hosts []person) {
		if r := l.block(l.txWith(20_000_000, 20_000, "", l.opening(anna, anna, 10_000, hosts...), anna))[0]; r.Code != 0 {
			t.Fatal(r.Log)
		}
	}
	open(people[1:51])
	open(people[51:])
	txs = nil
	for i := range n {
		txs = append(txs, l.tx(&markettypes.MsgClose{Signer: anna.address, Lease: uint64(i + 1)}, anna))
	}
	for _, r := range l.block(txs...) {
		if r.Code != 0 {
			t.Fatal(r.Log)
		}
	}
	l.pass(10)
	for i, want := range []int{10, 0} {
		l.block()
		open := 0
		for id := range uint64(n) {
			if x, ok := l.findLease(id + 1); ok && x.State == 3 {
				open++
			}
		}
		if open != want {
			t.Errorf("block %d: %d still closing, want %d", i, open, want)
		}
	}
	if got := l.purse(anna); got != 1_000_000 {
		t.Errorf("%d free", got)
	}
}
