package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/core/fault"
	"hearth/core/network"
	"hearth/internal/terminal"
	"hearth/node"
	"hearth/sdk"
)

func (a *app) hostCommand() *cobra.Command {
	status := &cobra.Command{
		Use: "status", Short: "What this host offers, holds and earns", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Host, error) { return n.Host(ctx) }, hostRows)
		},
	}
	leave := &cobra.Command{
		Use: "leave", Short: "Give notice: prove and serve until it ends, then the bond returns", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.term.Confirm(a.yes, "The host takes no new data from now on.", "leave"); err != nil {
				return err
			}
			return ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Host, error) { return n.LeaveHosting(ctx, "") }, hostRows)
		},
	}
	return group("host", "Rent out this machine's disk", a.hostJoinCommand(), status, leave)
}

type joinFlags struct {
	storage, region, owner, listen string
	month, in, out                 string
	level                          string
	settingsOnly                   bool
}

func (a *app) hostJoinCommand() *cobra.Command {
	var f joinFlags
	c := &cobra.Command{
		Use:   "join [NETWORK]",
		Short: "Become a host of the network, and run the node",
		Long: `Writes the host's part of config.toml and runs the node, which registers itself on
the ledger. The folder needs an identity (hearth init). No money is needed: a
newcomer's bond is held back from what it earns.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.join(c.Context(), args, f, c.Flags().Changed); err != nil || f.settingsOnly {
				return err
			}
			return a.up(c, f.level)
		},
	}
	c.Flags().StringVar(&f.storage, "storage", "", "how much disk to offer, like 50GB")
	c.Flags().StringVar(&f.region, "region", "", "where the machine stands, like de or us-east")
	c.Flags().StringVar(&f.owner, "owner", "", "the account the machine belongs to; default its own")
	c.Flags().StringVar(&f.listen, "listen", "", "address for peers, ip:port; port 0 takes any")
	c.Flags().StringVar(&f.month, "price-month", "", "ember for a GiB stored for 30 days")
	c.Flags().StringVar(&f.in, "price-in", "", "ember for a GiB received")
	c.Flags().StringVar(&f.out, "price-out", "", "ember for a GiB sent")
	c.Flags().StringVar(&f.level, "log-level", env("HEARTH_LOG_LEVEL", "info"), "debug, info, warn or error (HEARTH_LOG_LEVEL)")
	c.Flags().BoolVar(&f.settingsOnly, "settings-only", false, "write config.toml and don't run the node")
	return c
}

// join writes the host's settings; changed tells which flags were given.
func (a *app) join(ctx context.Context, args []string, f joinFlags, changed func(string) bool) error {
	s, err := node.LoadSettings(a.dir)
	if err != nil {
		return err
	}
	if len(args) == 1 {
		if err := sameNetwork(args[0], s.Network); err != nil {
			return err
		}
	}
	if client, err := a.client(); err == nil {
		defer client.Close()
		if _, err := client.Node(ctx); err == nil {
			return fault.New(fault.AlreadyRunning, "join: the node of %s runs already", a.dir)
		}
	}
	for flag, set := range map[string]struct {
		to    *string
		value string
	}{
		"storage": {&s.Host.Storage, f.storage}, "region": {&s.Host.Region, f.region}, "owner": {&s.Host.Owner, f.owner},
		"listen": {&s.P2P.Listen, f.listen}, "price-month": {&s.Host.Price.Month, f.month},
		"price-in": {&s.Host.Price.In, f.in}, "price-out": {&s.Host.Price.Out, f.out},
	} {
		if changed(flag) {
			*set.to = set.value
		}
	}
	if s.Host.Storage == "" {
		return fault.New(fault.BadRequest, "join: say how much disk to offer: --storage 50GB")
	}
	if !slices.Contains(s.Roles, "host") {
		s.Roles = append(s.Roles, "host")
	}
	return s.Save(a.dir)
}

// sameNetwork refuses to join another network than the identity's.
func sameNetwork(wanted, have string) error {
	w, err := network.Parse(wanted)
	if err != nil {
		return err
	}
	h, err := network.Parse(have)
	if err != nil {
		return err
	}
	if w.ChainID != h.ChainID {
		return fault.New(fault.WrongNetwork, "join %s: this folder's identity belongs to %s", w.ChainID, h.ChainID)
	}
	return nil
}

func hostRows(h api.Host) *terminal.Rows {
	rows := terminal.Card().
		Add("Account", h.Account).Add("State", h.State).Add("Reach", h.Reach).
		Add("Offered", terminal.Size(h.Capacity)).Add("Used", terminal.Size(h.Used)).Add("Pending", terminal.Size(h.Pending)).
		Add("Leases", h.Leases).Add("Earns in 30 days", h.Month).Add("Earned", h.Earned).
		Add("Bond", h.Bond.String()+" of "+h.Target.String()).
		Add("Proven until", terminal.When(h.Proven)).Add("Missed proofs", h.Misses).
		Add("Price of a GiB", h.Prices.Month.String()+" in 30 days, in "+h.Prices.In.String()+", out "+h.Prices.Out.String())
	if !h.LeavesAt.IsZero() {
		rows.Add("Leaves", terminal.When(h.LeavesAt))
	}
	for _, c := range h.Checklist {
		rows.Add("Check: "+c.Name, checkMark(c))
	}
	return rows
}

func checkMark(c api.Check) string {
	if c.OK {
		return "ok"
	}
	return "NOT OK: " + c.Detail
}
