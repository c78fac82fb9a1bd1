package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/quote"
	"hearth/internal/durable"
	"hearth/market"
	"hearth/storage/host"
)

// selling is the host role of a node.
type selling struct {
	n      *Node
	market *market.Host
	store  *host.Host
	signer chain.Signer
	log    *slog.Logger
}

const sellsStorage = 1 // the role bit of the ledger

// startSelling opens what the host holds, tells the ledger where it answers, and
// takes requests.
func startSelling(ctx context.Context, n *Node) (*selling, error) {
	s := &selling{n: n, log: n.log, signer: n.keys.Account()}
	dir := filepath.Join(n.dir, "data")
	var err error
	s.store, err = host.Open(host.Config{
		Dir: filepath.Join(dir, "shards"), Capacity: int64(n.terms.capacity), PendingTTL: n.terms.pendingFor, Registry: n.metrics, Log: n.log,
	})
	if err != nil {
		return nil, err
	}
	if s.signer, err = s.payer(ctx); err != nil {
		return nil, errors.Join(err, s.store.Close())
	}
	street := storageStreet{s.store}
	s.market, err = market.NewHost(market.HostConfig{
		Dir: filepath.Join(dir, "market"), Ledger: directory{n.ledger, n.net}, Account: s.signer, Key: n.keys.Node(),
		Prices: map[quote.Kind]quote.Prices{quote.Storage: n.terms.price}, Streets: map[quote.Kind]market.Street{quote.Storage: street},
		SettleEvery: n.terms.settleEvery, Log: n.log,
	})
	if err != nil {
		return nil, errors.Join(err, s.store.Close())
	}
	if err := s.market.Reconcile(ctx); err != nil {
		return nil, errors.Join(err, s.market.Close(), s.store.Close())
	}
	if err := s.register(ctx); err != nil {
		return nil, errors.Join(err, s.market.Close(), s.store.Close())
	}
	door, err := host.NewServer(host.ServerConfig{Host: s.store, Meter: s.market, Leases: s.market, ChainID: n.ledger.ChainID(), Log: n.log})
	if err != nil {
		return nil, errors.Join(err, s.market.Close(), s.store.Close())
	}
	n.net.Handle(market.Protocol, s.market.Serve)
	n.net.Handle(host.Protocol, door.Serve)
	return s, nil
}

// payer is the account, with fees from a sponsor while it has next to nothing.
// The sponsor pays once; who it was is kept beside the data.
func (s *selling) payer(ctx context.Context) (chain.Signer, error) {
	account := s.n.keys.Account()
	balance, err := s.n.ledger.Balance(ctx, account.Address())
	if err != nil {
		return nil, err
	}
	if balance >= feeReserve {
		return account, nil
	}
	kept := filepath.Join(s.n.dir, "data", "sponsor")
	if granter, err := os.ReadFile(kept); err == nil {
		return chain.PaidBy(account, strings.TrimSpace(string(granter))), nil
	}
	sponsored, err := s.n.ledger.Sponsor(ctx, account.Address())
	if fault.CodeOf(err) == fault.SponsorRefused && balance > 0 {
		return account, nil
	}
	if err != nil {
		return nil, err
	}
	if err := durable.Write(kept, []byte(sponsored.Granter+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("keep sponsor: %w", err)
	}
	return chain.PaidBy(account, sponsored.Granter), nil
}

// register makes the ledger's record of this host what it should be.
func (s *selling) register(ctx context.Context) error {
	endpoints := s.n.net.Addrs()
	want := chain.HostTerms{
		Roles: sellsStorage, Region: s.n.settings.Host.Region, Endpoints: endpoints,
		Hardware: chain.Hardware{CPUMilli: uint32(runtime.NumCPU() * 1000), DiskBytes: s.n.terms.capacity},
	}
	address := s.n.address()
	have, err := s.n.ledger.Host(ctx, address)
	var msg proto.Message
	switch {
	case fault.CodeOf(err) == fault.NotFound:
		owner := s.n.settings.Host.Owner
		if owner == "" {
			owner = address
		}
		key := [32]byte(s.n.keys.Node().Public().(ed25519.PublicKey))
		sig := ed25519.Sign(s.n.keys.Node(), chain.HostKeyDigest(s.n.ledger.ChainID(), address))
		msg = chain.RegisterHost(address, owner, key, sig, want)
	case err != nil:
		return err
	case !slices.Equal(have.Key[:], s.n.net.Key()):
		return fault.New(fault.Exists, "register host %s: the ledger knows it with another machine's key; one account is one host", address)
	case have.EndpointsHash == chain.EndpointsHash(endpoints) && have.Roles == want.Roles && have.Region == want.Region && have.Hardware == want.Hardware:
		return nil
	default:
		msg = chain.UpdateHost(address, want)
	}
	if _, err := s.n.ledger.Send(ctx, s.signer, msg); err != nil {
		return fmt.Errorf("register host: %w", err)
	}
	return nil
}

// run settles on schedule.
func (s *selling) run(ctx context.Context) { s.market.Run(ctx) }

// stop settles a last time and closes what is held.
func (s *selling) stop(ctx context.Context) error {
	if _, err := s.market.Settle(ctx); err != nil {
		s.log.Warn("settle before the end", "err", err)
	}
	return errors.Join(s.market.Close(), s.store.Close())
}

// storageStreet shows the market what the store can answer for.
type storageStreet struct{ *host.Host }

// Free is how many bytes of shards fit.
func (s storageStreet) Free() uint64 {
	stats := s.Stats()
	return uint64(max(0, stats.Capacity-stats.Used))
}

// age of the last settlement, for people.
func ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return time.Since(t).Round(time.Second).String() + " ago"
}
