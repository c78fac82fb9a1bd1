package index

import (
	"context"
	"fmt"

	"hearth/core/fault"
)

// A Change is an entry of this device's log, for other devices to Apply. Its
// bytes are described in docs/formats/index-log.md.
type Change struct {
	Seq  int64 // from 1 on, without gaps
	Body []byte
}

// Changes lists this device's changes behind one, oldest first: about limitBytes
// of them, and at least one if there is any.
func (x *Index) Changes(ctx context.Context, after int64, limitBytes int) (out []Change, err error) {
	err = x.view(ctx, func(t *tx) error {
		rows, err := t.query(`SELECT seq, body, sum FROM changes WHERE seq > ? ORDER BY seq`, after)
		if err != nil {
			return err
		}
		defer rows.Close()
		for size := 0; rows.Next(); {
			var c Change
			var sum []byte
			if err := rows.Scan(&c.Seq, &c.Body, &sum); err != nil {
				return err
			}
			if err := verify(sum, "changes", c.Seq, c.Body); err != nil {
				return err
			}
			if size += len(c.Body); len(out) > 0 && size > limitBytes {
				return nil
			}
			out = append(out, c)
		}
		return rows.Err()
	})
	return out, failed("list changes", err)
}

// Flushed forgets changes up to one: they are in the network.
func (x *Index) Flushed(ctx context.Context, upTo int64) error {
	err := x.w.do(ctx, func(t *tx) error {
		if upTo > x.seq {
			return fault.New(fault.BadRequest, "there is no change %d", upTo)
		}
		if err := t.exec(`UPDATE meta SET value = max(value, ?) WHERE name = 'flushed'`, upTo); err != nil {
			return err
		}
		return t.exec(`DELETE FROM changes WHERE seq <= ?`, upTo)
	})
	return failed("forget changes", err)
}

// Apply merges changes from the log of another device, all or none. They may have
// been applied before, and those of several devices may come in any order. A log
// may repeat what a third device wrote.
func (x *Index) Apply(ctx context.Context, device uint64, bodies [][]byte) error {
	list, err := decodeChanges(bodies)
	if err == nil {
		err = x.apply(ctx, list)
	}
	if err != nil {
		return fmt.Errorf("changes of device %016x: %w", device, err)
	}
	return nil
}

func decodeChanges(bodies [][]byte) ([]change, error) {
	list := make([]change, len(bodies))
	for i, b := range bodies {
		var err error
		if list[i], err = decodeChange(b); err != nil {
			return nil, failed("read changes", err)
		}
	}
	return list, nil
}

func (x *Index) apply(ctx context.Context, list []change) error {
	err := x.w.do(ctx, func(t *tx) error {
		m := &merging{buckets: make(map[string]bool)}
		if _, err := t.row(`SELECT EXISTS (SELECT 1 FROM tombs), EXISTS (SELECT 1 FROM early)`, nil, &m.tombs, &m.early); err != nil {
			return err
		}
		t.merging = m
		defer func() { t.merging = nil }()
		for _, c := range list {
			if err := c.merge(t); err != nil {
				return err
			}
			x.clock = max(x.clock, latest(c))
		}
		return nil
	})
	return failed("apply changes", err)
}

// latest is the newest reading of a clock in a change.
func latest(c change) int64 {
	clock := c.by().clock
	if s, ok := c.(*slabChange); ok {
		for _, p := range s.at {
			clock = max(clock, p.clock)
		}
	}
	return clock
}

// prune forgets removals that every device has had the time to learn of.
func (x *Index) prune(ctx context.Context) error {
	now := x.c.Now()
	if last := x.pruned.Load(); now.Unix()-last < 3600 || !x.pruned.CompareAndSwap(last, now.Unix()) {
		return nil
	}
	before := now.Add(-x.c.Tombstones).UnixMicro()
	err := x.w.do(ctx, func(t *tx) error {
		for _, q := range []string{
			`DELETE FROM tombs WHERE bclock < ?`, `DELETE FROM early WHERE bclock < ?`, `DELETE FROM gone WHERE clock < ?`,
		} {
			if err := t.exec(q, before); err != nil {
				return err
			}
		}
		return nil
	})
	return failed("forget old removals", err)
}
