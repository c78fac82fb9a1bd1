package cli

import (
	"strings"
	"testing"
	"time"

	"hearth/core/fault"
)

func TestAProfileReplacesOnlyItsSection(t *testing.T) {
	f := ini{section: "hearth", lines: []string{"a = 1"}}
	for _, tt := range []struct{ name, old, want string }{
		{"a new file", "", "[hearth]\na = 1\n"},
		{"beside others", "[default]\nx = y\n", "[default]\nx = y\n\n[hearth]\na = 1\n"},
		{"in the place of an older one", "[hearth]\na = 0\nb = 2\n[other]\nx = y\n", "[other]\nx = y\n\n[hearth]\na = 1\n"},
		{"with what others wrote", "# mine\n[hearth-two]\nx = y\n", "# mine\n[hearth-two]\nx = y\n\n[hearth]\na = 1\n"},
	} {
		got := f.merge(tt.old)
		if got != tt.want {
			t.Errorf("%s: %q", tt.name, got)
		}
		if again := f.merge(got); again != got {
			t.Errorf("%s: twice gives %q", tt.name, again)
		}
	}
}

func TestWhenAKeyEnds(t *testing.T) {
	now := time.Date(2026, 11, 21, 7, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		word string
		want time.Time
	}{
		{"", time.Time{}},
		{"24h", now.Add(24 * time.Hour)},
		{"90d", now.AddDate(0, 0, 90)},
		{"2027-01-31", time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)},
		{"2027-01-31T10:00:00Z", time.Date(2027, 1, 31, 10, 0, 0, 0, time.UTC)},
	} {
		if got, err := until(tt.word, now); err != nil || !got.Equal(tt.want) {
			t.Errorf("%q: %s, %v", tt.word, got, err)
		}
	}
	for _, word := range []string{"soon", "-1h", "0d", "-3d", "31.01.2027"} {
		if _, err := until(word, now); fault.CodeOf(err) != fault.BadRequest {
			t.Errorf("%q: %v", word, err)
		}
	}
}

func TestAQuotaOfNothingIsNotAKeyWithoutOne(t *testing.T) {
	for word, want := range map[string]int64{"": 0, "50GB": 50e9, "1": 1} {
		if got, err := quotaOf(word); err != nil || got != want {
			t.Errorf("%q: %d, %v", word, got, err)
		}
	}
	for _, word := range []string{"0", "0GB", "0.1", "-1", "much"} {
		if _, err := quotaOf(word); fault.CodeOf(err) != fault.BadRequest {
			t.Errorf("%q: %v", word, err)
		}
	}
}

func TestLinesForAShellHoldNothingThatItMinds(t *testing.T) {
	p := s3Profile{Endpoint: "https://127.0.0.1:9478", Access: "HEARTHA", Secret: "S", Region: "us-east-1", Certificate: "/home/it's me/cert.pem"}
	got := strings.Join(p.lines(), "\n")
	want := "export AWS_ENDPOINT_URL=https://127.0.0.1:9478\nexport AWS_ACCESS_KEY_ID=HEARTHA\nexport AWS_SECRET_ACCESS_KEY=S\nexport AWS_REGION=us-east-1\n" +
		`export AWS_CA_BUNDLE='/home/it'\''s me/cert.pem'`
	if got != want {
		t.Errorf("got %s", got)
	}
}
