//go:build linux

package weather

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hearth/compute/sandbox"
	"hearth/compute/sandbox/wire"
	"hearth/node/cloud"
)

// A box is an instance as its host's machine has it: a keeper, processes below it, and a
// folder.
type box struct {
	dir    string
	keeper int
	group  string // the kind of control groups that keep its limits, or ""
}

func (b *box) state(t *testing.T) (s sandbox.State) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(b.dir, wire.StateFile))
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// below is a process and all that come from it.
func below(pid int) []int {
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", all[i]))
		for _, name := range threads {
			text, _ := os.ReadFile(name) // a thread that has ended has none
			for f := range strings.FieldsSeq(string(text)) {
				if child, err := strconv.Atoi(f); err == nil {
					all = append(all, child)
				}
			}
		}
	}
	return all
}

// status is a field of /proc/PID/status, "" of a process that is gone.
func status(pid int, field string) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(text), "\n"+field+":")
	value, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(value)
}

// kib is such a field that is a number of KiB, in bytes.
func kib(pid int, field string) uint64 {
	n, _ := strconv.ParseUint(strings.TrimSuffix(status(pid, field), " kB"), 10, 54)
	return n << 10
}

// groupFile is a file of the box's control group, by the two versions' names.
func (b *box) groupFile(v1, v2 string) string {
	own := fmt.Sprintf("%s.%d", filepath.Base(b.dir), b.keeper)
	if b.group == "v1" {
		controller, file := filepath.Split(v1)
		return filepath.Join("/sys/fs/cgroup", controller, "hearth", own, file)
	}
	return filepath.Join("/sys/fs/cgroup/hearth", own, v2)
}

// left says what there is of a box that was removed, and had these processes.
func (b *box) left(processes []int) error {
	for _, pid := range processes {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if s := string(line); strings.HasPrefix(s, "runsc") || strings.Contains(s, b.dir) {
			return fmt.Errorf("process %d: %q", pid, s)
		}
	}
	for _, dir := range []string{b.dir, filepath.Dir(b.groupFile("memory/x", "x"))} {
		if _, err := os.Stat(dir); err == nil {
			return errors.New(dir)
		}
	}
	return nil
}

// grouped reads such a file; 0 where there is none (any more).
func (b *box) grouped(v1, v2 string) uint64 {
	text, _ := os.ReadFile(b.groupFile(v1, v2))
	value := strings.TrimSpace(string(text))
	if _, rest, found := strings.Cut(value, "usage_usec "); found {
		value, _, _ = strings.Cut(rest, "\n")
		value += "000" // nanoseconds
	}
	n, _ := strconv.ParseUint(value, 10, 64)
	return n
}

// cpu is what its sandbox has computed.
func (b *box) cpu() (used time.Duration) {
	if b.group != "" {
		return time.Duration(b.grouped("cpuacct/cpuacct.usage", "cpu.stat"))
	}
	for _, pid := range below(b.keeper)[1:] {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, rest, _ := strings.Cut(string(text), ") ")
		f := strings.Fields(rest)
		for i := 11; i < 15 && i < len(f); i++ {
			ticks, _ := strconv.Atoi(f[i])
			used += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return used
}

// memory is the most that its sandbox has had, or what it has where nobody counts.
func (b *box) memory() (bytes uint64) {
	if b.group != "" {
		if n := b.grouped("memory/memory.max_usage_in_bytes", "memory.peak"); n > 0 {
			return n
		}
		return b.grouped("memory/memory.usage_in_bytes", "memory.current")
	}
	var shared uint64
	for _, pid := range below(b.keeper)[1:] {
		bytes += kib(pid, "RssAnon")
		shared = max(shared, kib(pid, "RssShmem"))
	}
	return bytes + shared
}

// mostMemory is what its sandbox may have. Where no control group keeps it, it can be
// beyond for a moment.
func (b *box) mostMemory() uint64 {
	if b.group == "" {
		return tenantMemory + sandboxOwn + 128<<20
	}
	return tenantMemory + sandboxOwn + 8<<20
}

// threads are those of its sandbox.
func (b *box) threads() (n int) {
	for _, pid := range below(b.keeper)[1:] {
		k, _ := strconv.Atoi(status(pid, "Threads"))
		n += k
	}
	return n
}

// written are the bytes of the host's disk that hold what it wrote: a file without a name
// that its processes have open.
func (b *box) written() (n int64) {
	var seen []uint64
	for _, pid := range below(b.keeper)[1:] {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, name := range files {
			to, _ := os.Readlink(name)
			var st unix.Stat_t
			if !strings.HasPrefix(to, filepath.Join(b.dir, wire.Disk)) || unix.Stat(name, &st) != nil || slices.Contains(seen, st.Ino) {
				continue
			}
			seen = append(seen, st.Ino)
			n += st.Blocks * 512
		}
	}
	return n
}

// kept is how much of its log is on the host's disk.
func (b *box) kept(t *testing.T) (n int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(b.dir, wire.LogFolder, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if info, err := os.Stat(name); err == nil { // the oldest may be gone by now
			n += info.Size()
		}
	}
	return n
}

// logged is how much it has written to its log.
func (b *box) logged(t *testing.T) int64 {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(b.dir, wire.LogFolder, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	newest := slices.Max(files)
	start, err := strconv.ParseInt(filepath.Base(newest), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(newest)
	if err != nil {
		return start
	}
	return start + info.Size()
}

// powerless checks what the kernel lets the processes of its sandbox do.
func (b *box) powerless(t *testing.T) {
	t.Helper()
	sandboxes := 0
	for _, pid := range below(b.keeper)[1:] {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if !strings.HasPrefix(string(line), "runsc-sandbox") {
			continue
		}
		sandboxes++
		for field, want := range map[string]string{"CapEff": "0000000000000000", "CapPrm": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2"} {
			if got := status(pid, field); got != want {
				t.Errorf("%s of the sandbox is %s", field, got)
			}
		}
		if uid := status(pid, "Uid"); os.Geteuid() == 0 && strings.HasPrefix(uid, "0") {
			t.Errorf("the sandbox is user %s", uid)
		}
	}
	if sandboxes != 1 {
		t.Errorf("there are %d sandboxes", sandboxes)
	}
}

// memories is what the nodes have of their own.
func (a *arena) memories(t *testing.T) map[string]uint64 {
	t.Helper()
	out := map[string]uint64{}
	for _, p := range append([]*cloud.Process{a.Client}, a.Hosts...) {
		out[p.Name] = kib(p.PID(), "RssAnon")
	}
	return out
}

// workers is the most memory that the hosts' processes have had in which functions run.
func (a *arena) workers() (n uint64) {
	for _, h := range a.Hosts {
		for _, pid := range below(h.PID())[1:] {
			if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); strings.Contains(string(line), "wasm-worker") {
				n += kib(pid, "VmHWM")
			}
		}
	}
	return n
}

// listening are the TCP ports at which a process of this machine listens.
func listening(pid int) (ports []string) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	own := map[string]bool{}
	for _, name := range files {
		if to, err := os.Readlink(name); err == nil && strings.HasPrefix(to, "socket:[") {
			own[strings.TrimSuffix(strings.TrimPrefix(to, "socket:["), "]")] = true
		}
	}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, _ := os.ReadFile(table)
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) < 10 || f[3] != "0A" || !own[f[9]] {
				continue
			}
			_, hex, _ := strings.Cut(f[1], ":")
			if n, err := strconv.ParseUint(hex, 16, 16); err == nil {
				ports = append(ports, strconv.FormatUint(n, 10))
			}
		}
	}
	return ports
}
