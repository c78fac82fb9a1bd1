package weather

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"hearth/api"
	"hearth/chain"
	"hearth/core/lease"
	"hearth/core/money"
)

// agree waits until a host's status, the ledger, /metrics and the CSV of earnings
// show the same. Statements and payments go on meanwhile, so one look in which they
// do is enough.
func (w *world) agree(t *testing.T, i int) {
	t.Helper()
	ledger := w.ledger(t)
	account := w.account(t, i)
	soon(t, patient, "agree on the figures of "+w.Hosts[i].Name, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		before, err := onLedger(ctx, ledger, account)
		if err != nil {
			return err
		}
		h, err := w.host(i)
		if err != nil {
			return err
		}
		shown, err := metricsOf(ctx, api.Socket(w.Hosts[i].Dir))
		if err != nil {
			return err
		}
		book, err := csvOf(ctx, w.Hosts[i].Dir)
		if err != nil {
			return err
		}
		after, err := onLedger(ctx, ledger, account)
		switch {
		case err != nil:
			return err
		case before != after:
			return errors.New("the ledger's figures changed meanwhile")
		}
		got, err := inStatus(h)
		switch {
		case err != nil:
			return err
		case got != before:
			return fmt.Errorf("status says %+v, the ledger %+v", got, before)
		case book.net != got.net || book.cut != got.cut:
			return fmt.Errorf("the CSV says %+v, status %+v", book, got)
		}
		return sameMetrics(h, got, shown)
	})
}

// hostSums are what the ledger and the host itself must say alike.
type hostSums struct {
	used, proofs         int64
	leases, misses       int
	net, cut, month, own money.Amount
	bond                 money.Amount
}

const thirtyDays = 30 * 24 * 3600

func onLedger(ctx context.Context, c *chain.Client, account string) (s hostSums, err error) {
	host, err := c.Host(ctx, account)
	if err != nil {
		return s, err
	}
	turn, err := c.Turn(ctx, account)
	if err != nil {
		return s, err
	}
	leases, err := c.AllLeases(ctx, "", account)
	if err != nil {
		return s, err
	}
	var rate money.Rate
	for _, l := range leases {
		s.net, s.cut = s.net+l.Out-l.Commission, s.cut+l.Commission
		rate += l.Rate
		if l.State != lease.Closed {
			s.used += int64(l.Units[0])
		}
		if l.State == lease.Open || l.State == lease.Low {
			s.leases++
		}
	}
	s.month = rate.Over(thirtyDays)
	s.own = s.month - s.month/10
	s.bond, s.misses = host.Bond, turn.Misses
	s.proofs = host.Proving.Proven / (turn.Ends - turn.Begins)
	return s, nil
}

func inStatus(h api.Host) (s hostSums, err error) {
	s = hostSums{used: h.Used, proofs: h.Proofs, leases: h.Leases, misses: h.Misses}
	for to, from := range map[*money.Amount]api.Money{&s.net: h.Earned, &s.cut: h.Commission, &s.month: h.Month, &s.own: h.Projected, &s.bond: h.Bond} {
		if *to, err = from.Value(); err != nil {
			return s, err
		}
	}
	return s, nil
}

// sameMetrics compares what a host has just shown with its metrics.
func sameMetrics(h api.Host, s hostSums, shown map[string]float64) error {
	for name, want := range map[string]float64{
		"hearth_host_used_bytes": float64(h.Used), "hearth_host_free_bytes": float64(h.Free), "hearth_storage_capacity_bytes": float64(h.Capacity),
		"hearth_storage_trash_bytes": float64(h.Trash), "hearth_storage_kept_bytes": float64(h.Kept), "hearth_storage_pending_bytes": float64(h.Pending),
		"hearth_storage_damaged_shards": float64(h.Damaged), "hearth_storage_reads_total": float64(h.Reads),
		"hearth_host_leases": float64(h.Leases), "hearth_host_misses": float64(h.Misses), "hearth_host_proven_periods": float64(h.Proofs),
		"hearth_host_earned_uember": float64(s.net), "hearth_host_commission_uember": float64(s.cut),
		"hearth_host_month_uember": float64(s.month), "hearth_host_projected_uember": float64(s.own), "hearth_host_bond_uember": float64(s.bond),
	} {
		if got, ok := shown[name]; !ok || got != want {
			return fmt.Errorf("/metrics shows %s %v (%v), status %v", name, got, ok, want)
		}
	}
	return nil
}

// csvOf adds up what `hearth host earnings --csv` prints.
func csvOf(ctx context.Context, dir string) (s hostSums, err error) {
	out, err := exec.CommandContext(ctx, program("hearth"), "--dir", dir, "host", "earnings", "--csv").Output()
	if err != nil {
		return s, err
	}
	lines, err := csv.NewReader(strings.NewReader(string(out))).ReadAll()
	if err != nil || len(lines) == 0 {
		return s, fmt.Errorf("%d lines of CSV: %w", len(lines), err)
	}
	for _, l := range lines[1:] {
		var paid, cut, net money.Amount
		for i, to := range []*money.Amount{&paid, &cut, &net} {
			if *to, err = money.Parse(l[3+i] + " ember"); err != nil {
				return s, err
			}
		}
		if paid != cut+net {
			return s, fmt.Errorf("a line of CSV doesn't add up: %v", l)
		}
		s.net, s.cut = s.net+net, s.cut+cut
	}
	return s, nil
}

// metricsOf reads the figures without labels of the node behind a socket.
func metricsOf(ctx context.Context, socket string) (map[string]float64, error) {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://node/metrics", nil)
	if err != nil {
		return nil, err
	}
	res, err := c.Do(ask)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for line := range strings.Lines(string(b)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || name == "#" {
			continue
		}
		if out[name], err = strconv.ParseFloat(value, 64); err != nil {
			return nil, fmt.Errorf("read metrics: %q: %w", line, err)
		}
	}
	return out, nil
}
