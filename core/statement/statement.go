// Package statement holds what a client and a host agree off the ledger about
// one lease. The newest sequence number wins, the total never falls. A statement
// names no price: those are in the lease.
package statement

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"

	"hearth/core/canon"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/quote"
)

// A Statement is one agreed state of a lease. The zero Statement of a lease is
// what holds before the first one.
type Statement struct {
	ChainID string
	Lease   uint64
	Seq     uint64
	// Total is all traffic, gas and run time owed up to AsOf.
	Total money.Amount
	Units quote.Units // what is reserved from AsOf on
	Root  [32]byte    // of what is stored; zero where nothing is
	AsOf  int64       // unix seconds
	// RunsUntil is how far the client has agreed to pay the rate of Units.
	RunsUntil int64
}

const (
	major    = 1
	maxChain = 64
	sigLabel = "hearth/statement/1"
)

// Encode gives the canonical bytes.
func (s Statement) Encode() []byte {
	w := canon.New(major).String(s.ChainID).Uint64(s.Lease).Uint64(s.Seq).Uint64(uint64(s.Total))
	for _, u := range s.Units {
		w.Uint64(u)
	}
	return w.Fixed(s.Root[:]).Int64(s.AsOf).Int64(s.RunsUntil).Bytes()
}

// Digest is what both sides sign: SHA-256("hearth/statement/1" || canonical bytes).
func (s Statement) Digest() []byte {
	h := sha256.New()
	h.Write([]byte(sigLabel))
	h.Write(s.Encode())
	return h.Sum(nil)
}

// Signed is a statement with its signatures.
type Signed struct {
	Statement
	ClientKey []byte // ed25519, under a mandate of the lease's client
	ClientSig []byte
	HostSig   []byte // empty where the host has not signed
}

// SignClient signs s as the client does.
func (s Statement) SignClient(key ed25519.PrivateKey) Signed {
	return Signed{Statement: s, ClientKey: key.Public().(ed25519.PublicKey), ClientSig: ed25519.Sign(key, s.Digest())}
}

// SignHost adds the host's signature.
func (s Signed) SignHost(key ed25519.PrivateKey) Signed {
	s.HostSig = ed25519.Sign(key, s.Digest())
	return s
}

// CheckClient verifies the client's signature. Whether ClientKey may sign for
// the lease's client is for the caller to find in the mandates.
func (s Signed) CheckClient(chainID string) error {
	if s.ChainID != chainID {
		return fault.New(fault.WrongNetwork, "statement %d of lease %d: it is for network %q, this is %s", s.Seq, s.Lease, s.ChainID, chainID)
	}
	if len(s.ClientKey) != ed25519.PublicKeySize || !ed25519.Verify(s.ClientKey, s.Digest(), s.ClientSig) {
		return fault.New(fault.BadSignature, "statement %d of lease %d: the client's signature doesn't match", s.Seq, s.Lease)
	}
	return nil
}

// CheckHost verifies the host's signature.
func (s Signed) CheckHost(key ed25519.PublicKey) error {
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, s.Digest(), s.HostSig) {
		return fault.New(fault.BadSignature, "statement %d of lease %d: the host's signature doesn't match", s.Seq, s.Lease)
	}
	return nil
}

// Encode gives the bytes that are stored and sent.
func (s Signed) Encode() []byte {
	return canon.New(major).Blob(s.Statement.Encode()).Blob(s.ClientKey).Blob(s.ClientSig).Blob(s.HostSig).Bytes()
}

// Decode reads Encode's bytes. It checks the form and no signature.
func Decode(b []byte) (Signed, error) {
	r := canon.Read(b, major)
	body := r.Blob(512)
	s := Signed{ClientKey: r.Blob(ed25519.PublicKeySize), ClientSig: r.Blob(ed25519.SignatureSize), HostSig: r.Blob(ed25519.SignatureSize)}
	if err := r.Done(); err != nil {
		return Signed{}, fault.New(fault.CodeOf(err), "read statement: %w", err)
	}
	r = canon.Read(body, major)
	s.ChainID, s.Lease, s.Seq, s.Total = r.String(maxChain), r.Uint64(), r.Uint64(), money.Amount(r.Uint64())
	for i := range s.Units {
		s.Units[i] = r.Uint64()
	}
	r.Fixed(s.Root[:])
	s.AsOf, s.RunsUntil = r.Int64(), r.Int64()
	if err := r.Done(); err != nil {
		return Signed{}, fault.New(fault.CodeOf(err), "read statement: %w", err)
	}
	return s, nil
}

// Skew is how far apart, in seconds, the clocks of two honest sides may be.
const Skew = 120

// Rent is what the rate of s comes to from s.AsOf to asOf, never past RunsUntil,
// rounded up: a statement is made seldom enough that this costs under a uember.
func (s Statement) Rent(p quote.Prices, asOf int64) money.Amount {
	return p.Rate(s.Units).OverUp(min(asOf, s.RunsUntil) - s.AsOf)
}

// Changes says whether next reserves or stores something else than s: then the
// host has to sign as well.
func (s Statement) Changes(next Statement) bool { return s.Units != next.Units || s.Root != next.Root }

// Follow is the rule by which one statement may come after another, the same for
// both sides. s is the newest both know, prices are the lease's as of s.AsOf,
// funded is what the lease holds in all (put in less refunded).
func (s Statement) Follow(next Statement, prices quote.Prices, funded money.Amount, now int64) error {
	bad := func(format string, args ...any) error {
		return fault.New(fault.BadStatement, "statement %d of lease %d: "+format, append([]any{next.Seq, next.Lease}, args...)...)
	}
	switch {
	case next.Lease != s.Lease || next.ChainID != s.ChainID:
		return bad("it is not of lease %d on %s", s.Lease, s.ChainID)
	case next.Seq <= s.Seq:
		return fault.New(fault.Stale, "statement %d of lease %d: number %d is known already", next.Seq, next.Lease, s.Seq)
	case next.Total < s.Total:
		return bad("the total falls from %d to %d", s.Total, next.Total)
	case next.AsOf < s.AsOf || next.RunsUntil < s.RunsUntil:
		return bad("its times go back")
	case next.Total > funded:
		return fault.New(fault.NoFunds, "statement %d of lease %d: its total of %d passes the %d uember in the lease", next.Seq, next.Lease, next.Total, funded)
	case next.AsOf > now+Skew:
		return bad("it is %d s ahead of the clock", next.AsOf-now)
	}
	if owed := money.AddCap(s.Total, s.Rent(prices, next.AsOf)); next.AsOf > s.AsOf && next.Total < owed {
		return bad("with the rent up to its time %d is owed, it says %d", owed, next.Total)
	}
	if s.Units != next.Units && next.AsOf < now-Skew {
		return bad("other units since %d s ago", now-next.AsOf)
	}
	return nil
}

// RefundDigest is what a host signs to consent that a lease ends at once, total
// being all it will ever have earned.
func RefundDigest(chainID string, lease uint64, total money.Amount) []byte {
	h := sha256.New()
	h.Write([]byte("hearth/refund/1"))
	h.Write([]byte(chainID))
	h.Write([]byte{0})
	h.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, lease), uint64(total)))
	return h.Sum(nil)
}
