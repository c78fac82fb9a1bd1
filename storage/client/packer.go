package client

import (
	"context"
	"errors"
	"sync"
	"time"

	"hearth/core/fault"
	"hearth/storage/index"
	"hearth/storage/journal"
)

// Small is the size up to which objects are packed: the length of four blocks.
// Each slab costs about 2.3 KiB in the index (at 10 of 20), up to 64 bytes of
// padding in a shard, and a signature with every host, whatever is in it; so
// what is alone in one should be well above 25 KiB, and what is read alone from
// one should be found at one host or two: a shard of a full slab has 4 MiB.
const Small = 1 << 20

const (
	gather    = 10 * time.Millisecond // what others wait for, so that more may join
	manyKept  = 16384                 // records packed at once
	pauseMost = 5 * time.Minute
)

// A packer brings small objects to hosts, many in a slab. What is in the journal
// is acknowledged; it goes when a slab is full, when no more came for a while,
// or when the oldest has waited long enough. Whoever waits has it go at once.
type packer struct {
	x    *Client
	kick chan struct{}
	end  context.CancelFunc
	done chan struct{}

	mu          sync.Mutex
	stopped     bool
	waiting     []*piece
	kept        int64 // bytes in the journal, about
	first, last time.Time
	pressed     bool          // everything is to go now
	tries       int           // in vain
	until       time.Time     // not before, after failures
	rounds      int           // begun
	failed      error         // of the newest that ended
	turn        chan struct{} // closed after each
}

func startPacker(x *Client) *packer {
	ctx, end := context.WithCancel(context.Background())
	k := &packer{x: x, kick: make(chan struct{}, 1), end: end, done: make(chan struct{}), turn: make(chan struct{})}
	go k.run(ctx)
	return k
}

func (k *packer) stop() {
	k.mu.Lock()
	k.stopped = true
	waiting := k.waiting
	k.waiting = nil
	k.mu.Unlock()
	k.end()
	<-k.done
	for _, p := range waiting {
		p.failWith(errStopped)
	}
}

func (k *packer) wake() {
	select {
	case k.kick <- struct{}{}:
	default:
	}
}

// join adds a piece that somebody waits for.
func (k *packer) join(p *piece) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopped {
		return errStopped
	}
	k.waiting = append(k.waiting, p)
	k.wake()
	return nil
}

// note counts bytes that came into the journal.
func (k *packer) note(n int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last = k.x.c.Now()
	if k.kept == 0 {
		k.first = k.last
		k.wake()
	}
	if before := k.kept; before < k.slab() && before+n >= k.slab() {
		k.wake()
	}
	k.kept += n
}

func (k *packer) slab() int64 { return k.x.c.Class.SlabSize() }

func (k *packer) run(ctx context.Context) {
	defer close(k.done)
	for ctx.Err() == nil {
		wait := k.due()
		if wait <= 0 {
			if wait = 0; k.gatherFirst() {
				wait = gather
			}
			if sleep(ctx, wait) {
				k.once(ctx)
			}
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-k.kick:
		}
		timer.Stop()
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	if d > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(d):
		}
	}
	return ctx.Err() == nil
}

func (k *packer) gatherFirst() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.waiting) > 0 && !k.pressed
}

// due is how long there is nothing to do; not more than an hour.
func (k *packer) due() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.x.c.Now()
	switch {
	case len(k.waiting) > 0, k.pressed:
		return 0
	case k.kept == 0:
		return time.Hour
	case now.Before(k.until):
		return k.until.Sub(now)
	case k.kept >= k.slab():
		return 0
	}
	quiet, longest := k.last.Add(k.x.c.Quiet).Sub(now), k.first.Add(k.x.c.Longest).Sub(now)
	return min(quiet, longest)
}

// once packs what there is, a slab or two of it.
func (k *packer) once(ctx context.Context) {
	k.mu.Lock()
	waiting, kept, first, pressed := k.waiting, k.kept, k.first, k.pressed
	k.waiting, k.kept = nil, 0
	k.rounds++
	k.mu.Unlock()
	left, err := k.round(ctx, waiting)
	if ctx.Err() != nil {
		err = errStopped
	}
	if err != nil {
		for _, p := range waiting {
			p.failWith(err)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		left = max(left, kept)
	}
	if left > 0 {
		if k.kept == 0 {
			k.last = first
		}
		k.kept, k.first = k.kept+left, first
	}
	k.failed = err
	if err == nil {
		k.tries, k.until = 0, time.Time{}
	} else if ctx.Err() == nil {
		k.until = k.x.c.Now().Add(min(5*time.Second<<min(k.tries, 10), pauseMost))
		k.tries++
		k.pressed = k.pressed && !pressed
		k.x.c.Log.Warn("small objects stay in the journal for now", "bytes", k.kept, "again", k.until, "err", err)
	}
	if k.kept == 0 && len(k.waiting) == 0 {
		k.pressed = false
	}
	close(k.turn)
	k.turn = make(chan struct{})
}

// round packs waiting pieces and what is in the journal, in whole slabs where
// there is more than one; left is what it knows to remain in the journal.
func (k *packer) round(ctx context.Context, waiting []*piece) (left int64, err error) {
	x := k.x
	var list []*piece
	var size int64
	for _, p := range waiting {
		if p.state.Load() == open {
			list, size = append(list, p), size+p.size
		}
	}
	most := 2 * k.slab()
	var kept []index.Kept
	if x.c.Journal != nil && size < most {
		if kept, err = x.c.Index.Journaled(ctx, manyKept, most-size); err != nil {
			return 0, err
		}
	}
	bytes := size
	for _, r := range kept {
		bytes += r.Length
	}
	if bytes < most && bytes > k.slab() && size <= k.slab() {
		most = k.slab()
	}
	for i, r := range kept {
		if size+r.Length > most {
			for _, r := range kept[i:] {
				left += r.Length
			}
			break
		}
		list, size = append(list, x.recorded(r)), size+r.Length
	}
	if len(kept) == manyKept {
		left = max(left, 1)
	}
	if len(list) > 0 {
		if _, err := x.pack(ctx, list); err != nil {
			return left, err
		}
	}
	if x.c.Journal == nil {
		return left, nil
	}
	if err := x.c.Journal.Free(ctx, x.c.Index.JournalUse); err != nil {
		x.c.Log.Warn("journal not freed", "err", err)
	}
	return left, nil
}

// recorded is the piece of a record.
func (x *Client) recorded(r index.Kept) *piece {
	return &piece{size: r.Length, move: index.Move{Kept: r}, load: func(context.Context) ([]byte, error) {
		b, err := x.c.Journal.Read(journal.Place(r))
		if err != nil {
			x.c.Log.Error("an object in the journal can't be read", "segment", r.Segment, "offset", r.Offset, "err", err)
		}
		return b, err
	}}
}

// Flush brings everything that is in the journal to hosts, and returns when it
// is there, when that fails, or when ctx ends; what isn't stays in the journal.
func (x *Client) Flush(ctx context.Context) error {
	k := x.packer
	if k == nil {
		return nil
	}
	rounds := 0
	for first := true; ; first = false {
		k.mu.Lock()
		turn, failed := k.turn, k.failed
		if first {
			rounds = k.rounds
		}
		if k.rounds == rounds {
			failed = nil // it began before
		}
		idle := k.kept == 0 && len(k.waiting) == 0 && !k.pressed
		if first {
			k.pressed = true
			k.wake()
		}
		stopped := k.stopped
		k.mu.Unlock()
		switch {
		case stopped:
			return errStopped
		case first:
		case failed != nil:
			return failed
		case idle:
			return nil
		}
		select {
		case <-turn:
		case <-ctx.Done():
			return fault.New(fault.Interrupted, "flush small objects: %w", context.Cause(ctx))
		}
	}
}

// keep puts a small object into the journal and lists it. full says that there
// was no room.
func (x *Client) keep(ctx context.Context, d index.Draft, body []byte) (res Result, full bool, err error) {
	at, err := x.c.Journal.Append(body)
	if errors.Is(err, journal.ErrFull) {
		return Result{}, true, nil
	}
	if err != nil {
		return Result{}, false, err
	}
	defer x.c.Journal.Settle(at)
	d.Manifest.Journal = index.Kept(at)
	obj, err := x.c.Index.Commit(ctx, 0, d)
	if err != nil {
		return Result{}, false, err
	}
	x.packer.note(at.Length)
	return Result{Object: obj, Pending: x.c.Class.N}, false, nil
}

// resume takes up what an earlier process has left in the journal.
func (x *Client) resume(ctx context.Context) error {
	if x.c.Journal == nil {
		return nil
	}
	list, err := x.c.Index.Journaled(ctx, manyKept, 2*x.c.Class.SlabSize())
	if err != nil {
		return err
	}
	var n int64
	for _, r := range list {
		n += r.Length
	}
	if n > 0 {
		x.c.Log.Info("small objects found in the journal", "objects", len(list))
		x.packer.note(n)
	}
	if err := x.c.Journal.Free(ctx, x.c.Index.JournalUse); err != nil {
		x.c.Log.Warn("journal not freed", "err", err)
	}
	return nil
}
