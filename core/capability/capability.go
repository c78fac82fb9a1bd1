// Package capability holds the rules of a capability: a right that its holder can
// narrow without asking anybody, and that its issuer checks without having kept
// it. Each caveat takes something away; none gives anything. A caveat of a kind
// that isn't known is refused, never passed over.
package capability

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"slices"
	"strings"

	"hearth/core/canon"
	"hearth/core/fault"
)

const (
	major = 1
	label = "hearth/capability/1"
)

// Limits of a capability.
const (
	MaxCaveats = 16
	MaxText    = 1024 // bytes of a bucket's name or a prefix
)

// An Op is what may be done, as bits.
type Op uint8

// The operations.
const (
	Read   Op = 1 << iota // get objects and what is said of them
	List                  // names
	Write                 // put objects and parts
	Delete                // objects, versions, unfinished uploads
	Manage                // buckets and their settings

	All      = Read | List | Write | Delete | Manage
	ReadOnly = Read | List
)

var opNames = []string{"read", "list", "write", "delete", "manage"}

// String lists the operations.
func (o Op) String() string {
	var out []string
	for i, name := range opNames {
		if o&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return strings.Join(out, ",")
}

// A Kind says what a caveat is about.
type Kind uint8

// The kinds of caveats.
const (
	InBucket Kind = iota + 1 // Text: only this bucket
	Below                    // Text: only keys that begin so
	Only                     // Number: only these operations
	Until                    // Number: unix seconds, the last one included
	Quota                    // Number: bytes stored in all that the caveats up to it leave
)

// A Caveat narrows a capability.
type Caveat struct {
	Kind   Kind
	Text   string
	Number int64
}

func (c Caveat) bytes() []byte {
	return canon.New(major).Uint8(uint8(c.Kind)).String(c.Text).Int64(c.Number).Bytes()
}

func (c Caveat) check() error {
	text := c.Kind == InBucket || c.Kind == Below
	switch {
	case c.Kind < InBucket || c.Kind > Quota:
		return fault.New(fault.UnknownFormat, "caveat of kind %d: it isn't known, so nothing is allowed", c.Kind)
	case text && (c.Text == "" || len(c.Text) > MaxText || c.Number != 0), !text && (c.Text != "" || c.Number < 0):
		return fault.New(fault.BadFrame, "caveat of kind %d: text of %d bytes, number %d", c.Kind, len(c.Text), c.Number)
	}
	return nil
}

// A Capability is a name, and what narrows it. It is no secret: who shows that it
// knows the secret that belongs to it holds it.
type Capability struct {
	ID      [16]byte // drawn by the issuer; revocation goes by it
	Caveats []Caveat
}

// A Secret is what a holder knows. It prints as nothing.
type Secret struct{ b *[32]byte }

// String hides the secret.
func (Secret) String() string { return "[secret]" }

// Reveal is the secret itself.
func (s Secret) Reveal() [32]byte { return *s.b }

// Word is the secret in letters and digits, for programs that want a string.
func (s Secret) Word() string { return words.EncodeToString(s.b[:]) }

var words = base32.StdEncoding.WithPadding(base32.NoPadding)

// Secret computes the secret of c. Only who has the issuer's root can.
func (c Capability) Secret(root [32]byte) Secret {
	s := sum(root, append([]byte(label), c.ID[:]...))
	for _, v := range c.Caveats {
		s = s.Narrow(v)
	}
	return s
}

// Narrow is the secret of the capability with one caveat more.
func (s Secret) Narrow(c Caveat) Secret { return sum(*s.b, c.bytes()) }

func sum(key [32]byte, msg []byte) Secret {
	h := hmac.New(sha256.New, key[:])
	h.Write(msg)
	return Secret{(*[32]byte)(h.Sum(nil))}
}

// Narrow is c with one caveat more; c isn't changed.
func (c Capability) Narrow(v Caveat) Capability {
	c.Caveats = append(slices.Clip(c.Caveats), v)
	return c
}

// Encode gives the capability's canonical bytes (docs/formats/capability.md).
func (c Capability) Encode() ([]byte, error) {
	if len(c.Caveats) > MaxCaveats {
		return nil, fault.New(fault.TooLarge, "capability: %d caveats, at most %d are allowed", len(c.Caveats), MaxCaveats)
	}
	w := canon.New(major).Fixed(c.ID[:]).Uint8(uint8(len(c.Caveats)))
	for _, v := range c.Caveats {
		if err := v.check(); err != nil {
			return nil, err
		}
		w.Uint8(uint8(v.Kind)).String(v.Text).Int64(v.Number)
	}
	return w.Bytes(), nil
}

// Decode reads what Encode wrote and refuses everything else.
func Decode(b []byte) (Capability, error) {
	r := canon.Read(b, major)
	var c Capability
	r.Fixed(c.ID[:])
	n := r.Uint8()
	if n > MaxCaveats {
		return Capability{}, fault.New(fault.TooLarge, "capability: %d caveats, at most %d are allowed", n, MaxCaveats)
	}
	for range n {
		v := Caveat{Kind: Kind(r.Uint8()), Text: r.String(MaxText), Number: r.Int64()}
		c.Caveats = append(c.Caveats, v)
	}
	if err := r.Done(); err != nil {
		return Capability{}, err
	}
	for _, v := range c.Caveats {
		if err := v.check(); err != nil {
			return Capability{}, err
		}
	}
	return c, nil
}
