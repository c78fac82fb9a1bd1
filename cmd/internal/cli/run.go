package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/core/fault"
	"hearth/core/gas"
	"hearth/core/money"
	"hearth/internal/terminal"
	"hearth/sdk"
)

const maxVerify = 8 // as the node has it

// runFlags are what `hearth run` is told.
type runFlags struct {
	inputs, fn, to, most string
	env                  []string
	verify, jobs         int
	again                bool
}

func (a *App) runCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use: "run --map INPUTS --fn FUNCTION --to OUTPUTS [ARG...]", Short: "Run a function over many inputs, on many hosts at once",
		Long: `Runs a function once for each input: its standard input is the input, its first argument
the input's name, ARGs follow; its output is written under the same name. INPUTS and OUTPUTS
are a folder here or hearth://BUCKET/PREFIX/. FUNCTION is the name of one that is deployed, or
a .wasm file, which is deployed under a name of its own.

Hosts are strangers: outcomes are checked on --verify other hosts of other owners, all of a host's
at first, the rarer the more of them proved right, and one in a hundred on this machine. Where two
differ this machine finds out who is right. What a liar had computed is computed anew.

Inputs whose output is there already are left out, so what was cut off goes on; --again doesn't leave
them out.`,
		Example: `  hearth run --map photos/ --fn thumb.wasm --to thumbs/
  hearth run --map hearth://logs/2026/ --fn count --to hearth://counts/2026/ --verify 2 -- --by day`,
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.Client()
			if err != nil {
				return err
			}
			defer client.Close()
			return a.runMap(c.Context(), client, args, f)
		},
	}
	c.Flags().StringVar(&f.inputs, "map", "", "folder of inputs, or hearth://BUCKET/PREFIX/")
	c.Flags().StringVar(&f.fn, "fn", "", "name of a function, or a .wasm file")
	c.Flags().StringVar(&f.to, "to", "", "folder for outputs, or hearth://BUCKET/PREFIX/")
	c.Flags().StringArrayVarP(&f.env, "env", "e", nil, "NAME=value; may be given several times")
	c.Flags().IntVar(&f.verify, "verify", 1, "check outcomes on so many other hosts; 0 believes every host")
	c.Flags().IntVar(&f.jobs, "jobs", 16, "calls at once")
	c.Flags().StringVar(&f.most, "max-price", "", "begin nothing more once it has cost so much, like '1 ember'")
	c.Flags().BoolVar(&f.again, "again", false, "also inputs whose output is there")
	return c
}

func (a *App) runMap(ctx context.Context, client *sdk.Client, args []string, f runFlags) error {
	if f.inputs == "" || f.fn == "" || f.to == "" {
		return fault.New(fault.BadRequest, "run: --map, --fn and --to are needed")
	}
	if f.verify < 0 || f.verify > maxVerify {
		return fault.New(fault.BadRequest, "run --verify %d: on 0 to %d other hosts", f.verify, maxVerify)
	}
	o := sdk.MapOptions{Args: args, Env: f.env, Verify: f.verify, Parallel: max(f.jobs, 1)}
	if f.most != "" {
		var err error
		if o.Most, err = money.Parse(f.most); err != nil {
			return fault.New(fault.BadRequest, "read --max-price: %w", err)
		}
	}
	from, to := a.shelfOf(client, f.inputs), a.shelfOf(client, f.to)
	names, err := from.names(ctx)
	if err != nil {
		return err
	}
	all := len(names)
	if !f.again {
		if names, err = without(ctx, names, to); err != nil {
			return err
		}
	}
	if len(names) == 0 {
		a.Term.Say("nothing to do: %d inputs, each has its output", all)
		return nil
	}
	fn, err := a.functionOf(ctx, client, f.fn)
	if err != nil {
		return err
	}
	if fn.Store > 0 {
		return fault.New(fault.BadRequest, "run --map: %s has a store, and what comes out would depend on the order of the inputs, which isn't settled; deploy it without one, or call it for one input after another", fn.Name)
	}
	most, err := fn.Most.Value()
	if err != nil {
		return err
	}
	a.Term.Say("%d inputs (%d are done). The gas of one call costs at most %s, and of checks as much again: at most %s in all, and bytes.",
		len(names), all-len(names), fn.Most, api.MoneyOf(money.Amount(money.MulDiv(uint64(most), uint64(len(names)*(1+f.verify)), 1))))
	if b, ok := to.(bucketShelf); ok {
		if _, err := client.MakeBucket(ctx, b.at.Bucket); err != nil {
			return err
		}
	}
	jobs := make([]sdk.MapJob, len(names))
	for i, name := range names {
		jobs[i] = sdk.MapJob{
			Name:  name,
			Read:  func(ctx context.Context) ([]byte, error) { return from.read(ctx, name) },
			Write: func(ctx context.Context, b []byte) error { return to.write(ctx, name, b) },
		}
	}
	bar := newCounter(a.Term, len(jobs))
	o.Tell = bar.tell
	done, err := client.Map(ctx, fn.Name, jobs, o)
	bar.wait()
	if err != nil {
		return fmt.Errorf("%w; %d of %d are done, the same command goes on", err, done.Done, done.Total)
	}
	if err := a.Term.Show(done, mappedRows(done)); err != nil {
		return err
	}
	if n := len(done.Failed); n > 0 {
		return fault.New(fault.FunctionFailed, "run %s: it failed on %d of %d inputs", fn.Name, n, done.Total)
	}
	return nil
}

// functionOf finds a function by its name, or deploys a file.
func (a *App) functionOf(ctx context.Context, client *sdk.Client, name string) (api.Function, error) {
	all, err := client.Functions(ctx)
	if err != nil {
		return api.Function{}, err
	}
	var module []byte
	if strings.HasSuffix(name, ".wasm") {
		if module, err = readWhole(name, gas.MaxModule); err != nil {
			return api.Function{}, err
		}
		sum := sha256.Sum256(module)
		name = "run-" + hex.EncodeToString(sum[:8])
	}
	for _, f := range all.Functions {
		if f.Name == name {
			return f, nil
		}
	}
	if module == nil {
		return api.Function{}, fault.New(fault.NotFound, "there is no function %q, and it is no .wasm file", name)
	}
	return client.Deploy(ctx, api.FunctionWish{Name: name}, module)
}

// without leaves out what is there already.
func without(ctx context.Context, names []string, to shelf) (left []string, err error) {
	there, err := to.names(ctx)
	if err != nil && fault.CodeOf(err) != fault.NotFound {
		return nil, err
	}
	have := make(map[string]bool, len(there))
	for _, n := range there {
		have[n] = true
	}
	for _, n := range names {
		if !have[n] {
			left = append(left, n)
		}
	}
	return left, nil
}

func mappedRows(m api.Mapped) *terminal.Rows {
	rows := terminal.Card().Add("Inputs", m.Total).Add("Done", m.Done-len(m.Failed)).Add("Checked", m.Checked).Add("Gas", fmt.Sprintf("%.4g", float64(m.Gas))).Add("Cost", m.Cost)
	if len(m.Liars) > 0 {
		rows.Add("Liars", strings.Join(m.Liars, ", ")).Add("Done anew", m.Redone)
	}
	for i, f := range m.Failed {
		if i == 10 {
			rows.Add("and", fmt.Sprintf("%d more failed", len(m.Failed)-i))
			break
		}
		why := fmt.Sprintf("status %d", f.Exit)
		if f.Fault != "" {
			why = f.Fault + ": " + f.Reason
		}
		rows.Add("Failed", f.Name+" ("+why+")")
	}
	return rows
}
