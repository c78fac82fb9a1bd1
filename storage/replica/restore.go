package replica

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"hearth/core/fault"
	"hearth/core/pointer"
	"hearth/storage/index"
)

// Found is what Restore has gone by.
type Found struct {
	Hosts    int // with a lease of the account
	Answered int
	Logs     []FoundLog
}

// A FoundLog is one device's log.
type FoundLog struct {
	Pointer pointer.Signed
	Bytes   int64 // that were read of it
	// Err is why it couldn't be read; another device's snapshot holds all of it.
	Err error
}

// Restore reads the logs of all of the account's devices into the index. It asks
// every host with a lease; at least half must answer. It takes the newest pointer
// of each device, and none that is older than the ledger's.
func (l *Log) Restore(ctx context.Context) (Found, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	places, err := l.c.Hosts.Leased(ctx)
	if err != nil {
		return Found{}, err
	}
	heard, why := l.ask(ctx, places)
	out := Found{Hosts: len(places), Answered: heard.answered}
	if 2*heard.answered < len(places) {
		return out, fault.New(fault.NotEnoughHosts, "restore the index: %d of %d hosts answer, half are needed: %w", heard.answered, len(places), why)
	}
	if err := l.notBelowLedger(ctx, heard); err != nil {
		return out, err
	}
	var failed []error
	heads := map[uint64]*head{}
	for _, device := range slices.Sorted(maps.Keys(heard.newest)) {
		found, h := l.restore(ctx, heard.first(places, heard.newest[device]), heard.newest[device])
		if found.Err != nil {
			failed = append(failed, found.Err)
		} else {
			heads[device] = h
		}
		out.Logs = append(out.Logs, found)
	}
	for _, f := range out.Logs {
		if f.Err != nil && !covered(heads, l.s.others[f.Pointer.Device].position, f.Pointer.Device) {
			return out, fmt.Errorf("restore the index: %w", errors.Join(failed...))
		}
	}
	l.s.whole = len(out.Logs) > 0
	return out, l.save()
}

// restore reads one device's log.
func (l *Log) restore(ctx context.Context, places []index.Place, p pointer.Signed) (FoundLog, *head) {
	p, h, err := l.head(ctx, places, p)
	if err != nil {
		return FoundLog{Pointer: p, Err: err}, nil
	}
	if p.Device == l.c.Device {
		l.s.pointer, l.s.head, l.s.sent, l.sealed = p, *h, false, nil
	} else {
		l.accompanied()
		l.s.others[p.Device] = known{p, h.end()}
	}
	return FoundLog{p, h.bytes(), l.apply(ctx, h, 0)}, h
}

// covered says whether some log's snapshot holds a device's log up to a position.
func covered(heads map[uint64]*head, position, device uint64) bool {
	for _, h := range heads {
		for _, c := range h.covers {
			if c.device == device && c.position >= position && position > 0 {
				return true
			}
		}
	}
	return false
}

// notBelowLedger refuses what hosts show if the ledger knows of newer pointers.
func (l *Log) notBelowLedger(ctx context.Context, heard *heard) error {
	list, err := l.c.Ledger.Pointers(ctx)
	if err != nil {
		return err
	}
	for _, p := range list {
		if p.Of(l.c.ChainID, l.c.Account, l.c.public()) != nil {
			continue // of somebody who had a mandate
		}
		if best := heard.newest[p.Device]; best.Seq < p.Seq {
			return fault.New(fault.PointerBehind, "restore the index: hosts show pointer %d of device %016x, the ledger knows of %d", best.Seq, p.Device, p.Seq)
		}
	}
	return nil
}
