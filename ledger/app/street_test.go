package app_test

import (
	"crypto/ed25519"
	"testing"

	sdk "github.com/cosmos/cosmos-sdk/types"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	"github.com/cosmos/cosmos-sdk/x/feegrant"
	govv1 "github.com/cosmos/cosmos-sdk/x/gov/types/v1"
	"github.com/cosmos/gogoproto/proto"

	"hearth/core/mandate"
	"hearth/core/quote"
	"hearth/core/statement"
	"hearth/ledger/app"
	hostskeeper "hearth/ledger/hosts/keeper"
	hoststypes "hearth/ledger/hosts/types"
	markettypes "hearth/ledger/market/types"
	proofstypes "hearth/ledger/proofs/types"
)

// What people on a ledger do, in the tests' words.

// anna is a client with a device, bert and berta are hosts.
var (
	anna   = secpPerson("anna")
	device = edPerson("anna's device")
	bert   = secpPerson("bert")
	berta  = secpPerson("berta")
)

func deviceKey() ed25519.PrivateKey          { return edKey("anna's device") }
func hostKey(host person) ed25519.PrivateKey { return edKey("node of " + host.address) }
func public(k ed25519.PrivateKey) []byte     { return k.Public().(ed25519.PublicKey) }

func (l *ledger) balance(address string) int64 {
	var res banktypes.QueryBalanceResponse
	if !l.query("/cosmos.bank.v1beta1.Query/Balance", &banktypes.QueryBalanceRequest{Address: address, Denom: app.Denom}, &res) {
		l.t.Fatalf("no balance of %s", address)
	}
	return res.Balance.Amount.Int64()
}

func (l *ledger) registration(host person) *hoststypes.MsgRegister {
	key := hostKey(host)
	return &hoststypes.MsgRegister{
		Address: host.address, Owner: host.address, Key: public(key), KeyProof: ed25519.Sign(key, hostskeeper.KeyDigest(l.chainID, host.address)),
		Roles: 1 | 2, Region: "eu-west", Hardware: hoststypes.Hardware{CpuMilli: 4000, MemoryBytes: 8 << 30, DiskBytes: 50e9},
		Endpoints: []string{"/ip4/192.0.2.1/tcp/4001", "/ip4/192.0.2.1/tcp/4002/tls"},
	}
}

func (l *ledger) host(who person) hoststypes.Host {
	got, ok := l.findHost(who)
	if !ok {
		l.t.Fatalf("no host %s", who.address)
	}
	return got
}

func (l *ledger) findHost(who person) (hoststypes.Host, bool) {
	var res hoststypes.QueryHostResponse
	ok := l.query("/hearth.hosts.v1.Query/Host", &hoststypes.QueryHostRequest{Address: who.address}, &res)
	return res.Host, ok
}

func (l *ledger) lease(id uint64) markettypes.Lease {
	got, ok := l.findLease(id)
	if !ok {
		l.t.Fatalf("no lease %d", id)
	}
	return got
}

func (l *ledger) findLease(id uint64) (markettypes.Lease, bool) {
	var res markettypes.QueryLeaseResponse
	ok := l.query("/hearth.market.v1.Query/Lease", &markettypes.QueryLeaseRequest{Id: id}, &res)
	return res.Lease, ok
}

func (l *ledger) purse(who person) int64 {
	var res markettypes.QueryPurseResponse
	if !l.query("/hearth.market.v1.Query/Purse", &markettypes.QueryPurseRequest{Owner: who.address}, &res) {
		l.t.Fatal("no answer about a purse")
	}
	return int64(res.Purse.Free)
}

// prices: 1 uember a GiB and second, traffic at 1000 uember a GiB.
var prices = quote.Prices{Unit: [3]uint64{1e12, 1e12, 1e12}, In: 1000, Out: 1000, Gas: 1000}

func (l *ledger) quote(host person, kind quote.Kind, p quote.Prices) markettypes.Quote {
	return markettypes.FromQuote(quote.Quote{ChainID: l.chainID, Host: host.address, Kind: kind, Prices: p, ValidUntil: l.now() + 600}.Sign(hostKey(host)))
}

// opening opens a lease of storage at prices for each of hosts.
func (l *ledger) opening(signer, client person, amount uint64, hosts ...person) *markettypes.MsgOpenLeases {
	m := &markettypes.MsgOpenLeases{Signer: signer.address, Client: client.address}
	for _, h := range hosts {
		m.Open = append(m.Open, markettypes.OpenLease{Quote: l.quote(h, quote.Storage, prices), Amount: amount, Until: l.now() + 1000})
	}
	return m
}

// mandate lets anna's device do everything.
func (l *ledger) mandate() *markettypes.MsgGrantMandate {
	return &markettypes.MsgGrantMandate{
		Grantor: anna.address, Key: public(deviceKey()), Operations: uint32(mandate.All), Cap_30D: 10_000_000, Until: l.now() + 1_000_000,
		Ceilings: []markettypes.PriceCeiling{{Kind: 1, Prices: markettypes.FromPrices(prices)}},
	}
}

// mandateOf is the same of somebody else.
func (l *ledger) mandateOf(grantor person) *markettypes.MsgGrantMandate {
	m := l.mandate()
	m.Grantor = grantor.address
	return m
}

// feesFor lets a key spend its grantor's coins on fees.
func (l *ledger) feesFor(grantor, grantee person) sdk.Msg {
	m, err := feegrant.NewMsgGrantAllowance(&feegrant.BasicAllowance{},
		sdk.MustAccAddressFromBech32(grantor.address), sdk.MustAccAddressFromBech32(grantee.address))
	if err != nil {
		l.t.Fatal(err)
	}
	return m
}

// by is a statement signed by anna's device, and by the host if it is given.
func (l *ledger) by(s statement.Statement, hosts ...person) markettypes.Statement {
	if s.ChainID == "" {
		s.ChainID = l.chainID
	}
	signed := s.SignClient(deviceKey())
	for _, h := range hosts {
		signed = signed.SignHost(hostKey(h))
	}
	return markettypes.FromStatement(signed)
}

func post(signer person, s ...markettypes.Statement) *markettypes.MsgPostStatements {
	return &markettypes.MsgPostStatements{Signer: signer.address, Statements: s}
}

func settle(signer person, ids ...uint64) *markettypes.MsgSettle {
	return &markettypes.MsgSettle{Signer: signer.address, Leases: ids}
}

// response reads a message's answer out of a transaction's result.
func (l *ledger) response(data []byte, into proto.Message) {
	l.t.Helper()
	var all sdk.TxMsgData
	if err := proto.Unmarshal(data, &all); err != nil {
		l.t.Fatal(err)
	}
	if err := proto.Unmarshal(all.MsgResponses[0].Value, into); err != nil {
		l.t.Fatal(err)
	}
}

// refusals posts and returns the codes of what was skipped, by lease.
func (l *ledger) refusals(signer person, s ...markettypes.Statement) []string {
	l.t.Helper()
	var res markettypes.MsgPostStatementsResponse
	l.response(l.must(post(signer, s...), signer).Data, &res)
	var codes []string
	for _, r := range res.Refusals {
		codes = append(codes, r.Code)
	}
	return codes
}

const gib = 1 << 30

// newStreet is a ledger with hosts bert and berta and a client anna, who has a
// million in her purse, a device with a mandate, and fees for it.
func newStreet(t testing.TB) *ledger {
	t.Helper()
	return streetWith(t, app.Local().Proofs)
}

// streetWith is newStreet where proofs have other parameters.
func streetWith(t testing.TB, p proofstypes.Params) *ledger {
	t.Helper()
	g := genesis(anna, bert, berta)
	g.Params.Proofs = p
	raw, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	l := startLedger(t, raw)
	for _, h := range []person{bert, berta} {
		l.must(l.registration(h), h)
	}
	l.must(&markettypes.MsgDeposit{Owner: anna.address, Amount: 1_000_000}, anna)
	l.must(l.mandate(), anna)
	l.must(l.feesFor(anna, device), anna)
	return l
}

// propose puts a message to the vote, has the one validator agree, and waits.
func (l *ledger) propose(m sdk.Msg) {
	l.t.Helper()
	rich := anna
	p, err := govv1.NewMsgSubmitProposal([]sdk.Msg{m}, sdk.NewCoins(sdk.NewInt64Coin(app.Denom, 1_000_000)), rich.address, "", "change", "a change", false)
	if err != nil {
		l.t.Fatal(err)
	}
	l.must(p, rich)
	voter := secpPerson("validator")
	l.must(send(rich, voter, 1_000_000), rich)
	l.must(&govv1.MsgVote{ProposalId: 1, Voter: voter.address, Option: govv1.OptionYes}, voter)
	l.pass(30)
	l.block()
}

func (l *ledger) supply() string {
	var res banktypes.QuerySupplyOfResponse
	if !l.query("/cosmos.bank.v1beta1.Query/SupplyOf", &banktypes.QuerySupplyOfRequest{Denom: app.Denom}, &res) {
		l.t.Fatal("no answer about the supply")
	}
	return res.Amount.String()
}
