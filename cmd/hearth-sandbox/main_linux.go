//go:build linux && (amd64 || arm64)

package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"

	gvisor "gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/runsc/cli/maincli"

	"hearth/cmd/hearth-sandbox/internal/keeper"
)

// gVisor starts its parts from this same file and tells them apart by the name
// they are called with. That comes before anything else.
func isolate() bool {
	name := filepath.Base(os.Args[0])
	if !strings.HasPrefix(name, "runsc") && name != "exe" {
		return false
	}
	if name == "runsc-sandbox" {
		// Its parent is told that this isn't the machine's root, so that it takes
		// the one user there is. The sandbox itself, in a namespace with that one
		// user, shall give up its rights like any other.
		for i, a := range os.Args {
			if a == "--rootless=true" {
				os.Args[i] = "--rootless=false"
			}
		}
	}
	maincli.Main()
	return true
}

// keep runs a keeper in folder: the node gives it the instance on its standard
// input and reads whether it started on its standard output.
func keep(folder string) int {
	// A keeper mostly waits: it shall be small rather than quick.
	const small = 25
	debug.SetGCPercent(small)
	if err := os.Setenv("GOGC", strconv.Itoa(small)); err != nil { // and so shall the gofer, which inherits it
		return 1
	}
	gvisor.SetLevel(gvisor.Warning)
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	folder, err := filepath.Abs(folder)
	if err == nil {
		err = keeper.Run(folder, os.Stdin, os.Stdout, log)
	}
	if err != nil {
		log.Error("keep "+folder, "err", err)
		return 1
	}
	return 0
}
