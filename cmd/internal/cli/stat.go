package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/internal/terminal"
	"hearth/sdk"
)

func (a *App) statCommand() *cobra.Command {
	var shards bool
	c := &cobra.Command{
		Use: "stat hearth://BUCKET/KEY", Short: "What is known of a file, and how well it is kept", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			name, err := sdk.ParseName(args[0])
			if err != nil {
				return err
			}
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Health, error) {
				return n.Health(ctx, name.Bucket, name.Key)
			}, func(h api.Health) *terminal.Rows { return healthRows(h, shards) })
		},
	}
	c.Flags().BoolVar(&shards, "shards", false, "every shard and its host")
	return c
}

func healthRows(h api.Health, shards bool) *terminal.Rows {
	o := h.Object
	rows := terminal.Card().Add("Name", sdk.Name{Bucket: o.Bucket, Key: o.Key}).
		Add("Size", fmt.Sprintf("%s (%d)", terminal.Size(o.Size), o.Size)).Add("Modified", terminal.When(o.Modified)).
		Add("Type", o.Type).Add("Version", o.Version).Add("Code", o.Class).Add("Pending", o.Pending).
		Add("Costs in 30 days", h.Month)
	if o.Sum != "" {
		rows.Add("BLAKE3", o.Sum)
	}
	for i, s := range h.Slabs {
		held := 0
		for _, shard := range s.Shards {
			if shard.State == "held" {
				held++
			}
		}
		rows.Add(fmt.Sprintf("Slab %d", i), fmt.Sprintf("%d of %d shards answer, %d are enough", held, len(s.Shards), s.Needed))
		if !shards {
			continue
		}
		for _, shard := range s.Shards {
			rows.Add(fmt.Sprintf("  shard %d", shard.Index), fmt.Sprintf("%s %s lease %d %s", shard.State, shard.Host, shard.Lease, shard.Detail))
		}
	}
	return rows
}
