package node

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"hearth/api"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
	"hearth/internal/durable"
)

// earnings is a host's own book of what the ledger has paid it: the ledger forgets
// leases some days after their end. A line is written when the ledger has proved a
// lease's record; what was paid while this node was off is found at its start, as
// one payment a lease.
type earnings struct {
	path string
	read func(context.Context, uint64) (lease.Lease, error) // proved
	log  *slog.Logger

	mu    sync.Mutex
	f     bookFile
	size  int64             // of whole lines
	last  map[uint64]earned // the newest line of each lease
	net   money.Amount      // of all lines, to this host
	cut   money.Amount      // of all lines, the commission
	looks map[uint64]bool   // leases that have been paid
	wake  chan struct{}
}

// bookFile is the open book; tests have a disk without room.
type bookFile interface {
	io.WriteCloser
	Sync() error
	Truncate(size int64) error
}

// earned is a line of the book. Out and Commission count from the lease's opening.
type earned struct {
	Time       int64        `json:"time"` // unix seconds
	Lease      uint64       `json:"lease"`
	Client     string       `json:"client"`
	Out        money.Amount `json:"out"`
	Commission money.Amount `json:"commission"`
	Gross      money.Amount `json:"gross"` // of this payment
	Cut        money.Amount `json:"cut"`   // of it, the commission
}

// earningsHead is the book's first line.
const earningsHead = `{"format":"hearth earnings","version":1}` + "\n"

// mostEarnings is how many lines one answer has.
const mostEarnings = 100_000

// openEarnings reads the book at path, or begins one. A last line that a crash has
// cut off is written again when the ledger is asked next.
func openEarnings(path string, read func(context.Context, uint64) (lease.Lease, error), log *slog.Logger) (*earnings, error) {
	e := &earnings{path: path, read: read, log: log, last: map[uint64]earned{}, looks: map[uint64]bool{}, wake: make(chan struct{}, 1)}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("open earnings: %w", err)
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := durable.Write(path, []byte(earningsHead), 0o600); err != nil {
			return nil, fmt.Errorf("begin earnings: %w", err)
		}
	}
	whole, err := e.each(func(l earned) error {
		e.last[l.Lease] = l
		e.add(l)
		return nil
	})
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open earnings: %w", err)
	}
	if err := f.Truncate(whole); err != nil {
		return nil, errors.Join(fmt.Errorf("open earnings: %w", err), f.Close())
	}
	e.f, e.size = f, whole
	return e, nil
}

// each calls fn with every line; whole is how long the book is without a torn end.
func (e *earnings) each(fn func(earned) error) (whole int64, err error) {
	f, err := os.Open(e.path)
	if err != nil {
		return 0, fmt.Errorf("read earnings: %w", err)
	}
	defer f.Close()
	r := bufio.NewReader(f)
	for n := 0; ; n++ {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return whole, nil
		}
		if err != nil {
			return whole, fmt.Errorf("read earnings: %w", err)
		}
		if n == 0 {
			if string(line) != earningsHead {
				return 0, fault.New(fault.UnknownFormat, "read %s: its first line is %.80q", e.path, line)
			}
			whole += int64(len(line))
			continue
		}
		var l earned
		if err := json.Unmarshal(line, &l); err != nil || l.Cut > l.Gross {
			return whole, fault.New(fault.DamagedFile, "read %s: line %d isn't a payment", e.path, n+1)
		}
		if err := fn(l); err != nil {
			return whole, err
		}
		whole += int64(len(line))
	}
}

// look has a lease looked at: the ledger may have paid something.
func (e *earnings) look(ids ...uint64) {
	e.mu.Lock()
	for _, id := range ids {
		e.looks[id] = true
	}
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// misses says whether the ledger has paid a lease more than the book shows.
func (e *earnings) misses(l lease.Lease) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return l.Out > e.last[l.ID].Out
}

// run writes down what is paid until ctx ends.
func (e *earnings) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.wake:
		}
		for e.lookOnce(ctx) != nil && ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(30 * time.Second):
			}
		}
	}
}

func (e *earnings) lookOnce(ctx context.Context) error {
	e.mu.Lock()
	ids := slices.Sorted(maps.Keys(e.looks))
	e.mu.Unlock()
	for _, id := range ids {
		l, err := e.read(ctx, id)
		if err != nil && fault.CodeOf(err) != fault.NoLease {
			e.log.Debug("read a lease that was paid", "lease", id, "err", err)
			return err
		}
		if err == nil {
			if err := e.take(l, time.Now()); err != nil {
				e.log.Warn("write earnings", "err", err)
				return err
			}
		}
		e.mu.Lock()
		delete(e.looks, id)
		e.mu.Unlock()
	}
	return nil
}

// take writes down what a proved record shows beyond the last line of its lease.
func (e *earnings) take(l lease.Lease, now time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	had := e.last[l.ID]
	if l.Out <= had.Out || l.Commission < had.Commission {
		return nil
	}
	line := earned{
		Time: now.Unix(), Lease: l.ID, Client: l.Client, Out: l.Out, Commission: l.Commission,
		Gross: l.Out - had.Out, Cut: l.Commission - had.Commission,
	}
	b, err := json.Marshal(line)
	if err != nil {
		return err
	}
	if err := e.append(append(b, '\n')); err != nil {
		return fmt.Errorf("write earnings: %w", err)
	}
	e.last[l.ID] = line
	e.add(line)
	return nil
}

// append writes a whole line. What a full disk took of one before goes first.
func (e *earnings) append(line []byte) error {
	if err := e.f.Truncate(e.size); err != nil {
		return err
	}
	if _, err := e.f.Write(line); err != nil {
		return errors.Join(err, e.f.Truncate(e.size))
	}
	if err := e.f.Sync(); err != nil {
		return err
	}
	e.size += int64(len(line))
	return nil
}

func (e *earnings) add(l earned) {
	e.net = money.AddCap(e.net, l.Gross-l.Cut)
	e.cut = money.AddCap(e.cut, l.Cut)
}

// total is all that was ever paid: what is written down, and what the ledger's
// leases show beyond it. net came to this host, cut is the commission.
func (e *earnings) total(leases []lease.Lease) (net, cut money.Amount) {
	e.mu.Lock()
	defer e.mu.Unlock()
	net, cut = e.net, e.cut
	for _, l := range leases {
		if had := e.last[l.ID]; l.Out > had.Out && l.Commission >= had.Commission && l.Out-had.Out >= l.Commission-had.Commission {
			net = money.AddCap(net, l.Out-had.Out-(l.Commission-had.Commission))
			cut = money.AddCap(cut, l.Commission-had.Commission)
		}
	}
	return net, cut
}

// since lists the payments from a time on.
func (e *earnings) since(from time.Time) (api.Earnings, error) {
	out := api.Earnings{Earnings: []api.Earning{}}
	var net money.Amount
	_, err := e.each(func(l earned) error {
		if l.Time < from.Unix() && !from.IsZero() {
			return nil
		}
		if len(out.Earnings) == mostEarnings {
			return fault.New(fault.TooLarge, "list earnings: more than %d payments; ask for a later --since", mostEarnings)
		}
		out.Earnings = append(out.Earnings, api.Earning{
			Time: time.Unix(l.Time, 0).UTC(), Lease: l.Lease, Client: l.Client,
			Gross: api.MoneyOf(l.Gross), Commission: api.MoneyOf(l.Cut), Net: api.MoneyOf(l.Gross - l.Cut),
		})
		net = money.AddCap(net, l.Gross-l.Cut)
		return nil
	})
	out.Net = api.MoneyOf(net)
	return out, err
}

func (e *earnings) close() error { return e.f.Close() }

// Earnings shows the book.
func (r hostRole) Earnings(_ context.Context, since time.Time) (api.Earnings, error) {
	return r.s.earnings.since(since)
}
