package door

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"hearth/core/fault"
)

func TestWhatAFunctionPutsOutIsReadAsRFC3875HasIt(t *testing.T) {
	for _, tt := range []struct {
		name, output string
		status       int    // 0: it is refused
		header       string // as written, without Content-Type
		body         string
	}{
		{"a document", "Content-Type: text/plain\n\nhi\n", 200, "", "hi\n"},
		{"lines end as in HTTP", "Content-Type: text/plain\r\n\r\nhi", 200, "", "hi"},
		{"a status", "Status: 404 Not Found\nContent-Type: text/plain\n\nno", 404, "", "no"},
		{"a status without words", "Status: 201\nContent-Type: text/plain\n\n", 201, "", ""},
		{"a status alone", "Status: 204\n\n", 204, "", ""},
		{"what has no body gets none", "Status: 304 Not Modified\n\nbody", 304, "", ""},
		{"no case in names", "content-TYPE:text/plain\nsTaTuS:500\n\nx", 500, "", "x"},
		{"a redirect", "Location: https://a.example/b\n\n", 302, "Location: https://a.example/b\r\n", ""},
		{"a redirect to a path goes to the client", "Location: /web/b?c=d\n\n", 302, "Location: /web/b?c=d\r\n", ""},
		{"a redirect of another kind", "Status: 308\nLocation: /b\n\n", 308, "Location: /b\r\n", ""},
		{"a document with a place", "Status: 201 Created\nLocation: /b\nContent-Type: text/plain\n\nx", 201, "Location: /b\r\n", "x"},
		{"headers more than once", "Set-Cookie: a=b\nSet-Cookie: c=d\n\n", 200, "Set-Cookie: a=b\r\nSet-Cookie: c=d\r\n", ""},
		{"a header without a value", "X-A:\n\n", 200, "X-A: \r\n", ""},
		{"a body like a header", "X-A: b\nContent-Type: text/plain\n\nX-C: d\n\n", 200, "X-A: b\r\n", "X-C: d\n\n"},
		{"its length is counted", "Content-Length: 7\nContent-Type: text/plain\n\nhi", 200, "", "hi"},
		{"what only the door says", "Hearth-Fault: busy\nX-A: b\n\n", 200, "X-A: b\r\n", ""},
		{"what concerns one connection stays behind", "Connection: X-B\nX-B: c\nTransfer-Encoding: chunked\nX-A: b\n\n", 200, "X-A: b\r\n", ""},

		{"nothing", "", 0, "", ""},
		{"plain text", "3 words\n", 0, "", ""},
		{"plain text with lines", "one\n\ntwo\n", 0, "", ""},
		{"an empty line first", "\nhi", 0, "", ""},
		{"no end of the headers", "Content-Type: text/plain\nhi: there", 0, "", ""},
		{"a body of no type", "X-A: b\n\nhi", 0, "", ""},
		{"an answer of HTTP", "HTTP/1.1 200 OK\nContent-Type: text/plain\n\nhi", 0, "", ""},
		{"a line that goes on", "X-A: b\n c\n\n", 0, "", ""},
		{"a space before the colon", "X-A : b\n\n", 0, "", ""},
		{"a name of none", ": b\n\n", 0, "", ""},
		{"a name that is none", "X(A): b\n\n", 0, "", ""},
		{"a name in letters of elsewhere", "Ä: b\n\n", 0, "", ""},
		{"another header in a value", "X-A: b\rX-C: d\n\n", 0, "", ""},
		{"a zero byte", "X-A: b\x00\n\n", 0, "", ""},
		{"two statuses", "Status: 200\nStatus: 201\n\n", 0, "", ""},
		{"two types", "Content-Type: a/b\nContent-Type: c/d\n\n", 0, "", ""},
		{"two places", "Location: /a\nLocation: /b\n\n", 0, "", ""},
		{"a status that comes before answers", "Status: 101 Switching Protocols\n\n", 0, "", ""},
		{"a status that is none", "Status: 600\n\n", 0, "", ""},
		{"a status in words", "Status: OK\n\n", 0, "", ""},
		{"a status with a sign", "Status: +20\n\n", 0, "", ""},
		{"no status in it", "Status:\n\n", 0, "", ""},
		{"too many headers", strings.Repeat("X-A: b\n", maxFields+1) + "\n", 0, "", ""},
		{"too long headers", "X-A: " + strings.Repeat("b", maxHead) + "\n\n", 0, "", ""},
	} {
		a, err := parse([]byte(tt.output))
		if tt.status == 0 {
			if fault.CodeOf(err) != fault.BadAnswer || len(err.Error()) > fault.MaxReason {
				t.Errorf("%s: %d, %v", tt.name, a.status, err)
			}
			continue
		}
		a.header.Del("Content-Type")
		var header strings.Builder
		if err := a.header.Write(&header); err != nil {
			t.Fatal(err)
		}
		if err != nil || a.status != tt.status || header.String() != tt.header || string(a.body) != tt.body {
			t.Errorf("%s: %d %q %q, %v", tt.name, a.status, header.String(), a.body, err)
		}
	}
}

// Whatever a function puts out, an answer of it can be sent as HTTP.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{"Content-Type: text/plain\n\nhi", "Status: 404 Not Found\r\nLocation: /a\r\n\r\n", "Connection: a, b\nA: b\n\n", "3 words\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, output []byte) {
		a, err := parse(output)
		if err != nil {
			if fault.CodeOf(err) != fault.BadAnswer {
				t.Fatal(err)
			}
			return
		}
		if a.status < 200 || a.status > 599 || !bytes.HasSuffix(output, a.body) || len(a.body) > 0 && a.header.Get("Content-Type") == "" && !a.has("Content-Type") {
			t.Fatalf("%d, body %q", a.status, a.body)
		}
		for name, values := range a.header {
			if name != http.CanonicalHeaderKey(name) || !token(name) || hops(nil)[name] || name == "Content-Length" {
				t.Fatalf("the header %q", name)
			}
			for _, v := range values {
				if strings.ContainsAny(v, "\r\n\x00") {
					t.Fatalf("%s: %q", name, v)
				}
			}
		}
	})
}
