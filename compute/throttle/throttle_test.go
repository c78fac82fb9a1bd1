package throttle_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hearth/compute/throttle"
)

// A kernel is a folder with the files that a kernel would show; what is written to them
// can be read. That groups below have no more than the one above is checked by the test.
type kernel struct {
	t             *testing.T
	root, version string
}

func newKernel(t *testing.T, version string) kernel {
	t.Helper()
	k := kernel{t, t.TempDir(), version}
	if version == "v2" {
		k.put("cgroup.controllers", "cpuset cpu io memory pids\n")
		k.put("cgroup.subtree_control", "")
		return k
	}
	for _, c := range []string{"cpu", "cpuacct", "cpuset", "blkio", "memory", "pids"} {
		k.put(c+"/cgroup.procs", "")
	}
	return k
}

func (k kernel) put(name, text string) {
	k.t.Helper()
	path := filepath.Join(k.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		k.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		k.t.Fatal(err)
	}
}

func (k kernel) get(name string) string {
	k.t.Helper()
	text, err := os.ReadFile(filepath.Join(k.root, name))
	if err != nil {
		k.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// group makes a group as the kernel does, with a quota.
func (k kernel) group(name, quota string) {
	k.t.Helper()
	if k.version == "v2" {
		k.put(name+"/cpu.max", strings.Replace(quota, "-1", "max", 1)+" 100000\n")
		k.put(name+"/cpu.weight", "100\n")
		k.put(name+"/cgroup.procs", "")
		return
	}
	k.put("cpu/"+name+"/cpu.cfs_quota_us", quota+"\n")
	k.put("cpu/"+name+"/cpu.shares", "1024\n")
	k.put("cpu/"+name+"/cgroup.procs", "")
}

func (k kernel) quota(name string) string {
	k.t.Helper()
	if k.version == "v2" {
		first, _, _ := strings.Cut(k.get(name+"/cpu.max"), " ")
		return strings.Replace(first, "max", "-1", 1)
	}
	return k.get("cpu/" + name + "/cpu.cfs_quota_us")
}

func (k kernel) weight(name string) string {
	k.t.Helper()
	if k.version == "v2" {
		return k.get(name + "/cpu.weight")
	}
	return k.get("cpu/" + name + "/cpu.shares")
}

func TestWhatRunsIsHeldBackTogether(t *testing.T) {
	for _, version := range []string{"v1", "v2"} {
		k := newKernel(t, version)
		k.group("house", "-1")
		g := throttle.Open(k.root, "house")
		if g == nil || g.Name() != "house" {
			t.Fatalf("%s: no group", version)
		}
		k.group("house/functions", "-1")
		k.group("house/a.1", "200000")
		k.group("house/b.2", "50000")
		k.group("house/stranger.3", "150000") // nobody knows what it may use
		k.group("house/tiny.4", "1000")       // the least that kernels take
		own := func(id string) (uint64, bool) {
			cpu, known := map[string]uint64{"a": 2000, "b": 500, "tiny": 5}[id]
			return cpu, known
		}
		check := func(when, all, a, b, stranger string) {
			t.Helper()
			for name, want := range map[string]string{"house": all, "house/a.1": a, "house/b.2": b, "house/stranger.3": stranger, "house/tiny.4": "1000", "house/functions": "-1"} {
				if got := k.quota(name); got != want {
					t.Errorf("%s, %s: %s has %s, want %s", version, when, name, got, want)
				}
			}
		}
		set := func(cpu uint64, slow bool) {
			t.Helper()
			if err := g.Set(cpu, slow, own); err != nil {
				t.Fatal(version, err)
			}
		}
		set(0, false)
		check("no limit", "-1", "200000", "50000", "150000")
		set(1000, false)
		check("a core", "100000", "100000", "50000", "100000")
		set(300, true)
		check("less", "30000", "30000", "30000", "30000")
		least := map[string]string{"v1": "2", "v2": "1"}[version]
		if k.weight("house") != least {
			t.Errorf("%s: slow has the weight %s", version, k.weight("house"))
		}
		set(1500, false)
		check("more", "150000", "150000", "50000", "30000")
		set(0, false)
		check("no limit again", "-1", "200000", "50000", "30000")
		if usual := map[string]string{"v1": "1024", "v2": "100"}[version]; k.weight("house") != usual {
			t.Errorf("%s: the weight is %s", version, k.weight("house"))
		}
		if err := g.Join(4711); err != nil {
			t.Fatal(err)
		}
		procs := "house/functions/cgroup.procs"
		if version == "v1" {
			procs = "cpu/" + procs
		}
		if k.get(procs) != "4711" {
			t.Errorf("%s: the worker isn't in the group", version)
		}
	}
}

func TestWhereThereAreNoControlGroupsNothingIsHeldBack(t *testing.T) {
	g := throttle.Open(t.TempDir(), "house")
	if g != nil || g.Name() != "" {
		t.Fatal("there is a group")
	}
	if err := g.Set(1000, true, nil); err != nil {
		t.Error(err)
	}
	if err := g.Join(1); err != nil {
		t.Error(err)
	}
	g.Close()
}

// A group whose kernel lets nobody write says so, and isn't taken for held back.
func TestAGroupThatCantBeSetIsAnError(t *testing.T) {
	k := newKernel(t, "v1")
	g := throttle.Open(k.root, "house")
	if g == nil {
		t.Fatal("no group")
	}
	if err := g.Set(1000, false, func(string) (uint64, bool) { return 0, false }); err == nil {
		t.Error("there is no such file")
	}
}
