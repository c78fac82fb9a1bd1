package index

import (
	"strings"
	"testing"

	"hearth/core/fault"
)

func TestParseRef(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Ref
		ok   bool
	}{
		{"hearth://town/a", Ref{Bucket: "town", Key: "a"}, true},
		{"hearth://town", Ref{Bucket: "town", Key: ""}, true},
		{"hearth://town/", Ref{Bucket: "town", Key: ""}, true},
		{"hearth://town//a/../b ?#%20", Ref{Bucket: "town", Key: "/a/../b ?#%20"}, true},
		{"hearth://a.b-c.d/ключ", Ref{Bucket: "a.b-c.d", Key: "ключ"}, true},
		{"hearth://town/" + strings.Repeat("k", MaxKey), Ref{Bucket: "town", Key: strings.Repeat("k", MaxKey)}, true},
		{"hearth://town/" + strings.Repeat("k", MaxKey+1), Ref{}, false},
		{"hearth://town/\xff", Ref{}, false},
		{"hearth://town/a\x00b", Ref{}, false},
		{"town/a", Ref{}, false},
		{"s3://town/a", Ref{}, false},
		{"hearth:///a", Ref{}, false},
		{"hearth://ab/a", Ref{}, false},
		{"hearth://Town/a", Ref{}, false},
		{"hearth://-town/a", Ref{}, false},
		{"hearth://to..wn/a", Ref{}, false},
		{"hearth://127.0.0.1/a", Ref{}, false},
		{"hearth://" + strings.Repeat("t", 64) + "/a", Ref{}, false},
	} {
		got, err := ParseRef(c.in)
		if (err == nil) != c.ok || got != c.want {
			t.Errorf("%q: %+v, %v", c.in, got, err)
		}
		if err != nil && fault.CodeOf(err) != fault.BadName {
			t.Errorf("%q: code %s", c.in, fault.CodeOf(err))
		}
	}
}

func FuzzParseRef(f *testing.F) {
	f.Add("hearth://town/a")
	f.Add("hearth://a.b/")
	f.Fuzz(func(t *testing.T, s string) {
		if r, err := ParseRef(s); err == nil && strings.TrimSuffix(s, "/") != strings.TrimSuffix(r.String(), "/") {
			t.Errorf("%q became %q", s, r)
		}
	})
}
