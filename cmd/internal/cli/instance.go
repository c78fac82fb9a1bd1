package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/internal/size"
	"hearth/internal/terminal"
	"hearth/sdk"
)

func (a *App) instanceCommand() *cobra.Command {
	start := &cobra.Command{
		Use: "start NAME", Short: "Run an instance that doesn't run: anew, or where it was when it was suspended", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.Client()
			if err != nil {
				return err
			}
			defer client.Close()
			return client.StartInstance(c.Context(), args[0])
		},
	}
	return group("instance", "Programs in sandboxes on other people's machines", a.instanceCreateCommand(), a.psCommand("ls"), start, a.instanceSuspendCommand(),
		a.instanceEndCommand("stop", "End instances: what they have written is lost, their machines stay reserved and paid for", (*sdk.Client).StopInstance),
		a.instanceEndCommand("rm", "End instances and what is paid for them; what they have written is lost", (*sdk.Client).RemoveInstance), a.instanceBidsCommand())
}

// machineFlags are what is reserved, as people write it.
type machineFlags struct {
	cpu          float64
	memory, disk string
}

func (m *machineFlags) add(c *cobra.Command) {
	c.Flags().Float64Var(&m.cpu, "cpu", 1, "cores, like 0.5")
	c.Flags().StringVar(&m.memory, "memory", "512MiB", "that it may have")
	c.Flags().StringVar(&m.disk, "disk", "2GiB", "that it may write")
}

func (m *machineFlags) machine() (out api.Machine, err error) {
	if m.cpu < 0.001 || m.cpu > 1024 {
		return out, fault.New(fault.BadRequest, "--cpu %g: 0.001 to 1024 cores are allowed", m.cpu)
	}
	out.CPU = uint64(m.cpu*1000 + 0.5)
	if out.Memory, err = size.Parse(m.memory); err != nil {
		return out, err
	}
	out.Disk, err = size.Parse(m.disk)
	return out, err
}

func (a *App) instanceCreateCommand() *cobra.Command {
	var w api.InstanceWish
	var m machineFlags
	var most string
	var secrets []string
	c := &cobra.Command{
		Use: "create NAME --image IMAGE [-- ARG...]", Short: "Rent a machine and run an image on it", Args: cobra.MinimumNArgs(1),
		Long: `Asks hosts what they want for a machine, shows that, reserves it at the cheapest that has
room, or at --host, and runs an image of the account on it ("hearth image push" brings one).
An image of another registry, like docker.io/library/debian, is pulled first; --max-price
holds for what storing it costs, too.
It is paid by the second as long as it exists; "hearth instance rm" ends that. What it
writes lies on the host's disk, isn't sealed from the host's owner, and is lost when it ends.
Its secrets are files of /run/secrets in there, in memory alone; the host's owner can read them.`,
		Example: `  hearth instance create web --image site:1 --cpu 0.5 --memory 256MiB
  hearth instance create shell --image docker.io/library/debian --egress open -- sleep infinity
  pass show db | hearth instance create app --image app:1 --secret db=- --secret tls.key=key.pem
  hearth exec -it shell -- bash`,
		RunE: func(c *cobra.Command, args []string) error {
			if c.ArgsLenAtDash() > 1 || c.ArgsLenAtDash() < 0 && len(args) > 1 {
				return fault.New(fault.BadRequest, "one instance is made at a time; what it runs comes behind --")
			}
			w.Name, w.Args = args[0], args[1:]
			var err error
			if w.Machine, err = m.machine(); err != nil {
				return err
			}
			if w.Secrets, err = a.readSecrets(secrets); err != nil {
				return err
			}
			client, err := a.Client()
			if err != nil {
				return err
			}
			defer client.Close()
			if w.Image, err = a.ownImage(c.Context(), client, w.Image, most); err != nil {
				return err
			}
			if err := a.agreeOnPrice(c.Context(), client, &w, most); err != nil {
				return err
			}
			i, err := client.CreateInstance(c.Context(), w)
			if err != nil {
				return err
			}
			return a.Term.Show(i, instanceRows(i))
		},
	}
	f := c.Flags()
	f.StringVar(&w.Image, "image", "", "NAME, NAME:TAG or NAME@sha256:... of the account's images (hearth image ls), or with a registry before it")
	_ = c.MarkFlagRequired("image") // it is there
	m.add(c)
	f.Uint64Var(&w.Pids, "pids", 0, "processes and threads at most (default 512)")
	f.StringArrayVarP(&w.Env, "env", "e", nil, "NAME=value; may be given several times")
	f.StringVarP(&w.Dir, "workdir", "w", "", "to start in (default the image's)")
	f.StringVarP(&w.User, "user", "u", "", "to run as (default the image's)")
	f.StringVar(&w.Egress, "egress", "none", "what it may reach: none, allow (see --allow) or open; private networks and mail never")
	f.StringArrayVar(&w.Allowed, "allow", nil, "with --egress allow: name, *.name, address or prefix; may be given several times")
	f.StringArrayVar(&secrets, "secret", nil, "NAME=FILE: readable in there as /run/secrets/NAME; - is standard input; may be given several times")
	f.StringVar(&w.Host, "host", "", "account of the host (default the cheapest that has room)")
	priceFlag(c, &most)
	return c
}

// agreeOnPrice shows what the cheapest host asks, or the one that the wish names, and what
// the cap is, before anything is spent. More than most is refused, and a person is asked
// as before storing.
func (a *App) agreeOnPrice(ctx context.Context, client *sdk.Client, w *api.InstanceWish, most string) error {
	bids, err := client.Bids(ctx, w.Machine)
	if err != nil {
		return err
	}
	for _, b := range bids.Bids {
		if w.Host != "" && b.Host != w.Host {
			continue
		}
		if b.Why != "" {
			if w.Host == "" {
				break // those that can be had come first
			}
			return fault.New(fault.HostRefused, "rent a machine at %s: %s", b.Host, b.Why)
		}
		a.Term.Say("%s costs %s in 30 days at %s, paid by the second; `hearth instance rm %s` ends it", machineText(w.Machine), b.Month, short(b.Host), w.Name)
		a.saySpending(bids.Spending)
		return a.approveMonth(ctx, client, w, b.Month, bids.Spending, most)
	}
	if w.Host != "" {
		return fault.New(fault.NoHosts, "rent a machine at %s: no such host sells any", w.Host)
	}
	reason := "nobody sells machines"
	if len(bids.Bids) > 0 {
		reason = fmt.Sprintf("of %d hosts none can; the first: %s", len(bids.Bids), bids.Bids[0].Why)
	}
	return fault.New(fault.NoHosts, "rent a machine: %s; `hearth instance bids` shows them all", reason)
}

// approveMonth has the node pay no more than what is agreed to here: --max-price, or else
// what was shown.
func (a *App) approveMonth(ctx context.Context, client *sdk.Client, w *api.InstanceWish, month api.Money, s api.Spending, most string) error {
	w.Most = &month
	if within, err := notAbove(month, most); err != nil {
		return err
	} else if within {
		limit, err := money.Parse(most)
		allowed := api.MoneyOf(limit)
		w.Most = &allowed
		return err
	}
	if a.Yes || !a.Term.Person() {
		return nil
	}
	costs, err := month.Value()
	if err != nil {
		return err
	}
	now, err := s.Now.Value()
	if err != nil {
		return err
	}
	return a.agreeMonth(ctx, client, api.MoneyOf(money.AddCap(now, costs)), s)
}

func machineText(m api.Machine) string {
	return fmt.Sprintf("%s cores, %s of memory, %s of disk", strconv.FormatFloat(float64(m.CPU)/1000, 'f', -1, 64), terminal.Size(int64(m.Memory)), terminal.Size(int64(m.Disk)))
}

func short(address string) string {
	if len(address) > 16 {
		return address[:16] + "…"
	}
	return address
}

func (a *App) instanceBidsCommand() *cobra.Command {
	var m machineFlags
	c := &cobra.Command{
		Use: "bids", Short: "What hosts ask for a machine; nothing is spent", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			want, err := m.machine()
			if err != nil {
				return err
			}
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Bids, error) { return n.Bids(ctx, want) }, bidsRows)
		},
	}
	m.add(c)
	return c
}

func bidsRows(b api.Bids) *terminal.Rows {
	rows := terminal.Table("HOST", "REGION", "30 DAYS", "ANSWERS IN", "FREE CORES", "CORE", "GPUS", "OWN MEASUREMENT", "WHY NOT")
	for _, b := range b.Bids {
		month := b.Month.String()
		if v, err := b.Month.Value(); err == nil && v == 0 && b.Why != "" {
			month = "-" // it names no price
		}
		core, gpus := claimed(b.Class)
		rows.Add(b.Host, b.Region, month, time.Duration(b.Latency).Round(time.Millisecond), strconv.FormatFloat(float64(b.Free)/1000, 'f', -1, 64),
			core, gpus, measuredHere(b.Speed, b.Slow), b.Why)
	}
	return rows
}

// psCommand lists instances; it stands at two places.
func (a *App) psCommand(name string) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: "The account's instances and how they stand", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return Ask(a, c, func(ctx context.Context, n *sdk.Client) (api.Instances, error) { return n.Instances(ctx) }, instancesRows)
		},
	}
}

func instancesRows(l api.Instances) *terminal.Rows {
	rows := terminal.Table("NAME", "STATE", "IMAGE", "CPU", "MEMORY", "UP", "CPU USED", "30 DAYS", "HOST")
	for _, i := range l.Instances {
		up := ""
		if i.State == "running" || i.State == "paused" {
			up = time.Since(i.Started).Round(time.Second).String()
		}
		state := i.State
		if i.State == "exited" {
			state += " (" + strconv.Itoa(i.Exit) + ")"
		}
		if i.Reason != "" && i.Reason != "exited" {
			state += ": " + i.Reason
		}
		rows.Add(i.Name, state, i.Image, strconv.FormatFloat(float64(i.Machine.CPU)/1000, 'f', -1, 64),
			terminal.Size(int64(i.Usage.Memory))+" of "+terminal.Size(int64(i.Machine.Memory)), up,
			time.Duration(i.Usage.CPU).Round(time.Millisecond), i.Month, short(i.Host))
	}
	return rows
}

func instanceRows(i api.Instance) *terminal.Rows {
	rows := terminal.Card().Add("Instance", i.Name).Add("State", i.State).Add("Image", i.Image).Add("Digest", i.Digest).
		Add("Host", i.Host).Add("Machine", machineText(i.Machine)).Add("In 30 days", i.Month)
	if i.Reason != "" {
		rows.Add("Reason", i.Reason)
	}
	return rows
}

// instanceEndCommand is stop and rm: either way what was written is lost.
func (a *App) instanceEndCommand(verb, short string, end func(*sdk.Client, context.Context, string, time.Duration) error) *cobra.Command {
	var grace time.Duration
	c := &cobra.Command{
		Use: verb + " NAME...", Short: short, Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.Term.Confirm(a.Yes, "End "+strings.Join(args, ", ")+" and lose what was written there?", "yes"); err != nil {
				return err
			}
			client, err := a.Client()
			if err != nil {
				return err
			}
			defer client.Close()
			for _, name := range args {
				if err := end(client, c.Context(), name, grace); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().DurationVar(&grace, "grace", 10*time.Second, "that they have to end by themselves, up to 1m")
	return c
}
