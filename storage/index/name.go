package index

import (
	"net/netip"
	"strings"
	"unicode/utf8"

	"hearth/core/fault"
)

// Scheme begins the name of every object.
const Scheme = "hearth://"

// MaxKey bounds a key, in bytes.
const MaxKey = 1024

// A Ref names an object, or with an empty Key a bucket.
type Ref struct{ Bucket, Key string }

// String is hearth://bucket/key.
func (r Ref) String() string {
	if r.Key == "" {
		return Scheme + r.Bucket
	}
	return Scheme + r.Bucket + "/" + r.Key
}

// ParseRef reads hearth://bucket/key or hearth://bucket. A key is taken byte by
// byte as it stands: nothing is unescaped, and slashes have no meaning here.
func ParseRef(s string) (Ref, error) {
	rest, ok := strings.CutPrefix(s, Scheme)
	if !ok {
		return Ref{}, fault.New(fault.BadName, "name %q: it doesn't begin with %s", s, Scheme)
	}
	bucket, key, _ := strings.Cut(rest, "/")
	if err := CheckBucket(bucket); err != nil {
		return Ref{}, err
	}
	if key != "" {
		if err := CheckKey(key); err != nil {
			return Ref{}, err
		}
	}
	return Ref{bucket, key}, nil
}

// CheckBucket says what is wrong with a bucket's name: it has 3 to 63 of a-z,
// 0-9, hyphens and dots, begins and ends with a letter or digit, has no empty
// part between dots and isn't an IP address.
func CheckBucket(name string) error {
	bad := func(why string) error { return fault.New(fault.BadName, "bucket %q: %s", name, why) }
	if len(name) < 3 || len(name) > 63 {
		return bad("it needs 3 to 63 characters")
	}
	for _, part := range strings.Split(name, ".") {
		if part == "" {
			return bad("a dot stands alone")
		}
		for i, c := range []byte(part) {
			word := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
			if !word && (c != '-' || i == 0 || i == len(part)-1) {
				return bad("only a-z, 0-9, and hyphens and dots between them are allowed")
			}
		}
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return bad("it is an IP address")
	}
	return nil
}

// CheckKey says what is wrong with an object's key: it has 1 to 1024 bytes of
// valid UTF-8 without NUL.
func CheckKey(key string) error {
	switch {
	case key == "":
		return fault.New(fault.BadName, "object without a key: the form is %sbucket/key", Scheme)
	case len(key) > MaxKey:
		return fault.New(fault.BadName, "key of %d bytes: at most %d are allowed", len(key), MaxKey)
	case !utf8.ValidString(key):
		return fault.New(fault.BadName, "key %q: it isn't UTF-8", key)
	case strings.ContainsRune(key, 0):
		return fault.New(fault.BadName, "key %q: it contains NUL", key)
	}
	return nil
}

func (r Ref) check() error {
	if err := CheckBucket(r.Bucket); err != nil {
		return err
	}
	return CheckKey(r.Key)
}
