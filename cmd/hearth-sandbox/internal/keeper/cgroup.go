//go:build linux && (amd64 || arm64)

package keeper

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A cgroup is the control group of one run of an instance. The zero cgroup
// stands for a machine where this user has none.
type cgroup struct {
	version string // "v1", "v2", ""
	mount   string // where the file systems are
	path    string // in each of them
}

const cgroups = "/sys/fs/cgroup"

// findCgroup says which control groups this process can use. Those that
// earlier runs of the instance left behind are removed, as far as they are empty.
func findCgroup(mount, id string) cgroup {
	version := cgroupVersion(mount)
	if version == "" {
		return cgroup{}
	}
	c := cgroup{version: version, mount: mount, path: fmt.Sprintf("/hearth/%s.%d", id, os.Getpid())}
	for _, controller := range c.controllers() {
		parent := filepath.Join(mount, controller, "hearth")
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

// cgroupVersion says what is mounted at mount with everything we need.
func cgroupVersion(mount string) string {
	if text, err := os.ReadFile(filepath.Join(mount, "cgroup.controllers")); err == nil {
		have := strings.Fields(string(text))
		for _, c := range []string{"cpu", "cpuset", "io", "memory", "pids"} {
			if !slices.Contains(have, c) {
				return ""
			}
		}
		return "v2"
	}
	for _, c := range []string{"cpu", "cpuacct", "cpuset", "blkio", "memory", "pids"} {
		if _, err := os.Stat(filepath.Join(mount, c, "cgroup.procs")); err != nil {
			return ""
		}
	}
	return "v1"
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
