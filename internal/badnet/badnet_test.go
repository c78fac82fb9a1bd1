package badnet

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// echo listens and sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

func proxy(t *testing.T) *Proxy {
	t.Helper()
	p, err := New(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func dial(t *testing.T, p *Proxy) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return c.(*net.TCPConn)
}

func TestProxyPassesEverythingAndEnds(t *testing.T) {
	c := dial(t, proxy(t))
	data := bytes.Repeat([]byte("hearth"), 50_000)
	go func() {
		c.Write(data)
		c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("got %d bytes of %d, %v", len(got), len(data), err)
	}
}

func TestSilenceHoldsAndLetsGo(t *testing.T) {
	p := proxy(t)
	c := dial(t, p)
	p.Silence(true)
	c.Write([]byte("x"))
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("something passed: %v", err)
	}
	p.Silence(false)
	c.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

func TestCutAfterCutsInTheMiddle(t *testing.T) {
	p := proxy(t)
	p.CutAfter(100 << 10)
	c := dial(t, p)
	go c.Write(make([]byte, 1<<20))
	n, _ := io.Copy(io.Discard, c)
	if n >= 1<<20 {
		t.Fatalf("%d bytes passed", n)
	}
	again := dial(t, p)
	again.Write([]byte("x"))
	if _, err := io.ReadFull(again, make([]byte, 1)); err != nil {
		t.Fatalf("a new connection doesn't pass: %v", err)
	}
}

func TestRefuseClosesNewConnections(t *testing.T) {
	p := proxy(t)
	p.Refuse(true)
	if _, err := dial(t, p).Read(make([]byte, 1)); err == nil {
		t.Fatal("the connection passed")
	}
}

func TestDelayAndRateHoldBack(t *testing.T) {
	p := proxy(t)
	p.Delay(30 * time.Millisecond)
	p.Rate(1 << 20)
	c := dial(t, p)
	start := time.Now()
	go c.Write(make([]byte, 64<<10))
	if _, err := io.ReadFull(c, make([]byte, 64<<10)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 60*time.Millisecond {
		t.Fatalf("there and back in %v", took)
	}
}
