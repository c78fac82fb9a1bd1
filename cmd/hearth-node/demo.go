package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"hearth/cmd/hearth-node/internal/demo"
)

func (a *app) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo [FILE]",
		Short: "See it work: store a file, lose hosts, get it back",
		Long: `Starts a network in a folder of its own, stores a file on its hosts (random bytes
where none is given, or a small one), kills as many hosts as the file's code allows,
reads the file back, and looks at what the ledger has paid. Then it stops everything
and removes the folder. It fails unless all of it held.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			dir, err := os.MkdirTemp("", "hearth-demo-")
			if err != nil {
				return fmt.Errorf("demo: %w", err)
			}
			defer os.RemoveAll(dir)
			config := demo.Config{Dir: filepath.Join(dir, "cloud"), Out: a.Term.Out()}
			if len(args) == 1 {
				config.File = args[0]
			}
			return demo.Run(c.Context(), config)
		},
	}
}
