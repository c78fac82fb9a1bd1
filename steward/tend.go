package steward

import (
	"context"
	"encoding/hex"
	"time"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/p2p"
	"hearth/storage/index"
)

const tellAtOnce = 1024 // slabs

// tell brings a steward up to date.
func (p *Patron) tell(ctx context.Context, h *Hired, peer p2p.Peer) error {
	var again []Slab
	for _, text := range h.Again {
		id, err := hex.DecodeString(text)
		if err != nil || len(id) != len(index.SlabID{}) {
			continue
		}
		s, err := p.slab(ctx, index.SlabID(id))
		if err != nil {
			return err
		}
		again = append(again, s)
	}
	if len(again) > 0 {
		if _, err := p.c.Client.Update(ctx, peer, h.Told, h.Told, again); err != nil {
			return err
		}
		h.Again = nil
	}
	for strange := 0; ; {
		list, err := p.c.Index.PlacementsSince(ctx, h.Told, tellAtOnce)
		if err != nil || len(list) == 0 {
			return err
		}
		slabs := make([]Slab, len(list))
		for i, w := range list {
			slabs[i] = Slab{w.ID, w.Gone, w.Class, w.ShardSize, w.MaskKey, w.Roots, w.At}
		}
		to := list[len(list)-1].Seq
		known, err := p.c.Client.Update(ctx, peer, h.Told, to, slabs)
		if err != nil {
			return err
		}
		if known != to { // it knows another number: it goes on from there
			if strange++; strange > 3 {
				return fault.New(fault.BadFrame, "steward %s: it knows change %d after it was told %d", h.Host, known, to)
			}
		}
		h.Told = known
	}
}

// slab is one as the client knows it; Gone where it doesn't.
func (p *Patron) slab(ctx context.Context, id index.SlabID) (Slab, error) {
	s, err := p.c.Index.Slab(ctx, id)
	if fault.CodeOf(err) == fault.NotFound {
		return Slab{ID: id, Gone: true}, nil
	}
	if err != nil {
		return Slab{}, err
	}
	return Slab{ID: id, Class: s.Class, ShardSize: s.ShardSize, MaskKey: s.MaskKey, Roots: s.Roots, At: s.At}, nil
}

// takeOver judges what a steward did, and has the index follow.
func (p *Patron) takeOver(ctx context.Context, h *Hired, peer p2p.Peer, host chain.Host) error {
	var j *Judge
	for {
		r, err := p.c.Client.Report(ctx, peer, h.Settled)
		if err != nil {
			if h.Leaving && fault.CodeOf(err) == fault.NotFound {
				return nil
			}
			return err
		}
		h.Slabs, h.Audits = r.Slabs, r.Audits
		if len(r.Acts) > 0 && j == nil {
			offers, err := p.c.Offers(ctx)
			if err != nil {
				return err
			}
			j = &Judge{
				Account: p.c.Account, Steward: h.Host, Owner: host.Owner, Ceiling: h.Ceiling, Local: p.c.Local,
				Offers: offers, Lease: p.c.Ledger.Lease, Read: p.c.Read,
			}
		}
		for _, a := range r.Acts {
			if err := p.settle(ctx, j, h, a); err != nil {
				return err
			}
			h.Settled = a.Seq
			if err := p.keep(); err != nil {
				return err
			}
		}
		if !r.More {
			return nil
		}
	}
}

// settle takes one act over, or has what it left removed.
func (p *Patron) settle(ctx context.Context, j *Judge, h *Hired, a Act) error {
	s, err := p.slab(ctx, a.Slab)
	if err != nil {
		return err
	}
	if !s.Gone && a.Shard < len(s.At) && s.At[a.Shard] == a.New {
		return nil // it was taken over already
	}
	verdict, why := j.Check(ctx, s, a)
	if verdict == Later {
		now := p.c.Now().Unix()
		if h.Waiting != a.Seq {
			h.Waiting, h.From = a.Seq, now
		}
		if now-h.From < int64(p.c.Patience/time.Second) {
			return why
		}
		verdict = Refused
	}
	switch verdict {
	case Taken:
		work := p.c.Index.BeginRepair()
		if err := p.c.Index.Repaired(ctx, work, a.Slab, map[int]index.Place{a.Shard: a.New}); err != nil {
			return err
		}
		h.Taken++
		h.Bytes += a.Size
		p.c.Log.Info("steward's work taken over", "steward", h.Host, "slab", a.Slab, "shard", a.Shard, "host", a.New.Host)
		return nil
	}
	p.c.Log.Warn("steward's work refused", "steward", h.Host, "slab", a.Slab, "shard", a.Shard, "host", a.New.Host, "err", why)
	h.Complain = why.Error()
	h.Refused++
	if !s.Gone {
		h.Again = append(h.Again, a.Slab.String())
	}
	return p.clean(ctx, a)
}

// clean has a shard removed that lies where it shouldn't. That it lies there is the
// steward's word, so what the client itself wants there stays.
func (p *Patron) clean(ctx context.Context, a Act) error {
	l, err := p.c.Ledger.Lease(ctx, a.New.Lease)
	if fault.CodeOf(err) == fault.NoLease || err == nil && (l.Client != p.c.Account || l.Host != a.New.Host) {
		return nil // nothing of ours can lie there
	}
	if err != nil {
		return err
	}
	removed, err := p.c.Index.Discard(ctx, index.Shard{Place: a.New, Root: a.Root, Size: a.Size})
	if err == nil && !removed {
		p.c.Log.Warn("steward tells of a shard that is wanted where it lies", "slab", a.Slab, "shard", a.Shard, "host", a.New.Host)
	}
	return err
}
