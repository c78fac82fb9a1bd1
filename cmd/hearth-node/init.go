package main

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"strings"

	"github.com/spf13/cobra"

	"hearth/cmd/internal/cli"
	"hearth/core/fault"
	"hearth/internal/terminal"
	"hearth/node"
	"hearth/wallet"
)

func (a *app) initCommand() *cobra.Command {
	var phraseFile, networkName string
	c := &cobra.Command{
		Use:   "init",
		Short: "Make an identity",
		Long: `Makes an identity in the node's folder and shows its recovery phrase once. Whoever
has the phrase and the network's name has the money.

With --phrase-file it makes the node of a phrase that exists instead, without its
files: ` + "`hearth restore`" + ` brings those back as well. A phrase whose account the ledger
doesn't know is an error, and never an empty node.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.init(c, phraseFile, networkName) },
	}
	c.Flags().StringVar(&phraseFile, "phrase-file", "", "restore the phrase in this file, - for standard input")
	c.Flags().StringVar(&networkName, "network", cli.Env("HEARTH_NETWORK", ""), "the network's whole name, id@url[,url] (HEARTH_NETWORK)")
	return c
}

type identityShown struct {
	Account string `json:"account"`
	Device  string `json:"device,omitempty"`
	Network string `json:"network,omitempty"`
	Phrase  string `json:"phrase,omitempty"` // of a new identity: it is shown this once
}

func (a *app) init(c *cobra.Command, phraseFile, networkName string) (err error) {
	if networkName == "" {
		if networkName, err = a.Term.Ask("Name of the network", "--network"); err != nil {
			return err
		}
	}
	wanted := node.InitConfig{Dir: a.Dir, Network: networkName, Settings: node.Default(), Trust: a.Trust}
	if phraseFile != "" {
		words, err := a.ReadSecret(phraseFile)
		if err != nil {
			return err
		}
		if wanted.Phrase, err = wallet.ParsePhrase(string(words)); err != nil {
			return err
		}
	}
	if wanted.Passphrase, err = a.newPassphrase(); err != nil {
		return err
	}
	id, err := node.Init(c.Context(), wanted)
	if err != nil {
		return err
	}
	if phraseFile != "" {
		a.Term.Say("the files of this account come along when the node runs for a while; `hearth restore` fetches them at once")
	}
	return a.showIdentity(id, phraseFile == "")
}

// showIdentity shows what was made; the words only when they are new.
func (a *app) showIdentity(id wallet.Identity, fresh bool) error {
	keys, err := wallet.Derive(id.Phrase, id.Device)
	if err != nil {
		return err
	}
	shown := identityShown{Account: keys.Account().Address(), Device: fmt.Sprintf("%016x", id.Device), Network: id.Network}
	if !fresh {
		rows := terminal.Card().Add("Account", shown.Account).Add("Device", shown.Device).Add("Network", shown.Network)
		return a.Term.Show(shown, rows)
	}
	if !a.Term.Table() {
		shown.Phrase = id.Phrase.Reveal()
		return a.Term.Show(shown, terminal.Card().Add(shown.Account))
	}
	sheet, err := wallet.Sheet(id)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprint(a.Term.Out(), sheet); err != nil {
		return err
	}
	if !a.Term.Person() {
		return nil
	}
	return a.checkWritten(strings.Fields(id.Phrase.Reveal()))
}

// checkWritten asks for three of the words, so that a phrase which nobody wrote
// down is noticed while it is still on the screen.
func (a *app) checkWritten(words []string) error {
	for range 3 {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(words))))
		if err != nil {
			return err
		}
		i := int(n.Int64())
		got, err := a.Term.Ask(fmt.Sprintf("Write the sheet down. Word %d is", i+1), "--output json")
		if err != nil {
			return err
		}
		if !strings.EqualFold(got, words[i]) {
			return fault.New(fault.BadPhrase, "check the sheet: word %d is another one; the identity is made, `hearth wallet phrase` shows the words again", i+1)
		}
	}
	return nil
}
