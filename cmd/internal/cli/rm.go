package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"hearth/core/fault"
	"hearth/sdk"
)

func (a *App) rmCommand() *cobra.Command {
	var recursive bool
	c := &cobra.Command{
		Use: "rm hearth://BUCKET/KEY...", Short: "Remove files, or an empty bucket", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.Client()
			if err != nil {
				return err
			}
			defer client.Close()
			for _, arg := range args {
				name, err := sdk.ParseName(arg)
				if err != nil {
					return err
				}
				if err := a.rm(c.Context(), client, name, recursive); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().BoolVarP(&recursive, "recursive", "r", false, "everything whose key begins with KEY, and the bucket where KEY is empty")
	return c
}

func (a *App) rm(ctx context.Context, client *sdk.Client, name sdk.Name, recursive bool) error {
	switch {
	case recursive:
		return a.rmAll(ctx, client, name)
	case name.Key == "":
		return client.RemoveBucket(ctx, name.Bucket)
	}
	return client.Remove(ctx, name.Bucket, name.Key)
}

// rmAll finds everything first, so that the question can say how much it is.
func (a *App) rmAll(ctx context.Context, client *sdk.Client, name sdk.Name) error {
	var keys []string
	for o, err := range client.Walk(ctx, name.Bucket, name.Key) {
		if err != nil {
			return err
		}
		keys = append(keys, o.Key)
	}
	if len(keys) == 0 && name.Key != "" {
		return fault.New(fault.NotFound, "remove %s: nothing begins so", name)
	}
	if err := a.Term.Confirm(a.Yes, fmt.Sprintf("Removes %d files of %s.", len(keys), name), name.Bucket); err != nil {
		return err
	}
	for _, key := range keys {
		if err := client.Remove(ctx, name.Bucket, key); err != nil && fault.CodeOf(err) != fault.NotFound {
			return err
		}
	}
	if name.Key == "" {
		return client.RemoveBucket(ctx, name.Bucket)
	}
	return nil
}
