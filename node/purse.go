package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/mandate"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/share"
	"hearth/market"
	"hearth/storage/client"
	"hearth/wallet"
)

// purses keeps the purses of links: it fills those of this account's links, takes
// back what is left in them, and reads from those that somebody's link carries.
//
// A purse is an account of its own, whose key follows from the phrase and the
// link's serial. It holds no more than its owner has put into it, so no key that is
// given away, and no host, can cost more.
type purses struct {
	b *buying

	mu   sync.Mutex
	open map[string]*market.Client // of others' links, by account
}

const (
	// leastPay is what a purse must hold to be of use; linkFees of it is for fees.
	leastPay = money.Ember / 5
	linkFees = money.Ember / 20

	maxPurses    = 64
	monthSeconds = 30 * 24 * 3600
	purseEnd     = 24 * 3600 // after a link's end its mandate is still good for so long
)

// fund fills the purse of a link and lets the link's key spend it.
func (p *purses) fund(ctx context.Context, serial share.Serial, pay money.Amount, until int64) (client.Purse, error) {
	n := p.b.n
	account, key, err := n.keys.Link(serial)
	if err != nil {
		return client.Purse{}, err
	}
	if err := p.within(ctx, pay); err != nil {
		return client.Purse{}, err
	}
	first, err := p.send(ctx, account.Address(), pay, until)
	if err != nil {
		return client.Purse{}, err
	}
	if _, err := n.ledger.Send(ctx, n.keys.Account(), first...); err != nil {
		return client.Purse{}, fmt.Errorf("fill the purse of a link: %w", err)
	}
	fees, err := chain.GrantFees(account.Address(), key.Address(), until+purseEnd)
	if err != nil {
		return client.Purse{}, err
	}
	_, err = n.ledger.Send(ctx, chain.PaidBy(account, n.address()), chain.Deposit(account.Address(), pay-linkFees),
		chain.GrantMandate(mandate.Mandate{
			Grantor: account.Address(), Key: [32]byte(key.Public()), Ops: mandate.Open | mandate.Fund | mandate.Sign,
			Cap: pay, Until: until, Ceilings: map[quote.Kind]quote.Prices{quote.Storage: n.terms.ceiling},
		}), fees)
	if err != nil {
		return client.Purse{}, fmt.Errorf("open the purse of a link: %w", err)
	}
	return client.Purse{Account: account.Address(), Seed: [32]byte(key.Key().Seed())}, nil
}

// within holds the amount against what this device may still spend in the month.
func (p *purses) within(ctx context.Context, pay money.Amount) error {
	n := p.b.n
	if err := p.b.account.prepared(ctx); err != nil {
		return err
	}
	m, err := n.ledger.Mandate(ctx, n.address(), [32]byte(n.keys.Spending().Public()))
	if err != nil {
		return err
	}
	if left := m.Left(time.Now().Unix(), monthSeconds); pay > left {
		return fault.New(fault.CapReached, "pay for reading: %s would pass this device's cap of %s in 30 days, of which %s are left", pay, m.Cap, left)
	}
	return nil
}

// send is what brings the money to a purse, out of the account's own where the
// account holds too little, and pays the fees of who has the purse's own key.
func (p *purses) send(ctx context.Context, to string, pay money.Amount, until int64) (msgs []proto.Message, err error) {
	n := p.b.n
	balance, err := n.ledger.Balance(ctx, n.address())
	if err != nil {
		return nil, err
	}
	if need := money.AddCap(pay, feeReserve); balance < need {
		msgs = append(msgs, chain.Withdraw(n.address(), need-balance))
	}
	fees, err := chain.GrantFees(n.address(), to, until+mandateTime)
	return append(msgs, chain.Transfer(n.address(), to, pay), fees), err
}

// run takes back what is left in purses of links that hold no more.
func (p *purses) run(ctx context.Context) {
	t := time.NewTicker(tendEvery)
	defer t.Stop()
	for {
		over, err := p.b.files.Purses(ctx)
		for _, s := range over {
			empty, e := p.reclaim(ctx, s.Serial)
			if e == nil && empty {
				e = p.b.files.DropPurse(ctx, s.Serial)
			}
			err = errors.Join(err, e)
		}
		if err != nil && ctx.Err() == nil {
			p.b.log.Warn("take back what is left of links", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// reclaim does what can be done now to empty a purse: its key in the link loses
// its mandate, then its leases are ended, and what is free returns.
func (p *purses) reclaim(ctx context.Context, serial share.Serial) (empty bool, err error) {
	n := p.b.n
	account, key, err := n.keys.Link(serial)
	if err != nil {
		return false, err
	}
	signer := chain.PaidBy(account, n.address())
	leases, err := n.ledger.Leases(ctx, account.Address(), "")
	if err != nil {
		return false, err
	}
	var running []lease.Lease
	for _, l := range leases {
		if l.State == lease.Open || l.State == lease.Low {
			running = append(running, l)
		}
	}
	if err := p.takeOver(ctx, account.Address(), signer, key, len(running) > 0); err != nil {
		return false, err
	}
	if len(running) > 0 {
		return false, p.refund(ctx, account.Address(), signer, running)
	}
	balance, err := n.ledger.Balance(ctx, account.Address())
	if err != nil {
		return false, err
	}
	free, err := n.ledger.Purse(ctx, account.Address())
	if err != nil {
		return false, err
	}
	if balance+free == 0 {
		return len(leases) == 0, nil
	}
	var msgs []proto.Message
	if free > 0 {
		msgs = append(msgs, chain.Withdraw(account.Address(), 0))
	}
	_, err = n.ledger.Send(ctx, signer, append(msgs, chain.Transfer(account.Address(), n.address(), balance+free))...)
	return false, err
}

// takeOver ends the mandate of the key in a link, and gives this device one where
// there are leases to end.
func (p *purses) takeOver(ctx context.Context, account string, signer chain.Signer, key *wallet.Spending, leases bool) error {
	n, now := p.b.n, time.Now().Unix()
	device := [32]byte(n.keys.Spending().Public())
	var msgs []proto.Message
	m, err := n.ledger.Mandate(ctx, account, [32]byte(key.Public()))
	switch code := fault.CodeOf(err); {
	case err == nil && m.Until > now:
		msgs = append(msgs, chain.RevokeMandate(account, m.Key))
	case err != nil && code != fault.NotFound && code != fault.MandateRefused:
		return err
	}
	if leases {
		m, err := n.ledger.Mandate(ctx, account, device)
		if code := fault.CodeOf(err); err != nil && code != fault.NotFound && code != fault.MandateRefused {
			return err
		}
		if err != nil || m.Until <= now {
			msgs = append(msgs, chain.GrantMandate(mandate.Mandate{Grantor: account, Key: device, Ops: mandate.Sign | mandate.Close, Until: now + mandateTime}))
		}
	}
	if len(msgs) == 0 {
		return nil
	}
	_, err = n.ledger.Send(ctx, signer, msgs...)
	return err
}

// refund ends leases of a purse: at once where the host consents.
func (p *purses) refund(ctx context.Context, account string, signer chain.Signer, leases []lease.Lease) error {
	buyer, end, err := p.buyer(account, p.b.n.keys.Spending().Key(), signer)
	if err != nil {
		return err
	}
	defer end()
	for _, l := range leases {
		pair, e := buyer.Lease(ctx, l.ID)
		if e == nil {
			e = pair.Refund(ctx)
		}
		if fault.CodeOf(e) != fault.LeaseClosed {
			err = errors.Join(err, e)
		}
	}
	return err
}

// of is the buying side of a purse that a link carries.
func (p *purses) of(by *client.Purse) (*market.Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.open[by.Account]; c != nil {
		return c, nil
	}
	if len(p.open) >= maxPurses {
		return nil, fault.New(fault.Busy, "%d links whose owner pays are open; they are until the node ends", len(p.open))
	}
	key := wallet.SpendingOf(by.Seed)
	c, _, err := p.buyer(by.Account, key.Key(), chain.PaidBy(key, by.Account))
	if err == nil {
		if p.open == nil {
			p.open = make(map[string]*market.Client)
		}
		p.open[by.Account] = c
	}
	return c, err
}

// buyer buys for a purse. What it has signed is nothing to remember: others sign
// with the key in a link too, so a host's newest statement is what counts.
func (p *purses) buyer(account string, key ed25519.PrivateKey, signer chain.Signer) (c *market.Client, end func(), err error) {
	n := p.b.n
	dir := filepath.Join(n.dir, "data", "purses")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	if dir, err = os.MkdirTemp(dir, "of-"); err != nil {
		return nil, nil, err
	}
	c, err = market.NewClient(market.ClientConfig{
		Dir: dir, Ledger: n.memory, Dialer: n.net, Account: account, Key: key, Signer: signer, Others: true,
		Ceilings: map[quote.Kind]quote.Prices{quote.Storage: n.terms.ceiling}, Log: n.log,
	})
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	return c, func() {
		if err := errors.Join(c.Close(), os.RemoveAll(dir)); err != nil {
			n.log.Warn("close a purse", "err", err)
		}
	}, nil
}

// close ends what is open, and removes what buyers have written.
func (p *purses) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, c := range p.open {
		errs = append(errs, c.Close())
	}
	p.open = nil
	return errors.Join(append(errs, os.RemoveAll(filepath.Join(p.b.n.dir, "data", "purses")))...)
}
