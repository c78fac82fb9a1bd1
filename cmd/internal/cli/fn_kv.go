package cli

import (
	"context"
	"fmt"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/core/fault"
	"hearth/core/store"
	"hearth/internal/terminal"
	"hearth/sdk"
)

func (a *App) fnKVCommand() *cobra.Command {
	ls := &cobra.Command{
		Use: "ls NAME [PREFIX]", Short: "Keys of a function's store, and how large their values are", Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.FunctionStore, error) {
				return wholeStore(ctx, n, args[0], strings.Join(args[1:], ""))
			}, storeRows)
		},
	}
	get := &cobra.Command{
		Use: "get NAME KEY", Short: "Write the value of a key to standard output", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			n, err := a.Client()
			if err != nil {
				return err
			}
			defer n.Close()
			b, err := n.FunctionValue(c.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			if _, err := a.Term.Out().Write(b); err != nil {
				return fmt.Errorf("write value: %w", err)
			}
			return nil
		},
	}
	put := &cobra.Command{
		Use: "put NAME KEY FILE", Short: "Give a key the content of a file, - for standard input", Args: cobra.ExactArgs(3),
		RunE: func(c *cobra.Command, args []string) error {
			b, err := readWhole(args[2], store.MaxValue)
			if err != nil {
				return err
			}
			n, err := a.Client()
			if err != nil {
				return err
			}
			defer n.Close()
			return n.SetFunctionValue(c.Context(), args[0], args[1], b)
		},
	}
	rm := &cobra.Command{
		Use: "rm NAME KEY...", Short: "Remove keys", Args: cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			n, err := a.Client()
			if err != nil {
				return err
			}
			defer n.Close()
			for _, key := range args[1:] {
				if err := n.RemoveFunctionValue(c.Context(), args[0], key); err != nil {
					return err
				}
			}
			return nil
		},
	}
	return group("kv", "Look at what a function keeps from one call to the next, and change it", ls, get, put, rm)
}

// wholeStore gathers all pages of a function's store.
func wholeStore(ctx context.Context, n *sdk.Client, name, prefix string) (all api.FunctionStore, err error) {
	for after := ""; ; {
		page, err := n.FunctionStore(ctx, name, prefix, after)
		if err != nil {
			return all, err
		}
		page.Keys = append(all.Keys, page.Keys...)
		if all, after = page, page.Next; after == "" {
			return all, nil
		}
	}
}

func storeRows(s api.FunctionStore) *terminal.Rows {
	rows := terminal.Table("KEY", "SIZE")
	for _, k := range s.Keys {
		rows.Add(plain(k.Key), terminal.Size(k.Size))
	}
	return rows
}

// plain is a key as it is shown: one with what moves a cursor is quoted.
func plain(key string) string {
	if strings.ContainsFunc(key, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Sprintf("%q", key)
	}
	return key
}

// removeFunction asks before a function goes that keeps something.
func (a *App) removeFunction(ctx context.Context, n *sdk.Client, name string) error {
	s, err := n.FunctionStore(ctx, name, "", "")
	what := ""
	switch {
	case fault.CodeOf(err) == fault.NotFound: // the removal says so
	case err != nil:
		what = fmt.Sprintf("Removes %s and all that it may have kept, which can't be read now.", name)
	case len(s.Keys) > 0:
		what = fmt.Sprintf("Removes %s and all that it has kept, %s.", name, terminal.Size(s.Size))
	}
	if what != "" {
		if err := a.Term.Confirm(a.Yes, what, name); err != nil {
			return err
		}
	}
	return n.RemoveFunction(ctx, name)
}
