package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/core/fault"
	"hearth/internal/durable"
)

func (a *App) sshCommand() *cobra.Command {
	var show bool
	c := &cobra.Command{
		Use: "ssh NAME [ARG...]", Short: "Log in to an instance with this machine's ssh", Args: cobra.MinimumNArgs(1),
		Long: `Starts this machine's ssh with the instance as its destination; what follows its name goes
to ssh: a command, or its own options. The way there is the node's, and needs neither a
password nor a key; the host's key is the one that this node has read from the host itself.
With --config it prints a block for ~/.ssh/config, for ssh itself, scp, rsync and editors.`,
		Example: `  hearth ssh web
  hearth ssh web uptime
  hearth ssh --config web >> ~/.ssh/config; ssh web`,
		RunE: func(c *cobra.Command, args []string) error {
			options, err := a.sshOptions(c.Context(), args[0])
			if err != nil {
				return err
			}
			if show {
				_, err := fmt.Fprintf(a.Term.Out(), "Host %s\n    %s\n", args[0], strings.Join(options, "\n    "))
				return err
			}
			line := []string{}
			for _, o := range options {
				line = append(line, "-o", o)
			}
			return sshWith(c.Context(), append(append(line, args[0]), args[1:]...))
		},
	}
	c.Flags().SetInterspersed(false)
	c.Flags().BoolVar(&show, "config", false, "print a block for ~/.ssh/config instead")
	return c
}

// sshOptions are what ssh needs to know of an instance.
func (a *App) sshOptions(ctx context.Context, name string) ([]string, error) {
	client, err := a.Client()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	all, err := client.Instances(ctx)
	if err != nil {
		return nil, err
	}
	for _, i := range all.Instances {
		if i.Name == name {
			return a.sshOptionsOf(i)
		}
	}
	return nil, fault.New(fault.NoInstance, "ssh to %s: the account has no instance of this name", name)
}

func (a *App) sshOptionsOf(i api.Instance) ([]string, error) {
	if i.HostKey == "" {
		return nil, fault.New(fault.HostUnreachable, "ssh to %s: it is %s, and its host's key isn't known", i.Name, i.State)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	dir, err := filepath.Abs(a.Dir)
	if err != nil {
		return nil, err
	}
	known := filepath.Join(dir, "ssh", i.ID)
	if err := os.MkdirAll(filepath.Dir(known), 0o700); err != nil {
		return nil, fmt.Errorf("ssh to %s: %w", i.Name, err)
	}
	if err := durable.Write(known, []byte(i.ID+" "+i.HostKey+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("ssh to %s: %w", i.Name, err)
	}
	return []string{
		"ProxyCommand " + sshWord(self) + " --dir " + sshWord(dir) + " ssh-connect " + i.Name,
		"HostKeyAlias " + i.ID, "UserKnownHostsFile " + sshWord(known), "StrictHostKeyChecking yes", "PreferredAuthentications none", "User root",
		// The other end is a stranger's machine, whatever this one's ssh lends to others.
		"ForwardAgent no", "ForwardX11 no", "ClearAllForwardings yes",
	}, nil
}

// sshWord is a word as both ssh and a shell read it.
func sshWord(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%").Replace(s) + `"`
}

// sshWith runs ssh as if it had been called itself.
func sshWith(ctx context.Context, args []string) error {
	program, err := exec.LookPath("ssh")
	if err != nil {
		return fault.New(fault.ProgramMissing, "ssh: %w", err)
	}
	c := exec.CommandContext(ctx, program, args...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	var ended *exec.ExitError
	if err := c.Run(); errors.As(err, &ended) && ended.ExitCode() > 0 {
		return exited(ended.ExitCode())
	} else if err != nil {
		return fault.New(fault.Interrupted, "ssh: %w", err)
	}
	return nil
}

// sshConnectCommand is what ssh starts for its way to an instance.
func (a *App) sshConnectCommand() *cobra.Command {
	return &cobra.Command{
		Use: "ssh-connect NAME", Short: "The way of an ssh to an instance, on standard input and output", Args: cobra.ExactArgs(1), Hidden: true,
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.Client()
			if err != nil {
				return err
			}
			defer client.Close()
			return client.SSH(c.Context(), args[0], os.Stdin, os.Stdout)
		},
	}
}
