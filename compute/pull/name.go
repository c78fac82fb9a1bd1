package pull

import (
	"net"
	"strings"

	"cuelabs.dev/go/oci/ociregistry/ociref"
	"github.com/opencontainers/go-digest"

	"hearth/core/fault"
)

// Docker's own registry: its name, the host that answers, and the folder of images
// that belong to nobody.
const (
	hub        = "docker.io"
	hubHost    = "registry-1.docker.io"
	hubFolder  = "library/"
	latest     = "latest"
	hubOldName = "index.docker.io"
)

// A Name is an image's in some registry.
type Name struct {
	Registry string // host or host:port
	Image    string
	Tag      string        // "latest" where neither it nor Digest is said; else it may be empty
	Digest   digest.Digest // where it is said
}

// Parse reads [REGISTRY/]NAME[:TAG][@DIGEST], as docker does: without a REGISTRY it is
// docker.io's.
func Parse(text string) (n Name, err error) {
	bad := func(format string, args ...any) (Name, error) {
		return n, fault.New(fault.BadName, "image %.300q: "+format, append([]any{text}, args...)...)
	}
	if strings.Contains(text, "://") {
		return bad("leave out what is before ://")
	}
	host, rest, found := cutRegistry(text)
	if !found {
		host, rest = hub, text
	}
	if n.Registry = host; host == hubOldName {
		n.Registry = hub
	}
	rest, sum, exact := strings.Cut(rest, "@")
	if n.Digest = digest.Digest(sum); exact && (n.Digest.Validate() != nil || n.Digest.Algorithm() != digest.SHA256) {
		return bad("behind the @ is sha256: and 64 hex digits")
	}
	var tagged bool
	if n.Image, n.Tag, tagged = strings.Cut(rest, ":"); tagged && (n.Tag == "" || !ociref.IsValidTag(n.Tag)) {
		return bad("a tag has letters, digits and . _ -")
	}
	if n.Tag == "" && n.Digest == "" {
		n.Tag = latest
	}
	if n.Registry != "localhost" && !ociref.IsValidHost(n.Registry) {
		return bad("%.100q is no host", n.Registry)
	}
	if n.Registry == hub && !strings.Contains(n.Image, "/") {
		n.Image = hubFolder + n.Image
	}
	if len(n.Image) > 255 || !ociref.IsValidRepository(n.Image) {
		return bad("a name has parts of a-z, 0-9 and single . _ - between them, with / between parts")
	}
	return n, nil
}

// Foreign says whether a name has a registry's host before it, as in docker.io/debian.
func Foreign(text string) bool {
	_, _, found := cutRegistry(text)
	return found
}

// cutRegistry takes a host from a name: what has a dot or a port, or is localhost.
func cutRegistry(text string) (host, rest string, found bool) {
	host, rest, found = strings.Cut(text, "/")
	return host, rest, found && (host == "localhost" || strings.ContainsAny(host, ".:"))
}

// String is the name as Parse reads it.
func (n Name) String() string {
	s := n.Registry + "/" + n.Image
	if n.Tag != "" {
		s += ":" + n.Tag
	}
	if n.Digest != "" {
		s += "@" + n.Digest.String()
	}
	return s
}

// Short is the name without the registry.
func (n Name) Short() string {
	if n.Registry == hub {
		return strings.TrimPrefix(n.Image, hubFolder)
	}
	return n.Image
}

// host is where the registry answers.
func (n Name) host() string {
	if n.Registry == hub {
		return hubHost
	}
	return n.Registry
}

// loopback says that host is this machine.
func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
