package test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"hearth/api"
	"hearth/core/network"
	"hearth/sdk"
	"hearth/wallet"
)

const (
	accounts = 4                 // scripts that have money of their own
	funds    = 1_000_000_000_000 // uember
	patience = 4 * time.Minute   // far more than a busy machine needs
)

// A ledger is a real one, shared by the scripts of a run.
type ledger struct {
	name  network.Name
	words chan string // phrases of accounts that have money, one for each script
}

// startLedger runs a ledger until the test ends, with the parameters of hosts changed
// where that is wanted.
func startLedger(t *testing.T, bin string, change func(hosts map[string]any)) *ledger {
	home := filepath.Join(t.TempDir(), "ledger")
	init := []string{"init", "--home", home, "--local"}
	l := &ledger{words: make(chan string, accounts)}
	for range accounts {
		phrase, err := wallet.NewPhrase()
		if err != nil {
			t.Fatal(err)
		}
		keys, err := wallet.Derive(phrase, 0)
		if err != nil {
			t.Fatal(err)
		}
		init = append(init, "--fund", fmt.Sprintf("%s=%d", keys.Account().Address(), uint64(funds)))
		l.words <- phrase.Reveal()
	}
	program := filepath.Join(bin, "hearth-ledger")
	if out, err := exec.Command(program, init...).CombinedOutput(); err != nil {
		t.Fatalf("found ledger: %v\n%s", err, out)
	}
	if change != nil {
		if err := changeGenesis(filepath.Join(home, "config", "genesis.json"), change); err != nil {
			t.Fatal(err)
		}
	}
	start := exec.Command(program, "start", "--home", home, "--listen", "127.0.0.1:0", "--check-laws")
	start.Stderr = os.Stderr
	says, err := start.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := start.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = start.Process.Signal(syscall.SIGTERM) // it may have ended already
		if err := start.Wait(); err != nil {
			t.Errorf("the ledger ended: %v", err)
		}
	})
	lines := bufio.NewScanner(says)
	if !lines.Scan() {
		t.Fatal("the ledger said nothing")
	}
	if l.name, err = network.Parse(lines.Text()); err != nil {
		t.Fatal(err)
	}
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "block ") {
		t.Fatalf("the ledger has no block: %q", lines.Text())
	}
	return l
}

// changeGenesis changes the parameters of hosts, and with them the network's name.
func changeGenesis(file string, change func(hosts map[string]any)) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var g map[string]any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&g); err != nil {
		return err
	}
	at := g
	for _, part := range []string{"app_state", "hosts", "params"} {
		next, ok := at[part].(map[string]any)
		if !ok {
			return fmt.Errorf("%s: it has no %s", file, part)
		}
		at = next
	}
	change(at)
	if b, err = json.Marshal(g); err != nil {
		return err
	}
	if g["chain_id"], err = network.ChainID(b); err != nil {
		return err
	}
	if b, err = json.Marshal(g); err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o600)
}

// setup gives a script a way of its own to the ledger, until `cutledger` ($NETWORK,
// and its parts $CHAIN and $LEDGER), and the words of an account with money ($WORDS).
func (l *ledger) setup(e *testscript.Env) error {
	r, err := newRelay(strings.TrimPrefix(l.name.URLs[0], "http://"))
	if err != nil {
		return err
	}
	e.Defer(r.cut)
	e.Values[relayKey{}] = r
	e.Setenv("CHAIN", l.name.ChainID)
	url := "http://" + r.listener.Addr().String()
	e.Setenv("LEDGER", url)
	e.Setenv("NETWORK", network.Name{ChainID: l.name.ChainID, URLs: []string{url}}.String())
	e.Setenv("WORDS", filepath.Join(e.WorkDir, "words-of-money"))
	return os.WriteFile(e.Getenv("WORDS"), []byte(<-l.words), 0o600)
}

type relayKey struct{}

// A relay passes connections on until it is cut.
type relay struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	over  bool
	conns []net.Conn
}

func newRelay(to string) (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{listener: l, to: to}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go r.pass(c)
		}
	}()
	return r, nil
}

func (r *relay) pass(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	defer out.Close()
	r.mu.Lock()
	if r.over {
		r.mu.Unlock()
		return
	}
	r.conns = append(r.conns, in, out)
	r.mu.Unlock()
	go func() {
		_, _ = io.Copy(out, in)
		out.Close()
	}()
	_, _ = io.Copy(in, out)
}

func (r *relay) cut() {
	r.listener.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	for _, c := range r.conns {
		c.Close()
	}
}

// cutLedger ends the script's way to the ledger.
func cutLedger(ts *testscript.TestScript, _ bool, _ []string) { ts.Value(relayKey{}).(*relay).cut() }

// ready waits until the node in a folder answers and has seen a block, and
// optionally so many hosts that sell: `ready DIR [HOSTS]`.
func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: ready DIR [HOSTS]")
	}
	want := ""
	if len(args) > 1 {
		want = args[1]
	}
	ts.Check(awaitNode(ts.MkAbs(args[0]), want))
}

func awaitNode(dir, hosts string) error {
	client, err := sdk.New(sdk.Config{Socket: api.Socket(dir)})
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		n, err := client.Node(ctx)
		if err == nil && n.Ledger.Height == 0 {
			err = errors.New("it has seen no block")
		}
		if err == nil && hosts != "" {
			q, e := client.Quotes(ctx, "storage")
			if err = e; err == nil && fmt.Sprint(len(q.Quotes)) != hosts {
				err = fmt.Errorf("%d hosts answer", len(q.Quotes))
			}
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("node in %s isn't ready: %w", dir, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
