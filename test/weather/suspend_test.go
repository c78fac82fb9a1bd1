package weather

import (
	"strconv"
	"strings"
	"testing"

	"hearth/api"
	"hearth/node/cloud"
)

// What is suspended is nobody's process: it goes on after all programs around it have
// died, and the one who has it go on is another than the one who suspended it.
func TestASuspendedInstanceGoesOnAfterTheMachineWasDown(t *testing.T) {
	t.Parallel()
	w, err := begin(cloud.Config{Hosts: 4, Class: twoOfFour, Machines: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.stop)
	t.Cleanup(func() { w.logs(t) })
	me := w.Client.Dir
	do := func(args ...string) string {
		t.Helper()
		out, status := hearth(t, me, args...)
		if status != 0 {
			t.Fatalf("%v: exit %d: %s", args, status, out)
		}
		return out
	}
	do("image", "push", shellImage(t), "shell:1")
	do("instance", "create", "one", "--image", "shell:1", "--cpu", "1", "--memory", "128MiB")
	do("exec", "one", "sh", "-c", "echo kept > /tmp/note; echo kept > /srv/note")
	first := w.instance(t, "one")
	lines := func() int { return strings.Count(do("logs", "one"), "\n") }
	until(t, "it counts", func() bool { return lines() > 3 })
	do("instance", "suspend", "one")
	had := lines()
	host := w.Hosts[w.number(t, first.Host)]
	host.Kill()
	w.Client.Kill()
	w.run(t, host)
	w.run(t, w.Client)
	var now api.Instance
	until(t, "its host answers", func() bool { now = w.instance(t, "one"); return now.State != "unreachable" })
	if now.State != "suspended" || lines() != had {
		t.Fatalf("%+v, %d lines of %d", now, lines(), had)
	}
	do("instance", "start", "one")
	until(t, "it counts on", func() bool { return lines() > had+3 })
	for n, line := range strings.Split(strings.TrimSpace(do("logs", "one")), "\n") {
		if line != "line "+strconv.Itoa(n) {
			t.Fatalf("line %d of the log is %q: it didn't go on where it was", n, line)
		}
	}
	if out := do("exec", "one", "cat", "/tmp/note", "/srv/note"); out != "kept\nkept\n" {
		t.Errorf("%q", out)
	}
	do("instance", "suspend", "one")
	do("instance", "rm", "one", "--grace", "0s", "-y")
	if left := w.instance(t, "one"); left.State != "not listed" {
		t.Errorf("%+v", left)
	}
}
