// Package grant holds the signed slips by which a client lets one network peer
// act on a lease for a while. It decides nothing about money: what is asked for
// must be paid ahead by statements all the same.
package grant

import (
	"crypto/ed25519"
	"crypto/sha256"

	"hearth/core/canon"
	"hearth/core/fault"
)

// MaxSeconds is how long a grant may hold.
const MaxSeconds = 24 * 3600

// A Grant names a lease and the ed25519 identity of the peer that may use it.
type Grant struct {
	Lease uint64
	Peer  [32]byte
	Until int64 // unix seconds
}

func (g Grant) digest(chainID string) []byte {
	w := canon.New(1).String(chainID).Uint64(g.Lease).Fixed(g.Peer[:]).Int64(g.Until)
	h := sha256.New()
	h.Write([]byte("hearth/grant/1"))
	h.Write(w.Bytes())
	return h.Sum(nil)
}

// Sign signs g with a key that the lease's client has mandated.
func (g Grant) Sign(chainID string, key ed25519.PrivateKey) []byte {
	return ed25519.Sign(key, g.digest(chainID))
}

// Verify checks the signature and the time. Whether key may act for the
// lease's client is for the caller to ask the ledger.
func Verify(chainID string, g Grant, key, sig []byte, now int64) error {
	switch {
	case len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, g.digest(chainID), sig):
		return fault.New(fault.BadSignature, "grant for lease %d: the signature doesn't match", g.Lease)
	case now > g.Until:
		return fault.New(fault.Unauthorized, "grant for lease %d: it ended %d s ago", g.Lease, now-g.Until)
	case g.Until-now > MaxSeconds+300: // five minutes for clocks that differ
		return fault.New(fault.Unauthorized, "grant for lease %d: it holds for more than %d s", g.Lease, int64(MaxSeconds))
	}
	return nil
}
