// Command hearth-ledger runs a ledger node: CometBFT, the Cosmos SDK and
// Hearth's own modules in one process. `hearth` starts it for a local cloud; the
// operator of a network's ledger node runs it by itself.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"hearth/core/fault"
	"hearth/internal/version"
	"hearth/ledger/node"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run carries out one command line and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cmd := root()
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	code := fault.CodeOf(err)
	fmt.Fprintln(stderr, "hearth-ledger:", err)
	entry, known := fault.Lookup(code)
	if !known || code == fault.Internal {
		return fault.ExitFailure
	}
	fmt.Fprintf(stderr, "%s: %s\n%s\n", code, entry.Cause, entry.Remedy)
	return entry.Exit
}

func root() *cobra.Command {
	var home string
	var verbose bool
	cmd := &cobra.Command{
		Use:           "hearth-ledger",
		Short:         "Run a ledger node of a Hearth network",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
	}
	cmd.PersistentFlags().StringVar(&home, "home", defaultHome(), "the node's `folder`")
	cmd.PersistentFlags().BoolVarP(&verbose, "verbose", "v", false, "tell more on standard error")
	at := func() node.Home { return node.Home(home) }
	log := func(c *cobra.Command) *slog.Logger {
		level := slog.LevelWarn
		if verbose {
			level = slog.LevelInfo
		}
		return slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
	}
	cmd.AddCommand(initCommand(at), startCommand(at, log), statusCommand(at), exportCommand(at), showCommand(at), versionCommand())
	return cmd
}

func defaultHome() string {
	dir, err := os.UserHomeDir()
	if err != nil {
		return "hearth-ledger"
	}
	return filepath.Join(dir, ".hearth-ledger")
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show version, commit and date of this build",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			v := version.Get()
			_, err := fmt.Fprintf(c.OutOrStdout(), "hearth-ledger %s\ncommit %s\ndate %s\n%s %s/%s\n", v.Version, v.Commit, v.Date, v.Go, v.OS, v.Arch)
			return err
		},
	}
}
