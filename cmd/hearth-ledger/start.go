package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"hearth/core/fault"
	"hearth/ledger/app"
	"hearth/ledger/node"
)

func startCommand(home func() node.Home, log func(*cobra.Command) *slog.Logger) *cobra.Command {
	var listen string
	var peers []string
	var laws bool
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Run the node until SIGTERM or Ctrl-C",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			n, err := node.Start(node.Config{Home: home(), Listen: listen, Peers: peers, CheckLaws: laws, Log: log(c)})
			if err != nil {
				return err
			}
			return errors.Join(serve(c, n), n.Close())
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "`address` of the public URL (default: what ledger.toml says)")
	cmd.Flags().StringArrayVar(&peers, "peer", nil, "another ledger node: `id@host:port`; again for more")
	cmd.Flags().BoolVar(&laws, "check-laws", false, "check the laws of the bargain after every block (reads the whole state)")
	return cmd
}

// serve tells when the first block is there, and waits for the end.
func serve(c *cobra.Command, n *node.Node) error {
	ctx := c.Context()
	first, cancel := context.WithCancel(ctx)
	defer cancel()
	told := make(chan error, 1)
	go func() {
		height, err := n.FirstBlock(first)
		if err == nil {
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s\nblock %d\n", n.Name, height)
		}
		told <- err
	}()
	err := n.Wait(ctx)
	cancel()
	if e := <-told; !errors.Is(e, context.Canceled) {
		err = errors.Join(err, e)
	}
	return err
}

func exportCommand(home func() node.Home) *cobra.Command {
	return &cobra.Command{
		Use:   "export",
		Short: "Write the genesis of a new chain that goes on from the last block",
		Long: `Write the genesis of a new chain that goes on from the last block of this node,
which must not be running. All founders must export the same block.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			raw, err := home().Export(time.Now())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s\n", raw)
			return err
		},
	}
}

func statusCommand(home func() node.Home) *cobra.Command {
	var at string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Ask a running node how it does",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if at == "" {
				name, err := nameOf(home())
				if err != nil {
					return err
				}
				at = name.URLs[0]
			}
			ctx, cancel := context.WithTimeout(c.Context(), 10*time.Second)
			defer cancel()
			return status(ctx, at, c.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&at, "url", "", "the node's `URL` (default: that of this home)")
	return cmd
}

// status prints what a node says of itself; nothing of it is proved.
func status(ctx context.Context, at string, out io.Writer) error {
	var s struct {
		NodeInfo struct {
			ID      string `json:"id"`
			Network string `json:"network"`
		} `json:"node_info"`
		SyncInfo struct {
			Height     string    `json:"latest_block_height"`
			Time       time.Time `json:"latest_block_time"`
			CatchingUp bool      `json:"catching_up"`
		} `json:"sync_info"`
	}
	if err := ask(ctx, at+"/status", &s); err != nil {
		return err
	}
	var q struct {
		Response struct {
			Value []byte `json:"value"`
		} `json:"response"`
	}
	if err := ask(ctx, at+"/abci_query?path="+url.QueryEscape(`"/hearth/laws"`), &q); err != nil {
		return err
	}
	var laws app.LawReport
	if err := json.Unmarshal(q.Response.Value, &laws); err != nil {
		return fault.New(fault.LedgerLies, "ask %s for the laws: %w", at, err)
	}
	words := "not checked"
	switch {
	case laws.Broken != "":
		words = fmt.Sprintf("broken at block %d: %s", laws.Height, laws.Broken)
	case laws.Checked:
		words = fmt.Sprintf("hold, checked at block %d", laws.Height)
	}
	_, err := fmt.Fprintf(out, "network %s@%s\nnode %s\nblock %s of %s\ncatching up %v\nlaws %s\n",
		s.NodeInfo.Network, at, s.NodeInfo.ID, s.SyncInfo.Height, s.SyncInfo.Time.Format(time.RFC3339), s.SyncInfo.CatchingUp, words)
	return err
}

// ask reads one answer of CometBFT's RPC.
func ask(ctx context.Context, at string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, http.NoBody)
	if err != nil {
		return fault.New(fault.BadRequest, "ask %s: %w", at, err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fault.New(fault.LedgerDown, "ask %s: %w", at, err)
	}
	defer res.Body.Close()
	var answer struct {
		Result json.RawMessage `json:"result"`
	}
	if res.StatusCode != http.StatusOK {
		return fault.New(fault.LedgerDown, "ask %s: %s", at, res.Status)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&answer); err != nil {
		return fault.New(fault.LedgerLies, "ask %s: %w", at, err)
	}
	return json.Unmarshal(answer.Result, into)
}
