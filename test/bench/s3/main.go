// Command s3 measures the S3 door of a cloud of real programs on this machine
// and, when one is given, any other S3 server beside it: the same load in the
// same run, one after the other, round by round, so that what else the machine
// does falls on both. It prints the ratios. Every body read is compared with
// what was put.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"hearth/node/cloud"
	"hearth/test/bench/proc"
)

type options struct {
	hearth  string
	hosts   int
	other   string
	workers int
	seconds time.Duration
	rounds  int
	objects int
}

func main() {
	var o options
	flag.StringVar(&o.hearth, "hearth", "bin/hearth", "the program; hearth-ledger lies beside it")
	flag.IntVar(&o.hosts, "hosts", 20, "hosts")
	flag.StringVar(&o.other, "other", "", "URL of a second S3 server; its keys are OTHER_ACCESS_KEY_ID and OTHER_SECRET_ACCESS_KEY in the environment")
	flag.IntVar(&o.workers, "workers", 8, "requests at once")
	flag.DurationVar(&o.seconds, "for", 5*time.Second, "length of each measurement")
	flag.IntVar(&o.rounds, "rounds", 2, "times each is measured; the median counts")
	flag.IntVar(&o.objects, "objects", 100_000, "objects of the large bucket; 0: none")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	if o.hearth, err = filepath.Abs(o.hearth); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "hearth-bench-s3-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c, err := cloud.Start(ctx, cloud.Config{Dir: dir, Hosts: o.hosts, Hearth: o.hearth, Settle: time.Hour})
	if err != nil {
		return err
	}
	defer c.Stop()
	door, err := open(ctx, o.hearth, c.Client.Dir)
	if err != nil {
		return err
	}
	servers := []*server{door}
	if o.other != "" {
		other, err := connect("other", o.other, os.Getenv("OTHER_ACCESS_KEY_ID"), os.Getenv("OTHER_SECRET_ACCESS_KEY"))
		if err != nil {
			return err
		}
		servers = append(servers, other)
	}
	say("# %s", proc.Machine())
	say("# %d hosts, code %s; %d requests at once, %v each, median of %d", o.hosts, c.Class, o.workers, o.seconds, o.rounds)
	b := bench{options: o, servers: servers, spent: func() float64 {
		all := proc.CPU(c.Client.PID())
		for _, h := range c.Hosts {
			all += proc.CPU(h.PID())
		}
		return all
	}}
	if err := b.loads(ctx); err != nil {
		return err
	}
	if err := b.large(ctx); err != nil {
		return err
	}
	say("most memory of the gateway: %.0f MB", proc.Memory(c.Client.PID(), "VmHWM")/1e6)
	return nil
}

// open asks the node for its door and keys, as a person would.
func open(ctx context.Context, hearth, dir string) (*server, error) {
	out, err := exec.CommandContext(ctx, hearth, "--dir", dir, "s3", "env").Output()
	if err != nil {
		return nil, fmt.Errorf("ask for the door: %w", err)
	}
	env := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "="); ok {
			env[name] = strings.Trim(value, `"'`)
		}
	}
	return connect("hearth", env["AWS_ENDPOINT_URL"], env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"])
}

func say(format string, a ...any) { fmt.Fprintf(os.Stdout, format+"\n", a...) }
