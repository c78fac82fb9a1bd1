package weather

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/share"
	"hearth/node"
	"hearth/wallet"
)

const asideFor = 3 * money.Ember

// aside is a link whose owner pays, and what is in its purse.
type aside struct {
	ledger       *chain.Client
	serial, link string
	account      string
	key          *wallet.Spending // which is in the link
}

// putAside has the client pay for the readers of a link.
func (w *world) putAside(t *testing.T, dir string) *aside {
	t.Helper()
	if out, status := hearth(t, dir, "share", "hearth://"+bucket+"/album/small", "--pay", "0.01 ember"); status != fault.ExitUsage {
		t.Errorf("less than leases cost, exit %d: %s", status, out)
	}
	if out, status := hearth(t, dir, "share", "hearth://"+bucket+"/album/small", "--pay", "9000000 ember"); status != fault.ExitFunds {
		t.Errorf("more than the month's cap, exit %d: %s", status, out)
	}
	a := &aside{ledger: w.ledger(t)}
	a.serial, a.link = shareOut(t, dir, "hearth://"+bucket+"/album/small", "--pay", "3 ember")
	id, err := node.OpenIdentity(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := wallet.Derive(id.Phrase, 0)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := share.ParseSerial(a.serial)
	if err != nil {
		t.Fatal(err)
	}
	account, key, err := keys.Link(serial)
	if err != nil {
		t.Fatal(err)
	}
	a.account, a.key = account.Address(), key
	return a
}

// worth is all that the purse's account has, without what its leases hold.
func (a *aside) worth(t *testing.T) (free money.Amount, leases int) {
	t.Helper()
	ctx := within(t, patient)
	balance, err1 := a.ledger.Balance(ctx, a.account)
	purse, err2 := a.ledger.Purse(ctx, a.account)
	list, err3 := a.ledger.Leases(ctx, a.account, "")
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	return balance + purse, len(list)
}

// isRead: somebody without any money reads, out of the purse, and nobody gets
// anything else out of it.
func (a *aside) isRead(t *testing.T, by *second, want []byte) {
	t.Helper()
	if free, _ := a.worth(t); free > asideFor {
		t.Errorf("%s were put aside, of %s", free, asideFor)
	}
	file := filepath.Join(t.TempDir(), "paid")
	if out, status := hearth(t, by.dir, "get", a.link, file); status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
		t.Errorf("paid by the owner: %d bytes, %v", len(got), err)
	}
	free, leases := a.worth(t)
	if leases == 0 || free >= asideFor {
		t.Errorf("%d leases of the purse, %s are free", leases, free)
	}
	// Who has the link has the key. It takes no money out and widens nothing.
	thief := chain.PaidBy(a.key, a.account)
	ctx := within(t, patient)
	list, err := a.ledger.Leases(ctx, a.account, "")
	if err != nil || len(list) == 0 {
		t.Fatalf("%d leases, %v", len(list), err)
	}
	_, err = a.ledger.Send(ctx, thief, chain.CloseLease(a.key.Address(), list[0].ID))
	if fault.CodeOf(err) != fault.MandateRefused {
		t.Errorf("a lease is ended with the key in the link: %v", err)
	}
	if _, err := a.ledger.Send(ctx, thief, chain.Withdraw(a.account, 0)); err == nil {
		t.Error("the purse is emptied with the key in the link")
	}
	if _, err := a.ledger.Send(ctx, thief, chain.Transfer(a.account, a.key.Address(), 1)); err == nil {
		t.Error("money is sent with the key in the link")
	}
}

// returns: what is left comes back once the link is revoked, on any machine of
// the account, and the key in the link spends nothing more.
func (a *aside) returns(t *testing.T, owner *second) {
	t.Helper()
	if out, status := hearth(t, owner.dir, "share", "revoke", a.serial); status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	soon(t, patient, "take back what is left of a link", func() error {
		if free, leases := a.worth(t); free > 0 || leases > 0 {
			return fmt.Errorf("%s are free, %d leases", free, leases)
		}
		return nil
	})
	m, err := a.ledger.Mandate(within(t, patient), a.account, [32]byte(a.key.Public()))
	if err == nil && m.Until > time.Now().Unix() {
		t.Errorf("the key in the link may spend until %d", m.Until)
	}
}
