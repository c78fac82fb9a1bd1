package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/core/fault"
	"hearth/internal/terminal"
	"hearth/node/cloud"
	"hearth/sdk"
)

func (a *app) demoCommand() *cobra.Command {
	hosts, megabytes := 8, 64
	c := &cobra.Command{
		Use:   "demo",
		Short: "See it work: store a file, lose half of the hosts, get it back",
		Long: `Starts a network in a folder of its own, stores a file on its hosts, kills as many
of them as the file's code allows, reads the file back and compares. Then it stops
everything and removes the folder.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			dir, err := os.MkdirTemp("", "hearth-demo-")
			if err != nil {
				return fmt.Errorf("demo: %w", err)
			}
			defer os.RemoveAll(dir)
			return a.demo(c.Context(), cloud.Config{Dir: dir, Hosts: hosts, Settle: 5 * time.Second}, megabytes<<20)
		},
	}
	c.Flags().IntVar(&hosts, "hosts", hosts, "how many hosts")
	c.Flags().IntVar(&megabytes, "megabytes", megabytes, "size of the file")
	return c
}

// A step of the demo is told when it is done, with the time it took.
func (a *app) step(start time.Time, format string, args ...any) {
	fmt.Fprintf(a.term.Out(), "%6.2fs  %s\n", time.Since(start).Seconds(), fmt.Sprintf(format, args...))
}

func (a *app) demo(ctx context.Context, c cloud.Config, size int) error {
	start := time.Now()
	running, err := cloud.Start(ctx, c)
	if err != nil {
		return err
	}
	defer running.Stop()
	a.step(start, "a network of %d hosts, a ledger and a client run: %s", len(running.Hosts), running.Network.ChainID)

	client, err := sdk.New(sdk.Config{Socket: cloud.Socket(running.Client.Dir)})
	if err != nil {
		return err
	}
	defer client.Close()
	content := make([]byte, size)
	if _, err := rand.Read(content); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	start = time.Now()
	if err := demoPut(ctx, client, content); err != nil {
		return err
	}
	a.step(start, "stored %s, coded %s: any %d of %d shards give it back", terminal.Size(size), running.Class, running.Class.K, running.Class.N)

	start = time.Now()
	lost := running.Class.N - running.Class.K
	for _, host := range running.Hosts[:lost] {
		host.Kill()
	}
	a.step(start, "%d hosts killed", lost)

	start = time.Now()
	if err := demoGet(ctx, client, content); err != nil {
		return err
	}
	a.step(start, "read back from the others: the same %s", terminal.Size(size))

	start = time.Now()
	for _, host := range running.Hosts[:lost] {
		if err := host.Start(); err != nil {
			return err
		}
		if err := host.Ready(ctx); err != nil {
			return err
		}
	}
	paid, err := demoPaid(ctx, client)
	if err != nil {
		return err
	}
	a.step(start, "the hosts are back; the ledger has paid them %s, commission included", paid)
	return nil
}

func demoPut(ctx context.Context, client *sdk.Client, content []byte) error {
	if _, err := client.MakeBucket(ctx, "demo"); err != nil {
		return err
	}
	_, err := client.Put(ctx, "demo", "file", bytes.NewReader(content), int64(len(content)), sdk.PutOptions{})
	return err
}

func demoGet(ctx context.Context, client *sdk.Client, content []byte) error {
	d, err := client.Get(ctx, "demo", "file", sdk.GetOptions{})
	if err != nil {
		return err
	}
	defer d.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, d); err != nil {
		return err
	}
	if want := sha256.Sum256(content); !bytes.Equal(sum.Sum(nil), want[:]) {
		return fault.New(fault.DamagedFile, "demo: what came back is not what was stored")
	}
	return nil
}

// demoPaid waits until the ledger has paid something, and says how much.
func demoPaid(ctx context.Context, client *sdk.Client) (api.Money, error) {
	const patience = 30 * time.Second
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; {
		paid, err := totalPaid(ctx, client)
		if err != nil || paid != api.MoneyOf(0) {
			return paid, err
		}
		if time.Now().After(deadline) {
			return paid, fault.New(fault.Internal, "demo: nothing was paid within %s", patience)
		}
		select {
		case <-ctx.Done():
			return paid, ctx.Err()
		case <-tick.C:
		}
	}
}

func totalPaid(ctx context.Context, client *sdk.Client) (api.Money, error) {
	total := api.MoneyOf(0)
	for l, err := range client.Leases(ctx) {
		if err != nil {
			return total, err
		}
		sum, err := total.Value()
		if err != nil {
			return total, err
		}
		paid, err := l.Paid.Value()
		if err != nil {
			return total, err
		}
		total = api.MoneyOf(sum + paid)
	}
	return total, nil
}
