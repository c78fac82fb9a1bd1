package server

import (
	"context"
	"io"
	"time"

	"hearth/api"
	"hearth/core/money"
)

// Roles are what the API serves. Their methods are called by many requests at
// a time; their errors carry a fault code.
type Roles struct {
	Node      Node
	Wallet    Wallet
	Market    Market
	Ledger    Ledger
	Storage   Storage
	Host      Host      // nil: this node is no host
	S3        S3        // nil: this node is no client
	Sharing   Sharing   // nil: this node is no client
	Stewards  Stewards  // nil: this node is no client
	Functions Functions // nil: this node is no client
	Instances Instances // nil: this node is no client
	Images    Images    // nil: this node is no client

	FunctionDoor FunctionDoor // nil: this node is no client
}

// A Node says how it is. Neither call waits for the network or the disk.
type Node interface {
	Status(ctx context.Context) (api.Node, error)
	Ready(ctx context.Context) []api.Check
	// Events calls tell for each event from now on, until ctx ends or tell fails.
	Events(ctx context.Context, tell func(api.Event) error) error
}

// A Wallet holds the account's money. Whatever spends returns when its
// transaction is in a block.
type Wallet interface {
	Show(ctx context.Context) (api.Wallet, error)
	Send(ctx context.Context, to string, amount money.Amount) (api.Tx, error)
	Fund(ctx context.Context, amount money.Amount) (api.Tx, error)       // account -> purse
	Withdraw(ctx context.Context, amount money.Amount) (api.Tx, error)   // purse -> account; 0: all that is free
	SetCap(ctx context.Context, amount money.Amount) (api.Wallet, error) // of this device's mandate
}

// A Market knows prices and leases.
type Market interface {
	Quotes(ctx context.Context, kind string) (api.Quotes, error)
	Leases(ctx context.Context, after uint64, limit int) ([]api.Lease, error) // by id, from the one behind after
	Lease(ctx context.Context, id uint64) (api.Lease, error)
	Price(ctx context.Context, bytes int64, class string) (api.Price, error) // class "": the configured one
	Agree(ctx context.Context, month money.Amount) error                     // without asking again
}

// A Ledger says how far this node sees the ledger.
type Ledger interface {
	Status(ctx context.Context) (api.Ledger, error)
}

// A Host offers this machine to others.
type Host interface {
	Status(ctx context.Context) (api.Host, error)
	Leave(ctx context.Context) (api.Host, error) // gives notice
	Limits(ctx context.Context) (api.HostLimits, error)
	SetLimits(ctx context.Context, l api.HostLimits) (api.HostLimits, error)
	Earnings(ctx context.Context, since time.Time) (api.Earnings, error)
	Measure(ctx context.Context) (api.Measured, error) // takes about three seconds
}

// Storage keeps objects.
type Storage interface {
	Buckets(ctx context.Context) ([]api.Bucket, error)
	MakeBucket(ctx context.Context, name string) (api.Bucket, error)
	RemoveBucket(ctx context.Context, name string) error // only an empty one

	List(ctx context.Context, bucket string, q api.ListQuery) (api.Objects, error)
	Stat(ctx context.Context, bucket, key string) (api.Object, error)
	Health(ctx context.Context, bucket, key string) (api.Health, error)
	Remove(ctx context.Context, bucket, key string) error
	// Check asks the hosts of a page of a bucket's versions what they hold.
	Check(ctx context.Context, bucket string, q api.CheckQuery) (api.Findings, error)

	// Put reads body to its end and stores it. An error of body ends it, and
	// nothing is listed then.
	Put(ctx context.Context, bucket, key string, body io.Reader, o PutOptions) (api.Object, error)
	// Get writes n bytes from off of one version of an object, or says why not.
	Get(ctx context.Context, bucket, key, version string, off, n int64, to io.Writer, report func(api.Progress)) error
}

// PutOptions belong to one Put.
type PutOptions struct {
	Size     int64              // of the body; -1: not known
	Type     string             // content type, kept with the object; "": not known
	Class    string             // k/n; "": the configured one
	NoWait   bool               // a small object is stored once it is in the node's journal
	IfAbsent bool               // refuse with fault.Exists where the key is taken
	Report   func(api.Progress) // told of progress; never nil, quick, safe for concurrent use
}
