package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"hearth/core/fault"
	"hearth/storage/index"
	"hearth/storage/upload"
)

// A piece is a small object on its way into a slab that it shares with others.
type piece struct {
	size int64
	load func(ctx context.Context) ([]byte, error)
	move index.Move // of an object that is listed already

	draft  *index.Draft // of one that isn't: somebody waits for it
	state  atomic.Int32
	answer chan Result // buffered; err is set before
	err    error

	off int64 // in the stream of the slabs
}

// States of a draft: whoever leaves the first one decides.
const (
	open int32 = iota
	given
	dropped
)

// failWith ends a draft in vain.
func (p *piece) failWith(err error) {
	if p.draft != nil && p.state.CompareAndSwap(open, given) {
		p.err = err
		p.answer <- Result{}
	}
}

// pack brings pieces to hosts in as few slabs as hold them and moves or lists
// their objects there, in one transaction of the index. Pieces that can't be
// read are left where they are. It gives back how many bytes it packed.
func (x *Client) pack(ctx context.Context, list []*piece) (packed int64, err error) {
	var size int64
	for _, p := range list {
		size += p.size
	}
	id := x.c.Index.BeginRepair()
	s := &stream{ctx: ctx, list: list}
	slabs, pending, err := x.bring(ctx, id, size, s)
	if err == nil {
		err = x.settle(ctx, id, slabs, s.packed, pending)
	}
	if err != nil {
		defer x.wake()
		if e := x.c.Index.Abort(context.WithoutCancel(ctx), id); e != nil {
			x.c.Log.Error("upload not ended", "err", e) // Reclaim does it at the next start
		}
		err = fmt.Errorf("pack %d small objects: %w", len(list), err)
		for _, p := range list {
			p.failWith(err)
		}
		return 0, err
	}
	if pending > 0 {
		x.wake()
	}
	return s.off, nil
}

// settle lists what lies in the new slabs.
func (x *Client) settle(ctx context.Context, id int64, slabs []index.PlacedSlab, list []*piece, pending int) error {
	var moves []index.Move
	var drafts []index.Draft
	var waiting []*piece
	for _, p := range list {
		to := cut(slabs, p.off, p.size)
		if p.draft == nil {
			p.move.To = to
			moves = append(moves, p.move)
		} else if p.state.CompareAndSwap(open, given) {
			p.draft.Manifest.Extents = to
			drafts, waiting = append(drafts, *p.draft), append(waiting, p)
		}
	}
	made, err := x.c.Index.Pack(context.WithoutCancel(ctx), id, slabs, moves, drafts)
	for i, p := range waiting {
		p.err = err
		res := Result{Slabs: len(p.draft.Manifest.Extents), Hosts: holders(slabs), Pending: pending}
		if err == nil {
			res.Object, p.err = made[i].Object, made[i].Err
		}
		p.answer <- res
	}
	return err
}

// bring uploads what src gives and has every slab held by enough hosts.
func (x *Client) bring(ctx context.Context, id, size int64, src io.Reader) (slabs []index.PlacedSlab, pending int, err error) {
	hosts, err := x.choose(ctx, x.c.Class, size)
	if err != nil {
		return nil, 0, err
	}
	c, err := x.upload(id, x.c.Class, hosts)
	if err != nil {
		return nil, 0, err
	}
	c.Slab = x.slab(x.c.Class, size)
	if slabs, err = upload.Put(ctx, c, nil, src); err != nil {
		return nil, 0, err
	}
	pending, err = x.complement(ctx, id, slabs)
	return slabs, pending, err
}

// cut finds a stretch of what was uploaded in its slabs.
func cut(slabs []index.PlacedSlab, off, length int64) []index.Extent {
	var out []index.Extent
	for _, s := range slabs {
		if off >= s.Size {
			off -= s.Size
			continue
		}
		n := min(length, s.Size-off)
		out = append(out, index.Extent{Slab: s.ID, Offset: off, Length: n})
		if off, length = 0, length-n; length == 0 {
			break
		}
	}
	return out
}

// A stream is the pieces one behind the other, without those that can't be read.
type stream struct {
	ctx    context.Context
	list   []*piece
	rest   []byte
	off    int64
	packed []*piece
	strict bool // a piece that can't be read fails all
}

func (s *stream) Read(b []byte) (int, error) {
	for len(s.rest) == 0 {
		if len(s.list) == 0 {
			return 0, io.EOF
		}
		p := s.list[0]
		s.list = s.list[1:]
		body, err := p.load(s.ctx)
		if s.ctx.Err() != nil {
			return 0, context.Cause(s.ctx)
		}
		if err == nil && int64(len(body)) != p.size {
			err = fault.New(fault.Internal, "a piece of %d bytes has %d", p.size, len(body))
		}
		if err != nil && s.strict {
			return 0, err
		}
		if err != nil {
			p.failWith(err)
			continue
		}
		p.off = s.off
		s.off += p.size
		s.rest, s.packed = body, append(s.packed, p)
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// await gives a draft to the packer and waits until it is listed. When ctx ends
// before, it isn't.
func (k *packer) await(ctx context.Context, d *index.Draft, body []byte) (Result, error) {
	p := &piece{
		size: int64(len(body)), draft: d, answer: make(chan Result, 1),
		load: func(context.Context) ([]byte, error) { return body, nil },
	}
	if err := k.join(p); err != nil {
		return Result{}, err
	}
	select {
	case res := <-p.answer:
		return res, p.err
	case <-ctx.Done():
	}
	if p.state.CompareAndSwap(open, dropped) {
		return Result{}, fault.New(fault.Interrupted, "%w", context.Cause(ctx))
	}
	res := <-p.answer
	return res, p.err
}

var errStopped = errors.New("the client is closed")
