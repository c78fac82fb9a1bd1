package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"lukechampine.com/blake3"

	"hearth/core/canon"
	"hearth/core/fault"
	"hearth/core/pointer"
	"hearth/storage/index"
)

const (
	atOnce    = 16        // hosts that are spoken to
	drainSize = 4 << 20   // bytes of changes read at a time
	leastLog  = 256 << 10 // bytes of segments before a small snapshot is made anew
)

// Flush brings this device's changes into its log. When it returns without an
// error more than half of the hosts have a pointer to them.
func (l *Log) Flush(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flush(ctx, false)
}

func (l *Log) flush(ctx context.Context, force bool) error {
	if l.behind { // a number beyond the newest would be taken, and what that one leads to forgotten
		places, err := l.c.Hosts.Leased(ctx)
		if err != nil {
			return err
		}
		if err := l.catch(ctx, places); l.behind {
			return err
		} else if err != nil {
			l.c.Log.Debug("another device's log isn't read", "err", err)
		}
	}
	bodies, last, err := l.drain(ctx)
	if err != nil {
		return err
	}
	unsent := l.s.pointer.Seq > 0 && !l.s.sent
	if len(bodies) == 0 && !unsent && !l.s.whole && !force {
		return nil
	}
	places, err := l.c.Hosts.Leased(ctx)
	if err != nil {
		return err
	}
	next := l.s.head
	next.segments, next.tail = slices.Clone(next.segments), append(slices.Clone(next.tail), bodies...)
	if err := l.arrange(ctx, &next, len(places) == 0); err != nil {
		return err
	}
	if len(places) == 0 { // what was stored right now has opened some
		if places, err = l.c.Hosts.Leased(ctx); err != nil {
			return err
		}
	}
	l.refresh(ctx, &next)
	p, sealed, err := l.sign(&next)
	if err != nil {
		return err
	}
	// Durable before anybody sees it: the same number never names two heads.
	l.s.pointer, l.s.head, l.s.sent, l.s.whole = p, next, false, false
	l.last = last
	if err := l.save(); err != nil {
		return err
	}
	if err := l.put(ctx, places, p, sealed); err != nil {
		return err
	}
	l.s.sent, l.sealed = true, sealed
	if err := l.save(); err != nil {
		return err
	}
	if l.last > 0 {
		if err := l.c.Index.Flushed(ctx, l.last); err != nil {
			return err
		}
	}
	return l.tidy(ctx)
}

// drain reads what isn't in the log yet.
func (l *Log) drain(ctx context.Context) (bodies [][]byte, last int64, err error) {
	for last = l.last; ; {
		list, err := l.c.Index.Changes(ctx, last, drainSize)
		if err != nil {
			return nil, 0, err
		}
		if len(list) == 0 {
			return bodies, last, nil
		}
		for _, c := range list {
			bodies, last = append(bodies, c.Body), c.Seq
		}
	}
}

// arrange puts what doesn't fit into the head into a segment, or all of the index
// into a new snapshot. must: the log needs hosts, so something has to go there.
func (l *Log) arrange(ctx context.Context, next *head, must bool) error {
	var logged int64
	for _, s := range next.segments {
		logged += s.size
	}
	large := slices.ContainsFunc(next.tail, func(b []byte) bool { return len(b) > canon.MaxBytes })
	full := large || next.tailBytes() > maxTail || must && len(next.tail) > 0
	most := int64(leastLog)
	if next.snapshot != nil {
		most = max(most, next.snapshot.size/3)
	}
	bare := *next
	bare.tail = nil
	fixed, err := bare.encode()
	if l.s.whole || err != nil || len(fixed) > maxFixed || full && (len(next.segments) >= maxSegments || logged > most) {
		return l.snapshot(ctx, next)
	}
	if !full {
		return nil
	}
	e := entry{from: next.from, to: next.end(), made: l.s.pointer.Seq + 1}
	tail := next.tail
	if err := l.keep(ctx, &e, l.name("segment", e.made), func(w io.Writer) error { return writeSegment(w, tail) }); err != nil {
		return err
	}
	next.segments = append(next.segments, e)
	next.from, next.tail = e.to, nil
	return nil
}

// snapshot puts the whole index in the place of everything in the log.
func (l *Log) snapshot(ctx context.Context, next *head) error {
	e := entry{to: next.end(), made: l.s.pointer.Seq + 1}
	err := l.keep(ctx, &e, l.name("snapshot", e.made), func(w io.Writer) error {
		_, err := l.c.Index.Snapshot(ctx, w)
		return err
	})
	if err != nil {
		return err
	}
	next.snapshot, next.segments, next.from, next.tail, next.covers = &e, nil, e.to, nil, nil
	for _, device := range sorted(l.s.others) {
		next.covers = append(next.covers, mark{device, l.s.others[device].position})
	}
	return nil
}

func (l *Log) name(what string, made uint64) string {
	return fmt.Sprintf("%016x/%s-%d", l.c.Device, what, made)
}

// keep stores what write writes, and fills in the entry.
func (l *Log) keep(ctx context.Context, e *entry, name string, write func(io.Writer) error) (err error) {
	r, w := io.Pipe()
	sum := blake3.New(32, nil)
	n := &count{}
	var wg sync.WaitGroup
	wg.Go(func() { w.CloseWithError(write(io.MultiWriter(w, sum, n))) })
	e.slabs, err = l.c.Slabs.Keep(ctx, name, r)
	r.CloseWithError(errors.New("nobody reads on"))
	wg.Wait()
	if err != nil {
		return fmt.Errorf("keep %s of the index: %w", name, err)
	}
	e.size = n.n
	copy(e.sum[:], sum.Sum(nil))
	return nil
}

type count struct{ n int64 }

func (c *count) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// refresh takes over where the log's slabs lie since a repair.
func (l *Log) refresh(ctx context.Context, h *head) (moved bool) {
	for _, e := range h.entries() {
		for i := range e.slabs {
			now, err := l.c.Slabs.Placed(ctx, e.slabs[i].ID)
			if err != nil || len(now.At) != len(e.slabs[i].At) || slices.Equal(now.At, e.slabs[i].At) {
				continue
			}
			e.slabs = slices.Clone(e.slabs)
			e.slabs[i].At, moved = slices.Clone(now.At), true
		}
	}
	return moved
}

// sign makes the next pointer, to a head.
func (l *Log) sign(h *head) (p pointer.Signed, sealed []byte, err error) {
	plain, err := h.encode()
	if err != nil {
		return p, nil, err
	}
	if sealed, err = closeHead(l.c.Key, l.c.Device, plain); err != nil {
		return p, nil, err
	}
	next := pointer.Pointer{
		ChainID: l.c.ChainID, Account: l.c.Account, Device: l.c.Device, Seq: l.s.pointer.Seq + 1,
		LogRoot: blake3.Sum256(sealed), Time: l.c.Now().Unix(),
	}
	if l.s.pointer.Seq > 0 {
		next.Prev = l.s.pointer.ID()
	}
	if h.snapshot != nil {
		next.Snapshot = h.snapshot.sum
	}
	return next.Sign(l.c.Signer), sealed, nil
}

// put brings a pointer and its head to hosts. More than half of them must take it.
func (l *Log) put(ctx context.Context, places []index.Place, p pointer.Signed, sealed []byte) error {
	if len(places) == 0 {
		return fault.New(fault.NotEnoughHosts, "put pointer: no host has a lease of this account")
	}
	var mu sync.Mutex
	var behind error
	n := 0
	l.each(ctx, places, func(ctx context.Context, at index.Place) {
		err := l.c.Hosts.Put(ctx, at, p, sealed)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			n++
			l.placed[at] = p.Seq
		case fault.CodeOf(err) == fault.Stale:
			behind = err
		default:
			l.c.Log.Debug("pointer not placed", "host", at.Host, "err", err)
		}
	})
	// Another who goes on with this log may have as many hosts, but not more than
	// half of them too; so what more than half have taken counts, whatever one says.
	l.behind = behind != nil // then the next Flush or Merge looks what there is
	switch {
	case 2*n > len(places):
		return nil
	case behind != nil:
		return fmt.Errorf("put pointer: the log was continued by another: %w", behind)
	}
	return fault.New(fault.NotEnoughHosts, "put pointer: %d of %d hosts took it, more than half are needed", n, len(places))
}

// each speaks to several hosts at once.
func (l *Log) each(ctx context.Context, places []index.Place, f func(ctx context.Context, at index.Place)) {
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for _, at := range places {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, l.c.Wait)
			defer cancel()
			f(ctx, at)
		})
	}
	wg.Wait()
}

// Spread brings the pointer to hosts that lack it, and a new one where the log's
// own slabs have moved.
func (l *Log) Spread(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.s.pointer.Seq == 0 || !l.s.sent {
		return nil
	}
	if h := l.s.head; l.refresh(ctx, &h) {
		return l.flush(ctx, true)
	}
	places, err := l.c.Hosts.Leased(ctx)
	if err != nil {
		return err
	}
	var missing []index.Place
	for _, at := range places {
		if l.placed[at] != l.s.pointer.Seq {
			missing = append(missing, at)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if l.sealed == nil { // sealed by an earlier process
		return l.flush(ctx, true)
	}
	if err := l.put(ctx, missing, l.s.pointer, l.sealed); fault.CodeOf(err) != fault.NotEnoughHosts {
		return err
	}
	return nil
}

// tidy removes what is kept and no longer part of the log.
func (l *Log) tidy(ctx context.Context) error {
	inUse := map[string]bool{}
	for _, e := range l.s.head.segments {
		inUse[l.name("segment", e.made)] = true
	}
	if s := l.s.head.snapshot; s != nil {
		inUse[l.name("snapshot", s.made)] = true
	}
	if len(inUse) == l.kept && l.tidied {
		return nil
	}
	names, err := l.c.Slabs.Names(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !inUse[name] {
			if err := l.c.Slabs.Drop(ctx, name); err != nil && fault.CodeOf(err) != fault.NotFound {
				return err
			}
		}
	}
	l.tidied, l.kept = true, len(inUse)
	return nil
}

// post tells the ledger where the log ends, if it wasn't told for so long.
func (l *Log) post(ctx context.Context, every time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.c.Now().Unix()
	if !l.s.sent || l.s.posted == l.s.pointer.Seq || l.s.when > 0 && now-l.s.when < int64(every.Seconds()) {
		return nil
	}
	if err := l.c.Ledger.SetPointer(ctx, l.s.pointer); err != nil {
		return err
	}
	l.s.posted, l.s.when = l.s.pointer.Seq, now
	return l.save()
}
