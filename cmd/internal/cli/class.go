package cli

import (
	"fmt"
	"strings"

	"hearth/api"
	"hearth/core/machine"
	"hearth/internal/terminal"
)

// ClassLines are a machine's figures, each with its name.
func ClassLines(c api.Class) [][2]string {
	second := func(n uint64) string { return terminal.Size(n) + "/s" }
	return [][2]string{
		{"Processor", fmt.Sprintf("%s a core, %s all %d", machine.Speed(c.Core), machine.Speed(c.All), c.Cores)},
		{"Memory", terminal.Size(c.Memory) + ", copied at " + second(c.Copy)},
		{"Disk", "writes " + second(c.DiskWrite) + ", reads " + second(c.DiskRead) + ", " + terminal.Size(c.DiskFree) + " free"},
		{"GPUs", gpusOf(c.GPUs, true)},
	}
}

// ClassRows adds a machine's figures.
func ClassRows(rows *terminal.Rows, c api.Class) *terminal.Rows {
	for _, line := range ClassLines(c) {
		rows.Add(line[0], line[1])
	}
	return rows.Add("Measured", terminal.When(c.Measured))
}

// gpusOf names GPUs; none where there is none.
func gpusOf(gpus []api.GPU, whole bool) string {
	if len(gpus) == 0 {
		return "none"
	}
	names := make([]string, len(gpus))
	for i, g := range gpus {
		names[i] = g.Model
		if !strings.HasPrefix(g.Model, g.Vendor) {
			names[i] = g.Vendor + " " + g.Model
		}
		if whole && g.Memory > 0 {
			names[i] += " with " + terminal.Size(g.Memory)
		}
	}
	return strings.Join(names, ", ")
}

// claimed is what a host says of its machine, where it does.
func claimed(c *api.Class) (core, gpus string) {
	if c == nil {
		return "-", "-"
	}
	return machine.Speed(c.Core), gpusOf(c.GPUs, false)
}

// measuredHere is how fast this node's own calls were computed.
func measuredHere(speed uint64, slow bool) string {
	switch {
	case speed == 0:
		return "-"
	case slow:
		return machine.Speed(speed) + ", slower than it says"
	}
	return machine.Speed(speed)
}
