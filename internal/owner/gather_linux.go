package owner

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Known says whether this system shows what Facts need.
const Known = true

// ticks are those of a second in /proc, on every architecture (proc(5), USER_HZ).
const ticks = 100

// programs are hearth's, as /proc names them.
var programs = map[string]bool{"hearth": true, "hearth-node": true, sandboxes: true, "hearth-ledger": true}

// Gather reads what this machine shows.
func Gather() (Facts, error) { return gather("/", os.Getpid()) }

// gather reads what the system shows below root; self is a process that is hearth's
// whatever its name.
func gather(root string, self int) (Facts, error) {
	f := Facts{At: time.Now(), Cores: runtime.NumCPU(), Ours: map[Process]time.Duration{}}
	text, err := os.ReadFile(filepath.Join(root, "proc/stat"))
	if err != nil {
		return f, fmt.Errorf("look whether the machine is in use: %w", err)
	}
	if f.Busy, err = busy(text); err != nil {
		return f, fmt.Errorf("look whether the machine is in use: %w", err)
	}
	all, err := processes(filepath.Join(root, "proc"))
	if err != nil {
		return f, fmt.Errorf("look whether the machine is in use: %w", err)
	}
	for _, p := range ours(all, self) {
		f.Ours[Process{p.id, p.began}] = p.used
	}
	f.Touched = touched(root, lent(root, all))
	f.Reports = reports(root)
	return f, nil
}

// sandboxes is the program that runs others' containers. Its processes are in sessions of
// their own, so a terminal that one has open isn't the owner's.
const sandboxes = "hearth-sandbox"

// lent are the terminals that tenants use, as far as this process may see.
func lent(root string, all []process) map[string]bool {
	out := map[string]bool{}
	for _, p := range below(all, func(p process) bool { return p.name == sandboxes }) {
		open := filepath.Join(root, "proc", strconv.Itoa(p.id), "fd")
		entries, err := os.ReadDir(open)
		if err != nil {
			continue // it has ended, or is hidden
		}
		for _, e := range entries {
			if to, err := os.Readlink(filepath.Join(open, e.Name())); err == nil && strings.HasPrefix(to, "/dev/pts/") {
				out[filepath.Join(root, to)] = true
			}
		}
	}
	return out
}

// touched is when a terminal of the owner's was last typed in, or an input device read,
// as w(1) has it.
func touched(root string, lent map[string]bool) (last time.Time) {
	for _, pattern := range []string{"dev/input/event*", "dev/tty[0-9]*", "dev/ttyS*", "dev/pts/[0-9]*"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			continue
		}
		for _, path := range found {
			var st unix.Stat_t
			if lent[path] || unix.Stat(path, &st) != nil {
				continue // a tenant's, or gone meanwhile
			}
			if at := time.Unix(st.Atim.Unix()); at.After(last) {
				last = at
			}
		}
	}
	return last
}

// reports counts what keyboards and mice have sent: over USB, where they are known by
// their class (HID 1.11, 4.2 and 4.3), and on the controller of a notebook's own.
func reports(root string) (n uint64) {
	usb := filepath.Join(root, "sys/bus/usb/devices")
	found, err := filepath.Glob(filepath.Join(usb, "*:*"))
	if err != nil {
		return 0
	}
	seen := map[string]bool{}
	for _, dir := range found {
		device, _, _ := strings.Cut(filepath.Base(dir), ":")
		protocol := word(filepath.Join(dir, "bInterfaceProtocol"))
		if seen[device] || word(filepath.Join(dir, "bInterfaceClass")) != "03" || protocol != "01" && protocol != "02" {
			continue
		}
		seen[device] = true
		sent, _ := strconv.ParseUint(word(filepath.Join(usb, device, "urbnum")), 10, 64)
		n += sent
	}
	text, err := os.ReadFile(filepath.Join(root, "proc/interrupts"))
	if err != nil {
		return n
	}
	for line := range bytes.Lines(text) {
		if !bytes.Contains(line, []byte("i8042")) {
			continue
		}
		for i, field := range strings.Fields(string(line)) {
			count, err := strconv.ParseUint(field, 10, 64)
			if err == nil {
				n += count
			} else if i > 0 {
				break
			}
		}
	}
	return n
}

func word(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// busy is what all cores together have computed, of the first line of /proc/stat: for
// programs, not for interrupts, which traffic makes.
func busy(stat []byte) (time.Duration, error) {
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	f := strings.Fields(string(line))
	if len(f) < 4 || f[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat begins with %.80q", line)
	}
	var sum uint64
	for _, field := range f[1:4] { // user, nice, system
		n, err := strconv.ParseUint(field, 10, 50)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat begins with %.80q", line)
		}
		sum += n
	}
	return time.Duration(sum) * time.Second / ticks, nil
}

// process is one of this machine.
type process struct {
	id, parent int
	name       string
	began      uint64
	used       time.Duration // with those of its children that have ended
}

func processes(proc string) ([]process, error) {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil, err
	}
	var all []process
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		text, err := os.ReadFile(filepath.Join(proc, e.Name(), "stat"))
		if err != nil {
			continue // it has ended
		}
		if p, ok := parse(text); ok {
			all = append(all, p)
		}
	}
	return all, nil
}

// parse reads /proc/PID/stat (proc(5)); a name may hold anything.
func parse(text []byte) (p process, ok bool) {
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return p, false
	}
	id, err := strconv.Atoi(strings.TrimSpace(string(text[:open])))
	f := strings.Fields(string(text[end+1:]))
	if err != nil || len(f) < 20 {
		return p, false
	}
	p = process{id: id, name: string(text[open+1 : end])}
	if p.parent, err = strconv.Atoi(f[1]); err != nil {
		return p, false
	}
	var sum uint64
	for _, field := range f[11:15] {
		n, err := strconv.ParseUint(field, 10, 50)
		if err != nil {
			return p, false
		}
		sum += n
	}
	p.used = time.Duration(sum) * time.Second / ticks
	p.began, err = strconv.ParseUint(f[19], 10, 64)
	return p, err == nil
}

// ours are hearth's programs and all that they have started, so far as that is alive.
func ours(all []process, self int) []process {
	return below(all, func(p process) bool { return programs[p.name] || p.id == self })
}

// below are the processes that top tells, and all that they have started.
func below(all []process, top func(process) bool) (out []process) {
	started := map[int][]process{}
	for _, p := range all {
		started[p.parent] = append(started[p.parent], p)
	}
	seen := map[int]bool{}
	var take func(p process)
	take = func(p process) {
		if seen[p.id] {
			return
		}
		seen[p.id] = true
		out = append(out, p)
		for _, child := range started[p.id] {
			take(child)
		}
	}
	for _, p := range all {
		if top(p) {
			take(p)
		}
	}
	return out
}
