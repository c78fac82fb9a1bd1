package fault

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxReason is how many bytes one peer tells another of a reason, at most.
const MaxReason = 300

// Told is what a peer is told of err. own says that it concerns this machine's owner
// only: then the reason is no more than what the code says anyway, and err belongs
// into the log.
func Told(err error) (code Code, reason string, own bool) {
	switch code = CodeOf(err); code {
	case Internal, DiskFull, DamagedFile, SandboxFailed, Exists:
		entry, _ := Lookup(code)
		return code, entry.Cause, true
	}
	return code, Brief(err.Error()), false
}

// Brief is what is passed on of a reason, to a peer or from one: at most MaxReason
// bytes of text, as messages must be, in which nothing moves a terminal's cursor.
func Brief(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError:
			return '?'
		case unicode.IsControl(r):
			return ' '
		}
		return r
	}, s)
	if len(s) <= MaxReason {
		return s
	}
	end := MaxReason
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}
