package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hearth/core/network"
)

// The test binary is the program too, so that it is linked once.
func TestMain(m *testing.M) {
	if os.Getenv("HEARTH_LEDGER_TEST_PROGRAM") != "" {
		main()
	}
	os.Exit(m.Run())
}

func command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), "HEARTH_LEDGER_TEST_PROGRAM=1")
	return cmd
}

// say runs the program to its end and returns what it printed.
func say(t *testing.T, args ...string) string {
	t.Helper()
	var errs bytes.Buffer
	cmd := command(t.Context(), args...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, &errs)
	}
	return string(out)
}

// A running is a node that runs as a process.
type running struct {
	cmd  *exec.Cmd
	out  *bufio.Scanner
	name network.Name
	errs *bytes.Buffer
}

// start runs a node and waits for its first block.
func start(t *testing.T, home string, args ...string) *running {
	t.Helper()
	r := launch(t, home, args...)
	r.await(t)
	return r
}

func launch(t *testing.T, home string, args ...string) *running {
	t.Helper()
	r := &running{cmd: command(context.Background(), append([]string{"start", "--home", home, "--listen", "127.0.0.1:0", "--check-laws"}, args...)...), errs: new(bytes.Buffer)}
	r.cmd.Stderr = r.errs
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.out = bufio.NewScanner(out)
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
	})
	return r
}

// await waits for the first block, and takes the name that is told with it.
func (r *running) await(t *testing.T) {
	t.Helper()
	if !r.out.Scan() {
		_ = r.cmd.Wait()
		t.Fatalf("it ended: %s", r.errs)
	}
	var err error
	if r.name, err = network.Parse(r.out.Text()); err != nil {
		t.Fatal(err)
	}
}

func (r *running) url() string { return r.name.URLs[0] }

func (r *running) get(t *testing.T, path string, into any) {
	t.Helper()
	if err := ask(t.Context(), r.url()+path, into); err != nil {
		t.Fatal(err)
	}
}

func (r *running) height(t *testing.T) int64 {
	t.Helper()
	var s struct {
		SyncInfo struct {
			Height string `json:"latest_block_height"`
		} `json:"sync_info"`
	}
	r.get(t, "/status", &s)
	h, err := strconv.ParseInt(s.SyncInfo.Height, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// grows waits until the ledger is higher than it was.
func (r *running) grows(t *testing.T, than int64) int64 {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if h := r.height(t); h > than {
			return h
		}
		if time.Now().After(deadline) {
			t.Fatalf("no block after %d: %s", than, r.errs)
		}
	}
}

// stop ends it as a supervisor does, and says how long that took.
func (r *running) stop(t *testing.T) time.Duration {
	t.Helper()
	begin := time.Now()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Wait(); err != nil {
		t.Errorf("it ended with %v: %s", err, r.errs)
	}
	return time.Since(begin)
}

// Two accounts: one that the genesis funds, one that nobody knows.
const (
	funded  = "hearth1qypqxpq9qcrsszg2pvxq6rs0zqg3yyc5uslvgg"
	unknown = "hearth1v4nxw6rfdf4kcmtwdac8zunnw36hvamcugdj97"
)

// A local ledger is made, makes blocks, sponsors a newcomer, is killed, goes on
// with what it had, stops when asked, and exports a chain that goes on.
func TestALocalLedger(t *testing.T) {
	home := filepath.Join(t.TempDir(), "ledger")
	name := strings.TrimSpace(say(t, "init", "--home", home, "--local", "--listen", "127.0.0.1:26657", "--fund", funded+"=7", "--block-time", "50ms"))
	parsed, err := network.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, home)
	if r.name.ChainID != parsed.ChainID {
		t.Errorf("init said %s, start %s", name, r.name)
	}

	// The RPC gives the genesis that the name stands for.
	var g struct {
		Genesis json.RawMessage `json:"genesis"`
	}
	r.get(t, "/genesis", &g)
	if id, err := network.ChainID(g.Genesis); err != nil || id != parsed.ChainID {
		t.Errorf("the genesis of the RPC is %s, %v", id, err)
	}

	sponsor := func(address string) (int, string) {
		res, err := http.Post(r.url()+"/sponsor", "application/json", strings.NewReader(`{"address":"`+address+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(body)
	}
	if code, body := sponsor(funded); code != http.StatusConflict || !strings.Contains(body, `"sponsor_refused"`) {
		t.Errorf("an account that has money: %d %s", code, body)
	}
	if code, body := sponsor("cosmos1nobody"); code != http.StatusBadRequest {
		t.Errorf("no address: %d %s", code, body)
	}
	if code, body := sponsor(unknown); code != http.StatusOK {
		t.Errorf("a newcomer: %d %s", code, body)
	}
	if code, _ := sponsor(unknown); code != http.StatusConflict {
		t.Errorf("the same again: %d", code)
	}

	if out := say(t, "status", "--home", home, "--url", r.url()); !strings.Contains(out, "laws hold") || !strings.Contains(out, parsed.ChainID) {
		t.Errorf("status: %s", out)
	}
	second := command(t.Context(), "start", "--home", home, "--listen", "127.0.0.1:0")
	if out, err := second.CombinedOutput(); err == nil || !strings.Contains(string(out), "already_running") {
		t.Errorf("a second process: %v, %s", err, out)
	}

	before := r.grows(t, 5)
	if err := r.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = r.cmd.Wait()
	r = start(t, home)
	r.grows(t, before)
	if code, _ := sponsor(unknown); code != http.StatusConflict {
		t.Errorf("after the crash the newcomer is forgotten: %d", code)
	}
	if took := r.stop(t); took > time.Minute {
		t.Errorf("stopping took %s", took)
	}

	exported := say(t, "export", "--home", home)
	file := filepath.Join(t.TempDir(), "genesis.json")
	if err := os.WriteFile(file, []byte(exported), 0o600); err != nil {
		t.Fatal(err)
	}
	// The same validator goes on: its home is a copy with another genesis.
	next := filepath.Join(t.TempDir(), "next")
	if err := os.MkdirAll(filepath.Join(next, "config"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"priv_validator_key.json", "sponsor.key"} {
		b, err := os.ReadFile(filepath.Join(home, "config", f))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(next, "config", f), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	say(t, "init", "--home", next, "--genesis", file, "--block-time", "50ms", "--p2p", "127.0.0.1:0")
	n := start(t, next)
	if n.name.ChainID == parsed.ChainID || n.height(t) <= before {
		t.Errorf("%s at %d goes on from %s at %d", n.name.ChainID, n.height(t), parsed.ChainID, before)
	}
	n.stop(t)
}
