package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"hearth/cmd/internal/cli"
	"hearth/internal/terminal"
	"hearth/node"
	"hearth/wallet"
)

func (a *app) restoreCommand() *cobra.Command {
	var phraseFile, networkName string
	c := &cobra.Command{
		Use:   "restore",
		Short: "Bring everything back from the recovery sheet",
		Long: `Makes the node's folder anew from the recovery sheet: the twelve words and the
network's name. Identity and money come from the ledger, the list of files from the
hosts that keep them; the folder must be empty. At least half of the hosts with a
lease of the account must answer, and none is believed that shows less than the
ledger knows. What is broken off goes on with the same command.

The machine gets a device number and keys of its own. An old machine of the same
account may go on beside it: both see each other's files.`,
		Example: `  hearth restore --network hearth-0123456789abcdef0123@https://ledger.example
  hearth restore --network NAME --phrase-file words.txt --dir /srv/hearth`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.restore(c, phraseFile, networkName) },
	}
	c.Flags().StringVar(&phraseFile, "phrase-file", "", "read the words from this file, - for standard input; without it they are asked for")
	c.Flags().StringVar(&networkName, "network", cli.Env("HEARTH_NETWORK", ""), "the network's whole name, id@url[,url] (HEARTH_NETWORK)")
	return c
}

// restoredShown is what came back.
type restoredShown struct {
	Account  string        `json:"account"`
	Device   string        `json:"device,omitempty"`
	Network  string        `json:"network,omitempty"`
	Balance  string        `json:"balance,omitempty"`
	Purse    string        `json:"purse,omitempty"`
	Leases   int           `json:"leases"`
	Answered int           `json:"hosts_answered"`
	Logs     []restoredLog `json:"logs"`
	Buckets  int           `json:"buckets"`
	Objects  int           `json:"objects"`
	Bytes    int64         `json:"bytes"`
	Kept     string        `json:"kept,omitempty"` // the list of files as it was before
}

type restoredLog struct {
	Device  string `json:"device"`
	Number  uint64 `json:"number"`
	Written string `json:"written"`
	Bytes   int64  `json:"bytes"`
	Problem string `json:"problem,omitempty"`
}

func (a *app) restore(c *cobra.Command, phraseFile, networkName string) (err error) {
	if networkName == "" {
		if networkName, err = a.Term.Ask("Name of the network", "--network"); err != nil {
			return err
		}
	}
	var words []byte
	if phraseFile != "" {
		words, err = a.ReadSecret(phraseFile)
	} else {
		words, err = a.Term.AskSecret("The twelve words", "--phrase-file")
	}
	if err != nil {
		return err
	}
	wanted := node.RestoreConfig{InitConfig: node.InitConfig{Dir: a.Dir, Network: networkName, Settings: node.Default(), Trust: a.Trust}, Tell: a.Term.Say}
	if wanted.Phrase, err = wallet.ParsePhrase(string(words)); err != nil {
		return err
	}
	if wanted.Passphrase, err = a.newPassphrase(); err != nil {
		return err
	}
	if wanted.Log, err = a.logger("warn"); err != nil {
		return err
	}
	r, err := node.Restore(c.Context(), wanted)
	if err != nil {
		return err
	}
	keys, err := wallet.Derive(r.Identity.Phrase, r.Identity.Device)
	if err != nil {
		return err
	}
	shown := restoredFrom(r)
	shown.Account, shown.Device, shown.Network = keys.Account().Address(), fmt.Sprintf("%016x", r.Identity.Device), r.Identity.Network
	shown.Balance, shown.Purse = r.Balance.String(), r.Purse.String()
	if len(r.Found.Logs) == 0 {
		a.Term.Say("no host has a log of this account: nothing was stored, or none of its leases is left")
	}
	return a.Term.Show(shown, shown.rows())
}

func restoredFrom(r node.Restored) restoredShown {
	out := restoredShown{
		Leases: r.Found.Hosts, Answered: r.Found.Answered, Logs: []restoredLog{}, Buckets: r.Buckets, Objects: r.Objects, Bytes: r.Bytes,
	}
	for _, l := range r.Found.Logs {
		one := restoredLog{Device: fmt.Sprintf("%016x", l.Pointer.Device), Number: l.Pointer.Seq, Written: when(l.Pointer.Time), Bytes: l.Bytes}
		if l.Err != nil {
			one.Problem = "another device's snapshot holds it: " + l.Err.Error()
		}
		out.Logs = append(out.Logs, one)
	}
	return out
}

func (r restoredShown) rows() *terminal.Rows {
	rows := terminal.Card()
	if r.Account != "" {
		rows.Add("Account", r.Account).Add("Device", r.Device).Add("Network", r.Network).Add("Balance", r.Balance).Add("Purse", r.Purse)
	}
	rows.Add("Hosts", fmt.Sprintf("%d of %d with a lease answered", r.Answered, r.Leases))
	for _, l := range r.Logs {
		rows.Add("Log", fmt.Sprintf("of device %s, written %s (%d), %s %s", l.Device, l.Written, l.Number, terminal.Size(l.Bytes), l.Problem))
	}
	rows.Add("Files", fmt.Sprintf("%d versions in %d buckets, %s", r.Objects, r.Buckets, terminal.Size(r.Bytes)))
	if r.Kept != "" {
		rows.Add("Old list", r.Kept)
	}
	return rows
}
