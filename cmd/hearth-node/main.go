// Command hearth-node is the node, and the subcommands that need its packages: making an
// identity, joining, measuring, moving a host, a whole network for trying. People call it
// as hearth, which hands such command lines over; it knows all the others too.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"hearth/cmd/internal/cli"
)

// app is the command line with what this program adds.
type app struct{ *cli.App }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	a := &app{&cli.App{}}
	status := a.Run(ctx, a.root(), os.Args[1:])
	stop()
	os.Exit(status)
}

func (a *app) root() *cobra.Command {
	in := func(group string, commands ...*cobra.Command) []*cobra.Command {
		for _, c := range commands {
			c.GroupID = group
		}
		return commands
	}
	return a.Root(cli.Own{
		Top: append(in(cli.Start, a.initCommand(), a.restoreCommand(), a.upCommand(), a.devCommand(), a.demoCommand()),
			in(cli.Admin, a.fsckCommand(), a.openapiCommand())...),
		Host: []*cobra.Command{
			a.hostJoinCommand(), a.hostMeasureCommand(), a.hostLimitsCommand(), a.hostPauseCommand(), a.hostResumeCommand(),
			a.hostMoveCommand(), a.hostExportCommand(), a.hostImportCommand(),
		},
		Wallet: []*cobra.Command{a.walletPhraseCommand(), a.walletNewCommand()},
	})
}
