package share

import (
	"encoding/base64"
	"strings"

	"hearth/core/canon"
	"hearth/core/fault"
)

// A Write is a link with which somebody may put objects under a prefix, at a door
// of its owner's. What it may is in the key, which the door checks.
type Write struct {
	Endpoint    string // of the door
	Region      string
	Bucket      string
	Prefix      string
	Access      string
	Secret      string
	Certificate []byte // DER, where the door has signed its own; else empty
}

const (
	writeScheme    = "hearth-write:"
	maxCertificate = 8 << 10
	maxWord        = 1024
)

// String is the link as people pass it on.
func (l Write) String() string {
	w := canon.New(major).String(l.Endpoint).String(l.Region).String(l.Bucket).String(l.Prefix).
		String(l.Access).String(l.Secret).Blob(l.Certificate)
	return writeScheme + base64.RawURLEncoding.EncodeToString(w.Bytes())
}

// IsWrite says whether s looks like a link for writing.
func IsWrite(s string) bool { return strings.HasPrefix(s, writeScheme) }

// ParseWrite reads what String wrote and refuses everything else.
func ParseWrite(s string) (Write, error) {
	text, ok := strings.CutPrefix(s, writeScheme)
	if !ok || len(text) > 2*MaxContents {
		return Write{}, fault.New(fault.BadRequest, "link of %d characters: it begins with %s and isn't longer than %d", len(s), writeScheme, 2*MaxContents)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return Write{}, fault.New(fault.BadRequest, "link: it is no base64: %w", err)
	}
	r := canon.Read(b, major)
	l := Write{
		Endpoint: r.String(maxWord), Region: r.String(maxName), Bucket: r.String(maxName), Prefix: r.String(maxWord),
		Access: r.String(maxName), Secret: r.String(maxName), Certificate: r.Blob(maxCertificate),
	}
	if err := r.Done(); err != nil {
		return Write{}, fault.New(fault.CodeOf(err), "link: %w", err)
	}
	if !strings.HasPrefix(l.Endpoint, "http://") && !strings.HasPrefix(l.Endpoint, "https://") || l.Bucket == "" || l.Prefix == "" || l.Access == "" || l.Secret == "" {
		return Write{}, fault.New(fault.BadRequest, "link: it names no door, no prefix or no key")
	}
	if l.String() != s { // base64 leaves out ends of lines
		return Write{}, fault.New(fault.BadRequest, "link: it has another encoding")
	}
	return l, nil
}
