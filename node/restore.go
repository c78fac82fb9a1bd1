package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hearth/chain"
	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/network"
	"hearth/internal/durable"
	"hearth/storage/index"
	"hearth/storage/replica"
	"hearth/wallet"
)

// A RestoreConfig says what is to be restored, and where to.
type RestoreConfig struct {
	InitConfig              // Phrase is required; Dir is empty or there is none, or an earlier try began in it
	Log        *slog.Logger // default: discard
	// Tell is told of each step; may be nil.
	Tell func(format string, args ...any)
}

// Restored is what came back.
type Restored struct {
	Identity wallet.Identity
	Balance  money.Amount // on the account
	Purse    money.Amount
	Leases   int
	Found    replica.Found
	Buckets  int
	Objects  int // versions of them
	Bytes    int64
}

// Restore makes a node's folder from a phrase and a network's name alone: the
// identity with a new device number, a mandate for it, and the list of files as
// the hosts have it. What is broken off goes on with the same call.
func Restore(ctx context.Context, c RestoreConfig) (Restored, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Tell == nil {
		c.Tell = func(string, ...any) {}
	}
	if c.Phrase.IsZero() {
		return Restored{}, fault.New(fault.BadPhrase, "restore: no phrase")
	}
	name, err := network.Parse(c.Network)
	if err != nil {
		return Restored{}, err
	}
	if err := c.fresh(); err != nil {
		return Restored{}, err
	}
	if err := c.known(ctx, name); err != nil {
		return Restored{}, err
	}
	id, err := c.identity(name)
	if err != nil {
		return Restored{}, err
	}
	unlock, err := Lock(c.Dir)
	if err != nil {
		return Restored{}, err
	}
	defer unlock()
	out := Restored{Identity: id}
	err = c.files(ctx, &out)
	if err == nil {
		err = os.Remove(restoring(c.Dir))
	}
	return out, err
}

// restoring is a file that stands while a folder is being restored.
func restoring(dir string) string { return filepath.Join(dir, "restoring") }

func unfinished(dir string) bool {
	_, err := os.Stat(restoring(dir))
	return err == nil
}

// fresh refuses a folder that holds anything but an earlier try of ours.
func (c *RestoreConfig) fresh() error {
	held, err := os.ReadDir(c.Dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(held) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("restore into %s: %w", c.Dir, err)
	}
	if unfinished(c.Dir) {
		return nil
	}
	if _, err := os.Stat(keystore(c.Dir)); err == nil {
		return fault.New(fault.IdentityExists, "restore into %s: it holds an identity already", c.Dir)
	}
	return fault.New(fault.Exists, "restore into %s: the folder isn't empty", c.Dir)
}

// known refuses a phrase whose account the ledger doesn't know.
func (c *RestoreConfig) known(ctx context.Context, name network.Name) error {
	keys, err := wallet.Derive(c.Phrase, 0)
	if err != nil {
		return err
	}
	from, err := chain.ParseCheckpoint(c.Trust)
	if err != nil {
		return err
	}
	ledger, err := chain.Dial(ctx, chain.Config{Network: name, Checkpoint: from})
	if err != nil {
		return err
	}
	defer ledger.Close()
	known, err := ledger.Known(ctx, keys.Account().Address())
	if err == nil && !known {
		err = fault.New(fault.UnknownIdentity, "restore identity: %s has no account %s", name.ChainID, keys.Account().Address())
	}
	return err
}

// identity writes settings and keys, or reads those of an earlier try.
func (c *RestoreConfig) identity(name network.Name) (wallet.Identity, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return wallet.Identity{}, fmt.Errorf("restore into %s: %w", c.Dir, err)
	}
	if err := durable.Write(restoring(c.Dir), []byte("hearth restore works here, or was broken off\n"), 0o600); err != nil {
		return wallet.Identity{}, err
	}
	if _, err := os.Stat(keystore(c.Dir)); err != nil {
		c.Settings.Network = name.String()
		if err := c.Settings.Save(c.Dir); err != nil {
			return wallet.Identity{}, err
		}
		if err := CreateIdentity(c.Dir, c.Phrase, c.Settings.Network, c.Passphrase); err != nil {
			return wallet.Identity{}, err
		}
	}
	id, err := wallet.Open(keystore(c.Dir), c.Passphrase)
	if err == nil && id.Phrase.Reveal() != c.Phrase.Reveal() {
		err = fault.New(fault.IdentityExists, "restore into %s: another phrase was being restored there", c.Dir)
	}
	return id, err
}

// files gives the new device its mandate and reads the list of files.
func (c *RestoreConfig) files(ctx context.Context, out *Restored) (err error) {
	n, b, err := openClient(ctx, c.Dir, c.Trust, c.Passphrase, c.Log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeClient(n, b)) }()
	c.Tell("account %s", n.address())
	if out.Balance, err = n.ledger.Balance(ctx, n.address()); err != nil {
		return err
	}
	if err := b.account.settle(ctx); err != nil {
		return err
	}
	c.Tell("this device has its mandate")
	if out.Purse, err = n.ledger.Purse(ctx, n.address()); err != nil {
		return err
	}
	if out.Found, err = restoreIndex(ctx, b); err != nil {
		return err
	}
	out.Leases = out.Found.Hosts
	if err := out.count(ctx, b.index); err != nil {
		return err
	}
	return c.suit(ctx, n, b.index)
}

// suit sets what a new folder can't know: how files were coded so far, and that
// the network is a cloud on one machine.
func (c *RestoreConfig) suit(ctx context.Context, n *Node, x *index.Index) error {
	s := n.settings
	s.Local = s.Local || loopback(n.terms.network)
	class, err := newestClass(ctx, x)
	if err != nil {
		return err
	}
	if class != (erasure.Class{}) {
		s.Client.Code = class.String()
	}
	if s.Local == n.settings.Local && s.Client.Code == n.settings.Client.Code {
		return nil
	}
	return s.Save(c.Dir)
}

// loopback says whether all ledger nodes that a name holds are on this machine.
func loopback(name network.Name) bool {
	for _, raw := range name.URLs {
		u, err := url.Parse(raw)
		if err != nil {
			return false
		}
		if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return false
		}
	}
	return len(name.URLs) > 0
}

// newestClass is the code of the file that was written last; zero: there is none.
func newestClass(ctx context.Context, x *index.Index) (class erasure.Class, err error) {
	newest := int64(0)
	err = eachVersion(ctx, x, func(o index.Object) error {
		if o.Marker || o.Size <= index.MaxInline || o.Version <= newest {
			return nil
		}
		sum, err := x.Summary(ctx, index.Ref{Bucket: o.Bucket, Key: o.Key, Version: o.VersionID})
		if err == nil && sum.Class != (erasure.Class{}) {
			newest, class = o.Version, sum.Class
		}
		return err
	})
	return class, err
}

// openClient opens the buying side of a node that doesn't serve. The caller has
// the folder's lock.
func openClient(ctx context.Context, dir, trust string, passphrase []byte, log *slog.Logger) (*Node, *buying, error) {
	n := &Node{dir: dir, trust: trust, log: log, started: time.Now(), metrics: prometheus.NewRegistry()}
	if err := n.open(passphrase); err != nil {
		return nil, nil, err
	}
	n.terms.host = false
	if err := n.connect(ctx); err != nil {
		return nil, nil, err
	}
	b, err := startBuying(ctx, n)
	if err != nil {
		n.disconnect()
		return nil, nil, err
	}
	return n, b, nil
}

func closeClient(n *Node, b *buying) error {
	b.files.Close()
	err := errors.Join(b.index.Close(), b.market.Close(), n.memory.keep())
	n.disconnect()
	return err
}

// hosts take a moment to hear of a new device's mandate.
const (
	restoreTries = 6
	restorePause = 2 * time.Second
)

// restoreIndex reads the logs of all devices into the list of files.
func restoreIndex(ctx context.Context, b *buying) (found replica.Found, err error) {
	for try := 1; ; try++ {
		found, err = b.replica.Restore(ctx)
		switch fault.CodeOf(err) {
		case fault.NotEnoughShards, fault.NotEnoughHosts, fault.HostUnreachable, fault.HostRefused, fault.MandateRefused:
			if try < restoreTries {
				b.log.Info("restore the list of files again", "err", err)
				break
			}
			return found, err
		default:
			return found, err
		}
		select {
		case <-ctx.Done():
			return found, ctx.Err()
		case <-time.After(restorePause):
		}
	}
}

// count says what the list of files holds.
func (r *Restored) count(ctx context.Context, x *index.Index) error {
	buckets, err := x.Buckets(ctx)
	if err != nil {
		return err
	}
	r.Buckets = len(buckets)
	return eachVersion(ctx, x, func(o index.Object) error {
		if !o.Marker {
			r.Objects++
			r.Bytes += o.Size
		}
		return nil
	})
}

// eachVersion shows every version in the list of files.
func eachVersion(ctx context.Context, x *index.Index, f func(index.Object) error) error {
	buckets, err := x.Buckets(ctx)
	if err != nil {
		return err
	}
	for _, b := range buckets {
		for l := (index.VersionListing{}); ; {
			page, err := x.ListVersions(ctx, b.Name, l)
			if err != nil {
				return err
			}
			for _, o := range page.Versions {
				if err := f(o); err != nil {
					return err
				}
			}
			if page.NextKey == "" {
				break
			}
			l.AfterKey, l.AfterVersion = page.NextKey, page.NextVersion
		}
	}
	return nil
}

// Rebuild makes the list of files of a folder anew from the logs that hosts have.
// The old one stays beside it, under the name that is returned.
func Rebuild(ctx context.Context, dir string, passphrase []byte, log *slog.Logger) (out Restored, kept string, err error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	unlock, err := Lock(dir)
	if err != nil {
		return out, "", err
	}
	defer unlock()
	back, kept, err := setAside(dir)
	if err != nil {
		return out, "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, back())
		}
	}()
	n, b, err := openClient(ctx, dir, "", passphrase, log)
	if err != nil {
		return out, "", err
	}
	defer func() { err = errors.Join(err, closeClient(n, b)) }()
	if out.Found, err = restoreIndex(ctx, b); err != nil {
		return out, "", err
	}
	if len(out.Found.Logs) == 0 {
		return out, "", fault.New(fault.NotFound, "rebuild the list of files: no host has a log of this account")
	}
	return out, kept, out.count(ctx, b.index)
}

// setAside moves the list of files and what is known of its log out of the way;
// back undoes that.
func setAside(dir string) (back func() error, kept string, err error) {
	data := filepath.Join(dir, "data")
	suffix := ".before-" + time.Now().UTC().Format("20060102T150405")
	names := []string{"index.db", "index.db-wal", "index.db-shm", "replica"}
	var moved []string
	back = func() error {
		var errs []error
		for _, name := range names {
			if err := os.Remove(filepath.Join(data, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
		for _, name := range moved {
			errs = append(errs, os.Rename(filepath.Join(data, name+suffix), filepath.Join(data, name)))
		}
		return errors.Join(errs...)
	}
	for _, name := range names {
		err := os.Rename(filepath.Join(data, name), filepath.Join(data, name+suffix))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, "", errors.Join(fmt.Errorf("set the old list of files aside: %w", err), back())
		}
		moved = append(moved, name)
	}
	return back, filepath.Join(data, "index.db"+suffix), nil
}
