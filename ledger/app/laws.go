package app

import (
	"encoding/json"
	"fmt"
	"sync"

	abci "github.com/cometbft/cometbft/abci/types"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/quote"
	hoststypes "hearth/ledger/hosts/types"
	markettypes "hearth/ledger/market/types"
)

// Laws says which law of the bargain doesn't hold, if any: the market's account
// holds exactly what free purses, leases and open challenges say, the hosts'
// account what bonds and unclaimed halves of lost ones say, no lease has paid out
// more than it has, every commission is a tenth of what was paid, hosts count the
// leases and rates that there are, and storage leases weigh what they earn. It
// reads the whole state, so it is for tests and local clouds.
func (a *App) Laws(ctx sdk.Context) error {
	fees, unclaimed, err := a.proofs.Owed(ctx)
	if err != nil {
		return err
	}
	owed, err := a.market.Owed(ctx)
	if err != nil {
		return err
	}
	if err := a.holds(ctx, markettypes.ModuleName, money.AddCap(owed, fees)); err != nil {
		return err
	}
	if owed, err = a.hosts.Owed(ctx); err != nil {
		return err
	}
	if err := a.holds(ctx, hoststypes.ModuleName, money.AddCap(owed, unclaimed)); err != nil {
		return err
	}
	return a.countsAgree(ctx)
}

func (a *App) holds(ctx sdk.Context, module string, owed money.Amount) error {
	has := a.bank.GetAllBalances(ctx, a.accounts.GetModuleAddress(module))
	if !has.IsZero() && (len(has) != 1 || has[0].Denom != Denom) || !has.AmountOf(Denom).IsUint64() || has.AmountOf(Denom).Uint64() != uint64(owed) {
		return fmt.Errorf("law of the %s account: it holds %q and owes %d", module, has, owed)
	}
	return nil
}

func (a *App) countsAgree(ctx sdk.Context) error {
	type count struct {
		leases         uint64
		storage, other money.Rate
	}
	counts := map[string]count{}
	pairs := map[string]uint64{}
	weights, err := a.proofs.Weights(ctx)
	if err != nil {
		return err
	}
	err = a.market.Walk(ctx, func(l lease.Lease) error {
		if w := weights[l.ID]; w.Rate != uint64(l.Weight()) || w.Rate > 0 && w.Host != l.Host {
			return fmt.Errorf("law of weights: lease %d of host %s weighs %d, there %d of host %s is drawn by", l.ID, l.Host, l.Weight(), w.Rate, w.Host)
		}
		delete(weights, l.ID)
		if l.State == lease.Closed {
			return nil
		}
		c := counts[l.Host]
		c.leases++
		if l.Kind == quote.Storage {
			c.storage += l.Rate
		} else {
			c.other += l.Rate
		}
		counts[l.Host] = c
		pair := fmt.Sprint(l.Client, l.Host, l.Kind)
		if other := pairs[pair]; other != 0 {
			return fmt.Errorf("law of one bargain: leases %d and %d are of one client, host and kind", other, l.ID)
		}
		pairs[pair] = l.ID
		return nil
	})
	if err != nil {
		return err
	}
	err2 := a.hosts.Walk(ctx, func(h hoststypes.Host) bool {
		c := counts[h.Address]
		delete(counts, h.Address)
		if h.Leases != c.leases || h.StorageRate != uint64(c.storage) || h.OtherRate != uint64(c.other) {
			err = fmt.Errorf("law of counts: host %s says %d leases at %d and %d, there are %+v", h.Address, h.Leases, h.StorageRate, h.OtherRate, c)
		}
		return err != nil
	})
	switch {
	case err != nil:
		return err
	case err2 != nil:
		return err2
	case len(weights) > 0:
		return fmt.Errorf("law of weights: %d leases are drawn that aren't there", len(weights))
	case len(counts) > 0:
		return fmt.Errorf("law of counts: leases of %d hosts that aren't there", len(counts))
	}
	return nil
}

const lawsPath = "/hearth/laws"

// A LawReport is the answer to a query of /hearth/laws, as JSON.
type LawReport struct {
	Checked bool   `json:"checked"`          // whether this node checks the laws
	Height  int64  `json:"height"`           // the last block checked, or the first that broke a law
	Broken  string `json:"broken,omitempty"` // the law that was broken
}

// lawBook keeps how the laws stand. The first breach stays.
type lawBook struct {
	mu     sync.Mutex
	report LawReport
}

// Report tells how the laws stand.
func (a *App) Report() LawReport {
	if a.laws == nil {
		return LawReport{}
	}
	a.laws.mu.Lock()
	defer a.laws.mu.Unlock()
	return a.laws.report
}

func (a *App) endBlock(ctx sdk.Context) (sdk.EndBlock, error) {
	end, err := a.modules.EndBlock(ctx)
	if err != nil || a.laws == nil {
		return end, err
	}
	broken := a.Laws(ctx)
	a.laws.mu.Lock()
	defer a.laws.mu.Unlock()
	if a.laws.report.Broken != "" {
		return end, nil
	}
	a.laws.report = LawReport{Checked: true, Height: ctx.BlockHeight()}
	if broken != nil {
		a.laws.report.Broken = broken.Error()
		a.Logger().Error("a law is broken", "height", ctx.BlockHeight(), "err", broken)
	}
	return end, nil
}

func (a *App) queryLaws() *abci.ResponseQuery {
	report := a.Report()
	value, err := json.Marshal(report)
	if err != nil {
		return &abci.ResponseQuery{Code: 1, Log: err.Error()}
	}
	return &abci.ResponseQuery{Value: value, Height: report.Height}
}
