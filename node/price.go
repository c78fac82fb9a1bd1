package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"hearth/api"
	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/internal/durable"
	"hearth/market"
	"hearth/storage/client"
)

// Price works out what storing so many bytes would cost, on the hosts that would be
// chosen now. It asks hosts for their prices, as storing does, and opens nothing.
func (r marketRole) Price(ctx context.Context, bytes int64, class string) (api.Price, error) {
	b := r.n.buys
	if b == nil {
		return api.Price{}, fault.New(fault.BadRequest, "price of %d bytes: this node has no client role", bytes)
	}
	code := r.n.terms.class
	if class != "" {
		var err error
		if code, err = erasure.Parse(class); err != nil {
			return api.Price{}, err
		}
	}
	each := uint64((bytes + int64(code.K) - 1) / int64(code.K)) // what one host would hold
	offers, err := b.market.Offers(ctx, quote.Storage, false)
	if err != nil {
		return api.Price{}, err
	}
	rules, err := r.n.ledger.HostRules(ctx)
	if err != nil {
		return api.Price{}, err
	}
	choice, err := storageMarket{b}.choose(ctx, offers, client.Need{Class: code, Want: code.N, Bytes: each}, rules)
	if err != nil {
		return api.Price{}, err
	}
	chosen := map[string]bool{}
	for _, h := range choice.Hosts {
		chosen[h] = true
	}
	month, once := cost(offers, chosen, each)
	now, spending, err := b.spending(ctx)
	if err != nil {
		return api.Price{}, err
	}
	return api.Price{
		Bytes: bytes, Class: code.String(), Month: api.MoneyOf(month), Once: api.MoneyOf(once),
		Then: api.MoneyOf(money.AddCap(now, month)), Spending: spending,
	}, nil
}

// spending is what the account spends in 30 days now, and with it what it may.
func (b *buying) spending(ctx context.Context) (now money.Amount, s api.Spending, err error) {
	if now, err = b.spends(ctx); err != nil {
		return 0, s, err
	}
	limit, left, err := b.n.mayStillSpend(ctx)
	if err != nil {
		return 0, s, err
	}
	agreed, err := b.n.agreed()
	if err != nil {
		return 0, s, err
	}
	return now, api.Spending{Now: api.MoneyOf(now), Agreed: api.MoneyOf(agreed), Cap: api.MoneyOf(limit), Left: api.MoneyOf(left)}, nil
}

// cost adds up what chosen hosts ask for so many bytes each: a month of keeping them,
// and receiving them once.
func cost(offers []market.Offer, chosen map[string]bool, each uint64) (keep, send money.Amount) {
	for _, o := range offers {
		if !chosen[o.Host.Address] {
			continue
		}
		keep = money.AddCap(keep, o.Quote.Prices.Rate(quote.Units{each}).OverUp(month))
		send = money.AddCap(send, o.Quote.Prices.Owed(quote.Use{In: each}))
	}
	return keep, send
}

// spends is what all leases cost in 30 days at the present rate.
func (b *buying) spends(ctx context.Context) (money.Amount, error) {
	leases, err := b.n.ledger.Leases(ctx, b.n.address(), "")
	if err != nil {
		return 0, err
	}
	var rate money.Rate
	for _, l := range leases {
		if l.State != lease.Open && l.State != lease.Low {
			continue
		}
		if newest := b.market.Newest(l.ID); newest.Seq > l.Seq {
			rate += l.Prices.Rate(newest.Units)
		} else {
			rate += l.Rate
		}
	}
	return rate.OverUp(month), nil
}

// mayStillSpend is this device's cap, and what is left of it in the present window.
func (n *Node) mayStillSpend(ctx context.Context) (limit, left money.Amount, err error) {
	m, err := n.ledger.Mandate(ctx, n.address(), [32]byte(n.keys.Spending().Public()))
	if fault.CodeOf(err) == fault.NotFound {
		limit := n.buys.account.limit()
		return limit, limit, nil // it is granted with the first lease
	}
	if err != nil {
		return 0, 0, err
	}
	rules, err := n.ledger.Rules(ctx)
	if err != nil {
		return 0, 0, err
	}
	return m.Cap, m.Left(time.Now().Unix(), rules.MandateWindow), nil
}

// agreement is what the owner has agreed to on this device.
type agreement struct {
	Version int          `json:"version"`
	Month   money.Amount `json:"month"` // uember in 30 days
}

const agreementVersion = 1

func (n *Node) agreementPath() string { return filepath.Join(n.dir, "data", "agreed") }

func (n *Node) agreed() (money.Amount, error) {
	b, err := os.ReadFile(n.agreementPath())
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read what was agreed to: %w", err)
	}
	var a agreement
	if err := json.Unmarshal(b, &a); err != nil {
		return 0, nil // it is asked for again
	}
	if a.Version != agreementVersion {
		return 0, fault.New(fault.UnknownFormat, "read %s: version %d", n.agreementPath(), a.Version)
	}
	return a.Month, nil
}

// Agree remembers up to what a month the owner agrees to without being asked again.
func (r marketRole) Agree(_ context.Context, month money.Amount) error {
	if _, err := r.n.agreed(); err != nil {
		return err
	}
	b, err := json.Marshal(agreement{agreementVersion, month})
	if err == nil {
		err = durable.Write(r.n.agreementPath(), b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("remember what was agreed to: %w", err)
	}
	return nil
}

// SetCap changes this device's mandate on the ledger, then the setting it is renewed by.
func (r walletRole) SetCap(ctx context.Context, limit money.Amount) (api.Wallet, error) {
	b := r.n.buys
	if b == nil {
		return api.Wallet{}, fault.New(fault.BadRequest, "set the cap: this node has no client role, so its key spends nothing")
	}
	settings, err := LoadSettings(r.n.dir)
	if err != nil {
		return api.Wallet{}, err
	}
	if err := b.account.setLimit(ctx, limit); err != nil {
		return api.Wallet{}, fmt.Errorf("set the cap: %w", err)
	}
	settings.Client.Cap = limit.String()
	if err := settings.Save(r.n.dir); err != nil {
		return api.Wallet{}, err
	}
	return r.Show(ctx)
}

func (a *account) limit() money.Amount {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.terms.cap
}

// setLimit has the mandate carry another cap. The ledger knows it when this returns.
func (a *account) setLimit(ctx context.Context, limit money.Amount) error {
	a.mu.Lock()
	old := a.terms.cap
	a.terms.cap, a.ready = limit, false
	a.mu.Unlock()
	err := a.settle(ctx)
	if err != nil {
		a.mu.Lock()
		a.terms.cap = old
		a.mu.Unlock()
	}
	return err
}
