package node

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	"hearth/api"
	"hearth/compute/client"
	"hearth/compute/door"
	"hearth/core/fault"
)

// FunctionDoorSettings are those of the door where functions answer HTTP requests.
type FunctionDoorSettings struct {
	Listen      string   `toml:"listen"`      // host:port; empty: `hearth fn serve` opens it
	Names       []string `toml:"names"`       // of hosts in requests that are answered beside this machine's own; where it listens elsewhere than on loopback, empty: any
	Only        []string `toml:"only"`        // functions that are called; empty: all
	Rate        float64  `toml:"rate"`        // requests a second of each function
	Verify      int      `toml:"verify"`      // on how many other hosts outcomes are checked, as `hearth fn invoke --verify`
	Credentials bool     `toml:"credentials"` // Authorization and Cookie are passed on; the hosts that run functions can read them
}

// check says which of the door's settings is wrong.
func (s FunctionDoorSettings) check() error {
	if s.Listen != "" {
		if _, _, err := net.SplitHostPort(s.Listen); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
	}
	if !(s.Rate > 0 && s.Rate <= 1e6) {
		return fmt.Errorf("rate: %g requests a second, more than 0 are possible", s.Rate)
	}
	if s.Verify < 0 || s.Verify > client.MaxVerify {
		return fmt.Errorf("verify: %d, 0 to %d are possible", s.Verify, client.MaxVerify)
	}
	if i := slices.IndexFunc(s.Names, func(n string) bool { return n == "" || strings.ContainsAny(n, ":/ ") }); i >= 0 {
		return fmt.Errorf("names: %q isn't a host's name without a port", s.Names[i])
	}
	return nil
}

// functionDoor is where functions answer HTTP requests, open or closed.
type functionDoor struct {
	n    *Node
	seen *door.Metrics
	hinge[api.FunctionDoor]
}

func newFunctionDoor(n *Node) (*functionDoor, error) {
	d := &functionDoor{n: n, seen: door.NewMetrics()}
	d.fallen = func(was api.FunctionDoor, err error) api.FunctionDoor {
		n.log.Error("functions' HTTP door ended by itself", "endpoint", was.Endpoint, "err", err)
		return api.FunctionDoor{Problem: fmt.Sprint(err)}
	}
	if err := n.metrics.Register(d.seen); err != nil {
		return nil, fmt.Errorf("functions over HTTP: %w", err)
	}
	return d, nil
}

// run opens the door where the settings say so, and closes it when ctx ends. That
// it can't be opened keeps nothing else from working.
func (d *functionDoor) run(ctx context.Context) {
	if at := d.n.settings.Client.FunctionDoor.Listen; at != "" {
		if _, err := d.open(api.FunctionListen{Listen: at}); err != nil {
			d.n.log.Error("functions' HTTP door not opened", "listen", at, "err", err)
			d.set(api.FunctionDoor{Problem: err.Error()})
		}
	}
	<-ctx.Done()
	d.close()
}

// open has the door answer; it is open when this returns.
func (d *functionDoor) open(at api.FunctionListen) (api.FunctionDoor, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.end != nil {
		return d.state, fault.New(fault.Exists, "open functions' HTTP door: it is open at %s", d.state.Endpoint)
	}
	if at.Listen == "" {
		at.Listen = api.FunctionsAt
	}
	set := d.n.settings.Client.FunctionDoor
	made, err := door.New(door.Config{
		Functions: d.n.buys.functions, Listen: at.Listen, Names: set.Names, Only: set.Only, Rate: set.Rate, Verify: set.Verify,
		Credentials: set.Credentials, Metrics: d.seen, Log: d.n.log,
	})
	if err != nil {
		return d.state, err
	}
	return d.serve(made, api.FunctionDoor{Open: true, Endpoint: "http://" + at.Listen, Rate: set.Rate})
}

// Door shows it to the API.
func (d *functionDoor) Door(context.Context) (api.FunctionDoor, error) { return d.shown(), nil }

// Open opens it by the API.
func (d *functionDoor) Open(_ context.Context, at api.FunctionListen) (api.FunctionDoor, error) {
	return d.open(at)
}

// Close closes it by the API.
func (d *functionDoor) Close(context.Context) (api.FunctionDoor, error) {
	d.close()
	return api.FunctionDoor{}, nil
}
