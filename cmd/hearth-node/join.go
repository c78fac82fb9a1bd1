package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/cmd/internal/cli"
	"hearth/core/fault"
	"hearth/core/network"
	"hearth/internal/terminal"
	"hearth/node"
)

type joinFlags struct {
	storage, region, owner, listen string
	announce                       []string
	month, in, out                 string
	level                          string
	functions, machines            bool
	settingsOnly                   bool
}

func (a *app) hostJoinCommand() *cobra.Command {
	var f joinFlags
	c := &cobra.Command{
		Use:   "join [NETWORK]",
		Short: "Become a host of the network, and run the node",
		Long: `Makes this machine a host: an identity where the folder has none, whose recovery
sheet is shown once, the host's part of config.toml, and then the node, which
registers itself on the ledger and serves until Ctrl-C. No money is needed: a
sponsor pays the first fees, and a newcomer's bond is held back from what it earns.

The machine is measured first, which takes about three seconds. What has less than the
network asks for is refused, with the cheapest fix, and nothing is made or changed.

Said again, it changes what its flags name; ` + "`hearth up`" + ` starts the node as it is.`,
		Example: `  hearth host join hearth-0123456789abcdef0123@http://ledger.example:26657 --storage 50GB
  hearth host join NAME --storage 2TB --region de --announce 203.0.113.7:4001`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			log, err := a.logger(f.level)
			if err != nil {
				return err
			}
			name := cli.Env("HEARTH_NETWORK", "")
			if len(args) == 1 {
				name = args[0]
			}
			passphrase, err := a.join(c.Context(), name, f, c.Flags().Changed)
			if err != nil || f.settingsOnly {
				return err
			}
			return a.serve(c.Context(), log, passphrase, a.joined)
		},
	}
	c.Flags().StringVar(&f.storage, "storage", "", "how much disk to offer, like 50GB")
	c.Flags().StringVar(&f.region, "region", "", "where the machine stands, like de or us-east")
	c.Flags().StringVar(&f.owner, "owner", "", "the account the machine belongs to; default its own")
	c.Flags().StringVar(&f.listen, "listen", "", "where to listen for peers, ip:port, on TCP and UDP and the next port too (default 0.0.0.0:4001 where that is free)")
	c.Flags().StringArrayVar(&f.announce, "announce", nil, "where others reach this machine, ip:port or a multiaddr, if it can't know (behind a router)")
	c.Flags().StringVar(&f.month, "price-month", "", "ember for a GiB stored for 30 days")
	c.Flags().StringVar(&f.in, "price-in", "", "ember for a GiB received")
	c.Flags().StringVar(&f.out, "price-out", "", "ember for a GiB sent")
	c.Flags().BoolVar(&f.machines, "machines", true, "rent out cores and memory for others' containers too, where they can run; --machines=false doesn't")
	c.Flags().BoolVar(&f.functions, "functions", true, "run others' functions too, in a sandbox; --functions=false doesn't")
	c.Flags().StringVar(&f.level, "log-level", cli.Env("HEARTH_LOG_LEVEL", "info"), "debug, info, warn or error (HEARTH_LOG_LEVEL)")
	c.Flags().BoolVar(&f.settingsOnly, "settings-only", false, "make identity and config.toml, and don't run the node")
	return c
}

// join makes the folder a host's, and returns the passphrase of its keys; changed
// tells which flags were given.
func (a *app) join(ctx context.Context, name string, f joinFlags, changed func(string) bool) ([]byte, error) {
	if name != "" {
		if _, err := network.Parse(name); err != nil {
			return nil, err
		}
	}
	_, err := node.NeedsPassphrase(a.Dir)
	switch {
	case fault.CodeOf(err) == fault.NoIdentity && name != "":
		return a.joinAnew(ctx, name, f, changed)
	case fault.CodeOf(err) == fault.NoIdentity:
		return nil, fault.New(fault.NoIdentity, "join: %s holds no identity; name the network and one is made: `hearth host join NAME --storage 50GB`", a.Dir)
	case err != nil:
		return nil, err
	}
	s, err := node.LoadSettings(a.Dir)
	if err != nil {
		return nil, err
	}
	if name != "" {
		if err := sameNetwork(name, s.Network); err != nil {
			return nil, err
		}
		s.Network = name
	}
	if client, err := a.Client(); err == nil {
		defer client.Close()
		if _, err := client.Node(ctx); err == nil {
			return nil, fault.New(fault.AlreadyRunning, "join: the node of %s runs already", a.Dir)
		}
	}
	if err := f.apply(&s, changed); err != nil {
		return nil, err
	}
	figures, err := a.admit(ctx, s, a.Dir, f.settingsOnly)
	if err != nil {
		return nil, err
	}
	if err := s.Save(a.Dir); err != nil || f.settingsOnly {
		return nil, err
	}
	if err := keepMeasured(a.Dir, figures); err != nil {
		return nil, err
	}
	return a.passphrase()
}

// joinAnew makes the folder's identity, that of a host and nothing else.
func (a *app) joinAnew(ctx context.Context, name string, f joinFlags, changed func(string) bool) ([]byte, error) {
	s := node.Default()
	s.Network, s.Roles = name, nil
	if err := f.apply(&s, changed); err != nil {
		return nil, err
	}
	if err := s.Check(); err != nil {
		return nil, err
	}
	figures, err := a.admit(ctx, s, "", f.settingsOnly)
	if err != nil {
		return nil, err
	}
	passphrase, err := a.newPassphrase()
	if err != nil {
		return nil, err
	}
	id, err := node.Init(ctx, node.InitConfig{Dir: a.Dir, Network: name, Passphrase: passphrase, Settings: s, Trust: a.Trust})
	if err != nil {
		return nil, err
	}
	if err := keepMeasured(a.Dir, figures); err != nil {
		return nil, err
	}
	return passphrase, a.showIdentity(id, true)
}

// apply writes what the flags say into s and makes it a host's.
func (f joinFlags) apply(s *node.Settings, changed func(string) bool) error {
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
	if changed("announce") {
		s.P2P.Announce = nil
		for _, at := range f.announce {
			if strings.HasPrefix(at, "/") {
				s.P2P.Announce = append(s.P2P.Announce, at)
				continue
			}
			endpoints, err := node.Announce(at)
			if err != nil {
				return err
			}
			s.P2P.Announce = append(s.P2P.Announce, endpoints...)
		}
	}
	if changed("machines") {
		s.Host.Instances.Sell = f.machines
	}
	if changed("functions") {
		s.Host.Functions.Sell = f.functions
	}
	if s.Host.Storage == "" {
		return fault.New(fault.BadRequest, "join: say how much disk to offer: --storage 50GB")
	}
	if !changed("listen") && s.P2P.Listen == node.Default().P2P.Listen && free("0.0.0.0:4001", "0.0.0.0:4002") {
		s.P2P.Listen = "0.0.0.0:4001"
	}
	if !slices.Contains(s.Roles, "host") {
		s.Roles = append(s.Roles, "host")
	}
	return nil
}

// free says whether nobody listens at the addresses yet. A host that keeps its
// port keeps its address on the ledger, and can be let through a router.
func free(addresses ...string) bool {
	for _, at := range addresses {
		l, err := net.Listen("tcp", at)
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
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

// A joinedHost is what a new host shows once it serves.
type joinedHost struct {
	Host api.Host `json:"host"`
	Node api.Node `json:"node"`
}

// joined shows the checklist as soon as every point of it holds, or after a
// while with the one that doesn't.
func (a *app) joined(ctx context.Context) error {
	client, err := a.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	var j joinedHost
	for deadline := time.Now().Add(20 * time.Second); ; {
		if j.Host, err = client.Host(ctx); err != nil {
			return err
		}
		failing := func(c api.Check) bool { return !c.OK }
		if !slices.ContainsFunc(j.Host.Checklist, failing) || time.Now().After(deadline) {
			break
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(100 * time.Millisecond):
		}
	}
	if j.Node, err = client.Node(ctx); err != nil {
		return err
	}
	if err := a.Term.Show(j, joinedRows(j)); err != nil {
		return err
	}
	a.Term.Say("It serves until Ctrl-C; `hearth up` starts it again, `hearth host status` tells how it does.")
	return nil
}

func joinedRows(j joinedHost) *terminal.Rows {
	reach := j.Node.Reach
	if reach == "unknown" {
		reach = "unknown: it has no public address; if others come through a router, name theirs with --announce"
	}
	rows := terminal.Card().Add("Account", j.Host.Account).Add("Network", j.Node.Network).
		Add("Ledger", fmt.Sprintf("block %d of %s", j.Node.Ledger.Height, terminal.When(j.Node.Ledger.Time))).Add("State", j.Host.State).Add("Reach", reach)
	for _, at := range j.Node.Addresses {
		rows.Add("Announces", at)
	}
	rows.Add("Offered", terminal.Size(j.Host.Capacity)).Add("Price of a GiB", cli.PriceOf(j.Host.Prices)).Add("Functions", cli.SoldOf(j.Host.Functions)).Add("Machines", cli.RentedOf(j.Host.Machines))
	for _, c := range j.Host.Checklist {
		rows.Add("Check: "+c.Name, cli.CheckMark(c))
	}
	return rows
}
