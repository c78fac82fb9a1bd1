package host

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"

	"hearth/core/fault"
	"hearth/core/proof"
	"hearth/core/quote"
	"hearth/core/share"
	"hearth/storage/host/volume"
	"hearth/storage/wire"
)

const (
	// maxRevoked is how many tickets may be revoked under one lease at a time.
	maxRevoked = 4096
	// maxHolders is how many leases that hold a shard are asked about a ticket.
	maxHolders = 64
)

func revokedKey(lease uint64, serial share.Serial) []byte {
	return append(leaseKey(keyRevoked, lease), serial[:]...)
}

// holds says whether a shard lies here for this lease, or did until lately.
func (h *Host) holds(lease uint64, root proof.Hash) (bool, error) {
	for _, key := range [][]byte{needKey(root, lease), keptKey(root, lease)} {
		found, err := h.store.Get(key)
		if err != nil || found != nil {
			return found != nil, err
		}
	}
	return false, nil
}

// Revoke refuses a ticket for what a lease holds, until the ticket's end.
func (h *Host) Revoke(lease uint64, serial share.Serial, until int64) error {
	now := h.now()
	if until < now {
		return nil // it has ended by itself
	}
	until = min(until, now+share.MaxSeconds+300)
	err := h.store.Apply(func(tx *volume.Tx) error {
		n := 0
		err := tx.Each(leaseKey(keyRevoked, lease), func(key, value []byte) error {
			if len(value) != 8 || int64(binary.BigEndian.Uint64(value)) < now {
				tx.Delete(append([]byte(nil), key...))
				return nil
			}
			n++
			return nil
		})
		if err == nil && n >= maxRevoked {
			err = fault.New(fault.Busy, "%d tickets are revoked under lease %d, no more are kept", n, lease)
		}
		tx.Set(revokedKey(lease, serial), binary.BigEndian.AppendUint64(nil, uint64(until)))
		return err
	})
	if err != nil {
		return fmt.Errorf("revoke ticket %s: %w", serial, err)
	}
	return nil
}

func (h *Host) revoked(lease uint64, serial share.Serial) (bool, error) {
	found, err := h.store.Get(revokedKey(lease, serial))
	return found != nil, err
}

// A ticket is one that was shown on a stream, with a signature that matches.
type ticket struct {
	share.Ticket
	key []byte
}

// show takes the ticket of a stream; the newest one counts.
func (v *visit) show(t *wire.Ticket) error {
	if len(t.Serial) != len(share.Serial{}) || len(t.Contents) != 32 || len(t.Owner) > 128 {
		return fault.New(fault.BadFrame, "ticket: a serial of %d bytes, contents of %d, an owner of %d", len(t.Serial), len(t.Contents), len(t.Owner))
	}
	shown := share.Ticket{Owner: t.Owner, Serial: share.Serial(t.Serial), Until: t.Until, Contents: [32]byte(t.Contents)}
	if err := share.Verify(v.c.ChainID, shown, t.Key, t.Sig, v.c.Host.now()); err != nil {
		return err
	}
	v.ticket = &ticket{shown, append([]byte(nil), t.Key...)}
	return nil
}

// mayRead says whether a shard may be read on a lease: it lies here for that
// lease, or a ticket of one for which it lies here was shown. Without a ticket it
// isn't even said that the shard is here.
func (v *visit) mayRead(lease uint64, root proof.Hash) error {
	own, err := v.c.Host.holds(lease, root)
	if err != nil || own {
		return err
	}
	if v.ticket == nil {
		return fault.New(fault.NotFound, "there is no shard %x under lease %d", root[:8], lease)
	}
	if now := v.c.Host.now(); now > v.ticket.Until {
		return fault.New(fault.Unauthorized, "ticket %s: it ended %d s ago", v.ticket.Serial, now-v.ticket.Until)
	}
	leases, err := v.c.Host.needing(root, maxHolders)
	if err != nil {
		return err
	}
	if len(leases) == 0 {
		return fault.New(fault.NotFound, "there is no shard %x", root[:8])
	}
	ctx, cancel := context.WithTimeout(v.ctx, v.c.Pause)
	defer cancel()
	refusal := fault.New(fault.Unauthorized, "ticket %s isn't the owner's of shard %x", v.ticket.Serial, root[:8])
	for _, l := range leases {
		if v.c.Leases.Allowed(ctx, quote.Storage, l, ed25519.PublicKey(v.ticket.key)) != nil {
			continue
		}
		revoked, err := v.c.Host.revoked(l, v.ticket.Serial)
		if err != nil {
			return err
		}
		if !revoked {
			return nil
		}
		refusal = fault.New(fault.Unauthorized, "ticket %s was revoked", v.ticket.Serial)
	}
	return refusal
}

func (v *visit) revoke(lease uint64, ask *wire.Revoke) error {
	if len(ask.Serial) != len(share.Serial{}) {
		return fault.New(fault.BadFrame, "revoke ticket: a serial of %d bytes", len(ask.Serial))
	}
	if err := v.mayRemove(lease); err != nil {
		return err
	}
	if err := v.c.Host.Revoke(lease, share.Serial(ask.Serial), ask.Until); err != nil {
		return err
	}
	return v.answer(&wire.Response{})
}
