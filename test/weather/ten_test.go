package weather

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/api"
	"hearth/core/erasure"
	"hearth/node"
	"hearth/node/cloud"
)

// slowly is a counter for many at once: a line each second.
const slowly = "i=0; while true; do echo line $i; i=$((i+1)); sleep 1; done"

// dear is what a core costs where seconds are to be read from what is signed: what
// traffic costs beside it is less than one of them.
const dear = "6000 ember"

// Ten instances run on while their host's node and their client's are killed, and are
// found again as they were: the same processes, with logs that miss nothing. For the
// time that they were there, and for no other, their client has signed, and the ledger
// pays that.
func TestTenInstancesRunOnWhileTheNodesAreDead(t *testing.T) {
	t.Parallel()
	w, err := begin(cloud.Config{Hosts: 2, Class: erasure.Class{K: 1, N: 2}, Machines: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.stop)
	t.Cleanup(func() { w.logs(t) })
	me, host := w.Client.Dir, w.Hosts[0]
	w.set(t, host, func(s *node.Settings) {
		s.Host.Instances.MachinePrices = node.MachinePrices{Core: dear, Memory: "0 ember", Disk: "0 ember"}
	})
	w.set(t, w.Client, func(s *node.Settings) { s.Client.Instances.Core = dear })
	if out, status := hearth(t, me, "image", "push", shellImage(t), "shell:1"); status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	var names []string
	for i := range 10 {
		names = append(names, fmt.Sprintf("i%d", i))
	}
	var wg sync.WaitGroup
	for _, name := range names {
		wg.Go(func() {
			if out, status := hearth(t, me, "instance", "create", name, "--image", "shell:1", "--cpu", "0.1", "--memory", "64MiB", "--disk", "64MiB", "--", "sh", "-c", slowly); status != 0 {
				t.Errorf("create %s: exit %d: %s", name, status, out)
			}
		})
	}
	wg.Wait()
	first, keepers := w.ten(t, names), w.keepers(t, host)
	if len(keepers) != len(names) {
		t.Fatalf("%d keepers for %d instances", len(keepers), len(names))
	}
	host.Kill()
	w.Client.Kill()
	// It is down for as long as each of them needs for some lines more.
	was := w.written(t, host, first)
	until(t, "instances run on without their node", func() bool {
		for id, lines := range w.written(t, host, first) {
			if lines < was[id]+6 {
				return false
			}
		}
		return true
	})
	w.run(t, host)
	w.run(t, w.Client)
	for name, i := range w.ten(t, names) {
		if f := first[name]; i.ID != f.ID || i.Host != f.Host || i.Lease != f.Lease || !i.Started.Equal(f.Started) {
			t.Errorf("%s isn't what it was: %+v, then %+v", name, f, i)
		}
	}
	if again := w.keepers(t, host); !maps.Equal(again, keepers) {
		t.Errorf("keepers are %v; they were %v", again, keepers)
	}
	now := w.written(t, host, first)
	for name, i := range first {
		if n := w.counted(t, name); n < was[i.ID]+6 || n < now[i.ID] {
			t.Errorf("the log of %s has %d lines; its host had %d when its node died, and %d after", name, n, was[i.ID], now[i.ID])
		}
	}
	// An instance's time begins between its client's request for its machine and its
	// start, which are told in whole seconds, and ends between the request that ends it
	// and the answer.
	var least, most time.Duration
	for _, name := range names {
		asked := time.Now()
		if out, status := hearth(t, me, "instance", "rm", name, "--grace", "0s", "-y"); status != 0 {
			t.Fatalf("remove %s: exit %d: %s", name, status, out)
		}
		least += asked.Sub(first[name].Started.Add(time.Second))
		most += time.Since(first[name].Created)
	}
	w.signedFor(t, first[names[0]], least, most)
}

// set has a node run by other settings.
func (w *world) set(t *testing.T, p *cloud.Process, change func(*node.Settings)) {
	t.Helper()
	p.Stop(patient)
	s, err := node.LoadSettings(p.Dir)
	if err != nil {
		t.Fatal(err)
	}
	change(&s)
	if err := s.Save(p.Dir); err != nil {
		t.Fatal(err)
	}
	w.run(t, p)
}

// ten are instances by name, all of them running at one host and under one lease.
func (w *world) ten(t *testing.T, names []string) map[string]api.Instance {
	t.Helper()
	var all api.Instances
	until(t, "all are listed as running", func() bool {
		var err error
		if all, err = w.api.Instances(within(t, patient)); err != nil {
			t.Fatal(err)
		}
		return len(all.Instances) == len(names) && !slices.ContainsFunc(all.Instances, func(i api.Instance) bool { return i.State != "running" })
	})
	out := map[string]api.Instance{}
	for _, i := range all.Instances {
		if one := all.Instances[0]; i.Host != one.Host || i.Lease != one.Lease || i.Month != one.Month {
			t.Fatalf("%+v beside %+v", i, one)
		}
		out[i.Name] = i
	}
	for _, name := range names {
		if _, there := out[name]; !there || len(out) != len(names) {
			t.Fatalf("of %q there are %+v", names, out)
		}
	}
	return out
}

// keepers are the processes of a host that each keep an instance, by its folder.
func (w *world) keepers(t *testing.T, host *cloud.Process) map[string]int {
	t.Helper()
	out := map[string]int{}
	for _, pid := range of(t, node.Sandboxes(host.Dir)) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue // it has ended meanwhile
		}
		if args := strings.Split(string(b), "\x00"); len(args) > 2 && args[1] == "keep" {
			out[args[2]] = pid
		}
	}
	return out
}

// written is how many lines lie in the logs of a host's instances, by their ID. It
// asks no node.
func (w *world) written(t *testing.T, host *cloud.Process, of map[string]api.Instance) map[string]int {
	t.Helper()
	out := map[string]int{}
	for _, i := range of {
		files, err := filepath.Glob(filepath.Join(node.Sandboxes(host.Dir), i.ID, "log", "*"))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, name := range files {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			out[i.ID] += strings.Count(string(b), "line ")
		}
	}
	return out
}

// signedFor checks that what is signed for instances that all cost the same, and are
// gone, is the time that they were there: together at least least and at most most. It
// may be a window off. The window meant is ten seconds for all ten together, the
// largest by which a client pays for time ahead: a second for each of them, since a
// statement's times are whole ones. (Not meant are the ten minutes for which run time
// is signed at once: what of them wasn't run isn't owed.)
func (w *world) signedFor(t *testing.T, i api.Instance, least, most time.Duration) {
	t.Helper()
	const window = 10 * time.Second
	l, err := w.api.Lease(within(t, patient), i.Lease)
	if err != nil {
		t.Fatal(err)
	}
	month, err := i.Month.Value()
	if err != nil {
		t.Fatal(err)
	}
	signed, err := l.Signed.Value()
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]time.Duration{"least": least - window, "most": most + window} {
		rent := float64(month) * m.Seconds() / (30 * 24 * 3600)
		if name == "most" {
			rent += float64(traffic(l.In+8*mib, l.Out+8*mib)) // and what is paid ahead of it
		}
		if got := float64(signed); name == "least" && got < rent || name == "most" && got > rent {
			t.Errorf("%.0f uember are signed, at %s %.0f are right: they were there for %s to %s in all", got, name, rent, least, most)
		}
	}
	t.Logf("%s signed, for %s to %s of instances of %s in 30 days", l.Signed, least, most, i.Month)
	until(t, "what is signed is paid", func() bool {
		l, err := w.api.Lease(within(t, patient), i.Lease)
		if err != nil {
			t.Fatal(err)
		}
		paid, err := l.Paid.Value()
		if err != nil {
			t.Fatal(err)
		}
		return paid == signed
	})
}
