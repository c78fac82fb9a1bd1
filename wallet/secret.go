// Package wallet derives every key of a node from one recovery phrase, signs
// with them, and keeps the phrase on disk. It knows no ledger and no network
// beyond the name it stores. Secrets print as "[secret]" and stand in no error;
// only the methods that say so give them away.
package wallet

import (
	"fmt"
	"io"
	"log/slog"
)

// redacted is embedded in whatever holds a secret. Such types keep the secret
// behind a pointer, because fmt reads unexported fields without asking methods.
type redacted struct{}

const hidden = "[secret]"

// String hides the secret.
func (redacted) String() string { return hidden }

// Format hides the secret for every verb.
func (redacted) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// LogValue hides the secret from slog.
func (redacted) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the secret from encoders.
func (redacted) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// A Secret is 32 bytes that must not be shown.
type Secret struct {
	redacted
	b *[32]byte
}

// Reveal is the secret itself.
func (s Secret) Reveal() [32]byte { return *s.b }
