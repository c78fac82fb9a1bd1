//go:build linux && (amd64 || arm64)

package keeper

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hearth/compute/sandbox/wire"
)

// How often the watch looks. What grows at 2 GB/s goes 100 MB beyond its limit
// in that time, where no control group stops it before.
const (
	lookEvery   = 50 * time.Millisecond
	learnEvery  = 250 * time.Millisecond // of what the kernel has done
	rescanEvery = 10                     // looks: what costs more
)

// watch ends the instance when it is beyond a limit that nobody else keeps, and
// notes when the kernel has done so. It returns when done is closed.
func (k *keeper) watch(done <-chan struct{}) {
	every := lookEvery
	if k.cgroup.version != "" {
		every = learnEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	pid := k.process.Pid
	limit := k.launch.Spec.Memory + overhead
	var files []string
	for n := 0; ; n++ {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		if k.cgroup.version != "" {
			if k.cgroup.kills() > 0 {
				k.end(wire.OutOfMemory)
				return
			}
			continue
		}
		if n%rescanEvery == 0 {
			files = memfds(pid)
			if tasks(tree(pid)) > 4*int(k.launch.Spec.Pids)+1024 {
				k.end(wire.TooMany)
				return
			}
		}
		if memoryOf(pid)+sizeOf(files) > limit {
			k.end(wire.OutOfMemory)
			return
		}
	}
}

// usage is what the instance has used.
func (k *keeper) usage() wire.Usage {
	var u wire.Usage
	u.NetIn, u.NetOut = k.net.Counts()
	if e, err := k.sandbox.Event(name); err == nil {
		u.Pids = e.Event.Data.Pids.Current
	}
	if k.cgroup.version != "" {
		u.CPU, _ = k.cgroup.cpu()
		u.Memory, _ = k.cgroup.memory()
		return u
	}
	pid := k.process.Pid
	all := append(tree(pid), tree(k.container.GoferPid.Load())...)
	u.Memory = sizeOf(memfds(pid))
	for _, p := range all {
		u.CPU += cpuOf(p)
		u.Memory += memoryOf(p)
	}
	return u
}

// memoryOf is the memory of a process that is its alone.
func memoryOf(pid int) uint64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, found := bytes.Cut(text, []byte("RssAnon:"))
	if !found {
		return 0
	}
	f := bytes.Fields(rest)
	if len(f) == 0 {
		return 0
	}
	kib, _ := strconv.ParseUint(string(f[0]), 10, 54)
	return kib << 10
}

// memfds are the files of a process that are only memory: in the sandbox's is
// all that its instance has.
func memfds(pid int) []string {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var all []string
	for _, fd := range fds {
		path := filepath.Join(dir, fd.Name())
		if to, err := os.Readlink(path); err == nil && strings.HasPrefix(to, "/memfd:") {
			all = append(all, path)
		}
	}
	return all
}

// sizeOf is what files hold, each once.
func sizeOf(paths []string) uint64 {
	var total uint64
	seen := map[uint64]bool{}
	for _, path := range paths {
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil && !seen[st.Ino] {
			seen[st.Ino] = true
			total += uint64(st.Blocks) * 512
		}
	}
	return total
}

// tree is a process and all below it.
func tree(pid int) []int {
	if pid <= 0 {
		return nil
	}
	all := []int{pid}
	for i := 0; i < len(all) && len(all) < 1<<16; i++ {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", all[i]))
		for _, t := range threads {
			text, err := os.ReadFile(t)
			if err != nil {
				continue
			}
			for _, f := range strings.Fields(string(text)) {
				if child, err := strconv.Atoi(f); err == nil {
					all = append(all, child)
				}
			}
		}
	}
	return all
}

// tasks counts the threads of processes.
func tasks(pids []int) int {
	n := 0
	for _, p := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
		if err != nil {
			continue
		}
		if f := statFields(text); len(f) > 17 {
			x, _ := strconv.Atoi(f[17])
			n += x
		}
	}
	return n
}

// cpuOf is the time a process and its threads have computed.
func cpuOf(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	f := statFields(text)
	if len(f) < 15 {
		return 0
	}
	var ticks uint64
	for _, x := range f[11:15] { // its own and its dead children's
		n, _ := strconv.ParseUint(x, 10, 63)
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100) // USER_HZ is 100 everywhere
}

// statFields are the fields of /proc/PID/stat from the state on.
func statFields(text []byte) []string {
	i := bytes.LastIndexByte(text, ')')
	return strings.Fields(string(text[i+1:]))
}

// pin keeps this process and its children to come on so many CPUs, where there
// is no control group to share them out.
func pin(thousandths uint64) error {
	var all, some unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	want := int((thousandths + 999) / 1000)
	if want == 0 || want >= all.Count() {
		return nil
	}
	skip := os.Getpid() % all.Count() // spread instances over them
	for pass := range 2 {
		for cpu, seen := 0, 0; cpu < len(all)*64 && some.Count() < want; cpu++ {
			if !all.IsSet(cpu) {
				continue
			}
			if seen++; seen > skip || pass == 1 {
				some.Set(cpu)
			}
		}
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		if err := unix.SchedSetaffinity(tid, &some); err != nil && !errors.Is(err, unix.ESRCH) { // it has ended
			return err
		}
	}
	return nil
}
