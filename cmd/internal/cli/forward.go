package cli

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"hearth/core/fault"
	"hearth/internal/terminal"
	"hearth/sdk"
)

func (a *App) portForwardCommand() *cobra.Command {
	var address string
	c := &cobra.Command{
		Use: "port-forward NAME [LOCAL:]PORT...", Short: "Reach TCP ports of an instance at this machine", Args: cobra.MinimumNArgs(2),
		Long: `Listens on this machine until Ctrl-C and carries each connection into the instance, to the
port behind the colon. LOCAL is the same where it isn't given, and any free one where it is 0.
The program inside must listen on all of its addresses.`,
		Example: `  hearth port-forward web 8080:80
  hearth port-forward db 5432 9187`,
		RunE: func(c *cobra.Command, args []string) error {
			pairs, err := parsePorts(args[1:])
			if err != nil {
				return err
			}
			client, err := a.Client()
			if err != nil {
				return err
			}
			defer client.Close()
			return a.portForward(c.Context(), client, args[0], address, pairs)
		},
	}
	c.Flags().StringVar(&address, "address", "127.0.0.1", "of this machine to listen on; whoever reaches it reaches the instance")
	return c
}

// A portPair is where to listen, and the port inside.
type portPair struct{ local, inside uint16 }

// parsePorts reads words like 8080:80 and 80.
func parsePorts(words []string) (out []portPair, err error) {
	for _, w := range words {
		local, inside, two := strings.Cut(w, ":")
		if !two {
			inside = local
		}
		l, lerr := strconv.ParseUint(local, 10, 16)
		i, ierr := strconv.ParseUint(inside, 10, 16)
		if lerr != nil || ierr != nil || i == 0 {
			return nil, fault.New(fault.BadRequest, "port %q: it is PORT or LOCAL:PORT, and a port is 1 to 65535", w)
		}
		out = append(out, portPair{uint16(l), uint16(i)})
	}
	return out, nil
}

// A forwarding is a port of an instance as it is reached here.
type forwarding struct {
	Name   string `json:"name"`
	Listen string `json:"listen"`
	Port   uint16 `json:"port"`
}

// portForward carries connections until ctx ends, which is no error.
func (a *App) portForward(ctx context.Context, client *sdk.Client, name, address string, pairs []portPair) error {
	if err := reachable(ctx, client, name); err != nil {
		return err
	}
	f := &forwarder{client: client, name: name, slots: make(chan struct{}, maxForwards), said: a.Term.Say}
	rows, shown := terminal.Table("LISTENS ON", "CARRIED TO"), []forwarding{}
	listeners := make([]net.Listener, len(pairs))
	for n, p := range pairs {
		l, err := listenAt(net.JoinHostPort(address, strconv.Itoa(int(p.local))))
		if err != nil {
			return err
		}
		defer l.Close()
		listeners[n] = l
		rows.Add(l.Addr(), name+":"+strconv.Itoa(int(p.inside)))
		shown = append(shown, forwarding{name, l.Addr().String(), p.inside})
	}
	if err := a.Term.Show(shown, rows); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for n, l := range listeners {
		group.Go(func() error { return f.accept(ctx, l, pairs[n].inside) })
	}
	return group.Wait()
}

// reachable refuses an instance that takes no connection now.
func reachable(ctx context.Context, client *sdk.Client, name string) error {
	all, err := client.Instances(ctx)
	if err != nil {
		return err
	}
	for _, i := range all.Instances {
		switch {
		case i.Name != name:
		case i.State == "unreachable":
			return fault.New(fault.HostUnreachable, "forward to %s: %s", name, i.Reason)
		case i.State != "running":
			return fault.New(fault.PortClosed, "forward to %s: it is %s", name, strings.TrimSuffix(i.State+", "+i.Reason, ", "))
		default:
			return nil
		}
	}
	return fault.New(fault.NoInstance, "forward to %.100s: the account has no instance of this name", name)
}

func listenAt(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fault.New(fault.AddressTaken, "forward: %w; LOCAL:PORT names another port of this machine", err)
	case err != nil:
		return nil, fault.New(fault.BadRequest, "forward: %w", err)
	}
	return l, nil
}

const (
	// maxForwards is how many connections are carried at once; more wait for their turn.
	// A host serves 32 requests of one node, and others are to come through.
	maxForwards = 16
	// lastWords is how long one that has ended inside may take to end here.
	lastWords = 2 * time.Second
)

// A forwarder carries connections into one instance.
type forwarder struct {
	client *sdk.Client
	name   string
	slots  chan struct{}

	mu   sync.Mutex
	said func(format string, args ...any)
	last string // that was said of a connection since one went well
}

// accept carries what comes to l until ctx ends.
func (f *forwarder) accept(ctx context.Context, l net.Listener, port uint16) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var open sync.WaitGroup
	defer open.Wait()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fault.New(fault.Interrupted, "forward: %w", err)
		}
		select {
		case f.slots <- struct{}{}:
		case <-ctx.Done():
			conn.Close()
			return nil
		}
		open.Go(func() {
			defer func() { <-f.slots }()
			f.carry(ctx, conn.(*net.TCPConn), port)
		})
	}
}

// carry moves what comes either way until one side ends. A connection that fails is
// reset: nobody takes what came by then for all.
func (f *forwarder) carry(ctx context.Context, conn *net.TCPConn, port uint16) {
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := f.client.Forward(ctx, f.name, port, conn, conn)
	if err != nil {
		f.tell(ctx, port, err)
		_ = conn.SetLinger(0) // as far as the system can
		return
	}
	f.mu.Lock()
	f.last = ""
	f.mu.Unlock()
	// What comes in still is read, lest the end overtakes the last bytes that went out.
	if conn.CloseWrite() == nil && conn.SetReadDeadline(time.Now().Add(lastWords)) == nil {
		_, _ = io.Copy(io.Discard, conn) // nobody wants it
	}
}

// tell says once why connections fail. That a program here has gone is its own affair.
func (f *forwarder) tell(ctx context.Context, port uint16, err error) {
	var here *net.OpError
	if ctx.Err() != nil || fault.CodeOf(err) == fault.Internal && errors.As(err, &here) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	text := fault.Brief(err.Error())
	if text == f.last {
		return
	}
	f.last = text
	f.said("a connection to %s:%d ended: %s (%s)", f.name, port, text, fault.CodeOf(err))
}
