package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"hearth/internal/terminal"
	"hearth/node"
	"hearth/wallet"
)

func (a *app) walletPhraseCommand() *cobra.Command {
	return &cobra.Command{
		Use: "phrase", Short: "Show the recovery sheet, words included", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := a.Agree("Show the words that give away money and files?"); err != nil {
				return err
			}
			passphrase, err := a.passphrase()
			if err != nil {
				return err
			}
			id, err := node.OpenIdentity(a.Dir, passphrase)
			if err != nil {
				return err
			}
			sheet, err := wallet.Sheet(id)
			if err != nil {
				return err
			}
			if a.Term.Table() {
				_, err = fmt.Fprint(a.Term.Out(), sheet)
				return err
			}
			return a.showIdentity(id, true)
		},
	}
}

func (a *app) walletNewCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "new",
		Short: "Words for a new account, which are kept nowhere",
		Long: `Prints a new recovery phrase, and the address of its account. Nothing is written: it is
for the founder of a network, whose genesis names accounts before there is a ledger.
Everybody else's words come from ` + "`hearth init`" + `.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			phrase, err := wallet.NewPhrase()
			if err != nil {
				return err
			}
			keys, err := wallet.Derive(phrase, 0)
			if err != nil {
				return err
			}
			if !a.Term.Table() {
				shown := identityShown{Account: keys.Account().Address(), Phrase: phrase.Reveal()}
				return a.Term.Show(shown, terminal.Card().Add(shown.Account))
			}
			a.Term.Say("account %s", keys.Account().Address())
			_, err = fmt.Fprintln(a.Term.Out(), phrase.Reveal())
			return err
		},
	}
}
