package weather

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/api"
	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/node/cloud"
	"hearth/sdk"
	"hearth/test/programs"
)

// built is the folder of hearth and hearth-ledger.
var built string

func TestMain(m *testing.M) {
	flag.Parse()
	if !parallelSet() {
		flag.Set("test.parallel", "4") // mostly they wait
	}
	os.Exit(run(m))
}

func parallelSet() (set bool) {
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "test.parallel" })
	return set
}

func run(m *testing.M) int {
	var err error
	if built, err = programs.Dir(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer stopCommon()
	return m.Run()
}

func program(name string) string { return filepath.Join(built, name) }

const (
	mib    = 1 << 20
	bucket = "weather"

	// patient bounds what a law sets no time for. It is much longer than a busy
	// machine needs, so that only what never comes fails.
	patient = 4 * time.Minute
)

// world is a local cloud and its client's API.
type world struct {
	*cloud.Cloud
	api *sdk.Client
}

// begin starts a cloud in a folder with a short name: a socket's path may not be long.
func begin(c cloud.Config) (*world, error) {
	dir, err := os.MkdirTemp("", "weather-")
	if err != nil {
		return nil, err
	}
	c.Dir, c.Hearth, c.Settle = dir, program("hearth"), 2*time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	cl, err := cloud.Start(ctx, c)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	w := &world{Cloud: cl}
	w.api, err = sdk.New(sdk.Config{Socket: api.Socket(cl.Client.Dir)})
	if err != nil {
		w.stop()
		return nil, err
	}
	return w, nil
}

func (w *world) stop() {
	if w.api != nil {
		w.api.Close()
	}
	w.Cloud.Stop()
	os.RemoveAll(w.Dir)
}

// start gives a test a cloud of its own.
func start(t *testing.T, hosts int, class erasure.Class) *world {
	t.Helper()
	w, err := begin(cloud.Config{Hosts: hosts, Class: class})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.stop)
	t.Cleanup(func() { w.logs(t) })
	return w
}

// common are the clouds of tests that leave one as they found it: six hosts, files
// coded 2/4, so that there are two spares. One test at a time has each, and who
// finds none free starts one: there are as many as such tests run beside another.
var common struct {
	sync.Mutex
	free []*world
}

// shared gives a test a common cloud, and has it put right again after it.
func shared(t *testing.T) *world {
	t.Helper()
	w := takeCommon()
	if w == nil {
		var err error
		if w, err = begin(cloud.Config{Hosts: 6, Class: twoOfFour}); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { w.giveBack(t) })
	t.Cleanup(func() { w.mend(t) })
	t.Cleanup(func() { w.logs(t) })
	return w
}

func takeCommon() (w *world) {
	common.Lock()
	defer common.Unlock()
	if n := len(common.free); n > 0 {
		w, common.free = common.free[n-1], common.free[:n-1]
	}
	return w
}

// giveBack ends what a test that failed may have left in disorder.
func (w *world) giveBack(t *testing.T) {
	if t.Failed() {
		w.stop()
		return
	}
	common.Lock()
	defer common.Unlock()
	common.free = append(common.free, w)
}

func stopCommon() {
	var wg sync.WaitGroup
	for w := takeCommon(); w != nil; w = takeCommon() {
		wg.Go(w.stop)
	}
	wg.Wait()
}

// mend starts again what doesn't run. A client that saw others fail starts anew
// too, since it avoids them for a while.
func (w *world) mend(t *testing.T) {
	t.Helper()
	harmed := false
	for _, p := range append([]*cloud.Process{w.Ledger}, w.Hosts...) {
		if p.PID() == 0 {
			harmed = true
			w.run(t, p)
		}
	}
	if harmed {
		w.Client.Stop(3 * time.Second)
	}
	if w.Client.PID() == 0 {
		w.run(t, w.Client)
	}
}

// run starts a program of the cloud again and waits until it is ready.
func (w *world) run(t *testing.T, p *cloud.Process) {
	t.Helper()
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if p == w.Ledger {
		return // the nodes wait for it
	}
	if err := p.Ready(within(t, patient)); err != nil {
		t.Fatal(err)
	}
}

// logs shows the ends of the logs of a test that failed, and where a process crashed.
func (w *world) logs(t *testing.T) {
	if !t.Failed() {
		return
	}
	for _, p := range append([]*cloud.Process{w.Ledger, w.Client}, w.Hosts...) {
		b, err := os.ReadFile(filepath.Join(p.Dir, "log"))
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		if i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "panic: ") || strings.HasPrefix(l, "fatal error: ") }); i >= 0 {
			t.Logf("%s crashed:\n%s", p.Name, strings.Join(lines[max(0, i-3):min(i+40, len(lines))], "\n"))
		}
		t.Logf("%s:\n%s", p.Name, strings.Join(lines[max(0, len(lines)-12):], "\n"))
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// soon waits until a condition holds: what goes on in the background ends.
func soon(t *testing.T, most time.Duration, what string, holds func() error) {
	t.Helper()
	end := time.Now().Add(most)
	for {
		err := holds()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not after %s: %v", what, most, err)
		}
		time.Sleep(150 * time.Millisecond)
	}
}

// content is n bytes that no other seed gives.
func content(seed uint64, n int) []byte {
	b := make([]byte, n)
	var s [32]byte
	for i := range 8 {
		s[i] = byte(seed >> (8 * i))
	}
	rand.NewChaCha8(s).Read(b)
	return b
}

// midway gives b and calls f once, when half of it was taken.
func midway(b []byte, f func()) io.Reader {
	half := len(b) / 2
	return io.MultiReader(bytes.NewReader(b[:half]), &once{f: f}, bytes.NewReader(b[half:]))
}

type once struct{ f func() }

func (o *once) Read([]byte) (int, error) {
	o.f()
	return 0, io.EOF
}

func (w *world) put(t *testing.T, key string, b []byte) api.Object {
	t.Helper()
	o, err := w.api.Put(within(t, patient), bucket, key, bytes.NewReader(b), int64(len(b)), sdk.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// reads says whether an object reads and is what it should be.
func (w *world) reads(ctx context.Context, key string, want []byte) error {
	in, err := w.api.Get(ctx, bucket, key, sdk.GetOptions{})
	if err != nil {
		return err
	}
	defer in.Close()
	got, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("get %s: %d bytes, and not the %d that were stored", key, len(got), len(want))
	}
	return nil
}

func (w *world) mustRead(t *testing.T, key string, want []byte) {
	t.Helper()
	if err := w.reads(within(t, patient), key, want); err != nil {
		t.Fatal(err)
	}
}

// listed says whether a key is in the list.
func (w *world) listed(t *testing.T, key string) bool {
	t.Helper()
	for o, err := range w.api.Walk(within(t, patient), bucket, "") {
		if fault.CodeOf(err) == fault.NotFound {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		if o.Key == key {
			return true
		}
	}
	return false
}

// host asks a host's own API.
func (w *world) host(i int) (api.Host, error) {
	c, err := sdk.New(sdk.Config{Socket: api.Socket(w.Hosts[i].Dir)})
	if err != nil {
		return api.Host{}, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	return c.Host(ctx)
}

// held is what the hosts that run hold of shards, under a statement or not.
func (w *world) held() (used, pending int64, err error) {
	for i, p := range w.Hosts {
		if p.PID() == 0 {
			continue
		}
		h, err := w.host(i)
		if err != nil {
			return 0, 0, err
		}
		used, pending = used+h.Used, pending+h.Pending
	}
	return used, pending, nil
}

// logRoom is what the list of files itself may take at hosts meanwhile.
const logRoom = 256 << 10

// freed waits until the hosts hold no more than used bytes, but for the log.
func (w *world) freed(t *testing.T, used int64) {
	t.Helper()
	soon(t, patient, "free the space at hosts", func() error {
		u, p, err := w.held()
		if err != nil {
			return err
		}
		if u > used+logRoom || p > 0 {
			return fmt.Errorf("%d bytes used, %d pending; %d were before", u, p, used)
		}
		return nil
	})
}

// account is the ledger account of a host.
func (w *world) account(t *testing.T, i int) string {
	t.Helper()
	a, err := cloud.Account(w.Hosts[i].Dir)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// shards counts an object's shards by host, as those say who are asked.
func (w *world) shards(t *testing.T, key string) (by map[string]int, states map[string]int) {
	t.Helper()
	h, err := w.api.Health(within(t, patient), bucket, key)
	if err != nil {
		t.Fatal(err)
	}
	by, states = map[string]int{}, map[string]int{}
	for _, s := range h.Slabs {
		for _, sh := range s.Shards {
			by[sh.Host]++
			states[sh.State]++
		}
	}
	return by, states
}

// whole waits until every shard of an object is held, none of them by a host of not.
func (w *world) whole(t *testing.T, most time.Duration, key string, not ...string) {
	t.Helper()
	soon(t, most, "make "+key+" whole", func() error {
		by, states := w.shards(t, key)
		for state, n := range states {
			if state != "held" {
				return fmt.Errorf("%d shards are %s", n, state)
			}
		}
		for _, h := range not {
			if by[h] > 0 {
				return fmt.Errorf("%d shards still lie at %s", by[h], h)
			}
		}
		return nil
	})
}

// wants checks a fault's code.
func wants(t *testing.T, what string, err error, codes ...fault.Code) {
	t.Helper()
	for _, c := range codes {
		if err != nil && fault.CodeOf(err) == c {
			return
		}
	}
	t.Errorf("%s: %v; want the code %v", what, err, codes)
}

// hearth runs the command line in a folder.
func hearth(t *testing.T, dir string, args ...string) (out string, status int) {
	t.Helper()
	cmd := exec.CommandContext(within(t, patient), program("hearth"), append([]string{"--dir", dir}, args...)...)
	b, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}
