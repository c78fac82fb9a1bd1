package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"

	"lukechampine.com/blake3"

	"hearth/core/fault"
	"hearth/core/pointer"
	"hearth/storage/index"
)

// few hosts are asked for news: with time they are all.
const few = 3

// Merge looks for other devices' news at a few hosts and takes them over.
func (l *Log) Merge(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	places, err := l.c.Hosts.Leased(ctx)
	if err != nil {
		return err
	}
	if l.behind {
		return l.catch(ctx, places)
	}
	asked := slices.Clone(places)
	rand.Shuffle(len(asked), func(i, j int) { asked[i], asked[j] = asked[j], asked[i] })
	heard, _ := l.ask(ctx, asked[:min(few, len(asked))])
	return l.mergeAll(ctx, places, heard)
}

// Meet is Flush, and then takes over what other devices have flushed before. Of two
// that meet at once one learns of the other's changes: more than half of the hosts have
// what each has flushed, and more than half are asked.
func (l *Log) Meet(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.flush(ctx, false); err != nil {
		return err
	}
	places, err := l.c.Hosts.Leased(ctx)
	if err != nil {
		return err
	}
	heard, _ := l.ask(ctx, places)
	if 2*heard.answered <= len(places) {
		return fault.New(fault.NotEnoughHosts, "meet the account's other devices: %d of %d hosts answer, more than half are needed", heard.answered, len(places))
	}
	return l.mergeAll(ctx, places, heard)
}

// Catch asks all hosts at the start of a process, also for this device's own log:
// a folder that was put back from a copy goes on where the log has come to since.
func (l *Log) Catch(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	places, err := l.c.Hosts.Leased(ctx)
	if err != nil {
		return err
	}
	return l.catch(ctx, places)
}

func (l *Log) catch(ctx context.Context, places []index.Place) error {
	heard, _ := l.ask(ctx, places)
	err := l.mergeAll(ctx, places, heard)
	own, there := heard.newest[l.c.Device]
	switch {
	case there && own.Seq >= l.s.pointer.Seq && own != l.s.pointer:
		if e := l.adopt(ctx, heard.first(places, own), own); e != nil {
			return errors.Join(err, e)
		}
	case l.behind && 2*heard.answered < len(places):
		return errors.Join(err, fault.New(fault.NotEnoughHosts, "look for the end of the log: %d of %d hosts answer, half are needed", heard.answered, len(places)))
	case there && own.Seq < l.s.pointer.Seq:
		l.s.sent = false
	}
	l.behind = false
	return err
}

// adopt goes on with this device's log as hosts have it. What is known here and
// not there comes along with a new snapshot.
func (l *Log) adopt(ctx context.Context, places []index.Place, p pointer.Signed) error {
	p, h, err := l.head(ctx, places, p)
	if err != nil {
		return err
	}
	l.c.Log.Warn("the log of this device was continued elsewhere, it is merged", "pointer", p.Seq, "known", l.s.pointer.Seq)
	if err := l.apply(ctx, h, 0); err != nil {
		return err
	}
	l.s.pointer, l.s.head, l.s.sent, l.s.whole, l.sealed = p, *h, false, true, nil
	return l.save()
}

// heard is what hosts have told.
type heard struct {
	answered int
	newest   map[uint64]pointer.Signed
	from     map[pointer.Signed][]index.Place
}

// first puts the hosts that have shown p before the others.
func (h *heard) first(places []index.Place, p pointer.Signed) []index.Place {
	out := slices.Clone(h.from[p])
	for _, at := range places {
		if !slices.Contains(out, at) {
			out = append(out, at)
		}
	}
	return out
}

// ask gathers the pointers that hosts have. What a host shows that isn't the
// account's counts as no answer.
func (l *Log) ask(ctx context.Context, places []index.Place) (*heard, error) {
	h := &heard{newest: map[uint64]pointer.Signed{}, from: map[pointer.Signed][]index.Place{}}
	var mu sync.Mutex
	var errs []error
	l.each(ctx, places, func(ctx context.Context, at index.Place) {
		list, err := l.c.Hosts.Pointers(ctx, at)
		mu.Lock()
		defer mu.Unlock()
		for _, p := range list {
			if err == nil {
				err = p.Of(l.c.ChainID, l.c.Account, l.c.public())
			}
		}
		if err != nil {
			errs = append(errs, err)
			l.c.Log.Debug("pointers not read", "host", at.Host, "err", err)
			return
		}
		h.answered++
		for _, p := range list {
			h.from[p] = append(h.from[p], at)
			if best, ok := h.newest[p.Device]; !ok || p.Seq > best.Seq || p.Seq == best.Seq && p.Time > best.Time {
				h.newest[p.Device] = p
			}
			if p.Device == l.c.Device {
				l.placed[at] = p.Seq
			}
		}
	})
	return h, errors.Join(errs...)
}

// mergeAll takes over what is new of other devices.
func (l *Log) mergeAll(ctx context.Context, places []index.Place, heard *heard) error {
	var errs []error
	for device, p := range heard.newest {
		if device == l.c.Device || p.Seq <= l.s.others[device].pointer.Seq {
			continue
		}
		l.accompanied()
		if err := l.merge(ctx, heard.first(places, p), p); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// merge takes over a device's log up to p or a newer pointer.
func (l *Log) merge(ctx context.Context, places []index.Place, p pointer.Signed) error {
	p, h, err := l.head(ctx, places, p)
	if err != nil {
		return err
	}
	had := l.s.others[p.Device].position
	if h.end() < had {
		return fault.New(fault.BadFrame, "merge log of device %016x: it ends at %d and went on to %d before", p.Device, h.end(), had)
	}
	if err := l.apply(ctx, h, had); err != nil {
		return err
	}
	l.s.others[p.Device] = known{p, h.end()}
	return l.save()
}

// head reads the head of p, or of a newer pointer of its device.
func (l *Log) head(ctx context.Context, places []index.Place, p pointer.Signed) (pointer.Signed, *head, error) {
	var errs []error
	for _, at := range places {
		got, sealed, err := l.headFrom(ctx, at, p)
		if err == nil {
			var h *head
			if h, err = openHead(l.c.Key, p.Device, sealed); err == nil {
				return got, h, nil
			}
		}
		if errs = append(errs, err); ctx.Err() != nil || fault.CodeOf(err) == fault.UnknownFormat {
			break
		}
	}
	if len(errs) == 0 {
		return p, nil, fault.New(fault.NotEnoughHosts, "read log of device %016x: no host has a lease of this account", p.Device)
	}
	return p, nil, fmt.Errorf("read log of device %016x: %w", p.Device, errs[0])
}

func (l *Log) headFrom(ctx context.Context, at index.Place, p pointer.Signed) (pointer.Signed, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, l.c.Wait)
	defer cancel()
	return l.c.Hosts.Head(ctx, at, p)
}

// apply merges what lies in a log behind a position.
func (l *Log) apply(ctx context.Context, h *head, position uint64) error {
	failed := func(err error) error { return fmt.Errorf("merge log of device %016x: %w", h.device, err) }
	if s := h.snapshot; s != nil && (s.to > position || position == 0) {
		err := l.read(ctx, s, func(r io.Reader) error { return l.c.Index.ApplySnapshot(ctx, r) })
		if err != nil {
			return failed(err)
		}
		position = s.to
	}
	for i := range h.segments {
		e := &h.segments[i]
		if e.to <= position {
			continue
		}
		err := l.read(ctx, e, func(r io.Reader) error {
			return readSegment(r, func(bodies [][]byte) error { return l.c.Index.Apply(ctx, h.device, bodies) })
		})
		if err != nil {
			return failed(err)
		}
		position = e.to
	}
	if h.end() <= position {
		return nil
	}
	if err := l.c.Index.Apply(ctx, h.device, h.tail[max(position, h.from)-h.from:]); err != nil {
		return failed(err)
	}
	return nil
}

// read gives an entry's bytes to f. Their roots stand in the sealed head, so each
// is right before f sees it; that none is missing is known at the end.
func (l *Log) read(ctx context.Context, e *entry, f func(io.Reader) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w := io.Pipe()
	sum := blake3.New(32, nil)
	var wg sync.WaitGroup
	wg.Go(func() { w.CloseWithError(l.c.Slabs.Read(ctx, e.slabs, io.MultiWriter(w, sum))) })
	err := f(r)
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	cancel()
	r.CloseWithError(errors.New("nobody reads on"))
	wg.Wait()
	if err == nil && pointer.Hash(sum.Sum(nil)) != e.sum {
		err = fault.New(fault.DamagedFile, "a stretch of the log doesn't match its hash")
	}
	return err
}
