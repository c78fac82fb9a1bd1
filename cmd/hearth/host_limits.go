package main

import (
	"context"

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/core/fault"
	"hearth/internal/terminal"
	"hearth/node"
)

func (a *app) hostLimitsCommand() *cobra.Command {
	var up, down string
	var schedule []string
	c := &cobra.Command{
		Use: "limits", Short: "How much of the line the host may use, and at which hours", Args: cobra.NoArgs,
		Long: `Shows the limits, or sets those that are named. They hold at once, and are kept in
config.toml. Rates are bytes a second (2MB, 500KiB) or bits (16Mbit); none lifts one.

A schedule is lines of [DAYS] HH:MM-HH:MM with what holds then: up=RATE, down=RATE or
pause. The first line that fits counts; the machine's own time is meant.`,
		Example: `  hearth host limits --up 2MB --down 8MB
  hearth host limits --schedule 'mon-fri 08:00-18:00 up=500KB' --schedule '18:00-23:00 pause'
  hearth host limits --up none --schedule none`,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.changeLimits(c.Context(), func(l *api.HostLimits) bool {
				flags := c.Flags()
				if flags.Changed("up") {
					l.Up = up
				}
				if flags.Changed("down") {
					l.Down = down
				}
				if flags.Changed("schedule") {
					l.Schedule = schedule
				}
				if len(schedule) == 1 && schedule[0] == "none" {
					l.Schedule = []string{}
				}
				return flags.Changed("up") || flags.Changed("down") || flags.Changed("schedule")
			})
		},
	}
	c.Flags().StringVar(&up, "up", "", "sent at most in a second, like 2MB or 16Mbit; none: no limit")
	c.Flags().StringVar(&down, "down", "", "received at most in a second")
	c.Flags().StringArrayVar(&schedule, "schedule", nil, "a line of the schedule, in place of all there were; none: no schedule")
	return c
}

func (a *app) hostPauseCommand() *cobra.Command {
	return &cobra.Command{
		Use: "pause", Short: "Take no new data; what is held is served and proven", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.changeLimits(c.Context(), func(l *api.HostLimits) bool { l.Paused = true; return true })
		},
	}
}

func (a *app) hostResumeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "resume", Short: "Take new data again", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.changeLimits(c.Context(), func(l *api.HostLimits) bool { l.Paused = false; return true })
		},
	}
}

// changeLimits tells the node that runs, or writes config.toml where none does.
func (a *app) changeLimits(ctx context.Context, change func(*api.HostLimits) bool) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	defer client.Close()
	l, err := client.HostLimits(ctx)
	offline := a.api == "" && fault.CodeOf(err) == fault.NotRunning
	if offline {
		l, err = node.SavedLimits(a.dir)
	}
	if err != nil {
		return err
	}
	if change(&l) {
		if offline {
			l, err = node.SaveLimits(a.dir, l)
		} else {
			l, err = client.SetHostLimits(ctx, l)
		}
		if err != nil {
			return err
		}
	}
	if offline {
		a.term.Say("no node runs in %s: this holds from its next start", a.dir)
	}
	return a.term.Show(l, limitRows(l))
}

func limitRows(l api.HostLimits) *terminal.Rows {
	named := func(s string) string {
		if s == "" {
			return "none"
		}
		return s
	}
	rows := terminal.Card().Add("Up", named(l.Up)).Add("Down", named(l.Down)).Add("Paused", l.Paused)
	for _, line := range l.Schedule {
		rows.Add("Schedule", line)
	}
	return rows.Add("At this hour", limitsNow(l.Now))
}

func limitsNow(l api.LimitsNow) string {
	each := func(n int64) string {
		if n == 0 {
			return "no limit"
		}
		return terminal.Size(n) + "/s"
	}
	text := "up " + each(l.Up) + ", down " + each(l.Down)
	if l.Paused {
		text += ", paused: no new data"
	}
	return text
}
