package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/core/fault"
	"hearth/core/quote"
	"hearth/internal/terminal"
	"hearth/sdk"
)

func (a *App) marketCommand() *cobra.Command {
	var kind string
	quotes := &cobra.Command{
		Use: "quotes", Short: "Ask the network's hosts for their prices", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Quotes, error) { return n.Quotes(ctx, kind) }, func(q api.Quotes) *terminal.Rows {
				return a.quoteRows(q, kind == "compute")
			})
		},
	}
	quotes.Flags().StringVar(&kind, "kind", "storage", "storage, compute, edge, relay or talk")
	return group("market", "Prices", quotes)
}

func (a *App) quoteRows(q api.Quotes, calls bool) *terminal.Rows {
	unit := "GIB FOR 30 DAYS"
	if calls {
		unit = "10^12 GAS"
	}
	head := []string{"HOST", unit, "GIB IN", "GIB OUT", "FREE", "LATENCY", "BOND", "MISSES", "REGION", "VALID"}
	if calls {
		head = append(head, "CORE", "GPUS", "OWN MEASUREMENT")
	}
	rows := terminal.Table(head...)
	for _, o := range q.Quotes {
		free, latency, bond := "-", "-", "filling"
		price := o.Prices.Month
		switch {
		case calls:
			price, free = o.Prices.Tgas, fmt.Sprintf("%.3g cores", float64(o.Free)/quote.GiB)
		case o.Free >= 0:
			free = terminal.Size(o.Free)
		}
		if o.Latency >= 0 {
			latency = fmt.Sprintf("%.1f ms", o.Latency)
		}
		if o.Bonded {
			bond = "full"
		}
		valid := time.Until(o.ValidUntil).Round(time.Minute).String()
		row := []any{o.Host, price, o.Prices.In, o.Prices.Out, free, latency, bond, o.Misses, o.Region, valid}
		if calls {
			core, gpus := claimed(o.Class)
			row = append(row, core, gpus, measuredHere(o.Speed, o.Slow))
		}
		rows.Add(row...)
	}
	if q.Silent > 0 {
		a.Term.Say("%d of %d hosts did not answer", q.Silent, q.Asked)
	}
	return rows
}

func (a *App) leaseCommand() *cobra.Command {
	ls := &cobra.Command{
		Use: "ls", Short: "This account's leases", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) ([]api.Lease, error) {
				all := []api.Lease{}
				for l, err := range n.Leases(ctx) {
					if err != nil {
						return nil, err
					}
					all = append(all, l)
				}
				return all, nil
			}, leaseTable)
		},
	}
	show := &cobra.Command{
		Use: "show ID", Short: "One lease", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil {
				return fault.New(fault.BadRequest, "show lease %q: its id is a number", args[0])
			}
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Lease, error) { return n.Lease(ctx, id) }, leaseCard)
		},
	}
	return group("lease", "Bargains with hosts", ls, show)
}

func leaseTable(all []api.Lease) *terminal.Rows {
	rows := terminal.Table("ID", "KIND", "STATE", "RESERVED", "30 DAYS", "PAID", "LEFT", "HOST", "CLIENT")
	for _, l := range all {
		rows.Add(l.ID, l.Kind, l.State, terminal.Size(l.Bytes), l.Month, l.Paid, l.Left, l.Host, l.Client)
	}
	return rows
}

func leaseCard(l api.Lease) *terminal.Rows {
	rows := terminal.Card().Add("Lease", l.ID).Add("Kind", l.Kind).Add("State", l.State).
		Add("Client", l.Client).Add("Host", l.Host).Add("Reserved", terminal.Size(l.Bytes)).
		Add("Costs in 30 days", l.Month).Add("Paid", l.Paid).Add("Signed for", l.Signed).Add("Left", l.Left).
		Add("Statement", l.Seq).Add("Root", l.Root).
		Add("Prices until", terminal.When(l.PricesTil)).Add("Opened", terminal.When(l.Opened))
	if !l.Ends.IsZero() {
		rows.Add("Ends", terminal.When(l.Ends))
	}
	return rows
}

func (a *App) ledgerCommand() *cobra.Command {
	status := &cobra.Command{
		Use: "status", Short: "How far this node sees the ledger, and through which ledger nodes", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Ledger, error) { return n.Ledger(ctx) }, ledgerRows)
		},
	}
	return group("ledger", "The public ledger", status)
}

func ledgerRows(l api.Ledger) *terminal.Rows {
	rows := terminal.Card().Add("Network", l.Network).Add("Height", l.Height).Add("Block time", terminal.When(l.Time)).
		Add("Trust began at", l.Trusted).Add("For others to trust", l.Checkpoint)
	for _, n := range l.Nodes {
		state := fmt.Sprintf("up, says height %d", n.Height)
		if !n.Up {
			state = "down: " + n.Error
		}
		rows.Add(n.URL, state)
	}
	return rows
}

func (a *App) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "What is running in this folder", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Node, error) { return n.Node(ctx) }, nodeRows)
		},
	}
}

func nodeRows(n api.Node) *terminal.Rows {
	return terminal.Card().Add("Account", n.Account).Add("Device", n.Device).Add("Network", n.Network).
		Add("Roles", fmt.Sprint(n.Roles)).Add("Reach", n.Reach).Add("Peers", n.Peers).
		Add("Ledger", fmt.Sprintf("block %d of %s", n.Ledger.Height, terminal.When(n.Ledger.Time))).
		Add("Since", terminal.When(n.Started)).Add("Version", n.Build.Version)
}
