package weather

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hearth/api"
	"hearth/core/fault"
	"hearth/node"
)

// function compiles testdata/function as people compile theirs.
func function(t *testing.T) string { return compiled(t, "function", "work") }

// compiled compiles a Go program of testdata to NAME.wasm.
func compiled(t *testing.T, folder, name string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name+".wasm")
	c := exec.CommandContext(within(t, patient), "go", "build", "-o", file, "./testdata/"+folder)
	c.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return file
}

// called calls a function through the API, which must run it.
func (w *world) called(t *testing.T, name string, input string, args ...string) api.Called {
	t.Helper()
	done, err := w.api.Call(within(t, patient), name, api.CallWish{Args: args, Input: []byte(input)})
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// A function runs on a machine of somebody else, gives what it gives anywhere, and
// goes on elsewhere when that machine is gone. It can't reach the host's files.
func TestAFunctionRunsOnStrangersMachines(t *testing.T) {
	t.Parallel()
	w := start(t, 4, twoOfFour)
	me := w.Client.Dir
	if out, status := hearth(t, me, "fn", "deploy", function(t), "--env", "WORD=good", "--deadline", "1m"); status != 0 || !strings.Contains(out, "A call costs at most") {
		t.Fatalf("exit %d: %s", status, out)
	}
	if out, status := hearth(t, me, "fn", "invoke", "work", "say", "morning"); status != 0 || !strings.HasPrefix(out, "good morning") {
		t.Fatalf("exit %d: %s", status, out)
	}
	first := w.called(t, "work", "quiet", "upper")
	if string(first.Output) != "QUIET" || first.Exit != 0 || first.Gas == 0 || string(first.Log) != "work upper began with 5 bytes\n" {
		t.Fatalf("%+v: %s, log %s", first, first.Output, first.Log)
	}
	if out, status := hearth(t, me, "fn", "deploy", "testdata/words/words.wasm"); status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	if words := w.called(t, "words", "one two  three\n"); string(words.Output) != "3 words\n" || string(words.Log) != "15 bytes read\n" {
		t.Errorf("%+v: %s, log %s", words, words.Output, words.Log)
	}
	w.answersHTTP(t)
	if open := w.called(t, "work", "", "open"); open.Exit == 0 {
		t.Errorf("it read a file of the host's: %s", open.Log)
	}
	number := w.number(t, first.Host)
	if host, err := w.host(number); err != nil || host.Functions == nil || host.Functions.Calls < 2 || host.Functions.Gas < first.Gas {
		t.Errorf("the host says of itself %+v, %v", host.Functions, err)
	}
	w.Hosts[number].Kill()
	second := w.called(t, "work", "quiet", "upper")
	if string(second.Output) != "QUIET" || second.Host == first.Host {
		t.Errorf("after its host was killed: %q at %s", second.Output, second.Host)
	}
	if out, status := hearth(t, me, "fn", "logs", "work"); status != 0 || strings.Count(out, "work upper began with 5 bytes") != 2 {
		t.Errorf("exit %d: %s", status, out)
	}
	w.Client.Stop(patient)
	settings, err := node.LoadSettings(me)
	if err != nil {
		t.Fatal(err)
	}
	settings.Client.FunctionDoor.Listen, settings.Client.FunctionDoor.Only = freeAddr(t), []string{"web"}
	if err := settings.Save(me); err != nil {
		t.Fatal(err)
	}
	w.run(t, w.Client)
	door := w.openDoor(t) // by the settings
	visited(t, "GET", door.Endpoint+"/web/hello?name=again", "", 200, "hello again\n")
	visited(t, "POST", door.Endpoint+"/words", "one two", 404, "")
	if out, status := hearth(t, me, "fn", "ls"); status != 0 || !strings.Contains(out, "work") {
		t.Errorf("exit %d: %s", status, out)
	}
	if again := w.called(t, "work", "still there", "upper"); string(again.Output) != "STILL THERE" {
		t.Errorf("after a restart: %q", again.Output)
	}
	if out, status := hearth(t, me, "fn", "rm", "work"); status != 0 {
		t.Errorf("exit %d: %s", status, out)
	}
	_, err = w.api.Call(within(t, patient), "work", api.CallWish{})
	wants(t, "call what was removed", err, fault.NotFound)
}

// answersHTTP has functions answer HTTP requests: a Go program for net/http, and one
// in AssemblyScript.
func (w *world) answersHTTP(t *testing.T) {
	t.Helper()
	if out, status := hearth(t, w.Client.Dir, "fn", "deploy", compiled(t, "web", "web"), "--gas", "3e8", "--deadline", "1m"); status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	serve := exec.CommandContext(within(t, patient), program("hearth"), "--dir", w.Client.Dir, "fn", "serve", "--listen", freeAddr(t))
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	door := w.openDoor(t)
	visited(t, "GET", door.Endpoint+"/web/hello?name=Ada%20L", "", 200, "hello Ada L\n")
	large := strings.Repeat("quiet ", 200_000)
	if h := visited(t, "POST", door.Endpoint+"/web/upper", large, 201, strings.ToUpper(large)); h.Get("X-Bytes") != "1200000" {
		t.Errorf("%v", h)
	}
	visited(t, "GET", door.Endpoint+"/web/nowhere", "", 404, "404 page not found\n")
	visited(t, "POST", door.Endpoint+"/words", "one two  three\n", 200, "3 words\n")
	for path, want := range map[string]struct {
		status int
		code   fault.Code
	}{"/web/crash": {500, fault.FunctionFailed}, "/web/spin": {500, fault.OutOfGas}, "/nobody": {404, fault.NotFound}, "/web/plain": {502, fault.BadAnswer}} {
		if h := visited(t, "GET", door.Endpoint+path, "", want.status, ""); h.Get("Hearth-Fault") != string(want.code) {
			t.Errorf("%s: %v", path, h)
		}
	}
	began := time.Now()
	times := make([]time.Duration, 20)
	for i := range times {
		visited(t, "GET", door.Endpoint+"/web/hello?name=you", "", 200, "hello you\n")
		times[i] = time.Since(began)
		began = time.Now()
	}
	slices.Sort(times)
	t.Logf("warm requests over HTTP: the median takes %s", times[len(times)/2])
	if err := serve.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	var exit *exec.ExitError
	if err := serve.Wait(); err != nil && !errors.As(err, &exit) {
		t.Error(err)
	}
	if answer, err := http.Get(door.Endpoint + "/web/hello"); err == nil {
		answer.Body.Close()
		t.Error("it answers while it is closed")
	}
}

// openDoor waits until functions answer HTTP requests.
func (w *world) openDoor(t *testing.T) (d api.FunctionDoor) {
	t.Helper()
	soon(t, patient, "functions over HTTP", func() (err error) {
		if d, err = w.api.FunctionDoor(within(t, patient)); err == nil && !d.Open {
			err = errors.New("closed: " + d.Problem)
		}
		return err
	})
	return d
}

// visited sends a request to a function, which must be answered so; "" is any body.
func visited(t *testing.T, method, url, body string, status int, want string) http.Header {
	t.Helper()
	r, err := http.NewRequestWithContext(within(t, patient), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != status || want != "" && string(got) != want {
		t.Errorf("%s %s: %d %.200q, %v", method, url, answer.StatusCode, got, err)
	}
	return answer.Header
}

// What is the function's own fault is told as such, and the next call isn't the
// worse for it. All of it is paid, through the ledger.
func TestAFunctionThatFailsSaysHowAndIsPaid(t *testing.T) {
	t.Parallel()
	w := start(t, 4, twoOfFour)
	me := w.Client.Dir
	if out, status := hearth(t, me, "fn", "deploy", function(t), "--gas", "3e8", "--deadline", "1m"); status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	for _, tt := range []struct {
		arg  string
		code fault.Code
	}{{"fail", fault.FunctionFailed}, {"crash", fault.FunctionFailed}, {"spin", fault.OutOfGas}} {
		out, status := hearth(t, me, "fn", "invoke", "work", tt.arg)
		if status != fault.ExitFailure || !strings.Contains(out, "code:  "+string(tt.code)) {
			t.Errorf("%s: exit %d: %s", tt.arg, status, out)
		}
		if done := w.called(t, "work", "x", "upper"); string(done.Output) != "X" {
			t.Errorf("after %s: %q", tt.arg, done.Output)
		}
	}
	out, status := hearth(t, me, "fn", "deploy", filepath.Join(w.Client.Dir, "config.toml"), "--name", "text")
	if status != fault.ExitUsage || !strings.Contains(out, "code:  bad_module") {
		t.Errorf("exit %d: %s", status, out)
	}
	if out, status := hearth(t, me, "fn", "deploy", function(t), "--gas", "3e9", "--deadline", "1m"); status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	w.put(t, "in/a", []byte("a"))
	w.put(t, "in/deep/b", []byte("bb"))
	w.put(t, "in/none", []byte(" ")) // the function fails on it
	out, status = hearth(t, me, "run", "--map", "hearth://"+bucket+"/in/", "--fn", "testdata/words/words.wasm", "--to", "hearth://"+bucket+"/out/")
	if status != fault.ExitFailure || !strings.Contains(out, "it failed on 1 of 3 inputs") || !strings.Contains(out, "none (status 1)") {
		t.Errorf("exit %d: %s", status, out)
	}
	for _, key := range []string{"a", "deep/b"} {
		if out, status := hearth(t, me, "get", "hearth://"+bucket+"/out/"+key, "-"); status != 0 || out != "1 words\n" {
			t.Errorf("%s: exit %d: %s", key, status, out)
		}
	}
	var gas uint64
	for range 3 {
		spent := w.called(t, "work", "", "spin")
		if spent.Fault != string(fault.OutOfGas) || spent.Gas < 2_999_000_000 {
			t.Errorf("%+v", spent)
		}
		gas += spent.Gas
	}
	soon(t, patient, "be paid", func() error {
		var sold uint64
		paid, signed := 0.0, 0.0
		for l, err := range w.api.Leases(within(t, patient)) {
			if err != nil {
				return err
			}
			if l.Kind != "compute" {
				continue
			}
			sold += l.Gas
			var p, s float64
			fmt.Sscan(l.Paid.Amount, &p)
			fmt.Sscan(l.Signed.Amount, &s)
			paid, signed = paid+p, signed+s
		}
		// At 0.001 ember for 10^12, rounded up, and some for the module's bytes.
		if sold < gas || signed < 9e-6 || paid < 9e-6 {
			return fmt.Errorf("%d gas of %d is counted, %g ember are signed, %g paid", sold, gas, signed, paid)
		}
		return nil
	})
}
