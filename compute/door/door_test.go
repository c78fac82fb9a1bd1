package door

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hearth/compute/client"
	"hearth/core/call"
	"hearth/core/fault"
)

// town answers calls with what a test says, and keeps the last wish.
type town struct {
	env    []string // of the function
	keeps  string   // the function that has a store
	answer func(ctx context.Context, w client.Wish) (client.Result, error)

	mu   sync.Mutex
	last client.Wish
}

func (h *town) Function(_ context.Context, name string) (client.Function, error) {
	if name != "fn" && name != "other" {
		return client.Function{}, fault.New(fault.NotFound, "there is no function %q", name)
	}
	f := client.Function{Name: name, Deadline: time.Second, Env: h.env}
	if h.keeps == name {
		f.Store = 1000
	}
	return f, nil
}

func (h *town) Invoke(ctx context.Context, _ string, w client.Wish) (client.Result, error) {
	h.mu.Lock()
	h.last = w
	h.mu.Unlock()
	if h.answer != nil {
		return h.answer(ctx, w)
	}
	return says("Content-Type: text/plain\n\n" + string(w.Input)), nil
}

func (h *town) told() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last.Env
}

func says(output string) client.Result { return client.Result{Output: []byte(output)} }

func opened(t *testing.T, c Config) *Door {
	t.Helper()
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	d, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return d
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

// refusedWith checks status and code of an answer that no function gave.
func refusedWith(t *testing.T, name string, w *httptest.ResponseRecorder, status int, code fault.Code) {
	t.Helper()
	if w.Code != status || w.Header().Get(HeaderCode) != string(code) || !strings.HasSuffix(w.Body.String(), "code: "+string(code)+"\n") {
		t.Errorf("%s: %d %s, want %d %s: %s", name, w.Code, w.Header().Get(HeaderCode), status, code, w.Body)
	}
	if later := w.Header().Get("Retry-After") != ""; later != (status == 503 || status == 429) {
		t.Errorf("%s: later: %v", name, later)
	}
}

func TestWhatGoesWrongHasItsStatus(t *testing.T) {
	ended := func(r call.Outcome) func(context.Context, client.Wish) (client.Result, error) {
		return func(context.Context, client.Wish) (client.Result, error) {
			return client.Result{Outcome: r, Output: []byte("Content-Type: text/plain\n\nhi"), Reason: "its own doing"}, nil
		}
	}
	failed := func(err error) func(context.Context, client.Wish) (client.Result, error) {
		return func(context.Context, client.Wish) (client.Result, error) { return client.Result{}, err }
	}
	coded := func(c fault.Code) func(context.Context, client.Wish) (client.Result, error) {
		return failed(fault.New(c, "secret words"))
	}
	for _, tt := range []struct {
		name   string
		answer func(context.Context, client.Wish) (client.Result, error)
		status int
		code   fault.Code
		text   string // must be in the answer
	}{
		{"a status of its own", ended(call.Outcome{Exit: 3}), 500, fault.FunctionFailed, "status 3"},
		{"gas", ended(call.Outcome{Fault: fault.OutOfGas}), 500, fault.OutOfGas, "its own doing"},
		{"a trap", ended(call.Outcome{Fault: fault.Trapped}), 500, fault.Trapped, "its own doing"},
		{"too much output", ended(call.Outcome{Fault: fault.TooLarge}), 500, fault.TooLarge, "its own doing"},
		{"output that is no answer", func(context.Context, client.Wish) (client.Result, error) { return says("3 words\n"), nil }, 502, fault.BadAnswer, "isn't a CGI response"},
		{"its time", failed(fault.New(fault.Deadline, "too slow")), 504, fault.Deadline, "too slow"},
		{"all hosts' time", failed(context.DeadlineExceeded), 504, fault.Deadline, "no host has answered"},
		{"full hosts", failed(fault.New(fault.Busy, "too many calls")), 503, fault.Busy, "too many calls"},
		{"no hosts", coded(fault.NoHosts), 503, fault.NoHosts, ""},
		{"silent hosts", coded(fault.HostUnreachable), 504, fault.HostUnreachable, ""},
		{"a host that refuses", coded(fault.HostRefused), 502, fault.HostRefused, ""},
		{"hosts that differ", coded(fault.NotVerified), 502, fault.NotVerified, ""},
		{"a store that another machine is at", coded(fault.Conflict), 503, fault.Conflict, ""},
		{"money", coded(fault.NoFunds), 503, fault.NoFunds, ""},
		{"the cap", coded(fault.CapReached), 503, fault.CapReached, ""},
		{"the ledger", coded(fault.LedgerDown), 503, fault.LedgerDown, ""},
		{"this machine", failed(errors.New("open /home/ada/secret words")), 500, fault.Internal, ""},
	} {
		w := ask(opened(t, Config{Functions: &town{answer: tt.answer}}), "GET", "/fn", "")
		refusedWith(t, tt.name, w, tt.status, tt.code)
		if got := w.Body.String(); strings.Contains(got, "secret") || !strings.Contains(got, tt.text) {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}

func TestEachFunctionIsCalledSoOftenAndNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := opened(t, Config{Functions: &town{}, Rate: 2})
		for n := range 4 { // twice a second's at once after a silence
			if w := ask(d, "GET", "/fn", ""); w.Code != 200 {
				t.Errorf("request %d: %d", n, w.Code)
			}
		}
		refusedWith(t, "the fifth", ask(d, "GET", "/fn", ""), 429, fault.Busy)
		if w := ask(d, "GET", "/other", ""); w.Code != 200 {
			t.Errorf("another function: %d", w.Code)
		}
		time.Sleep(500 * time.Millisecond)
		if w := ask(d, "GET", "/fn", ""); w.Code != 200 {
			t.Errorf("half a second later: %d", w.Code)
		}
		for n := range 100 {
			ask(d, "GET", fmt.Sprintf("/name%d", n), "")
		}
		if len(d.rates) != 2 {
			t.Errorf("%d functions are kept in mind", len(d.rates))
		}
	})
}

func TestSoManyCallsRunAtOnceAndTheOthersWaitAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &town{answer: func(_ context.Context, w client.Wish) (client.Result, error) {
			time.Sleep(4 * time.Second)
			return says("Content-Type: text/plain\n\n" + string(w.Input)), nil
		}}
		d := opened(t, Config{Functions: h, AtOnce: 1})
		answers := make(chan *httptest.ResponseRecorder, 3)
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { answers <- ask(d, "POST", "/fn", "x") })
		}
		all.Wait()
		close(answers)
		var good, late int
		for w := range answers {
			if w.Code == 200 {
				good++
				continue
			}
			late++
			refusedWith(t, "the third", w, 503, fault.Busy)
		}
		if good != 2 || late != 1 {
			t.Errorf("%d were answered, %d not", good, late)
		}
		if !d.room.TryAcquire(maxBodies) {
			t.Error("room for bodies is lost")
		}
	})
}

// The calls of a function with a store wait for each other, and longer; all others have
// turns meanwhile.
func TestAFunctionThatStandsInLineLeavesTurnsToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := make(chan struct{}, 1)
		h := &town{keeps: "fn"}
		h.answer = func(_ context.Context, w client.Wish) (client.Result, error) {
			if string(w.Input) == "fn" {
				one <- struct{}{}
				time.Sleep(2 * time.Second)
				<-one
			}
			return says("Content-Type: text/plain\n\n" + string(w.Input)), nil
		}
		d := opened(t, Config{Functions: h, AtOnce: 8})
		var all sync.WaitGroup
		for n := range 12 {
			all.Go(func() {
				if w := ask(d, "POST", "/fn", "fn"); w.Code != 200 {
					t.Errorf("call %d: %d %s", n, w.Code, w.Body)
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		if w := ask(d, "POST", "/other", "other"); w.Code != 200 || time.Since(began) > 0 {
			t.Errorf("another function: %d after %v", w.Code, time.Since(began))
		}
		all.Wait()
		for range 30 {
			all.Go(func() { ask(d, "POST", "/fn", "fn") })
		}
		synctest.Wait()
		refusedWith(t, "the last in a long line", ask(d, "POST", "/fn", "fn"), 503, fault.Busy)
		all.Wait()
	})
}

func TestThereIsRoomForSoManyBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := opened(t, Config{Functions: &town{}})
		if !d.room.TryAcquire(maxBodies - 100) {
			t.Fatal("no room")
		}
		long := strings.Repeat("a", 200)
		refusedWith(t, "a body", ask(d, "POST", "/fn", long), 503, fault.Busy)
		if w := ask(d, "POST", "/fn", "short"); w.Body.String() != "short" {
			t.Errorf("another: %d %s", w.Code, w.Body)
		}
		refusedWith(t, "an answer", ask(d, "POST", "/fn", long[:90]), 503, fault.Busy)
		d.room.Release(maxBodies - 100)
		if w := ask(d, "POST", "/fn", long); w.Body.String() != long {
			t.Errorf("later: %d %s", w.Code, w.Body)
		}
	})
}

// served opens a door on a port of its own.
func served(t *testing.T, c Config) (d *Door, url string, end func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.Listen = l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	d = opened(t, c)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	over := make(chan error, 1)
	go func() { over <- d.Serve(ctx) }()
	select {
	case <-d.Ready():
	case err := <-over:
		t.Fatal(err)
	}
	return d, "http://" + c.Listen, func() error { cancel(); return <-over }
}

func TestADoorAnswersOverTCPUntilItIsClosed(t *testing.T) {
	d, url, end := served(t, Config{Functions: &town{}})
	answer, err := http.Post(url+"/fn", "text/x", iotest.OneByteReader(strings.NewReader("in chunks")))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil || string(body) != "in chunks" || answer.ContentLength != 9 || answer.Header.Get("Content-Type") != "text/plain" {
		t.Errorf("%q, %v, %v", body, answer.Header, err)
	}
	answer.Body.Close()
	if answer, err = http.Head(url + "/fn"); err != nil || answer.StatusCode != 200 {
		t.Fatalf("%v, %v", answer, err)
	}
	answer.Body.Close()
	again := opened(t, Config{Functions: &town{}, Listen: strings.TrimPrefix(url, "http://")})
	if err := again.Serve(t.Context()); fault.CodeOf(err) != fault.AddressTaken {
		t.Errorf("a second door there: %v", err)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	got := figures(t, d.c.Metrics)
	for name, want := range map[string]float64{"requests_total 2xx": 2, "duration_seconds": 2, "in_flight": 0, "in_bytes_total": 9, "out_bytes_total": 9} {
		if got[name] != want {
			t.Errorf("%s is %g, not %g", name, got[name], want)
		}
	}
	if answer, err := http.Get(url + "/fn"); err == nil {
		answer.Body.Close()
		t.Error("it answers after its end")
	}
}

// connected sends the beginning of a request.
func connected(t *testing.T, url, request string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	return c
}

// net/http reads on behind an answer, for as long as it is let.
func TestWhoIsRefusedHoldsNoConnectionWithABodyThatNeverComes(t *testing.T) {
	_, url, end := served(t, Config{Functions: &town{}, Only: []string{"fn"}, rest: 50 * time.Millisecond})
	host := strings.TrimPrefix(url, "http://")
	for what, request := range map[string]string{
		"no function": "POST /none HTTP/1.1\r\nHost: " + host, "no method": "TRACE /fn HTTP/1.1\r\nHost: " + host, "no host": "POST /fn HTTP/1.1\r\nHost: evil.example",
	} {
		for how, body := range map[string]string{"in chunks": "Transfer-Encoding: chunked\r\n\r\n5\r\nab", "of a length": "Content-Length: 100\r\n\r\nab"} {
			c := connected(t, url, request+"\r\n"+body)
			if b, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 4") {
				t.Errorf("%s, %s: %q, %v", what, how, b, err)
			}
		}
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}

// Who says that much will come takes nothing from those whose bodies have come.
func TestRoomIsForWhatHasComeAndNotForWhatMay(t *testing.T) {
	d, url, end := served(t, Config{Functions: &town{}, Rate: 1000})
	host := strings.TrimPrefix(url, "http://")
	const slow = 2 * maxBodies / call.MaxInput
	for n := range slow {
		length := "Transfer-Encoding: chunked\r\n\r\n5\r\nab"
		if n%2 == 0 {
			length = fmt.Sprintf("Content-Length: %d\r\n\r\nab", call.MaxInput)
		}
		c := connected(t, url, "POST /fn HTTP/1.1\r\nHost: "+host+"\r\n"+length)
		defer c.Close()
	}
	for limit := time.Now().Add(20 * time.Second); figures(t, d.c.Metrics)["in_flight"] < slow; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("the slow ones never came")
		}
	}
	long := strings.Repeat("all of it comes back. ", 50_000)
	for _, from := range []io.Reader{strings.NewReader(long), struct{ io.Reader }{strings.NewReader(long)}} {
		answer, err := http.Post(url+"/fn", "text/x", from)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(answer.Body)
		if answer.Body.Close(); err != nil || string(b) != long {
			t.Errorf("%d, %d bytes, %v", answer.StatusCode, len(b), err)
		}
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}

func TestABodyThatIsTooLongIsRefusedAndItsRoomGivenBack(t *testing.T) {
	d := opened(t, Config{Functions: &town{}})
	for _, n := range []int{0, 1, firstPiece, firstPiece + 1, call.MaxInput} {
		r := httptest.NewRequest("POST", "/fn", struct{ io.Reader }{strings.NewReader(strings.Repeat("a", n))})
		held := int64(0)
		if b, err := d.body(httptest.NewRecorder(), r, &held); err != nil || len(b) != n || held != int64(cap(b)) {
			t.Errorf("%d bytes: %d, %d held, %v", n, len(b), held, err)
		}
		d.room.Release(held)
	}
	r := httptest.NewRequest("POST", "/fn", struct{ io.Reader }{strings.NewReader(strings.Repeat("a", call.MaxInput+1))})
	r.Host = "localhost"
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	refusedWith(t, "one more", w, 413, fault.TooLarge)
	if !d.room.TryAcquire(maxBodies) {
		t.Error("room for bodies is lost")
	}
}

// A call ends with the client that wanted it, and with the door.
func TestNobodyPaysForAnAnswerThatNobodyWaitsFor(t *testing.T) {
	began, ended := make(chan struct{}, 1), make(chan error, 1)
	d, url, end := served(t, Config{Functions: &town{answer: func(ctx context.Context, _ client.Wish) (client.Result, error) {
		began <- struct{}{}
		<-ctx.Done()
		ended <- ctx.Err()
		return client.Result{}, ctx.Err()
	}}})
	asking, leave := context.WithCancel(t.Context())
	ask := func(ctx context.Context) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/fn", strings.NewReader("x"))
		if err != nil {
			t.Error(err)
			return
		}
		if answer, err := http.DefaultClient.Do(r); err == nil {
			answer.Body.Close()
			t.Errorf("answered %d", answer.StatusCode)
		}
	}
	var all sync.WaitGroup
	all.Go(func() { ask(asking) })
	<-began
	leave()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the client left: %v", err)
	}
	all.Go(func() { ask(t.Context()) })
	<-began
	if err := end(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the door was closed: %v", err)
	}
	all.Wait()
	if got := figures(t, d.c.Metrics); got["requests_total gone"] != 2 {
		t.Errorf("of two requests without an answer: %v", got)
	}
}

// figures are the present ones by name and labels; of a histogram the count.
func figures(t *testing.T, m *Metrics) map[string]float64 {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(m)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, one := range f.Metric {
			name := strings.TrimPrefix(f.GetName(), "hearth_function_http_")
			for _, l := range one.Label {
				name += " " + l.GetValue()
			}
			out[name] = one.GetCounter().GetValue() + one.GetGauge().GetValue() + float64(one.GetHistogram().GetSampleCount())
		}
	}
	return out
}

func TestADoorNeedsWhatItNeeds(t *testing.T) {
	for name, c := range map[string]Config{
		"no functions": {Listen: "127.0.0.1:0"}, "no address": {Functions: &town{}}, "no port": {Functions: &town{}, Listen: "127.0.0.1"},
		"a rate below 0": {Functions: &town{}, Listen: "127.0.0.1:0", Rate: -1}, "more checks than hosts": {Functions: &town{}, Listen: "127.0.0.1:0", Verify: 9},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: a door", name)
		}
	}
}
