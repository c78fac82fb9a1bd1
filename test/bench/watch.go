package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hearth/api"
	"hearth/node/cloud"
	"hearth/test/bench/proc"
)

// A look is what every process has used up to now, in CPU seconds.
type look struct {
	at                            time.Time
	client, hosts, ledger, caller float64
	machine                       float64
}

// A usage is what was used between two looks.
type usage struct {
	wall                          time.Duration
	client, hosts, ledger, caller float64
	others                        float64 // cores that the rest of the machine kept busy
}

func (b *bench) look() look {
	l := look{at: time.Now(), client: proc.CPU(b.cloud.Client.PID()), ledger: proc.CPU(b.cloud.Ledger.PID()), machine: proc.Busy()}
	for _, h := range b.cloud.Hosts {
		l.hosts += proc.CPU(h.PID())
	}
	l.caller = proc.CPU(os.Getpid())
	return l
}

func (l look) since(before look) usage {
	u := usage{
		wall: l.at.Sub(before.at), client: l.client - before.client, hosts: l.hosts - before.hosts,
		ledger: l.ledger - before.ledger, caller: l.caller - before.caller,
	}
	u.others = max(0, (l.machine-before.machine-u.client-u.hosts-u.ledger-u.caller)/u.wall.Seconds())
	return u
}

// measure does a part round by round. The first round opens leases and
// connections and warms caches, so it is shown by itself.
func (b *bench) measure(ctx context.Context, p part) error {
	var all []usage
	for round := range b.rounds + 1 {
		end := b.profiled(ctx, p.name, round)
		before := b.look()
		if err := p.do(ctx, round); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		u := b.look().since(before)
		end()
		if round == 0 {
			b.show(p.name+", first time", u)
			continue
		}
		all = append(all, u)
		time.Sleep(time.Second) // what was written gets to the disk
	}
	b.show(p.name, usage{
		wall: time.Duration(median(all, func(u usage) float64 { return float64(u.wall) })), client: median(all, func(u usage) float64 { return u.client }),
		hosts: median(all, func(u usage) float64 { return u.hosts }), ledger: median(all, func(u usage) float64 { return u.ledger }),
		caller: median(all, func(u usage) float64 { return u.caller }), others: median(all, func(u usage) float64 { return u.others }),
	})
	best := slices.MinFunc(all, func(a, b usage) int { return int(a.wall - b.wall) })
	b.show("  its quickest round", best)
	return nil
}

func median(all []usage, of func(usage) float64) float64 {
	list := make([]float64, len(all))
	for i, u := range all {
		list[i] = of(u)
	}
	slices.Sort(list)
	return (list[(len(list)-1)/2] + list[len(list)/2]) / 2
}

func (b *bench) show(name string, u usage) {
	gb := float64(b.size) / 1e9
	say("%-34s %8.2f | %6.2f %6.2f %6.2f %6.2f | %8.1f", name, u.wall.Seconds(), u.client/gb, u.hosts/gb, u.ledger/gb, u.caller/gb, u.others)
}

// idleness watches the network while nobody asks for anything.
func (b *bench) idleness(ctx context.Context, when string) error {
	pause := func(d time.Duration) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(d):
			return nil
		}
	}
	if err := pause(min(5*time.Second, b.idle)); err != nil { // what has just begun or ended settles down
		return err
	}
	before := b.look()
	if err := pause(b.idle); err != nil {
		return err
	}
	u := b.look().since(before)
	var rss, own []float64
	for _, h := range b.cloud.Hosts {
		rss = append(rss, proc.Memory(h.PID(), "VmRSS")/1e6)
		own = append(own, proc.Memory(h.PID(), "RssAnon")/1e6)
	}
	slices.Sort(rss)
	slices.Sort(own)
	share := func(s float64) float64 { return 100 * s / u.wall.Seconds() }
	say("idle, %s: a host %.2f %% of a core, %.0f MB of its own and %.0f MB of shared program file resident (median); client %.2f %%, %.0f MB; ledger %.1f %%, %.0f MB; others %.1f cores",
		when, share(u.hosts)/float64(b.hosts), own[len(own)/2], rss[len(rss)/2]-own[len(own)/2], share(u.client), proc.Memory(b.cloud.Client.PID(), "VmRSS")/1e6,
		share(u.ledger), proc.Memory(b.cloud.Ledger.PID(), "VmRSS")/1e6, u.others)
	return nil
}

// memory tells the most that each process ever had in memory.
func (b *bench) memory() {
	var most float64
	for _, h := range b.cloud.Hosts {
		most = max(most, proc.Memory(h.PID(), "VmHWM"))
	}
	say("\nmost memory ever resident: client %.0f MB, a host %.0f MB, ledger %.0f MB",
		proc.Memory(b.cloud.Client.PID(), "VmHWM")/1e6, most/1e6, proc.Memory(b.cloud.Ledger.PID(), "VmHWM")/1e6)
}

// profiled takes CPU profiles of the client's node and of one host while a
// round runs, where that is wished for.
func (b *bench) profiled(ctx context.Context, name string, round int) (end func()) {
	if b.profile == "" || round != 1 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{}, 2)
	for _, p := range []*cloud.Process{b.cloud.Client, b.cloud.Hosts[len(b.cloud.Hosts)-1]} {
		go func() {
			defer func() { done <- struct{}{} }()
			file := filepath.Join(b.profile, strings.NewReplacer(" ", "-", ",", "").Replace(name+" "+p.Name)+".pprof")
			if err := proc.Profile(ctx, api.Socket(p.Dir), 4, file); err != nil {
				say("# no profile: %v", err)
			}
		}()
	}
	return func() {
		<-done
		<-done
		cancel()
	}
}
