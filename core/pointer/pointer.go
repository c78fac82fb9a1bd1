// Package pointer holds the signed slips that say where a device's log of the
// index ends: one line a flush, chained, the same on every host and on the
// ledger. It decides which of two is newer and refuses what isn't signed by the
// account's pointer key; it fetches nothing and knows no log.
package pointer

import (
	"crypto/ed25519"
	"crypto/sha256"

	"lukechampine.com/blake3"

	"hearth/core/canon"
	"hearth/core/fault"
)

const (
	major = 1
	// MaxBytes bounds the encoding.
	MaxBytes = 512
	// MaxDevices is how many devices of one account a host or the ledger remembers.
	MaxDevices = 16
	// Forgotten is after how many seconds without a new pointer a device may make
	// room for another. Deletions are remembered as long.
	Forgotten = 90 * 24 * 3600

	maxChain   = 64
	maxAddress = 128
)

// A Hash is a BLAKE3-256.
type Hash [32]byte

// A Pointer says what a device's log is at one moment.
type Pointer struct {
	ChainID  string
	Account  string
	Device   uint64
	Seq      uint64 // from 1
	Prev     Hash   // Signed.ID of the one before; zero for the first
	LogRoot  Hash   // of the sealed head
	Snapshot Hash   // of the snapshot's bytes; zero: the log has none
	Time     int64  // unix seconds, by the device's clock
}

// A Signed pointer carries the account's pointer key and its signature.
type Signed struct {
	Pointer
	Key [ed25519.PublicKeySize]byte
	Sig [ed25519.SignatureSize]byte
}

func (p Pointer) fields() *canon.Writer {
	return canon.New(major).String(p.ChainID).String(p.Account).Uint64(p.Device).Uint64(p.Seq).
		Fixed(p.Prev[:]).Fixed(p.LogRoot[:]).Fixed(p.Snapshot[:]).Int64(p.Time)
}

func (p Pointer) digest() []byte {
	h := sha256.New()
	h.Write([]byte("hearth/pointer/1"))
	h.Write(p.fields().Bytes())
	return h.Sum(nil)
}

// Sign signs p with the account's pointer key.
func (p Pointer) Sign(key ed25519.PrivateKey) Signed {
	s := Signed{Pointer: p}
	copy(s.Key[:], key.Public().(ed25519.PublicKey))
	copy(s.Sig[:], ed25519.Sign(key, p.digest()))
	return s
}

// Encode gives the canonical bytes (docs/formats/pointer.md).
func (s Signed) Encode() []byte { return s.fields().Fixed(s.Key[:]).Fixed(s.Sig[:]).Bytes() }

// ID names a signed pointer; the next one carries it as Prev.
func (s Signed) ID() Hash { return blake3.Sum256(s.Encode()) }

// Decode reads what Encode wrote, and checks form and signature. Whose key it is
// remains to be asked.
func Decode(b []byte) (Signed, error) {
	if len(b) > MaxBytes {
		return Signed{}, fault.New(fault.TooLarge, "pointer of %d bytes, at most %d are allowed", len(b), MaxBytes)
	}
	r := canon.Read(b, major)
	var s Signed
	s.ChainID, s.Account, s.Device, s.Seq = r.String(maxChain), r.String(maxAddress), r.Uint64(), r.Uint64()
	r.Fixed(s.Prev[:])
	r.Fixed(s.LogRoot[:])
	r.Fixed(s.Snapshot[:])
	s.Time = r.Int64()
	r.Fixed(s.Key[:])
	r.Fixed(s.Sig[:])
	if err := r.Done(); err != nil {
		return Signed{}, err
	}
	if s.Seq == 0 || s.Seq == 1 != (s.Prev == Hash{}) {
		return Signed{}, fault.New(fault.BadFrame, "pointer %d of device %016x: it doesn't fit into a chain", s.Seq, s.Device)
	}
	return s, s.verify()
}

func (s Signed) verify() error {
	if !ed25519.Verify(s.Key[:], s.digest(), s.Sig[:]) {
		return fault.New(fault.BadSignature, "pointer %d of device %016x: the signature doesn't match", s.Seq, s.Device)
	}
	return nil
}

// Of says whether s belongs to an account of a network, under the account's key.
func (s Signed) Of(chainID, account string, key ed25519.PublicKey) error {
	if s.ChainID != chainID || s.Account != account || !key.Equal(ed25519.PublicKey(s.Key[:])) {
		return fault.New(fault.BadSignature, "pointer %d of device %016x: it is another account's", s.Seq, s.Device)
	}
	return nil
}

// Follows says whether s may take the place of old, a pointer of the same device
// under the same key: an older one never may, and one that doesn't continue old's
// chain shows that two machines write under one device number.
func (s Signed) Follows(old Signed) error {
	switch {
	case s == old:
		return nil
	case s.Seq <= old.Seq:
		return fault.New(fault.Stale, "pointer %d of device %016x: number %d is known already", s.Seq, s.Device, old.Seq)
	case s.Seq == old.Seq+1 && s.Prev != old.ID():
		return fault.New(fault.Stale, "pointer %d of device %016x: it doesn't follow the one that is known", s.Seq, s.Device)
	}
	return nil
}

// Admit places s among the pointers of an account, one for each device, and
// returns them with it; list isn't changed. Where there are too many devices the
// one that was silent longest makes room, if it was for Forgotten.
func Admit(list []Signed, s Signed) ([]Signed, error) {
	out := append([]Signed(nil), list...)
	oldest := 0
	for i, p := range out {
		if p.Device == s.Device {
			if err := s.Follows(p); err != nil {
				return nil, err
			}
			out[i] = s
			return out, nil
		}
		if p.Time < out[oldest].Time {
			oldest = i
		}
	}
	if len(out) < MaxDevices {
		return append(out, s), nil
	}
	if last := out[oldest].Time; s.Time < last || s.Time-last < Forgotten {
		return nil, fault.New(fault.TooLarge, "pointer of device %016x: the account has %d devices, no more are kept", s.Device, len(out))
	}
	out[oldest] = s
	return out, nil
}
