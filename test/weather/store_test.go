package weather

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/api"
	"hearth/core/fault"
	"hearth/node"
)

// A counter is called twenty times, by hand and over HTTP, on several hosts that check
// each other, and counts exactly; what it has counted is there after a restart, and on
// another machine of the account, which counts on.
func TestAFunctionCountsItsCalls(t *testing.T) {
	t.Parallel()
	w := start(t, 4, twoOfFour)
	me := w.Client.Dir
	if out, status := hearth(t, me, "fn", "deploy", compiled(t, "counter", "counter"), "--store", "64KiB", "--deadline", "1m"); status != 0 || !strings.Contains(out, "up to 64.0 KiB") {
		t.Fatalf("exit %d: %s", status, out)
	}
	seen := &counts{}
	hosts := map[string]bool{}
	for range 5 {
		out, status := hearth(t, me, "fn", "invoke", "counter", "--verify", "1")
		if status != 0 {
			t.Fatalf("exit %d: %s", status, out)
		}
		seen.add(out)
		done, err := w.api.Call(within(t, patient), "counter", api.CallWish{Verify: 1})
		if err != nil || done.Exit != 0 {
			t.Fatalf("%+v, %v", done, err)
		}
		seen.add(string(done.Output))
		for _, h := range done.Witnesses {
			hosts[h] = true
		}
	}
	if out, status := hearth(t, me, "fn", "invoke", "counter", "fail"); status != fault.ExitFailure {
		t.Errorf("exit %d: %s", status, out)
	}
	w.Client.Stop(patient)
	settings, err := node.LoadSettings(me)
	if err != nil {
		t.Fatal(err)
	}
	settings.Client.FunctionDoor.Listen, settings.Client.FunctionDoor.Verify = freeAddr(t), 1
	if err := settings.Save(me); err != nil {
		t.Fatal(err)
	}
	w.run(t, w.Client)
	door := w.openDoor(t)
	var all sync.WaitGroup
	began := time.Now()
	for range 10 {
		all.Go(func() { seen.visit(t, door.Endpoint+"/counter") })
	}
	all.Wait()
	t.Logf("a checked call over HTTP takes %s of its line", time.Since(began)/10)
	if want := counted(1, 20); !slices.Equal(seen.all(), want) {
		t.Errorf("counted %v, want %v", seen.all(), want)
	}
	if len(hosts) < 2 {
		t.Errorf("it ran on %v alone", hosts)
	}
	w.changesByHand(t)
	w.onAnotherMachine(t)
	if out, status := hearth(t, me, "fn", "rm", "counter"); status == 0 {
		t.Errorf("what was kept is removed without a question: %s", out)
	}
	if out, status := hearth(t, me, "fn", "rm", "counter", "--yes"); status != 0 {
		t.Errorf("exit %d: %s", status, out)
	}
	_, err = w.api.FunctionStore(within(t, patient), "counter", "", "")
	wants(t, "the store of what was removed", err, fault.NotFound)
}

// changesByHand looks at what the counter has kept, and changes it.
func (w *world) changesByHand(t *testing.T) {
	t.Helper()
	me := w.Client.Dir
	if out, status := hearth(t, me, "fn", "kv", "get", "counter", "visits"); status != 0 || out != "20" {
		t.Errorf("exit %d: %s", status, out)
	}
	file := filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(file, []byte("41"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"put", "counter", "visits", file}, {"put", "counter", "pages/a", file}, {"rm", "counter", "pages/a"}} {
		if out, status := hearth(t, me, append([]string{"fn", "kv"}, args...)...); status != 0 {
			t.Errorf("%v: exit %d: %s", args, status, out)
		}
	}
	if out, status := hearth(t, me, "fn", "kv", "ls", "counter"); status != 0 || !strings.Contains(out, "visits") || strings.Contains(out, "pages") {
		t.Errorf("exit %d: %s", status, out)
	}
	if done := w.called(t, "counter", ""); string(done.Output) != "42\n" {
		t.Errorf("after a change by hand it counts %s", done.Output)
	}
	in := t.TempDir()
	if err := os.WriteFile(filepath.Join(in, "a"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	out, status := hearth(t, me, "run", "--map", in, "--fn", "counter", "--to", t.TempDir())
	if status != fault.ExitUsage || !strings.Contains(out, "counter has a store") {
		t.Errorf("exit %d: %s", status, out)
	}
}

// onAnotherMachine counts on two machines of the account at once.
func (w *world) onAnotherMachine(t *testing.T) {
	t.Helper()
	w.logged(t)
	s := w.restore(t)
	s.up()
	o := s.as(w)
	seen := &counts{}
	seen.add(string(o.called(t, "counter", "").Output)) // it is new, and waits until the first knows of it
	until(t, "the first knows what the second counted", func() bool {
		out, status := hearth(t, w.Client.Dir, "fn", "kv", "get", "counter", "visits")
		return status == 0 && out == "43"
	})
	var both sync.WaitGroup
	began := time.Now()
	for _, m := range []*world{w, o} {
		both.Go(func() {
			for n := 0; n < 3; {
				done, err := m.api.Call(within(t, patient), "counter", api.CallWish{})
				switch {
				case fault.CodeOf(err) == fault.Conflict: // the other was faster each time
				case err != nil || done.Exit != 0:
					t.Errorf("%+v, %v", done, err)
					return
				default:
					seen.add(string(done.Output))
					n++
				}
			}
		})
	}
	both.Wait()
	t.Logf("two machines at once: a call takes %s", time.Since(began)/6)
	if want := counted(43, 49); !slices.Equal(seen.all(), want) {
		t.Errorf("two machines counted %v, want %v", seen.all(), want)
	}
}

// counted are the numbers from one to another.
func counted(from, to int) (out []int) {
	for n := from; n <= to; n++ {
		out = append(out, n)
	}
	return out
}

// counts are what a counter has answered.
type counts struct {
	mu   sync.Mutex
	list []int
}

func (c *counts) add(answer string) {
	n, err := strconv.Atoi(strings.TrimSpace(answer))
	if err != nil {
		n = -1
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, n)
}

// all are they in order.
func (c *counts) all() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(slices.Values(c.list))
}

// visit calls the counter over HTTP, again where the line is full: then it wasn't run.
func (c *counts) visit(t *testing.T, url string) {
	ctx := within(t, patient)
	for {
		status, code, b, err := answered(ctx, url)
		if err == nil && code == string(fault.Busy) {
			continue
		}
		if err != nil || status != http.StatusOK {
			t.Error(status, string(b), err)
		}
		c.add(string(b))
		return
	}
}

// answered is what a function's door answers.
func answered(ctx context.Context, url string) (status int, code string, body []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", nil, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", nil, err
	}
	defer answer.Body.Close()
	body, err = io.ReadAll(answer.Body)
	return answer.StatusCode, answer.Header.Get(api.HeaderFault), body, err
}
