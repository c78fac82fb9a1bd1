package host

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"hearth/core/fault"
	"hearth/core/proof"
	"hearth/p2p"
	"hearth/storage/wire"
)

// metered reads a shard's bytes, each block after it is paid for.
type metered struct {
	*visit
	lease  uint64
	left   int64 // of the shard, not yet paid for
	credit int   // paid for, not yet read
}

func (m *metered) Read(p []byte) (int, error) {
	if m.credit == 0 {
		n := min(m.left, proof.BlockSize)
		if err := m.flow.down.WaitN(m.ctx, int(n)); err != nil {
			return 0, err
		}
		if err := m.take(m.lease, uint64(n), 0); err != nil {
			return 0, err
		}
		m.left -= n
		m.credit = int(n)
		m.s.SetReadDeadline(time.Now().Add(m.c.Pause))
	}
	n, err := m.s.Read(p[:min(len(p), m.credit)])
	m.credit -= n
	return n, err
}

func (v *visit) put(lease uint64, ask *wire.Put) error {
	root, err := hash(ask.GetRoot())
	if err != nil {
		return err
	}
	if ask.Size == 0 || ask.Size > proof.MaxShard {
		return fault.New(fault.TooLarge, "put shard %x: %d bytes, 1 to %d are allowed", root[:8], ask.Size, int64(proof.MaxShard))
	}
	if v.flow.paused.Load() {
		return fault.New(fault.HostFull, "put shard %x: this host is paused by its owner and takes no new data", root[:8])
	}
	size := int64(ask.Size)
	if err := v.c.Host.Put(lease, root, size, &metered{visit: v, lease: lease, left: size}); err != nil {
		return err
	}
	return v.answer(&wire.Response{})
}

func (v *visit) get(lease uint64, ask *wire.Get) error {
	root, err := hash(ask.GetRoot())
	if err != nil {
		return err
	}
	if err := v.mayRead(lease, root); err != nil {
		return err
	}
	store := v.c.Host.store
	e, err := store.Lookup(root)
	if err != nil {
		return err
	}
	first, end := int64(ask.First), int64(e.Blocks())
	if ask.Count > 0 {
		end = min(end, first+int64(ask.Count))
	}
	if first >= end {
		return fault.New(fault.BadRequest, "get shard %x: it has %d blocks, block %d is asked for", root[:8], e.Blocks(), first)
	}
	tree, err := store.Tree(e)
	if err != nil {
		return err
	}
	head := &wire.Response{Answer: &wire.Response_Got{Got: &wire.Got{
		Size: uint64(e.Size), Outboard: proof.Pack(tree.Blocks), Bytes: uint64(min(end*proof.BlockSize, e.Size) - first*proof.BlockSize),
	}}}
	buf := store.Buffer()
	defer store.Release(buf)
	for i := first; i < end; i++ {
		// What is damaged isn't paid for; of what isn't paid for nothing is sent.
		block, err := store.Block(e, int(i), *buf)
		if err == nil {
			err = v.take(lease, 0, uint64(len(block)))
		}
		if err != nil && i > first {
			return lost{fmt.Errorf("send shard %x: %w", root[:8], err)} // the peer is in the middle of its bytes
		}
		if err == nil && i == first {
			err = v.answer(head)
		}
		if err != nil {
			return err
		}
		if err := v.send(block); err != nil {
			return err
		}
	}
	v.c.Host.reads.Add(1)
	return nil
}

func (v *visit) send(p []byte) error {
	if err := v.flow.up.WaitN(v.ctx, len(p)); err != nil {
		return lost{err}
	}
	v.s.SetWriteDeadline(time.Now().Add(v.c.Pause))
	if _, err := v.s.Write(p); err != nil {
		return lost{err}
	}
	v.c.Host.served.Add(int64(len(p)))
	return nil
}

func (v *visit) ranged(lease uint64, ask *wire.Range) error {
	root, err := hash(ask.GetRoot())
	if err != nil {
		return err
	}
	if ask.Offset > proof.MaxShard || ask.Span > proof.BlockSize {
		return fault.New(fault.BadRequest, "read shard %x: offset %d, span %d", root[:8], ask.Offset, ask.Span)
	}
	if err := v.mayRead(lease, root); err != nil {
		return err
	}
	data, path, size, err := v.c.Host.Range(root, int64(ask.Offset), int64(ask.Span), func(n int64) error {
		return v.take(lease, 0, uint64(n))
	})
	if err != nil {
		return err
	}
	// One write: a small answer should be one packet.
	var out bytes.Buffer
	err = p2p.WriteFrame(&out, &wire.Response{Answer: &wire.Response_Ranged{Ranged: &wire.Ranged{
		Size: uint64(size), Path: proof.Pack(path), Bytes: uint64(len(data)),
	}}})
	if err != nil {
		return err
	}
	out.Write(data)
	if err := v.flow.up.WaitN(v.ctx, len(data)); err != nil {
		return lost{err}
	}
	v.s.SetWriteDeadline(time.Now().Add(v.c.Pause))
	if _, err := v.s.Write(out.Bytes()); err != nil {
		return lost{err}
	}
	v.c.Host.served.Add(int64(len(data)))
	v.c.Host.reads.Add(1)
	return nil
}

func (v *visit) stage(lease uint64, ask *wire.Stage) error {
	add, err := hashes(ask.GetAdd())
	if err != nil {
		return err
	}
	remove, err := hashes(ask.GetRemove())
	if err != nil {
		return err
	}
	if len(remove) > 0 {
		if err := v.mayRemove(lease); err != nil {
			return err
		}
	}
	root, steps, err := v.c.Host.Stage(lease, add, remove)
	if err != nil {
		return err
	}
	staged := &wire.Staged{Root: root[:]}
	for _, s := range steps {
		staged.Steps = append(staged.Steps, s.Encode())
	}
	return v.answer(&wire.Response{Answer: &wire.Response_Staged{Staged: staged}})
}

// mayRemove asks whether the key that let the peer in may also remove.
func (v *visit) mayRemove(lease uint64) error {
	ctx, cancel := context.WithTimeout(v.ctx, v.c.Pause)
	defer cancel()
	return v.c.Leases.MayRemove(ctx, lease, v.pass.Key(lease))
}

func (v *visit) stat(lease uint64, ask *wire.Stat) error {
	roots, err := hashes(ask.GetRoots())
	if err != nil {
		return err
	}
	held, err := v.c.Host.Held(lease, roots)
	if err != nil {
		return err
	}
	return v.answer(&wire.Response{Answer: &wire.Response_Held{Held: &wire.Held{Held: held}}})
}

func hash(b []byte) (proof.Hash, error) {
	if len(b) != len(proof.Hash{}) {
		return proof.Hash{}, fault.New(fault.BadRequest, "a root has %d bytes, not %d", len(proof.Hash{}), len(b))
	}
	return proof.Hash(b), nil
}

// hashes reads a list of roots, as many as a change may have.
func hashes(list [][]byte) ([]proof.Hash, error) {
	if len(list) > proof.MaxSteps {
		return nil, fault.New(fault.TooLarge, "%d roots, at most %d are allowed", len(list), proof.MaxSteps)
	}
	out := make([]proof.Hash, len(list))
	for i, b := range list {
		var err error
		if out[i], err = hash(b); err != nil {
			return nil, err
		}
	}
	return out, nil
}
