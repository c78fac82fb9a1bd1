// Package cli holds the subcommands that ask the node that runs: each reads its flags, asks
// the local API through package sdk, and shows the answer. It refuses whatever needs the
// node's own packages, so that a program of it alone is small and starts at once.
package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/adrg/xdg"
	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/core/fault"
	"hearth/internal/terminal"
	"hearth/internal/version"
	"hearth/sdk"
)

// An App is what the subcommands share: the global flags, and what comes of them.
type App struct {
	Dir            string // the node's folder
	API            string // address of the node's API; empty: its socket
	PassphraseFile string // of the keys; empty: ask
	Trust          string // HEIGHT:HASH of a recent block
	Yes            bool   // don't ask before what can't be undone
	Term           *terminal.Terminal

	format, color, tokenFile string
	json, quiet              bool

	started bool // the command line was well formed and its command has begun
}

// Own are the subcommands that need more than a node that answers, for the program that
// has what they need.
type Own struct {
	Top    []*cobra.Command // with their groups: Start to Admin
	Host   []*cobra.Command // of `hearth host`
	Wallet []*cobra.Command // of `hearth wallet`
}

// Groups of subcommands.
const (
	Start = "start"
	Use   = "use"
	Earn  = "earn"
	Money = "money"
	Admin = "admin"
)

// Has says whether the command line names one subcommand of root and not several, or none
// that it knows.
func Has(root *cobra.Command, args []string) bool {
	c, _, err := root.Find(args)
	return err == nil && !c.HasSubCommands()
}

// Run carries out one command line and returns its exit status.
func (a *App) Run(ctx context.Context, root *cobra.Command, args []string) int {
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var status exited
	if errors.As(err, &status) {
		return int(status)
	}
	var coded *fault.Error
	switch {
	case !a.started && !errors.As(err, &coded):
		err = fault.New(fault.BadRequest, "%w", err)
	case ctx.Err() != nil && fault.CodeOf(err) == fault.Internal:
		err = fault.New(fault.Interrupted, "%w", err)
	}
	return a.Fail(err)
}

// Fail shows an error and returns the exit status that stands for it.
func (a *App) Fail(err error) int {
	if a.Term == nil && a.settle() != nil {
		// The flags themselves were wrong: complain in the plainest way.
		a.Term, _ = terminal.New(terminal.Config{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Plain: true})
	}
	return a.Term.Fail(err)
}

// Root is the whole command line, with what the program adds.
func (a *App) Root(own Own) *cobra.Command {
	root := &cobra.Command{
		Use:           "hearth",
		Short:         "Rent out your computer, or use everyone else's",
		Version:       version.Get().Version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if err := a.settle(); err != nil {
				return err
			}
			a.started = true
			return nil
		},
		Example: `  hearth init --network NAME            an identity, and the words that restore it
  hearth up                             the node
  hearth put photo.jpg hearth://photos/  store a file on other people's computers
  hearth host join NAME --storage 50GB  rent out a disk
  hearth dev                            a whole network on this machine`,
	}
	f := root.PersistentFlags()
	f.StringVar(&a.Dir, "dir", Env("HEARTH_DIR", filepath.Join(xdg.DataHome, "hearth")), "the node's folder (HEARTH_DIR)")
	f.StringVarP(&a.format, "output", "o", "table", "table, json, yaml or name")
	f.BoolVar(&a.json, "json", false, "same as --output json")
	f.StringVar(&a.color, "color", "auto", "auto, always or never")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "results and errors only")
	f.BoolVarP(&a.Yes, "yes", "y", false, "don't ask before what can't be undone")
	f.StringVar(&a.API, "api", Env("HEARTH_API", ""), "http address of the node's API instead of its socket (HEARTH_API)")
	f.StringVar(&a.tokenFile, "token-file", Env("HEARTH_TOKEN_FILE", ""), "file with the token for --api; default api.token in --dir (HEARTH_TOKEN_FILE)")
	f.StringVar(&a.PassphraseFile, "passphrase-file", Env("HEARTH_PASSPHRASE_FILE", ""), "file with the passphrase of the keys, - for standard input (HEARTH_PASSPHRASE_FILE)")
	f.StringVar(&a.Trust, "trust", Env("HEARTH_TRUST", ""), "HEIGHT:HASH of a recent block, where all this machine knows is older than nine days; from hearth ledger status on another (HEARTH_TRUST)")
	root.AddGroup(
		&cobra.Group{ID: Start, Title: "Start here"},
		&cobra.Group{ID: Use, Title: "Use"},
		&cobra.Group{ID: Earn, Title: "Earn"},
		&cobra.Group{ID: Money, Title: "Money and trust"},
		&cobra.Group{ID: Admin, Title: "Admin"},
	)
	root.SetCompletionCommandGroupID(Admin)
	root.SetHelpCommandGroupID(Admin)
	root.CompletionOptions.HiddenDefaultCmd = false
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	root.AddCommand(own.Top...)
	add(Use, a.putCommand(), a.getCommand(), a.lsCommand(), a.statCommand(), a.rmCommand(), a.s3Command())
	add(Earn, a.hostCommand(own.Host))
	add(Use, a.stewardCommand())
	add(Use, a.instanceCommand(), a.psCommand("ps"), a.statsCommand(), a.logsCommand(), a.execCommand(), a.cpCommand(), a.sshCommand(), a.portForwardCommand(), a.sshConnectCommand())
	add(Use, a.shareCommand(), a.imageCommand(), a.fnCommand(), a.runCommand())
	add(Money, a.walletCommand(own.Wallet), a.marketCommand(), a.leaseCommand(), a.ledgerCommand())
	add(Admin, a.statusCommand(), a.explainCommand(), a.versionCommand())
	return root
}

// settle makes of the global flags what the commands need.
func (a *App) settle() (err error) {
	if a.json {
		a.format = terminal.FormatJSON
	}
	a.Term, err = terminal.New(terminal.Config{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Format: a.format, Color: a.color, Quiet: a.quiet,
		Plain: os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb",
	})
	return err
}

// Env is a variable of the environment, or what it is where there is none.
func Env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// group is a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, SuggestionsMinimumDistance: 2, Args: func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		text := fmt.Sprintf("unknown command %q for %q", args[0], c.CommandPath())
		if like := c.SuggestionsFor(args[0]); len(like) > 0 {
			text += "; did you mean " + strings.Join(like, ", ") + "?"
		}
		return errors.New(text)
	}, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(commands...)
	return c
}

// Client opens the node's API.
func (a *App) Client() (*sdk.Client, error) {
	if a.API == "" {
		return sdk.New(sdk.Config{Socket: api.Socket(a.Dir)})
	}
	path := a.tokenFile
	if path == "" {
		path = filepath.Join(a.Dir, "api.token")
	}
	token, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.Unauthorized, "read token: %w", err)
	}
	return sdk.New(sdk.Config{URL: a.API, Token: strings.TrimSpace(string(token))})
}

// Ask opens the node's API for one question and shows the answer.
func Ask[T any](a *App, c *cobra.Command, question func(context.Context, *sdk.Client) (T, error), rows func(T) *terminal.Rows) error {
	client, err := a.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	answer, err := question(c.Context(), client)
	if err != nil {
		return err
	}
	return a.Term.Show(answer, rows(answer))
}
