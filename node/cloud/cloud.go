// Package cloud runs a whole network on one machine: a ledger with one
// validator, hosts that are each a process with an identity of its own, and a
// funded client. What it starts are the real programs, and it stops them again.
// It is for trying, developing and testing; it keeps nobody's data apart.
package cloud

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"hearth/api"
	"hearth/compute/sandbox"
	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/core/network"
	"hearth/internal/port"
	"hearth/internal/program"
	"hearth/node"
	"hearth/wallet"
)

// A Config says what cloud is wanted. A zero field takes its stated default.
type Config struct {
	Dir      string        // required
	Hosts    int           // default 10; what Dir holds already counts if it is 0
	Reset    bool          // begin anew: what Dir holds is deleted
	Class    erasure.Class // of new files; default 4/8, from 20 hosts on 10/20
	Storage  string        // what a host offers; default 20GB
	Settle   time.Duration // between settlements; default 15 s
	Machines int           // so many hosts rent out machines for instances too
	Hearth   string        // runs nodes, hearth or hearth-node; the others lie beside it; default os.Executable
}

// A Cloud is a running network.
type Cloud struct {
	Dir     string
	Network network.Name
	Class   erasure.Class
	Ledger  *Process
	Client  *Process
	Hosts   []*Process

	unlock func()
}

const (
	defaultHosts = 10
	ember        = 1_000_000
	clientFunds  = 1_000_000 * ember
	figures      = "machine.json" // what this machine can do, for all hosts
	marker       = "cloud"        // a file that says Dir is a cloud's and may be deleted by Reset
)

// Start brings the cloud of c.Dir up, making it first where it isn't there. The
// caller stops it.
func Start(ctx context.Context, c Config) (_ *Cloud, err error) {
	if c.Hearth == "" {
		if c.Hearth, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("start cloud: %w", err)
		}
	}
	ledger, err := program.Find(c.Hearth, "hearth-ledger")
	if err != nil {
		return nil, err
	}
	if c.Dir == "" {
		return nil, fault.New(fault.BadRequest, "start cloud: no folder given")
	}
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return nil, fmt.Errorf("start cloud: %w", err)
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("start cloud: %w", err)
	}
	unlock, err := node.Lock(c.Dir)
	if err != nil {
		return nil, err
	}
	cl, err := open(c, ledger)
	if err != nil {
		unlock()
		return nil, err
	}
	cl.unlock = unlock
	if err := cl.start(ctx); err != nil {
		cl.Stop()
		return nil, err
	}
	return cl, nil
}

// entries are what a folder holds beside our lock.
func entries(dir string) ([]os.DirEntry, error) {
	all, err := os.ReadDir(dir)
	return slices.DeleteFunc(all, func(e os.DirEntry) bool { return e.Name() == "hearth.pid" }), err
}

// reset empties a cloud's folder, and none that isn't one.
func reset(dir string) error {
	held, err := entries(dir)
	if err != nil {
		return fmt.Errorf("reset %s: %w", dir, err)
	}
	if _, err := os.Stat(filepath.Join(dir, marker)); err != nil && len(held) > 0 {
		return fault.New(fault.BadRequest, "reset %s: it isn't a local cloud's folder", dir)
	}
	// The marker goes last, so that a reset that is cut short can be repeated.
	slices.SortFunc(held, func(a, b os.DirEntry) int { return last(a) - last(b) })
	for _, e := range held {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("reset %s: %w", dir, err)
		}
	}
	return nil
}

func last(e os.DirEntry) int {
	if e.Name() == marker {
		return 1
	}
	return 0
}

// open makes or resumes what Dir holds; nothing runs yet.
func open(c Config, ledger string) (*Cloud, error) {
	if c.Reset {
		if err := reset(c.Dir); err != nil {
			return nil, err
		}
	}
	if _, err := os.Stat(filepath.Join(c.Dir, marker)); errors.Is(err, os.ErrNotExist) {
		if err := found(&c, ledger); err != nil {
			return nil, err
		}
	}
	return resume(c, ledger)
}

// found makes a new network: identities first, then a genesis that funds the
// client, then the settings of all nodes.
func found(c *Config, ledger string) error {
	held, err := entries(c.Dir)
	if err != nil {
		return fmt.Errorf("make cloud: %w", err)
	}
	if !abandoned(held) {
		return fault.New(fault.Exists, "make cloud in %s: the folder isn't empty, and it isn't a local cloud's", c.Dir)
	}
	for _, e := range held { // an earlier attempt that was cut short
		if err := os.RemoveAll(filepath.Join(c.Dir, e.Name())); err != nil {
			return fmt.Errorf("make cloud: %w", err)
		}
	}
	if c.Hosts == 0 {
		c.Hosts = defaultHosts
	}
	if c.Class == (erasure.Class{}) {
		c.Class = ClassFor(c.Hosts)
	}
	client, err := wallet.NewPhrase()
	if err != nil {
		return fmt.Errorf("make cloud: %w", err)
	}
	keys, err := wallet.Derive(client, 0)
	if err != nil {
		return fmt.Errorf("make cloud: %w", err)
	}
	name, err := foundLedger(c.Dir, ledger, keys.Account().Address())
	if err != nil {
		return err
	}
	if err := writeNode(filepath.Join(c.Dir, "client"), name, client, clientSettings(*c)); err != nil {
		return err
	}
	for i := range c.Hosts {
		phrase, err := wallet.NewPhrase()
		if err != nil {
			return fmt.Errorf("make cloud: %w", err)
		}
		if err := writeNode(hostDir(c.Dir, i), name, phrase, hostSettings(*c, i)); err != nil {
			return err
		}
	}
	text := fmt.Sprintf("%s\n%d\n%s\n", name, c.Hosts, c.Class)
	return os.WriteFile(filepath.Join(c.Dir, marker), []byte(text), 0o600)
}

// abandoned says whether a folder holds only what found itself makes.
func abandoned(held []os.DirEntry) bool {
	for _, e := range held {
		switch e.Name() {
		case "ledger", "client", "hosts":
		default:
			return false
		}
	}
	return true
}

// ClassFor is the code that suits so many hosts: half of them may be lost.
func ClassFor(hosts int) erasure.Class {
	switch {
	case hosts >= 20:
		return erasure.Class{K: 10, N: 20}
	case hosts >= 8:
		return erasure.Class{K: 4, N: 8}
	case hosts >= 4:
		return erasure.Class{K: 2, N: 4}
	}
	return erasure.Class{K: 1, N: max(2, hosts)}
}

func hostDir(dir string, i int) string { return filepath.Join(dir, "hosts", strconv.Itoa(i)) }

// foundLedger has the ledger program make its genesis, and gives the network's name.
func foundLedger(dir, ledger, client string) (network.Name, error) {
	at, err := port.Free()
	if err != nil {
		return network.Name{}, fmt.Errorf("make cloud: %w", err)
	}
	home := filepath.Join(dir, "ledger")
	cmd := exec.Command(ledger, "init", "--home", home, "--local",
		"--listen", "127.0.0.1:"+strconv.Itoa(at), "--fund", fmt.Sprintf("%s=%d", client, uint64(clientFunds)))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return network.Name{}, fault.New(fault.Internal, "make the ledger: %w: %s", err, strings.TrimSpace(errs.String()))
	}
	for line := range strings.Lines(out.String()) {
		if name, err := network.Parse(strings.TrimSpace(line)); err == nil {
			return name, nil
		}
	}
	return network.Name{}, fault.New(fault.Internal, "make the ledger: it told no network's name: %s", out.String())
}

func clientSettings(c Config) node.Settings {
	s := node.Default()
	s.Local = true
	s.P2P.Listen = "127.0.0.1:0"
	s.Client.Code = c.Class.String()
	s.Client.PurseTarget = "100000 ember"
	s.Client.Cap = "1000000 ember"
	s.Client.IdleLease = "2m"
	s.S3.Listen = freeDoor(api.S3At)
	s.Images.Listen = freeDoor(node.ImagesListen)
	s.Client.Pointer = "1m"
	s.Client.Stewards = 1
	return s
}

// stewards is how many of the hosts look after others' data too.
const stewards = 2

func hostSettings(c Config, i int) node.Settings {
	s := node.Default()
	s.Local = true
	s.Roles = []string{"host"}
	if i < stewards {
		s.Roles = append(s.Roles, "steward")
	}
	s.P2P.Listen = "127.0.0.1:0"
	s.Host.Storage = c.Storage
	if s.Host.Storage == "" {
		s.Host.Storage = "20GB"
	}
	s.Host.Region = "local-" + strconv.Itoa(i)
	settle := c.Settle
	if settle == 0 {
		settle = 15 * time.Second
	}
	s.Host.SettleEvery = settle.String()
	s.Host.PendingFor = "30s"
	s.Host.Instances.Sell = i < c.Machines
	s.Host.Instances.Memory, s.Host.Instances.Disk = "4GiB", "8GiB"
	s.Host.TrashFor = "30s"
	s.Host.Figures = filepath.Join("..", "..", figures)
	return s
}

// writeNode makes a node's folder: settings and identity.
func writeNode(dir string, name network.Name, phrase wallet.Phrase, s node.Settings) error {
	s.Network = name.String()
	if err := s.Save(dir); err != nil {
		return err
	}
	return node.CreateIdentity(dir, phrase, s.Network, nil)
}

// resume reads what found has written.
func resume(c Config, ledger string) (*Cloud, error) {
	f, err := os.Open(filepath.Join(c.Dir, marker))
	if err != nil {
		return nil, fmt.Errorf("start cloud: %w", err)
	}
	defer f.Close()
	var lines []string
	for sc := bufio.NewScanner(f); sc.Scan(); {
		lines = append(lines, sc.Text())
	}
	if len(lines) != 3 {
		return nil, fault.New(fault.DamagedFile, "start cloud: %s isn't whole; --reset begins anew", f.Name())
	}
	name, err := network.Parse(lines[0])
	if err != nil {
		return nil, err
	}
	hosts, err := strconv.Atoi(lines[1])
	if err != nil {
		return nil, fault.New(fault.DamagedFile, "start cloud: %s: %w", f.Name(), err)
	}
	class, err := erasure.Parse(lines[2])
	if err != nil {
		return nil, err
	}
	if c.Hosts != 0 && c.Hosts != hosts {
		return nil, fault.New(fault.Exists, "start cloud in %s: it has %d hosts, not %d; leave --hosts away, or begin anew with --reset", c.Dir, hosts, c.Hosts)
	}
	cl := &Cloud{Dir: c.Dir, Network: name, Class: class}
	home := filepath.Join(c.Dir, "ledger")
	listen := strings.TrimPrefix(name.URLs[0], "http://")
	cl.Ledger = &Process{Name: "ledger", Dir: home, argv: []string{ledger, "start", "--home", home, "--listen", listen, "--check-laws"}}
	run := func(label, dir string) *Process {
		return &Process{Name: label, Dir: dir, argv: []string{c.Hearth, "--dir", dir, "up"}}
	}
	for i := range hosts {
		cl.Hosts = append(cl.Hosts, run("host "+strconv.Itoa(i), hostDir(c.Dir, i)))
	}
	cl.Client = run("client", filepath.Join(c.Dir, "client"))
	return cl, nil
}

const startTime = 3 * time.Minute

// start runs everything: the ledger first, then all nodes together.
func (c *Cloud) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if err := c.Ledger.Start(); err != nil {
		return err
	}
	if err := c.ledgerUp(ctx); err != nil {
		return err
	}
	for _, p := range c.nodes() {
		if err := p.Start(); err != nil {
			return err
		}
	}
	errs := make([]error, len(c.nodes()))
	var wg sync.WaitGroup
	for i, p := range c.nodes() {
		wg.Go(func() { errs[i] = p.Ready(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// ledgerUp waits until the ledger takes connections.
func (c *Cloud) ledgerUp(ctx context.Context) error {
	address := strings.TrimPrefix(c.Network.URLs[0], "http://")
	for {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-c.Ledger.Done():
			return fault.New(fault.LedgerDown, "start ledger: it ended:\n%s", c.Ledger.lastWords())
		case <-ctx.Done():
			return fault.New(fault.LedgerDown, "start ledger: %w:\n%s", err, c.Ledger.lastWords())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (c *Cloud) nodes() []*Process { return append(append([]*Process{}, c.Hosts...), c.Client) }

// Who is stopped has so long before it is killed; all of it is under five seconds.
const (
	stopTime   = 4700 * time.Millisecond
	clientTime = 1500 * time.Millisecond
	ledgerTime = 900 * time.Millisecond
	// what instances have to end by themselves, and until they are given up
	instanceGrace = 100 * time.Millisecond
	instanceTime  = 10 * time.Second
)

// Measure measures this machine, once for all hosts, which look for that.
func (c *Cloud) Measure(ctx context.Context) error {
	return node.MeasureShared(ctx, filepath.Join(c.Dir, figures))
}

// Stop ends everything in under five seconds: the client first, then the hosts,
// which settle and have what time the client leaves, then the ledger. Instances, which
// outlive a host of its own, end with it here.
func (c *Cloud) Stop() {
	began := time.Now()
	c.Client.Stop(clientTime)
	left := stopTime - ledgerTime - time.Since(began)
	var wg sync.WaitGroup
	for _, p := range c.Hosts {
		wg.Go(func() {
			p.Stop(left)
			ctx, cancel := context.WithTimeout(context.Background(), instanceTime)
			defer cancel()
			if err := sandbox.EndAll(ctx, node.Sandboxes(p.Dir), instanceGrace); err != nil {
				slog.Warn("instances may still run", "host", p.Dir, "err", err)
			}
			node.LeaveGroup(p.Dir)
		})
	}
	wg.Wait()
	c.Ledger.Stop(ledgerTime)
	c.unlock()
}

// Account is the ledger account of the node in dir, whose identity isn't sealed.
func Account(dir string) (string, error) {
	id, err := node.OpenIdentity(dir, nil)
	if err != nil {
		return "", err
	}
	keys, err := wallet.Derive(id.Phrase, id.Device)
	if err != nil {
		return "", err
	}
	return keys.Account().Address(), nil
}
