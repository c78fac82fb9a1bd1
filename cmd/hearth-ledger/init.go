package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/network"
	"hearth/ledger/app"
	"hearth/ledger/node"
)

const (
	defaultStake = 1000 * money.Ember
	localFunds   = 1_000_000 * money.Ember // of the sponsor in a local cloud
)

func initCommand(home func() node.Home) *cobra.Command {
	var (
		local, keysOnly   bool
		genesis, listen   string
		p2p               string
		funds, validators []string
		stake, sponsor    uint64
		blockTime         time.Duration
	)
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make a node's home, and found a network or join one",
		Long: `Make a node's home: keys, settings (ledger.toml) and the genesis. It prints the
network's name.

Without --genesis a new network is founded, with this node as its validator; with
several founders each runs 'init --keys' and 'show', one of them founds the
network with a --validator for each, and hands the genesis to the others.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, params := node.Defaults(), app.Main()
			if local {
				s, params = node.LocalDefaults(), app.Local()
				if !c.Flags().Changed("sponsor-fund") {
					sponsor = uint64(localFunds)
				}
			}
			if listen != "" {
				s.Listen = listen
			}
			if p2p != "" {
				s.P2P = p2p
			}
			if blockTime > 0 {
				s.BlockMS = int(blockTime.Milliseconds())
			}
			if keysOnly {
				if err := home().MakeKeys(); err != nil {
					return err
				}
				return show(c, home())
			}
			i := node.InitConfig{Settings: s, Params: params, Stake: money.Amount(stake), Funds: money.Amount(sponsor), Time: time.Now()}
			var err error
			if i.Balances, err = parseFunds(funds); err != nil {
				return err
			}
			if i.Validators, err = parseValidators(validators); err != nil {
				return err
			}
			if genesis != "" {
				if i.Genesis, err = os.ReadFile(genesis); err != nil {
					return fault.New(fault.BadRequest, "read genesis: %w", err)
				}
			}
			if err := home().Init(i); err != nil {
				return err
			}
			name, err := nameOf(home())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), name)
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVar(&local, "local", false, "a cloud on one machine: short waits, fast blocks")
	f.BoolVar(&keysOnly, "keys", false, "make the keys only, and show what the founder needs of them")
	f.StringVar(&genesis, "genesis", "", "join the network of this `file`")
	f.StringVar(&listen, "listen", "", "`address` of the public URL (default 127.0.0.1:26657)")
	f.StringVar(&p2p, "p2p", "", "`address` for other ledger nodes (default 0.0.0.0:26656, local 127.0.0.1:0)")
	f.StringArrayVar(&funds, "fund", nil, "give `account=uember` at the start; again for more accounts")
	f.StringArrayVar(&validators, "validator", nil, "a founder: `name,operator,key in hex,stake in uember`; again for more")
	f.Uint64Var(&stake, "stake", uint64(defaultStake), "stake in `uember` of this node, if it is the only validator")
	f.Uint64Var(&sponsor, "sponsor-fund", 0, "`uember` for this node's sponsor account, which pays newcomers' first fees (local: a million ember)")
	f.DurationVar(&blockTime, "block-time", 0, "pause after each block (default 1s, local 500ms)")
	cmd.MarkFlagsMutuallyExclusive("genesis", "local")
	cmd.MarkFlagsMutuallyExclusive("genesis", "fund")
	cmd.MarkFlagsMutuallyExclusive("genesis", "validator")
	return cmd
}

func parseFunds(funds []string) (map[string]money.Amount, error) {
	out := map[string]money.Amount{}
	for _, f := range funds {
		account, amount, _ := strings.Cut(f, "=")
		n, err := strconv.ParseUint(amount, 10, 64)
		if err != nil || n == 0 {
			return nil, fault.New(fault.BadRequest, "--fund %q: want account=uember", f)
		}
		sum, ok := money.Add(out[account], money.Amount(n))
		if !ok {
			return nil, fault.New(fault.BadRequest, "--fund %q: too much", f)
		}
		out[account] = sum
	}
	return out, nil
}

func parseValidators(list []string) ([]app.Validator, error) {
	var out []app.Validator
	for _, v := range list {
		parts := strings.Split(v, ",")
		if len(parts) != 4 {
			return nil, fault.New(fault.BadRequest, "--validator %q: want name,operator,key,stake", v)
		}
		key, err := hex.DecodeString(parts[2])
		stake, err2 := strconv.ParseUint(parts[3], 10, 64)
		if err != nil || err2 != nil {
			return nil, fault.New(fault.BadRequest, "--validator %q: the key isn't hex, or the stake no number", v)
		}
		out = append(out, app.Validator{Name: parts[0], Operator: parts[1], Key: key, Stake: money.Amount(stake)})
	}
	return out, nil
}

// nameOf is the network's name with the URL this node serves.
func nameOf(home node.Home) (network.Name, error) {
	raw, err := home.Genesis()
	if err != nil {
		return network.Name{}, err
	}
	doc, err := app.ReadGenesis(raw)
	if err != nil {
		return network.Name{}, err
	}
	s, err := home.Settings()
	if err != nil {
		return network.Name{}, err
	}
	return network.Name{ChainID: doc.ChainID, URLs: []string{"http://" + s.Listen}}, nil
}

func showCommand(home func() node.Home) *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Show who this node is: operator's account, validator's key, node's id",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return show(c, home()) },
	}
}

func show(c *cobra.Command, home node.Home) error {
	id, err := home.Identity()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "operator %s\nkey %x\nnode %s\n", id.Operator, id.Key, id.Node)
	return err
}
