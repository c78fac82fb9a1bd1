package netns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hearth/api"
	"hearth/core/fault"
	"hearth/sdk"
)

const (
	all     = "198.18.0.0/16" // for tests between networks (RFC 2544)
	patient = 4 * time.Minute // far more than a busy machine needs
)

// A world is machines on one bridge, each in a namespace. Nothing joins two worlds.
type world struct {
	*testing.T
	dir, bin string
	mark     string // begins the names of what is the kernel's
	machines map[string]*machine
}

var worlds atomic.Int32

// A machine has one address, one folder, and runs at most one program that stays.
type machine struct {
	w          *world
	name, addr string
	ns         string // of its namespace
	dir        string
	cmd        *exec.Cmd
	ended      chan struct{}
}

func newWorld(t *testing.T) *world {
	if _, err := exec.LookPath("ip"); err != nil {
		t.Fatal("no `ip` here: test/setup.sh installs it (iproute2)")
	}
	mark := fmt.Sprintf("w%d-", worlds.Add(1))
	w := &world{T: t, dir: t.TempDir(), bin: os.Getenv(inside), mark: mark, machines: map[string]*machine{}}
	w.ip("link", "add", w.mark+"street", "type", "bridge")
	w.ip("link", "set", w.mark+"street", "up")
	t.Cleanup(w.end)
	return w
}

// end stops what still runs, tells the last words of all if the test failed, and
// takes machines and bridge away for the next test.
func (w *world) end() {
	for _, m := range w.machines {
		m.signal(syscall.SIGKILL)
		if w.Failed() {
			w.Logf("%s (%s):\n%s", m.name, m.addr, tail(m.output()))
		}
		w.ip("netns", "del", m.ns)
	}
	w.ip("link", "del", w.mark+"street")
}

func tail(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-25):], "\n")
}

func (w *world) ip(args ...string) {
	w.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		w.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// machine adds one with an address in a /24; the others' networks are reached
// over the bridge as well.
func (w *world) machine(name, addr string) *machine {
	w.Helper()
	m := &machine{w: w, name: name, ns: w.mark + name, dir: filepath.Join(w.dir, name)}
	if err := os.Mkdir(m.dir, 0o700); err != nil {
		w.Fatal(err)
	}
	w.ip("netns", "add", m.ns)
	w.ip("link", "add", m.ns, "type", "veth", "peer", "name", "eth0", "netns", m.ns)
	w.ip("link", "set", m.ns, "master", w.mark+"street", "up")
	w.ip("-n", m.ns, "link", "set", "lo", "up")
	w.ip("-n", m.ns, "link", "set", "eth0", "up")
	m.moveTo(addr)
	w.machines[name] = m
	return m
}

// moveTo gives the machine another address instead of the one it has.
func (m *machine) moveTo(addr string) {
	m.w.Helper()
	m.w.ip("-n", m.ns, "addr", "flush", "dev", "eth0", "scope", "global")
	m.w.ip("-n", m.ns, "addr", "add", addr+"/24", "dev", "eth0")
	m.w.ip("-n", m.ns, "route", "add", all, "dev", "eth0")
	m.addr = addr
}

func (m *machine) command(ctx context.Context, args []string) *exec.Cmd {
	c := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", m.ns, filepath.Join(m.w.bin, args[0])}, args[1:]...)...)
	c.Env = append(os.Environ(), "HEARTH_DIR="+m.dir)
	return c
}

// try runs a program on the machine to its end.
func (m *machine) try(args ...string) (stdout, stderr string, status int) {
	m.w.Helper()
	ctx, cancel := context.WithTimeout(m.w.Context(), patient)
	defer cancel()
	var out, errs bytes.Buffer
	c := m.command(ctx, args)
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		m.w.Fatalf("%s: %v: %v", m.name, args, err)
	}
	return out.String(), errs.String(), c.ProcessState.ExitCode()
}

// run runs a program that must succeed, and returns what it printed.
func (m *machine) run(args ...string) string {
	m.w.Helper()
	out, errs, status := m.try(args...)
	if status != 0 {
		m.w.Fatalf("%s: %v: status %d\n%s%s", m.name, args, status, out, errs)
	}
	return out
}

// start runs a program until it is stopped; what it says is kept.
func (m *machine) start(args ...string) {
	m.w.Helper()
	log, err := os.OpenFile(filepath.Join(m.dir, "output"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		m.w.Fatal(err)
	}
	defer log.Close()
	m.cmd = m.command(context.Background(), args)
	m.cmd.Stdout, m.cmd.Stderr = log, log
	if err := m.cmd.Start(); err != nil {
		m.w.Fatal(err)
	}
	ended := make(chan struct{})
	m.ended = ended
	go func(c *exec.Cmd) {
		_ = c.Wait() // how it ended stands in its output
		close(ended)
	}(m.cmd)
}

func (m *machine) output() string {
	b, err := os.ReadFile(filepath.Join(m.dir, "output"))
	if err != nil {
		return ""
	}
	return string(b)
}

// says waits until the running program has printed something.
func (m *machine) says(pattern string) {
	m.w.Helper()
	re := regexp.MustCompile(pattern)
	m.w.eventually(func() error {
		select {
		case <-m.ended:
			m.w.Fatalf("%s ended:\n%s", m.name, m.output())
		default:
		}
		if !re.MatchString(m.output()) {
			return fmt.Errorf("%s didn't say %q", m.name, pattern)
		}
		return nil
	})
}

// signal ends the running program with s.
func (m *machine) signal(s syscall.Signal) {
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Signal(s) // it may have ended already
	select {
	case <-m.ended:
	case <-time.After(patient):
		m.w.Errorf("%s didn't end after %s", m.name, s)
		_ = m.cmd.Process.Kill()
		<-m.ended
	}
	m.cmd = nil
}

// client opens the API of the node on the machine.
func (m *machine) client() *sdk.Client {
	m.w.Helper()
	c, err := sdk.New(sdk.Config{Socket: api.Socket(m.dir)})
	if err != nil {
		m.w.Fatal(err)
	}
	m.w.Cleanup(func() { c.Close() })
	return c
}

// setting changes a line of config.toml.
func (m *machine) setting(name, value string) {
	m.w.Helper()
	path := filepath.Join(m.dir, "config.toml")
	text, err := os.ReadFile(path)
	if err != nil {
		m.w.Fatal(err)
	}
	re := regexp.MustCompile(`(?m)^` + name + ` = .*$`)
	if !re.Match(text) {
		m.w.Fatalf("%s: no setting %s in\n%s", m.name, name, text)
	}
	if err := os.WriteFile(path, re.ReplaceAll(text, fmt.Appendf(nil, "%s = '%s'", name, value)), 0o600); err != nil {
		m.w.Fatal(err)
	}
}

// eventually waits until check finds nothing wrong.
func (w *world) eventually(check func() error) {
	w.Helper()
	for deadline := time.Now().Add(patient); ; time.Sleep(100 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			w.Fatal(err)
		}
	}
}

// refused checks that a command failed as it should: its code, its exit status,
// and a message a person understands.
func (m *machine) refused(code fault.Code, says string, args ...string) {
	m.w.Helper()
	out, errs, status := m.try(args...)
	entry, ok := fault.Lookup(code)
	if !ok {
		m.w.Fatalf("no such code: %s", code)
	}
	if status != entry.Exit || !strings.Contains(errs, "code:  "+string(code)) || !regexp.MustCompile(says).MatchString(errs) {
		m.w.Fatalf("%s: %v: status %d, want %d, %s and %q:\n%s%s", m.name, args, status, entry.Exit, code, says, out, errs)
	}
}
