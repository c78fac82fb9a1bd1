// Command s3 measures the S3 door of a cloud of real programs on this machine
// and, when one is given, any other S3 server beside it: the same load in the
// same run, one after the other, round by round, so that what else the machine
// does falls on both. It prints the ratios, then fills a bucket, lists it through
// the door and has another machine restore it from the recovery sheet. Every body
// read is compared with what was put, and what was restored is counted.
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
	profile string
	pid     int // of the other server
}

func main() {
	var o options
	flag.StringVar(&o.hearth, "hearth", "bin/hearth", "the command line; hearth-node and hearth-ledger lie beside it")
	flag.IntVar(&o.hosts, "hosts", 20, "hosts")
	flag.StringVar(&o.other, "other", "", "URL of a second S3 server; its keys are OTHER_ACCESS_KEY_ID and OTHER_SECRET_ACCESS_KEY in the environment")
	flag.IntVar(&o.workers, "workers", 8, "requests at once")
	flag.DurationVar(&o.seconds, "for", 5*time.Second, "length of each measurement")
	flag.IntVar(&o.rounds, "rounds", 2, "times each is measured; the median counts")
	flag.IntVar(&o.objects, "objects", 100_000, "objects of the large bucket; 0: none")
	flag.IntVar(&o.pid, "other-pid", 0, "the second server's process, if it runs here: its CPU seconds are shown")
	flag.StringVar(&o.profile, "profile", "", "folder for profiles of the door's node, CPU in the first round of each load and memory after it")
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
	door.pids = append(door.pids, c.Client.PID())
	for _, h := range c.Hosts {
		door.pids = append(door.pids, h.PID())
	}
	servers := []*server{door}
	if o.other != "" {
		other, err := connect("other", o.other, os.Getenv("OTHER_ACCESS_KEY_ID"), os.Getenv("OTHER_SECRET_ACCESS_KEY"))
		if err != nil {
			return err
		}
		if o.pid != 0 {
			other.pids = append(other.pids, o.pid)
		}
		servers = append(servers, other)
	}
	say("# %s", proc.Machine())
	say("# %d hosts, code %s; %d requests at once, %v each, median of %d", o.hosts, c.Class, o.workers, o.seconds, o.rounds)
	b := &bench{options: o, servers: servers, cloud: c}
	if err := b.loads(ctx); err != nil {
		return err
	}
	b.memory("the loads")
	if o.objects == 0 {
		return nil
	}
	return b.large(ctx)
}

// memory tells the most that the door's process had in memory so far.
func (b *bench) memory(after string) {
	say("most memory of the gateway after %s: %.0f MB, with what it uses of the program's file", after, proc.Memory(b.cloud.Client.PID(), "VmHWM")/1e6)
}

// open asks the node for its door and keys, as a person would, until it has one.
func open(ctx context.Context, hearth, dir string) (*server, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var out []byte
	for {
		var err error
		if out, err = exec.CommandContext(ctx, hearth, "--dir", dir, "s3", "env").Output(); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("ask for the door: %w", err)
		case <-time.After(500 * time.Millisecond):
		}
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
