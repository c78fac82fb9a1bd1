package chain

import (
	"cmp"
	"crypto/sha256"
	"slices"
	"strconv"

	bankv1 "cosmossdk.io/api/cosmos/bank/v1beta1"
	basev1 "cosmossdk.io/api/cosmos/base/v1beta1"
	"google.golang.org/protobuf/proto"

	"hearth/chain/pb/hostsv1"
	"hearth/chain/pb/marketv1"
	"hearth/core/mandate"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"
)

// Transfer moves coins from one account to another.
func Transfer(from, to string, amount money.Amount) proto.Message {
	return &bankv1.MsgSend{FromAddress: from, ToAddress: to, Amount: []*basev1.Coin{{Denom: Denom, Amount: strconv.FormatUint(uint64(amount), 10)}}}
}

// Deposit puts coins of an account into its purse.
func Deposit(owner string, amount money.Amount) proto.Message {
	return &marketv1.MsgDeposit{Owner: owner, Amount: uint64(amount)}
}

// Withdraw takes amount out of the purse; 0 takes all that is free.
func Withdraw(owner string, amount money.Amount) proto.Message {
	return &marketv1.MsgWithdraw{Owner: owner, Amount: uint64(amount)}
}

// GrantMandate makes or replaces a mandate. Used and WindowStart are the ledger's.
func GrantMandate(m mandate.Mandate) proto.Message {
	out := &marketv1.MsgGrantMandate{Grantor: m.Grantor, Key: m.Key[:], Operations: uint32(m.Ops), Cap_30D: uint64(m.Cap), Until: m.Until}
	for kind, p := range m.Ceilings {
		out.Ceilings = append(out.Ceilings, &marketv1.PriceCeiling{Kind: uint32(kind), Prices: pbPrices(p)})
	}
	slices.SortFunc(out.Ceilings, func(a, b *marketv1.PriceCeiling) int { return cmp.Compare(a.Kind, b.Kind) })
	return out
}

// RevokeMandate ends the mandate of a key.
func RevokeMandate(grantor string, key [32]byte) proto.Message {
	return &marketv1.MsgRevokeMandate{Grantor: grantor, Key: key[:]}
}

// OpenLease is one lease to open.
type OpenLease struct {
	Quote  quote.Signed
	Amount money.Amount
	Until  int64 // how long the prices are to hold
}

// FundLease adds to a lease, with new prices if there is a quote.
type FundLease struct {
	Lease  uint64
	Amount money.Amount
	Quote  *quote.Signed // nil: the prices stay
	Until  int64         // counts with a quote
}

// OpenLeases opens and funds leases of client, all or nothing. signer is the
// client or the account of a key with its mandate.
func OpenLeases(signer, client string, open []OpenLease, fund []FundLease) proto.Message {
	m := &marketv1.MsgOpenLeases{Signer: signer, Client: client}
	for _, o := range open {
		m.Open = append(m.Open, &marketv1.OpenLease{Quote: pbQuote(o.Quote), Amount: uint64(o.Amount), Until: o.Until})
	}
	for _, f := range fund {
		one := &marketv1.FundLease{Lease: f.Lease, Amount: uint64(f.Amount)}
		if f.Quote != nil {
			one.Quote, one.Until = pbQuote(*f.Quote), f.Until
		}
		m.Fund = append(m.Fund, one)
	}
	return m
}

// PostStatements posts statements; Receipt.Skipped names those that didn't count.
func PostStatements(signer string, list []statement.Signed) proto.Message {
	m := &marketv1.MsgPostStatements{Signer: signer}
	for _, s := range list {
		m.Statements = append(m.Statements, pbStatement(s))
	}
	return m
}

// Settle pays hosts what the leases have earned. Anyone may send it.
func Settle(signer string, leases []uint64) proto.Message {
	return &marketv1.MsgSettle{Signer: signer, Leases: leases}
}

// CloseLease begins a lease's end: as its client, or as its host with notice.
func CloseLease(signer string, lease uint64) proto.Message {
	return &marketv1.MsgClose{Signer: signer, Lease: lease}
}

// CloseAgreed ends a lease at once, with the host's signature over
// statement.RefundDigest of total.
func CloseAgreed(signer string, lease uint64, total money.Amount, hostSig []byte) proto.Message {
	return &marketv1.MsgClose{Signer: signer, Lease: lease, Total: uint64(total), HostSig: hostSig}
}

// HostTerms is what a host says about itself.
type HostTerms struct {
	Roles     uint32
	Region    string
	Hardware  Hardware
	Endpoints []string // multiaddrs, at most 8 of at most 128 bytes
}

func (t HostTerms) hardware() *hostsv1.Hardware {
	return &hostsv1.Hardware{CpuMilli: t.Hardware.CPUMilli, MemoryBytes: t.Hardware.MemoryBytes, DiskBytes: t.Hardware.DiskBytes}
}

// HostKeyDigest is what a host's key signs to agree to belong to an account.
func HostKeyDigest(chainID, address string) []byte {
	sum := sha256.Sum256([]byte("hearth/host-key/1" + chainID + "\x00" + address))
	return sum[:]
}

// RegisterHost makes address a host that belongs to owner; both sign, if they
// differ. keyProof is key's signature over HostKeyDigest.
func RegisterHost(address, owner string, key [32]byte, keyProof []byte, t HostTerms) proto.Message {
	return &hostsv1.MsgRegister{
		Address: address, Owner: owner, Key: key[:], KeyProof: keyProof,
		Roles: t.Roles, Region: t.Region, Hardware: t.hardware(), Endpoints: t.Endpoints,
	}
}

// UpdateHost replaces what a host says about itself.
func UpdateHost(address string, t HostTerms) proto.Message {
	return &hostsv1.MsgUpdate{Address: address, Roles: t.Roles, Region: t.Region, Hardware: t.hardware(), Endpoints: t.Endpoints}
}

// Bond locks coins of a host as collateral.
func Bond(address string, amount money.Amount) proto.Message {
	return &hostsv1.MsgBond{Address: address, Amount: uint64(amount)}
}

// Unbond starts the waiting time of an amount; ClaimBond pays out what has waited.
func Unbond(address string, amount money.Amount) proto.Message {
	return &hostsv1.MsgUnbond{Address: address, Amount: uint64(amount)}
}

// ClaimBond pays out what has waited long enough.
func ClaimBond(address string) proto.Message { return &hostsv1.MsgClaim{Address: address} }

// LeaveHost gives notice.
func LeaveHost(address string) proto.Message { return &hostsv1.MsgLeave{Address: address} }

// RemoveHost deletes a host that has left and has no leases, and returns its bond.
func RemoveHost(address string) proto.Message { return &hostsv1.MsgRemove{Address: address} }
