package main

import (
	"context"

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/cmd/internal/cli"
	"hearth/core/fault"
	"hearth/internal/terminal"
	"hearth/node"
)

func (a *app) hostLimitsCommand() *cobra.Command {
	var want api.HostLimits
	c := &cobra.Command{
		Use: "limits", Short: "How much of the line and of the machine the host may use, and when", Args: cobra.NoArgs,
		Long: `Shows the limits, or sets those that are named. They hold at once, and are kept in
config.toml. Rates are bytes a second (2MB, 500KiB) or bits (16Mbit); none lifts one.

--cpu is what all programs of others share, instances and functions together: what runs is
slowed down to it. --memory is what they have in all: what is signed already stays.
--when-active says what becomes of them while somebody uses this machine: they go on, are
slowed down (all else comes first), or are paused, which earns nothing.

A schedule is lines of [DAYS] HH:MM-HH:MM with what holds then: up=RATE, down=RATE,
cpu=CORES, compute=pause (no new calls and instances), compute=idle (the same while
somebody uses this machine) or pause (nothing new at all). The first line that fits counts;
the machine's own time is meant.`,
		Example: `  hearth host limits --up 2MB --down 8MB
  hearth host limits --cpu 1.5 --memory 4GiB --when-active slow
  hearth host limits --schedule 'mon-fri 08:00-18:00 up=500KB cpu=0.5' --schedule '18:00-23:00 pause'
  hearth host limits --up none --cpu none --schedule none`,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.changeLimits(c.Context(), func(l *api.HostLimits) (changed bool) {
				for name, set := range map[string]func(){
					"up": func() { l.Up = want.Up }, "down": func() { l.Down = want.Down },
					"cpu": func() { l.CPU = want.CPU }, "memory": func() { l.Memory = want.Memory },
					"when-active": func() { l.WhenActive = want.WhenActive }, "active-for": func() { l.ActiveFor = want.ActiveFor },
					"schedule": func() { l.Schedule = want.Schedule },
				} {
					if c.Flags().Changed(name) {
						set()
						changed = true
					}
				}
				if len(want.Schedule) == 1 && want.Schedule[0] == "none" {
					l.Schedule = []string{}
				}
				return changed
			})
		},
	}
	f := c.Flags()
	f.StringVar(&want.Up, "up", "", "sent at most in a second, like 2MB or 16Mbit; none: no limit")
	f.StringVar(&want.Down, "down", "", "received at most in a second")
	f.StringVar(&want.CPU, "cpu", "", "cores that others' programs share, like 1.5; none: all there are")
	f.StringVar(&want.Memory, "memory", "", "memory that they have in all, like 4GiB; none: as under Host.instances in config.toml")
	f.StringVar(&want.WhenActive, "when-active", "", "while somebody uses this machine: go, slow or pause")
	f.StringVar(&want.ActiveFor, "active-for", "", "how long somebody counts as there after the last sign, like 5m")
	f.StringArrayVar(&want.Schedule, "schedule", nil, "a line of the schedule, in place of all there were; none: no schedule")
	return c
}

func (a *app) hostPauseCommand() *cobra.Command {
	return &cobra.Command{
		Use: "pause", Short: "Take no new data, calls and instances; what is held is served and proven", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.changeLimits(c.Context(), func(l *api.HostLimits) bool { l.Paused = true; return true })
		},
	}
}

func (a *app) hostResumeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "resume", Short: "Take new data, calls and instances again", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.changeLimits(c.Context(), func(l *api.HostLimits) bool { l.Paused = false; return true })
		},
	}
}

// changeLimits tells the node that runs, or writes config.toml where none does.
func (a *app) changeLimits(ctx context.Context, change func(*api.HostLimits) bool) error {
	client, err := a.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	l, err := client.HostLimits(ctx)
	offline := a.API == "" && fault.CodeOf(err) == fault.NotRunning
	if offline {
		l, err = node.SavedLimits(a.Dir)
	}
	if err != nil {
		return err
	}
	if change(&l) {
		if offline {
			l, err = node.SaveLimits(a.Dir, l)
		} else {
			l, err = client.SetHostLimits(ctx, l)
		}
		if err != nil {
			return err
		}
	}
	if offline {
		a.Term.Say("no node runs in %s: this holds from its next start", a.Dir)
	}
	return a.Term.Show(l, limitRows(l))
}

func limitRows(l api.HostLimits) *terminal.Rows {
	named := func(s string) string {
		if s == "" {
			return "none"
		}
		return s
	}
	rows := terminal.Card().Add("Up", named(l.Up)).Add("Down", named(l.Down)).
		Add("CPU", named(l.CPU)).Add("Memory", named(l.Memory)).Add("While somebody is here", whenActive(l)).Add("Paused", l.Paused)
	for _, line := range l.Schedule {
		rows.Add("Schedule", line)
	}
	rows.Add("At this hour", cli.LimitsNow(l.Now))
	for _, note := range l.Now.Notes {
		rows.Add("Note", note)
	}
	return rows
}

func whenActive(l api.HostLimits) string {
	switch l.WhenActive {
	case "slow":
		return "others' programs are slowed down, until " + l.ActiveFor + " after the last sign"
	case "pause":
		return "others' programs are paused, until " + l.ActiveFor + " after the last sign"
	}
	return "others' programs go on"
}
