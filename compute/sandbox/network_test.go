//go:build linux

package sandbox_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"hearth/compute/sandbox"
)

func TestDial(t *testing.T) {
	w := newWorld(t)
	w.start("serve", sh("mkdir /home/www && echo from inside > /home/www/x && dd if=/dev/zero of=/home/www/big bs=1M count=16 2>/dev/null && httpd -f -p 8080 -h /home/www"))
	until(t, "it serves", func() bool {
		c, err := w.e.Dial(w.ctx, "serve", 8080)
		if err != nil {
			return false
		}
		c.Close()
		return true
	})
	get := func(path string) []byte {
		t.Helper()
		c, err := w.e.Dial(w.ctx, "serve", 8080)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Minute))
		if _, err := io.WriteString(c, "GET "+path+" HTTP/1.0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		_, body, _ := bytes.Cut(all, []byte("\r\n\r\n"))
		return body
	}
	if b := get("/x"); string(b) != "from inside\n" {
		t.Fatalf("%q", b)
	}
	if b := get("/big"); len(b) != 16<<20 {
		t.Fatalf("%d bytes", len(b))
	}
	u, err := w.e.Stats(w.ctx, "serve")
	if err != nil || u.NetOut < 16<<20 || u.NetIn < 30 {
		t.Fatalf("%+v %v", u, err)
	}
	if c, err := w.e.Dial(w.ctx, "serve", 9); err == nil {
		c.Close()
		t.Error("a port nobody listens at answers")
	}
}

// fetch is how many bytes a server inside sends for a path; 0 when none answers.
func fetch(t testing.TB, w *world, path string) int64 {
	t.Helper()
	c, err := w.e.Dial(w.ctx, "bulk", 80)
	if err != nil {
		return 0
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c, "GET "+path+" HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, c)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// listener is a server in the namespace of the test, on all its addresses.
func listener(t *testing.T) (ports string, asked func() bool) {
	t.Helper()
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	hit := make(chan struct{}, 100)
	s := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hit <- struct{}{} })}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), func() bool { return len(hit) > 0 }
}

func TestNothingPrivateIsReached(t *testing.T) {
	w := newWorld(t)
	port, asked := listener(t)
	hosts := []string{"127.0.0.1", "10.87.0.1", "localhost", "169.254.169.254", "192.168.1.1", "10.0.0.1"}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if ip, _, err := net.ParseCIDR(a.String()); err == nil && ip.To4() != nil {
			hosts = append(hosts, ip.String())
		}
	}
	for id, e := range map[string]sandbox.Egress{"none": sandbox.EgressNone, "open": sandbox.EgressOpen, "allow": sandbox.EgressAllow} {
		s := sh("sleep 600")
		s.Egress = e
		if e == sandbox.EgressAllow {
			s.Allow = []string{"0.0.0.0/0", "localhost"}
		}
		w.start(id, s)
		for _, host := range hosts {
			out, exit := w.exec(id, "wget", "-q", "-O", "-", "http://"+host+":"+port+"/")
			if exit != 1 { // as wget ends when it can't connect
				t.Errorf("%s reaches %s: %d %s", id, host, exit, out)
			}
		}
	}
	if asked() {
		t.Error("the test's own server was reached")
	}
}

func TestWithoutEgressThereAreNoNames(t *testing.T) {
	w := newWorld(t)
	w.start("none", sh("sleep 600"))
	out, exit := w.exec("none", "sh", "-c", "wc -c < /etc/resolv.conf; nslookup -type=a localhost. 10.87.0.1")
	if exit == 0 || !strings.HasPrefix(out, "0\n") {
		t.Fatalf("%d %q", exit, out)
	}
}
