package app_test

import (
	"flag"
	"testing"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"pgregory.net/rapid"

	"hearth/core/money"
	"hearth/core/proof"
	"hearth/core/quote"
	"hearth/core/statement"
	hoststypes "hearth/ledger/hosts/types"
	markettypes "hearth/ledger/market/types"
	proofstypes "hearth/ledger/proofs/types"
)

// Whatever people do, in whatever order, with whatever amounts: the laws hold
// after every block, and no coin is made or lost.
func TestLawsHoldWhateverHappens(t *testing.T) {
	// Every history is a chain of its own; rapid's hundred take half a minute.
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("30"); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		l := newStreet(t)
		l.block( // everybody is a client, the hosts too
			l.tx(&markettypes.MsgDeposit{Owner: bert.address, Amount: 200_000}, bert),
			l.tx(&markettypes.MsgDeposit{Owner: berta.address, Amount: 200_000}, berta),
			l.tx(l.mandateOf(bert), bert), l.tx(l.mandateOf(berta), berta),
			l.tx(l.opening(anna, anna, 100_000, bert, berta), anna), l.tx(l.opening(bert, bert, 50_000, berta), bert),
		)
		supply := l.supply()
		c := chance{ledger: l, r: r}
		for range rapid.IntRange(5, 25).Draw(r, "blocks") {
			var txs [][]byte
			for range rapid.IntRange(0, 4).Draw(r, "txs") {
				m, who := c.message()
				txs = append(txs, l.tx(m, who))
			}
			l.pass(rapid.SampledFrom([]int{0, 0, 1, 5, 11, 40}).Draw(r, "pause"))
			l.block(txs...)
		}
		if now := l.supply(); now != supply {
			r.Fatalf("supply was %s, is %s", supply, now)
		}
	})
}

// chance makes messages that are often right and sometimes not.
type chance struct {
	*ledger
	r      *rapid.T
	prover person // who sends what proves made
}

func (c *chance) amount() uint64 {
	switch rapid.IntRange(0, 19).Draw(c.r, "size") {
	case 0:
		return rapid.SampledFrom([]uint64{0, 1 << 40, 1<<63 - 1, 1 << 63, 1<<64 - 1}).Draw(c.r, "amount")
	case 1, 2, 3, 4:
		return rapid.Uint64Range(0, 200).Draw(c.r, "amount")
	}
	return rapid.Uint64Range(9_500, 40_000).Draw(c.r, "amount")
}

func (c *chance) one(of ...person) person { return rapid.SampledFrom(of).Draw(c.r, "who") }

// id is a lease's, and mostly one that is there.
func (c *chance) id() uint64 {
	var res markettypes.QueryLeasesResponse
	if !c.query("/hearth.market.v1.Query/Leases", &markettypes.QueryLeasesRequest{}, &res) {
		c.t.Fatal("no answer about leases")
	}
	return rapid.Uint64Range(1, uint64(len(res.Leases))+1).Draw(c.r, "lease")
}

func (c *chance) message() (sdk.Msg, person) {
	who := c.one(anna, bert, berta)
	switch rapid.IntRange(0, 27).Draw(c.r, "what") {
	case 0:
		return &markettypes.MsgDeposit{Owner: who.address, Amount: c.amount()}, who
	case 1:
		return &markettypes.MsgWithdraw{Owner: who.address, Amount: c.amount()}, who
	case 2, 3, 14, 15:
		return c.opens(who), who
	case 4:
		m := &markettypes.MsgOpenLeases{Signer: anna.address, Client: anna.address, Fund: []markettypes.FundLease{{Lease: c.id(), Amount: c.amount()}}}
		if l, ok := c.findLease(m.Fund[0].Lease); ok && rapid.Bool().Draw(c.r, "renew") {
			q := c.priced(l.Host, quote.Kind(l.Kind))
			m.Fund[0].Quote, m.Fund[0].Until = &q, c.now()+500
		}
		return m, anna
	case 5, 6, 7, 16, 17:
		return c.posts(who), who
	case 8, 9, 18, 19:
		return settle(who, c.id(), c.id(), c.id()), who
	case 10:
		m := &markettypes.MsgClose{Signer: who.address, Lease: c.id()}
		if l, ok := c.findLease(m.Lease); ok && who == anna && rapid.Bool().Draw(c.r, "at once") {
			m.Total = l.Total + rapid.Uint64Range(0, 1000).Draw(c.r, "more")
			m.HostSig = sign(edKey("node of "+l.Host), statement.RefundDigest(c.chainID, m.Lease, money.Amount(m.Total)))
		}
		return m, who
	case 11:
		return &hoststypes.MsgBond{Address: who.address, Amount: c.amount()}, who
	case 12:
		return rapid.SampledFrom([]sdk.Msg{
			&hoststypes.MsgUnbond{Address: who.address, Amount: c.amount()},
			&hoststypes.MsgClaim{Address: who.address},
			&hoststypes.MsgRemove{Address: who.address},
		}).Draw(c.r, "bond"), who
	case 21, 22, 23, 24, 25, 26, 27:
		m := c.proves()
		return m, c.prover
	}
	if _, there := c.findHost(berta); there && rapid.IntRange(0, 3).Draw(c.r, "leave") == 0 {
		return &hoststypes.MsgLeave{Address: berta.address}, berta
	}
	return c.registration(berta), berta
}

// proves makes a message about proofs. No lease here has a root, so that any leaf
// is right where an answer is due.
func (c *chance) proves() sdk.Msg {
	leaf := new(proof.Answer).Encode()
	c.prover = c.one(bert, berta)
	host := c.prover.address
	switch rapid.IntRange(0, 9).Draw(c.r, "about") {
	case 0:
		return &proofstypes.MsgJudge{Signer: host, Host: c.one(bert, berta).address}
	case 1, 2:
		c.prover = c.one(anna, bert, berta)
		return &proofstypes.MsgChallenge{Signer: c.prover.address, Lease: c.id(), Leaf: rapid.Uint64().Draw(c.r, "leaf")}
	case 3:
		return &proofstypes.MsgDeclareLoss{Host: host, Leases: []uint64{c.id()}}
	case 4:
		return &proofstypes.MsgAnswerChallenge{Host: host, Lease: c.id(), Answer: leaf}
	}
	m := &proofstypes.MsgAnswer{Host: host, Answers: [][]byte{leaf, leaf, leaf, leaf, leaf}}
	var turn proofstypes.QueryTurnResponse
	if !c.query("/hearth.proofs.v1.Query/Turn", &proofstypes.QueryTurnRequest{Host: host}, &turn) {
		return m // it has left
	}
	m.Period = turn.Period
	for i, d := range turn.Draws {
		if rapid.IntRange(0, 9).Draw(c.r, "confess") == 0 {
			m.Answers[i], m.Confessed = nil, append(m.Confessed, d.Lease)
		}
	}
	return m
}

func (c *chance) opens(client person) *markettypes.MsgOpenLeases {
	m := &markettypes.MsgOpenLeases{Signer: client.address, Client: client.address}
	for range rapid.IntRange(1, 2).Draw(c.r, "opened") {
		kind := rapid.SampledFrom([]quote.Kind{quote.Storage, quote.Compute, quote.Edge}).Draw(c.r, "kind")
		m.Open = append(m.Open, markettypes.OpenLease{
			Quote: c.priced(c.one(bert, berta).address, kind), Amount: c.amount(), Until: c.now() + 1000,
		})
	}
	return m
}

func (c *chance) priced(host string, kind quote.Kind) markettypes.Quote {
	p := prices
	p.Unit[0] = rapid.SampledFrom([]uint64{1, 1e12, 7e15, 1<<64 - 1}).Draw(c.r, "price")
	q := quote.Quote{ChainID: c.chainID, Host: host, Kind: kind, Prices: p, ValidUntil: c.now() + 600}
	return markettypes.FromQuote(q.Sign(edKey("node of " + host)))
}

// posts goes on from what is posted, mostly.
func (c *chance) posts(who person) *markettypes.MsgPostStatements {
	m := post(who)
	for range rapid.IntRange(1, 3).Draw(c.r, "statements") {
		id := c.id()
		l, _ := c.findLease(id)
		s := statement.Statement{
			ChainID: c.chainID, Lease: id, Seq: l.Seq + rapid.Uint64Range(0, 2).Draw(c.r, "seq"), Total: money.AddCap(money.Amount(l.Total), money.Amount(c.amount())),
			Units: quote.Units{rapid.SampledFrom([]uint64{0, 1, 5 * gib, 1<<64 - 1}).Draw(c.r, "units")},
			AsOf:  max(l.AsOf, c.now()+rapid.Int64Range(-10, 10).Draw(c.r, "as of")),
		}
		s.RunsUntil = max(l.RunsUntil, s.AsOf+rapid.SampledFrom([]int64{0, 5, 100, 1 << 40, 1<<62 - 1<<40}).Draw(c.r, "run"))
		signed := s.SignClient(deviceKey()).SignHost(edKey("node of " + l.Host))
		m.Statements = append(m.Statements, markettypes.FromStatement(signed))
	}
	return m
}
