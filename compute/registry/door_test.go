package registry_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"cuelabs.dev/go/oci/ociregistry"
	"github.com/opencontainers/go-digest"

	"hearth/compute/registry"
)

// dial opens a connection to a server; what is read from it has 20 seconds.
func dial(t *testing.T, at string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// serve opens a door until the test ends.
func (w *town) serve(t *testing.T) (door *registry.Door, password string) {
	t.Helper()
	password = rand.Text()
	door, err := w.Open("127.0.0.1:0", password)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- door.Serve(ctx) }()
	t.Cleanup(func() {
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return door, password
}

func TestAnUploadSaysWhatWentWrongWhicheverWayItCame(t *testing.T) {
	d := digest.FromString("never").String()
	for _, method := range []string{http.MethodPatch, http.MethodPut, http.MethodPost} {
		t.Run(method, func(t *testing.T) {
			w := open(t, registry.Config{MaxBlob: 100, MaxStaged: 150})
			begin := func() string {
				return w.wants(t, http.StatusAccepted, "", http.MethodPost, "/v2/app/blobs/uploads/", "").Header.Get("Location")
			}
			next := func() string {
				if method == http.MethodPost {
					return "/v2/app/blobs/uploads/?digest=" + d
				}
				return begin() + "?digest=" + d
			}
			w.wants(t, http.StatusRequestEntityTooLarge, "SIZE_INVALID", method, next(), strings.Repeat("x", 101))
			w.wants(t, http.StatusAccepted, "", http.MethodPatch, begin(), strings.Repeat("x", 100))
			w.wants(t, http.StatusInsufficientStorage, "UNAVAILABLE", method, next(), strings.Repeat("x", 51))
		})
	}
}

func TestAClientThatStopsIsToldThatItDid(t *testing.T) {
	w := open(t, registry.Config{Stall: 500 * time.Millisecond})
	for _, method := range []string{http.MethodPatch, http.MethodPut, http.MethodPost} {
		t.Run(method, func(t *testing.T) {
			to := "/v2/app/blobs/uploads/"
			if method != http.MethodPost {
				to = w.wants(t, http.StatusAccepted, "", http.MethodPost, to, "").Header.Get("Location")
			}
			c := dial(t, strings.TrimPrefix(w.url, "http://"))
			if _, err := fmt.Fprintf(c, "%s %s?digest=%s HTTP/1.1\r\nHost: door\r\nContent-Length: 100\r\n\r\nthe beginning", method, to, digest.FromString("never")); err != nil {
				t.Fatal(err)
			}
			r, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			var e ociregistry.WireErrors
			if err := json.NewDecoder(r.Body).Decode(&e); err != nil || r.StatusCode != 499 || len(e.Errors) != 1 || e.Errors[0].Code() != "DENIED" {
				t.Errorf("%s: %v, %v", r.Status, e, err)
			}
		})
	}
}

// What is announced and never sent holds neither a connection nor a goroutine.
func TestARefusalDoesntWaitForABodyThatNeverComes(t *testing.T) {
	w := open(t, registry.Config{Stall: 2 * time.Second})
	door, password := w.serve(t)
	for name, tt := range map[string]struct {
		user   string
		status int
	}{"who doesn't know the password": {"nobody", http.StatusUnauthorized}, "who does": {registry.User, http.StatusNotFound}} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, door.Address())
			q, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, "http://"+door.Address()+"/v2/app/manifests/v1", nil)
			if err != nil {
				t.Fatal(err)
			}
			q.SetBasicAuth(tt.user, password)
			if _, err := fmt.Fprintf(c, "DELETE %s HTTP/1.1\r\nHost: door\r\nAuthorization: %s\r\nContent-Length: 100\r\n\r\n", q.URL.Path, q.Header.Get("Authorization")); err != nil {
				t.Fatal(err)
			}
			all := bufio.NewReader(c)
			r, err := http.ReadResponse(all, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			if _, err := io.Copy(io.Discard, r.Body); err != nil || r.StatusCode != tt.status {
				t.Errorf("%s, %v", r.Status, err)
			}
			if _, err := all.ReadByte(); err != io.EOF {
				t.Errorf("the connection is left open: %v", err)
			}
		})
	}
}

// The time that one request's body has isn't that of the next, nor of its answer.
func TestAConnectionServesOnAfterARefusal(t *testing.T) {
	const stall = 200 * time.Millisecond
	w := open(t, registry.Config{Stall: stall})
	w.objects.takes = 4 * stall
	door, password := w.serve(t)
	c := dial(t, door.Address())
	all := bufio.NewReader(c)
	for i, body := range []string{"one", "two", "one"} {
		q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+door.Address()+"/v2/app/blobs/uploads/?digest="+digest.FromString(body).String(), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		want := http.StatusUnauthorized
		if i > 0 {
			q.SetBasicAuth(registry.User, password)
			want = http.StatusCreated
		}
		if err := q.Write(c); err != nil {
			t.Fatal(err)
		}
		r, err := http.ReadResponse(all, q)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil || r.StatusCode != want {
			t.Errorf("request %d: %s, %v", i+1, r.Status, err)
		}
		r.Body.Close()
	}
}

func TestAPartThatSaysItIsTheFirstByteIsTheFirst(t *testing.T) {
	w := open(t, registry.Config{})
	begin := func() string {
		return w.wants(t, http.StatusAccepted, "", http.MethodPost, "/v2/app/blobs/uploads/", "").Header.Get("Location")
	}
	at := begin()
	w.wants(t, http.StatusAccepted, "", http.MethodPatch, at, "a", "Content-Range", "0-0")
	w.wants(t, http.StatusRequestedRangeNotSatisfiable, "RANGE_INVALID", http.MethodPatch, at, "a", "Content-Range", "0-0")
	w.wants(t, http.StatusCreated, "", http.MethodPut, at+"?digest="+digest.FromString("a").String(), "")
	w.wants(t, http.StatusCreated, "", http.MethodPut, begin()+"?digest="+digest.FromString("").String(), "", "Content-Range", "0-0")
}
