package node

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"maps"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/mandate"
	"hearth/core/money"
	"hearth/wallet"
)

// account keeps a client's money where it is needed: the device's key has its
// mandate and its fees, the purse is filled up from the account. The account's
// own key signs only here.
type account struct {
	ledger *chain.Client
	keys   *wallet.Keys
	terms  terms
	log    *slog.Logger

	mu         sync.Mutex // one change at a time
	ready      bool
	introduced time.Time // when the mandate was looked at
}

const (
	// feeReserve stays on the account when the purse is filled from it.
	feeReserve    = money.Ember
	mandateTime   = 365 * 24 * 3600
	mandateMargin = 30 * 24 * 3600 // a mandate that ends sooner is renewed
	mandateLook   = 24 * time.Hour
	tendEvery     = 15 * time.Second
)

// tend keeps the account's affairs in order until ctx ends.
func (a *account) tend(ctx context.Context) {
	t := time.NewTicker(tendEvery)
	defer t.Stop()
	for {
		if err := a.settle(ctx); err != nil && ctx.Err() == nil && fault.CodeOf(err) != fault.NoFunds {
			a.log.Warn("keep account in order", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// settle gives the device its mandate and fees and fills the purse, in one
// transaction, as far as that is missing.
func (a *account) settle(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	balance, err := a.ledger.Balance(ctx, a.address())
	if err != nil {
		return err
	}
	var msgs []proto.Message
	looked := a.introduced
	if !a.ready || time.Since(a.introduced) > mandateLook {
		looked = time.Now()
		first, err := a.introduce(ctx)
		if err != nil {
			return err
		}
		msgs = append(msgs, first...)
	}
	deposit, err := a.refill(ctx, balance)
	if err != nil {
		return err
	}
	if deposit > 0 {
		msgs = append(msgs, chain.Deposit(a.address(), deposit))
	}
	if len(msgs) == 0 {
		a.ready, a.introduced = true, looked
		return nil
	}
	if balance == 0 {
		return fault.New(fault.NoFunds, "prepare account %s: it holds no ember yet", a.address())
	}
	if _, err := a.ledger.Send(ctx, a.keys.Account(), msgs...); err != nil {
		return err
	}
	a.ready, a.introduced = true, looked
	return nil
}

// introduce is what the ledger must hear before the device's key may act.
func (a *account) introduce(ctx context.Context) ([]proto.Message, error) {
	key := [32]byte(a.keys.Spending().Public())
	now := time.Now().Unix()
	m, err := a.ledger.Mandate(ctx, a.address(), key)
	ceilings := a.terms.ceilings()
	if err == nil && m.Until > now+mandateMargin && m.Cap == a.terms.cap && m.Ops == mandate.All && maps.Equal(m.Ceilings, ceilings) { // an older one may know fewer operations
		return nil, nil
	}
	known := err == nil
	if code := fault.CodeOf(err); err != nil && code != fault.NotFound && code != fault.MandateRefused {
		return nil, err
	}
	msgs := []proto.Message{chain.GrantMandate(mandate.Mandate{
		Grantor: a.address(), Key: key, Ops: mandate.All, Cap: a.terms.cap, Until: now + mandateTime,
		Ceilings: ceilings,
	})}
	if !known {
		fees, err := chain.GrantFees(a.address(), wallet.AddressOfEd25519(ed25519.PublicKey(key[:])), now+10*mandateTime)
		if err != nil {
			return nil, err
		}
		msgs = append(msgs, fees)
	}
	return msgs, nil
}

// refill is what should go from the account into the purse: it is topped up to
// the target when half of that is left.
func (a *account) refill(ctx context.Context, balance money.Amount) (money.Amount, error) {
	if a.terms.target == 0 || balance <= feeReserve {
		return 0, nil
	}
	free, err := a.ledger.Purse(ctx, a.address())
	if err != nil {
		return 0, err
	}
	if free >= a.terms.target/2 {
		return 0, nil
	}
	return min(a.terms.target-free, balance-feeReserve), nil
}

func (a *account) address() string { return a.keys.Account().Address() }

// prepared makes sure that leases can be opened, and says what is missing.
func (a *account) prepared(ctx context.Context) error {
	a.mu.Lock()
	ready := a.ready
	a.mu.Unlock()
	if ready {
		return nil
	}
	return a.settle(ctx)
}
