// Command hearth is the command line. It carries out what a node that runs is asked
// for, and is small so that this takes no time; all else it hands over to hearth-node,
// which lies beside it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"hearth/cmd/internal/cli"
	"hearth/compute/wasm"
	"hearth/internal/program"
)

func main() {
	args := os.Args[1:]
	if len(args) == 1 && args[0] == wasm.WorkerCommand {
		if err := wasm.Work(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	a := &cli.App{}
	root := a.Root(cli.Own{})
	if !cli.Has(root, args) {
		err := handOver(os.Args)
		root.FParseErrWhitelist.UnknownFlags = true // they are hearth-node's
		_ = root.ParseFlags(args)                   // which may say how errors are shown
		os.Exit(a.Fail(err))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	status := a.Run(ctx, root, args)
	stop()
	os.Exit(status)
}

// handOver has hearth-node go on in this process, with the same arguments.
func handOver(args []string) error {
	path, err := program.Beside("hearth-node")
	if err != nil {
		return err
	}
	return fmt.Errorf("run %s: %w", path, syscall.Exec(path, args, os.Environ()))
}
