package volume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"hearth/core/fault"
	"hearth/core/proof"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// A volume's shards are moved when less than these percent of it are in use: few
	// where holes cost nothing, more where they cost room, most where that is short.
	looseHoles  = 25
	looseWaste  = 50
	looseShort  = 90
	volumesOnce = 8       // volumes of one look through the index
	shardsOnce  = 1 << 16 // shards of one look
)

// Compact moves the shards of volumes that are mostly holes into the newest one,
// and so removes those volumes. pace is asked before bytes are moved and may wait;
// its error ends the work. What a crash interrupts has changed nothing or is done.
func (s *Store) Compact(ctx context.Context, pace func(ctx context.Context, bytes int64) error) (moved int64, err error) {
	s.tidying.Lock()
	defer s.tidying.Unlock()
	if err := s.enter(); err != nil {
		return 0, err
	}
	defer s.leave()
	loose := s.loose()
	if len(loose) == 0 {
		return 0, nil
	}
	entries, err := s.within(loose)
	if err != nil {
		return 0, fmt.Errorf("compact volumes: %w", err)
	}
	for _, e := range entries {
		err := ctx.Err()
		if err == nil {
			err = pace(ctx, footprint(e.Size))
		}
		if err == nil {
			err = s.move(e)
		}
		switch fault.CodeOf(err) {
		case "":
			moved += e.Size
		case fault.NotFound, fault.DamagedShard: // gone meanwhile; stays where it is
		default:
			return moved, fmt.Errorf("compact volumes: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range loose {
		v.tried = v.live // what is left can't be moved: not again until it changes
	}
	return moved, nil
}

// loose are the volumes that are worth rewriting, the emptiest first.
func (s *Store) loose() []*volume {
	s.mu.Lock()
	defer s.mu.Unlock()
	percent := int64(looseHoles)
	if !s.holes {
		percent = looseWaste
		if s.used+s.waste() > s.c.Capacity/10*9 {
			percent = looseShort
		}
	}
	var out []*volume
	for _, v := range s.volumes {
		if v.live == 0 || v.live == v.tried || v.live*100 >= (v.end-page)*percent || v == s.active && s.holes {
			continue
		}
		v.sealed = true // the newest one too: what is moved must not land in it
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b *volume) int { return cmp.Compare(a.live, b.live) })
	return out[:min(len(out), volumesOnce)]
}

// within finds the shards of volumes, in the order in which they lie there.
func (s *Store) within(volumes []*volume) ([]Entry, error) {
	var out []Entry
	errEnough := errors.New("enough")
	err := each(s.index, []byte{prefixShard}, func(key, value []byte) error {
		e, err := entryAt(key, value)
		if err != nil || e.Damaged || !slices.ContainsFunc(volumes, func(v *volume) bool { return v.number == e.volume }) {
			return err
		}
		if out = append(out, e); len(out) == shardsOnce {
			return errEnough
		}
		return nil
	})
	if err != nil && len(out) < shardsOnce {
		return nil, err
	}
	slices.SortFunc(out, func(a, b Entry) int { return cmp.Or(cmp.Compare(a.volume, b.volume), cmp.Compare(a.off, b.off)) })
	return out, nil
}

// move copies a shard into the newest volume and has the index point there. The
// copy is durable first; the original's room returns after.
func (s *Store) move(e Entry) error {
	p, err := s.reserve(e.Size, true)
	if err != nil {
		return err
	}
	to := e
	to.volume, to.off = p.v.number, p.off
	if err := s.copy(e, p); err != nil {
		s.release(p)
		return err
	}
	spare := false
	err = s.apply(p.v, func(tx *Tx) error {
		now, there, err := tx.Lookup(e.Root)
		if err != nil {
			return err
		}
		if spare = !there || now.Damaged || now.volume != e.volume || now.off != e.off; spare {
			return nil
		}
		tx.lose(now)
		tx.put(to)
		return nil
	})
	if err != nil || spare {
		s.release(p)
	}
	return err
}

// copy writes a shard's record anew at p, every block checked, the header last.
func (s *Store) copy(e Entry, p place) error {
	old, ok := s.placeOf(e)
	if !ok {
		return s.report(e, "header", errGone)
	}
	r, err := s.header(e)
	if err != nil {
		return s.report(e, "header", err)
	}
	buf := s.Buffer()
	defer s.Release(buf)
	for i := range e.Blocks() {
		at := int64(i) * blockSize
		block := (*buf)[:min(blockSize, e.Size-at)]
		err := old.v.readAt(block, e.off+page+at)
		if err != nil || crc32.Checksum(block, castagnoli) != e.sums[i] {
			return s.report(e, fmt.Sprintf("block %d", i), err)
		}
		whole := (*buf)[:padded(int64(len(block)))]
		clear(whole[len(block):])
		if err := p.v.writeAt(whole, p.off+page+at); err != nil {
			return full(err)
		}
	}
	header := (*buf)[:page]
	clear(header)
	r.append(header[:0], p.v.salt)
	return full(p.v.writeAt(header, p.off))
}

// waste is what freed shards still take of the disk. The caller holds s.mu.
func (s *Store) waste() (n int64) {
	if s.holes {
		return 0
	}
	for _, v := range s.volumes {
		n += v.end - page - v.live
	}
	return n
}

// punches says whether the file system takes room inside of a file back.
func (s *Store) punches() bool {
	fs, path := s.c.FS, s.c.FS.PathJoin(s.c.Dir, "probe")
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return false
	}
	can := punch(f, 0, page)
	_ = f.Close()
	_ = fs.Remove(path) // an empty file; the next start takes it away
	return can
}

// From lists up to limit shards whose roots come after one, in the order of roots.
func (s *Store) From(after proof.Hash, limit int) ([]Entry, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	var out []Entry
	err := eachAfter(s.index, []byte{prefixShard}, shardKey(after), func(key, value []byte) (bool, error) {
		e, err := entryAt(key, value)
		if err == nil && e.Root != after {
			out = append(out, e)
		}
		return len(out) < limit, err
	})
	return out, err
}
