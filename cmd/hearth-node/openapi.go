package main

import (
	"github.com/spf13/cobra"

	"hearth/api/server"
)

func (a *app) openapiCommand() *cobra.Command {
	return &cobra.Command{
		Use: "openapi", Short: "The local API's description (OpenAPI 3.1, YAML)", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			text, err := server.Spec()
			if err != nil {
				return err
			}
			_, err = a.Term.Out().Write(text)
			return err
		},
	}
}
