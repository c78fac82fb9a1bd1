// Package replica keeps the index in the network: each device appends what it
// changes to a log of its own, sealed, at hosts like any file, and merges the logs
// of the account's other devices. A signed pointer at every host with a lease of
// the account says where a log ends; with the recovery phrase alone all of it is
// found again. It counts nothing as flushed that fewer than half of these hosts
// have, and believes no pointer that is older than one it knows or the ledger has.
package replica

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"hearth/core/pointer"
	"hearth/storage/index"
)

// A Change is one change of the index, as the log carries it.
type Change struct {
	Seq  int64
	Body []byte
}

// Index is what a log asks of the list of files.
type Index interface {
	// Used says whether there is anything in it.
	Used(ctx context.Context) (bool, error)
	// Changes are those of this device behind after that aren't forgotten, as many as
	// have limit bytes, and at least one.
	Changes(ctx context.Context, after int64, limit int) ([]Change, error)
	// Flushed forgets changes up to upTo.
	Flushed(ctx context.Context, upTo int64) error
	// Apply merges changes of a device. To merge them again changes nothing.
	Apply(ctx context.Context, device uint64, bodies [][]byte) error
	// Snapshot writes all of the index; it holds the changes up to upTo.
	Snapshot(ctx context.Context, w io.Writer) (upTo int64, err error)
	// ApplySnapshot merges what Snapshot wrote.
	ApplySnapshot(ctx context.Context, r io.Reader) error
}

// Slabs keeps the log's own data at hosts.
type Slabs interface {
	// Keep stores what src gives under a name, in the place of what is there, and
	// returns when it is durable at hosts.
	Keep(ctx context.Context, name string, src io.Reader) ([]index.PlacedSlab, error)
	// Drop removes it.
	Drop(ctx context.Context, name string) error
	// Names are those of all that is kept.
	Names(ctx context.Context) ([]string, error)
	// Placed finds where a slab that was kept lies now.
	Placed(ctx context.Context, id index.SlabID) (*index.PlacedSlab, error)
	// Read writes slabs, this device's or another's, one after another to w.
	Read(ctx context.Context, slabs []index.PlacedSlab, w io.Writer) error
}

// Hosts are those with a lease of the account.
type Hosts interface {
	// Leased are all of them, one place each.
	Leased(ctx context.Context) ([]index.Place, error)
	Put(ctx context.Context, at index.Place, p pointer.Signed, head []byte) error
	Pointers(ctx context.Context, at index.Place) ([]pointer.Signed, error)
	// Head is the head of this pointer or of a newer one of the device.
	Head(ctx context.Context, at index.Place, p pointer.Signed) (pointer.Signed, []byte, error)
}

// Ledger keeps pointers as well, less often.
type Ledger interface {
	Pointers(ctx context.Context) ([]pointer.Signed, error)
	SetPointer(ctx context.Context, p pointer.Signed) error
}

// A Config is what a Log needs. A zero field takes its stated default.
type Config struct {
	ChainID string             // required
	Account string             // required
	Device  uint64             // this device's number
	Signer  ed25519.PrivateKey // required: the account's pointer key
	Key     [32]byte           // the account's index key
	Path    string             // required: file for what is known of the logs
	Index   Index              // required
	Slabs   Slabs              // required
	Hosts   Hosts              // required
	Ledger  Ledger             // required

	Every time.Duration // between looks for changes of this device; default 4s
	Look  time.Duration // between looks for other devices' changes; default 60s
	Post  time.Duration // between pointers on the ledger; default 24h
	Wait  time.Duration // for a host's answer; default 15s

	Company func()           // called, once, when another device of the account is known; may be nil
	Now     func() time.Time // default time.Now
	Log     *slog.Logger     // default: discard
}

func (c *Config) complete() error {
	if c.ChainID == "" || c.Account == "" || len(c.Signer) != ed25519.PrivateKeySize || c.Path == "" ||
		c.Index == nil || c.Slabs == nil || c.Hosts == nil || c.Ledger == nil {
		return errors.New("replica: ChainID, Account, Signer, Path, Index, Slabs, Hosts and Ledger are needed")
	}
	for _, d := range []struct {
		v    *time.Duration
		zero time.Duration
	}{{&c.Every, 4 * time.Second}, {&c.Look, time.Minute}, {&c.Post, 24 * time.Hour}, {&c.Wait, 15 * time.Second}} {
		if *d.v == 0 {
			*d.v = d.zero
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

func (c *Config) public() ed25519.PublicKey { return c.Signer.Public().(ed25519.PublicKey) }

// A Log is this device's log, and what is known of the others'. It is safe for
// concurrent use.
type Log struct {
	c Config

	mu      sync.Mutex // held by who flushes or merges
	s       state
	last    int64                  // newest change that is in s.head
	sealed  []byte                 // s.head as it was put; nil: by an earlier process
	placed  map[index.Place]uint64 // numbers of the pointers that hosts have taken
	behind  bool                   // hosts have a newer pointer of this device
	tidied  bool
	kept    int
	company sync.Once
}

// Open reads what is known of the logs; it speaks to nobody yet.
func Open(ctx context.Context, c Config) (*Log, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	l := &Log{c: c, placed: map[index.Place]uint64{}}
	found, err := l.load()
	if err != nil {
		return nil, err
	}
	if !found {
		// What an index holds that never was in a log goes there whole.
		if l.s.whole, err = c.Index.Used(ctx); err != nil {
			return nil, err
		}
	}
	if len(l.s.others) > 0 {
		l.accompanied()
	}
	return l, nil
}

func (l *Log) accompanied() {
	if l.c.Company != nil {
		l.company.Do(l.c.Company)
	}
}

// Unflushed counts the changes that hosts don't have yet, up to a thousand or so.
func (l *Log) Unflushed(ctx context.Context) (int, error) {
	list, err := l.c.Index.Changes(ctx, 0, 1<<20)
	return len(list), err
}

// Run flushes and merges until ctx ends. What fails is tried again, less and less
// often, up to once a minute.
func (l *Log) Run(ctx context.Context) {
	first := &task{what: "read the logs of the index", do: l.Catch}
	flush := &task{what: "write the log of the index", do: l.Flush}
	looks := []*task{
		{what: "read other devices' logs", do: l.Merge},
		{what: "spread the log of the index", do: l.Spread},
		{what: "put the pointer on the ledger", do: func(ctx context.Context) error { return l.post(ctx, l.c.Post) }},
	}
	l.try(ctx, first)
	often, seldom := time.NewTicker(l.c.Every), time.NewTicker(l.c.Look)
	defer often.Stop()
	defer seldom.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-often.C:
			l.try(ctx, flush)
		case <-seldom.C:
			for _, t := range looks {
				l.try(ctx, t)
			}
		}
	}
}

// A task is done again and again.
type task struct {
	what   string
	do     func(context.Context) error
	failed int       // times in a row
	next   time.Time // not before
}

func (l *Log) try(ctx context.Context, t *task) {
	if time.Now().Before(t.next) {
		return
	}
	err := t.do(ctx)
	switch {
	case err == nil:
		t.failed, t.next = 0, time.Time{}
		return
	case ctx.Err() != nil:
		return
	case t.failed == 0:
		l.c.Log.Warn(t.what, "err", err)
	default:
		l.c.Log.Debug(t.what, "failed", t.failed+1, "err", err)
	}
	t.next = time.Now().Add(min(l.c.Every<<min(t.failed, 10), time.Minute))
	t.failed++
}

// Leave writes what has changed, before the process ends, and tells the ledger
// where it hasn't been told for a while.
func (l *Log) Leave(ctx context.Context) error {
	return errors.Join(l.Flush(ctx), l.post(ctx, l.c.Post))
}
