package chain

import (
	feegrantv1 "cosmossdk.io/api/cosmos/feegrant/v1beta1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"hearth/core/fault"
)

// GrantFees lets grantee spend of granter's balance on fees, without a limit of
// its own, until a time (unix seconds). The ledger takes one such grant a pair.
func GrantFees(granter, grantee string, until int64) (proto.Message, error) {
	allowance, err := pack(&feegrantv1.BasicAllowance{Expiration: &timestamppb.Timestamp{Seconds: until}})
	if err != nil {
		return nil, fault.New(fault.Internal, "grant fees to %s: %w", grantee, err)
	}
	return &feegrantv1.MsgGrantAllowance{Granter: granter, Grantee: grantee, Allowance: allowance}, nil
}
