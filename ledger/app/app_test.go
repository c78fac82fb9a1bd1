package app_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	abci "github.com/cometbft/cometbft/abci/types"
	cmtjson "github.com/cometbft/cometbft/libs/json"
	sdk "github.com/cosmos/cosmos-sdk/types"
	txtypes "github.com/cosmos/cosmos-sdk/types/tx"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"

	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/network"
	"hearth/core/quote"
	"hearth/core/statement"
	"hearth/ledger/app"
	markettypes "hearth/ledger/market/types"
)

func send(from, to person, amount int64) *banktypes.MsgSend {
	return &banktypes.MsgSend{FromAddress: from.address, ToAddress: to.address, Amount: sdk.NewCoins(sdk.NewInt64Coin(app.Denom, amount))}
}

func TestGasIsNeverFree(t *testing.T) {
	l := newLedger(t, anna)
	deposit := &markettypes.MsgDeposit{Owner: anna.address, Amount: 1}
	for _, tt := range []struct {
		gas  uint64
		fee  int64
		good bool
	}{
		{200_000, 0, false},
		{200_000, 199, false},
		{200_000, 200, true},
		{200_001, 200, false}, // rounded up
		{200_001, 201, true},
		{0, 0, false},
	} {
		raw := l.txWith(tt.gas, tt.fee, "", deposit, anna)
		check, err := l.CheckTx(&abci.RequestCheckTx{Tx: raw})
		if err != nil {
			t.Fatal(err)
		}
		before := l.balance(anna.address)
		r := l.block(raw)[0] // a proposer that asked for less could put it into a block
		if good := r.Code == 0; good != tt.good || (check.Code == 0) != tt.good {
			t.Errorf("gas %d for %d uember: checked %d %q, in a block %d %q", tt.gas, tt.fee, check.Code, check.Log, r.Code, r.Log)
		}
		if tt.gas > 0 && !tt.good && (!strings.HasPrefix(r.Log, "no_funds: ") || !strings.HasPrefix(check.Log, "no_funds: ")) {
			t.Errorf("logs %q, %q", r.Log, check.Log)
		}
		if paid := before - l.balance(anna.address); tt.good && paid != tt.fee+1 || !tt.good && paid != 0 {
			t.Errorf("gas %d for %d uember: %d were paid", tt.gas, tt.fee, paid)
		}
	}
}

func TestAFailedTransactionPays(t *testing.T) {
	l := newLedger(t, anna)
	before := l.balance(anna.address)
	l.refuse("no_funds", &markettypes.MsgWithdraw{Owner: anna.address, Amount: 1}, anna)
	if paid := before - l.balance(anna.address); paid != 2000 {
		t.Errorf("paid %d", paid)
	}
}

func TestAnUnorderedTransactionCountsOnce(t *testing.T) {
	l := newLedger(t, anna)
	raw := l.tx(&markettypes.MsgDeposit{Owner: anna.address, Amount: 1}, anna)
	first, second := l.block(raw)[0], l.block(raw)[0]
	if first.Code != 0 || second.Code == 0 {
		t.Errorf("%d %q, %d %q", first.Code, first.Log, second.Code, second.Log)
	}
}

// A device's ed25519 key has an account of its own, whose fees its owner pays.
func TestADevicesKeyIsAnAccount(t *testing.T) {
	l := newLedger(t, anna, device)
	l.must(send(anna, device, 500), anna)
	l.must(send(device, anna, 300), device)
	l.must(l.feesFor(anna, edPerson("another")), anna)
	r := l.block(l.txWith(txGas, 2000, anna.address, &markettypes.MsgDeposit{Owner: edPerson("another").address, Amount: 1}, edPerson("another")))[0]
	if !strings.HasPrefix(r.Log, "no_funds: ") { // its signature was good, its fee paid, its account is empty
		t.Errorf("%d %q", r.Code, r.Log)
	}
}

// A simulation tells the fault's code like a block does, and what gas is needed.
func TestASimulation(t *testing.T) {
	l := newLedger(t, anna)
	var res txtypes.SimulateResponse
	path := "/cosmos.tx.v1beta1.Service/Simulate"
	if !l.query(path, &txtypes.SimulateRequest{TxBytes: l.tx(&markettypes.MsgDeposit{Owner: anna.address, Amount: 1}, anna)}, &res) || res.GasInfo.GasUsed < 20_000 {
		t.Errorf("%+v", res.GasInfo)
	}
	data, err := (&txtypes.SimulateRequest{TxBytes: l.tx(&markettypes.MsgWithdraw{Owner: anna.address, Amount: 1}, anna)}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	r, err := l.Query(t.Context(), &abci.RequestQuery{Path: path, Data: data})
	if err != nil || r.Code == 0 || !strings.HasPrefix(r.Log, "no_funds: ") {
		t.Errorf("%v, %v", r, err)
	}
}

// The chain id is the same for the file, for the document as the RPC gives it,
// and in the file itself; and it depends on what is in there.
func TestTheGenesisNamesTheNetwork(t *testing.T) {
	many := func() app.Genesis {
		g := genesis(anna, berta)
		for i := range 20 {
			g.Balances[secpPerson(fmt.Sprint("one of many ", i)).address] = 1000
		}
		return g
	}
	raw, err := many().Build()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := app.ReadGenesis(raw)
	if err != nil {
		t.Fatal(err)
	}
	rpc, err := cmtjson.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	for what, b := range map[string][]byte{"file": raw, "rpc": rpc} {
		if id, err := network.ChainID(b); err != nil || id != doc.ChainID {
			t.Errorf("%s: %s, %v, want %s", what, id, err, doc.ChainID)
		}
	}
	again, err := many().Build()
	if err != nil || string(again) != string(raw) {
		t.Errorf("the same genesis twice differs: %v", err)
	}
	other, err := genesis(anna, bert).Build()
	if err != nil {
		t.Fatal(err)
	}
	if d, err := app.ReadGenesis(other); err != nil || d.ChainID == doc.ChainID {
		t.Errorf("another genesis has the same id: %v", err)
	}
	lie := strings.Replace(string(raw), doc.ChainID, "hearth-0123456789abcdef0123", 1)
	if _, err := app.ReadGenesis([]byte(lie)); fault.CodeOf(err) != fault.WrongNetwork {
		t.Errorf("a genesis with another's id: %v", err)
	}
}

func TestWhatIsNoGenesis(t *testing.T) {
	for name, change := range map[string]func(*app.Genesis){
		"no validator":        func(g *app.Genesis) { g.Validators = nil },
		"a short key":         func(g *app.Genesis) { g.Validators[0].Key = g.Validators[0].Key[:31] },
		"no stake":            func(g *app.Genesis) { g.Validators[0].Stake = 0 },
		"a validator twice":   func(g *app.Genesis) { g.Validators = slices.Repeat(g.Validators, 2) },
		"a broken account":    func(g *app.Genesis) { g.Balances["hearth1nobody"] = 1 },
		"more than there is":  func(g *app.Genesis) { g.Balances[anna.address] = money.Max },
		"a smallest deposit":  func(g *app.Genesis) { g.Params.Market.MinDeposit = 0 },
		"a hosts' parameter":  func(g *app.Genesis) { g.Params.Hosts.UnbondingSeconds = 1 << 60 },
		"a share beyond all":  func(g *app.Genesis) { g.Params.Market.CommunityShareMilli = 1001 },
		"a batch without end": func(g *app.Genesis) { g.Params.Market.MaxBatchOpen = 1 << 40 },
	} {
		g := genesis(anna)
		change(&g)
		if _, err := g.Build(); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// The parameters of a network for good make a genesis that starts.
func TestMainStarts(t *testing.T) {
	g := genesis(anna)
	g.Params = app.Main()
	raw, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	l := startLedger(t, raw)
	l.must(&markettypes.MsgDeposit{Owner: anna.address, Amount: 1}, anna)
}

// A new chain that goes on from an export has all records and all money, and the
// old bargains go on there.
func TestExportAndImport(t *testing.T) {
	l := newStreet(t)
	l.must(l.opening(anna, anna, 100_000, bert, berta), anna)
	now := l.now()
	l.must(post(bert, l.by(statement.Statement{Lease: 1, Seq: 1, Total: 1000, Units: quote.Units{gib}, AsOf: now, RunsUntil: now + 600}, bert)), bert)
	l.must(settle(bert, 1), bert)
	cheaper := prices
	cheaper.Out--
	q := l.quote(bert, quote.Storage, cheaper)
	l.must(&markettypes.MsgOpenLeases{Signer: anna.address, Client: anna.address, Fund: []markettypes.FundLease{{Lease: 1, Quote: &q, Until: l.now() + 2000}}}, anna)
	l.must(&markettypes.MsgClose{Signer: anna.address, Lease: 2}, anna)
	l.block()

	raw, err := l.Export(l.time)
	if err != nil {
		t.Fatal(err)
	}
	next := startLedger(t, raw)
	if next.chainID == l.chainID || next.LastBlockHeight() != l.LastBlockHeight()+1 {
		t.Errorf("%s at %d after %s at %d", next.chainID, next.LastBlockHeight(), l.chainID, l.LastBlockHeight())
	}
	for _, module := range []string{"market", "hosts", "auth", "feegrant", "gov"} { // staking and slashing count the block between
		if was, is := moduleState(t, raw, module), moduleState(t, mustExport(t, next), module); was != is {
			t.Errorf("%s: was\n%s\nis\n%s", module, was, is)
		}
	}
	if a, b := l.supply(), next.supply(); a != b {
		t.Errorf("supply was %s, is %s", a, b)
	}
	next.must(settle(bert, 1), bert)
	next.pass(10)
	next.block()
	if got := next.lease(2); got.State != 4 {
		t.Errorf("lease 2 didn't end: %+v", got)
	}
	next.must(send(anna, bert, 5), anna)
}

func mustExport(t *testing.T, l *ledger) []byte {
	t.Helper()
	raw, err := l.Export(l.time)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func moduleState(t *testing.T, raw []byte, module string) string {
	t.Helper()
	var doc struct {
		AppState map[string]json.RawMessage `json:"app_state"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	return string(doc.AppState[module])
}

// Coins that appear on the market's account out of nowhere break a law: the
// check sees it, tells it on /hearth/laws, and the first breach stays.
func TestABrokenLawIsSeen(t *testing.T) {
	gift := moduleAddress("market")
	g := genesis(anna)
	g.Balances[gift] = 1
	raw, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	l := openLedger(t, raw)
	report := func() (r app.LawReport) {
		res, err := l.Query(t.Context(), &abci.RequestQuery{Path: "/hearth/laws"})
		if err != nil || json.Unmarshal(res.Value, &r) != nil {
			t.Fatal(res, err)
		}
		return r
	}
	first := report()
	if !first.Checked || !strings.Contains(first.Broken, "law of the market account") {
		t.Errorf("%+v", first)
	}
	l.finalize(l.LastBlockHeight() + 1)
	if again := report(); again != first {
		t.Errorf("%+v, was %+v", again, first)
	}
}

// Stake is slashed where a validator signs two blocks of one height.
func TestSigningTwiceCostsStake(t *testing.T) {
	l := newLedger(t, anna)
	l.block()
	bonded := moduleAddress("bonded_tokens_pool")
	before := l.balance(bonded)
	l.misbehaved = []abci.Misbehavior{{
		Type: abci.MisbehaviorType_DUPLICATE_VOTE, Validator: abci.Validator{Address: validatorAddress(), Power: 100},
		Height: l.LastBlockHeight(), Time: l.time, TotalVotingPower: 100,
	}}
	l.finalize(l.LastBlockHeight() + 1)
	unbonding := moduleAddress("not_bonded_tokens_pool")
	if left := l.balance(bonded) + l.balance(unbonding); left >= before {
		t.Errorf("%d of %d are left", left, before)
	}
}

func TestGovernanceChangesParameters(t *testing.T) {
	l := newLedger(t, anna)
	p := markettypes.Local()
	p.MinDeposit = 5
	l.refuse("unauthorized", &markettypes.MsgUpdateParams{Authority: anna.address, Params: p}, anna)
	l.propose(&markettypes.MsgUpdateParams{Authority: moduleAddress("gov"), Params: p})
	var res markettypes.QueryParamsResponse
	l.query("/hearth.market.v1.Query/Params", &markettypes.QueryParamsRequest{}, &res)
	if res.Params.MinDeposit != 5 {
		t.Errorf("smallest deposit %d", res.Params.MinDeposit)
	}
}
