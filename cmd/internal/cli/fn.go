package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/core/call"
	"hearth/core/fault"
	"hearth/core/gas"
	"hearth/core/store"
	"hearth/internal/size"
	"hearth/internal/terminal"
	"hearth/sdk"
)

func (a *App) fnCommand() *cobra.Command {
	ls := &cobra.Command{
		Use: "ls", Short: "The account's functions", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Functions, error) { return n.Functions(ctx) }, functionsRows)
		},
	}
	logs := &cobra.Command{
		Use: "logs NAME", Short: "What a function wrote on standard error, as kept on this machine", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.Client()
			if err != nil {
				return err
			}
			defer client.Close()
			return client.FunctionLog(c.Context(), args[0], a.Term.Out())
		},
	}
	rm := &cobra.Command{
		Use: "rm NAME", Short: "Remove a function, its store and its log", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.Client()
			if err != nil {
				return err
			}
			defer client.Close()
			return a.removeFunction(c.Context(), client, args[0])
		},
	}
	liars := &cobra.Command{
		Use: "liars", Short: "Hosts that have signed wrong results; they are hired no more", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Liars, error) { return n.Liars(ctx) }, liarsRows)
		},
	}
	return group("fn", "Run WebAssembly functions on other people's computers", a.fnDeployCommand(), a.fnInvokeCommand(), a.fnServeCommand(), a.fnKVCommand(), ls, logs, rm, liars)
}

func (a *App) fnDeployCommand() *cobra.Command {
	var w api.FunctionWish
	var memory, kept string
	var deadline time.Duration
	c := &cobra.Command{
		Use: "deploy FILE.wasm", Short: "Keep a function under a name, in the place of what was there", Args: cobra.ExactArgs(1),
		Long: `Keeps a WebAssembly module (WASI preview 1) in the account's storage, so that any
machine of the account can run it. Hosts get it with the first call. A call is paid by
what it computes, its gas, and by the bytes that go in and out: at most what --gas costs.
Gas is counted in the module itself: the same module and input use the same gas everywhere.
With --store a function keeps keys and values from one call to the next; its calls then run
one after another. To deploy it again keeps what is in it.`,
		Example: `  GOOS=wasip1 GOARCH=wasm go build -o hello.wasm .
  hearth fn deploy hello.wasm
  hearth fn deploy counter.wasm --store 64KiB
  hearth fn deploy thumb.wasm --name thumbnails --memory 256MiB --gas 5e9 --deadline 5s`,
		RunE: func(c *cobra.Command, args []string) error {
			if w.Name == "" {
				w.Name = strings.TrimSuffix(filepath.Base(args[0]), ".wasm")
			}
			w.Deadline = deadline.Milliseconds()
			if memory != "" {
				n, err := size.Parse(memory)
				if err != nil {
					return err
				}
				w.Memory = int64(min(n, 1<<62))
			}
			if kept != "" {
				n, err := size.Parse(kept)
				if err != nil {
					return err
				}
				if n > store.MaxSize {
					return fault.New(fault.BadRequest, "--store %s: a store has at most %s", kept, terminal.Size(store.MaxSize))
				}
				if w.Store = int64(n); n == 0 {
					w.Store = -1
				}
			}
			module, err := readWhole(args[0], gas.MaxModule)
			if err != nil {
				return err
			}
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Function, error) { return n.Deploy(ctx, w, module) }, functionRows)
		},
	}
	c.Flags().StringVar(&w.Name, "name", "", "1 to 63 of a-z, 0-9 and -; default the file's name")
	c.Flags().Var((*gasFlag)(&w.Gas), "gas", "that one call may use at most, like 5e9; some 4e9 are a second of one core (default 2e10)")
	c.Flags().StringVar(&memory, "memory", "", "that one call may have at most (default 128MiB)")
	c.Flags().StringVar(&kept, "store", "", "that it may keep from one call to the next, up to 1MiB; 0: nothing (default as it was, at first nothing)")
	c.Flags().DurationVar(&deadline, "deadline", 0, "that one call may take at most, up to 1m (default 10s)")
	c.Flags().StringArrayVarP(&w.Env, "env", "e", nil, "NAME=value; may be given several times")
	return c
}

// gasFlag reads amounts of gas like 5e9 or 5000000000.
type gasFlag uint64

func (g *gasFlag) String() string { return "" }
func (g *gasFlag) Type() string   { return "GAS" }

func (g *gasFlag) Set(s string) error {
	if n, err := strconv.ParseUint(s, 10, 62); err == nil {
		*g = gasFlag(n)
		return nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f < 1 || f > 1<<62 || f != float64(uint64(f)) {
		return fault.New(fault.BadRequest, "an amount of gas is a whole number, like 5e9")
	}
	*g = gasFlag(f)
	return nil
}

func (a *App) fnInvokeCommand() *cobra.Command {
	var env []string
	var from string
	var verify int
	c := &cobra.Command{
		Use: "invoke NAME [ARG...]", Short: "Run a function once on a host", Args: cobra.MinimumNArgs(1),
		Long: `Runs a function once. Its output goes to standard output, what it wrote on standard
error to standard error. A status other than 0 is the error function_failed. What it
has used is shown with -o json, and kept with ` + "`hearth fn logs`" + `.`,
		Example: `  hearth fn invoke hello world
  hearth fn invoke thumbnails --input photo.jpg > small.jpg
  echo 5 | hearth fn invoke square --input -`,
		RunE: func(c *cobra.Command, args []string) error {
			var input []byte
			if from != "" {
				var err error
				if input, err = readWhole(from, call.MaxInput); err != nil {
					return err
				}
			}
			client, err := a.Client()
			if err != nil {
				return err
			}
			defer client.Close()
			done, err := client.Call(c.Context(), args[0], api.CallWish{Args: args[1:], Env: env, Input: input, Verify: verify})
			if err != nil {
				return err
			}
			return a.showCalled(args[0], done)
		},
	}
	c.Flags().StringArrayVarP(&env, "env", "e", nil, "NAME=value, after the function's own; may be given several times")
	c.Flags().IntVar(&verify, "verify", 0, "check the outcome on so many other hosts while the host isn't trusted yet, and now and then later")
	c.Flags().StringVarP(&from, "input", "i", "", "file with its standard input, - for this command's; without it there is none")
	return c
}

// showCalled gives a function's output and log to where they belong.
func (a *App) showCalled(name string, done api.Called) error {
	if !a.Term.Table() {
		if err := a.Term.Show(done, terminal.Table("HOST").Add(done.Host)); err != nil {
			return err
		}
	} else {
		if _, err := a.Term.Out().Write(done.Output); err != nil {
			return fmt.Errorf("write output: %w", err)
		}
		if _, err := a.Term.Err().Write(done.Log); err != nil {
			return fmt.Errorf("write log: %w", err)
		}
	}
	switch {
	case done.Fault != "":
		return fault.New(fault.Code(done.Fault), "call %s: %s", name, done.Reason)
	case done.Exit != 0:
		return fault.New(fault.FunctionFailed, "call %s: it ended with status %d", name, done.Exit)
	}
	return nil
}

// readWhole reads a file, or standard input for -, of at most so many bytes.
func readWhole(name string, most int64) (b []byte, err error) {
	in := os.Stdin
	if name != "-" {
		if in, err = os.Open(name); err != nil {
			return nil, FileFault("read", err)
		}
		defer in.Close()
	}
	if b, err = io.ReadAll(io.LimitReader(in, most+1)); err != nil {
		return nil, FileFault("read", err)
	}
	if int64(len(b)) > most {
		return nil, fault.New(fault.TooLarge, "read %s: more than %s", name, terminal.Size(most))
	}
	return b, nil
}

func functionRows(f api.Function) *terminal.Rows {
	rows := terminal.Card().Add("Function", f.Name).Add("Module", f.Module).Add("Size", terminal.Size(f.Size)).
		Add("Memory", terminal.Size(f.Memory)).Add("Gas", fmt.Sprintf("%g", float64(f.Gas))).Add("Deadline", time.Duration(f.Deadline)*time.Millisecond).
		Add("A call costs at most", f.Most.String()+" for its gas, and its bytes")
	if f.Store > 0 {
		rows.Add("Store", "up to "+terminal.Size(f.Store))
	}
	if len(f.Env) > 0 {
		names := make([]string, len(f.Env))
		for i, e := range f.Env {
			names[i], _, _ = strings.Cut(e, "=")
		}
		rows.Add("Environment", strings.Join(names, " "))
	}
	return rows
}

func functionsRows(all api.Functions) *terminal.Rows {
	rows := terminal.Table("NAME", "SIZE", "MEMORY", "GAS", "DEADLINE", "A CALL AT MOST", "DEPLOYED")
	for _, f := range all.Functions {
		rows.Add(f.Name, terminal.Size(f.Size), terminal.Size(f.Memory), fmt.Sprintf("%g", float64(f.Gas)),
			time.Duration(f.Deadline)*time.Millisecond, f.Most, terminal.When(f.Created))
	}
	return rows
}

func liarsRows(all api.Liars) *terminal.Rows {
	rows := terminal.Table("HOST", "FOUND", "FUNCTION", "IT HAS SIGNED", "RIGHT IS")
	for _, l := range all.Liars {
		rows.Add(l.Host, terminal.When(l.At), l.Function, l.Signed, l.Right)
	}
	return rows
}
