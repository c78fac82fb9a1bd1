package instance

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"strings"

	"hearth/core/canon"
	"hearth/core/fault"
)

// Limits of secrets.
const (
	MaxSecrets     = 32
	MaxSecret      = canon.MaxBytes // bytes of one
	MaxSecretName  = 128
	MaxSecretBytes = 1 << 20 // of all together, without their names

	// MaxSecretsCoded is how many bytes Secrets.Encode gives at most.
	MaxSecretsCoded = 1 + 32 + 8 + MaxSecrets*(4+MaxSecretName+4) + MaxSecretBytes
)

const secretsLabel = "hearth/secrets/1"

// A Secret is a file of /run/secrets. Printed, and as JSON, it shows its name alone.
type Secret struct {
	Name  string
	Value []byte `json:"-"`
}

// Format writes the name.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "secret %q", s.Name) }

// Secrets are one instance's files, and the key without which nobody can tell from their
// commitment whether he has guessed them. They are in no spec and on no host's disk.
type Secrets struct {
	Key   [32]byte `json:"-"` // drawn by who makes them
	Files []Secret // in the order of their names
}

// Format writes the names.
func (s Secrets) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "%v", s.Files) }

// Check refuses what no host takes.
func (s Secrets) Check() error {
	if len(s.Files) == 0 || len(s.Files) > MaxSecrets {
		return fault.New(fault.TooLarge, "secrets: %d, 1 to %d are allowed", len(s.Files), MaxSecrets)
	}
	all := 0
	for i, f := range s.Files {
		switch {
		case !secretName(f.Name):
			return fault.New(fault.BadName, "secret %q: a name has 1 to %d of a-z, A-Z, 0-9, -, _ and ., and isn't . or ..", fault.Brief(f.Name), MaxSecretName)
		case len(f.Value) > MaxSecret:
			return fault.New(fault.TooLarge, "secret %s: %d bytes, at most %d are allowed", f.Name, len(f.Value), MaxSecret)
		case i > 0 && s.Files[i-1].Name >= f.Name:
			return fault.New(fault.BadRequest, "secret %s: it is there twice, or out of order", f.Name)
		}
		all += len(f.Value)
	}
	if all > MaxSecretBytes {
		return fault.New(fault.TooLarge, "secrets: %d bytes in all, at most %d are allowed", all, MaxSecretBytes)
	}
	return nil
}

func secretName(s string) bool {
	return s != "" && len(s) <= MaxSecretName && s != "." && s != ".." && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", r)
	})
}

// Encode gives the canonical bytes.
func (s Secrets) Encode() []byte {
	w := canon.New(secretsMajor).Fixed(s.Key[:]).Uint64(uint64(len(s.Files)))
	for _, f := range s.Files {
		w.String(f.Name).Blob(f.Value)
	}
	return w.Bytes()
}

// Commitment is what a spec says of them: HMAC-SHA256 under Key of "hearth/secrets/1" and
// the canonical bytes. Who holds it and not the key learns nothing of them.
func (s Secrets) Commitment() (out [32]byte) {
	h := hmac.New(sha256.New, s.Key[:])
	h.Write([]byte(secretsLabel))
	h.Write(s.Encode())
	h.Sum(out[:0])
	return out
}

// DecodeSecrets reads Encode's bytes, and checks them. Its errors have no value in them.
func DecodeSecrets(b []byte) (s Secrets, err error) {
	r := canon.Read(b, secretsMajor)
	r.Fixed(s.Key[:])
	n := r.Uint64()
	if n > MaxSecrets {
		return Secrets{}, fault.New(fault.TooLarge, "read secrets: %d, at most %d are allowed", n, MaxSecrets)
	}
	for range n {
		s.Files = append(s.Files, Secret{Name: r.String(MaxSecretName), Value: r.Blob(MaxSecret)})
	}
	if err := r.Done(); err != nil {
		return Secrets{}, fault.New(fault.CodeOf(err), "read secrets: %w", err)
	}
	if err := s.Check(); err != nil {
		return Secrets{}, err
	}
	return s, nil
}
