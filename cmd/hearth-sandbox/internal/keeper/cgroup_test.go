//go:build linux && (amd64 || arm64)

package keeper

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hearth/compute/sandbox/wire"
)

// put writes files, as a kernel would show them.
func put(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBothGenerationsOfControlGroupsAreRead(t *testing.T) {
	v2 := t.TempDir()
	put(t, v2, map[string]string{"cgroup.controllers": "cpuset cpu io memory hugetlb pids rdma\n"})
	v1 := t.TempDir()
	for _, c := range []string{"cpu", "cpuacct", "cpuset", "blkio", "memory", "pids"} {
		put(t, v1, map[string]string{c + "/cgroup.procs": ""})
	}
	one, two := findCgroup(v1, "", "x"), findCgroup(v2, "house", "x")
	if one.version != "v1" || two.version != "v2" {
		t.Fatalf("%+v %+v", one, two)
	}
	put(t, v2, map[string]string{
		two.path + "/memory.current": "5000\n", two.path + "/memory.stat": "anon 1\ninactive_file 2000\n",
		two.path + "/memory.events": "low 0\noom 3\noom_kill 2\n", two.path + "/cpu.stat": "usage_usec 1500000\nuser_usec 1\n",
	})
	put(t, v1, map[string]string{
		"memory" + one.path + "/memory.usage_in_bytes": "5000\n", "memory" + one.path + "/memory.stat": "inactive_file 1\ntotal_inactive_file 2000\n",
		"memory" + one.path + "/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", "cpuacct" + one.path + "/cpuacct.usage": "1500000000\n",
	})
	for _, c := range []cgroup{one, two} {
		if n, err := c.memory(); n != 3000 || err != nil {
			t.Errorf("%s: memory %d %v", c.version, n, err)
		}
		if d, err := c.cpu(); d != 1500*time.Millisecond || err != nil {
			t.Errorf("%s: cpu %v %v", c.version, d, err)
		}
		if n := c.kills(); n != 2 {
			t.Errorf("%s: kills %d", c.version, n)
		}
	}
}

func TestWithoutAllControllersThereIsNoControlGroup(t *testing.T) {
	half2, half1 := t.TempDir(), t.TempDir()
	put(t, half2, map[string]string{"cgroup.controllers": "cpu memory\n"})
	put(t, half1, map[string]string{"memory/cgroup.procs": ""})
	for _, dir := range []string{half2, half1, t.TempDir(), "/nonexistent"} {
		if c := findCgroup(dir, "", "x"); c != (cgroup{}) {
			t.Errorf("%s: %+v", dir, c)
		}
	}
}

func TestWhatAnEarlierRunLeftIsRemoved(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{"cgroup.controllers": "cpuset cpu io memory pids\n"})
	for _, name := range []string{"x.17", "xy.17"} {
		if err := os.MkdirAll(filepath.Join(dir, "hearth", name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	findCgroup(dir, "", "x")
	if _, err := os.Stat(filepath.Join(dir, "hearth/x.17")); err == nil {
		t.Error("it is still there")
	}
	if _, err := os.Stat(filepath.Join(dir, "hearth/xy.17")); err != nil {
		t.Error("another's was removed")
	}
}

func TestResources(t *testing.T) {
	r := resources(wire.Spec{CPU: 1500, Memory: 100 << 20, Pids: 10}, true)
	if *r.Memory.Swap != *r.Memory.Limit { // with swap there is no more of it
		t.Errorf("%d, %d with swap", *r.Memory.Limit, *r.Memory.Swap)
	}
	if *r.CPU.Quota != 150_000 || *r.CPU.Period != 100_000 || *r.Memory.Limit != 100<<20+overhead || r.Pids.Limit != 276 {
		t.Fatalf("%+v %+v %+v", r.CPU, r.Memory, r.Pids)
	}
	if r := resources(wire.Spec{CPU: 1}, false); r.Memory.Swap != nil || *r.CPU.Quota != 1000 {
		t.Fatalf("less than the kernel takes: %d", *r.CPU.Quota)
	}
	if r := resources(wire.Spec{}, false); r.CPU != nil {
		t.Fatal("no limit is one")
	}
}

func TestWithoutControlGroupsCPUsAreCounted(t *testing.T) {
	runtime.LockOSThread() // never unlocked: what is pinned goes with the thread
	var before, after unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { restore(t, &before) })
	if err := pin(uint64(before.Count()) * 1000); err != nil {
		t.Fatal(err)
	}
	if err := unix.SchedGetaffinity(0, &after); err != nil || after != before {
		t.Fatal("all CPUs aren't all", err)
	}
	if err := pin(300); err != nil {
		t.Fatal(err)
	}
	if err := unix.SchedGetaffinity(0, &after); err != nil || after.Count() != 1 {
		t.Fatal(after.Count(), err)
	}
}

func restore(t *testing.T, set *unix.CPUSet) {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, th := range threads {
		var tid int
		for _, c := range th.Name() {
			tid = tid*10 + int(c-'0')
		}
		_ = unix.SchedSetaffinity(tid, set)
	}
}

func TestAProcessIsMeasured(t *testing.T) {
	pid := os.Getpid()
	if memoryOf(pid) == 0 || tasks([]int{pid}) == 0 || len(tree(pid)) == 0 {
		t.Error(memoryOf(pid), tasks([]int{pid}), tree(pid))
	}
	if memoryOf(-1) != 0 || memfds(-1) != nil || cpuOf(-1) != 0 || tree(0) != nil {
		t.Error("a process that isn't there has something")
	}
	if f := statFields([]byte("1 (a ) b) S 2 3")); len(f) != 3 || f[0] != "S" {
		t.Errorf("%q", f)
	}
	fd, err := unix.MemfdCreate("x", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	before := sizeOf(memfds(pid))
	if _, err := unix.Write(fd, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if n := sizeOf(memfds(pid)); n < before+1<<20-4096 {
		t.Errorf("%d after %d", n, before)
	}
}
