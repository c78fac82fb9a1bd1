package front_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hearth/core/fault"
	"hearth/ledger/front"
)

// newcomers grants to each account once.
type newcomers map[string]bool

func (n newcomers) Grant(_ context.Context, address string) (front.Granted, error) {
	if n[address] {
		return front.Granted{}, fault.New(fault.SponsorRefused, "grant %s: known already", address)
	}
	n[address] = true
	return front.Granted{Granter: "hearth1sponsor", Tx: "ABCD"}, nil
}

// serve runs a Front before an RPC that answers with what it was asked.
func serve(t *testing.T, s *front.Sponsor) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "rpc.sock")
	rpc, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	behind := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "websocket" {
			c, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			line, _ := rw.ReadString('\n')
			fmt.Fprint(c, "echo "+line)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		fmt.Fprintf(w, "%s %s %d", r.Method, r.URL, len(body))
	})}
	go func() { _ = behind.Serve(rpc) }()
	f, err := front.New(front.Config{Socket: socket, Sponsor: s})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- f.Serve(l) }()
	t.Cleanup(func() {
		_ = f.Close()
		_ = behind.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String()
}

func get(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestEverythingElseGoesToTheRPC(t *testing.T) {
	url := serve(t, nil)
	if code, body := get(t, "GET", url+"/status?x=1", ""); code != 200 || body != "GET /status?x=1 0" {
		t.Errorf("%d %q", code, body)
	}
	if code, body := get(t, "POST", url+"/", "12345"); code != 200 || body != "POST / 5" {
		t.Errorf("%d %q", code, body)
	}
}

func TestLargeBodiesAreRefused(t *testing.T) {
	url := serve(t, nil)
	if code, _ := get(t, "POST", url+"/", strings.Repeat("x", 1<<20)); code != 200 {
		t.Errorf("1 MiB: %d", code)
	}
	if code, _ := get(t, "POST", url+"/", strings.Repeat("x", 1<<20+1)); code != http.StatusRequestEntityTooLarge {
		t.Errorf("more than 1 MiB: %d", code)
	}
	req, err := http.NewRequest("POST", url+"/", io.LimitReader(strings.NewReader(strings.Repeat("x", 2<<20)), 2<<20)) // length unsaid
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return // cut off while sending
	}
	defer res.Body.Close()
	if res.StatusCode == 200 {
		t.Error("2 MiB without a length were taken")
	}
}

func TestWebsocketsPass(t *testing.T) {
	c, err := net.Dial("tcp", strings.TrimPrefix(serve(t, nil), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(c, "GET /websocket HTTP/1.1\r\nHost: ledger\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	r := bufio.NewReader(c)
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(res, err)
	}
	fmt.Fprint(c, "hello\n")
	if line, err := r.ReadString('\n'); err != nil || line != "echo hello\n" {
		t.Errorf("%q, %v", line, err)
	}
}

// ask asks s for address from a source, without a network.
func ask(s *front.Sponsor, body, from string) (int, string) {
	r := httptest.NewRequest("POST", "/sponsor", strings.NewReader(body))
	r.RemoteAddr = from
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	var p struct{ Code string }
	_ = json.Unmarshal(w.Body.Bytes(), &p)
	return w.Code, p.Code
}

func address(i int) string { return fmt.Sprintf(`{"address":"hearth1n%d"}`, i) }

func TestASponsorPaysOnceForEachKey(t *testing.T) {
	s, err := front.NewSponsor(front.SponsorConfig{Granter: newcomers{}})
	if err != nil {
		t.Fatal(err)
	}
	url := serve(t, s)
	code, body := get(t, "POST", url+"/sponsor", address(1))
	if code != 200 || strings.TrimSpace(body) != `{"granter":"hearth1sponsor","tx":"ABCD"}` {
		t.Errorf("%d %s", code, body)
	}
	for what, want := range map[string]int{address(1): 409, `{}`: 400, `nonsense`: 400, address(2): 200} {
		if code, body := get(t, "POST", url+"/sponsor", what); code != want || code != 200 && !strings.Contains(body, `"code":"sponsor_refused"`) {
			t.Errorf("%s: %d %s, want %d", what, code, body, want)
		}
	}
	if code, _ := get(t, "GET", url+"/sponsor", ""); code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", code)
	}
}

func TestASponsorsRates(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s, err := front.NewSponsor(front.SponsorConfig{
		Granter: newcomers{}, Rates: front.Rates{PerHour: 6, PerSourceHour: 2}, Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, tt := range []struct {
		from string
		wait time.Duration
		want int
	}{
		{"192.0.2.1:1", 0, 200},
		{"192.0.2.200:1", 0, 200},
		{"192.0.2.3:1", 0, 429}, // the third of one /24
		{"[2001:db8::1]:1", 0, 200},
		{"[2001:db8:0:9::1]:1", 0, 200},
		{"[2001:db8::2]:1", 0, 429},            // the third of one /48
		{"192.0.2.3:1", 31 * time.Minute, 200}, // half an hour fills one of two
		{"127.0.0.1:1", 0, 200},                // loopback isn't counted by source
		{"127.0.0.1:1", 0, 200},
		{"127.0.0.1:1", 0, 200},
		{"127.0.0.1:1", 0, 200},
		{"127.0.0.1:1", 0, 429},                   // but of all: 6, less 9, and 3 came back
		{"198.51.100.1:1", 11 * time.Minute, 200}, // ten minutes fill one of six
	} {
		now = now.Add(tt.wait)
		code, word := ask(s, address(i), tt.from)
		if code != tt.want || code == 429 && word != "sponsor_refused" {
			t.Errorf("%d: from %s: %d %s, want %d", i, tt.from, code, word, tt.want)
		}
	}
}
