package market

import (
	"context"
	"crypto/ed25519"
	"time"

	"hearth/core/fault"
	"hearth/core/mandate"
	"hearth/core/quote"
)

const (
	mandateFresh = 5 * time.Minute // a revocation reaches us by its event before that
	refusalFresh = time.Second
	maxMandates  = 1 << 14 // kept at once: anybody can make keys
)

type mandateKey struct {
	grantor string
	key     [32]byte
}

type cachedMandate struct {
	mandate mandate.Mandate
	err     error
	at      time.Time
}

// Allowed says whether key may act for the client of a lease, which is of kind.
func (h *Host) Allowed(ctx context.Context, kind quote.Kind, id uint64, key ed25519.PublicKey) error {
	b, err := h.bargain(ctx, id)
	if err != nil {
		return err
	}
	if k := b.terms().Kind; k != kind {
		return fault.New(fault.NoLease, "lease %d is for %s, not for %s", id, k, kind)
	}
	return h.allowed(ctx, b.terms().Client, key, mandate.Sign)
}

// Client is the account of a lease's client.
func (h *Host) Client(ctx context.Context, id uint64) (string, error) {
	b, err := h.bargain(ctx, id)
	if err != nil {
		return "", err
	}
	return b.terms().Client, nil
}

// MayRemove says whether key may remove what is stored under the lease.
func (h *Host) MayRemove(ctx context.Context, id uint64, key ed25519.PublicKey) error {
	b, err := h.bargain(ctx, id)
	if err != nil {
		return err
	}
	return h.allowed(ctx, b.terms().Client, key, mandate.Remove)
}

// allowed says whether key may do op for client.
func (h *Host) allowed(ctx context.Context, client string, key ed25519.PublicKey, op mandate.Op) error {
	if len(key) != ed25519.PublicKeySize {
		return fault.New(fault.BadSignature, "key of %d bytes", len(key))
	}
	k := mandateKey{client, [32]byte(key)}
	h.mu.Lock()
	c, ok := h.mandates[k]
	turn := h.mandateTurn
	h.mu.Unlock()
	fresh := mandateFresh
	if c.err != nil {
		fresh = refusalFresh
	}
	if !ok || time.Since(c.at) > fresh {
		c.mandate, c.err = h.c.Ledger.Mandate(ctx, client, k.key)
		c.at = time.Now()
		if fault.CodeOf(c.err) == fault.NotFound {
			c.err = fault.New(fault.MandateRefused, "%w", c.err)
		}
		if c.err == nil || fault.CodeOf(c.err) == fault.MandateRefused {
			h.remember(k, c, turn)
		}
	}
	if c.err != nil {
		return c.err
	}
	return c.mandate.May(op, h.now())
}

// remember keeps what the ledger said, unless mandates have changed since it was asked.
func (h *Host) remember(k mandateKey, c cachedMandate, turn uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mandateTurn != turn {
		return
	}
	if len(h.mandates) >= maxMandates {
		clear(h.mandates)
	}
	h.mandates[k] = c
}

// MandateChanged forgets what was known about a client's keys. What a key has
// signed can be posted only for a while after its mandate has ended: Run looks at
// that client's leases.
func (h *Host) MandateChanged(grantor string) {
	h.mu.Lock()
	h.mandateTurn++
	for k := range h.mandates {
		if k.grantor == grantor {
			delete(h.mandates, k)
		}
	}
	var of []uint64
	for id, b := range h.bargains {
		if b.terms().Client == grantor {
			of = append(of, id)
		}
	}
	h.mu.Unlock()
	for _, id := range of {
		h.look(id)
	}
}
