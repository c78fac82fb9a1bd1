package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/core/fault"
	"hearth/internal/terminal"
)

func TestPortsAreReadAsTheyAreWritten(t *testing.T) {
	for word, want := range map[string]portPair{"80": {80, 80}, "8080:80": {8080, 80}, "0:80": {0, 80}, "65535": {65535, 65535}} {
		if got, err := parsePorts([]string{word}); err != nil || !reflect.DeepEqual(got, []portPair{want}) {
			t.Errorf("%s: %v, %v", word, got, err)
		}
	}
	for _, word := range []string{"", "0", "80:0", "65536", "-1", "a", "80:", ":80", "1:2:3", "127.0.0.1:80"} {
		if got, err := parsePorts([]string{"80", word}); fault.CodeOf(err) != fault.BadRequest {
			t.Errorf("%q: %v, %v", word, got, err)
		}
	}
}

// forwarded is a node's instance web, some ports of which are reached here.
type forwarded struct {
	at   []string // where this machine listens
	said func() string
	stop func() error
}

func forward(t *testing.T, pairs ...portPair) *forwarded {
	t.Helper()
	client := inside(t)
	dir := t.TempDir()
	file := func(name string) *os.File {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	a := &App{}
	var err error
	if a.Term, err = terminal.New(terminal.Config{In: os.Stdin, Out: file("out"), Err: file("err"), Format: terminal.FormatJSON}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.portForward(ctx, client, "web", "127.0.0.1", pairs) }()
	f := &forwarded{said: func() string { return read("err") }, stop: sync.OnceValue(func() error { cancel(); return <-ended })}
	t.Cleanup(func() {
		if err := f.stop(); err != nil {
			t.Error(err)
		}
	})
	var shown []forwarding
	eventually(t, "it says where it listens", func() bool { return json.Unmarshal([]byte(read("out")), &shown) == nil })
	for n, s := range shown {
		if s.Name != "web" || s.Port != pairs[n].inside {
			t.Errorf("%+v", s)
		}
		f.at = append(f.at, s.Listen)
	}
	return f
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func dial(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn)
}

// All that was said comes back, also what comes after this side has nothing more to say.
func TestAConnectionIsCarriedBothWaysToItsEnd(t *testing.T) {
	f := forward(t, portPair{0, 80}, portPair{0, 81})
	big := strings.Repeat("all of it comes back. ", 50_000)
	for n, address := range f.at {
		c := dial(t, address)
		go func() {
			_, _ = io.WriteString(c, big) // what comes back is what counts
			_ = c.CloseWrite()
		}()
		if got, err := io.ReadAll(c); err != nil || string(got) != fmt.Sprintf("port %d: ", 80+n)+big {
			t.Errorf("%s: %d bytes, %v", address, len(got), err)
		}
	}
	open := dial(t, f.at[0])
	if _, err := io.ReadFull(open, make([]byte, len("port 80: "))); err != nil {
		t.Fatal(err)
	}
	if err := f.stop(); err != nil {
		t.Error(err)
	}
	if _, err := open.Read(make([]byte, 1)); err == nil {
		t.Error("a connection outlives the command")
	}
	if c, err := net.Dial("tcp", f.at[0]); err == nil {
		c.Close()
		t.Error("something listens still")
	}
	if f.said() != "" {
		t.Errorf("it says %q", f.said())
	}
}

// What is refused inside is refused here, and its reason is said once, not for each try
// of a program that doesn't give up.
func TestAClosedPortIsSaidOnce(t *testing.T) {
	f := forward(t, portPair{0, 9}, portPair{0, 80})
	for range 3 {
		c, err := net.Dial("tcp", f.at[0])
		if err != nil {
			continue // it was reset as soon as it was there
		}
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		if b, err := io.ReadAll(c); err == nil || len(b) > 0 {
			t.Errorf("%q, %v: nobody is there, and yet it ends well", b, err)
		}
		c.Close()
	}
	eventually(t, "it says why", func() bool { return f.said() != "" })
	c := dial(t, f.at[1])
	_ = c.CloseWrite()
	if b, err := io.ReadAll(c); err != nil || string(b) != "port 80: " {
		t.Errorf("%q, %v", b, err)
	}
	if want := "a connection to web:9 ended: port 9: connection was refused (port_closed)\n"; f.said() != want {
		t.Errorf("it says %q", f.said())
	}
}

// A host serves so many requests of one node: more connections wait for their turn.
func TestConnectionsBeyondAsManyWaitForTheirTurn(t *testing.T) {
	f := forward(t, portPair{0, 80})
	greeting := func(c net.Conn) error { _, err := io.ReadFull(c, make([]byte, len("port 80: "))); return err }
	var open []*net.TCPConn
	for range maxForwards {
		c := dial(t, f.at[0])
		if err := greeting(c); err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	more := dial(t, f.at[0])
	_ = more.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if err := greeting(more); err == nil {
		t.Error("more are carried than are allowed")
	}
	_ = open[3].CloseWrite()
	_ = more.SetReadDeadline(time.Now().Add(20 * time.Second))
	if err := greeting(more); err != nil {
		t.Errorf("its turn never comes: %v", err)
	}
}

func TestWhatCannotBeForwardedIsSaidAtOnce(t *testing.T) {
	client := inside(t)
	a := &App{}
	var err error
	if a.Term, err = terminal.New(terminal.Config{In: os.Stdin, Out: os.Stderr, Err: os.Stderr}); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := uint16(taken.Addr().(*net.TCPAddr).Port)
	for what, tt := range map[string]struct {
		name, address string
		port          uint16
		code          fault.Code
	}{
		"no such instance": {"db", "127.0.0.1", 0, fault.NoInstance}, "a port that is taken": {"web", "127.0.0.1", port, fault.AddressTaken},
		"another's address": {"web", "192.0.2.1", 0, fault.BadRequest},
	} {
		if err := a.portForward(t.Context(), client, tt.name, tt.address, []portPair{{tt.port, 80}}); fault.CodeOf(err) != tt.code {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := client.StopInstance(t.Context(), "web", 0); err != nil {
		t.Fatal(err)
	}
	if err := a.portForward(t.Context(), client, "web", "127.0.0.1", []portPair{{0, 80}}); fault.CodeOf(err) != fault.PortClosed || !strings.Contains(err.Error(), "exited") {
		t.Errorf("one that has ended: %v", err)
	}
}
