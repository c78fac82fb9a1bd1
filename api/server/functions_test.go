package server_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"hearth/api"
	"hearth/api/apitest"
	"hearth/api/server"
	"hearth/core/call"
	"hearth/core/fault"
	"hearth/core/gas"
)

const someModule = "\x00asm\x01\x00\x00\x00"

// unread is a body that nobody may read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("a body was read that was announced as too large")
	return 0, io.EOF
}

func TestAFunctionIsKeptAsItWasWished(t *testing.T) {
	h := open(t, server.Config{}).Handler(true)
	w := ask(h, "PUT", "/v1/functions/work?gas=5000000000&memory=1048576&deadline=60000&env=A%3Db&env=C%3D%2Cd", someModule)
	var f api.Function
	if err := json.Unmarshal(w.Body.Bytes(), &f); err != nil || w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if f.Name != "work" || f.Gas != 5e9 || f.Memory != 1<<20 || f.Deadline != 60_000 || !slices.Equal(f.Env, []string{"A=b", "C=,d"}) || f.Size != 8 {
		t.Errorf("%+v", f)
	}
	var all api.Functions
	if err := json.Unmarshal(ask(h, "GET", "/v1/functions", "").Body.Bytes(), &all); err != nil || len(all.Functions) != 1 || all.Functions[0].Module != f.Module {
		t.Errorf("%+v, %v", all, err)
	}
	if w := ask(h, "DELETE", "/v1/functions/work", ""); w.Code != 204 || w.Body.Len() != 0 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if got := ask(h, "GET", "/v1/functions", "").Body.String(); !strings.Contains(got, `"functions":[]`) {
		t.Errorf("after its removal: %s", got)
	}
}

func TestWhatIsNoFunctionOrNoCallIsRefused(t *testing.T) {
	h := open(t, server.Config{}).Handler(true)
	if w := ask(h, "PUT", "/v1/functions/work", someModule); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	for _, tt := range []struct {
		name, method, path string
		body               io.Reader
		size               int64 // announced; 0: as it is
		code               fault.Code
		status             int
	}{
		{"a name in capitals", "PUT", "/v1/functions/Work", strings.NewReader(someModule), 0, fault.BadName, 400},
		{"a name that ends in a dash", "PUT", "/v1/functions/work-", strings.NewReader(someModule), 0, fault.BadName, 400},
		{"a name with a slash in it", "PUT", "/v1/functions/a%2Fb", strings.NewReader(someModule), 0, fault.BadName, 400},
		{"a name of 64", "PUT", "/v1/functions/" + strings.Repeat("a", 64), strings.NewReader(someModule), 0, fault.BadRequest, 422},
		{"text", "PUT", "/v1/functions/text", strings.NewReader("a poem"), 0, fault.BadModule, 422},
		{"nothing", "PUT", "/v1/functions/nothing", nil, 0, fault.BadModule, 422},
		{"more memory than there is", "PUT", "/v1/functions/work?memory=4294967297", strings.NewReader(someModule), 0, fault.BadRequest, 422},
		{"memory below 0", "PUT", "/v1/functions/work?memory=-1", strings.NewReader(someModule), 0, fault.BadRequest, 422},
		{"a deadline of more than a minute", "PUT", "/v1/functions/work?deadline=60001", strings.NewReader(someModule), 0, fault.BadRequest, 422},
		{"gas below 0", "PUT", "/v1/functions/work?gas=-1", strings.NewReader(someModule), 0, fault.BadRequest, 422},
		{"gas in words", "PUT", "/v1/functions/work?gas=5e9", strings.NewReader(someModule), 0, fault.BadRequest, 422},
		{"an unknown wish", "PUT", "/v1/functions/work?colour=red", strings.NewReader(someModule), 0, fault.BadRequest, 422},
		{"too large a module", "PUT", "/v1/functions/work", unread{t}, gas.MaxModule + 1, fault.TooLarge, 413},
		{"a module that breaks off", "PUT", "/v1/functions/work", strings.NewReader(someModule), 9, fault.Interrupted, 499},

		{"too large a store", "PUT", "/v1/functions/work?store=1048577", strings.NewReader(someModule), 0, fault.BadRequest, 422},
		{"the store of nobody", "GET", "/v1/functions/nobody/store", nil, 0, fault.NotFound, 404},
		{"a key of nobody", "GET", "/v1/functions/nobody/store/value?key=a", nil, 0, fault.NotFound, 404},
		{"a key that isn't there", "GET", "/v1/functions/work/store/value?key=a", nil, 0, fault.NotFound, 404},
		{"no key", "GET", "/v1/functions/work/store/value", nil, 0, fault.BadRequest, 422},
		{"too long a key", "DELETE", "/v1/functions/work/store/value?key=" + strings.Repeat("a", 257), nil, 0, fault.BadRequest, 422},
		{"too large a value", "PUT", "/v1/functions/work/store/value?key=a", unread{t}, 64<<10 + 1, fault.TooLarge, 413},
		{"more than there is room for", "PUT", "/v1/functions/work/store/value?key=a", strings.NewReader("b"), 0, fault.TooLarge, 413},

		{"a call of nobody", "POST", "/v1/functions/nobody/calls", nil, 0, fault.NotFound, 404},
		{"too large an input", "POST", "/v1/functions/work/calls", unread{t}, call.MaxInput + 1, fault.TooLarge, 413},
		{"too large an input, not announced", "POST", "/v1/functions/work/calls", strings.NewReader(strings.Repeat("a", call.MaxInput+1)), -1, fault.TooLarge, 413},
		{"more checks than there may be", "POST", "/v1/functions/work/calls?verify=9", nil, 0, fault.BadRequest, 422},
		{"checks below 0", "POST", "/v1/functions/work/calls?verify=-1", nil, 0, fault.BadRequest, 422},
		{"the removal of nobody", "DELETE", "/v1/functions/nobody", nil, 0, fault.NotFound, 404},
		{"the log of nobody", "GET", "/v1/functions/nobody/log", nil, 0, fault.NotFound, 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, tt.path, tt.body)
			if tt.size != 0 {
				r.ContentLength = tt.size
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if p := problem(t, w); p.Code != string(tt.code) || w.Code != tt.status {
				t.Errorf("%d %+v, want %d %s", w.Code, p, tt.status, tt.code)
			}
		})
	}
}

func TestACallSaysWhatBecameOfIt(t *testing.T) {
	node := apitest.New(0)
	var got api.CallWish
	done := api.Called{
		Exit: 3, Gas: 12, Host: "hearth1a", Cost: api.MoneyOf(1_250_000), Took: 99, Witnesses: []string{"hearth1a", "hearth1b"}, Here: true,
		Output: []byte("out"), Log: []byte("said\n"),
	}
	node.Runs(func(_ string, w api.CallWish) (api.Called, error) { got = w; return done, nil })
	h := open(t, server.Config{Roles: node.Roles()}).Handler(true)
	ask(h, "PUT", "/v1/functions/work", someModule)
	w := ask(h, "POST", "/v1/functions/work/calls?arg=one&arg=two%2C%20three&arg=&env=A%3Db&verify=8&log=true", "in")
	if w.Code != 200 || w.Body.String() != "outsaid\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	if !slices.Equal(got.Args, []string{"one", "two, three", ""}) || !slices.Equal(got.Env, []string{"A=b"}) || string(got.Input) != "in" || got.Verify != 8 {
		t.Errorf("it was asked for %+v", got)
	}
	for name, want := range map[string]string{
		api.HeaderExit: "3", api.HeaderGas: "12", api.HeaderHost: "hearth1a", api.HeaderCost: "1.25", api.HeaderTook: "99", api.HeaderWitness: "hearth1a,hearth1b",
		api.HeaderHere: "true", api.HeaderLogBytes: "5", api.HeaderFault: "", api.HeaderReason: "", "Content-Length": "8", "Content-Type": "application/octet-stream",
	} {
		if w.Header().Get(name) != want {
			t.Errorf("%s is %q, not %q", name, w.Header().Get(name), want)
		}
	}
	w = ask(h, "POST", "/v1/functions/work/calls", "")
	if w.Body.String() != "out" || w.Header().Get(api.HeaderLogBytes) != "" || w.Header().Get("Content-Length") != "3" {
		t.Errorf("without its log: %q %v", w.Body, w.Header())
	}
	if w := ask(h, "GET", "/v1/functions/work/log", ""); w.Body.String() != "said\nsaid\n" || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("its log: %q %v", w.Body, w.Header())
	}
}

// A function that was ended is an answer all the same, and what is said of it stays
// one header, whatever it holds.
func TestAFunctionThatWasEndedIsAnAnswer(t *testing.T) {
	node := apitest.New(0)
	node.Runs(func(string, api.CallWish) (api.Called, error) {
		return api.Called{Fault: string(fault.Trapped), Reason: "at \"ä\"\r\nSet-Cookie: a=b", Output: []byte("half")}, nil
	})
	h := open(t, server.Config{Roles: node.Roles()}).Handler(true)
	ask(h, "PUT", "/v1/functions/work", someModule)
	w := ask(h, "POST", "/v1/functions/work/calls?log=true", "")
	if w.Code != 200 || w.Body.String() != "half" || w.Header().Get(api.HeaderFault) != "trapped" || w.Header().Get(api.HeaderLogBytes) != "0" {
		t.Errorf("%d %q %v", w.Code, w.Body, w.Header())
	}
	if got := w.Header().Get(api.HeaderReason); strings.ContainsAny(got, "\r\nä") || w.Header().Get("Set-Cookie") != "" {
		t.Errorf("why: %q", got)
	}
}

func TestACallThatNobodyRanIsAProblem(t *testing.T) {
	node := apitest.New(0)
	h := open(t, server.Config{Roles: node.Roles()}).Handler(true)
	ask(h, "PUT", "/v1/functions/work", someModule)
	for _, code := range []fault.Code{fault.NoHosts, fault.Busy, fault.Deadline, fault.NotVerified, fault.NoFunds, fault.CapReached, fault.SandboxFailed, fault.Internal} {
		node.Runs(func(string, api.CallWish) (api.Called, error) {
			if code == fault.Internal {
				return api.Called{}, errors.New("unlucky")
			}
			return api.Called{}, fault.New(code, "call work: unlucky")
		})
		entry, _ := fault.Lookup(code)
		w := ask(h, "POST", "/v1/functions/work/calls?arg="+url.QueryEscape("a b"), "")
		if p := problem(t, w); p.Code != string(code) || w.Code != entry.HTTP || !strings.Contains(p.Detail, "unlucky") || w.Header().Get(api.HeaderExit) != "" {
			t.Errorf("%s: %d %+v", code, w.Code, p)
		}
	}
}

func TestWithoutAClientThereAreNoFunctions(t *testing.T) {
	roles := apitest.New(0).Roles()
	roles.Functions, roles.FunctionDoor = nil, nil
	h := open(t, server.Config{Roles: roles}).Handler(true)
	for _, at := range [][2]string{
		{"GET", "/v1/functions"},
		{"PUT", "/v1/functions/a"},
		{"DELETE", "/v1/functions/a"},
		{"POST", "/v1/functions/a/calls"},
		{"GET", "/v1/functions/a/log"},
		{"GET", "/v1/liars"},
		{"GET", "/v1/function-door"},
		{"POST", "/v1/function-door/close"},
	} {
		if p := problem(t, ask(h, at[0], at[1], "")); p.Code != string(fault.BadRequest) || !strings.Contains(p.Detail, "client role") {
			t.Errorf("%s: %+v", at, p)
		}
	}
}

func TestTheDoorOfFunctionsOpensOnce(t *testing.T) {
	h := open(t, server.Config{}).Handler(true)
	door := func(method, path, body string) (d api.FunctionDoor) {
		w := ask(h, method, path, body, "Content-Type", "application/json")
		if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil || w.Code != 200 {
			t.Fatalf("%s: %d %s", path, w.Code, w.Body)
		}
		return d
	}
	const at = `{"listen":"127.0.0.1:9479"}`
	if d := door("GET", "/v1/function-door", ""); d.Open {
		t.Errorf("%+v", d)
	}
	if d := door("POST", "/v1/function-door/open", at); !d.Open || d.Endpoint != "http://127.0.0.1:9479" {
		t.Errorf("%+v", d)
	}
	if p := problem(t, ask(h, "POST", "/v1/function-door/open", at, "Content-Type", "application/json")); p.Code != string(fault.Exists) {
		t.Errorf("again: %+v", p)
	}
	if d := door("POST", "/v1/function-door/close", ""); d.Open {
		t.Errorf("closed: %+v", d)
	}
}
