package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hearth/api"
	"hearth/api/apitest"
	"hearth/api/server"
	"hearth/core/fault"
	"hearth/core/money"
)

func open(t *testing.T, c server.Config) *server.Server {
	t.Helper()
	if c.Roles.Node == nil {
		c.Roles = apitest.New(5 * money.Ember).Roles()
	}
	s, err := server.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// ask sends one request to a handler; headers come in pairs.
func ask(h http.Handler, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func problem(t *testing.T, w *httptest.ResponseRecorder) api.Problem {
	t.Helper()
	var p api.Problem
	if got := w.Header().Get("Content-Type"); got != api.ProblemType {
		t.Fatalf("status %d, content type %q: %s", w.Code, got, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	if p.Status != w.Code {
		t.Errorf("the problem says %d, the answer %d", p.Status, w.Code)
	}
	return p
}

func TestTheCommittedDescriptionIsTheCodes(t *testing.T) {
	want, err := server.Spec()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join("..", "openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("api/openapi.yaml is not what the code says; run make generate")
	}
	if bytes.Contains(got, []byte("ErrorModel")) {
		t.Error("huma's own error shape shows")
	}
}

func TestErrorsAreProblemsWithACode(t *testing.T) {
	h := open(t, server.Config{}).Handler(true)
	for _, c := range []struct {
		name, method, path, body string
		code                     fault.Code
		status                   int
	}{
		{"no such path", "GET", "/v2/x", "", fault.NotFound, 404},
		{"no such lease", "GET", "/v1/leases/9", "", fault.NoLease, 404},
		{"not a number", "GET", "/v1/leases/nine", "", fault.BadRequest, 422},
		{"an unknown parameter", "GET", "/v1/leases?page=2", "", fault.BadRequest, 422},
		{"a cursor nobody gave", "GET", "/v1/leases?after=x", "", fault.BadRequest, 400},
		{"no such bucket", "GET", "/v1/objects/photos", "", fault.NotFound, 404},
		{"a range that is none", "GET", "/v1/objects/photos/a", "", fault.NotFound, 404},
		{"a key that is too long", "GET", "/v1/stat/photos/" + strings.Repeat("k", 1025), "", fault.BadName, 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := ask(h, c.method, c.path, c.body)
			p := problem(t, w)
			if p.Code != string(c.code) || w.Code != c.status || p.Remedy == "" || p.Detail == "" {
				t.Errorf("%d %+v", w.Code, p)
			}
		})
	}
}

const sendOne = `{"to":"hearth1friend","amount":{"amount":"1","currency":"ember"}}`

func balance(t *testing.T, h http.Handler) string {
	t.Helper()
	var wallet api.Wallet
	if err := json.Unmarshal(ask(h, "GET", "/v1/wallet", "").Body.Bytes(), &wallet); err != nil {
		t.Fatal(err)
	}
	return wallet.Balance.Account.Amount
}

func TestTheSameKeySpendsOnce(t *testing.T) {
	node := apitest.New(5 * money.Ember)
	c := server.Config{Roles: node.Roles(), Spent: filepath.Join(t.TempDir(), "spent")}
	first := open(t, c)
	h := first.Handler(true)
	one := ask(h, "POST", "/v1/wallet/send", sendOne, api.HeaderKey, "k1")
	if one.Code != http.StatusOK {
		t.Fatalf("%d %s", one.Code, one.Body)
	}
	again := ask(h, "POST", "/v1/wallet/send", sendOne, api.HeaderKey, "k1")
	if again.Body.String() != one.Body.String() || again.Code != one.Code || balance(t, h) != "4" {
		t.Fatalf("second answer %s, balance %s", again.Body, balance(t, h))
	}
	other := ask(h, "POST", "/v1/wallet/fund", `{"amount":{"amount":"1","currency":"ember"}}`, api.HeaderKey, "k1")
	if p := problem(t, other); p.Code != string(fault.KeyReused) {
		t.Fatalf("another request with the key: %+v", p)
	}

	// The node starts again and still knows.
	h = open(t, c).Handler(true)
	after := ask(h, "POST", "/v1/wallet/send", sendOne, api.HeaderKey, "k1")
	if after.Body.String() != one.Body.String() || balance(t, h) != "4" {
		t.Fatalf("after a restart: %s, balance %s", after.Body, balance(t, h))
	}
	if ask(h, "POST", "/v1/wallet/send", sendOne, api.HeaderKey, "k2"); balance(t, h) != "3" {
		t.Fatalf("a new key did not spend: %s", balance(t, h))
	}
}

func TestARefusalIsRememberedToo(t *testing.T) {
	h := open(t, server.Config{Roles: apitest.New(0).Roles()}).Handler(true)
	for range 2 {
		if p := problem(t, ask(h, "POST", "/v1/wallet/send", sendOne, api.HeaderKey, "k")); p.Code != string(fault.NoFunds) {
			t.Fatalf("%+v", p)
		}
	}
}

func TestSpendingNeedsAKeyAndASmallBody(t *testing.T) {
	h := open(t, server.Config{}).Handler(true)
	if p := problem(t, ask(h, "POST", "/v1/wallet/send", sendOne)); p.Code != string(fault.BadRequest) {
		t.Errorf("without a key: %+v", p)
	}
	huge := sendOne + strings.Repeat(" ", api.MaxSpend)
	if p := problem(t, ask(h, "POST", "/v1/wallet/send", huge, api.HeaderKey, "k")); p.Code != string(fault.TooLarge) {
		t.Errorf("a large body: %+v", p)
	}
	zero := strings.Replace(sendOne, `"1"`, `"0"`, 1)
	if p := problem(t, ask(h, "POST", "/v1/wallet/send", zero, api.HeaderKey, "k2")); p.Code != string(fault.BadRequest) {
		t.Errorf("nothing to send: %+v", p)
	}
}

func TestARequestThatACrashCutIsNeverRepeated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spent")
	node := apitest.New(5 * money.Ember)
	h := open(t, server.Config{Roles: node.Roles(), Spent: path}).Handler(true)
	ask(h, "POST", "/v1/wallet/send", sendOne, api.HeaderKey, "k1")
	lines, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := bytes.Cut(lines, []byte("\n"))
	if string(head) != `{"format":"hearth spent","version":1}` {
		t.Errorf("the first line is %q", head)
	}
	begun, _, _ := bytes.Cut(rest, []byte("\n"))
	// As it was written before there was a first line.
	if err := os.WriteFile(path, append(append(begun, '\n'), `{"key":"torn`...), 0o600); err != nil {
		t.Fatal(err)
	}
	h = open(t, server.Config{Roles: node.Roles(), Spent: path}).Handler(true)
	if p := problem(t, ask(h, "POST", "/v1/wallet/send", sendOne, api.HeaderKey, "k1")); p.Code != string(fault.OutcomeUnknown) {
		t.Errorf("%+v", p)
	}
	if balance(t, h) != "4" {
		t.Errorf("balance %s", balance(t, h))
	}
}

func TestADamagedRecordIsLeftAsItIs(t *testing.T) {
	for content, code := range map[string]fault.Code{
		"garbage\n": fault.DamagedFile,
		`{"format":"hearth spent","version":1}` + "\ngarbage\n": fault.DamagedFile,
		`{"format":"hearth spent","version":2}` + "\n":          fault.UnknownFormat,
		`{"format":"else","version":1}` + "\n":                  fault.UnknownFormat,
	} {
		path := filepath.Join(t.TempDir(), "spent")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := server.New(server.Config{Roles: apitest.New(0).Roles(), Spent: path})
		if fault.CodeOf(err) != code {
			t.Errorf("%q: %v", content, err)
		}
		if left, err := os.ReadFile(path); err != nil || string(left) != content {
			t.Errorf("%q, %v", left, err)
		}
	}
}

func TestTCPAsksForTheToken(t *testing.T) {
	dir := t.TempDir()
	unix, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, server.Config{Token: "secret"})
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, unix, tcp) }()
	base := "http://" + tcp.Addr().String()
	for _, c := range []struct {
		name, path, host, token string
		want                    int
	}{
		{"the token opens", "/v1/node", "", "secret", 200},
		{"no token", "/v1/node", "", "", 401},
		{"a wrong token", "/v1/node", "", "secreT", 401},
		{"metrics are not for everybody", "/metrics", "", "", 401},
		{"metrics with the token", "/metrics", "", "secret", 200},
		{"whether it lives may be asked by all", "/livez", "", "", 200},
		{"a foreign name that points here", "/v1/node", "evil.example", "secret", 401},
		{"profiles are for the owner's socket", "/debug/pprof/", "", "secret", 404},
		{"ready", "/readyz?verbose", "", "secret", 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, base+c.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = c.host
			if c.token != "" {
				r.Header.Set("Authorization", "Bearer "+c.token)
			}
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			if answer.StatusCode != c.want {
				t.Errorf("status %d, want %d", answer.StatusCode, c.want)
			}
		})
	}
	cancel()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
}

func TestRanges(t *testing.T) {
	h := open(t, server.Config{}).Handler(true)
	ask(h, "PUT", "/v1/buckets/photos", "")
	ask(h, "PUT", "/v1/objects/photos/a", "0123456789", "Content-Type", "text/plain")
	ask(h, "PUT", "/v1/objects/photos/empty", "")
	for _, c := range []struct {
		key, span, want, content string
		status                   int
	}{
		{"a", "", "", "0123456789", 200},
		{"a", "bytes=0-0", "bytes 0-0/10", "0", 206},
		{"a", "bytes=3-", "bytes 3-9/10", "3456789", 206},
		{"a", "bytes=8-99", "bytes 8-9/10", "89", 206},
		{"a", "bytes=-2", "bytes 8-9/10", "89", 206},
		{"a", "bytes=-99", "bytes 0-9/10", "0123456789", 206},
		{"empty", "bytes=0-", "", "", 200},
		{"empty", "", "", "", 200},
	} {
		w := ask(h, "GET", "/v1/objects/photos/"+c.key, "", "Range", c.span)
		if w.Code != c.status || w.Body.String() != c.content || w.Header().Get("Content-Range") != c.want {
			t.Errorf("%s %s: %d %q %q", c.key, c.span, w.Code, w.Body, w.Header().Get("Content-Range"))
		}
	}
	for _, bad := range []string{"bytes=10-", "bytes=5-4", "bytes=a-b", "bytes=0-1,3-4", "lines=1-2", "bytes=-0", "bytes=--1"} {
		if w := ask(h, "GET", "/v1/objects/photos/a", "", "Range", bad); w.Code != 400 && w.Code != 416 {
			t.Errorf("%s: %d", bad, w.Code)
		}
	}
}

// A storage that says what it has read of a body before the body has ended.
type listening struct {
	server.Storage
	heard chan string
}

func (l listening) Put(_ context.Context, bucket, key string, body io.Reader, _ server.PutOptions) (api.Object, error) {
	b := make([]byte, 5)
	if _, err := io.ReadFull(body, b); err != nil {
		return api.Object{}, err
	}
	l.heard <- string(b)
	_, err := io.Copy(io.Discard, body)
	return api.Object{Bucket: bucket, Key: key}, err
}

func TestUploadsAreNotHeldBack(t *testing.T) {
	roles := apitest.New(0).Roles()
	l := listening{roles.Storage, make(chan string)}
	roles.Storage = l
	web := httptest.NewServer(open(t, server.Config{Roles: roles}).Handler(true))
	defer web.Close()
	from, to := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, web.URL+"/v1/objects/photos/a", from)
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		answer, err := http.DefaultClient.Do(r)
		if err == nil {
			err = answer.Body.Close()
		}
		answered <- err
	}()
	if _, err := to.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if got := <-l.heard; got != "hello" {
		t.Fatalf("heard %q", got)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
}

func TestAPanicIsAProblemAndTheServerGoesOn(t *testing.T) {
	roles := apitest.New(0).Roles()
	roles.Market = nil
	roles.Market = panicking{}
	h := open(t, server.Config{Roles: roles}).Handler(true)
	if p := problem(t, ask(h, "GET", "/v1/leases/1", "")); p.Code != string(fault.Internal) {
		t.Errorf("%+v", p)
	}
	if w := ask(h, "GET", "/livez", ""); w.Code != 200 {
		t.Errorf("after it: %d", w.Code)
	}
}

type panicking struct{ server.Market }

func (panicking) Lease(context.Context, uint64) (api.Lease, error) { panic(errors.New("unlucky")) }

func TestAServerNeedsItsRoles(t *testing.T) {
	if _, err := server.New(server.Config{}); err == nil {
		t.Error("a server without roles")
	}
}
