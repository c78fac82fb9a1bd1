// Package network names a network: `<chain-id>@url[,url]`. The chain id is a
// hash of the genesis, so a name pins the ledger it means, whoever answers at
// its URLs. The package reads and writes names; it never connects anywhere.
package network

import (
	"slices"
	"strconv"
	"strings"

	"hearth/core/fault"
)

// Limits of a name.
const (
	MaxURLs   = 8
	MaxURL    = 256  // bytes of one URL
	MaxLength = 2400 // bytes of a whole name
)

const (
	idPrefix = "hearth-"
	idDigits = 20
)

// A Name says which ledger is meant, and where its nodes answer.
type Name struct {
	ChainID string
	URLs    []string // one to MaxURLs, http or https, no two the same
}

// String is the form that Parse reads.
func (n Name) String() string { return n.ChainID + "@" + strings.Join(n.URLs, ",") }

// Parse reads a network's name. Scheme and host are lowered, trailing slashes
// and repeated URLs dropped.
func Parse(s string) (Name, error) {
	s = strings.TrimSpace(s)
	if len(s) > MaxLength {
		return Name{}, fault.New(fault.BadNetworkName, "read network name: %d bytes, at most %d", len(s), MaxLength)
	}
	id, list, ok := strings.Cut(s, "@")
	if lower := strings.ToLower(s); strings.HasPrefix(lower, "http://") || strings.HasPrefix(lower, "https://") {
		return Name{}, fault.New(fault.BareURL, "read network name %q: the chain id before the @ is missing", s)
	}
	if !ok {
		return Name{}, fault.New(fault.BadNetworkName, "read network name %q: want <chain-id>@<url>", s)
	}
	if !ValidID(id) {
		return Name{}, fault.New(fault.BadNetworkName, "read network name %q: chain id %q: want %s and %d hex digits", s, id, idPrefix, idDigits)
	}
	n := Name{ChainID: id}
	for part := range strings.SplitSeq(list, ",") {
		u, reason := cleanURL(part)
		if reason != "" {
			return Name{}, fault.New(fault.BadNetworkName, "read network name %q: url %q: %s", s, part, reason)
		}
		if !slices.Contains(n.URLs, u) {
			n.URLs = append(n.URLs, u)
		}
	}
	if len(n.URLs) > MaxURLs {
		return Name{}, fault.New(fault.BadNetworkName, "read network name: %d urls, at most %d", len(n.URLs), MaxURLs)
	}
	return n, nil
}

// ValidID reports whether s has the form of a chain id.
func ValidID(s string) bool {
	digits, ok := strings.CutPrefix(s, idPrefix)
	return ok && len(digits) == idDigits && strings.Trim(digits, "0123456789abcdef") == ""
}

// cleanURL checks `http[s]://host[:port][/path]` and returns its usual form, or
// the reason why it isn't one. It is stricter than net/url: no user, query,
// fragment or escapes, so that what is shown is what is dialled.
func cleanURL(s string) (clean, reason string) {
	if len(s) > MaxURL {
		return "", "longer than " + strconv.Itoa(MaxURL) + " bytes"
	}
	scheme, rest, ok := strings.Cut(s, "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "http" && scheme != "https" {
		return "", "want http:// or https://"
	}
	host, path, _ := strings.Cut(rest, "/")
	if !only(path, "/-._~") {
		return "", "a character that a path of ours doesn't have"
	}
	name, port := host, ""
	if strings.HasPrefix(host, "[") {
		inside, after, ok := strings.Cut(host[1:], "]")
		if !ok || strings.Count(inside, ":") < 2 || strings.Trim(strings.ToLower(inside), "0123456789abcdef:.") != "" {
			return "", "not an IPv6 address in brackets"
		}
		if after != "" && !strings.HasPrefix(after, ":") {
			return "", "want a port after the brackets"
		}
		name, port = "["+inside+"]", after
	} else {
		if i := strings.IndexByte(host, ':'); i >= 0 {
			name, port = host[:i], host[i:]
		}
		if !validHost(name) {
			return "", "not a host name"
		}
	}
	if port != "" {
		p, err := strconv.ParseUint(port[1:], 10, 16)
		if err != nil || p == 0 || port[1] == '0' {
			return "", "not a port"
		}
	}
	clean = scheme + "://" + strings.ToLower(name) + port
	if path = strings.Trim(path, "/"); path != "" {
		clean += "/" + path
	}
	return clean, ""
}

// validHost takes IPv4 addresses and host names: labels of letters, digits and
// hyphens, joined by single dots.
func validHost(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || !only(label, "-_") {
			return false
		}
	}
	return len(s) <= 253
}

// only reports whether s has only ASCII letters, digits and the bytes of also.
func only(s, also string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(also, c) >= 0) {
			return false
		}
	}
	return true
}
