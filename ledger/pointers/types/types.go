// Package types holds the messages and records of pointers, generated from
// proto/hearth/pointers/v1/pointers.proto.
package types

import (
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/msgservice"
)

// ModuleName names the module and its store.
const ModuleName = "pointers"

// RegisterInterfaces lets the transaction decoder find our messages.
func RegisterInterfaces(r codectypes.InterfaceRegistry) {
	r.RegisterImplementations((*sdk.Msg)(nil), &MsgSetPointer{})
	msgservice.RegisterMsgServiceDesc(r, &_Msg_serviceDesc)
}
