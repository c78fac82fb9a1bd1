package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/internal/durable"
	"hearth/market"
)

// payer is what fees asks of the ledger.
type payer interface {
	Balance(ctx context.Context, address string) (money.Amount, error)
	Sponsor(ctx context.Context, address string) (chain.Sponsored, error)
	Send(ctx context.Context, s chain.Signer, msgs ...proto.Message) (chain.Receipt, error)
}

// fees sends a host's transactions. The account pays their fees as soon as it
// has earned a little; until then a sponsor does, who was asked once and is kept
// beside the data.
type fees struct {
	ledger  payer
	account chain.Signer
	kept    string // file that names the sponsor
	log     *slog.Logger

	mu     sync.Mutex
	signer chain.Signer // nil: not chosen yet
	chosen time.Time
}

const (
	ownFees    = money.Ember / 20 // enough for dozens of transactions
	chooseFees = 10 * time.Minute
)

// Send carries out msgs at the expense of who pays now. One who can't any more is
// replaced by the other.
func (f *fees) Send(ctx context.Context, msgs ...proto.Message) (chain.Receipt, error) {
	signer, err := f.choose(ctx)
	if err != nil {
		return chain.Receipt{}, err
	}
	r, err := f.ledger.Send(ctx, signer, msgs...)
	if !unpaid(err) {
		return r, err
	}
	other, oerr := f.other(ctx, signer)
	if oerr != nil {
		return r, errors.Join(err, oerr)
	}
	f.log.Info("another pays the fees", "err", err)
	r, oerr = f.ledger.Send(ctx, other, msgs...)
	if unpaid(oerr) {
		f.use(nil) // look afresh next time
		return r, errors.Join(err, oerr)
	}
	f.use(other)
	return r, oerr
}

// unpaid says whether the fee was the reason of a refusal.
func unpaid(err error) bool {
	if fault.CodeOf(err) == fault.NoFunds {
		return true
	}
	var no *chain.Refusal
	return errors.As(err, &no) && (no.Codespace == "feegrant" || strings.Contains(no.Log, "fee-grant") || strings.Contains(no.Log, "to pay fees"))
}

func (f *fees) use(s chain.Signer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.signer, f.chosen = s, time.Now()
}

// choose looks now and again who should pay.
func (f *fees) choose(ctx context.Context) (chain.Signer, error) {
	f.mu.Lock()
	signer, fresh := f.signer, time.Since(f.chosen) < chooseFees
	f.mu.Unlock()
	if signer != nil && fresh {
		return signer, nil
	}
	balance, err := f.ledger.Balance(ctx, f.account.Address())
	switch {
	case err != nil && signer != nil:
		return signer, nil
	case err != nil:
		return nil, err
	case balance >= ownFees:
		signer = f.account
	default:
		signer, err = f.sponsored(ctx)
		if fault.CodeOf(err) == fault.SponsorRefused && balance > 0 {
			signer, err = f.account, nil
		}
	}
	if err != nil {
		return nil, err
	}
	f.use(signer)
	return signer, nil
}

// other is who may pay where s couldn't.
func (f *fees) other(ctx context.Context, s chain.Signer) (chain.Signer, error) {
	if _, sponsored := s.(interface{ FeeGranter() string }); sponsored {
		return f.account, nil
	}
	return f.sponsored(ctx)
}

// sponsored is the account with its fees paid by its sponsor, who is asked for it once.
func (f *fees) sponsored(ctx context.Context) (chain.Signer, error) {
	if granter, err := os.ReadFile(f.kept); err == nil {
		return chain.PaidBy(f.account, strings.TrimSpace(string(granter))), nil
	}
	s, err := f.ledger.Sponsor(ctx, f.account.Address())
	if err != nil {
		return nil, err
	}
	if err := durable.Write(f.kept, []byte(s.Granter+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("keep sponsor: %w", err)
	}
	return chain.PaidBy(f.account, s.Granter), nil
}

// payingLedger is a ledger whose transactions are paid for by fees.
type payingLedger struct {
	market.Ledger
	fees *fees
}

// Send carries out msgs for the host's account.
func (l payingLedger) Send(ctx context.Context, _ chain.Signer, msgs ...proto.Message) (chain.Receipt, error) {
	return l.fees.Send(ctx, msgs...)
}
