// Package machine holds what a host's machine can do: the class that it has measured of
// itself and signed, and the least that a network wants of a host. A class is a claim:
// who buys compares it with what was got.
package machine

import (
	"crypto/ed25519"
	"fmt"

	"hearth/core/canon"
	"hearth/core/fault"
)

// Figures are what was measured. Each of a second is of one that was quiet.
type Figures struct {
	Core      uint64 // gas that one core computes in a second
	All       uint64 // and all of them at once
	Cores     uint64
	Memory    uint64 // bytes
	Copy      uint64 // bytes of memory copied in a second, by one core
	DiskWrite uint64 // bytes written in a second in the host's folder, until they are on the disk
	DiskRead  uint64 // bytes read in a second, from the disk and not from memory
	DiskFree  uint64 // bytes
	GPUs      []GPU  // empty: none
	Measured  int64  // when, unix seconds
}

// A GPU is a processor for graphics or the like. What isn't known of it is empty.
type GPU struct {
	Vendor string
	Model  string
	Memory uint64 // bytes
}

// A Class is what a host's machine is worth on one network.
type Class struct {
	ChainID string
	Host    string // the host's account
	Figures
}

// Limits of a class.
const (
	MaxGPUs  = 16
	MaxText  = 64   // bytes of a vendor's and of a model's name
	MaxBytes = 4096 // of a signed class
	// Lasts is how long a class is believed, in seconds: hosts measure more often.
	Lasts = 30 * 24 * 3600
	// ahead is how far a host's clock may be before the reader's.
	ahead = 600
)

const (
	major    = 1
	maxName  = 128
	sigLabel = "hearth/machine/1"
)

// Encode gives the canonical bytes.
func (c Class) Encode() []byte {
	w := canon.New(major).String(c.ChainID).String(c.Host).
		Uint64(c.Core).Uint64(c.All).Uint64(c.Cores).Uint64(c.Memory).Uint64(c.Copy).
		Uint64(c.DiskWrite).Uint64(c.DiskRead).Uint64(c.DiskFree).Uint64(uint64(len(c.GPUs)))
	for _, g := range c.GPUs {
		w.String(g.Vendor).String(g.Model).Uint64(g.Memory)
	}
	return w.Int64(c.Measured).Bytes()
}

// Sign signs c with the host's node key.
func (c Class) Sign(key ed25519.PrivateKey) Signed {
	digest := canon.Digest(sigLabel, c.Encode())
	return Signed{Class: c, Sig: ed25519.Sign(key, digest[:])}
}

// Signed is a class with its host's signature.
type Signed struct {
	Class
	Sig []byte // 64 bytes
}

// Encode gives the bytes that go over the wire.
func (s Signed) Encode() []byte {
	return canon.New(major).Blob(s.Class.Encode()).Blob(s.Sig).Bytes()
}

// Decode reads Encode's bytes. It checks the form and no signature.
func Decode(b []byte) (Signed, error) {
	if len(b) > MaxBytes {
		return Signed{}, fault.New(fault.TooLarge, "read machine: %d bytes, at most %d are allowed", len(b), MaxBytes)
	}
	r := canon.Read(b, major)
	body, sig := r.Blob(MaxBytes), r.Blob(ed25519.SignatureSize)
	if err := r.Done(); err != nil {
		return Signed{}, fault.New(fault.CodeOf(err), "read machine: %w", err)
	}
	c, err := decode(body)
	if err != nil {
		return Signed{}, fault.New(fault.CodeOf(err), "read machine: %w", err)
	}
	return Signed{c, sig}, nil
}

func decode(b []byte) (c Class, err error) {
	r := canon.Read(b, major)
	c.ChainID, c.Host = r.String(maxName), r.String(maxName)
	c.Core, c.All, c.Cores, c.Memory, c.Copy = r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64()
	c.DiskWrite, c.DiskRead, c.DiskFree = r.Uint64(), r.Uint64(), r.Uint64()
	count := r.Uint64()
	if count > MaxGPUs {
		return Class{}, fault.New(fault.TooLarge, "%d GPUs, at most %d are allowed", count, MaxGPUs)
	}
	for range count {
		g := GPU{Vendor: r.String(MaxText), Model: r.String(MaxText), Memory: r.Uint64()}
		if !shown(g.Vendor) || !shown(g.Model) {
			return Class{}, fault.New(fault.BadFrame, "a GPU's name has other characters than ASCII's printable ones")
		}
		c.GPUs = append(c.GPUs, g)
	}
	c.Measured = r.Int64()
	if err := r.Done(); err != nil {
		return Class{}, err
	}
	return c, nil
}

// shown says whether a text is printable ASCII: what a stranger has written is shown
// to people as it is.
func shown(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// Plain is s as a class may hold it: printable ASCII, and not too long.
func Plain(s string) string {
	b := make([]byte, 0, min(len(s), MaxText))
	for i := 0; i < len(s) && len(b) < MaxText; i++ {
		if s[i] >= ' ' && s[i] <= '~' {
			b = append(b, s[i])
		}
	}
	return string(b)
}

// Check says whether s is of this host on this network, signed by its key, and measured
// neither in the future nor too long ago to be believed.
func (s Signed) Check(chainID, host string, key ed25519.PublicKey, now int64) error {
	digest := canon.Digest(sigLabel, s.Class.Encode())
	switch {
	case s.ChainID != chainID:
		return fault.New(fault.WrongNetwork, "machine of %s: it is for network %s, this is %s", s.Host, s.ChainID, chainID)
	case s.Host != host:
		return fault.New(fault.BadSignature, "machine of %s: it names another host", host)
	case len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, digest[:], s.Sig):
		return fault.New(fault.BadSignature, "machine of %s: the signature isn't the host's", host)
	case s.Measured > now && s.Measured-now > ahead:
		return fault.New(fault.BadRequest, "machine of %s: it was measured in the future", host)
	case s.Measured < now-Lasts:
		return fault.New(fault.Stale, "machine of %s: it was measured more than %d days ago", host, Lasts/(24*3600))
	}
	return nil
}

// Speed is gas in a second as people read it.
func Speed(gas uint64) string {
	if gas >= 1e9 {
		return fmt.Sprintf("%.1f Ggas/s", float64(gas)/1e9)
	}
	return fmt.Sprintf("%.0f Mgas/s", float64(gas)/1e6)
}
