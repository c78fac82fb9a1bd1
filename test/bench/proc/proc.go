// Package proc reads what processes use from Linux's /proc, for benchmarks. What
// isn't there counts as nothing used.
package proc

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

const tick = 100 // of /proc's clock, a second, on every Linux

// CPU is what a process and its ended children have used; 0 where it is gone.
func CPU(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	var ticks float64
	for _, field := range f[11:15] { // utime, stime, and those of children
		n, _ := strconv.ParseFloat(field, 64) // the kernel writes numbers
		ticks += n
	}
	return ticks / tick
}

// Busy is what all processors have worked so far.
func Busy() float64 {
	b, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(b), "\n")
	var ticks float64
	for i, field := range strings.Fields(line)[1:] {
		if n, _ := strconv.ParseFloat(field, 64); i < 8 && i != 3 && i != 4 { // not idle, not waiting
			ticks += n
		}
	}
	return ticks / tick
}

// Memory is in bytes, by the name /proc has for it: VmRSS, RssAnon, VmHWM.
func Memory(pid int, name string) float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return n * 1024
		}
	}
	return 0
}

// Machine describes where this was measured.
func Machine() string {
	model := "?"
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	load, _ := os.ReadFile("/proc/loadavg")
	return fmt.Sprintf("%d x %s, %s, load average %s", runtime.NumCPU(), model, runtime.Version(), strings.Join(strings.Fields(string(load))[:3], " "))
}
