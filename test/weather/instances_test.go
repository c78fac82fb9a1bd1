package weather

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hearth/api"
	"hearth/node/cloud"
)

// counter is what an instance of the image counts with: a line each fifth of a second.
const counter = "i=0; while true; do echo line $i; i=$((i+1)); sleep 0.2; done"

// instance is how one stands by its host's word.
func (w *world) instance(t *testing.T, name string) api.Instance {
	t.Helper()
	for end := time.Now().Add(patient); ; time.Sleep(200 * time.Millisecond) {
		all, err := w.api.Instances(within(t, patient))
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(all.Instances, func(i api.Instance) bool { return i.Name == name })
		switch {
		case at < 0:
			return api.Instance{State: "not listed"}
		case all.Instances[at].State != "unreachable" || time.Now().After(end): // a busy machine answers late
			return all.Instances[at]
		}
	}
}

// An instance runs on a stranger's machine, does what it is told there, goes on while
// the programs around it die, and is paid by the second for as long as it is there.
func TestAnInstanceRunsOnAStrangersMachine(t *testing.T) {
	t.Parallel()
	w, err := begin(cloud.Config{Hosts: 4, Class: twoOfFour, Machines: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.stop)
	t.Cleanup(func() { w.logs(t) })
	me := w.Client.Dir
	w.pushed(t, debianImage(t), "debian:1")
	if out, status := hearth(t, me, "instance", "create", "one", "--image", "debian:1", "--max-price", "0.1 ember"); status == 0 || !strings.Contains(out, "price_too_high") {
		t.Errorf("exit %d: %s", status, out)
	}
	if out, status := hearth(t, me, "instance", "create", "big", "--image", "debian:1", "--cpu", "500"); status == 0 || !strings.Contains(out, "no_hosts") {
		t.Errorf("exit %d: %s", status, out)
	}
	began := time.Now()
	if out, status := hearth(t, me, "instance", "create", "one", "--image", "debian:1", "--cpu", "2", "--memory", "2GiB", "--env", "WORD=good"); status != 0 || !strings.Contains(out, "in 30 days") {
		t.Fatalf("exit %d: %s", status, out)
	}
	first := w.instance(t, "one")
	if first.State != "running" || first.Machine.CPU != 2000 {
		t.Fatalf("%+v", first)
	}
	if out, status := hearth(t, me, "exec", "one", "--", "sh", "-c", "echo $WORD morning; exit 3"); status != 3 || !strings.HasPrefix(out, "good morning\n") {
		t.Errorf("exit %d: %s", status, out)
	}
	if out, status := hearth(t, me, "exec", "-u", "65534:100", "one", "sh", "-c", "id -u; id -g"); status != 0 || out != "65534\n100\n" {
		t.Fatalf("a program as somebody else: %d, %s", status, out)
	}
	if out, status := hearth(t, me, "exec", "one", "sh", "-c", "echo kept > /tmp/note"); status != 0 {
		t.Errorf("exit %d: %s", status, out)
	}
	if out, status := hearth(t, me, "instance", "create", "two", "--image", "debian:1", "--host", first.Host); status == 0 || !strings.Contains(out, "host_refused") {
		t.Errorf("a machine that is taken was given again: exit %d: %s", status, out)
	}
	if size, err := w.onTerminal(t, "one"); err != nil || size != "24 80\r\n" {
		t.Errorf("a terminal of %q, %v", size, err)
	}
	if out, status := hearth(t, me, "ssh", "one", "echo $WORD evening; exit 5"); status != 5 || !strings.Contains(out, "good evening\n") {
		t.Errorf("exit %d: %s", status, out)
	}
	w.copies(t)
	w.counts(t)
	follow := w.follow(t, "one")
	follow.live(t)
	host := w.Hosts[w.number(t, first.Host)]
	host.Kill()
	w.Client.Kill()
	follow.ends(t)
	w.run(t, host)
	w.run(t, w.Client)
	until(t, "the instance is running again", func() bool { return w.instance(t, "one").State == "running" })
	if again := w.instance(t, "one"); again.ID != first.ID || !again.Started.Equal(first.Started) {
		t.Errorf("it isn't the one that ran: %+v, then %+v", first, again)
	}
	if out, status := hearth(t, me, "exec", "one", "cat", "/tmp/note"); status != 0 || out != "kept\n" {
		t.Errorf("exit %d: %s", status, out)
	}
	if n := w.counted(t, "one"); n < follow.next {
		t.Errorf("the log has %d lines, %d were seen before its host died", n, follow.next)
	}
	follow = w.follow(t, "one")
	follow.live(t)
	if out, status := hearth(t, me, "instance", "rm", "one", "--grace", "0s", "-y"); status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	w.billed(t, first, time.Since(began))
	follow.ends(t)
	if left := w.instance(t, "one"); left.State != "not listed" {
		t.Errorf("%+v", left)
	}
	until(t, "the machine is free again", func() bool {
		out, status := hearth(t, me, "instance", "create", "three", "--image", "debian:1", "--host", first.Host, "--cpu", "2", "--", "true")
		if status != 0 && !strings.Contains(out, "host_full") && !strings.Contains(out, "host_refused") {
			t.Fatalf("exit %d: %s", status, out)
		}
		return status == 0
	})
	until(t, "what ends by itself has exited", func() bool { return w.instance(t, "three").State == "exited" })
}

// counts has a function run on a stranger's machine too: it counts words.
func (w *world) counts(t *testing.T) {
	t.Helper()
	if out, status := hearth(t, w.Client.Dir, "fn", "deploy", "testdata/words/words.wasm"); status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	if words := w.called(t, "words", "one two  three\n"); string(words.Output) != "3 words\n" {
		t.Errorf("%+v: %s, log %s", words, words.Output, words.Log)
	}
}

// counted is how many lines the log of an instance has that counts; none is missing.
func (w *world) counted(t *testing.T, name string) int {
	t.Helper()
	log, status := hearth(t, w.Client.Dir, "logs", name)
	if status != 0 {
		t.Fatalf("exit %d: %s", status, log)
	}
	n := 0
	for line := range strings.Lines(log) {
		if line != "line "+strconv.Itoa(n)+"\n" {
			t.Fatalf("line %d of the log of %s is %q: it has a gap", n, name, line)
		}
		n++
	}
	return n
}

// A follower is a `hearth logs -f` of an instance that counts.
type follower struct {
	w     *world
	name  string
	lines <-chan string // closed at its end
	next  int           // line
}

func (w *world) follow(t *testing.T, name string) *follower {
	t.Helper()
	ctx := within(t, 2*patient)
	c := exec.CommandContext(ctx, program("hearth"), "--dir", w.Client.Dir, "logs", "-f", name)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			select {
			case lines <- s.Text():
			case <-ctx.Done():
			}
		}
		_ = c.Wait() // how it ends depends on what it followed
	}()
	return &follower{w: w, name: name, lines: lines}
}

// more reads the next line, if there is one: it is the next number.
func (f *follower) more(t *testing.T) bool {
	t.Helper()
	select {
	case line, more := <-f.lines:
		if more && line != "line "+strconv.Itoa(f.next) {
			t.Fatalf("line %d of the log of %s comes as %q", f.next, f.name, line)
		}
		if more {
			f.next++
		}
		return more
	case <-time.After(patient):
		t.Fatalf("after line %d of the log of %s nothing comes", f.next, f.name)
		return false
	}
}

// live reads on to lines that were written after the first was seen here.
func (f *follower) live(t *testing.T) {
	t.Helper()
	f.must(t)
	for there := f.w.counted(t, f.name); f.next < there+3; {
		f.must(t)
	}
}

func (f *follower) must(t *testing.T) {
	t.Helper()
	if !f.more(t) {
		t.Fatalf("the log of %s ends at line %d, and it runs", f.name, f.next)
	}
}

// ends reads to the end of what is followed, which has to come.
func (f *follower) ends(t *testing.T) {
	t.Helper()
	for f.more(t) {
	}
}

// billed checks what was signed for an instance that is gone: the time it was there,
// traffic, and a window of traffic that was paid ahead.
func (w *world) billed(t *testing.T, i api.Instance, took time.Duration) {
	t.Helper()
	l, err := w.api.Lease(within(t, patient), i.Lease)
	if err != nil {
		t.Fatal(err)
	}
	host, err := w.host(w.number(t, i.Host))
	if err != nil || host.Functions == nil {
		t.Fatal(host.Functions, err)
	}
	value := func(m api.Money) float64 {
		v, err := m.Value()
		if err != nil {
			t.Fatal(err)
		}
		return float64(v)
	}
	const window = 8 << 20
	traffic := (float64(l.In+window)*value(host.Functions.Prices.In) + float64(l.Out+window)*value(host.Functions.Prices.Out)) / (1 << 30)
	rent := value(i.Month) * took.Seconds() / (30 * 24 * 3600)
	if got := value(l.Signed); got < 0.5*rent || got > rent+traffic+10 {
		t.Errorf("%.0f uember are signed: %s of the machine cost %.1f, traffic at most %.1f", got, took, rent, traffic)
	}
}

// onTerminal asks a program on a terminal how large that is. Nobody types anything.
func (w *world) onTerminal(t *testing.T, name string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	_, err := w.api.Exec(within(t, patient), name, api.Program{Args: []string{"stty", "size"}, TTY: true, Size: api.Size{Rows: 24, Cols: 80}}, nil, &out, &out, nil)
	return out.String(), err
}

// copies brings files into an instance and out of it again.
func (w *world) copies(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	site := filepath.Join(dir, "site")
	if err := os.MkdirAll(filepath.Join(site, "deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	big := content(9, 3<<20)
	if err := os.WriteFile(filepath.Join(site, "deep", "page"), big, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"cp", site, "one:/srv/"}, {"cp", "one:/srv/site", filepath.Join(dir, "back")}, {"cp", "one:/srv/site/deep/page", dir}, {"cp", filepath.Join(dir, "page"), "one:/tmp/renamed"},
	} {
		if out, status := hearth(t, w.Client.Dir, args...); status != 0 {
			t.Fatalf("%v: exit %d: %s", args, status, out)
		}
	}
	for _, name := range []string{filepath.Join(dir, "back", "deep", "page"), filepath.Join(dir, "page")} {
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, big) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if out, status := hearth(t, w.Client.Dir, "exec", "one", "ls", "/tmp"); status != 0 || !strings.Contains(out, "renamed") {
		t.Errorf("exit %d: %s", status, out)
	}
	if out, status := hearth(t, w.Client.Dir, "cp", "one:/srv/nothing", dir); status == 0 || !strings.Contains(out, "not_found") {
		t.Errorf("exit %d: %s", status, out)
	}
}

// until waits for what has to come.
func until(t *testing.T, what string, there func() bool) {
	t.Helper()
	for end := time.Now().Add(patient); !there(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}
