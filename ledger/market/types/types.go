// Package types holds the messages and records of the market, generated from
// proto/hearth/market/v1/market.proto, how they map to core's, and what the
// market's parameters may be.
package types

import (
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/msgservice"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
)

// ModuleName names the module, its store and the account that holds purses and leases.
const ModuleName = "market"

// RegisterInterfaces lets the transaction decoder find our messages.
func RegisterInterfaces(r codectypes.InterfaceRegistry) {
	r.RegisterImplementations((*sdk.Msg)(nil),
		&MsgDeposit{}, &MsgWithdraw{}, &MsgGrantMandate{}, &MsgRevokeMandate{}, &MsgOpenLeases{},
		&MsgPostStatements{}, &MsgSettle{}, &MsgClose{}, &MsgUpdateParams{})
	msgservice.RegisterMsgServiceDesc(r, &_Msg_serviceDesc)
}

const (
	minute = 60
	hour   = 60 * minute
	day    = 24 * hour
)

// Main are the parameters of a network for good.
func Main() Params {
	return Params{
		MinDeposit:            10_000,
		MaxBatchOpen:          50,
		MaxBatchPost:          100,
		MaxBatchSettle:        100,
		MaxUntilSeconds:       90 * day,
		MaxQuoteSeconds:       1 * day,
		MaxRunSeconds:         7 * day,
		StorageReserveSeconds: 14 * day,
		OtherReserveSeconds:   1 * day,
		CloseSeconds:          1 * day,
		StorageNoticeSeconds:  14 * day,
		OtherNoticeSeconds:    1 * day,
		PruneSeconds:          7 * day,
		MandateWindowSeconds:  30 * day,
		CommunityShareMilli:   500,
	}
}

// Local are those of a cloud on one machine, where nobody waits for days.
func Local() Params {
	p := Main()
	p.StorageReserveSeconds = 1 * minute
	p.OtherReserveSeconds = 1 * minute
	p.CloseSeconds = 10
	p.StorageNoticeSeconds = 20
	p.OtherNoticeSeconds = 20
	p.PruneSeconds = 30
	return p
}

// maxSeconds bounds every duration, so that sums with a time can't overflow;
// maxBatch bounds the work of one message.
const (
	maxSeconds = 100 * 365 * day
	maxBatch   = 1000
)

// Validate says whether the parameters make sense.
func (p Params) Validate() error {
	for _, d := range []uint64{
		p.MaxUntilSeconds, p.MaxQuoteSeconds, p.MaxRunSeconds, p.StorageReserveSeconds, p.OtherReserveSeconds, p.CloseSeconds,
		p.StorageNoticeSeconds, p.OtherNoticeSeconds, p.PruneSeconds, p.MandateWindowSeconds,
	} {
		if d > maxSeconds {
			return fault.New(fault.BadRequest, "market parameters: a duration of %d s, at most %d are allowed", d, uint64(maxSeconds))
		}
	}
	for _, n := range []uint64{p.MaxBatchOpen, p.MaxBatchPost, p.MaxBatchSettle} {
		if n == 0 || n > maxBatch {
			return fault.New(fault.BadRequest, "market parameters: a batch of %d, allowed are 1 to %d", n, maxBatch)
		}
	}
	switch {
	case p.MinDeposit == 0:
		return fault.New(fault.BadRequest, "market parameters: the smallest deposit is 0")
	case p.MaxUntilSeconds == 0 || p.MaxQuoteSeconds == 0 || p.MaxRunSeconds == 0 || p.MandateWindowSeconds == 0:
		return fault.New(fault.BadRequest, "market parameters: a limit in time is 0")
	case p.CommunityShareMilli > 1000:
		return fault.New(fault.BadRequest, "market parameters: the community's share of %d thousandths", p.CommunityShareMilli)
	}
	return nil
}

// Rules are the parameters as core knows them.
func (p Params) Rules() lease.Params {
	return lease.Params{
		MinDeposit:     money.Amount(p.MinDeposit),
		MaxUntil:       int64(p.MaxUntilSeconds),
		MaxQuote:       int64(p.MaxQuoteSeconds),
		MaxRun:         int64(p.MaxRunSeconds),
		StorageReserve: int64(p.StorageReserveSeconds),
		OtherReserve:   int64(p.OtherReserveSeconds),
		CloseTime:      int64(p.CloseSeconds),
		StorageNotice:  int64(p.StorageNoticeSeconds),
		OtherNotice:    int64(p.OtherNoticeSeconds),
		PruneTime:      int64(p.PruneSeconds),
		MandateWindow:  int64(p.MandateWindowSeconds),
		CommunityShare: p.CommunityShareMilli,
		MaxOpen:        int(p.MaxBatchOpen),
		MaxPost:        int(p.MaxBatchPost),
		MaxSettle:      int(p.MaxBatchSettle),
	}
}
