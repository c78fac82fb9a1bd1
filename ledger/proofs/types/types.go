// Package types holds the messages and records of proofs of storage, generated
// from proto/hearth/proofs/v1/proofs.proto, how they map to core's, and what the
// parameters are.
package types

import (
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/msgservice"

	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/proof"
	"hearth/core/proving"
)

// ModuleName names the module and its store. It has no account: bonds are the
// hosts', purses and open fees the market's.
const ModuleName = "proofs"

// RegisterInterfaces lets the transaction decoder find our messages.
func RegisterInterfaces(r codectypes.InterfaceRegistry) {
	r.RegisterImplementations((*sdk.Msg)(nil),
		&MsgAnswer{}, &MsgDeclareLoss{}, &MsgChallenge{}, &MsgAnswerChallenge{}, &MsgJudge{}, &MsgUpdateParams{})
	msgservice.RegisterMsgServiceDesc(r, &_Msg_serviceDesc)
}

const day = 24 * 60 * 60

// Main are the parameters of a network for good that starts at a time.
func Main(start int64) Params { return FromRules(proving.Defaults(start, day, 1)) }

// Local are those of a cloud on one machine, where nobody waits for days.
func Local(start int64) Params {
	p := proving.Defaults(start, 10, 1)
	p.LossSeconds = 30
	return FromRules(p)
}

// Validate says whether the parameters make sense.
func (p Params) Validate() error {
	for _, n := range []uint32{p.Draws, p.MissesFree, p.Window, p.Fatal} {
		if n > 1<<16 {
			return fault.New(fault.BadRequest, "proofs parameters: a count of %d", n)
		}
	}
	return p.Rules().Check()
}

// Rules are the parameters as core knows them.
func (p Params) Rules() proving.Params {
	return proving.Params{
		Start: p.Start, Period: p.PeriodSeconds, MaxSlots: p.MaxSlots, Draws: int(p.Draws), MissesFree: int(p.MissesFree),
		Window: int(p.Window), Fatal: int(p.Fatal), LossSeconds: p.LossSeconds, VoidSeconds: p.VoidSeconds,
		ChallengeFee: money.Amount(p.ChallengeFee),
	}
}

// FromRules writes the parameters.
func FromRules(p proving.Params) Params {
	return Params{
		Start: p.Start, PeriodSeconds: p.Period, MaxSlots: p.MaxSlots, Draws: uint32(p.Draws), MissesFree: uint32(p.MissesFree),
		Window: uint32(p.Window), Fatal: uint32(p.Fatal), LossSeconds: p.LossSeconds, VoidSeconds: p.VoidSeconds,
		ChallengeFee: uint64(p.ChallengeFee),
	}
}

// Core reads the beacon.
func (b Beacon) Core() (proving.Beacon, error) {
	out := proving.Beacon{Period: b.Period, Marked: b.Marked}
	for _, f := range []struct {
		into *proving.Hash
		from []byte
	}{{&out.R, b.R}, {&out.Start, b.Start}} {
		if len(f.from) != 0 && len(f.from) != len(f.into) {
			return out, fault.New(fault.BadRequest, "beacon: %d bytes, 32 are needed", len(f.from))
		}
		copy(f.into[:], f.from)
	}
	return out, nil
}

// Core reads a challenge.
func (c Challenge) Core() proving.Challenge {
	return proving.Challenge{Lease: c.Lease, Leaf: c.Leaf, By: c.By, Fee: money.Amount(c.Fee), Since: c.Since}
}

// FromChallenge writes a challenge of a lease with host.
func FromChallenge(host string, c proving.Challenge) Challenge {
	return Challenge{Host: host, Lease: c.Lease, Leaf: c.Leaf, By: c.By, Fee: uint64(c.Fee), Since: c.Since}
}

// ReadAnswers decodes the answers of a message; nil stands for one that is confessed.
func (m *MsgAnswer) ReadAnswers(draws int) ([]*proof.Answer, error) {
	if len(m.Answers) != draws {
		return nil, fault.New(fault.BadRequest, "answer for period %d: %d answers, %d are drawn", m.Period, len(m.Answers), draws)
	}
	out := make([]*proof.Answer, draws)
	for i, b := range m.Answers {
		if len(b) == 0 {
			continue
		}
		a, err := proof.DecodeAnswer(b)
		if err != nil {
			return nil, fault.New(fault.CodeOf(err), "answer %d: %w", i, err)
		}
		out[i] = &a
	}
	return out, nil
}
