// Package quote holds price lists: what a host asks for one kind of service,
// signed by its key, with an end date. A quote is a price and not a consent: it
// moves no money, and a stale one does no harm.
package quote

import (
	"crypto/ed25519"
	"crypto/sha256"
	"math"
	"math/bits"

	"hearth/core/canon"
	"hearth/core/fault"
	"hearth/core/money"
)

// Kind is a kind of service.
type Kind uint8

// The kinds. Their numbers are part of the formats.
const (
	Storage Kind = 1 + iota
	Compute
	Edge
	Relay
	Talk
)

var kinds = [...]string{Storage: "storage", Compute: "compute", Edge: "edge", Relay: "relay", Talk: "talk"}

// Valid says whether the kind is known.
func (k Kind) Valid() bool { return k >= Storage && k <= Talk }

func (k Kind) String() string {
	if k.Valid() {
		return kinds[k]
	}
	return "unknown"
}

// Dims is how many dimensions units have: for storage the bytes stored; for
// compute vCPUs (2^30 for one), bytes of memory, bytes of disk.
const Dims = 3

// Units is what a lease reserves.
type Units [Dims]uint64

const (
	// GiB is the number that a unit price and a price of traffic are for.
	GiB = 1 << 30
	// Tgas is the number of units of gas that a price of gas is for: what a core
	// computes in about 17 minutes.
	Tgas = 1_000_000_000_000
)

// Prices of one kind of service.
type Prices struct {
	Unit [Dims]uint64 // for 2^30 of a dimension: 10^-12 uember a second
	In   uint64       // uember for a GiB the host receives
	Out  uint64       // uember for a GiB the host sends
	Gas  uint64       // uember for a Tgas
}

// Rate is floor(sum of units x price), or the largest rate where it doesn't fit.
func (p Prices) Rate(u Units) money.Rate {
	var hi, lo uint64
	for i := range u {
		h, l := bits.Mul64(u[i], p.Unit[i])
		var carry uint64
		lo, carry = bits.Add64(lo, l, 0)
		hi, carry = bits.Add64(hi, h, carry)
		if carry > 0 {
			return math.MaxUint64
		}
	}
	if hi >= GiB {
		return math.MaxUint64
	}
	q, _ := bits.Div64(hi, lo, GiB)
	return money.Rate(q)
}

// Owed is what so much use comes to, from cumulative figures: rounding up once
// favours the host by less than three uember in a lease's life.
func (p Prices) Owed(u Use) money.Amount {
	if u.full() {
		return money.Max
	}
	traffic := money.AddCap(money.Amount(money.MulDivUp(u.In, p.In, GiB)), money.Amount(money.MulDivUp(u.Out, p.Out, GiB)))
	return money.AddCap(traffic, money.Amount(money.MulDivUp(u.Gas, p.Gas, Tgas)))
}

// Within says whether no price passes its ceiling.
func (p Prices) Within(ceiling Prices) bool {
	for i := range p.Unit {
		if p.Unit[i] > ceiling.Unit[i] {
			return false
		}
	}
	return p.In <= ceiling.In && p.Out <= ceiling.Out && p.Gas <= ceiling.Gas
}

// A Quote is what a host asks on one network until a time.
type Quote struct {
	ChainID    string
	Host       string // the host's account
	Kind       Kind
	Prices     Prices
	ValidUntil int64 // unix seconds
}

const (
	major    = 1
	maxName  = 128
	sigLabel = "hearth/quote/1"
)

// Encode gives the canonical bytes.
func (q Quote) Encode() []byte {
	w := canon.New(major).String(q.ChainID).String(q.Host).Uint8(uint8(q.Kind))
	for _, u := range q.Prices.Unit {
		w.Uint64(u)
	}
	return w.Uint64(q.Prices.In).Uint64(q.Prices.Out).Uint64(q.Prices.Gas).Int64(q.ValidUntil).Bytes()
}

func (q Quote) digest() []byte {
	h := sha256.New()
	h.Write([]byte(sigLabel))
	h.Write(q.Encode())
	return h.Sum(nil)
}

// Sign signs q with the host's key.
func (q Quote) Sign(key ed25519.PrivateKey) Signed {
	return Signed{Quote: q, Sig: ed25519.Sign(key, q.digest())}
}

// Signed is a quote with its host's signature.
type Signed struct {
	Quote
	Sig []byte // 64 bytes
}

// Encode gives the bytes that go over the wire.
func (s Signed) Encode() []byte {
	return canon.New(major).Blob(s.Quote.Encode()).Blob(s.Sig).Bytes()
}

// Decode reads Encode's bytes. It checks the form and no signature.
func Decode(b []byte) (Signed, error) {
	r := canon.Read(b, major)
	body, sig := r.Blob(canon.MaxBytes), r.Blob(ed25519.SignatureSize)
	if err := r.Done(); err != nil {
		return Signed{}, fault.New(fault.CodeOf(err), "read quote: %w", err)
	}
	r = canon.Read(body, major)
	q := Quote{ChainID: r.String(maxName), Host: r.String(maxName), Kind: Kind(r.Uint8())}
	for i := range q.Prices.Unit {
		q.Prices.Unit[i] = r.Uint64()
	}
	q.Prices.In, q.Prices.Out, q.Prices.Gas, q.ValidUntil = r.Uint64(), r.Uint64(), r.Uint64(), r.Int64()
	if err := r.Done(); err != nil {
		return Signed{}, fault.New(fault.CodeOf(err), "read quote: %w", err)
	}
	if !q.Kind.Valid() {
		return Signed{}, fault.New(fault.BadFrame, "read quote: unknown kind %d", q.Kind)
	}
	return Signed{q, sig}, nil
}

// Check says whether s is this network's, signed by key, and good at now.
// maxAhead is how far in the future a quote may end.
func (s Signed) Check(chainID string, key ed25519.PublicKey, now, maxAhead int64) error {
	switch {
	case s.ChainID != chainID:
		return fault.New(fault.WrongNetwork, "quote of %s: it is for network %s, this is %s", s.Host, s.ChainID, chainID)
	case !s.Kind.Valid():
		return fault.New(fault.BadFrame, "quote of %s: unknown kind %d", s.Host, s.Kind)
	case len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, s.digest(), s.Sig):
		return fault.New(fault.BadSignature, "quote of %s: the signature isn't the host's", s.Host)
	case now > s.ValidUntil:
		return fault.New(fault.QuoteExpired, "quote of %s: it ended %d s ago", s.Host, now-s.ValidUntil)
	case s.ValidUntil-now > maxAhead:
		return fault.New(fault.BadRequest, "quote of %s: it is valid for %d s, at most %d are allowed", s.Host, s.ValidUntil-now, maxAhead)
	}
	return nil
}
