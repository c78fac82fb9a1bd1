package remote

import (
	"context"
	"crypto/ed25519"

	"lukechampine.com/blake3"

	"hearth/core/fault"
	"hearth/core/pointer"
	"hearth/p2p"
	"hearth/storage/wire"
)

// maxHead bounds the sealed head of a log.
const maxHead = 64 << 10

// PutPointer leaves the pointer of a device's log with its head. When it returns
// both are durable there.
func (h *Host) PutPointer(ctx context.Context, p pointer.Signed, head []byte) error {
	raw := p.Encode()
	return h.do(ctx, "put pointer", func(s *stream) error {
		for left := len(raw) + len(head); left > 0; {
			n := min(left, h.chunk())
			if err := h.pay(ctx, s, n, 0); err != nil {
				return err
			}
			left -= n
		}
		if err := h.ask(s, &wire.Request{Ask: &wire.Request_PutPointer{PutPointer: &wire.PutPointer{Pointer: raw, Head: head}}}); err != nil {
			return err
		}
		_, err := h.answer(s)
		return err
	})
}

// Pointers are the pointers that the host has under an account's pointer key, of
// chainID and account: at most one of each device, each signed by the key. That
// they are the newest is the host's word.
func (h *Host) Pointers(ctx context.Context, chainID, account string, key ed25519.PublicKey) (out []pointer.Signed, err error) {
	err = h.do(ctx, "read pointers", func(s *stream) error {
		got, err := h.pointers(s, &wire.GetPointers{Key: key})
		if err != nil {
			return err
		}
		if len(got.Pointers) > pointer.MaxDevices {
			return fault.New(fault.BadFrame, "it answered with %d pointers", len(got.Pointers))
		}
		out = make([]pointer.Signed, len(got.Pointers))
		seen := map[uint64]bool{}
		for i, b := range got.Pointers {
			if out[i], err = pointer.Decode(b); err != nil {
				return err
			}
			if err := out[i].Of(chainID, account, key); err != nil {
				return err
			}
			if seen[out[i].Device] {
				return fault.New(fault.BadFrame, "it answered with two pointers of device %016x", out[i].Device)
			}
			seen[out[i].Device] = true
		}
		return nil
	})
	return out, err
}

// Head is the head that want points at, or that of a newer pointer of the same
// device.
func (h *Host) Head(ctx context.Context, want pointer.Signed) (p pointer.Signed, head []byte, err error) {
	err = h.do(ctx, "read head", func(s *stream) error {
		got, err := h.pointers(s, &wire.GetPointers{Key: want.Key[:], Head: true, Device: want.Device})
		if err != nil {
			return err
		}
		if len(got.Pointers) != 1 || len(got.Head) > maxHead {
			return fault.New(fault.BadFrame, "it answered with %d pointers and a head of %d bytes", len(got.Pointers), len(got.Head))
		}
		if p, err = pointer.Decode(got.Pointers[0]); err != nil {
			return err
		}
		if err := p.Of(want.ChainID, want.Account, want.Key[:]); err != nil {
			return err
		}
		switch {
		case p.Device != want.Device || p.Seq == want.Seq && p != want:
			return fault.New(fault.BadFrame, "it answered with another pointer")
		case p.Seq < want.Seq:
			return refused{fault.New(fault.Stale, "it has pointer %d of device %016x, not %d", p.Seq, p.Device, want.Seq)}
		case blake3.Sum256(got.Head) != [32]byte(p.LogRoot):
			return fault.New(fault.BadFrame, "it answered with another head")
		}
		head = got.Head
		return nil
	})
	return p, head, err
}

func (h *Host) pointers(s *stream, ask *wire.GetPointers) (*wire.Pointers, error) {
	s.writing(h.c.Pause) // without a grant: none is asked for
	if err := p2p.WriteFrame(s, &wire.Request{Ask: &wire.Request_GetPointers{GetPointers: ask}}); err != nil {
		return nil, err
	}
	r, err := h.answer(s)
	if err != nil {
		return nil, err
	}
	got := r.GetPointers()
	if got == nil {
		return nil, fault.New(fault.BadFrame, "it answered something else than was asked")
	}
	return got, nil
}
