package remote

import (
	"context"
	"io"
	"time"

	"hearth/core/fault"
	"hearth/core/proof"
	"hearth/storage/wire"
)

// Put sends a shard. It returns when the host says that it is durable; it counts
// for something only once a Change has covered it.
func (h *Host) Put(ctx context.Context, root proof.Hash, body []byte) error {
	return h.do(ctx, "put shard", func(s *stream) error { return h.put(ctx, s, root, body) })
}

func (h *Host) put(ctx context.Context, s *stream, root proof.Hash, body []byte) error {
	first := min(h.chunk(), len(body))
	if err := h.pay(ctx, s, first, 0); err != nil {
		return err
	}
	if err := h.ask(s, &wire.Request{Ask: &wire.Request_Put{Put: &wire.Put{Root: root[:], Size: uint64(len(body))}}}); err != nil {
		return err
	}
	// The answer is listened for while the body goes out: a host that refuses
	// says so at once and reads no further.
	said := make(chan error, 1)
	s.reading(forever)
	go func() {
		var err error
		defer func() {
			if err != nil {
				s.SetWriteDeadline(past)
			}
			said <- err
		}()
		_, err = listen(s)
	}()
	err := h.send(ctx, s, body, first)
	if err == nil {
		s.reading(h.c.Pause)
	} else {
		s.reading(time.Second) // a refusal may be on its way
	}
	if told := <-said; answered(told) || err == nil {
		return told
	}
	return err
}

// send writes the body, of which first bytes are paid for.
func (h *Host) send(ctx context.Context, s *stream, body []byte, first int) error {
	for paid := first; ; {
		s.writing(h.c.Pause)
		if _, err := s.Write(body[:paid]); err != nil {
			return err
		}
		if body = body[paid:]; len(body) == 0 {
			return nil
		}
		paid = min(h.chunk(), len(body))
		if err := h.pay(ctx, s, paid, 0); err != nil {
			return err
		}
	}
}

// chunk is how many bytes are paid for at once.
func (h *Host) chunk() int { return int(max(h.c.Pair.Chunk(), 1)) }

// Get reads blocks first, first+1, ... of a shard of this size into the buffer,
// as many as it has room for: it ends with a block or with the shard. Each block
// is verified; got is called after each with its length. What was read before an
// error is right.
func (h *Host) Get(ctx context.Context, root proof.Hash, size int64, first int, into []byte, got func(n int)) error {
	end := int64(first)*proof.BlockSize + int64(len(into))
	if first < 0 || end > size || end != size && end%proof.BlockSize != 0 || len(into) == 0 {
		return fault.New(fault.BadRequest, "get shard: bytes up to %d of %d aren't whole blocks", end, size)
	}
	return h.do(ctx, "get shard", func(s *stream) error {
		for len(into) > 0 {
			blocks := max(1, h.chunk()/proof.BlockSize)
			n := min(blocks*proof.BlockSize, len(into))
			if err := h.get(ctx, s, root, size, first, into[:n], got); err != nil {
				return err
			}
			first, into = first+blocks, into[n:]
		}
		return nil
	})
}

func (h *Host) get(ctx context.Context, s *stream, root proof.Hash, size int64, first int, into []byte, got func(int)) error {
	if err := h.pay(ctx, s, 0, len(into)); err != nil {
		return err
	}
	count := (len(into) + proof.BlockSize - 1) / proof.BlockSize
	err := h.ask(s, &wire.Request{Ask: &wire.Request_Get{Get: &wire.Get{Root: root[:], First: uint32(first), Count: uint32(count)}}})
	if err != nil {
		return err
	}
	r, err := h.answer(s)
	if err != nil {
		return err
	}
	g := r.GetGot()
	if g == nil || g.Size != uint64(size) || g.Bytes != uint64(len(into)) {
		return fault.New(fault.BadFrame, "it answered with other bytes than were asked for")
	}
	tree, err := proof.UnpackTree(size, g.Outboard)
	if err != nil {
		return err
	}
	if err := tree.Check(root); err != nil {
		return err
	}
	for len(into) > 0 {
		block := into[:min(proof.BlockSize, len(into))]
		s.reading(h.c.Pause)
		if _, err := io.ReadFull(s, block); err != nil {
			return err
		}
		if err := tree.VerifyBlock(root, first, block); err != nil {
			return err
		}
		if got != nil {
			got(len(block))
		}
		first, into = first+1, into[len(block):]
	}
	return nil
}

// Range reads the aligned subtree of span bytes (a power of two from 1 KiB to a
// block) that holds offset off of a shard, with its proof. lo is where it begins.
func (h *Host) Range(ctx context.Context, root proof.Hash, size, off, span int64) (data []byte, lo int64, err error) {
	lo, n, err := proof.Subtree(size, off, span)
	if err != nil {
		return nil, 0, err
	}
	err = h.do(ctx, "read shard", func(s *stream) error {
		if err := h.pay(ctx, s, 0, int(n)); err != nil {
			return err
		}
		err := h.ask(s, &wire.Request{Ask: &wire.Request_Range{Range: &wire.Range{Root: root[:], Offset: uint64(off), Span: uint64(span)}}})
		if err != nil {
			return err
		}
		r, err := h.answer(s)
		if err != nil {
			return err
		}
		g := r.GetRanged()
		if g == nil || g.Size != uint64(size) || g.Bytes != uint64(n) {
			return fault.New(fault.BadFrame, "it answered with other bytes than were asked for")
		}
		path, err := proof.Unpack(g.Path, maxPath)
		if err != nil {
			return err
		}
		data = make([]byte, n)
		s.reading(h.c.Pause)
		if _, err := io.ReadFull(s, data); err != nil {
			return err
		}
		return proof.Verify(root, size, off, span, data, path)
	})
	return data, lo, err
}

// forever is longer than any body takes that moves at all.
const forever = 24 * time.Hour

// maxPath is the longest path in a shard: from a leaf of 1 KiB up to 4 MiB.
const maxPath = 12

// Stat asks which of these shards the host holds. It is the host's word only.
func (h *Host) Stat(ctx context.Context, roots []proof.Hash) ([]bool, error) {
	if len(roots) > proof.MaxSteps {
		return nil, fault.New(fault.TooLarge, "ask for %d shards, at most %d are allowed", len(roots), proof.MaxSteps)
	}
	var held []bool
	err := h.do(ctx, "ask for shards", func(s *stream) error {
		if err := h.ask(s, &wire.Request{Ask: &wire.Request_Stat{Stat: &wire.Stat{Roots: packed(roots)}}}); err != nil {
			return err
		}
		r, err := h.answer(s)
		if err != nil {
			return err
		}
		if held = r.GetHeld().GetHeld(); len(held) != len(roots) {
			return fault.New(fault.BadFrame, "%d answers to %d questions", len(held), len(roots))
		}
		return nil
	})
	return held, err
}

func packed(roots []proof.Hash) [][]byte {
	out := make([][]byte, len(roots))
	for i := range roots {
		out[i] = roots[i][:]
	}
	return out
}
