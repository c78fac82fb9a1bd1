package weather

import (
	"context"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"hearth/api"
	"hearth/compute/throttle"
	"hearth/node/cloud"
)

// Who rents out his machine stays in charge of it: what strangers run on it keeps to what
// he allows, from the moment that he says it, and stands still while he is there. It has
// the machine to itself: the owner's programs are those that compute much.
func TestAHostStaysInChargeOfItsMachine(t *testing.T) {
	w, err := begin(cloud.Config{Hosts: 4, Class: twoOfFour, Machines: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.stop)
	t.Cleanup(func() { w.logs(t) })
	me := w.Client.Dir
	if out, status := hearth(t, me, "image", "push", shellImage(t), "shell:1"); status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	create := func(name, cpu string) (string, int) {
		return hearth(t, me, "instance", "create", name, "--image", "shell:1", "--cpu", cpu, "--memory", "64MiB", "-y", "--", "sh", "-c", "while :; do :; done")
	}
	if out, status := create("busy", "1"); status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	owner := w.Hosts[w.number(t, w.instance(t, "busy").Host)].Dir
	limits := func(args ...string) string {
		t.Helper()
		out, status := hearth(t, owner, append([]string{"host", "limits"}, args...)...)
		if status != 0 {
			t.Fatalf("%v: exit %d: %s", args, status, out)
		}
		return out
	}
	grouped := os.Geteuid() == 0 && throttle.Version(throttle.Mount) != ""
	said := limits("--cpu", "0.3", "--memory", "1GiB")
	if !strings.Contains(said, "0.3 cores, 1.0 GiB of memory") || !strings.Contains(said, "instances have reserved 1 cores and share 0.3") || grouped == strings.Contains(said, "isn't slowed down") {
		t.Errorf("%s", said)
	}
	if grouped {
		var first, last api.Usage // as its host says, when it is reached
		until(t, "it has computed for a while", func() bool {
			if last = w.instance(t, "busy").Usage; first.CPU == 0 {
				first = last
			}
			return last.CPU > first.CPU+int64(2*time.Second)
		})
		if took := last.Taken.Sub(first.Taken); float64(last.CPU-first.CPU) > 0.45*float64(took) {
			t.Errorf("it computed for %s in %s, 0.3 are allowed", time.Duration(last.CPU-first.CPU), took)
		}
	}
	if out, status := create("more", "0.1"); status == 0 {
		t.Errorf("more was given than is allowed: %s", out)
	}
	if out, status := hearth(t, owner, "host", "status"); status != 0 || !strings.Contains(out, "0.3 cores") {
		t.Errorf("exit %d: %s", status, out)
	}

	limits("--when-active", "pause", "--active-for", "1m")
	ctx, gone := context.WithCancel(t.Context())
	defer gone()
	for range runtime.NumCPU() { // the owner's own programs
		go func() {
			for ctx.Err() == nil {
			}
		}()
	}
	until(t, "it stands still for its host's owner", func() bool {
		i := w.instance(t, "busy")
		return i.State == "paused" && strings.Contains(i.Reason, "owner is using the machine")
	})
	gone()
	if said := limits(); !strings.Contains(said, "others' programs are paused: ") {
		t.Errorf("%s", said)
	}
	limits("--when-active", "go", "--cpu", "none", "--memory", "none")
	until(t, "it goes on", func() bool { return w.instance(t, "busy").State == "running" })
	until(t, "more is given again", func() bool { _, status := create("more", "0.1"); return status == 0 })
}
