package main

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/cmd/internal/cli"
	"hearth/core/fault"
	"hearth/node"
	"hearth/p2p"
)

func (a *app) upCommand() *cobra.Command {
	var level string
	c := &cobra.Command{
		Use:   "up",
		Short: "Run the node",
		Long: `Runs the node of the folder until it is stopped: the roles that its config.toml
names, and the local API on api.sock. The log goes to standard error, as text on
a terminal and as JSON elsewhere.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.up(c, level) },
	}
	c.Flags().StringVar(&level, "log-level", cli.Env("HEARTH_LOG_LEVEL", "info"), "debug, info, warn or error (HEARTH_LOG_LEVEL)")
	return c
}

// up runs the node until the command's context ends, which is no error.
func (a *app) up(c *cobra.Command, level string) error {
	log, err := a.logger(level)
	if err != nil {
		return err
	}
	passphrase, err := a.passphrase()
	if err != nil {
		return err
	}
	return a.serve(c.Context(), log, passphrase, func(context.Context) error {
		a.Term.Say("ready: the API is at %s", api.Socket(a.Dir))
		return nil
	})
}

// rubbish is how much may pile up before Go collects it, in percent of what is in
// use. Slabs and the list of files lie outside of it, and all together shall stay
// below 300 MB. A limit in bytes would have a node with thousands of peers collect
// without end.
const rubbish = 50

// serve runs the node, and ready beside it once its API answers.
func (a *app) serve(ctx context.Context, log *slog.Logger, passphrase []byte, ready func(context.Context) error) error {
	if os.Getenv("GOGC") == "" { // who sets it knows better
		debug.SetGCPercent(rubbish)
	}
	ctx, cancel := context.WithCancel(ctx)
	var beside sync.WaitGroup
	defer beside.Wait()
	defer cancel()
	return node.Run(ctx, node.Config{
		Dir: a.Dir, Passphrase: passphrase, Trust: a.Trust, Log: log,
		Ready: func() {
			beside.Go(func() {
				if err := ready(ctx); err != nil && ctx.Err() == nil {
					log.Warn("tell that the node is ready", "err", err)
				}
			})
		},
	})
}

func (a *app) logger(level string) (*slog.Logger, error) {
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		return nil, fault.New(fault.BadRequest, "log level %q: it is debug, info, warn or error", level)
	}
	options := &slog.HandlerOptions{Level: least}
	var to slog.Handler = slog.NewJSONHandler(a.Term.Err(), options)
	if a.Term.Bars() {
		to = slog.NewTextHandler(a.Term.Err(), options)
	}
	p2p.LogTo(to)
	return slog.New(to), nil
}
