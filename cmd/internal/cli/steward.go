package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/internal/terminal"
	"hearth/sdk"
)

func (a *App) stewardCommand() *cobra.Command {
	ls := &cobra.Command{
		Use: "ls", Short: "Who looks after your data, and how whole it is", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Stewards, error) { return n.Stewards(ctx) }, stewardsRows)
		},
	}
	dismiss := &cobra.Command{
		Use: "dismiss ADDRESS", Short: "End a steward's mandate now", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.Client()
			if err != nil {
				return err
			}
			defer client.Close()
			if err := client.DismissSteward(c.Context(), args[0]); err != nil {
				return err
			}
			a.Term.Say("dismissed: its key may do nothing for you any more")
			return nil
		},
	}
	return group("steward", "Have your data looked after while this machine is off", a.stewardHireCommand(), ls, dismiss)
}

func (a *App) stewardHireCommand() *cobra.Command {
	var limit, until, ceiling, most string
	c := &cobra.Command{
		Use: "hire [ADDRESS]", Short: "Give a steward a mandate to repair and to pay for it", Args: cobra.MaximumNArgs(1),
		Long: `Hires the steward at ADDRESS, or one that the ledger names. It reads samples of what is
stored, makes lost shards anew elsewhere and pays for them from the purse, up to a cap in
30 days, at prices up to a ceiling, until an end. It can't read, and can't remove.
For one that is hired already the limits change.`,
		Example: `  hearth steward hire
  hearth steward hire hearth1... --cap "5 ember" --until 90d --ceiling "0.01 ember"`,
		RunE: func(c *cobra.Command, args []string) error {
			q, err := hireOf(limit, until, ceiling, time.Now())
			if err != nil {
				return err
			}
			host := ""
			if len(args) > 0 {
				host = args[0]
			}
			if err := a.entrust(c.Context(), &q, most); err != nil {
				return err
			}
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Steward, error) { return n.HireSteward(ctx, host, q) }, stewardRows)
		},
	}
	c.Flags().StringVar(&limit, "cap", "", "the most it may put into leases in 30 days; default a tenth of this device's cap")
	priceFlag(c, &most)
	c.Flags().StringVar(&until, "until", "", "the end of its mandate: a time from now like 90d or 12h, or a date like 2027-01-31; default 90d")
	c.Flags().StringVar(&ceiling, "ceiling", "", "the most that a GiB may cost for 30 days; default this device's ceiling")
	return c
}

// entrust shows what a steward may spend before it may, and asks. What is shown is
// what is asked of the node then.
func (a *App) entrust(ctx context.Context, q *api.HireSteward, most string) error {
	client, err := a.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	if q.Cap == nil {
		now, err := client.Stewards(ctx)
		if err != nil {
			return err
		}
		q.Cap = &now.Cap
	}
	w, err := client.Wallet(ctx)
	if err != nil {
		return err
	}
	own := "this device has no mandate yet"
	if w.Mandate != nil {
		own = "this device's cap is " + w.Mandate.Cap.String() + " besides"
	}
	a.Term.Say("a steward costs what it repairs and renews, at most %s in 30 days; %s", *q.Cap, own)
	within, err := notAbove(*q.Cap, most)
	if err != nil || within {
		return err
	}
	return a.Term.Confirm(a.Yes, fmt.Sprintf("A steward may spend up to %s in 30 days from your purse.", *q.Cap), "hire")
}

// hireOf turns what was typed into a request.
func hireOf(limit, until, ceiling string, now time.Time) (q api.HireSteward, err error) {
	amount := func(text string) (*api.Money, error) {
		if text == "" {
			return nil, nil
		}
		v, err := money.Parse(text)
		if err != nil {
			return nil, err
		}
		m := api.MoneyOf(v)
		return &m, nil
	}
	if q.Cap, err = amount(limit); err != nil {
		return q, err
	}
	if q.Month, err = amount(ceiling); err != nil {
		return q, err
	}
	if until != "" {
		t, err := endOf(until, now)
		if err != nil {
			return q, err
		}
		q.Until = &t
	}
	return q, nil
}

// endOf reads a time from now, or a date.
func endOf(text string, now time.Time) (time.Time, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 {
			return now.AddDate(0, 0, n), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return now.Add(d), nil
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	return time.Time{}, fault.New(fault.BadRequest, "until %q: it is a time like 90d or 12h, or a date like 2027-01-31", text)
}

func stewardRows(s api.Steward) *terminal.Rows {
	rows := terminal.Card().
		Add("Steward", s.Host).Add("State", s.State).Add("May spend in 30 days", s.Cap).Add("Spent of it", s.Spent).
		Add("Price of a GiB up to", PriceOf(s.Ceiling)).Add("Until", terminal.When(s.Until)).
		Add("Looks after", fmt.Sprintf("%d slabs", s.Slabs)).
		Add("Restored", fmt.Sprintf("%d shards, %s", s.Restored, terminal.Size(s.Bytes)))
	if s.Refused > 0 {
		rows.Add("Refused", fmt.Sprintf("%d shards: %s", s.Refused, s.Complaint))
	}
	if s.Trouble != "" {
		rows.Add("Trouble", s.Trouble)
	}
	return rows
}

func stewardsRows(all api.Stewards) *terminal.Rows {
	c := all.Care
	rows := terminal.Card().
		Add("Slabs", fmt.Sprintf("%d: %d wait for repair, %d urgently, %d can't be read now", c.Slabs, c.Due, c.Urgent, c.Beyond)).
		Add("Shards", fmt.Sprintf("%d missing, %d not heard of lately", c.Missing, c.Unknown)).
		Add("Since the start", fmt.Sprintf("%d shards made anew (%s), %d audits", c.Remade, terminal.Size(c.Bytes), c.Audits))
	for _, s := range all.Stewards {
		rows.Add("Steward", fmt.Sprintf("%s %s: %d slabs, %d shards restored, %d refused, %s of %s spent, until %s",
			s.Host, s.State, s.Slabs, s.Restored, s.Refused, s.Spent, s.Cap, terminal.When(s.Until)))
	}
	if len(all.Stewards) == 0 {
		rows.Add("Stewards", "none; `hearth steward hire` engages one")
	}
	return rows
}
