// Command hearth is the command line and the node: it turns a computer into a
// host, and uses everybody else's as a client. Each subcommand reads its flags,
// asks the node's API through package sdk, and shows the answer; only `up`,
// `host join`, `dev` and `demo` run something themselves.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == wasmWorker {
		os.Exit(workWasm())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	status := run(ctx, os.Args[1:])
	stop()
	os.Exit(status)
}
