// Package market is one node's side of the bargain: it asks and gives quotes,
// opens leases, exchanges statements within the growing window and has the
// ledger settle them. The rules are core's; what is stored or run is the
// streets': they hand over what is to be signed and are asked whether it is true.
// It never moves a street's bytes, and it signs nothing that it hasn't made
// durable first.
package market

import (
	"context"

	"google.golang.org/protobuf/proto"

	"hearth/chain"
	"hearth/core/lease"
	"hearth/core/mandate"
	"hearth/core/money"
)

// Protocol is the name of the exchange between client and host.
const Protocol = "/hearth/market/1"

const (
	maxFrame = 64 << 10
	// firstWindow and lastWindow bound how much traffic is paid ahead. It doubles
	// with every window that was kept.
	firstWindow = 256 << 10
	lastWindow  = 8 << 20
	// firstGas and lastGas bound how much gas is paid ahead beside a call's own limit:
	// a part of a second of one core, and a few seconds.
	firstGas = 1_000_000_000
	lastGas  = 10_000_000_000
	// online and offline are how far a client signs run time ahead, in seconds.
	online  = 600
	offline = 7*24*3600 - 600
)

// window is how many bytes are paid ahead after so many were exchanged.
func window(exchanged uint64) uint64 { return min(max(exchanged, firstWindow), lastWindow) }

// gasWindow is how much gas is paid ahead beside a call's own after so much was used.
func gasWindow(used uint64) uint64 { return min(max(used, firstGas), lastGas) }

// Ledger is what the market asks of a window on the ledger.
type Ledger interface {
	ChainID() string
	Lease(ctx context.Context, id uint64) (lease.Lease, error)
	Leases(ctx context.Context, client, host string) ([]lease.Lease, error)
	Host(ctx context.Context, address string) (chain.Host, error)
	Hosts(ctx context.Context) ([]chain.Host, error)
	Endpoints(ctx context.Context, h chain.Host) ([]string, error)
	Mandate(ctx context.Context, grantor string, key [32]byte) (mandate.Mandate, error)
	Purse(ctx context.Context, owner string) (money.Amount, error)
	Rules(ctx context.Context) (lease.Params, error)
	Send(ctx context.Context, s chain.Signer, msgs ...proto.Message) (chain.Receipt, error)
}
