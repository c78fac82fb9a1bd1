// Package client is the storage street seen from the one who stores: objects go
// in and come out by name. It puts the parts together: the index says what there
// is, the market finds hosts and pays them, upload and download move the bytes;
// and it finishes in the background what an upload, a removal or a lost shard has
// left to do, also after a restart. It refuses an object that fewer hosts hold
// than its code needs to lose some, and then lists nothing.
package client

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/storage/download"
	"hearth/storage/index"
	"hearth/storage/journal"
	"hearth/storage/remote"
	"hearth/storage/seal"
)

// A Need says for what hosts are wanted.
type Need struct {
	Class  erasure.Class
	Want   int             // hosts, none of which shares an owner or a network with another or with Used
	Least  int             // so many will do
	Spares int             // more to fall back on, under the same rules
	Shard  int64           // bytes of one shard
	Bytes  uint64          // what each will take in all, as far as is known
	Used   []string        // hosts that hold a shard of the slab
	Avoid  map[string]bool // hosts that fail at present
}

// A Market finds hosts and keeps the bargains with them.
type Market interface {
	// Hosts gives bargains that can carry the need, best first, the spares last;
	// fault.NotEnoughHosts when there are fewer than Least.
	Hosts(ctx context.Context, n Need) ([]remote.Pair, error)
	// Lease gives the bargain of a lease; fault.NoLease or fault.LeaseClosed when
	// nothing is kept under it any more.
	Lease(ctx context.Context, id uint64) (remote.Pair, error)
}

// A Config is what a Client needs. A zero field takes its stated default.
type Config struct {
	Index  *index.Index  // required; the client doesn't close it
	Market Market        // required
	Dialer remote.Dialer // required

	Class   erasure.Class // of new objects; default erasure.DefaultClass
	Readers Readers       // for links that others have shared; without it none can be opened

	// Journal keeps small objects until they are packed. Without it those of the
	// default class are packed all the same, if Small is set, and every put waits.
	Journal *journal.Journal
	Small   int64         // default Small with a journal, else 0: objects aren't packed
	Quiet   time.Duration // without a small object more, after which those there are packed; default 2s
	Longest time.Duration // that a small object stays in the journal while hosts can be had; default 10s

	Buffers int // slabs in memory, for each class in use; default 4
	// Full is the size from which on an object goes into slabs as large as its class
	// has them; smaller ones go into half as large, which take half the memory.
	// Default 0: all.
	Full    int64
	Workers int // goroutines that seal or open one slab; default: one for each processor

	Patience time.Duration // with failing hosts during a put; default 30s
	Slow     time.Duration // before a shard on its way to a host may count as slow; default 2s
	Retry    time.Duration // pause before a failed host is tried again; default 1s
	Pause    time.Duration // without a byte or an answer, after which a host counts as unreachable; default 20s
	Stall    time.Duration // of a host that is read from, before another is asked; default 500ms
	Every    time.Duration // between looks for work left to do; default 30s
	Survey   time.Duration // between looks for slabs full of holes; default 1h

	Now func() time.Time // default time.Now
	Log *slog.Logger     // default: discard
}

func (c *Config) complete() error {
	if c.Index == nil || c.Market == nil || c.Dialer == nil {
		return errors.New("storage client: Index, Market and Dialer are needed")
	}
	if c.Class == (erasure.Class{}) {
		c.Class = erasure.DefaultClass
	}
	if err := c.Class.Validate(); err != nil {
		return err
	}
	if c.Buffers == 0 {
		c.Buffers = 4
	}
	if c.Patience == 0 {
		c.Patience = 30 * time.Second
	}
	if c.Every == 0 {
		c.Every = 30 * time.Second
	}
	if c.Small == 0 && c.Journal != nil {
		c.Small = Small
	}
	if c.Small < 0 || c.Small > min(c.Class.SlabSize(), journal.MaxBody) {
		return fault.New(fault.BadRequest, "storage client: small objects of %d bytes don't fit", c.Small)
	}
	c.Survey = cmp.Or(c.Survey, time.Hour)
	c.Quiet = cmp.Or(c.Quiet, 2*time.Second)
	c.Longest = cmp.Or(c.Longest, 10*time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// A Client stores and reads objects. It is safe for concurrent use.
type Client struct {
	c      Config
	book   *remote.Book
	reader *download.Reader
	kick   chan struct{} // there is work to do
	losses chan loss
	packer *packer // nil: objects aren't packed

	mu     sync.Mutex
	pools  map[erasure.Class]*seal.Pool
	hosts  map[uint64]*remote.Host          // by lease
	told   map[told]bool                    // hosts that know of a revoked link
	lostBy map[index.SlabID]map[string]bool // hosts that lost a shard of a slab that isn't whole again
	shun   map[string]bool                  // hosts that were left
}

// A loss is a shard that its host can't give back.
type loss struct {
	slab  index.SlabID
	shard int
	at    index.Place
	why   error
}

// New makes a client and ends what an earlier process left half done: nothing of
// it is listed, and its space at hosts is freed in the background (Run).
func New(ctx context.Context, c Config) (*Client, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	x := &Client{
		c: c, book: remote.NewBook(c.Now), kick: make(chan struct{}, 1), losses: make(chan loss, 256),
		pools: make(map[erasure.Class]*seal.Pool), hosts: make(map[uint64]*remote.Host),
		told:   make(map[told]bool),
		lostBy: make(map[index.SlabID]map[string]bool),
	}
	var err error
	x.reader, err = download.New(download.Config{
		Resolve: x.resolve, Pool: x.pool, Book: x.book, Workers: c.Workers, Stall: c.Stall, Lost: x.lost, Log: c.Log,
	})
	if err != nil {
		return nil, err
	}
	n, err := c.Index.Reclaim(ctx)
	if err != nil {
		return nil, err
	}
	if n > 0 {
		c.Log.Info("unfinished uploads given up", "uploads", n)
	}
	if c.Small > 0 {
		x.packer = startPacker(x)
		if err := x.resume(ctx); err != nil {
			x.packer.stop()
			return nil, err
		}
	}
	x.wake()
	return x, nil
}

// Index is the list of files behind the client, for what touches no host.
func (x *Client) Index() *index.Index { return x.c.Index }

// Close ends the packing of small objects and the streams to hosts that nobody
// uses. What is in the journal stays there; Flush comes before.
func (x *Client) Close() {
	if x.packer != nil {
		x.packer.stop()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, h := range x.hosts {
		h.Close()
	}
	clear(x.hosts)
}

// pool lends buffers of a class.
func (x *Client) pool(c erasure.Class) (*seal.Pool, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	p := x.pools[c]
	if p == nil {
		var err error
		if p, err = seal.NewPool(c, x.c.Buffers); err != nil {
			return nil, err
		}
		x.pools[c] = p
	}
	return p, nil
}

// rest gives memory back that nobody needs at present.
func (x *Client) rest() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, p := range x.pools {
		p.Rest()
	}
}

// host is the one Host of a bargain.
func (x *Client) host(p remote.Pair) (*remote.Host, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if h := x.hosts[p.Lease()]; h != nil {
		return h, nil
	}
	h, err := remote.New(remote.Config{Pair: p, Dialer: x.c.Dialer, Pause: x.c.Pause, Log: x.c.Log})
	if err == nil {
		x.hosts[p.Lease()] = h
	}
	return h, err
}

// at finds the host of a place.
func (x *Client) at(ctx context.Context, p index.Place) (*remote.Host, error) {
	x.mu.Lock()
	h := x.hosts[p.Lease]
	x.mu.Unlock()
	if h != nil {
		return h, nil
	}
	pair, err := x.c.Market.Lease(ctx, p.Lease)
	if err != nil {
		return nil, err
	}
	if pair.Host() != p.Host {
		return nil, fault.New(fault.NoLease, "lease %d is with %s, not with %s", p.Lease, pair.Host(), p.Host)
	}
	return x.host(pair)
}

func (x *Client) resolve(ctx context.Context, p index.Place) (download.Host, error) {
	return x.at(ctx, p)
}

// forget drops what is known of a lease that has ended.
func (x *Client) forget(lease uint64) {
	x.mu.Lock()
	h := x.hosts[lease]
	delete(x.hosts, lease)
	x.mu.Unlock()
	if h != nil {
		h.Close()
	}
}

// wake has Run look for work now.
func (x *Client) wake() {
	select {
	case x.kick <- struct{}{}:
	default:
	}
}

// lost takes note of a shard to be made anew. When there are more than can be
// noted, later reads find them again.
func (x *Client) lost(slab index.SlabID, shard int, at index.Place, why error) {
	select {
	case x.losses <- loss{slab, shard, at, why}:
		x.wake()
	default:
	}
}
