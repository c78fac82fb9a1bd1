package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/adrg/xdg"
	"github.com/spf13/cobra"

	"hearth/core/fault"
	"hearth/internal/terminal"
	"hearth/internal/version"
	"hearth/node/cloud"
	"hearth/sdk"
)

// app is what the subcommands share: the global flags, and what comes of them.
type app struct {
	dir, format, color string
	api, tokenFile     string
	passphraseFile     string
	trust              string
	json, quiet, yes   bool

	started bool // the command line was well formed and its command has begun
	term    *terminal.Terminal
}

// run carries out one command line and returns its exit status.
func run(ctx context.Context, args []string) int {
	a := &app{}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if a.term == nil && a.settle() != nil {
		// The flags themselves were wrong: complain in the plainest way.
		a.term, _ = terminal.New(terminal.Config{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Plain: true})
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
	return a.term.Fail(err)
}

func (a *app) root() *cobra.Command {
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
	f.StringVar(&a.dir, "dir", env("HEARTH_DIR", filepath.Join(xdg.DataHome, "hearth")), "the node's folder (HEARTH_DIR)")
	f.StringVarP(&a.format, "output", "o", "table", "table, json, yaml or name")
	f.BoolVar(&a.json, "json", false, "same as --output json")
	f.StringVar(&a.color, "color", "auto", "auto, always or never")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "results and errors only")
	f.BoolVarP(&a.yes, "yes", "y", false, "don't ask before what can't be undone")
	f.StringVar(&a.api, "api", env("HEARTH_API", ""), "http address of the node's API instead of its socket (HEARTH_API)")
	f.StringVar(&a.tokenFile, "token-file", env("HEARTH_TOKEN_FILE", ""), "file with the token for --api; default api.token in --dir (HEARTH_TOKEN_FILE)")
	f.StringVar(&a.passphraseFile, "passphrase-file", env("HEARTH_PASSPHRASE_FILE", ""), "file with the passphrase of the keys, - for standard input (HEARTH_PASSPHRASE_FILE)")
	f.StringVar(&a.trust, "trust", env("HEARTH_TRUST", ""), "HEIGHT:HASH of a recent block, where all this machine knows is older than nine days; from hearth ledger status on another (HEARTH_TRUST)")
	root.AddGroup(
		&cobra.Group{ID: "start", Title: "Start here"},
		&cobra.Group{ID: "use", Title: "Use"},
		&cobra.Group{ID: "earn", Title: "Earn"},
		&cobra.Group{ID: "money", Title: "Money and trust"},
		&cobra.Group{ID: "admin", Title: "Admin"},
	)
	root.SetCompletionCommandGroupID("admin")
	root.SetHelpCommandGroupID("admin")
	root.CompletionOptions.HiddenDefaultCmd = false
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("start", a.initCommand(), a.restoreCommand(), a.upCommand(), a.devCommand(), a.demoCommand())
	add("use", a.putCommand(), a.getCommand(), a.lsCommand(), a.statCommand(), a.rmCommand(), a.s3Command())
	add("earn", a.hostCommand())
	add("use", a.stewardCommand())
	add("use", a.instanceCommand(), a.psCommand("ps"), a.statsCommand(), a.logsCommand(), a.execCommand(), a.cpCommand(), a.sshCommand(), a.portForwardCommand(), a.sshConnectCommand())
	add("use", a.shareCommand(), a.imageCommand(), a.fnCommand(), a.runCommand())
	add("money", a.walletCommand(), a.marketCommand(), a.leaseCommand(), a.ledgerCommand())
	add("admin", a.statusCommand(), a.fsckCommand(), a.explainCommand(), a.versionCommand(), a.openapiCommand())
	return root
}

// settle makes of the global flags what the commands need.
func (a *app) settle() (err error) {
	if a.json {
		a.format = terminal.FormatJSON
	}
	a.term, err = terminal.New(terminal.Config{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Format: a.format, Color: a.color, Quiet: a.quiet,
		Plain: os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb",
	})
	return err
}

func env(name, otherwise string) string {
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

// client opens the node's API.
func (a *app) client() (*sdk.Client, error) {
	if a.api == "" {
		return sdk.New(sdk.Config{Socket: cloud.Socket(a.dir)})
	}
	path := a.tokenFile
	if path == "" {
		path = filepath.Join(a.dir, "api.token")
	}
	token, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.Unauthorized, "read token: %w", err)
	}
	return sdk.New(sdk.Config{URL: a.api, Token: strings.TrimSpace(string(token))})
}

// ask opens the node's API for one question and shows the answer.
func ask[T any](a *app, c *cobra.Command, question func(context.Context, *sdk.Client) (T, error), rows func(T) *terminal.Rows) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	defer client.Close()
	answer, err := question(c.Context(), client)
	if err != nil {
		return err
	}
	return a.term.Show(answer, rows(answer))
}
