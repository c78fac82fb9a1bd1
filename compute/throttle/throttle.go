// Package throttle holds back what a host computes for others, all of it together: it
// keeps a control group above the groups of instances and of functions. Where this
// machine gives hearth no control groups (they take root, on Linux) it holds back
// nothing, and says so.
package throttle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Mount is where control groups are.
const Mount = "/sys/fs/cgroup"

const (
	period = 100_000 // microseconds in which a quota may be used
	none   = -1      // a quota that isn't one

	usualShares, leastShares = 1024, 2 // of v1, see cgroups(7)
	usualWeight, leastWeight = 100, 1  // of v2
)

// functions is the group of the functions' workers, beside those of instances.
const functions = "functions"

// controllers are those of v1 that containers need, each mounted by itself.
var controllers = []string{"cpu", "cpuacct", "cpuset", "blkio", "memory", "pids"}

// Version says which control groups are mounted at mount with everything that
// containers need: "v1", "v2", or "" for none.
func Version(mount string) string {
	if text, err := os.ReadFile(filepath.Join(mount, "cgroup.controllers")); err == nil {
		have := strings.Fields(string(text))
		for _, c := range []string{"cpu", "cpuset", "io", "memory", "pids"} {
			if !slices.Contains(have, c) {
				return ""
			}
		}
		return "v2"
	}
	for _, c := range controllers {
		if _, err := os.Stat(filepath.Join(mount, c, "cgroup.procs")); err != nil {
			return ""
		}
	}
	return "v1"
}

// A Group is one host's. It is safe for concurrent use. A nil Group is that of a machine
// that has none for us: it holds nothing back.
type Group struct {
	version, name, path string // path: of its folder, with the controller of CPU time

	mu    sync.Mutex
	mount string
}

// Open makes the group of this name at mount, or takes the one that is there. It gives
// nil where this process may use none.
func Open(mount, name string) *Group {
	g := &Group{version: Version(mount), name: name, mount: mount}
	switch g.version {
	case "v1":
		g.path = filepath.Join(mount, "cpu", name)
	case "v2":
		g.path = filepath.Join(mount, name)
		// What a group shares out, the one above it must have been told to.
		if err := write(mount, "cgroup.subtree_control", "+cpu"); err != nil {
			return nil
		}
	default:
		return nil
	}
	for _, dir := range []string{g.path, filepath.Join(g.path, functions)} {
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil
		}
	}
	return g
}

// Name is the group's, for who puts others below it; empty: there is none.
func (g *Group) Name() string {
	if g == nil {
		return ""
	}
	return g.name
}

// Close removes the group where nothing runs in it any more.
func (g *Group) Close() {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	_ = syscall.Rmdir(filepath.Join(g.path, functions))
	Leave(g.mount, g.version, g.name)
}

// Leave removes a host's group in every hierarchy, where nothing is left in it: gVisor
// makes groups also where we have no use for them.
func Leave(mount, version, name string) {
	_ = syscall.Rmdir(filepath.Join(mount, name)) // what is still in use stays
	if version == "v2" {
		return
	}
	entries, err := os.ReadDir(mount)
	if err != nil {
		return
	}
	for _, e := range entries {
		_ = syscall.Rmdir(filepath.Join(mount, e.Name(), name))
	}
}

// Join puts a process that runs functions into the group.
func (g *Group) Join(pid int) error {
	if g == nil {
		return nil
	}
	return write(filepath.Join(g.path, functions), "cgroup.procs", strconv.Itoa(pid))
}

// Set has all that runs in the group use cpu thousandths of a core together, 0 for as
// much as there is. What is slow has what all others on this machine leave over. own
// says what an instance may use by itself, by its id: a kernel lets no group have more
// than the one above it. It changes nothing that is so already.
func (g *Group) Set(cpu uint64, slow bool, own func(id string) (thousandths uint64, known bool)) error {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var err error
	for range 3 {
		// One that was made between two steps may be in the way.
		if err = g.bound(quotaOf(cpu), own); !errors.Is(err, syscall.EINVAL) {
			break
		}
	}
	if err = errors.Join(err, g.weigh(slow)); err != nil {
		return fmt.Errorf("hold back what runs: %w", err)
	}
	return nil
}

// leastQuota is the least, in microseconds of a period, that kernels take.
const leastQuota = 1000

func quotaOf(cpu uint64) int64 {
	if cpu == 0 {
		return none
	}
	return max(int64(cpu)*period/1000, leastQuota)
}

// weigh sets how much the group has of what several want.
func (g *Group) weigh(slow bool) error {
	name, want := "cpu.shares", usualShares
	switch {
	case g.version == "v2" && slow:
		name, want = "cpu.weight", leastWeight
	case g.version == "v2":
		name, want = "cpu.weight", usualWeight
	case slow:
		want = leastShares
	}
	return change(g.path, name, strconv.Itoa(want))
}

// bound sets the quota of the group and of those below it: these first where it gets
// less, and last where it gets more.
func (g *Group) bound(want int64, own func(string) (uint64, bool)) error {
	have, err := g.quota(g.path)
	if err != nil {
		return err
	}
	below := func() error {
		entries, err := os.ReadDir(g.path)
		if err != nil {
			return err
		}
		for _, e := range entries {
			id, _, instance := cutLast(e.Name(), ".")
			if !e.IsDir() || !instance {
				continue
			}
			dir := filepath.Join(g.path, e.Name())
			may, err := g.quota(dir)
			if errors.Is(err, fs.ErrNotExist) {
				continue // it has ended
			}
			if err != nil {
				return err
			}
			if cpu, known := own(id); known {
				may = quotaOf(cpu)
			}
			if err := g.allow(dir, less(may, want)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return nil
	}
	if less(have, want) == have { // more
		return errors.Join(g.allow(g.path, want), below())
	}
	if err := below(); err != nil {
		return err
	}
	return g.allow(g.path, want)
}

// less is the smaller of two quotas.
func less(a, b int64) int64 {
	switch {
	case a == none:
		return b
	case b == none:
		return a
	}
	return min(a, b)
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// quota reads what a group may use in a period.
func (g *Group) quota(dir string) (int64, error) {
	name := "cpu.cfs_quota_us"
	if g.version == "v2" {
		name = "cpu.max"
	}
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	if len(fields) > 0 && fields[0] == "max" {
		return none, nil
	}
	if len(fields) == 0 {
		return 0, fmt.Errorf("%s of %s is empty", name, dir)
	}
	n, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s of %s: %w", name, dir, err)
	}
	return max(n, none), nil
}

// allow writes it. Whoever made the group, its period is the usual one.
func (g *Group) allow(dir string, quota int64) error {
	if have, err := g.quota(dir); err != nil || have == quota {
		return err
	}
	if g.version == "v1" {
		return write(dir, "cpu.cfs_quota_us", strconv.FormatInt(quota, 10))
	}
	text := "max"
	if quota != none {
		text = strconv.FormatInt(quota, 10)
	}
	return write(dir, "cpu.max", fmt.Sprintf("%s %d", text, period))
}

// change writes a figure that isn't so already.
func change(dir, name, want string) error {
	have, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil || strings.TrimSpace(string(have)) == want {
		return err
	}
	return write(dir, name, want)
}

// write sets a figure of a group that is there.
func write(dir, name, text string) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
