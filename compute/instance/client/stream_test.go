package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"hearth/compute/instance/client"
	"hearth/compute/wire"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/p2p"
)

func TestAProgramsStreamsAndStatusComeThrough(t *testing.T) {
	w := newTown(t)
	w.create("web")
	big := bytes.Repeat([]byte("all of it comes back. "), 50_000)
	for name, tt := range map[string]struct {
		in        string
		out, errs string
		status    int
		code      fault.Code
	}{
		"cat": {string(big), string(big), "", 0, ""}, "fail": {"nobody reads this", "", "it failed\n", 3, ""}, "none": {"", "", "", 0, fault.BadRequest},
	} {
		var out, errs bytes.Buffer
		status, err := w.x.Exec(t.Context(), "web", client.Program{Args: []string{name}}, client.Streams{In: strings.NewReader(tt.in), Out: &out, Err: &errs})
		if want(t, name, err, tt.code); out.String() != tt.out || errs.String() != tt.errs || status != tt.status {
			t.Errorf("%s: %d bytes out, %q, status %d", name, out.Len(), errs.String(), status)
		}
	}
	if used := w.desk.in + w.desk.out; used < uint64(2*len(big)) || used > w.desk.paid {
		t.Errorf("%d bytes are counted, %d paid", used, w.desk.paid)
	}
	sizes := make(chan client.Size, 1)
	sizes <- client.Size{Rows: 5}
	var out bytes.Buffer
	if _, err := w.x.Exec(t.Context(), "web", client.Program{Args: []string{"size"}}, client.Streams{Out: &out, Resize: sizes}); err != nil || out.String() != "xxxxx" {
		t.Errorf("%q, %v", out.String(), err)
	}
	out.Reset()
	if err := w.x.Forward(t.Context(), "web", 80, client.Streams{In: strings.NewReader("hello"), Out: &out}); err != nil || out.String() != "hello" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// A payment that takes its time, since the lease is being funded or another change is
// being signed, holds an image and a program's output up, and breaks neither.
func TestAPaymentThatIsLateBreaksNothing(t *testing.T) {
	w := newTown(t)
	w.desk.late = 2 * shortPause
	x, s := w.x, w.spec()
	s.Image = w.images.add([]byte("a small image"))
	if _, err := x.Create(t.Context(), "web", "app:1", "hearth1host", s, money.Ember); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if status, err := x.Exec(t.Context(), "web", client.Program{Args: []string{"cat"}}, client.Streams{In: strings.NewReader("through"), Out: &out}); status != 0 || err != nil || out.String() != "through" {
		t.Errorf("%q, status %d, %v", out.String(), status, err)
	}
}

// late is a reader of output who looks at its first page for a while.
type late struct {
	bytes.Buffer
	once sync.Once
}

func (l *late) Write(b []byte) (int, error) {
	l.once.Do(func() { time.Sleep(5 * shortPause) })
	return l.Buffer.Write(b)
}

// Who is slow loses nothing: a program that takes its input late, and somebody who reads
// a long text page by page.
func TestWhoIsSlowLosesNothing(t *testing.T) {
	w := newTownOf(t, shortPause)
	w.create("web")
	x, err := client.New(client.Config{Market: w, Records: w, Images: w.images, Dialer: w.nodes[0], Pause: shortPause})
	if err != nil {
		t.Fatal(err)
	}
	big := bytes.Repeat([]byte("all of it comes back. "), 60_000)
	var all sync.WaitGroup
	for _, program := range []string{"late", "cat"} {
		all.Go(func() {
			var out late
			if program == "late" {
				out.once.Do(func() {})
			}
			status, err := x.Exec(t.Context(), "web", client.Program{Args: []string{program}}, client.Streams{In: bytes.NewReader(big), Out: &out})
			if err != nil || status != 0 || !bytes.Equal(out.Bytes(), big) {
				t.Errorf("%s: %d of %d bytes, status %d, %v", program, out.Len(), len(big), status, err)
			}
		})
	}
	all.Wait()
}

// Also who is gone while his output waits for him is gone.
func TestWhoGoesWhileHisOutputWaitsEndsTheProgram(t *testing.T) {
	w := newTownOf(t, shortPause)
	w.create("web")
	ctx, cancel := context.WithCancel(t.Context())
	out, ended := make(told), make(chan error, 1)
	go func() {
		_, err := w.x.Exec(ctx, "web", client.Program{Args: []string{"pour"}}, client.Streams{Out: out})
		ended <- err
	}()
	<-out
	cancel()
	for over := false; !over; {
		select {
		case <-out: // what was on its way
		case err := <-ended:
			if over = true; err == nil {
				t.Error("it ended well")
			}
		}
	}
	until(t, "the program ends", func() bool { return w.engine.cut.Load() == 1 })
}

// told is what a program has put out by now.
type told chan string

func (c told) Write(b []byte) (int, error) { c <- string(b); return len(b), nil }

func TestAProgramRunsAsWhomTheImageKnows(t *testing.T) {
	w := newTown(t)
	for name, list := range map[string]string{"passwd": "web:x:33:44::/:/bin/sh\n", "group": "staff:x:50:\n"} {
		if err := os.MkdirAll(filepath.Join(w.images.root, "etc"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(w.images.root, "etc", name), []byte(list), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.create("web")
	for user, id := range map[string]string{"web": "33:44", "web:staff": "33:50", "7:8": "7:8", "33": "33:44"} {
		var out bytes.Buffer
		_, err := w.x.Exec(t.Context(), "web", client.Program{Args: []string{"id"}, User: user}, client.Streams{Out: &out})
		if err != nil || out.String() != id {
			t.Errorf("as %s: %s, want %s, %v", user, &out, id, err)
		}
	}
	_, err := w.x.Exec(t.Context(), "web", client.Program{Args: []string{"id"}, User: "nobody-such"}, client.Streams{Out: io.Discard})
	want(t, "as whom the image doesn't know", err, fault.BadRequest)
	if n := w.images.inUse(); n != 1 {
		t.Errorf("the image is held %d times, by one instance", n)
	}
}

func TestWhoGoesEndsTheProgram(t *testing.T) {
	w := newTown(t)
	w.create("web")
	ctx, cancel := context.WithCancel(t.Context())
	out, ended := make(told, 1), make(chan error, 1)
	go func() {
		_, err := w.x.Exec(ctx, "web", client.Program{Args: []string{"wait"}}, client.Streams{Out: out})
		ended <- err
	}()
	if got := <-out; got != "waiting\n" {
		t.Fatal(got)
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("it ended well")
	}
	until(t, "the program ends", func() bool { return w.engine.cut.Load() == 1 })
}

// endless is input without an end.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// Also a program that takes no input, so that nobody reads what its caller has sent.
func TestWhoGoesEndsAProgramThatDoesNotListen(t *testing.T) {
	w := newTown(t)
	w.create("web")
	ctx, cancel := context.WithCancel(t.Context())
	out, ended := make(told, 1), make(chan error, 1)
	go func() {
		_, err := w.x.Exec(ctx, "web", client.Program{Args: []string{"wait"}}, client.Streams{In: endless{}, Out: out})
		ended <- err
	}()
	<-out
	cancel()
	if err := <-ended; err == nil {
		t.Error("it ended well")
	}
	until(t, "the program ends", func() bool { return w.engine.cut.Load() == 1 })
}

// SSH comes through as it is, the host shows the key that it has told, and whoever has
// come this far needs no password.
func TestAClientOfSSHIsAtHome(t *testing.T) {
	w := newTown(t)
	w.create("web")
	c, end := w.ssh("web")
	for name, tt := range map[string]struct {
		command, want string
		tty           bool
	}{
		"a command":             {"uptime -p", `["-c" "uptime -p"] on false 0x0`, false},
		"a command on terminal": {"top", `["-c" "top"] on true 22x77`, true},
	} {
		s, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if tt.tty {
			if err := s.RequestPty("xterm", 22, 77, nil); err != nil {
				t.Fatal(err)
			}
		}
		out, err := s.Output(tt.command)
		var exit *ssh.ExitError
		if !errors.As(err, &exit) || exit.ExitStatus() != 7 || string(out) != tt.want {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
	end()
}

// Sessions and what is said ahead of a program cost the host memory, not the client.
func TestAClientOfSSHHasSoManySessionsAndNoMore(t *testing.T) {
	w := newTown(t)
	w.create("web")
	c, end := w.ssh("web")
	var open []*ssh.Session
	for {
		s, err := c.NewSession()
		var refused *ssh.OpenChannelError
		if errors.As(err, &refused) && refused.Reason == ssh.ResourceShortage {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if open = append(open, s); len(open) > 100 {
			t.Fatal("there is no end of sessions")
		}
	}
	until(t, "a session that is closed makes room", func() bool {
		open[0].Close()
		s, err := c.NewSession()
		if err == nil {
			open[0] = s
		}
		return err == nil
	})
	long := strings.Repeat("x", 1<<10)
	refused := 0
	for n := range 100 {
		if open[1].Setenv(fmt.Sprintf("V%d", n), long) != nil {
			refused++
		}
	}
	if refused < 30 || refused > 40 { // 64 KiB are kept
		t.Errorf("%d of 100 variables are refused", refused)
	}
	if err := open[2].RequestPty(long[:300], 5, 6, nil); err != nil {
		t.Error(err)
	}
	for n := range 100 { // nothing runs that takes them, and yet all goes on
		if err := errors.Join(open[2].WindowChange(n+1, n+2), open[2].Signal(ssh.SIGHUP)); err != nil {
			t.Error(err)
		}
	}
	out, err := open[2].Output("size")
	var exit *ssh.ExitError
	if !errors.As(err, &exit) || exit.ExitStatus() != 7 || !strings.HasSuffix(string(out), "on true 5x6") {
		t.Errorf("%q, %v", out, err)
	}
	end()
}

// Who doesn't follow a log gets what hosts keep of it: more would be paid for without end.
func TestALogThatNobodyFollowsHasAnEnd(t *testing.T) {
	w := newTown(t)
	w.create("web")
	w.nodes[1].Handle(client.Protocol, func(_ context.Context, s p2p.Stream) {
		defer s.Close()
		var o wire.Order
		if p2p.ReadFrame(s, &o, p2p.MaxFrame) != nil || p2p.WriteFrame(s, &wire.Told{}) != nil {
			return
		}
		for p := (&wire.Piece{Of: &wire.Piece_Out{Out: make([]byte, 32<<10)}}); p2p.WriteFrame(s, p) == nil; {
			_ = s.SetWriteDeadline(time.Now().Add(20 * time.Second)) // a stream that is gone says so itself
		}
	})
	var n counted
	if err := w.x.Logs(t.Context(), "web", 0, false, &n); err != nil || n != 16<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// counted is how many bytes were written.
type counted int

func (c *counted) Write(b []byte) (int, error) { *c += counted(len(b)); return len(b), nil }
