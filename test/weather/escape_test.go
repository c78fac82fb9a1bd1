//go:build linux

package weather

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/api"
	"hearth/compute/sandbox"
	"hearth/core/erasure"
	"hearth/node"
	"hearth/node/cloud"
	"hearth/sdk"
)

// What a tenant of the arena has, and what its sandbox may take beside it.
const (
	tenantCPU    = 400 // thousandths
	tenantMemory = 128 << 20
	tenantDisk   = 64 << 20
	tenantPids   = 64
	sandboxOwn   = 64 << 20
)

// An arena is a cloud of which one host rents out its machine: to a neighbour who
// counts, and to tenants who mean harm.
type arena struct {
	*world
	house   *cloud.Process // the host
	account string
	nodes   []*sdk.Client // the hosts' own APIs
	quiet   seen          // when nobody does harm
}

// Whoever rents a part of a machine can do nothing to the host, to its other tenants and
// to what lies around it, whatever he tries; he gets no more than his part, and is told
// what he ran into. What is said here was looked at from outside.
//
// It measures time, so it runs beside no other law.
func TestATenantCanDoNoHarm(t *testing.T) {
	w, err := begin(cloud.Config{Hosts: 2, Class: erasure.Class{K: 1, N: 2}, Machines: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.stop)
	t.Cleanup(func() { w.logs(t) })
	a := &arena{world: w, house: w.Hosts[0], account: w.account(t, 0)}
	for _, h := range w.Hosts {
		c, err := sdk.New(sdk.Config{Socket: api.Socket(h.Dir)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		a.nodes = append(a.nodes, c)
	}
	if out, status := hearth(t, w.Client.Dir, "image", "push", harmful(t), "escape:1"); status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	neighbour := a.tenant(t, "neighbour", "count")
	evil := a.tenant(t, "evil", "wait")
	a.quiet = a.look(t, func() { <-time.After(3 * time.Second) })
	t.Logf("quiet: %s", a.quiet)
	for _, attack := range []struct {
		name string
		do   func(t *testing.T)
	}{
		{"rights", func(t *testing.T) { a.rights(t, evil) }},
		{"the network", func(t *testing.T) { a.network(t) }},
		{"the disk", func(t *testing.T) { a.disk(t, evil) }},
		{"the processor", func(t *testing.T) { a.processor(t, evil) }},
		{"layers of images", a.layers},
		{"a log, and who doesn't read", a.loud},
		{"processes, and all at once", a.bomb},
		{"memory", func(t *testing.T) { a.memory(t, evil) }},
	} {
		t.Run(attack.name, func(t *testing.T) {
			got := a.look(t, func() { attack.do(t) })
			t.Logf("%s", got)
			got.judge(t, a.quiet)
		})
	}
	if s := neighbour.state(t); s.Phase != sandbox.Running || s.Keeper != neighbour.keeper {
		t.Errorf("the neighbour is %+v", s)
	}
}

// seen is how the hosts and the neighbour were while something went on.
type seen struct {
	answers, late, work []time.Duration // of the hosts' APIs; of the neighbour's lines
	took                time.Duration
}

func middle(all []time.Duration, of float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[int(float64(len(all)-1)*of)].Round(100 * time.Microsecond)
}

func (s seen) String() string {
	return fmt.Sprintf("%s; %d answers, half within %s, nine of ten within %s; %d lines, half at most %s late, made within %s",
		s.took.Round(time.Millisecond), len(s.answers), middle(s.answers, 0.5), middle(s.answers, 0.9), len(s.late), middle(s.late, 0.5), middle(s.work, 0.5))
}

// judge compares with quiet times. Others may be busy on this machine: what is measured
// is the middle, and slack is what they may cost. Who starves shows in it all the same.
func (s seen) judge(t *testing.T, quiet seen) {
	t.Helper()
	const slack = 100 * time.Millisecond
	if m, q := middle(s.answers, 0.5), middle(quiet.answers, 0.5); m > max(slack, q+slack) {
		t.Errorf("the hosts answer within %s; in quiet times within %s", m, q)
	}
	if m, q := middle(s.late, 0.5), middle(quiet.late, 0.5); m > q+slack {
		t.Errorf("the neighbour's lines are %s late, in quiet times %s", m, q)
	}
	if m, q := middle(s.work, 0.5), middle(quiet.work, 0.5); m > 3*q+slack {
		t.Errorf("what the neighbour computes takes %s, in quiet times %s", m, q)
	}
	if want := int(s.took.Seconds()*5*0.7) - 5; len(s.late) < want {
		t.Errorf("the neighbour wrote %d lines in %s", len(s.late), s.took)
	}
}

// look asks the hosts again and again, and has the neighbour run a program, while do goes on.
func (a *arena) look(t *testing.T, do func()) (out seen) {
	t.Helper()
	before := a.lines(t)
	began := time.Now()
	done := make(chan struct{})
	answers := make([][]time.Duration, len(a.nodes))
	var all sync.WaitGroup
	ended := sync.OnceFunc(func() { close(done); all.Wait() })
	defer ended()
	over := func() bool {
		select {
		case <-done:
			return true
		case <-time.After(20 * time.Millisecond):
			return false
		}
	}
	for i, n := range a.nodes {
		all.Go(func() {
			for first := true; first || !over(); first = false {
				asked := time.Now()
				if _, err := n.Node(within(t, patient)); err != nil {
					t.Errorf("a host doesn't answer: %v", err)
					return
				}
				answers[i] = append(answers[i], time.Since(asked))
			}
		})
	}
	all.Go(func() {
		for first := true; first || !over(); first = false {
			if out, status := hearth(t, a.Client.Dir, "exec", "neighbour", "--", "/bin/escape", "who"); status != 0 || !strings.HasPrefix(out, "uid 0") {
				t.Errorf("the neighbour runs nothing more: %d, %s", status, out)
				return
			}
		}
	})
	do()
	ended()
	out.took, out.answers = time.Since(began), slices.Concat(answers...)
	for _, l := range a.lines(t)[len(before):] {
		out.late, out.work = append(out.late, l.late), append(out.work, l.work)
	}
	return out
}

// A line of the neighbour's: how late it came and how long what it computes took.
type line struct{ late, work time.Duration }

// lines are the neighbour's, which have no gap.
func (a *arena) lines(t *testing.T) (all []line) {
	t.Helper()
	out, status := hearth(t, a.Client.Dir, "logs", "neighbour")
	if status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	for text := range strings.Lines(out) {
		var n, late, work int
		if _, err := fmt.Sscanf(text, "line %d %d %d", &n, &late, &work); err != nil || n != len(all) {
			t.Fatalf("line %d of the neighbour's log is %q, %v", len(all), text, err)
		}
		all = append(all, line{time.Duration(late) * time.Millisecond, time.Duration(work) * time.Millisecond})
	}
	return all
}

// tenant runs a program of the harmful image on the arena's host until the test ends, and
// sees to it that nothing is left of it then.
func (a *arena) tenant(t *testing.T, name string, args ...string) *box {
	t.Helper()
	if out, status := a.create(t, name, "escape:1", append([]string{"/bin/escape"}, args...)...); status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	b := &box{dir: filepath.Join(node.Sandboxes(a.house.Dir), a.instance(t, name).ID)}
	s := b.state(t)
	b.keeper, b.group = s.Keeper, s.Cgroup
	t.Cleanup(func() {
		processes := below(b.keeper)
		if out, status := hearth(t, a.Client.Dir, "instance", "rm", name, "--grace", "0s", "-y"); status != 0 {
			t.Errorf("exit %d: %s", status, out)
		}
		soon(t, patient, "nothing is left of "+name, func() error { return b.left(processes) })
	})
	return b
}

func (a *arena) create(t *testing.T, name, image string, args ...string) (out string, status int) {
	t.Helper()
	return hearth(t, a.Client.Dir, append([]string{
		"instance", "create", name, "--image", image, "--host", a.account, "--egress", "open",
		"--cpu", strconv.FormatFloat(tenantCPU/1000., 'f', -1, 64), "--memory", "128MiB", "--disk", "64MiB", "--pids", strconv.Itoa(tenantPids), "--",
	}, args...)...)
}

// does runs an attack inside a tenant until it has ended.
func (a *arena) does(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, status := hearth(t, a.Client.Dir, append([]string{"exec", name, "--", "/bin/escape"}, args...)...)
	if status != 0 {
		t.Fatalf("%v: exit %d: %s", args, status, out)
	}
	return out
}

// begun starts an attack inside a tenant that goes on, and whose output nobody reads,
// until the function that it returns.
func (a *arena) begun(t *testing.T, args ...string) (end func()) {
	t.Helper()
	c := exec.CommandContext(within(t, patient), program("hearth"), append([]string{"--dir", a.Client.Dir}, args...)...)
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return sync.OnceFunc(func() {
		var exit *exec.ExitError
		if err := errors.Join(c.Process.Kill(), out.Close()); err != nil {
			t.Error(err)
		}
		if err := c.Wait(); err != nil && !errors.As(err, &exit) {
			t.Error(err)
		}
	})
}
