package download

import (
	"context"
	"io"
	"time"

	"hearth/core/fault"
	"hearth/core/proof"
	"hearth/storage/index"
	"hearth/storage/remote"
	"hearth/storage/seal"
)

// A piece is a stretch within one data shard.
type piece struct {
	shard    int
	from, to int64 // of the shard
}

func pieces(s stretch) []piece {
	var out []piece
	for off, left := s.off, s.length; left > 0; {
		shard, at := s.slab.Class.Locate(s.slab.ShardSize, off)
		n := min(left, s.slab.ShardSize-at)
		out = append(out, piece{shard, at, at + n})
		off, left = off+n, left-n
	}
	return out
}

// part reads a small stretch from the hosts that have just these bytes. Where
// one doesn't deliver in time, it is made from what others have.
func (r *Reader) part(ctx context.Context, s stretch, turn func() error, w io.Writer) error {
	list := pieces(s)
	for _, p := range list {
		at := s.slab.At[p.shard]
		if _, avoid := r.c.Book.Avoid(at.Host); avoid || at == (index.Place{}) {
			data, err := r.around(ctx, s.slab, list)
			if err != nil {
				return err
			}
			return inTurn(turn, w, data)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the slower way ends soon after
	type result struct {
		data []byte
		err  error
	}
	var ways [2]chan result // straight from the hosts; around those that don't deliver
	var errs [2]error
	start := func(way int, read func() ([]byte, error)) {
		ways[way] = make(chan result, 1)
		go func(c chan<- result) {
			data, err := read()
			c <- result{data, err}
		}(ways[way])
	}
	moved := make(chan struct{}, 1)
	start(0, func() ([]byte, error) { return r.straight(ctx, s.slab, list, moved) })
	detour := func() {
		if ways[1] == nil {
			start(1, func() ([]byte, error) { return r.around(ctx, s.slab, list) })
		}
	}
	stall := time.NewTimer(r.c.Stall)
	defer stall.Stop()
	for errs[0] == nil || errs[1] == nil {
		var got result
		way := 0
		select {
		case got = <-ways[0]:
		case got = <-ways[1]:
			way = 1
		case <-moved:
			stall.Reset(r.c.Stall)
			continue
		case <-stall.C:
			detour()
			continue
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if got.err == nil {
			return inTurn(turn, w, got.data)
		}
		errs[way] = got.err
		detour()
	}
	return errs[1] // it names every host that failed
}

func inTurn(turn func() error, w io.Writer, data []byte) error {
	if err := turn(); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}

// around makes pieces from the blocks beside them in any k shards: k times as
// many bytes as are wanted, and not the whole slab.
func (r *Reader) around(ctx context.Context, s *index.PlacedSlab, list []piece) ([]byte, error) {
	pool, err := r.c.Pool(s.Class)
	if err != nil {
		return nil, err
	}
	buf, err := pool.Get(ctx)
	if err != nil {
		return nil, err
	}
	defer pool.Put(buf)
	if err := buf.Fit(s.Slab.Slab); err != nil {
		return nil, err
	}
	var all []byte
	for _, p := range list {
		part := spanOf(s.ShardSize, p.from, p.to)
		have, err := fetch(ctx, &r.c, s, part, buf.Shard)
		if err != nil {
			return nil, err
		}
		if err := seal.OpenColumns(buf, s.Slab.Slab, have, part.first, proof.NumBlocks(part.bytes()), r.c.Workers); err != nil {
			return nil, err
		}
		all = append(all, buf.Shard(p.shard)[p.from:p.to]...)
	}
	return all, nil
}

// straight reads pieces one after the other and tells of each.
func (r *Reader) straight(ctx context.Context, s *index.PlacedSlab, list []piece, moved chan<- struct{}) ([]byte, error) {
	var all []byte
	for _, p := range list {
		data, err := r.piece(ctx, s, p)
		if err != nil {
			return nil, err
		}
		all = append(all, data...)
		select {
		case moved <- struct{}{}:
		default:
		}
	}
	return all, nil
}

// piece reads and opens bytes of one data shard.
func (r *Reader) piece(ctx context.Context, s *index.PlacedSlab, p piece) ([]byte, error) {
	at := s.At[p.shard]
	began := time.Now()
	data, err := r.raw(ctx, s, p)
	if err != nil {
		if ctx.Err() == nil {
			r.c.Book.Failed(at.Host, err)
			if class := remote.Classify(err); class == remote.Lost || class == remote.Garbage {
				r.c.lost(s.ID, p.shard, at, err)
			}
			r.c.Log.Debug("range not read", "slab", s.ID, "shard", p.shard, "host", at.Host, "err", err)
		}
		return nil, err
	}
	r.c.Book.Worked(at.Host, time.Since(began), int64(len(data)))
	if err := seal.DecryptRange(s.Slab.Slab, p.shard, p.from, data); err != nil {
		return nil, err
	}
	return data, nil
}

// raw reads bytes as the host keeps them: what lies in one subtree with a short
// proof, more as whole blocks.
func (r *Reader) raw(ctx context.Context, s *index.PlacedSlab, p piece) ([]byte, error) {
	h, err := r.c.Resolve(ctx, s.At[p.shard])
	if err != nil {
		return nil, err
	}
	root := s.Roots[p.shard]
	for span := int64(proof.LeafSize); span <= proof.BlockSize; span *= 2 {
		lo, n, err := proof.Subtree(s.ShardSize, p.from, span)
		if err != nil {
			return nil, err
		}
		if p.to > lo+n {
			continue
		}
		data, at, err := h.Range(ctx, root, s.ShardSize, p.from, span)
		if err != nil {
			return nil, err
		}
		if p.from < at || p.to > at+int64(len(data)) {
			return nil, fault.New(fault.Internal, "range %d to %d: got %d bytes at %d", p.from, p.to, len(data), at)
		}
		return data[p.from-at : p.to-at], nil
	}
	part := spanOf(s.ShardSize, p.from, p.to)
	data := make([]byte, part.bytes())
	if err := h.Get(ctx, root, s.ShardSize, part.first, data, nil); err != nil {
		return nil, err
	}
	return data[p.from-part.from:][:p.to-p.from], nil
}
