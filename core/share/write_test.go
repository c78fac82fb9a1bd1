package share

import (
	"strings"
	"testing"

	"hearth/core/fault"
)

// The vector of docs/formats/link.md.
const goldenWrite = "hearth-write:AQAAABRodHRwczovL2Rvb3IuZXhhbXBsZQAAAAl1cy1lYXN0LTEAAAAEdG93bgAAAANpbi8AAAAHSEVBUlRIQQAAAAFzAAAAAQE"

func aWrite() Write {
	return Write{Endpoint: "https://door.example", Region: "us-east-1", Bucket: "town", Prefix: "in/", Access: "HEARTHA", Secret: "s", Certificate: []byte{1}}
}

func TestLinksForWritingAreWrittenAndReadAlike(t *testing.T) {
	s := aWrite().String()
	if !IsWrite(s) || Is(s) || s != goldenWrite {
		t.Errorf("the vector has become\n%s", s)
	}
	back, err := ParseWrite(s)
	if err != nil || back.String() != s {
		t.Errorf("%+v, %v", back, err)
	}
	for _, bad := range []string{"", writeScheme, s[:len(s)-4], s + "AA", s[1:], s + "=", golden} {
		if _, err := ParseWrite(bad); err == nil {
			t.Errorf("read %q", bad)
		}
	}
	if _, err := ParseWrite(strings.Replace(s, ":AQ", ":Ag", 1)); fault.CodeOf(err) != fault.UnknownFormat {
		t.Errorf("another major: %v", err)
	}
	for name, change := range map[string]func(*Write){
		"no door":   func(l *Write) { l.Endpoint = "file:///etc" },
		"no prefix": func(l *Write) { l.Prefix = "" },
		"no key":    func(l *Write) { l.Secret = "" },
	} {
		l := aWrite()
		change(&l)
		if _, err := ParseWrite(l.String()); fault.CodeOf(err) != fault.BadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseWrite(f *testing.F) {
	f.Add(aWrite().String())
	f.Add(writeScheme + "AQAA")
	f.Fuzz(func(t *testing.T, s string) {
		if l, err := ParseWrite(s); err == nil && l.String() != s {
			t.Errorf("%q became %q", s, l)
		}
	})
}
