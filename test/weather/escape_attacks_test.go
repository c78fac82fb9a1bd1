//go:build linux

package weather

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"hearth/compute/sandbox"
	"hearth/core/fault"
	"hearth/node/cloud"
)

// rights: nothing that leads out of a sandbox is open, to its root and to another user.
func (a *arena) rights(t *testing.T, b *box) {
	canary := filepath.Join(a.house.Dir, "canary")
	if err := os.WriteFile(canary, []byte("of the host"), 0o644); err != nil {
		t.Fatal(err)
	}
	before := machine(t)
	for _, user := range []string{"root", "app"} {
		out, status := hearth(t, a.Client.Dir, "exec", "-u", user, "evil", "--", "/bin/escape", "rights", strconv.Itoa(a.house.PID()), canary, filepath.Join(a.house.Dir, "config.toml"), program("hearth"))
		if status != 0 || strings.Contains(out, "GAINED") || !strings.Contains(out, "tried ") || strings.Count(out, "refused") < 40 {
			t.Errorf("as %s, exit %d: %s", user, status, out)
		}
	}
	if after := machine(t); after != before {
		t.Errorf("the machine was\n%s\nand is\n%s", before, after)
	}
	b.powerless(t)
}

// machine is what a tenant must not change of the machine.
func machine(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, name := range []string{"/proc/sys/kernel/hostname", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/self/mountinfo", "/proc/swaps", "/etc/hosts"} {
		b, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		fmt.Fprintf(&all, "%s: %s\n", name, b)
	}
	return all.String()
}

// network: of the machine, of what is around it and of mail nothing answers, though all
// of the Internet is open.
func (a *arena) network(t *testing.T) {
	hit := make(chan string, 1000)
	var ports []string
	for _, at := range []string{"0.0.0.0:0", "[::]:0"} {
		l, err := net.Listen("tcp", at)
		if err != nil {
			continue // a machine without this kind of addresses
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		ports = append(ports, port)
		go func() {
			for c, err := l.Accept(); err == nil; c, err = l.Accept() {
				hit <- "tcp " + c.RemoteAddr().String()
				c.Close()
			}
		}()
		u, err := net.ListenPacket("udp", net.JoinHostPort(strings.Trim(at[:len(at)-2], "[]"), port))
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		go func() {
			b := make([]byte, 64)
			for _, from, err := u.ReadFrom(b); err == nil; _, from, err = u.ReadFrom(b) {
				hit <- "udp " + from.String()
				if _, err := u.WriteTo(b[:1], from); err != nil {
					return
				}
			}
		}()
	}
	for _, p := range append([]*cloud.Process{a.Ledger, a.Client}, a.Hosts...) {
		at := listening(p.PID())
		if ports = append(ports, at...); len(at) == 0 && p != a.Client {
			t.Errorf("%s listens nowhere", p.Name)
		}
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	hosts := []string{"127.0.0.1", "10.87.0.1", "0.0.0.0", "::1", "localhost"}
	for _, o := range own {
		if p, _, err := net.ParseCIDR(o.String()); err == nil && !p.IsLinkLocalUnicast() {
			hosts = append(hosts, p.String())
		}
	}
	args := []string{"scan"}
	for _, host := range hosts {
		for _, port := range ports {
			args = append(args, net.JoinHostPort(host, port))
		}
	}
	args = append(args, "169.254.169.254:80", "10.0.0.1:80", "172.16.0.1:443", "192.168.0.1:80", "192.168.1.1:443", "100.64.0.1:80", "198.51.100.1:80",
		"1.1.1.1:25", "1.1.1.1:465", "1.1.1.1:587") // mail is closed everywhere
	out := a.does(t, "evil", args...)
	if strings.Contains(out, "GAINED") || strings.Contains(out, "silent") || !strings.Contains(out, fmt.Sprint("scanned ", len(args)-1)) {
		t.Errorf("of %v: %s", args, out)
	}
	select {
	case who := <-hit:
		t.Errorf("it was reached: %s", who)
	default:
	}
}

// disk: who writes finds a disk of its size, whose bytes are gone when it is.
func (a *arena) disk(t *testing.T, b *box) {
	out := a.does(t, "evil", "disk")
	for dir, most := range map[string]int{"/tmp": tenantMemory / 2, "/dev/shm": 64 << 20, "/srv": tenantDisk} {
		_, rest, _ := strings.Cut(out, "disk "+dir+" ")
		var n int
		if _, err := fmt.Sscan(rest, &n); err != nil || n < most/2 || n > most || !strings.Contains(rest, "no space left on device") {
			t.Errorf("%s took %d bytes of %d: %s", dir, n, most, out)
		}
	}
	written, memory := b.written(), b.memory()
	t.Logf("%d MiB are on the host's disk, and %d in memory", written>>20, memory>>20)
	if os.Geteuid() == 0 && written < tenantDisk/2 || written > tenantDisk+4<<20 { // others may not look
		t.Errorf("%d bytes are on the host's disk", written)
	}
	if memory > b.mostMemory() {
		t.Errorf("it has %d bytes of memory", memory)
	}
	if out, status := hearth(t, a.Client.Dir, "exec", "evil", "--", "sh", "-c", "echo more > /srv/more || rm /srv/fill* && echo again > /srv/again"); status != 0 || !strings.Contains(out, "No space left") {
		t.Errorf("exit %d: %s", status, out)
	}
}

// processor: who computes on all threads gets its share, and the neighbour its own.
func (a *arena) processor(t *testing.T, b *box) {
	sum := func() time.Duration {
		out := a.does(t, "neighbour", "sum")
		ms, err := strconv.Atoi(strings.TrimSpace(out))
		if err != nil {
			t.Fatal(out)
		}
		return time.Duration(ms) * time.Millisecond
	}
	quiet := sum()
	end := a.begun(t, "exec", "evil", "--", "/bin/escape", "cpu")
	defer end()
	soon(t, patient, "burn", func() error {
		if p := a.instance(t, "evil").Usage.Pids; p < 8 {
			return fmt.Errorf("it has %d processes", p)
		}
		return nil
	})
	used, began := b.cpu(), time.Now()
	busy := sum()
	<-time.After(max(0, time.Until(began.Add(3*time.Second))))
	used, took := b.cpu()-used, time.Since(began)
	t.Logf("%s of processor in %s; the neighbour's sum took %s, and %s before", used, took, busy, quiet)
	if most := float64(tenantCPU) / 1000; b.group != "" && used.Seconds() > took.Seconds()*most*1.2+0.1 {
		t.Errorf("it computed for %s in %s, and may %g of that", used, took, most)
	}
	if busy > 3*quiet+time.Second {
		t.Errorf("the neighbour computed for %s what took %s before", busy, quiet)
	}
}

// loud: whoever writes for ever is never held up, whether somebody reads or not, and fills
// neither the host's disk nor any node's memory.
func (a *arena) loud(t *testing.T) {
	b := a.tenant(t, "loud", "shout")
	before := a.memories(t)
	defer a.begun(t, "logs", "-f", "loud")()
	defer a.begun(t, "exec", "loud", "--", "/bin/escape", "shout")()
	defer a.begun(t, "exec", "evil", "--", "/bin/escape", "shout")()
	at, began := b.logged(t), time.Now()
	for time.Since(began) < 4*time.Second {
		if now := b.kept(t); now > 17<<20 {
			t.Fatalf("its log has %d bytes", now)
		}
		<-time.After(50 * time.Millisecond)
	}
	soon(t, patient, "write on", func() error {
		if now := b.logged(t); now < at+32<<20 {
			return fmt.Errorf("it wrote %d bytes", now-at)
		}
		return nil
	})
	t.Logf("it wrote %d MiB in %s", (b.logged(t)-at)>>20, time.Since(began).Round(time.Millisecond))
	for name, now := range a.memories(t) {
		if now > before[name]+128<<20 {
			t.Errorf("%s had %d MiB of memory and has %d", name, before[name]>>20, now>>20)
		}
	}
	if out, status := hearth(t, a.Client.Dir, "logs", "--tail", "3", "loud"); status != 0 || strings.Count(out, "\n") > 3 {
		t.Errorf("exit %d, %d lines", status, strings.Count(out, "\n"))
	}
}

// bomb: who forks for ever has as many processes as it may. Beside it everything goes on
// at once: another computes, a third writes, and functions loop, grow and recurse.
func (a *arena) bomb(t *testing.T) {
	functions := a.functions(t)
	b := a.tenant(t, "bomb", "fork")
	a.tenant(t, "loud", "shout")
	defer a.begun(t, "exec", "evil", "--", "/bin/escape", "cpu")()
	functions()
	if n := a.workers(); n > 1<<30 {
		t.Errorf("what runs functions has had %d MiB", n>>20)
	}
	soon(t, patient, "fork", func() error {
		if out, _ := hearth(t, a.Client.Dir, "logs", "bomb"); !strings.Contains(out, "no more: fork/exec /bin/escape: resource temporarily unavailable") {
			return errors.New(out)
		}
		return nil
	})
	var inside uint32
	until(t, "its host tells how many it has", func() bool {
		inside = a.instance(t, "bomb").Usage.Pids
		return inside >= tenantPids/4
	})
	threads, most := b.threads(), 2*tenantPids+256
	if b.group == "" {
		most = 4*tenantPids + 1024
	}
	t.Logf("%d processes run in it, and %d threads of the host's", inside, threads)
	if inside > tenantPids || threads > most {
		t.Errorf("%d processes run in it, and %d threads of the host's", inside, threads)
	}
	out, status := hearth(t, a.Client.Dir, "exec", "bomb", "--", "true")
	if status != fault.ExitFailure || !strings.Contains(out, "code:  at_limit") || !strings.Contains(out, "64") {
		t.Errorf("exit %d: %s", status, out)
	}
}

// memory: who takes too much is ended, and is told so.
func (a *arena) memory(t *testing.T, b *box) {
	end := a.begun(t, "exec", "evil", "--", "/bin/escape", "memory")
	defer end()
	var most uint64
	soon(t, patient, "be ended", func() error {
		most = max(most, b.memory())
		if i := a.instance(t, "evil"); i.State != "exited" {
			return errors.New(i.State)
		}
		return nil
	})
	if i := a.instance(t, "evil"); i.Exit != 128+9 || i.Reason != sandbox.OutOfMemory {
		t.Errorf("%+v", i)
	}
	t.Logf("it had %d MiB", most>>20)
	if most > b.mostMemory() {
		t.Errorf("it had %d MiB", most>>20)
	}
	if out, status := hearth(t, a.Client.Dir, "ps"); status != 0 || !strings.Contains(out, "exited (137): out of memory") {
		t.Errorf("exit %d: %s", status, out)
	}
	if out, status := hearth(t, a.Client.Dir, "exec", "evil", "--", "true"); status != fault.ExitConflict || !strings.Contains(out, "it has ended: out of memory") {
		t.Errorf("exit %d: %s", status, out)
	}
	if left := below(b.keeper); len(left) > 1 {
		t.Errorf("of it there are left %v", left)
	}
}
