package door

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"

	"hearth/core/fault"
)

// Limits of what stands before the body of an answer.
const (
	maxHead   = 64 << 10 // bytes
	maxFields = 256
)

// An answer is an HTTP response.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// parse reads what a function has put out as a response of CGI (RFC 3875, 6):
// header lines, an empty line, the body. The body stays output's.
func parse(output []byte) (answer, error) {
	a := answer{header: http.Header{}}
	rest := output
	for fields := 0; ; fields++ {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		switch {
		case !ended:
			return a, bad("no empty line ends its headers")
		case len(output)-len(after) > maxHead:
			return a, bad("more than %d bytes of headers", maxHead)
		case fields > maxFields:
			return a, bad("more than %d headers", maxFields)
		}
		rest = after
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			break
		}
		if err := a.field(string(line)); err != nil {
			return a, err
		}
	}
	a.body = rest
	return a, a.settle()
}

func bad(format string, args ...any) error {
	return fault.New(fault.BadAnswer, "its output isn't a CGI response: "+format, args...)
}

// field takes in one header line.
func (a *answer) field(line string) error {
	name, value, ok := strings.Cut(line, ":")
	if !ok || !token(name) {
		return bad("%q isn't a header", fault.Brief(cut(line)))
	}
	value = strings.Trim(value, " \t")
	if !clean(value) {
		return bad("the header %s has a control character", cut(name))
	}
	name = http.CanonicalHeaderKey(name)
	switch name {
	case "Status":
		if a.status != 0 {
			return bad("it has two statuses")
		}
		return a.setStatus(value)
	case "Content-Type", "Location":
		if a.has(name) {
			return bad("it has two headers %s", name)
		}
	}
	a.header.Add(name, value)
	return nil
}

func (a *answer) has(name string) bool { return len(a.header[name]) > 0 }

// token says whether s can be a header's name.
func token(s string) bool {
	return s != "" && strings.Trim(s, "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == ""
}

// clean says whether s can be a header's value.
func clean(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// setStatus reads `404 Not Found`, or the number alone.
func (a *answer) setStatus(value string) error {
	digits, _, _ := strings.Cut(value, " ")
	n, err := strconv.Atoi(digits)
	if err != nil || len(digits) != 3 || n < 200 || n > 599 {
		return bad("the status %q isn't a number from 200 to 599", fault.Brief(cut(value)))
	}
	a.status = n
	return nil
}

// settle fills in what the lines imply, and takes out what is between the door and
// its client alone.
func (a *answer) settle() error {
	if a.status == 0 && len(a.header) == 0 {
		return bad("there is no header before the empty line")
	}
	if a.status == 0 {
		a.status = http.StatusOK
		if a.has("Location") {
			a.status = http.StatusFound
		}
	}
	if a.status == http.StatusNoContent || a.status == http.StatusNotModified {
		a.body = nil
	}
	if len(a.body) > 0 && !a.has("Content-Type") {
		return bad("a body without Content-Type")
	}
	for name := range hops(a.header) {
		a.header.Del(name)
	}
	a.header.Del("Content-Length") // it is counted
	a.header.Del(HeaderCode)       // the door's word
	return nil
}

// cut keeps so much of what is quoted that a message stays one.
func cut(s string) string { return s[:min(len(s), 60)] }

// hops are the headers that concern one connection only (RFC 9110, 7.6.1), those
// that h names in Connection among them.
func hops(h http.Header) map[string]bool {
	out := map[string]bool{
		"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Proxy-Authenticate": true, "Proxy-Authorization": true,
		"Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
	}
	for _, list := range h["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			out[http.CanonicalHeaderKey(strings.TrimSpace(name))] = true
		}
	}
	return out
}
