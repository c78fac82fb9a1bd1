package index

import (
	"encoding/base32"
	"encoding/binary"
	"net/netip"
	"strings"
	"unicode/utf8"

	"hearth/core/fault"
)

// Scheme begins the name of every object.
const Scheme = "hearth://"

// MaxKey bounds a key, in bytes.
const MaxKey = 1024

// NullVersion names the version of an object that was made while its bucket kept none.
const NullVersion = "null"

// A Ref names an object, or with an empty Key a bucket. Version is empty for the
// newest one, else a VersionID or NullVersion.
type Ref struct{ Bucket, Key, Version string }

// String is hearth://bucket/key; it doesn't say the version.
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
	return Ref{Bucket: bucket, Key: key}, nil
}

// Shares is the hidden bucket of the links that were given out. It is the
// account's: alone among the hidden ones it is in the log.
const Shares = ".shares"

// Hidden says that a bucket is the program's own: its name begins with a dot. It
// isn't listed. Doors refuse such names.
func Hidden(bucket string) bool { return strings.HasPrefix(bucket, ".") }

// Local says that what is in a bucket stays on this device.
func Local(bucket string) bool { return Hidden(bucket) && bucket != Shares }

// logged is Local's contrary on a column, in SQL.
func logged(column string) string {
	return `(` + column + ` NOT LIKE '.%' OR ` + column + ` = '` + Shares + `')`
}

// checkLogged takes the names of buckets that are in the log.
func checkLogged(bucket string) error {
	if bucket == Shares {
		return nil
	}
	return CheckBucket(bucket)
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

// check takes the names of hidden buckets too.
func (r Ref) check() error {
	if err := CheckBucket(strings.TrimPrefix(r.Bucket, ".")); err != nil {
		return err
	}
	if err := CheckKey(r.Key); err != nil {
		return err
	}
	if r.Version != "" && r.Version != NullVersion {
		_, err := parseVersion(r.Version)
		return err
	}
	return nil
}

// plain refuses a ref that names a version.
func (r Ref) plain() error {
	if r.Version != "" {
		return fault.New(fault.BadName, "%s: a version can't be chosen here", r)
	}
	return r.check()
}

// A stamp is a hybrid clock's reading and the device that took it: the order of
// everything that several devices write.
type stamp struct {
	clock  int64 // microseconds of wall time, or one more than the last
	device uint64
}

func (s stamp) less(o stamp) bool {
	return s.clock < o.clock || s.clock == o.clock && s.device < o.device
}

// column is a device as the index stores it, in an order that SQL keeps.
func column(device uint64) int64 { return int64(device ^ 1<<63) }

func deviceOf(column int64) uint64 { return uint64(column) ^ 1<<63 }

var versionDigits = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// id is the name of the version made then: 26 characters that sort like stamps.
func (s stamp) id() string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], uint64(s.clock))
	binary.BigEndian.PutUint64(b[8:], s.device)
	return versionDigits.EncodeToString(b[:])
}

func parseVersion(id string) (stamp, error) {
	b, err := versionDigits.DecodeString(id)
	if err != nil || len(b) != 16 || versionDigits.EncodeToString(b) != id {
		return stamp{}, fault.New(fault.BadName, "version %q: a version's name has 26 of 0-9 and a-v", id)
	}
	return stamp{int64(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint64(b[8:])}, nil
}
