package demo

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"hearth/api"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/node/cloud"
	"hearth/sdk"
)

// A row is what the table says of one host.
type row struct {
	name       string
	state      string
	stored     uint64
	received   uint64
	served     uint64
	paid       money.Amount // by the ledger, commission included
	commission money.Amount
	signed     money.Amount
	proofs     int64 // periods in which it has proven what it stores
}

// settle waits until the ledger has paid what the living hosts have earned, and
// prints who got what.
func (d *demo) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 50*time.Second)
	defer cancel()
	for {
		rows, open, err := d.rows(ctx)
		if err != nil {
			return err
		}
		if open == 0 {
			return d.table(ctx, rows)
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Internal, "settle: %d hosts are still unpaid or have proven nothing", open)
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// rows asks every host, or the client where a host is dead, and counts the
// living hosts that have more signed than they were paid.
func (d *demo) rows(ctx context.Context) (rows []row, open int, err error) {
	leases := map[string]api.Lease{}
	for l, err := range d.client.Leases(ctx) {
		if err != nil {
			return nil, 0, err
		}
		leases[l.Host] = l
	}
	for _, p := range d.cloud.Hosts {
		r := row{name: p.Name, state: "killed"}
		account, err := cloud.Account(p.Dir)
		if err != nil {
			return nil, 0, err
		}
		l := leases[account]
		if l.ID != 0 {
			if r.paid, err = l.Paid.Value(); err != nil {
				return nil, 0, err
			}
			if r.signed, err = l.Signed.Value(); err != nil {
				return nil, 0, err
			}
			r.stored, r.commission = l.Bytes, r.paid/10
			r.received, r.served = l.In, l.Out
		}
		if p.PID() != 0 {
			r.state = "alive"
			if r.proofs, err = proofs(ctx, p.Dir); err != nil {
				return nil, 0, err
			}
			// The client may have signed what never reached a host that was dead.
			if r.signed, err = signed(ctx, p.Dir); err != nil {
				return nil, 0, err
			}
			if r.paid < r.signed || r.proofs == 0 && r.stored > 0 {
				open++
			}
		}
		rows = append(rows, r)
	}
	return rows, open, nil
}

// proofs is how many periods a host has proven that it holds what it stores.
func proofs(ctx context.Context, dir string) (int64, error) {
	c, err := sdk.New(sdk.Config{Socket: api.Socket(dir)})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	h, err := c.Host(ctx)
	return h.Proofs, err
}

// signed is what a host holds signatures for.
func signed(ctx context.Context, dir string) (sum money.Amount, err error) {
	c, err := sdk.New(sdk.Config{Socket: api.Socket(dir)})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	for l, err := range c.Leases(ctx) {
		if err != nil {
			return 0, err
		}
		one, err := l.Signed.Value()
		if err != nil {
			return 0, err
		}
		sum += one
	}
	return sum, nil
}

func (d *demo) table(ctx context.Context, rows []row) error {
	d.say("\nWhat the ledger has paid (uember; rent of so short a time rounds to nothing, it is traffic):")
	w := tabwriter.NewWriter(d.c.Out, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "host\tstate\tstored\treceived\tserved\tearned\tcommission\tsigned\tproofs\t")
	var paid, commission money.Amount
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t\n", r.name, r.state, size(r.stored), size(r.received), size(r.served), r.paid-r.commission, r.commission, r.signed, r.proofs)
		paid += r.paid
		commission += r.commission
	}
	fmt.Fprintf(w, "all\t\t\t\t\t%d\t%d\t\t\n", paid-commission, commission)
	w.Flush()
	if paid == 0 || commission == 0 {
		return fault.New(fault.Internal, "settle: nobody was paid")
	}
	blocks, err := d.laws(ctx)
	if err != nil {
		return err
	}
	d.say("Laws: every coin is accounted for, each commission is a tenth; checked after each of %d blocks.", blocks)
	d.say("A killed host is paid for what was signed once it is back and posts it.")
	return nil
}

// laws asks the ledger whether its laws have held in every block.
func (d *demo) laws(ctx context.Context) (blocks int64, err error) {
	at := d.cloud.Network.URLs[0] + "/abci_query?path=" + url.QueryEscape(`"/hearth/laws"`)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("ask for the laws: %w", err)
	}
	defer res.Body.Close()
	var answer struct {
		Result struct {
			Response struct {
				Code  int    `json:"code"`
				Log   string `json:"log"`
				Value string `json:"value"`
			} `json:"response"`
		} `json:"result"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&answer); err != nil {
		return 0, fmt.Errorf("ask for the laws: %w", err)
	}
	if answer.Result.Response.Code != 0 {
		return 0, fault.New(fault.Internal, "ask for the laws: %s", answer.Result.Response.Log)
	}
	raw, err := base64.StdEncoding.DecodeString(answer.Result.Response.Value)
	if err != nil {
		return 0, fmt.Errorf("ask for the laws: %w", err)
	}
	var report struct {
		Checked bool   `json:"checked"`
		Height  int64  `json:"height"`
		Broken  string `json:"broken"`
	}
	if err := json.Unmarshal(raw, &report); err != nil {
		return 0, fmt.Errorf("ask for the laws: %w", err)
	}
	if !report.Checked || report.Broken != "" {
		return 0, fault.New(fault.Internal, "a law doesn't hold at block %d: %s", report.Height, report.Broken)
	}
	return report.Height, nil
}

// size writes bytes as people read them.
func size[T int64 | uint64](n T) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, i := float64(n), 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") + " " + units[i]
}
