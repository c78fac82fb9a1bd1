package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/internal/terminal"
	"hearth/sdk"
)

// priceFlag adds --max-price to a command that spends.
func priceFlag(c *cobra.Command, to *string) {
	c.Flags().StringVar(to, "max-price", "", "refuse what costs more in 30 days than this, like '0.5 ember'")
}

// inlineBelow is the size below which an object lies in the list of files itself and
// costs nothing of its own.
const inlineBelow = 4 << 10

// approve shows what storing so many bytes costs in 30 days, and what the cap is,
// before anything is spent. More than most is refused. A person is asked when the
// month's price passes what was agreed to before; a program has decided already.
// bytes < 0: not known.
func (a *App) approve(ctx context.Context, client *sdk.Client, bytes int64, class, most string) error {
	if _, err := notAbove(api.MoneyOf(0), most); err != nil {
		return err
	}
	if most != "" && bytes < 0 {
		return fault.New(fault.BadRequest, "price of standard input: its size isn't known before it ends, so --max-price can't hold")
	}
	if bytes == 0 {
		return nil
	}
	priced := bytes
	if bytes < 0 {
		priced = 1 << 30
	}
	p, err := client.Price(ctx, priced, class)
	if err != nil && most == "" {
		return nil // what is wrong is told by the command itself
	}
	if err != nil {
		return err
	}
	a.sayPrice(p, bytes < 0)
	if within, err := notAbove(p.Month, most); err != nil || within {
		return err
	}
	if a.Yes || !a.Term.Person() {
		return nil
	}
	return a.agreeMonth(ctx, client, p.Then, p.Spending)
}

// notAbove refuses a month's price above --max-price. Without that flag nothing is
// refused, and within is false: whether it is agreed to isn't known.
func notAbove(month api.Money, most string) (within bool, err error) {
	if most == "" {
		return false, nil
	}
	limit, err := money.Parse(most)
	if err != nil {
		return false, fault.New(fault.BadRequest, "read --max-price: %w", err)
	}
	v, err := month.Value()
	if err == nil && v > limit {
		err = fault.New(fault.PriceTooHigh, "it would cost up to %s in 30 days, --max-price is %s; nothing was spent", month, limit)
	}
	return err == nil, err
}

// sayPrice shows a price before it is paid.
func (a *App) sayPrice(p api.Price, perGiB bool) {
	what := terminal.Size(p.Bytes)
	if perGiB {
		what = "each GiB"
	}
	a.Term.Say("%s at %s costs about %s in 30 days, and %s once to store", what, p.Class, p.Month, p.Once)
	a.saySpending(p.Spending)
}

// saySpending shows what the account spends and may spend.
func (a *App) saySpending(s api.Spending) {
	a.Term.Say("this account pays %s in 30 days for what it has; this device's cap is %s, %s of it are left", s.Now, s.Cap, s.Left)
}

// agreeMonth asks when the account would pay more in a month than was agreed to.
func (a *App) agreeMonth(ctx context.Context, client *sdk.Client, with api.Money, s api.Spending) error {
	then, err := with.Value()
	if err != nil {
		return err
	}
	agreed, err := s.Agreed.Value()
	if err != nil || then <= agreed {
		return err
	}
	next := money.AddCap(then, then)
	if most, err := s.Cap.Value(); err == nil && most >= then {
		next = min(next, most)
	}
	question := fmt.Sprintf("With it this account pays about %s in 30 days. Go on, and up to %s without being asked again?", with, next)
	if err := a.Term.Confirm(false, question, "yes"); err != nil {
		return err
	}
	return client.Agree(ctx, next)
}

func (a *App) walletCapCommand() *cobra.Command {
	return &cobra.Command{
		Use: "cap [AMOUNT]", Short: "What this device may put into leases in 30 days: show it, or set it", Args: cobra.MaximumNArgs(1),
		Long: `Shows or sets the cap in this device's mandate, which the ledger keeps to: no lease is
opened, filled up or refilled past it, whatever this program does. It counts what goes
into leases in 30 days; what hosts don't earn of it returns.`,
		Example: "  hearth wallet cap '20 ember'",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Wallet, error) { return n.Wallet(ctx) }, capRows)
			}
			amount, err := money.Parse(args[0])
			if err != nil {
				return err
			}
			if err := a.Agree(fmt.Sprintf("Let this device put up to %s into leases in 30 days?", amount)); err != nil {
				return err
			}
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Wallet, error) { return n.SetCap(ctx, amount) }, capRows)
		},
	}
}

func capRows(w api.Wallet) *terminal.Rows {
	rows := terminal.Card().Add("Account", w.Account)
	if w.Mandate == nil {
		return rows.Add("Cap", "none yet: the account has given this device no mandate")
	}
	return rows.Add("Cap in 30 days", w.Mandate.Cap).Add("Used of it", w.Mandate.Used).Add("Until", terminal.When(w.Mandate.Until))
}

// sayFund shows what the purse is for before money goes into it, and asks.
func (a *App) sayFund(ctx context.Context, amount money.Amount) error {
	client, err := a.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	w, err := client.Wallet(ctx)
	if err != nil {
		return err
	}
	limit := "this device has no mandate yet"
	if w.Mandate != nil {
		limit = "this device may put " + w.Mandate.Cap.String() + " into leases in 30 days"
	}
	lasts := ""
	if w.Balance.Runway != nil {
		lasts = ", which lasts " + terminal.Span(w.Balance.Runway.Seconds) + " with what is in leases"
	}
	a.Term.Say("the purse holds %s%s; %s", w.Balance.Purse, lasts, limit)
	return a.Agree(fmt.Sprintf("Put %s into the purse?", amount))
}
