package cli

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"hearth/api"
	"hearth/internal/terminal"
	"hearth/sdk"
)

const (
	onceOver = time.Second     // what is measured for one answer
	pageOver = 2 * time.Second // and for each page on a terminal
)

func (a *App) statsCommand() *cobra.Command {
	var once bool
	c := &cobra.Command{
		Use: "stats [NAME...]", Short: "What instances use at this time",
		Long: `Shows what instances use: of a core, of their memory, processes, and what went over the
network since they started, all by their hosts' word. On a terminal it goes on until Ctrl-C;
elsewhere, with --no-stream and in other formats than a table it answers once.`,
		Example: `  hearth stats
  hearth stats web --no-stream
  hearth stats -o json | jq '.stats[] | {name, cpu_percent}'`,
		RunE: func(c *cobra.Command, args []string) error {
			if once || !a.Term.Table() || !term.IsTerminal(int(os.Stdout.Fd())) {
				return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Stats, error) { return n.Stats(ctx, onceOver, args...) }, statsRows)
			}
			return a.watchStats(c.Context(), args)
		},
	}
	c.Flags().BoolVar(&once, "no-stream", false, "answer once")
	return c
}

// anew has a terminal begin a page where the last one began.
const anew = "\x1b[H\x1b[2J"

// watchStats shows page after page until ctx ends, which is no error.
func (a *App) watchStats(ctx context.Context, names []string) error {
	client, err := a.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		s, err := client.Stats(ctx, pageOver, names...)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := fmt.Fprint(a.Term.Out(), anew); err != nil {
			return err
		}
		if err := a.Term.Show(s, statsRows(s)); err != nil {
			return err
		}
	}
}

func statsRows(l api.Stats) *terminal.Rows {
	rows := terminal.Table("NAME", "STATE", "CPU %", "OF CORES", "MEMORY", "MEMORY %", "PROCESSES", "NET IN", "NET OUT")
	for _, s := range l.Stats {
		cores := strconv.FormatFloat(float64(s.Machine.CPU)/1000, 'f', -1, 64)
		if s.State != "running" && s.State != "paused" {
			rows.Add(s.Name, s.State, "-", cores, "-", "-", "-", "-", "-")
			continue
		}
		cpu := "-"
		if s.CPUPercent != nil {
			cpu = percent(*s.CPUPercent)
		}
		rows.Add(s.Name, s.State, cpu, cores, terminal.Size(s.Memory)+" of "+terminal.Size(s.Machine.Memory), percent(s.MemoryPercent), s.Pids,
			netText(s.NetIn, s.NetInRate), netText(s.NetOut, s.NetOutRate))
	}
	return rows
}

func percent(p float64) string { return strconv.FormatFloat(p, 'f', 1, 64) }

// netText is how many bytes went by, and how many do in a second.
func netText(all uint64, rate *float64) string {
	text := terminal.Size(all)
	if rate != nil && *rate >= 1 {
		text += ", " + terminal.Size(uint64(*rate)) + "/s"
	}
	return text
}
