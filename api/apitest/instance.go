package apitest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"hearth/api"
	"hearth/core/fault"
	"hearth/core/money"
)

type instances struct{ *Node }

// each is what a machine costs here in 30 days, month as people read it.
const each = 1_500_000

var month = api.MoneyOf(each)

func (n instances) Bids(_ context.Context, m api.Machine) (api.Bids, error) {
	bids := []api.Bid{{Host: "hearth1host1", Region: "here", Month: month, Latency: 1000, Free: 2000, Class: host(n).class(), Speed: 900_000_000, Slow: true}, {Host: "hearth1host2", Month: api.MoneyOf(0), Why: "it rents out no machines"}}
	if m.CPU > 2000 {
		bids[0].Why = "2 cores are left"
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return api.Bids{Bids: bids, Spending: n.spending(money.Amount(len(n.instances)) * each)}, nil
}

func (n instances) Create(_ context.Context, w api.InstanceWish) (api.Instance, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, there := n.instances[w.Name]; there {
		return api.Instance{}, fault.New(fault.Exists, "create instance %s: there is one of this name", w.Name)
	}
	if w.Most != nil {
		if most, err := w.Most.Value(); err != nil || most < each {
			return api.Instance{}, errors.Join(err, fault.New(fault.PriceTooHigh, "create instance %s: it costs %s in 30 days", w.Name, month))
		}
	}
	i := api.Instance{
		Name: w.Name, ID: strings.Repeat("0", 32), Image: w.Image, Digest: "sha256:" + strings.Repeat("0", 64), Host: w.Host, Lease: 7,
		Machine: w.Machine, State: "running", Month: month, Created: n.Now, Started: n.Now,
	}
	n.instances[w.Name], n.secrets[w.Name] = i, w.Secrets
	return i, nil
}

// Instances are half a core busy and use a quarter of their memory.
func (n instances) Instances(context.Context) (api.Instances, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := api.Instances{Instances: []api.Instance{}}
	now := time.Now()
	for _, i := range n.instances {
		if i.State == "running" {
			i.Usage = api.Usage{CPU: now.UnixNano() / 2, Memory: i.Machine.Memory / 4, Pids: 3, NetIn: 1 << 20, NetOut: 2 << 20, Taken: now}
		}
		out.Instances = append(out.Instances, i)
	}
	slices.SortFunc(out.Instances, func(a, b api.Instance) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// become changes how an instance stands.
func (n instances) become(name, state string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	i, there := n.instances[name]
	if !there {
		return fault.New(fault.NoInstance, "instance %s: the account has none of this name", name)
	}
	i.State = state
	n.instances[name] = i
	return nil
}

func (n instances) Start(_ context.Context, name string) error { return n.become(name, "running") }

func (n instances) Stop(_ context.Context, name string, _ time.Duration) error {
	return n.become(name, "exited")
}

func (n instances) Suspend(_ context.Context, name string) error {
	return n.become(name, "suspended")
}

func (n instances) Remove(_ context.Context, name string, _ time.Duration) error {
	if err := n.become(name, "gone"); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.instances, name)
	return nil
}

// Logs are two lines, and for those who follow what comes until they go.
func (n instances) Logs(ctx context.Context, name string, tail int, follow bool, w io.Writer) error {
	if err := n.become(name, "running"); err != nil {
		return err
	}
	lines := []string{"one\n", "two\n"}
	for _, l := range lines[max(0, len(lines)-max(tail, 0))*min(tail, 1):] {
		if _, err := io.WriteString(w, l); err != nil {
			return err
		}
	}
	if follow {
		<-ctx.Done()
	}
	return nil
}

// Exec knows a few programs: cat, secret, which puts one out, tar, which takes all and
// says nothing, words, size and wait.
func (n instances) Exec(ctx context.Context, name string, p api.Program, in io.Reader, out, errs io.Writer, sizes <-chan api.Size) (int, error) {
	if err := n.become(name, "running"); err != nil {
		return 0, err
	}
	switch p.Args[0] {
	case "cat":
		_, err := io.Copy(out, in)
		return 0, err
	case "secret":
		n.mu.Lock()
		all := n.secrets[name]
		n.mu.Unlock()
		for _, s := range all {
			if s.Name == p.Args[1] {
				_, err := out.Write(s.Value)
				return 0, err
			}
		}
		return 1, nil
	case "tar":
		_, err := io.Copy(io.Discard, in)
		return 0, err
	case "words":
		_, err := fmt.Fprintf(errs, "%q %q %q %q %v %v", p.Args[1:], p.Env, p.Dir, p.User, p.TTY, p.Size)
		return 3, err
	case "size":
		_, err := fmt.Fprint(out, <-sizes)
		return 0, err
	case "wait":
		_, _ = io.WriteString(out, "waiting") // its caller's going is what counts
		<-ctx.Done()
		close(n.gone)
		return 0, ctx.Err()
	}
	return 0, fault.New(fault.BadRequest, "no program %q", p.Args[0])
}

// Forward connects with a program that says what is said to it; nothing is at port 9.
func (n instances) Forward(_ context.Context, name string, port uint16, in io.Reader, out io.Writer) error {
	if err := n.become(name, "running"); err != nil {
		return err
	}
	if port == 9 {
		return fault.New(fault.PortClosed, "port 9: connection was refused")
	}
	if _, err := fmt.Fprintf(out, "port %d: ", port); err != nil {
		return err
	}
	_, err := io.Copy(out, in)
	return err
}

func (n instances) SSH(ctx context.Context, name string, in io.Reader, out io.Writer) error {
	return n.Forward(ctx, name, 22, in, out)
}

// Gone is closed when the caller of a program that waits has gone.
func (n *Node) Gone() <-chan struct{} { return n.gone }
