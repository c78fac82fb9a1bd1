// Command bench measures the whole road: a cloud of real programs on this
// machine, a file stored and read back through the SDK and through `hearth put`
// and `hearth get`, with every host alive and with half of them killed, small
// ranges of it, calls of a function, and what an idle network costs. It reads times and memory of
// each process from /proc, so that other work on the machine shows in wall time
// only; it says how much of that there was. Every byte read is compared with
// what was stored.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"hearth/api"
	"hearth/node/cloud"
	"hearth/sdk"
	"hearth/test/bench/proc"
)

type options struct {
	hearth  string
	dir     string
	hosts   int
	kill    int
	size    int64
	rounds  int
	ranges  int
	idle    time.Duration
	profile string
}

func main() {
	var o options
	var mib int64
	flag.StringVar(&o.hearth, "hearth", "bin/hearth", "the command line; hearth-node and hearth-ledger lie beside it")
	flag.StringVar(&o.dir, "dir", "", "where the cloud lives; default a temporary folder")
	flag.IntVar(&o.hosts, "hosts", 20, "hosts")
	flag.IntVar(&o.kill, "kill", 10, "hosts killed for the last part")
	flag.Int64Var(&mib, "size", 1024, "MiB of the file")
	flag.IntVar(&o.rounds, "rounds", 3, "times each part is measured")
	flag.IntVar(&o.ranges, "ranges", 2000, "small ranges read, and calls of a function")
	flag.DurationVar(&o.idle, "idle", 30*time.Second, "for how long the idle network is watched")
	flag.StringVar(&o.profile, "profile", "", "folder for CPU profiles of the client's node and one host")
	flag.Parse()
	o.size = mib << 20
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// bench is one run.
type bench struct {
	options
	cloud  *cloud.Cloud
	client *sdk.Client
	file   string // what is stored
	sum    [32]byte
}

func run(ctx context.Context, o options) (err error) {
	if o.hearth, err = filepath.Abs(o.hearth); err != nil {
		return err
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "hearth-bench-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	}
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return err
	}
	b := &bench{options: o, file: filepath.Join(o.dir, "file")}
	if b.sum, err = randomFile(b.file, o.size); err != nil {
		return err
	}
	began := time.Now()
	b.cloud, err = cloud.Start(ctx, cloud.Config{Dir: filepath.Join(o.dir, "cloud"), Hosts: o.hosts, Hearth: o.hearth, Settle: time.Hour})
	if err != nil {
		return err
	}
	defer b.cloud.Stop()
	if b.client, err = sdk.New(sdk.Config{Socket: api.Socket(b.cloud.Client.Dir)}); err != nil {
		return err
	}
	defer b.client.Close()
	say("# %s", proc.Machine())
	say("# %d hosts, code %s, %d MiB of random bytes, %d rounds; GB = 10^9 bytes of the file; cloud up after %.1f s",
		o.hosts, b.cloud.Class, o.size>>20, o.rounds, time.Since(began).Seconds())
	return b.parts(ctx)
}

// parts are the measurements, in an order in which none disturbs the next.
func (b *bench) parts(ctx context.Context) error {
	if err := b.idleness(ctx, "fresh"); err != nil {
		return err
	}
	say("\n%-34s %8s | %-27s | %8s", "", "wall", "CPU-s/GB", "others")
	say("%-34s %8s | %6s %6s %6s %6s | %8s", "median of all rounds but the first", "s", "client", "hosts", "ledger", "caller", "cores")
	for _, p := range []part{
		{"put, SDK", b.put},
		{"get, SDK", b.get},
		{"hearth put", b.commandPut},
		{"hearth get to a file", b.commandGet},
	} {
		if err := b.measure(ctx, p); err != nil {
			return err
		}
	}
	if err := b.small(ctx); err != nil {
		return err
	}
	if err := b.functions(ctx); err != nil {
		return err
	}
	if err := b.idleness(ctx, "after it all"); err != nil {
		return err
	}
	for i := range b.kill {
		b.cloud.Hosts[i].Kill()
	}
	if err := b.measure(ctx, part{fmt.Sprintf("get, SDK, %d of %d hosts killed", b.kill, b.hosts), b.get}); err != nil {
		return err
	}
	b.memory()
	return nil
}

func say(format string, a ...any) { fmt.Fprintf(os.Stdout, format+"\n", a...) }
