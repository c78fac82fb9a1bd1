package steward

import (
	"crypto/ed25519"
	"crypto/sha256"

	"hearth/core/canon"
	"hearth/core/fault"
)

// SlipTime is how long, in seconds, a slip may hold.
const SlipTime = 3600

// clocks may differ by so much.
const skew = 300

// A Slip says for which account a peer speaks to a steward.
type Slip struct {
	ChainID string
	Account string
	Steward [32]byte // the steward's peer key
	Peer    [32]byte // of who speaks
	Until   int64    // unix seconds
}

func (s Slip) digest() []byte {
	w := canon.New(major).String(s.ChainID).String(s.Account).Fixed(s.Steward[:]).Fixed(s.Peer[:]).Int64(s.Until)
	h := sha256.New()
	h.Write([]byte("hearth/steward/1"))
	h.Write(w.Bytes())
	return h.Sum(nil)
}

// Sign signs s with a device's spending key.
func (s Slip) Sign(key ed25519.PrivateKey) []byte { return ed25519.Sign(key, s.digest()) }

// Verify checks signature and time. Whether the key may speak for the account is
// for the caller to ask the ledger.
func (s Slip) Verify(key, sig []byte, now int64) error {
	switch {
	case len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, s.digest(), sig):
		return fault.New(fault.BadSignature, "slip of %s: the signature doesn't match", s.Account)
	case now > s.Until+skew:
		return fault.New(fault.Unauthorized, "slip of %s: it ended %d s ago", s.Account, now-s.Until)
	case s.Until-now > SlipTime+skew:
		return fault.New(fault.Unauthorized, "slip of %s: it holds for more than %d s", s.Account, int64(SlipTime))
	}
	return nil
}
