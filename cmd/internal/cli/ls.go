package cli

import (
	"context"

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/internal/terminal"
	"hearth/sdk"
)

func (a *App) lsCommand() *cobra.Command {
	var recursive bool
	c := &cobra.Command{
		Use: "ls [hearth://BUCKET/PREFIX]", Short: "List buckets, or what is in one", Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return Ask(a, c, func(ctx context.Context, n *sdk.Client) ([]api.Bucket, error) { return n.Buckets(ctx) }, bucketTable)
			}
			name, err := sdk.ParseName(args[0])
			if err != nil {
				return err
			}
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Objects, error) {
				return list(ctx, n, name, recursive)
			}, func(all api.Objects) *terminal.Rows { return listTable(name.Bucket, all) })
		},
	}
	c.Flags().BoolVarP(&recursive, "recursive", "r", false, "folders with all that is in them")
	return c
}

// list reads every page.
func list(ctx context.Context, n *sdk.Client, name sdk.Name, recursive bool) (api.Objects, error) {
	all := api.Objects{Objects: []api.Object{}, Prefixes: []string{}}
	q := api.ListQuery{Prefix: name.Key, Delimiter: "/"}
	if recursive {
		q.Delimiter = ""
	}
	for {
		page, err := n.List(ctx, name.Bucket, q)
		if err != nil {
			return all, err
		}
		all.Objects = append(all.Objects, page.Objects...)
		all.Prefixes = append(all.Prefixes, page.Prefixes...)
		if q.After = page.Next; q.After == "" {
			return all, nil
		}
	}
}

func bucketTable(all []api.Bucket) *terminal.Rows {
	rows := terminal.Table("BUCKET", "CREATED")
	for _, b := range all {
		rows.Add(sdk.Name{Bucket: b.Name}, terminal.When(b.Created))
	}
	return rows
}

func listTable(bucket string, all api.Objects) *terminal.Rows {
	rows := terminal.Table("NAME", "SIZE", "MODIFIED", "PENDING")
	for _, p := range all.Prefixes {
		rows.Add(sdk.Name{Bucket: bucket, Key: p}, "-", "-", "-")
	}
	for _, o := range all.Objects {
		rows.Add(sdk.Name{Bucket: o.Bucket, Key: o.Key}, terminal.Size(o.Size), terminal.When(o.Modified), o.Pending)
	}
	return rows
}
