package main

import (
	"context"

	"github.com/spf13/cobra"

	"hearth/cmd/internal/cli"
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
	client, err := a.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	m, err := client.MeasureHost(ctx)
	if a.API == "" && fault.CodeOf(err) == fault.NotRunning {
		f, err := node.MeasureHere(ctx, a.Dir)
		if err != nil {
			return err
		}
		a.Term.Say("no node runs in %s: what its network asks for isn't known", a.Dir)
		if err := node.KeepFigures(a.Dir, f); err != nil && fault.CodeOf(err) != fault.NoIdentity {
			return err
		}
		class := node.ShowClass(f)
		return a.Term.Show(class, cli.ClassRows(terminal.Card(), *class))
	}
	if err != nil {
		return err
	}
	rows := cli.ClassRows(terminal.Card(), m.Class)
	for _, s := range m.Short {
		rows.Add("Too little", s.Reason+": "+s.Fix)
	}
	return a.Term.Show(m, rows)
}

// admit measures the machine for a host to be and compares that with what the network
// asks for; dir is the folder of one that is there already. Nothing is made or changed.
// Who only writes settings isn't measured, nor are the hosts of a local cloud.
func (a *app) admit(ctx context.Context, s node.Settings, dir string, skip bool) (*machine.Figures, error) {
	if skip || s.Local {
		return nil, nil
	}
	least, err := node.Least(ctx, dir, s, a.Trust)
	if err != nil && (dir == "" || fault.CodeOf(err) != fault.LedgerDown) {
		return nil, err // a host that is there can wait for the ledger: it asks before it registers
	}
	a.Term.Say("measuring this machine ...")
	f, err := node.MeasureHere(ctx, a.Dir)
	if err != nil {
		return nil, err
	}
	for _, line := range cli.ClassLines(*node.ShowClass(f)) {
		a.Term.Say("  %-11s%s", line[0], line[1])
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
