package chain

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/protobuf/proto"

	"hearth/chain/pb/hostsv1"
	"hearth/chain/pb/proofsv1"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/proof"
	"hearth/core/proving"
)

// Answer shows the leaves that were drawn for a host in a period, one for each
// draw; nil confesses that the drawn lease is lost, which is then among those
// confessed. Its fee is returned when it is right.
func Answer(host string, period int64, answers []*proof.Answer, confessed []uint64) proto.Message {
	m := &proofsv1.MsgAnswer{Host: host, Period: period, Confessed: confessed}
	for _, a := range answers {
		var b []byte
		if a != nil {
			b = a.Encode()
		}
		m.Answers = append(m.Answers, b)
	}
	return m
}

// DeclareLoss says that a host has lost what is stored under leases, at most 100.
func DeclareLoss(host string, leases []uint64) proto.Message {
	return &proofsv1.MsgDeclareLoss{Host: host, Leases: leases}
}

// Challenge demands a leaf of a lease now: as its client, or as the account of a
// key that may fund. The leaf is this number modulo the leaves of the lease.
func Challenge(signer string, lease, leaf uint64) proto.Message {
	return &proofsv1.MsgChallenge{Signer: signer, Lease: lease, Leaf: leaf}
}

// AnswerChallenge shows the leaf that a challenge demands.
func AnswerChallenge(host string, lease uint64, a proof.Answer) proto.Message {
	return &proofsv1.MsgAnswerChallenge{Host: host, Lease: lease, Answer: a.Encode()}
}

// A Turn is a host's part in the present period. Times are unix seconds of the
// ledger's clock.
type Turn struct {
	Time         int64 // of the block it is from
	Period       int64
	Begins, Ends int64
	SlotBegins   int64
	Owes         bool // it has still to answer in this period
	Frozen       bool
	Seed         proving.Seed // with Draws: once the slot has begun and an answer is owed
	Draws        []Draw
	Misses       int // of the last periods, silence up to now included
	Run          int // misses in a row
}

// A Draw is a lease of which a leaf must be shown, under the root that the ledger has.
type Draw struct {
	Lease uint64
	Root  proof.Hash
}

// Turn asks for a host's part in the present period: a hint. A wrong one leads
// to an answer that the ledger refuses. fault.NotAHost: there is no such host.
func (c *Client) Turn(ctx context.Context, host string) (Turn, error) {
	var res proofsv1.QueryTurnResponse
	if err := c.hint(ctx, "/hearth.proofs.v1.Query/Turn", &proofsv1.QueryTurnRequest{Host: host}, &res); err != nil {
		var no *Refusal
		if errors.As(err, &no) && strings.Contains(no.Log, "not registered") {
			err = fault.New(fault.NotAHost, "%w", err)
		}
		return Turn{}, err
	}
	t := Turn{
		Time: res.Time, Period: res.Period, Begins: res.Begins, Ends: res.Ends, SlotBegins: res.SlotBegins,
		Owes: res.Owes, Frozen: res.Frozen, Misses: int(res.Misses), Run: int(res.Run),
	}
	if len(res.Seed) != 0 && len(res.Seed) != len(t.Seed) || len(res.Draws) > maxDraws {
		return Turn{}, odd("turn of host %s: a seed of %d bytes, %d draws", host, len(res.Seed), len(res.Draws))
	}
	copy(t.Seed[:], res.Seed)
	for _, d := range res.Draws {
		if len(d.GetRoot()) != len(proof.Hash{}) {
			return Turn{}, odd("turn of host %s: a root of %d bytes", host, len(d.GetRoot()))
		}
		t.Draws = append(t.Draws, Draw{Lease: d.Lease, Root: proof.Hash(d.Root)})
	}
	return t, nil
}

// maxDraws is the most that core/proving allows.
const maxDraws = 64

// A Demand is an open challenge of a host's lease.
type Demand struct {
	Lease uint64
	Leaf  uint64 // modulo the leaves under Root
	Root  proof.Hash
	Due   int64
}

// Challenges are those open for a host, at most 100: a hint.
func (c *Client) Challenges(ctx context.Context, host string) ([]Demand, error) {
	var res proofsv1.QueryChallengesResponse
	if err := c.hint(ctx, "/hearth.proofs.v1.Query/Challenges", &proofsv1.QueryChallengesRequest{Host: host}, &res); err != nil {
		return nil, err
	}
	out := make([]Demand, 0, len(res.Challenges))
	for _, d := range res.Challenges {
		if len(d.GetRoot()) != len(proof.Hash{}) {
			return nil, odd("challenge of lease %d: a root of %d bytes", d.GetLease(), len(d.GetRoot()))
		}
		out = append(out, Demand{Lease: d.Lease, Leaf: d.Leaf, Root: proof.Hash(d.Root), Due: d.Due})
	}
	return out, nil
}

// ProvingRules are the parameters of proofs: a hint.
func (c *Client) ProvingRules(ctx context.Context) (proving.Params, error) {
	var res proofsv1.QueryParamsResponse
	if err := c.hint(ctx, "/hearth.proofs.v1.Query/Params", &proofsv1.QueryParamsRequest{}, &res); err != nil {
		return proving.Params{}, err
	}
	p := res.GetParams()
	out := proving.Params{
		Start: p.GetStart(), Period: p.GetPeriodSeconds(), MaxSlots: p.GetMaxSlots(), Draws: int(p.GetDraws()), MissesFree: int(p.GetMissesFree()),
		Window: int(p.GetWindow()), Fatal: int(p.GetFatal()), LossSeconds: p.GetLossSeconds(), VoidSeconds: p.GetVoidSeconds(),
		ChallengeFee: money.Amount(p.GetChallengeFee()),
	}
	if err := out.Check(); err != nil {
		return proving.Params{}, odd("read the parameters of proofs: %w", err)
	}
	return out, nil
}

func coreProving(p *hostsv1.Proving) proving.Record {
	return proving.Record{
		Proven: p.GetProven(), From: p.GetFrom(), Judged: p.GetJudged(), Answered: p.GetAnswered(), Missed: p.GetMissed(),
		Run: int(p.GetRun()), Debt: money.Amount(p.GetDebt()),
	}
}

// Proved tells what a host's proving came to: answered, confessed, missed (told
// late, of several periods at once) or forfeited.
type Proved struct {
	Host    string
	Result  string
	Period  int64 // the last one it is about
	Periods int64
	Fine    money.Amount // taken or owed
	Bond    money.Amount // what was lost of the bond, fines included
}

// Lost tells that what is stored under a lease is lost: declared, confessed or challenged.
type Lost struct {
	Lease        uint64
	Host         string
	Reason       string
	Compensation money.Amount // to the client's purse
}

// Challenged tells of a challenge: open, answered, unanswered or over.
type Challenged struct {
	Lease uint64
	Host  string
	Leaf  uint64
	State string
	Due   int64
}

// Compensated tells of a share of a forfeited bond that went to a lease's client.
type Compensated struct {
	Lease  uint64
	Host   string
	Amount money.Amount
}

func (Proved) change()      {}
func (Lost) change()        {}
func (Challenged) change()  {}
func (Compensated) change() {}
