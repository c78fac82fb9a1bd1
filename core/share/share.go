// Package share holds the rules of sharing: a ticket that lets its bearer read
// shards of its owner at hosts, on a lease of the reader's, and the link that
// carries it with what is needed to decrypt. A ticket is a right to read and
// nothing else; which shards exist is told by the link alone, so it reaches no
// further than what its owner has put into it. It refuses what isn't signed,
// what has ended, and what holds for longer than MaxSeconds.
package share

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"hearth/core/canon"
	"hearth/core/fault"
)

const (
	major = 1
	label = "hearth/share/1"

	// MaxSeconds is how long a ticket may hold.
	MaxSeconds = 366 * 24 * 3600
	// MaxContents bounds what a link carries beside its ticket.
	MaxContents = 16 << 10

	scheme  = "hearth-share:"
	skew    = 300 // seconds by which clocks may differ
	maxName = 128
)

// A Serial is the random name of a ticket, by which it is revoked.
type Serial [16]byte

// String is hex.
func (s Serial) String() string { return hex.EncodeToString(s[:]) }

// ParseSerial reads what String wrote.
func ParseSerial(s string) (out Serial, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(out) {
		return out, fault.New(fault.BadRequest, "serial %q: it has 32 hex digits", s)
	}
	return Serial(b), nil
}

// A Ticket lets its bearer read.
type Ticket struct {
	Owner    string // account
	Serial   Serial
	Until    int64    // unix seconds, the last one included
	Contents [32]byte // SHA-256 of what the link carries beside it
}

func (t Ticket) digest(chainID string) []byte {
	w := canon.New(major).String(chainID).String(t.Owner).Fixed(t.Serial[:]).Int64(t.Until).Fixed(t.Contents[:])
	h := sha256.New()
	h.Write([]byte(label))
	h.Write(w.Bytes())
	return h.Sum(nil)
}

// Sign signs t with a key that the owner has mandated.
func (t Ticket) Sign(chainID string, key ed25519.PrivateKey) []byte {
	return ed25519.Sign(key, t.digest(chainID))
}

// Verify checks signature and time. Whether the key may act for the owner of a
// shard, and whether the serial was revoked, is for the host to find out.
func Verify(chainID string, t Ticket, key, sig []byte, now int64) error {
	switch {
	case len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, t.digest(chainID), sig):
		return fault.New(fault.BadSignature, "ticket %s: the signature doesn't match", t.Serial)
	case now > t.Until:
		return fault.New(fault.Unauthorized, "ticket %s: it ended %d s ago", t.Serial, now-t.Until)
	case t.Until-now > MaxSeconds+skew:
		return fault.New(fault.Unauthorized, "ticket %s: it holds for more than %d s", t.Serial, int64(MaxSeconds))
	}
	return nil
}

// A Link is a ticket, signed, and what it opens.
type Link struct {
	ChainID  string
	Ticket   Ticket
	Key      [32]byte // signs
	Sig      [64]byte
	Contents []byte
}

// Check verifies a link for a network at a time.
func (l Link) Check(chainID string, now int64) error {
	if l.ChainID != chainID {
		return fault.New(fault.WrongNetwork, "link %s: it is of the network %s, this node is on %s", l.Ticket.Serial, l.ChainID, chainID)
	}
	if sha256.Sum256(l.Contents) != l.Ticket.Contents {
		return fault.New(fault.BadSignature, "link %s: its contents aren't what was signed", l.Ticket.Serial)
	}
	return Verify(chainID, l.Ticket, l.Key[:], l.Sig[:], now)
}

// String is the link as people pass it on.
func (l Link) String() string {
	w := canon.New(major).String(l.ChainID).String(l.Ticket.Owner).Fixed(l.Ticket.Serial[:]).Int64(l.Ticket.Until).
		Fixed(l.Ticket.Contents[:]).Fixed(l.Key[:]).Fixed(l.Sig[:]).Blob(l.Contents)
	return scheme + base64.RawURLEncoding.EncodeToString(w.Bytes())
}

// Is says whether s looks like a link.
func Is(s string) bool { return strings.HasPrefix(s, scheme) }

// Parse reads what String wrote and refuses everything else. The link isn't
// verified by that: see Check.
func Parse(s string) (Link, error) {
	text, ok := strings.CutPrefix(s, scheme)
	if !ok || len(text) > 2*MaxContents {
		return Link{}, fault.New(fault.BadRequest, "link of %d characters: it begins with %s and isn't longer than %d", len(s), scheme, 2*MaxContents)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return Link{}, fault.New(fault.BadRequest, "link: it is no base64: %w", err)
	}
	r := canon.Read(b, major)
	l := Link{ChainID: r.String(maxName)}
	l.Ticket.Owner = r.String(maxName)
	r.Fixed(l.Ticket.Serial[:])
	l.Ticket.Until = r.Int64()
	r.Fixed(l.Ticket.Contents[:])
	r.Fixed(l.Key[:])
	r.Fixed(l.Sig[:])
	l.Contents = r.Blob(MaxContents)
	if err := r.Done(); err != nil {
		return Link{}, fault.New(fault.CodeOf(err), "link: %w", err)
	}
	if again := l.String(); again != s {
		return Link{}, fault.New(fault.BadRequest, "link: it has another encoding")
	}
	return l, nil
}
