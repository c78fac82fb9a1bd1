package chain_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hearth/chain"
	"hearth/core/network"
	"hearth/core/quote"
	"hearth/wallet"
)

// A program is the real hearth-ledger, as a process of its own.
type program struct {
	t    *testing.T
	bin  string
	home string
	cmd  *exec.Cmd
	url  string // host:port once it has one, kept over a restart
}

// build compiles the program and makes a local ledger that funds the accounts.
func build(t *testing.T, accounts ...string) *program {
	t.Helper()
	dir := t.TempDir()
	p := &program{t: t, bin: filepath.Join(dir, "hearth-ledger"), home: filepath.Join(dir, "home"), url: "127.0.0.1:0"}
	out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", p.bin, "hearth/cmd/hearth-ledger").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	args := []string{"init", "--home", p.home, "--local", "--block-time", "50ms"}
	for _, a := range accounts {
		args = append(args, "--fund", a+"=100000000")
	}
	if out, err := exec.Command(p.bin, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return p
}

// start runs it up to its first block and returns the network's name.
func (p *program) start() network.Name {
	p.t.Helper()
	p.cmd = exec.Command(p.bin, "start", "--home", p.home, "--listen", p.url, "--check-laws")
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	cmd := p.cmd
	p.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		p.t.Fatal("the ledger ended")
	}
	name, err := network.Parse(lines.Text())
	if err != nil {
		p.t.Fatal(err)
	}
	p.url = strings.TrimPrefix(name.URLs[0], "http://")
	return name
}

func (p *program) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	_ = p.cmd.Wait()
}

// A world is a client and a host on a real ledger.
type world struct {
	*testing.T
	ctx          context.Context
	program      *program
	name         network.Name
	c            *chain.Client
	dir          string
	client, host *wallet.Keys
	lease        uint64
}

func newKeys(t *testing.T, device uint64) *wallet.Keys {
	t.Helper()
	p, err := wallet.NewPhrase()
	if err != nil {
		t.Fatal(err)
	}
	k, err := wallet.Derive(p, device)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, client: newKeys(t, 1), host: newKeys(t, 2), dir: t.TempDir()}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	w.ctx = ctx
	w.program = build(t, w.client.Account().Address(), w.host.Account().Address())
	w.name = w.program.start()
	w.c = w.dial(w.dir)
	return w
}

func (w *world) dial(dir string) *chain.Client {
	w.Helper()
	c, err := chain.Dial(w.ctx, chain.Config{Network: w.name, Dir: dir, Poll: 20 * time.Millisecond, Patience: 10 * time.Second})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = c.Close() })
	return c
}

// must ends the test on an error.
func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (w *world) registerHost() chain.HostTerms {
	w.Helper()
	terms := chain.HostTerms{
		Roles: chain.RoleStorage, Region: "here", Hardware: chain.Hardware{CPUMilli: 2000, DiskBytes: 1 << 40},
		Endpoints: []string{"/ip4/127.0.0.1/tcp/4001", "/ip4/127.0.0.1/tcp/4002/tls"},
	}
	address := w.host.Account().Address()
	proof := ed25519.Sign(w.host.Node(), chain.HostKeyDigest(w.c.ChainID(), address))
	key := [32]byte(w.host.Node().Public().(ed25519.PublicKey))
	must(w.c.Send(w.ctx, w.host.Account(), chain.RegisterHost(address, address, key, proof, terms)))(w)
	return terms
}

func (w *world) quote(now int64) quote.Signed {
	return quote.Quote{
		ChainID: w.c.ChainID(), Host: w.host.Account().Address(), Kind: quote.Storage,
		Prices: quote.Prices{Unit: [3]uint64{1_000_000_000_000}, In: 10, Out: 20}, ValidUntil: now + 3600,
	}.Sign(w.host.Node())
}
