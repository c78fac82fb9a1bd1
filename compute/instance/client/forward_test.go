package client_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/compute/instance/client"
	"hearth/core/fault"
)

// into is a client of HTTP whose connections go to a port of an instance.
func (w *town) into(name string, port uint16) *http.Client {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var open sync.WaitGroup
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		open.Go(func() {
			defer far.Close()
			_ = w.x.Forward(ctx, name, port, client.Streams{In: far, Out: far}) // near sees how it ends
		})
		return near, nil
	}}
	w.t.Cleanup(func() { transport.CloseIdleConnections(); cancel(); open.Wait() })
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// A server inside is spoken to as if it stood here: several at once, one after another
// over one connection, with bodies both ways.
func TestAServerInsideIsReached(t *testing.T) {
	w := newTown(t)
	inside := httptest.NewServer(http.HandlerFunc(func(to http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err == nil {
			_, err = fmt.Fprintf(to, "%s %d %s", r.URL.Path, len(b), b)
		}
		if err != nil {
			t.Error(err)
		}
	}))
	defer inside.Close()
	w.engine.serves = inside.Listener.Addr().String()
	w.create("web")
	c := w.into("web", 8080)
	var all sync.WaitGroup
	for n := range 6 {
		all.Go(func() {
			body := strings.Repeat("x", n*100_000)
			for range 2 {
				r, err := c.Post(fmt.Sprintf("http://inside/%d", n), "text/plain", strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				b, err := io.ReadAll(r.Body)
				if r.Body.Close(); err != nil || string(b) != fmt.Sprintf("/%d %d %s", n, len(body), body) {
					t.Errorf("%d: %d bytes, %v", n, len(b), err)
				}
			}
		})
	}
	all.Wait()
}

// Who has said all, and says so, still hears the answer; and who is slow to take it, and
// so to pay for more of it, holds the sender up instead of losing it.
func TestAHalfOfAConnectionIsClosed(t *testing.T) {
	w := newTownOf(t, shortPause)
	w.trust = shortPause
	w.open(w.dir)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // answers once all has come
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b, err := io.ReadAll(c)
			if err == nil {
				_, err = c.Write(b)
			}
			if c.Close(); err != nil {
				t.Error(err)
			}
		}
	}()
	w.engine.serves = l.Addr().String()
	w.create("web")
	big := bytes.Repeat([]byte("all of it comes back. "), 60_000)
	var out late
	if err := w.x.Forward(t.Context(), "web", 8080, client.Streams{In: bytes.NewReader(big), Out: &out}); err != nil || !bytes.Equal(out.Bytes(), big) {
		t.Errorf("%d of %d bytes, %v", out.Len(), len(big), err)
	}
}

// That nobody listens inside is no fault of the host, and is told from one.
func TestAPortWhereNobodyListensIsClosed(t *testing.T) {
	w := newTown(t)
	w.create("web")
	err := w.x.Forward(t.Context(), "web", 9, client.Streams{In: strings.NewReader("hello"), Out: io.Discard})
	if want(t, "forward", err, fault.PortClosed); !strings.Contains(err.Error(), "refused") {
		t.Errorf("%v", err)
	}
	want(t, "a port that is none", w.x.Forward(t.Context(), "web", 0, client.Streams{Out: io.Discard}), fault.BadRequest)
}
