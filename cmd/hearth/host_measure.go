package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/core/fault"
	"hearth/core/machine"
	"hearth/internal/terminal"
	"hearth/node"
)

func (a *app) hostMeasureCommand() *cobra.Command {
	return &cobra.Command{
		Use: "measure", Short: "Measure what this machine can do, and what it lacks to be a host", Args: cobra.NoArgs,
		Long: `Measures the processor, in gas as it is sold, the memory, and the disk of the folder, and
lists GPUs. It takes about three seconds, and is truest when nothing else runs. Clients see
the figures beside the price; a node measures by itself once a week.`,
		RunE: func(c *cobra.Command, _ []string) error { return a.measure(c.Context()) },
	}
}

// measure has the node that runs measure, or measures for its next start.
func (a *app) measure(ctx context.Context) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	defer client.Close()
	m, err := client.MeasureHost(ctx)
	if a.api == "" && fault.CodeOf(err) == fault.NotRunning {
		f, err := node.MeasureHere(ctx, a.dir)
		if err != nil {
			return err
		}
		a.term.Say("no node runs in %s: what its network asks for isn't known", a.dir)
		if err := node.KeepFigures(a.dir, f); err != nil && fault.CodeOf(err) != fault.NoIdentity {
			return err
		}
		class := node.ShowClass(f)
		return a.term.Show(class, classRows(terminal.Card(), *class))
	}
	if err != nil {
		return err
	}
	rows := classRows(terminal.Card(), m.Class)
	for _, s := range m.Short {
		rows.Add("Too little", s.Reason+": "+s.Fix)
	}
	return a.term.Show(m, rows)
}

// admit measures the machine for a host to be and compares that with what the network
// asks for; dir is the folder of one that is there already. Nothing is made or changed.
// Who only writes settings isn't measured, nor are the hosts of a local cloud.
func (a *app) admit(ctx context.Context, s node.Settings, dir string, skip bool) (*machine.Figures, error) {
	if skip || s.Local {
		return nil, nil
	}
	least, err := node.Least(ctx, dir, s, a.trust)
	if err != nil && (dir == "" || fault.CodeOf(err) != fault.LedgerDown) {
		return nil, err // a host that is there can wait for the ledger: it asks before it registers
	}
	a.term.Say("measuring this machine ...")
	f, err := node.MeasureHere(ctx, a.dir)
	if err != nil {
		return nil, err
	}
	for _, line := range classLines(*node.ShowClass(f)) {
		a.term.Say("  %-11s%s", line[0], line[1])
	}
	if short := least.Short(f); len(short) > 0 {
		return nil, fault.New(fault.MachineTooWeak, "join: %s", machine.Told(short))
	}
	return &f, nil
}

// keepMeasured writes down what was measured, if it was.
func keepMeasured(dir string, f *machine.Figures) error {
	if f == nil {
		return nil
	}
	return node.KeepFigures(dir, *f)
}

// classLines are a machine's figures, each with its name.
func classLines(c api.Class) [][2]string {
	second := func(n uint64) string { return terminal.Size(n) + "/s" }
	return [][2]string{
		{"Processor", fmt.Sprintf("%s a core, %s all %d", machine.Speed(c.Core), machine.Speed(c.All), c.Cores)},
		{"Memory", terminal.Size(c.Memory) + ", copied at " + second(c.Copy)},
		{"Disk", "writes " + second(c.DiskWrite) + ", reads " + second(c.DiskRead) + ", " + terminal.Size(c.DiskFree) + " free"},
		{"GPUs", gpusOf(c.GPUs, true)},
	}
}

func classRows(rows *terminal.Rows, c api.Class) *terminal.Rows {
	for _, line := range classLines(c) {
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
