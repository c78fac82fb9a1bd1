package share

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"math"
	"strings"
	"testing"

	"hearth/core/fault"
)

const (
	chain = "hearth-0123456789abcdef0123"
	now   = 1_800_000_000
)

var key = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))

func link(until int64, contents string) Link {
	l := Link{
		ChainID: chain, Contents: []byte(contents), Key: [32]byte(key.Public().(ed25519.PublicKey)),
		Ticket: Ticket{Owner: "hearth1owner", Serial: Serial{7}, Until: until, Contents: sha256.Sum256([]byte(contents))},
	}
	l.Sig = [64]byte(l.Ticket.Sign(chain, key))
	return l
}

func TestHowLongALinkHolds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		until int64
		want  fault.Code
	}{
		{"an hour", now + 3600, ""},
		{"its last second", now, ""},
		{"a second later", now - 1, fault.Unauthorized},
		{"as long as there is", now + MaxSeconds, ""},
		{"longer", now + MaxSeconds + 301, fault.Unauthorized},
		{"for ever", math.MaxInt64, fault.Unauthorized},
		{"before the epoch", math.MinInt64, fault.Unauthorized},
	} {
		if got := fault.CodeOf(link(tt.until, "x").Check(chain, now)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestAForgedLinkIsRefused(t *testing.T) {
	for name, forge := range map[string]func(l *Link){
		"another owner":    func(l *Link) { l.Ticket.Owner = "hearth1other" },
		"another serial":   func(l *Link) { l.Ticket.Serial[15]++ },
		"a later end":      func(l *Link) { l.Ticket.Until++ },
		"other contents":   func(l *Link) { l.Contents = []byte("y") },
		"contents swapped": func(l *Link) { l.Contents = []byte("y"); l.Ticket.Contents = sha256.Sum256(l.Contents) },
		"another key":      func(l *Link) { l.Key[0]++ },
		"a signature":      func(l *Link) { l.Sig[5]++ },
	} {
		l := link(now+60, "x")
		forge(&l)
		if got := fault.CodeOf(l.Check(chain, now)); got != fault.BadSignature {
			t.Errorf("%s: %q", name, got)
		}
	}
	l := link(now+60, "x")
	if got := fault.CodeOf(l.Check("hearth-99999999999999999999", now)); got != fault.WrongNetwork {
		t.Errorf("another network: %q", got)
	}
	l.ChainID = "hearth-99999999999999999999"
	if got := fault.CodeOf(l.Check(l.ChainID, now)); got != fault.BadSignature {
		t.Errorf("carried over to another network: %q", got)
	}
}

// The vector of docs/formats/link.md.
const golden = "hearth-share:AQAAABtoZWFydGgtMDEyMzQ1Njc4OWFiY2RlZjAxMjMAAAAMaGVhcnRoMW93bmVyBwAAAAAAAAAAAAAAAAAAAAAAAABrSdIA0bKln76n4gB3r5-Rsn6V6GUGGycL4D_1Oas7c1h4guiKiOPddAnxlf1S2y08ul1yymcJvx2UEhvzdIgBtA9vXPfJbiVEwFqdBICmS19nwSNGxq3n54eMmGQ4O5U6-fxZFlnUrRl2zR_GKH8mWShsQD14cbtdmcCZFzrg3NaDFQQAAAAIY29udGVudHM"

func TestLinksAreWrittenAndReadAlike(t *testing.T) {
	l := link(now, "contents")
	s := l.String()
	if !Is(s) || s != golden {
		t.Errorf("the vector has become\n%s", s)
	}
	back, err := Parse(s)
	if err != nil || back.String() != s || back.Check(chain, now) != nil {
		t.Errorf("%+v, %v", back, err)
	}
	for _, bad := range []string{"", scheme, s[:len(s)-4], s + "AA", strings.Replace(s, "AQ", "Ag", 1), s[1:], s + "="} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("read %q", bad)
		}
	}
	if _, err := Parse(strings.Replace(s, ":AQ", ":Ag", 1)); fault.CodeOf(err) != fault.UnknownFormat {
		t.Errorf("another major: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(link(now, "contents").String())
	f.Add(scheme)
	f.Add(scheme + "AQAA")
	f.Fuzz(func(t *testing.T, s string) {
		l, err := Parse(s)
		if err == nil && l.String() != s {
			t.Errorf("%q became %q", s, l)
		}
	})
}
