package remote

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"syscall"
	"time"

	"hearth/core/fault"
)

// A Class is a way in which a host fails.
type Class int

// The classes. They differ in how long a host is left alone after them.
const (
	Fine        Class = iota
	Full              // it has no room; it can still be read from
	Busy              // it is at its limit of requests
	Unpaid            // the lease has no money, or the sides disagree about it
	Unreachable       // it doesn't answer, or not in time
	Lost              // it doesn't have, or can't read, what it should hold
	Garbage           // it sent bytes or steps that are wrong
	Refused           // it refused for another reason
	Own               // the trouble is this machine's: its disk is full
)

func (c Class) String() string {
	return [...]string{"fine", "full", "busy", "unpaid", "unreachable", "lost the shard", "sent garbage", "refused", "not asked"}[c]
}

// Classify finds the class of an error of a Host.
func Classify(err error) Class {
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, full) { // a host's words hold no error of the system
			return Own
		}
	}
	switch fault.CodeOf(err) {
	case "":
		return Fine
	case fault.HostFull, fault.DiskFull:
		return Full
	case fault.Busy, fault.Stale:
		return Busy
	case fault.Unpaid, fault.NoFunds, fault.LeaseLow:
		return Unpaid
	case fault.NotFound, fault.NoLease, fault.LeaseClosed:
		return Lost
	case fault.DamagedShard, fault.BadFrame, fault.BadStatement, fault.BadSignature, fault.TooLarge, fault.UnknownFormat:
		switch {
		case errors.As(err, new(refused)):
			return Lost // it says itself that it can't serve the shard
		case errors.As(err, new(disputed)):
			return Refused
		}
		return Garbage
	case fault.HostUnreachable:
		return Unreachable
	case fault.Internal:
		return Unreachable
	}
	return Refused
}

// back-off after the first failure of a class, doubled with each more up to the second.
var pauses = map[Class][2]time.Duration{
	Full:        {5 * time.Minute, time.Hour},
	Busy:        {500 * time.Millisecond, 30 * time.Second},
	Unpaid:      {10 * time.Second, 10 * time.Minute},
	Unreachable: {3 * time.Second, 10 * time.Minute},
	Garbage:     {time.Hour, 24 * time.Hour},
	Refused:     {10 * time.Second, 10 * time.Minute},
}

// A Book remembers how hosts behave. It is safe for concurrent use; it forgets
// with the process.
type Book struct {
	now func() time.Time

	mu    sync.Mutex
	hosts map[string]*entry
}

type entry struct {
	class Class
	inRow int // failures in a row
	until time.Time
	pace  time.Duration // of a MiB, moving average; 0: not known
}

// NewBook is an empty book; now is nil for the time of day.
func NewBook(now func() time.Time) *Book {
	if now == nil {
		now = time.Now
	}
	return &Book{now: now, hosts: make(map[string]*entry)}
}

func (b *Book) entry(host string) *entry {
	e := b.hosts[host]
	if e == nil {
		e = &entry{}
		b.hosts[host] = e
	}
	return e
}

// Failed notes a failure. A request that was given up by the caller is none.
func (b *Book) Failed(host string, err error) {
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	c := Classify(err)
	pause, ok := pauses[c]
	if !ok {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entry(host)
	if b.now().Before(e.until) && e.class == c {
		return // requests that were under way together are one failure
	}
	if e.class != c {
		e.inRow = 0
	}
	e.class = c
	e.until = b.now().Add(min(pause[0]<<min(e.inRow, 20), pause[1]))
	e.inRow++
}

// Slow notes that a host was given up for being slower than others.
func (b *Book) Slow(host string, took time.Duration, bytes int64) { b.pace(host, took, bytes) }

// Worked notes a success: so many bytes in this time.
func (b *Book) Worked(host string, took time.Duration, bytes int64) {
	b.pace(host, took, bytes)
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.entry(host); e.class != Garbage && e.class != Full { // one good answer doesn't excuse those
		e.class, e.inRow, e.until = Fine, 0, time.Time{}
	}
}

func (b *Book) pace(host string, took time.Duration, bytes int64) {
	if bytes <= 0 {
		return
	}
	pace := time.Duration(float64(took) * (1 << 20) / float64(max(bytes, 64<<10)))
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entry(host)
	if e.pace == 0 {
		e.pace = pace
		return
	}
	e.pace += (pace - e.pace) / 4
}

// Avoid says whether nothing new should be put at the host now.
func (b *Book) Avoid(host string) (Class, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.hosts[host]
	if e == nil || !b.now().Before(e.until) {
		return Fine, false
	}
	return e.class, true
}

// rank orders hosts for reading: those that failed lately last, a full one is as
// good as any.
func (b *Book) rank(host string) (failing int, pace time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.hosts[host]
	if e == nil {
		return 0, 0
	}
	if b.now().Before(e.until) && e.class != Full {
		failing = int(e.class)
	}
	return failing, e.pace
}

// Quick says that the host isn't failing, and isn't slower than four times typical.
func (b *Book) Quick(host string, typical time.Duration) bool {
	failing, pace := b.rank(host)
	return failing == 0 && (typical == 0 || pace <= 4*typical)
}

// Pace is the moving average time of a MiB; 0 when it isn't known.
func (b *Book) Pace(host string) time.Duration {
	_, pace := b.rank(host)
	return pace
}

// Sort orders names for reading, best first, keeping the order of equals.
func Sort[T any](b *Book, list []T, host func(T) string) {
	slices.SortStableFunc(list, func(x, y T) int {
		fx, px := b.rank(host(x))
		fy, py := b.rank(host(y))
		return cmp.Or(cmp.Compare(fx, fy), cmp.Compare(px, py))
	})
}

// Avoided lists the hosts at which nothing new should be put now, for longer
// than a short breath.
func (b *Book) Avoided() map[string]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make(map[string]bool)
	for host, e := range b.hosts {
		if b.now().Before(e.until) && e.class != Busy {
			out[host] = true
		}
	}
	return out
}
