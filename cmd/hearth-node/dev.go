package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/adrg/xdg"
	"github.com/spf13/cobra"

	"hearth/cmd/internal/cli"
	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/internal/terminal"
	"hearth/node"
	"hearth/node/cloud"
)

func (a *app) devCommand() *cobra.Command {
	var c cloud.Config
	var class string
	command := &cobra.Command{
		Use:   "dev",
		Short: "A whole network on this machine, until Ctrl-C",
		Long: `Runs a ledger, hosts and a funded client, each a process of its own, in one folder,
and keeps them there for the next time: hearth-dev in the user's data, or --dir, or
HEARTH_DEV_DIR. It is for trying and developing.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if c.Dir = a.Dir; !cmd.Flags().Changed("dir") {
				c.Dir = cli.Env("HEARTH_DEV_DIR", filepath.Join(xdg.DataHome, "hearth-dev"))
			}
			if class != "" {
				if c.Class, err = erasure.Parse(class); err != nil {
					return err
				}
			}
			return a.dev(cmd, c)
		},
	}
	command.Flags().IntVar(&c.Hosts, "hosts", 0, "how many hosts; default 10, or as many as there are")
	command.Flags().BoolVar(&c.Reset, "reset", false, "begin anew: what the folder holds is deleted")
	command.Flags().StringVar(&c.Storage, "storage", "", "what a host offers; default 20GB")
	command.Flags().IntVar(&c.Machines, "machines", 2, "so many hosts rent out machines for instances too")
	command.Flags().StringVar(&class, "code", "", "k/n of new files; default fits the hosts")
	return command
}

func (a *app) dev(cmd *cobra.Command, c cloud.Config) error {
	a.Term.Say("starting a network in %s ...", c.Dir)
	running, err := cloud.Start(cmd.Context(), c)
	if err != nil {
		return err
	}
	defer running.Stop()
	if err := a.Term.Show(devShown(running), devRows(running)); err != nil {
		return err
	}
	a.Term.Say("Ctrl-C stops it; what it holds stays for the next time.")
	var beside sync.WaitGroup
	defer beside.Wait()
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	beside.Go(func() {
		if err := running.Measure(ctx); err != nil && ctx.Err() == nil {
			a.Term.Say("hosts tell nothing of this machine, since it can't be measured: %v", err)
		}
	})
	select {
	case <-cmd.Context().Done():
		return nil
	case <-running.Ledger.Done():
		return fault.New(fault.LedgerDown, "dev: the ledger ended; its log is %s", filepath.Join(running.Ledger.Dir, "log"))
	case <-running.Client.Done():
		return fault.New(fault.NotRunning, "dev: the client ended; its log is %s", filepath.Join(running.Client.Dir, "log"))
	}
}

type devNetwork struct {
	Dir     string `json:"dir"`
	Network string `json:"network"`
	Hosts   int    `json:"hosts"`
	Code    string `json:"code"`
	Client  string `json:"client" doc:"The client's folder, for HEARTH_DIR"`
	S3      string `json:"s3" doc:"Endpoint for S3 tools"`
	Images  string `json:"images" doc:"Registry for docker, podman and their like"`
}

func devShown(c *cloud.Cloud) devNetwork {
	return devNetwork{c.Dir, c.Network.String(), len(c.Hosts), c.Class.String(), c.Client.Dir, s3Endpoint(c), imagesAt(c)}
}

func devRows(c *cloud.Cloud) *terminal.Rows {
	return terminal.Card().
		Add("Network", c.Network).
		Add("Hosts", fmt.Sprintf("%d; files are coded %s", len(c.Hosts), c.Class)).
		Add("In another shell", "export HEARTH_DIR="+c.Client.Dir).
		Add("then", "hearth put FILE hearth://photos/ ; hearth ls -r hearth://photos").
		Add("S3 tools", s3Endpoint(c)+" ; eval $(hearth s3 env)").
		Add("Images", imagesAt(c)+" ; hearth image login")
}

// imagesAt is where the client's settings open its door for images.
func imagesAt(c *cloud.Cloud) string {
	set, err := node.LoadSettings(c.Client.Dir)
	if err != nil {
		return ""
	}
	return set.Images.Listen
}

// s3Endpoint is where the client's settings open its S3 door.
func s3Endpoint(c *cloud.Cloud) string {
	set, err := node.LoadSettings(c.Client.Dir)
	if err != nil || set.S3.Listen == "" {
		return ""
	}
	return "http://" + set.S3.Listen
}
