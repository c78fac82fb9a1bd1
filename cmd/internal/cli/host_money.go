package cli

import (
	"encoding/csv"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/core/fault"
	"hearth/internal/terminal"
)

func (a *App) hostEarningsCommand() *cobra.Command {
	var asCSV bool
	var since string
	c := &cobra.Command{
		Use: "earnings", Short: "What the ledger has paid this host, payment by payment", Args: cobra.NoArgs,
		Example: "  hearth host earnings --csv --since 2026-01-01 > 2026.csv",
		RunE: func(c *cobra.Command, _ []string) error {
			from, err := parseSince(since)
			if err != nil {
				return err
			}
			client, err := a.Client()
			if err != nil {
				return err
			}
			defer client.Close()
			all, err := client.Earnings(c.Context(), from)
			if err != nil {
				return err
			}
			if asCSV {
				return a.earningsCSV(all)
			}
			return a.Term.Show(all, earningsTable(all))
		},
	}
	c.Flags().BoolVar(&asCSV, "csv", false, "comma-separated values, amounts in ember")
	c.Flags().StringVar(&since, "since", "", "from this day or time on, like 2026-01-31 or 2026-01-31T12:00:00Z")
	return c
}

func parseSince(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(form, s); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fault.New(fault.BadRequest, "read --since %q: write it like 2026-01-31 or 2026-01-31T12:00:00Z", s)
}

func earningsTable(all api.Earnings) *terminal.Rows {
	rows := terminal.Table("TIME", "LEASE", "PAID", "COMMISSION", "TO THIS HOST", "CLIENT")
	for _, e := range all.Earnings {
		rows.Add(terminal.When(e.Time), e.Lease, e.Gross, e.Commission, e.Net, e.Client)
	}
	return rows
}

func (a *App) earningsCSV(all api.Earnings) error {
	w := csv.NewWriter(a.Term.Out())
	lines := [][]string{{"time", "lease", "client", "paid_ember", "commission_ember", "net_ember"}}
	for _, e := range all.Earnings {
		lines = append(lines, []string{
			e.Time.UTC().Format(time.RFC3339), strconv.FormatUint(e.Lease, 10), e.Client, e.Gross.Amount, e.Commission.Amount, e.Net.Amount,
		})
	}
	if err := w.WriteAll(lines); err != nil {
		return fmt.Errorf("write earnings: %w", err)
	}
	return nil
}
