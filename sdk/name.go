package sdk

import (
	"strings"

	"hearth/core/fault"
)

// A Name says which object is meant, or which part of a bucket.
type Name struct{ Bucket, Key string }

const scheme = "hearth://"

// ParseName reads `hearth://bucket/key`; the beginning may be left out. The key
// may be empty.
func ParseName(s string) (Name, error) {
	rest, _ := strings.CutPrefix(s, scheme)
	bucket, key, _ := strings.Cut(rest, "/")
	if bucket == "" || strings.Contains(bucket, ":") {
		return Name{}, fault.New(fault.BadName, "read name %q: it has no bucket", s)
	}
	return Name{bucket, key}, nil
}

func (n Name) String() string { return scheme + n.Bucket + "/" + n.Key }
