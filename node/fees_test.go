package node

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/market/markettest"
)

// till is a ledger that only takes fees.
type till struct {
	balance  money.Amount
	grant    bool // the sponsor's allowance holds
	down     bool
	asked    int    // times a sponsor was asked
	paid     string // who paid last: own, sponsor
	balances int
}

func (l *till) Balance(context.Context, string) (money.Amount, error) {
	l.balances++
	if l.down {
		return 0, fault.New(fault.LedgerDown, "down")
	}
	return l.balance, nil
}

func (l *till) Sponsor(context.Context, string) (chain.Sponsored, error) {
	l.asked++
	if l.asked > 1 {
		return chain.Sponsored{}, fault.New(fault.SponsorRefused, "once is enough")
	}
	l.grant = true
	return chain.Sponsored{Granter: "hearth1sponsor"}, nil
}

func (l *till) Send(_ context.Context, s chain.Signer, _ ...proto.Message) (chain.Receipt, error) {
	if g, ok := s.(interface{ FeeGranter() string }); ok {
		if g.FeeGranter() != "hearth1sponsor" || !l.grant {
			return chain.Receipt{}, fault.New(fault.TxRefused, "%w", &chain.Refusal{Codespace: "sdk", Code: 38, Log: "hearth1sponsor does not allow to pay fees for host: fee-grant not found"})
		}
		l.paid = "sponsor"
		return chain.Receipt{}, nil
	}
	if l.balance == 0 {
		return chain.Receipt{}, fault.New(fault.NoFunds, "0uember is smaller than 100uember")
	}
	l.paid = "own"
	return chain.Receipt{}, nil
}

// A newcomer's fees are its sponsor's, its own once it has earned a little, and
// whoever can pay does where the other can't.
func TestWhoPaysAHostsFees(t *testing.T) {
	l := &till{}
	kept := filepath.Join(t.TempDir(), "sponsor")
	open := func() *fees {
		return &fees{ledger: l, account: markettest.Signer{Name: "host"}, kept: kept, log: slog.New(slog.DiscardHandler)}
	}
	f := open()
	pays := func(why, who string) {
		t.Helper()
		if _, err := f.Send(t.Context()); err != nil || l.paid != who {
			t.Errorf("%s: %s paid, not %s: %v", why, l.paid, who, err)
		}
	}
	pays("a newcomer", "sponsor")
	f = open()
	pays("after a restart", "sponsor")
	if l.asked != 1 {
		t.Errorf("a sponsor was asked %d times", l.asked)
	}
	l.balance = ownFees
	pays("it has earned a moment ago", "sponsor")
	f.chosen = f.chosen.Add(-chooseFees)
	pays("it has earned", "own")
	reads := l.balances
	pays("again", "own")
	if l.balances != reads {
		t.Error("each transaction reads the balance")
	}
	l.balance = 0
	pays("its money went elsewhere", "sponsor")
	l.balance, l.grant = 1000, false
	pays("the sponsor's allowance is used up", "own")
	l.down = true
	f.chosen = time.Time{}
	pays("the balance can't be read", "own")
	l.down, l.balance = false, 0
	if _, err := f.Send(t.Context()); !unpaid(err) {
		t.Error("nobody can pay:", err)
	}
	l.balance = ownFees
	pays("money came", "own")
}

// A refusal for another reason is nobody's lack of money.
func TestARefusalIsNotRepeated(t *testing.T) {
	for _, err := range []error{nil, fault.New(fault.LedgerDown, "down"), fault.New(fault.Exists, "the ledger refused it: %w", &chain.Refusal{Codespace: "hosts", Code: 2})} {
		if unpaid(err) {
			t.Error(err)
		}
	}
}
