package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/core/address"
	"hearth/core/money"
	"hearth/internal/terminal"
	"hearth/sdk"
)

func (a *App) walletCommand(own []*cobra.Command) *cobra.Command {
	show := &cobra.Command{
		Use: "show", Short: "The account, its money, and what this device may spend", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Wallet, error) { return n.Wallet(ctx) }, walletRows)
		},
	}
	balance := &cobra.Command{
		Use: "balance", Short: "Where the money is", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Balance, error) {
				w, err := n.Wallet(ctx)
				return w.Balance, err
			}, func(b api.Balance) *terminal.Rows { return balanceRows(terminal.Card(), b) })
		},
	}
	return group("wallet", "Keys and money", append(own, show, balance,
		a.walletSendCommand(), a.walletFundCommand(), a.walletWithdrawCommand(), a.walletCapCommand())...)
}

func (a *App) walletSendCommand() *cobra.Command {
	return &cobra.Command{
		Use: "send ADDRESS AMOUNT", Short: "Pay another account", Args: cobra.ExactArgs(2),
		Example: "  hearth wallet send hearth1... '1.25 ember'",
		RunE: func(c *cobra.Command, args []string) error {
			if _, err := address.Bytes(args[0]); err != nil {
				return err
			}
			amount, err := money.Parse(args[1])
			if err != nil {
				return err
			}
			if err := a.Agree(fmt.Sprintf("Send %s to %s?", amount, args[0])); err != nil {
				return err
			}
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Tx, error) { return n.Send(ctx, "", args[0], amount) }, txRows)
		},
	}
}

func (a *App) walletFundCommand() *cobra.Command {
	return &cobra.Command{
		Use: "fund AMOUNT", Short: "Put money from the account into the purse", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			amount, err := money.Parse(args[0])
			if err != nil {
				return err
			}
			if err := a.sayFund(c.Context(), amount); err != nil {
				return err
			}
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Tx, error) { return n.Fund(ctx, "", amount) }, txRows)
		},
	}
}

func (a *App) walletWithdrawCommand() *cobra.Command {
	return &cobra.Command{
		Use: "withdraw [AMOUNT]", Short: "Take money out of the purse: all that is free, or an amount", Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var amount money.Amount
			if len(args) == 1 {
				var err error
				if amount, err = money.Parse(args[0]); err != nil {
					return err
				}
			}
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Tx, error) { return n.Withdraw(ctx, "", amount) }, txRows)
		},
	}
}

// Agree asks a person before money moves or secrets show; a program that calls
// has decided already.
func (a *App) Agree(question string) error {
	if a.Yes || !a.Term.Person() {
		return nil
	}
	return a.Term.Confirm(false, question, "yes")
}

func walletRows(w api.Wallet) *terminal.Rows {
	rows := terminal.Card().Add("Account", w.Account).Add("Device", w.Device).Add("Spending key", w.SpendingKey)
	if m := w.Mandate; m != nil {
		rows.Add("May", strings.Join(m.Operations, ", ")).
			Add("Within", fmt.Sprintf("%s, %s used", m.Cap, m.Used)).Add("Until", terminal.When(m.Until))
	} else {
		rows.Add("May", "nothing yet: the account has given this device no mandate")
	}
	return balanceRows(rows, w.Balance)
}

func balanceRows(rows *terminal.Rows, b api.Balance) *terminal.Rows {
	rows.Add("On the account", b.Account).Add("In the purse", b.Purse).Add("In leases", b.Leases).Add("Bond", b.Bond)
	if b.Runway != nil {
		rows.Add("Lasts", terminal.Span(b.Runway.Seconds))
	}
	return rows.Add("As of", terminal.When(b.AsOf))
}

func txRows(tx api.Tx) *terminal.Rows {
	return terminal.Card().Add("Transaction", tx.Hash).Add("Block", tx.Height).Add("Fee", tx.Fee)
}
