// Package node makes one running program of the streets: it opens a folder's
// identity, connects it to its ledger and its peers, starts the roles that its
// settings name, and serves the local API. It is the only package that knows
// every role, and it decides nothing that a street could.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"hearth/api"
	"hearth/api/server"
	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/quote"
	"hearth/p2p"
	"hearth/steward"
	"hearth/wallet"
)

// A Config is what Run needs.
type Config struct {
	Dir        string       // required: the node's folder
	Passphrase []byte       // of a sealed identity
	Trust      string       // a checkpoint, HEIGHT:HASH, for a node that slept too long; may be empty
	Log        *slog.Logger // default: discard
	Ready      func()       // called once the API answers; may be nil
}

// Node is one running program.
type Node struct {
	dir      string
	trust    string // a checkpoint
	settings Settings
	terms    terms
	device   uint64
	keys     *wallet.Keys
	log      *slog.Logger
	started  time.Time
	halt     context.CancelCauseFunc // ends Run, which returns the cause
	metrics  *prometheus.Registry

	ledger *chain.Client
	net    *p2p.Node
	memory *memory          // the ledger as the market sees it
	buys   *buying          // nil: no client
	sells  *selling         // nil: no host
	door   *s3Door          // nil: no client
	images *imageDoor       // nil: no client
	web    *functionDoor    // nil: no client
	keeps  *steward.Steward // nil: no steward

	news news

	mu   sync.Mutex
	seen chain.Block // the newest followed
	came time.Time   // when it did
}

// What is worth doing before the end may take so long.
const (
	flushTime  = 1200 * time.Millisecond // bring small objects from the journal to hosts
	leaveTime  = 1500 * time.Millisecond // then write the log, and sign run time for the absence
	settleTime = 1800 * time.Millisecond // one transaction, about two blocks
)

// Run runs the node in c.Dir until ctx ends.
func Run(ctx context.Context, c Config) error {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	unlock, err := Lock(c.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	if unfinished(c.Dir) {
		return fault.New(fault.HalfRestored, "start node in %s: its list of files isn't restored yet", c.Dir)
	}
	if err := CheckHere(c.Dir); err != nil {
		return err
	}
	ctx, halt := context.WithCancelCause(ctx)
	defer halt(nil)
	n := &Node{dir: c.Dir, trust: c.Trust, halt: halt, log: c.Log, started: time.Now(), metrics: prometheus.NewRegistry()}
	if err := n.open(c.Passphrase); err != nil {
		return err
	}
	n.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := n.connect(ctx); err != nil {
		return err
	}
	defer n.disconnect()
	if err := n.startRoles(ctx); err != nil {
		return errors.Join(err, n.stopRoles())
	}
	err = n.serve(ctx, c.Ready)
	if cause := context.Cause(ctx); fault.CodeOf(cause) == fault.Moved {
		err = errors.Join(err, cause)
	}
	return errors.Join(err, n.stopRoles())
}

// open reads settings and identity.
func (n *Node) open(passphrase []byte) (err error) {
	if n.settings, err = LoadSettings(n.dir); err != nil {
		return err
	}
	if n.terms, err = n.settings.check(); err != nil {
		return err
	}
	id, err := OpenIdentity(n.dir, passphrase)
	if err != nil {
		return err
	}
	n.device = id.Device
	n.keys, err = wallet.Derive(id.Phrase, id.Device)
	return err
}

// connect opens the ledger and the peer network.
func (n *Node) connect(ctx context.Context) (err error) {
	data := filepath.Join(n.dir, "data")
	trust := filepath.Join(data, "ledger")
	if err := os.MkdirAll(trust, 0o700); err != nil {
		return fmt.Errorf("start node: %w", err)
	}
	from, err := chain.ParseCheckpoint(n.trust)
	if err != nil {
		return err
	}
	if n.ledger, err = chain.Dial(ctx, chain.Config{Network: n.terms.network, Dir: trust, Checkpoint: from, Log: n.log}); err != nil {
		return err
	}
	config := p2p.Config{
		Key: n.keys.Node(), Network: n.terms.network.ChainID, Announce: n.settings.P2P.Announce,
		AnnounceLoopback: n.settings.Local, Log: n.log, Metrics: n.metrics,
	}
	if n.terms.host {
		if config.Listen, config.BulkListen, err = listeners(n.settings.P2P.Listen); err != nil {
			n.ledger.Close()
			return err
		}
	}
	if n.net, err = p2p.New(config); err != nil {
		n.ledger.Close()
		return err
	}
	n.memory = recall(directory{n.ledger, n.net}, filepath.Join(data, "records"), n.log)
	return nil
}

func (n *Node) disconnect() {
	if err := n.net.Close(); err != nil {
		n.log.Debug("close peer network", "err", err)
	}
	if err := n.ledger.Close(); err != nil {
		n.log.Warn("close ledger client", "err", err)
	}
}

// listeners turns `ip:port` into the addresses of both kinds of streams: control
// on the port (TCP and QUIC), bulk on the next one; port 0 takes any.
func listeners(at string) (control, bulk []string, err error) {
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		return nil, nil, fault.New(fault.BadConfig, "setting p2p.listen: %w", err)
	}
	ip := net.ParseIP(host)
	if ip == nil {
		return nil, nil, fault.New(fault.BadConfig, "setting p2p.listen: %q isn't an address of this machine", host)
	}
	family := "ip4"
	if ip.To4() == nil {
		family = "ip6"
	}
	p, err := net.LookupPort("tcp", port)
	if err != nil {
		return nil, nil, fault.New(fault.BadConfig, "setting p2p.listen: %w", err)
	}
	next := p
	if p != 0 {
		next = p + 1
	}
	base := fmt.Sprintf("/%s/%s", family, ip)
	control = []string{fmt.Sprintf("%s/tcp/%d", base, p), fmt.Sprintf("%s/udp/%d/quic-v1", base, p)}
	return control, []string{fmt.Sprintf("%s/tcp/%d/tls", base, next)}, nil
}

// startRoles starts what the settings name, and follows the ledger for them.
func (n *Node) startRoles(ctx context.Context) (err error) {
	if n.terms.host {
		if n.sells, err = startSelling(ctx, n); err != nil {
			return err
		}
	}
	if n.terms.steward {
		if n.keeps, err = startStewarding(n); err != nil {
			return err
		}
	}
	if n.terms.client {
		if n.buys, err = startBuying(ctx, n); err != nil {
			return err
		}
		if n.door, err = newS3Door(n); err != nil {
			return err
		}
		if n.images, err = newImageDoor(n); err == nil {
			n.buys.instances, err = startInstances(n.buys, n.images.images)
		}
		if err != nil {
			return err
		}
		if n.web, err = newFunctionDoor(n); err != nil {
			return err
		}
	}
	return nil
}

// stopRoles ends them in the order in which they lean on each other.
func (n *Node) stopRoles() error {
	var errs []error
	if n.buys != nil {
		if err := within(flushTime, n.buys.files.Flush); err != nil {
			n.log.Warn("small objects stay in the journal until the node runs again", "err", err)
		}
		errs = append(errs, within(leaveTime, n.buys.stop))
	}
	if n.keeps != nil {
		errs = append(errs, n.keeps.Close())
	}
	if n.sells != nil {
		errs = append(errs, within(settleTime, n.sells.stop))
	}
	return errors.Join(append(errs, n.memory.keep())...)
}

func within(d time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return f(ctx)
}

// serve answers the API and follows the ledger until ctx ends.
func (n *Node) serve(ctx context.Context, ready func()) error {
	socket, tcp, token, err := n.listen()
	if err != nil {
		return err
	}
	s, err := server.New(server.Config{
		Roles: n.roles(), Token: token, Spent: filepath.Join(n.dir, "data", "spent"), Report: n.metrics, Log: n.log,
	})
	if err != nil {
		if tcp != nil {
			err = errors.Join(err, tcp.Close())
		}
		return errors.Join(err, socket.Close())
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	work := func(f func(context.Context)) { wg.Go(func() { f(ctx) }) }
	work(n.follow)
	work(n.meet)
	work(n.memory.run)
	if n.buys != nil {
		work(n.buys.run)
		work(n.watchRunway)
		work(n.door.run)
		work(n.images.run)
		work(n.web.run)
	}
	if n.sells != nil {
		work(n.sells.run)
	}
	if n.keeps != nil {
		work(n.keeps.Run)
	}
	if ready != nil {
		ready()
	}
	err = s.Serve(ctx, socket, tcp)
	cancel()
	wg.Wait()
	return errors.Join(err, s.Close())
}

const maxSocketPath = 107 // of the kernel

// listen opens the unix socket, and the loopback address with its token.
func (n *Node) listen() (unix, tcp net.Listener, token string, err error) {
	path := api.Socket(n.dir)
	if len(path) > maxSocketPath {
		return nil, nil, "", fault.New(fault.BadRequest, "listen on %s: a socket's path has at most %d bytes; use a shorter --dir", path, maxSocketPath)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, "", fmt.Errorf("listen on %s: %w", path, err)
	}
	if unix, err = net.Listen("unix", path); err != nil {
		return nil, nil, "", fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, nil, "", errors.Join(err, unix.Close())
	}
	if n.settings.API.Listen == "" {
		return unix, nil, "", nil
	}
	host, _, err := net.SplitHostPort(n.settings.API.Listen)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return nil, nil, "", errors.Join(fault.New(fault.BadConfig, "setting api.listen: %q isn't a loopback address with a port", n.settings.API.Listen), unix.Close())
	}
	if token, err = apiToken(filepath.Join(n.dir, "api.token")); err != nil {
		return nil, nil, "", errors.Join(err, unix.Close())
	}
	if tcp, err = net.Listen("tcp", n.settings.API.Listen); err != nil {
		return nil, nil, "", errors.Join(err, unix.Close())
	}
	return unix, tcp, token, nil
}

func (n *Node) address() string { return n.keys.Account().Address() }

// kinds of service by the names people use.
func kindOf(name string) (quote.Kind, error) {
	for k := quote.Storage; k.Valid(); k++ {
		if strings.EqualFold(k.String(), name) {
			return k, nil
		}
	}
	return 0, fault.New(fault.BadRequest, "kind %q: it is storage, compute, edge, relay or talk", name)
}
