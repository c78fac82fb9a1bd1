//go:build linux && (amd64 || arm64)

package keeper

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hearth/compute/throttle"
)

// A cgroup is the control group of one run of an instance. The zero cgroup
// stands for a machine where this user has none.
type cgroup struct {
	version string // "v1", "v2", ""
	mount   string // where the file systems are
	group   string // of the host
	path    string // in each of them
}

// commonGroup is that of instances whose host has none of its own.
const commonGroup = "hearth"

// findCgroup says which control groups this process can use, below the one of the host
// that the instance runs for. Those that earlier runs of the instance left behind are
// removed, as far as they are empty.
func findCgroup(mount, group, id string) cgroup {
	version := throttle.Version(mount)
	if version == "" {
		return cgroup{}
	}
	group = cmp.Or(group, commonGroup)
	c := cgroup{version: version, mount: mount, group: group, path: fmt.Sprintf("/%s/%s.%d", group, id, os.Getpid())}
	for _, controller := range c.controllers() {
		parent := filepath.Join(mount, controller, group)
		if err := os.Mkdir(parent, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return cgroup{}
		}
		if unix.Access(parent, unix.W_OK) != nil {
			return cgroup{}
		}
		stale, _ := filepath.Glob(filepath.Join(parent, id+".*"))
		for _, dir := range stale {
			_ = unix.Rmdir(dir)
		}
	}
	return c
}

// leave removes the host's group where nothing else is in it: the host may be gone.
func (c cgroup) leave() {
	if c.version != "" && c.group != commonGroup {
		throttle.Leave(c.mount, c.version, c.group)
	}
}

// controllers are the folders below the mount in which the group has a folder.
func (c cgroup) controllers() []string {
	if c.version == "v2" {
		return []string{""}
	}
	return []string{"memory", "cpu", "cpuacct", "pids", "cpuset", "blkio"}
}

func (c cgroup) read(controller, name string) ([]byte, error) {
	if c.version == "v2" {
		controller = ""
	}
	return os.ReadFile(filepath.Join(c.mount, controller, c.path, name))
}

// memory is what the group uses, without what the kernel can drop at once.
func (c cgroup) memory() (uint64, error) {
	name, cache := "memory.current", "inactive_file"
	if c.version == "v1" {
		name, cache = "memory.usage_in_bytes", "total_inactive_file"
	}
	text, err := c.read("memory", name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0, err
	}
	if stat, err := c.read("memory", "memory.stat"); err == nil {
		if x, ok := value(stat, cache); ok {
			n -= min(n, x)
		}
	}
	return n, nil
}

func (c cgroup) cpu() (time.Duration, error) {
	if c.version == "v2" {
		text, err := c.read("", "cpu.stat")
		if err != nil {
			return 0, err
		}
		us, _ := value(text, "usage_usec")
		return time.Duration(us) * time.Microsecond, nil
	}
	text, err := c.read("cpuacct", "cpuacct.usage")
	if err != nil {
		return 0, err
	}
	ns, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 63)
	return time.Duration(ns), err
}

// swaps says whether the kernel limits what a group has in swap.
func (c cgroup) swaps() bool {
	pattern := "memory/memory.memsw.limit_in_bytes"
	if c.version == "v2" {
		pattern = "*/memory.swap.max"
	}
	found, err := filepath.Glob(filepath.Join(c.mount, pattern))
	return c.version != "" && err == nil && len(found) > 0
}

// kills counts processes the kernel has ended for want of memory.
func (c cgroup) kills() uint64 {
	name := "memory.events"
	if c.version == "v1" {
		name = "memory.oom_control"
	}
	text, err := c.read("memory", name)
	if err != nil {
		return 0
	}
	n, _ := value(text, "oom_kill")
	return n
}

// value finds a line "name number".
func value(text []byte, name string) (uint64, bool) {
	for line := range bytes.Lines(text) {
		key, rest, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		if key == name {
			n, err := strconv.ParseUint(rest, 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
