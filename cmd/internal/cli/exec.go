package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"hearth/api"
	"hearth/core/fault"
)

// exited is the status of a program that ran elsewhere: ours is the same.
type exited int

func (e exited) Error() string { return fmt.Sprintf("the program ended with status %d", int(e)) }

func (a *App) logsCommand() *cobra.Command {
	var tail int
	var follow bool
	c := &cobra.Command{
		Use: "logs NAME", Short: "What an instance has put out", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.Client()
			if err != nil {
				return err
			}
			defer client.Close()
			return client.InstanceLogs(c.Context(), args[0], tail, follow, a.Term.Out())
		},
	}
	c.Flags().IntVarP(&tail, "tail", "n", 0, "lines from the end (default all that its host keeps)")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "and what comes, until it ends or Ctrl-C")
	return c
}

func (a *App) execCommand() *cobra.Command {
	var p api.Program
	var interactive bool
	c := &cobra.Command{
		Use: "exec NAME -- PROGRAM [ARG...]", Short: "Run a program inside an instance", Args: cobra.MinimumNArgs(2),
		Long: `Runs a program inside an instance and ends with its status. Its input is what comes in
here with -i; with -t it runs on a terminal.`,
		Example: `  hearth exec web -- ls /srv
  hearth exec -it web -- sh
  hearth exec -i web -- sh -c 'cat > /srv/index.html' < index.html`,
		RunE: func(c *cobra.Command, args []string) error {
			if p.Args = args[1:]; p.Args[0] == "--" {
				p.Args = p.Args[1:]
			}
			if len(p.Args) == 0 {
				return fault.New(fault.BadRequest, "run a program in %s: none is named behind --", args[0])
			}
			return a.exec(c.Context(), args[0], p, interactive)
		},
	}
	c.Flags().SetInterspersed(false)
	c.Flags().BoolVarP(&interactive, "stdin", "i", false, "give it what comes in here")
	c.Flags().BoolVarP(&p.TTY, "tty", "t", false, "on a terminal")
	c.Flags().StringArrayVarP(&p.Env, "env", "e", nil, "NAME=value; may be given several times")
	c.Flags().StringVarP(&p.Dir, "workdir", "w", "", "to start in (default the instance's)")
	c.Flags().StringVarP(&p.User, "user", "u", "", "who to run as, NAME or NUMBER, and :GROUP (default the instance's)")
	return c
}

func (a *App) exec(ctx context.Context, name string, p api.Program, interactive bool) (err error) {
	client, err := a.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	var in io.Reader
	if interactive {
		in = os.Stdin
	}
	var sizes chan api.Size
	if p.TTY {
		out := int(os.Stdout.Fd())
		if !term.IsTerminal(out) || interactive && !term.IsTerminal(int(os.Stdin.Fd())) {
			return fault.New(fault.BadRequest, "run %s on a terminal: there is none here; leave out --tty", p.Args[0])
		}
		p.Env = append([]string{"TERM=" + os.Getenv("TERM")}, p.Env...)
		p.Size, sizes = windowSize(out), make(chan api.Size, 1)
		stop := followSize(out, sizes)
		defer stop()
		if interactive {
			restore, err := raw(int(os.Stdin.Fd()))
			if err != nil {
				return err
			}
			defer restore()
		}
	}
	status, err := client.Exec(ctx, name, p, in, os.Stdout, os.Stderr, sizes)
	if err == nil && status != 0 {
		err = exited(status)
	}
	return err
}

// raw hands every key on to the program.
func raw(fd int) (restore func(), err error) {
	was, err := term.MakeRaw(fd)
	if err != nil {
		return nil, fault.New(fault.Internal, "use terminal: %w", err)
	}
	return func() { _ = term.Restore(fd, was) }, nil // a terminal that is gone needs nothing
}

func windowSize(fd int) api.Size {
	w, h, err := term.GetSize(fd)
	if err != nil {
		return api.Size{Rows: 24, Cols: 80}
	}
	return api.Size{Rows: uint16(h), Cols: uint16(w)}
}

// followSize tells sizes of the terminal as they change.
func followSize(fd int, sizes chan api.Size) (stop func()) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-changed:
				select {
				case sizes <- windowSize(fd):
				case <-done:
					return
				}
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(changed)
		close(done)
	}
}
