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
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cometbft/cometbft/config"
	cmtnode "github.com/cometbft/cometbft/node"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/privval"
	"github.com/cometbft/cometbft/proxy"
	"github.com/cometbft/cometbft/rpc/client/local"
	"github.com/cometbft/cometbft/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/cosmos-sdk/baseapp"
	"github.com/cosmos/cosmos-sdk/server"
	pruning "github.com/cosmos/cosmos-sdk/store/v2/pruning/types"

	"hearth/core/fault"
	"hearth/core/network"
	"hearth/ledger/app"
	"hearth/ledger/front"
)

// Config is what a Node is made of. Empty fields of Settings' kind keep what
// ledger.toml says.
type Config struct {
	Home      Home // required
	Listen    string
	Peers     []string
	CheckLaws bool         // check the laws after every block; for local clouds
	Log       *slog.Logger // default: discard
}

// Node is a running ledger node.
type Node struct {
	Name network.Name // with the URL it serves

	unlock func() error
	app    *app.App
	comet  *cmtnode.Node
	front  *front.Front
	served chan error
	socket string
	hush   *atomic.Bool // set while closing
}

// Start runs a node until Close. It goes on where the last one has stopped,
// however that was.
func Start(c Config) (_ *Node, err error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	settings, err := c.Home.Settings()
	if err != nil {
		return nil, err
	}
	if c.Listen != "" {
		settings.Listen = c.Listen
	}
	settings.Peers = append(settings.Peers, c.Peers...)
	raw, err := c.Home.Genesis()
	if err != nil {
		return nil, err
	}
	genesis, err := app.ReadGenesis(raw)
	if err != nil {
		return nil, err
	}
	if _, err := c.Home.Identity(); err != nil {
		return nil, err
	}

	n := &Node{served: make(chan error, 1), hush: new(atomic.Bool)}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if n.unlock, err = c.Home.lock(); err != nil {
		return nil, err
	}
	if n.app, err = open(c, genesis.ChainID, settings.KeepState); err != nil {
		return nil, err
	}
	if n.socket, err = socketPath(c.Home); err != nil {
		return nil, err
	}
	if err := n.startComet(c, settings, genesis); err != nil {
		return nil, err
	}
	return n, n.startFront(c, settings, genesis.ChainID)
}

// open loads the application over the home's database.
func open(c Config, chainID string, keep int) (*app.App, error) {
	db, err := dbm.NewGoLevelDB("application", c.Home.data(), nil)
	if err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	a, err := app.New(app.Config{
		DB: db, ChainID: chainID, Home: string(c.Home), Log: appLog{c.Log}, CheckLaws: c.CheckLaws,
		Options: []func(*baseapp.BaseApp){
			baseapp.SetPruning(pruning.NewCustomPruningOptions(uint64(keep), 10)),
			baseapp.SetQueryGasLimit(20_000_000),
			baseapp.SetIndexEvents([]string{"message.sender"}), // all events stand in the blocks' results
		},
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return a, nil
}

// maxSocket is the longest path a unix socket may have.
const maxSocket = 100

// socketPath is where CometBFT's RPC listens: in the home, or, where its path is
// too long, in a temporary folder of our own.
func socketPath(h Home) (string, error) {
	path, err := filepath.Abs(filepath.Join(h.data(), "rpc.sock"))
	if err != nil {
		return "", fmt.Errorf("rpc socket: %w", err)
	}
	if len(path) > maxSocket {
		dir, err := os.MkdirTemp("", "hearth-ledger-")
		if err != nil {
			return "", fmt.Errorf("rpc socket: %w", err)
		}
		return filepath.Join(dir, "rpc.sock"), nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("rpc socket: %w", err)
	}
	return path, nil
}

func (n *Node) startComet(c Config, s Settings, genesis *types.GenesisDoc) error {
	cfg := config.DefaultConfig()
	cfg.SetRoot(string(c.Home))
	cfg.RPC.ListenAddress = "unix://" + n.socket
	cfg.P2P.ListenAddress = "tcp://" + s.P2P
	cfg.P2P.ExternalAddress = s.External
	cfg.P2P.PersistentPeers = strings.Join(s.Peers, ",")
	if host, _, err := net.SplitHostPort(s.P2P); err == nil && net.ParseIP(host).IsLoopback() {
		cfg.P2P.AddrBookStrict, cfg.P2P.AllowDuplicateIP = false, true
	}
	cfg.P2P.PexReactor = len(s.Peers) > 0
	cfg.Consensus.TimeoutCommit = time.Duration(s.BlockMS) * time.Millisecond
	if s.BlockMS < 1000 { // everybody is near
		cfg.Consensus.TimeoutPropose = time.Second
	}
	if err := cfg.ValidateBasic(); err != nil {
		return fault.New(fault.BadConfig, "ledger.toml: %w", err)
	}
	nodeKey, err := p2p.LoadNodeKey(c.Home.nodeKey())
	if err != nil {
		return fmt.Errorf("read node key: %w", err)
	}
	validator := privval.LoadFilePV(c.Home.valKey(), c.Home.valState())
	comet, err := cmtnode.NewNode(cfg, validator, nodeKey,
		proxy.NewConnSyncLocalClientCreator(server.NewCometABCIWrapper(n.app)),
		func() (*types.GenesisDoc, error) { return genesis, nil },
		config.DefaultDBProvider, cmtnode.DefaultMetricsProvider(cfg.Instrumentation), cometLog{c.Log, n.hush})
	if err != nil {
		return fmt.Errorf("start CometBFT: %w", err)
	}
	if err := comet.Start(); err != nil {
		return taken(fmt.Errorf("start CometBFT: %w", err))
	}
	n.comet = comet
	return nil
}

// taken gives a failure to listen its code where somebody else listens there.
func taken(err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fault.New(fault.AddressTaken, "%w", err)
	}
	return err
}

func (n *Node) startFront(c Config, s Settings, chainID string) error {
	var sponsor *front.Sponsor
	if !s.Sponsor.Off {
		key, err := c.Home.sponsorKey()
		if err != nil {
			return err
		}
		g, err := newGranter(n.app, local.New(n.comet), key, chainID, s.Sponsor)
		if err != nil {
			return err
		}
		if sponsor, err = front.NewSponsor(front.SponsorConfig{
			Granter: g, Log: c.Log, Rates: front.Rates{PerHour: s.Sponsor.PerHour, PerSourceHour: s.Sponsor.PerSourceHour},
		}); err != nil {
			return err
		}
	}
	f, err := front.New(front.Config{Socket: n.socket, Sponsor: sponsor, Log: c.Log})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return taken(fmt.Errorf("listen: %w", err))
	}
	n.front = f
	n.Name = network.Name{ChainID: chainID, URLs: []string{"http://" + l.Addr().String()}}
	go func() { n.served <- f.Serve(l) }()
	return nil
}

// FirstBlock waits until the node has made or taken over a block since its start.
func (n *Node) FirstBlock(ctx context.Context) (height int64, err error) {
	const who = "first block"
	sub, err := n.comet.EventBus().Subscribe(ctx, who, types.EventQueryNewBlock, 1)
	if err != nil {
		return 0, fmt.Errorf("await first block: %w", err)
	}
	defer func() { err = errors.Join(err, n.comet.EventBus().UnsubscribeAll(context.WithoutCancel(ctx), who)) }()
	select {
	case m := <-sub.Out():
		return m.Data().(types.EventDataNewBlock).Block.Height, nil
	case <-sub.Canceled():
		return 0, fmt.Errorf("await first block: %w", sub.Err())
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Wait returns when ctx ends, or with the reason why the node has failed.
func (n *Node) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-n.comet.Quit():
		return errors.New("the ledger stopped by itself")
	case err := <-n.served:
		n.served <- err
		return err
	}
}

// Close stops everything and leaves a home that Start goes on from.
func (n *Node) Close() error {
	n.hush.Store(true)
	var errs []error
	if n.front != nil {
		errs = append(errs, n.front.Close(), <-n.served)
	}
	if n.comet != nil && n.comet.IsRunning() {
		errs = append(errs, n.comet.Stop())
		n.comet.Wait()
	}
	if n.app != nil {
		errs = append(errs, n.app.Close())
	}
	if n.socket != "" {
		_ = os.Remove(n.socket)
		if dir := filepath.Dir(n.socket); strings.HasPrefix(filepath.Base(dir), "hearth-ledger-") {
			_ = os.Remove(dir)
		}
	}
	if n.unlock != nil {
		errs = append(errs, n.unlock())
	}
	return errors.Join(errs...)
}

// Export reads the last block of a node that isn't running, and returns the
// genesis of a new chain that goes on from there.
func (h Home) Export(at time.Time) (_ []byte, err error) {
	raw, err := h.Genesis()
	if err != nil {
		return nil, err
	}
	genesis, err := app.ReadGenesis(raw)
	if err != nil {
		return nil, err
	}
	unlock, err := h.lock()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	a, err := open(Config{Home: h, Log: slog.New(slog.DiscardHandler)}, genesis.ChainID, Defaults().KeepState)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	return a.Export(at)
}
