// Package types holds the messages and records of hosts, generated from
// proto/hearth/hosts/v1/hosts.proto, and what their parameters may be.
package types

import (
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/msgservice"

	"hearth/core/fault"
	"hearth/core/machine"
)

// ModuleName names the module, its store and the account that holds the bonds.
const ModuleName = "hosts"

// RegisterInterfaces lets the transaction decoder find our messages.
func RegisterInterfaces(r codectypes.InterfaceRegistry) {
	r.RegisterImplementations((*sdk.Msg)(nil),
		&MsgRegister{}, &MsgUpdate{}, &MsgBond{}, &MsgUnbond{}, &MsgClaim{}, &MsgLeave{}, &MsgRemove{}, &MsgUpdateParams{})
	msgservice.RegisterMsgServiceDesc(r, &_Msg_serviceDesc)
}

const day = 24 * 60 * 60

// Main are the parameters of a network for good.
func Main() Params {
	return Params{
		StorageBondSeconds:   30 * day,
		OtherBondSeconds:     1 * day,
		UnbondingSeconds:     21 * day,
		StorageNoticeSeconds: 14 * day,
		OtherNoticeSeconds:   1 * day,
		YoungSeconds:         30 * day,
		Least:                Least(machine.Usual()),
	}
}

// Local are those of a cloud on one machine, where nobody waits for days, and where all
// hosts together are as strong as that machine.
func Local() Params {
	return Params{
		StorageBondSeconds:   60,
		OtherBondSeconds:     10,
		UnbondingSeconds:     30,
		StorageNoticeSeconds: 20,
		OtherNoticeSeconds:   20,
		YoungSeconds:         0,
	}
}

// maxSeconds bounds every duration, so that sums with a time can't overflow.
const maxSeconds = 100 * 365 * day

// Validate says whether the parameters make sense.
func (p Params) Validate() error {
	for _, d := range []uint64{
		p.StorageBondSeconds, p.OtherBondSeconds, p.UnbondingSeconds,
		p.StorageNoticeSeconds, p.OtherNoticeSeconds, p.YoungSeconds,
	} {
		if d > maxSeconds {
			return fault.New(fault.BadRequest, "hosts parameters: a duration of %d s, at most %d are allowed", d, uint64(maxSeconds))
		}
	}
	return nil
}
