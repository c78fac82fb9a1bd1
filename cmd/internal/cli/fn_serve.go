package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/core/fault"
	"hearth/internal/terminal"
	"hearth/sdk"
)

func (a *App) fnServeCommand() *cobra.Command {
	var at api.FunctionListen
	c := &cobra.Command{
		Use: "serve", Short: "Have functions answer HTTP requests, until Ctrl-C", Args: cobra.NoArgs,
		Long: `Has the running node answer HTTP requests with the account's functions: a request for
/NAME/rest?query is one call of the function NAME, in the form of CGI (RFC 3875), and
costs what a call costs. The setting listen under [Client.functions] in config.toml
keeps the door open. docs/compute.md has examples, and what else can be set there.`,
		Example: `  hearth fn serve
  curl http://` + api.FunctionsAt + `/hello/world?from=here`,
		RunE: func(c *cobra.Command, _ []string) error {
			n, err := a.Client()
			if err != nil {
				return err
			}
			defer n.Close()
			return a.fnServe(c.Context(), n, at)
		},
	}
	c.Flags().StringVar(&at.Listen, "listen", "", "host:port; default "+api.FunctionsAt+"; elsewhere than on loopback anybody who reaches it spends your money")
	return c
}

func functionDoorCard(d api.FunctionDoor) *terminal.Rows {
	if !d.Open {
		rows := terminal.Card().Add("Functions over HTTP", "closed; `hearth fn serve` opens it")
		if d.Problem != "" {
			rows.Add("Problem", d.Problem)
		}
		return rows
	}
	return terminal.Card().Add("Functions over HTTP", d.Endpoint+"/NAME").Add("Requests a second of one function", fmt.Sprintf("%g", d.Rate))
}

// fnServe opens the door, or finds it open, and waits. What it opened it closes.
func (a *App) fnServe(ctx context.Context, n *sdk.Client, at api.FunctionListen) error {
	door, err := n.FunctionDoor(ctx)
	if err != nil {
		return err
	}
	opened := !door.Open
	switch {
	case opened:
		if door, err = n.OpenFunctionDoor(ctx, at); err != nil {
			return err
		}
	case at.Listen != "" && !strings.HasSuffix(door.Endpoint, "://"+at.Listen):
		return fault.New(fault.Exists, "open functions' HTTP door: it is open at %s already", door.Endpoint)
	}
	if err := a.Term.Show(door, functionDoorCard(door)); err != nil {
		return err
	}
	return a.keepOpen(ctx, opened, "", n.CloseFunctionDoor)
}
