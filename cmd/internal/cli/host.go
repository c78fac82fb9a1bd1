package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/internal/terminal"
	"hearth/sdk"
)

func (a *App) hostCommand(own []*cobra.Command) *cobra.Command {
	status := &cobra.Command{
		Use: "status", Short: "What this host offers, holds and earns", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Host, error) { return n.Host(ctx) }, hostRows)
		},
	}
	leave := &cobra.Command{
		Use: "leave", Short: "Give notice: prove and serve until it ends, then the bond returns", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.Term.Confirm(a.Yes, "The host takes no new data from now on.", "leave"); err != nil {
				return err
			}
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Host, error) { return n.LeaveHosting(ctx, "") }, hostRows)
		},
	}
	return group("host", "Rent out this machine: disk, functions, containers", append(own, status, a.hostEarningsCommand(), leave)...)
}

func hostRows(h api.Host) *terminal.Rows {
	rows := terminal.Card().
		Add("Account", h.Account).Add("State", h.State).Add("Reach", h.Reach).
		Add("Offered", terminal.Size(h.Capacity)).Add("Used", terminal.Size(h.Used)).Add("Free", terminal.Size(h.Free)).
		Add("Pending", terminal.Size(h.Pending)).Add("Kept for the ledger", terminal.Size(h.Kept)).Add("Trash", terminal.Size(h.Trash)).
		Add("Limits", LimitsNow(h.Limits)).
		Add("Leases", h.Leases).Add("Leases pay in 30 days", h.Month).Add("Projected month", h.Projected).
		Add("Earned", h.Earned).Add("Commission paid", h.Commission).
		Add("Bond", h.Bond.String()+" of "+h.Target.String()).
		Add("Proven until", terminal.When(h.Proven)).Add("Periods proven", h.Proofs).Add("Missed proofs", h.Misses).
		Add("This period's proof", proofNow(h)).
		Add("Reads and audits", h.Reads).Add("Damaged shards", h.Damaged).Add("All read on", terminal.When(h.Scrubbed)).
		Add("Price of a GiB", PriceOf(h.Prices)).Add("Functions", SoldOf(h.Functions)).Add("Machines", RentedOf(h.Machines))
	if h.Class != nil {
		ClassRows(rows, *h.Class)
	}
	if !h.LeavesAt.IsZero() {
		rows.Add("Leaves", terminal.When(h.LeavesAt))
	}
	for _, note := range h.Limits.Notes {
		rows.Add("Note", note)
	}
	for _, c := range h.Checklist {
		rows.Add("Check: "+c.Name, CheckMark(c))
	}
	return rows
}

// SoldOf is what a host asks for runs of functions, and what it has run.
func SoldOf(s *api.Sold) string {
	if s == nil {
		return "not sold"
	}
	out := s.Prices.Tgas.String() + " for 10^12 gas, in " + s.Prices.In.String() + ", out " + s.Prices.Out.String()
	if s.Calls > 0 {
		out += fmt.Sprintf("; %d calls, %.3g gas since the start", s.Calls, float64(s.Gas))
	}
	return out
}

// RentedOf is what of a host's machine is rented out, and for how much.
func RentedOf(r *api.Rented) string {
	switch {
	case r == nil:
		return "not rented out"
	case r.Why != "":
		return "not rented out: " + r.Why
	}
	return fmt.Sprintf("%d instances; free %s; a core %s, a GiB of memory %s, of disk %s for 30 days", r.Instances, machineText(r.Free), r.Core, r.Memory, r.Disk)
}

// proofNow is how this period's proof stands, and why the last try failed.
func proofNow(h api.Host) string {
	if h.ProofCause == "" {
		return h.Proof
	}
	return h.Proof + "; last trouble: " + h.ProofCause
}

// CheckMark says how a check of a host ended.
func CheckMark(c api.Check) string {
	if c.OK {
		return "ok"
	}
	return "NOT OK: " + c.Detail
}

// LimitsNow is what holds at this hour, in one line.
func LimitsNow(l api.LimitsNow) string {
	each := func(n int64) string {
		if n == 0 {
			return "no limit"
		}
		return terminal.Size(n) + "/s"
	}
	text := "up " + each(l.Up) + ", down " + each(l.Down)
	if l.CPU > 0 {
		text += ", " + strconv.FormatFloat(float64(l.CPU)/1000, 'g', 4, 64) + " cores"
	}
	if l.Memory > 0 {
		text += ", " + terminal.Size(l.Memory) + " of memory"
	}
	if l.Paused {
		return text + ", paused: nothing new"
	}
	switch l.Compute {
	case "slow":
		text += ", others' programs are slowed down"
	case "closed":
		text += ", no new calls and instances"
	case "closed and slow":
		text += ", no new calls and instances, others' programs are slowed down"
	case "paused":
		text += ", others' programs are paused"
	}
	if l.Active != "" {
		text += ": " + l.Active
	}
	return text
}

// PriceOf is what a host asks for a GiB.
func PriceOf(p api.Prices) string {
	return p.Month.String() + " in 30 days, in " + p.In.String() + ", out " + p.Out.String()
}
