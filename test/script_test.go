package test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"hearth/api/apitest"
	"hearth/api/server"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/test/programs"
)

// What needs no ledger, or only a node in memory.
func TestScripts(t *testing.T) {
	t.Parallel()
	scripts(t, "script", built(t), func(*testscript.Env) error { return nil })
}

// What goes wrong on a real network, and how people are told of it.
func TestScriptsOnANetwork(t *testing.T) {
	t.Parallel()
	bin := built(t)
	l := startLedger(t, bin, nil)
	t.Run("scripts", func(t *testing.T) { scripts(t, "network", bin, l.setup) }) // they are over before the ledger is
}

// What a network refuses that asks more of a machine than there is.
func TestScriptsOnAStrictNetwork(t *testing.T) {
	t.Parallel()
	bin := built(t)
	l := startLedger(t, bin, func(hosts map[string]any) {
		hosts["least"] = map[string]any{"disk_write": "1000000000000000"}
	})
	t.Run("scripts", func(t *testing.T) { scripts(t, "strict", bin, l.setup) })
}

var build = sync.OnceValues(programs.Dir)

func built(t *testing.T) string {
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

func scripts(t *testing.T, dir, bin string, setup func(*testscript.Env) error) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", dir),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("HEARTH_DIR", filepath.Join(e.WorkDir, "node"))
			return setup(e)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":     exits,
			"memnode":   memnode,
			"ready":     ready,
			"cutledger": cutLedger,
			"soon":      soon,
		},
	})
}

// exits runs a program that must end with a status: `exits 2 hearth frob`.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS program args...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("run %s: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// soon runs a program again and again until it ends well: `soon hearth ls`.
func soon(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: soon program args...")
	}
	for end := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		err := ts.Exec(args[0], args[1:]...)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%v: not after %s: %v", args, patience, err)
		}
	}
}

// memnode serves a node in memory in a folder, until the script ends:
// `memnode DIR [broken]`. A broken one ends downloads halfway.
func memnode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: memnode DIR [broken]")
	}
	ts.Check(serve(ts, ts.MkAbs(args[0]), len(args) > 1))
}

func serve(ts *testscript.TestScript, dir string, broken bool) error {
	node := apitest.New(5 * money.Ember)
	node.AddLeases(3)
	if broken {
		node.Break(fault.New(fault.NotEnoughShards, "get slab 0: 3 of 4 shards"))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	unix, err := net.Listen("unix", filepath.Join(dir, "api.sock"))
	if err != nil {
		return err
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "api.token"), []byte("secret\n"), 0o600); err != nil {
		return err
	}
	ts.Setenv("API_URL", "http://"+tcp.Addr().String())
	s, err := server.New(server.Config{Roles: node.Roles(), Token: "secret"})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, unix, tcp) }()
	ts.Defer(func() {
		cancel()
		if err := errors.Join(<-served, s.Close()); err != nil {
			fmt.Fprintln(os.Stderr, "memnode:", err)
		}
	})
	return nil
}
