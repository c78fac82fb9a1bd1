package door

import (
	"context"
	"io"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"hearth/compute/client"
	"hearth/core/call"
	"hearth/core/fault"
)

func TestARequestIsToldAsRFC3875HasIt(t *testing.T) {
	h := &town{}
	d := opened(t, Config{Functions: h})
	ask(d, "GET", "/fn/a%20b/c?d=e%20f&g", "", "Accept", "text/plain", "X-Two-Words", "ü")
	want := []string{
		"GATEWAY_INTERFACE=CGI/1.1", "HTTP_ACCEPT=text/plain", "HTTP_HOST=localhost:9479", "HTTP_X_TWO_WORDS=ü", "PATH_INFO=/a b/c",
		"QUERY_STRING=d=e%20f&g", "REMOTE_ADDR=192.0.2.1", "REMOTE_HOST=192.0.2.1", "REMOTE_PORT=1234", "REQUEST_METHOD=GET",
		"REQUEST_URI=/fn/a%20b/c?d=e%20f&g", "SCRIPT_NAME=/fn", "SERVER_NAME=localhost", "SERVER_PORT=9479", "SERVER_PROTOCOL=HTTP/1.1", "SERVER_SOFTWARE=hearth",
	}
	if got := h.told(); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if w := ask(d, "POST", "/fn", "body", "Content-Type", "text/x"); w.Body.String() != "body" || w.Header().Get("Content-Length") != "4" {
		t.Errorf("%q %v", w.Body, w.Header())
	}
	for _, want := range []string{"CONTENT_TYPE=text/x", "CONTENT_LENGTH=4", "PATH_INFO=", "REQUEST_METHOD=POST", "QUERY_STRING="} {
		if got := h.told(); !slices.Contains(got, want) {
			t.Errorf("%s isn't in %q", want, got)
		}
	}
}

func TestWhatAFunctionIsNotTold(t *testing.T) {
	h := &town{env: []string{"HTTP_X_KEY=the owner's", "SERVER_NAME=mine"}}
	d := opened(t, Config{Functions: h})
	headers := []string{
		"Proxy", "http://evil.example", "Authorization", "Bearer secret", "Cookie", "a=secret", "Proxy-Authorization", "secret", "Connection", "X-Hop, close",
		"X-Hop", "secret", "Te", "trailers", "Upgrade", "h2c", "Keep-Alive", "5", "X_Key", "secret", "X-Key", "secret", "X-Under_Score", "secret", "Expect", "secret",
	}
	ask(d, "GET", "/fn/", "", headers...)
	for _, e := range h.told() {
		name, value, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, "HTTP_") && name != "HTTP_HOST" || strings.Contains(value, "secret") || name == "SERVER_NAME" || strings.HasPrefix(name, "CONTENT_") {
			t.Errorf("it is told %s", e)
		}
	}
	d = opened(t, Config{Functions: h, Credentials: true})
	ask(d, "GET", "/fn/", "", headers...)
	for _, want := range []string{"HTTP_AUTHORIZATION=Bearer secret", "HTTP_COOKIE=a=secret"} {
		if !slices.Contains(h.told(), want) {
			t.Errorf("with credentials, without %s", want)
		}
	}
	if got := strings.Join(h.told(), "\n"); strings.Contains(got, "PROXY") {
		t.Errorf("with credentials: %s", got)
	}
}

func TestRequestsThatNoFunctionSees(t *testing.T) {
	h := &town{answer: func(context.Context, client.Wish) (client.Result, error) { panic("called") }}
	local := opened(t, Config{Functions: h, Only: []string{"fn"}})
	named := opened(t, Config{Functions: h, Names: []string{"fn.example"}})
	crowded := opened(t, Config{Functions: &town{env: slices.Repeat([]string{"A=" + strings.Repeat("a", 60)}, 1000)}})
	most := strings.Repeat("a", call.MaxInput)
	for _, tt := range []struct {
		name         string
		d            *Door
		method, path string
		body         io.Reader
		headers      []string // Host too
		status       int
		code         fault.Code
	}{
		{"no name", local, "GET", "/", nil, nil, 404, fault.NotFound},
		{"an unknown name", named, "GET", "/nobody", nil, nil, 404, fault.NotFound},
		{"a name that isn't let through", local, "GET", "/other", nil, nil, 404, fault.NotFound},
		{"an empty name", local, "GET", "//fn", nil, nil, 404, fault.NotFound},
		{"a tunnel", local, "CONNECT", "/fn", nil, nil, 405, fault.BadRequest},
		{"an echo", local, "TRACE", "/fn", nil, nil, 405, fault.BadRequest},
		{"too long a body", local, "POST", "/fn", strings.NewReader(most + "a"), nil, 413, fault.TooLarge},
		{"too long a body of unknown length", local, "POST", "/fn", io.MultiReader(strings.NewReader(most), strings.NewReader("a")), nil, 413, fault.TooLarge},
		{"a body that breaks off", local, "POST", "/fn", iotest.ErrReader(io.ErrUnexpectedEOF), nil, 408, fault.BadRequest},
		{"more words than a call has", local, "GET", "/fn?" + strings.Repeat("a", call.MaxWords/2), nil, nil, 431, fault.TooLarge},
		{"no words left by the function's own", crowded, "GET", "/fn?" + strings.Repeat("a", 4000), nil, nil, 431, fault.TooLarge},
		{"a path that isn't text", local, "GET", "/fn/%ff", nil, nil, 400, fault.BadRequest},
		{"a zero byte in the path", local, "GET", "/fn/%00", nil, nil, 400, fault.BadRequest},
		{"a header that isn't text", local, "GET", "/fn/", nil, []string{"X-A", "\xff"}, 400, fault.BadRequest},
		{"a foreign name that points here", local, "GET", "/fn", nil, []string{"Host", "evil.example"}, 421, fault.BadRequest},
		{"an address that isn't this machine's own", local, "GET", "/fn", nil, []string{"Host", "192.0.2.1:80"}, 421, fault.BadRequest},
		{"no name of a host at all", local, "GET", "/fn", nil, []string{"Host", ""}, 421, fault.BadRequest},
		{"another name than those that are public", named, "GET", "/fn", nil, []string{"Host", "evil.example"}, 421, fault.BadRequest},
		{"a page elsewhere", local, "GET", "/fn", nil, []string{"Sec-Fetch-Site", "cross-site"}, 403, fault.BadRequest},
		{"a page elsewhere in an old browser", local, "POST", "/fn", nil, []string{"Origin", "https://evil.example"}, 403, fault.BadRequest},
		{"a page without an origin", local, "POST", "/fn", nil, []string{"Origin", "null"}, 403, fault.BadRequest},
	} {
		r := httptest.NewRequest("POST", "http://localhost:9479"+tt.path, tt.body)
		r.Method = tt.method
		for i := 0; i < len(tt.headers); i += 2 {
			if r.Header.Set(tt.headers[i], tt.headers[i+1]); tt.headers[i] == "Host" {
				r.Host = tt.headers[i+1]
			}
		}
		w := httptest.NewRecorder()
		tt.d.ServeHTTP(w, r)
		refusedWith(t, tt.name, w, tt.status, tt.code)
	}
}

func TestWhoseRequestsAreAnswered(t *testing.T) {
	local, named := opened(t, Config{Functions: &town{}}), opened(t, Config{Functions: &town{}, Names: []string{"Fn.example"}})
	public := opened(t, Config{Functions: &town{}, Listen: "0.0.0.0:80"})
	for _, tt := range []struct {
		name string
		d    *Door
		host string
		page []string
	}{
		{"this machine", local, "127.0.0.1:9479", nil},
		{"this machine, by its other address", local, "[::1]:9479", nil},
		{"this machine, by any of its names", local, "fn.localhost", nil},
		{"a page of this machine", local, "localhost:9479", []string{"Sec-Fetch-Site", "same-site", "Origin", "http://localhost:3000"}},
		{"what a person has typed", local, "localhost:9479", []string{"Sec-Fetch-Site", "none"}},
		{"a public name", named, "fn.example", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://a.example"}},
		{"this machine, beside a public name", named, "localhost", nil},
		{"any name where it listens to all", public, "whatever.example", []string{"Origin", "https://a.example"}},
	} {
		r := httptest.NewRequest("GET", "/fn", nil)
		r.Host = tt.host
		for i := 0; i < len(tt.page); i += 2 {
			r.Header.Set(tt.page[i], tt.page[i+1])
		}
		w := httptest.NewRecorder()
		if tt.d.ServeHTTP(w, r); w.Code != 200 {
			t.Errorf("%s: %d %s", tt.name, w.Code, w.Body)
		}
	}
}
