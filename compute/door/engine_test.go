package door

import (
	"context"
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hearth/compute/client"
	"hearth/compute/wasm"
	"hearth/core/call"
	"hearth/core/fault"
)

// The test binary is the engine's worker too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "worker" {
		if err := wasm.Work(os.Stdin, os.Stdout); err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// here runs a module on this machine, in the sandbox that hosts have.
type here struct {
	engine *wasm.Engine
	module [32]byte
}

func (h *here) Function(_ context.Context, name string) (client.Function, error) {
	return client.Function{Name: name, Deadline: time.Minute}, nil
}

func (h *here) Invoke(ctx context.Context, name string, w client.Wish) (client.Result, error) {
	out, err := h.engine.Call(ctx, h.module, wasm.Call{
		Args: []string{name}, Env: w.Env, Input: w.Input, Now: 1_800_000_000_000_000_000, Gas: 300_000_000, Pages: client.DefaultPages, Deadline: time.Minute,
	})
	if err != nil {
		return client.Result{}, err
	}
	return client.Result{Outcome: call.Outcome{Exit: out.Exit, Gas: out.Gas, Fault: out.Fault}, Output: out.Output, Log: out.Log, Reason: out.Reason}, nil
}

// A Go program that answers with net/http/cgi does so as a function too.
func TestAGoProgramForNetHTTPAnswers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "web.wasm")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", file, "hearth/test/weather/testdata/web")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	module, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	e, err := wasm.Open(wasm.Config{Dir: t.TempDir(), Program: []string{os.Args[0], "worker"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := e.Add(t.Context(), module); err != nil {
		t.Fatal(err)
	}
	h := &here{engine: e, module: sha256.Sum256(module)}
	d, err := New(Config{Functions: h, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		method, path, body string
		status             int
		answer             string
	}{
		{"GET", "/web/hello?name=Ada%20L", "", 200, "hello Ada L\n"},
		{"POST", "/web/upper", "quiet", 201, "QUIET"},
		{"POST", "/web/hello", "", 405, "Method Not Allowed\n"},
		{"GET", "/web/nowhere", "", 404, "404 page not found\n"},
	} {
		w := ask(d, tt.method, tt.path, tt.body)
		if w.Code != tt.status || w.Body.String() != tt.answer {
			t.Errorf("%s %s: %d %q", tt.method, tt.path, w.Code, w.Body)
		}
	}
	if w := ask(d, "GET", "/web/crash", ""); w.Code != http.StatusInternalServerError || w.Header().Get(HeaderCode) != string(fault.FunctionFailed) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := ask(d, "GET", "/web/spin", ""); w.Code != http.StatusInternalServerError || w.Header().Get(HeaderCode) != string(fault.OutOfGas) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// ask sends one request to a door; headers come in pairs.
func ask(d *Door, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "localhost:9479"
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w
}
