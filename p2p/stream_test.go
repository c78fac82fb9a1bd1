package p2p

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"hearth/core/fault"
)

// Every kind of stream keeps the same laws.
func TestControlStreamKeepsTheLaws(t *testing.T) {
	streamLaws(t, nil, (*Node).Open)
}

func TestQUICStreamKeepsTheLaws(t *testing.T) {
	streamLaws(t, func(c *Config) { c.Listen = c.Listen[1:] }, (*Node).Open)
}

func TestBulkStreamKeepsTheLaws(t *testing.T) {
	streamLaws(t, nil, (*Node).OpenBulk)
}

func TestBulkFallbackKeepsTheLaws(t *testing.T) {
	streamLaws(t, func(c *Config) { c.BulkListen = nil }, (*Node).OpenBulk)
}

type opener func(*Node, context.Context, Peer, string) (Stream, error)

func streamLaws(t *testing.T, change func(*Config), open opener) {
	host, client := hostNode(t, change), node(t, nil)
	// start opens a stream that h serves.
	start := func(t *testing.T, h Handler) Stream {
		t.Helper()
		host.Handle(t.Name(), h)
		s, err := open(client, limited(t), peerOf(host), t.Name())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		s.SetDeadline(time.Now().Add(2 * time.Minute))
		return s
	}

	t.Run("each side knows the other's key and address", func(t *testing.T) {
		type who struct{ key, ip string }
		seen := make(chan who, 1)
		s := start(t, func(_ context.Context, s Stream) { seen <- who{string(s.Remote()), s.RemoteIP()} })
		s.Write([]byte("x"))
		if !s.Remote().Equal(host.Key()) || s.RemoteIP() != "127.0.0.1" {
			t.Errorf("the client sees %x at %s", s.Remote(), s.RemoteIP())
		}
		if got := <-seen; got != (who{string(client.Key()), "127.0.0.1"}) {
			t.Errorf("the host sees %x at %s", got.key, got.ip)
		}
	})

	t.Run("bytes arrive whole and in order, both ways at once", func(t *testing.T) {
		data := make([]byte, 3<<20+12345)
		rand.Read(data)
		s := start(t, echo)
		var wg sync.WaitGroup
		wg.Go(func() {
			for rest, n := data, 1; len(rest) > 0; n = n*3 + 1 {
				n = min(n, len(rest))
				if _, err := s.Write(rest[:n]); err != nil {
					t.Error(err)
					return
				}
				rest = rest[n:]
			}
		})
		got := make([]byte, len(data))
		if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, data) {
			t.Errorf("other bytes came back: %v", err)
		}
		wg.Wait()
	})

	t.Run("a client's close is the host's EOF", func(t *testing.T) {
		got := make(chan error, 1)
		s := start(t, func(_ context.Context, s Stream) {
			b, err := io.ReadAll(s)
			if string(b) != "last words" {
				err = errors.Join(err, errors.New("got "+string(b)))
			}
			got <- err
		})
		s.Write([]byte("last words"))
		s.Close()
		if err := <-got; err != nil {
			t.Error(err)
		}
	})

	t.Run("a host's return is the client's EOF, after all it wrote", func(t *testing.T) {
		s := start(t, func(_ context.Context, s Stream) { s.Write([]byte("answer")) })
		s.Write([]byte("x"))
		if b, err := io.ReadAll(s); err != nil || string(b) != "answer" {
			t.Errorf("got %q, %v", b, err)
		}
		if _, err := s.Read(make([]byte, 1)); err != io.EOF { //nolint:errorlint // as io.Reader has it: never wrapped
			t.Errorf("EOF doesn't last: %v", err)
		}
	})

	t.Run("an answer arrives though the request was not read", func(t *testing.T) {
		s := start(t, func(_ context.Context, s Stream) { s.Write([]byte("refused")) })
		go s.Write(make([]byte, 4<<20))
		if b, err := io.ReadAll(s); err != nil || string(b) != "refused" {
			t.Errorf("got %q, %v", b, err)
		}
	})

	t.Run("a closed stream says so", func(t *testing.T) {
		s := start(t, echo)
		ping(t, s)
		s.Close()
		s.Close()
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read: %v", err)
		}
		if _, err := s.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write: %v", err)
		}
	})

	t.Run("a close wakes a reader", func(t *testing.T) {
		s := start(t, func(ctx context.Context, s Stream) { <-ctx.Done() })
		woken := make(chan error, 1)
		go func() {
			_, err := s.Read(make([]byte, 1))
			woken <- err
		}()
		time.Sleep(20 * time.Millisecond)
		s.Close()
		if err := <-woken; err == nil {
			t.Error("it read something")
		}
	})

	t.Run("a deaf peer meets the deadline, and a later one still works", func(t *testing.T) {
		speak := make(chan struct{})
		s := start(t, func(_ context.Context, s Stream) {
			<-speak
			s.Write([]byte("late"))
			io.Copy(io.Discard, s)
		})
		s.Write([]byte("x"))
		s.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		close(speak)
		s.SetReadDeadline(time.Now().Add(2 * time.Minute))
		b := make([]byte, 4)
		if _, err := io.ReadFull(s, b); err != nil || string(b) != "late" {
			t.Errorf("got %q, %v", b, err)
		}
	})

	t.Run("a peer that doesn't read stops the writer at its deadline", func(t *testing.T) {
		done := make(chan struct{})
		defer close(done)
		s := start(t, func(context.Context, Stream) { <-done })
		s.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		_, err := s.Write(make([]byte, 64<<20))
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})

	t.Run("a protocol that isn't served is refused", func(t *testing.T) {
		s, err := open(client, limited(t), peerOf(host), "/test/none/1")
		if fault.CodeOf(err) != fault.HostRefused {
			t.Errorf("got %v (%s)", err, fault.CodeOf(err))
		}
		if err == nil {
			s.Close()
		}
	})

	t.Run("an exchange gives the answer, and names who didn't", func(t *testing.T) {
		s := start(t, func(_ context.Context, s Stream) {
			var m wrapperspb.StringValue
			for ReadFrame(s, &m, 100) == nil && m.Value != "enough" {
				WriteFrame(s, wrapperspb.String(m.Value+"!"))
			}
		})
		var got wrapperspb.StringValue
		for _, word := range []string{"one", "two"} {
			if err := Exchange(limited(t), s, wrapperspb.String(word), &got, 100); err != nil || got.Value != word+"!" {
				t.Fatalf("%s: got %q, %v", word, got.Value, err)
			}
		}
		if err := Exchange(limited(t), s, wrapperspb.String("enough"), &got, 100); fault.CodeOf(err) != fault.HostUnreachable {
			t.Errorf("hung up: %v", err)
		}
	})

	t.Run("an exchange ends with its context", func(t *testing.T) {
		s := start(t, func(ctx context.Context, s Stream) { io.Copy(io.Discard, s) })
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(30*time.Millisecond, cancel)
		if err := Exchange(ctx, s, wrapperspb.String("x"), &wrapperspb.StringValue{}, 100); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		s = start(t, func(ctx context.Context, s Stream) { io.Copy(io.Discard, s) })
		ctx, cancel = context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if err := Exchange(ctx, s, wrapperspb.String("x"), &wrapperspb.StringValue{}, 100); fault.CodeOf(err) != fault.HostUnreachable {
			t.Errorf("no answer in time: %v", err)
		}
	})

	t.Run("streams follow one another", func(t *testing.T) {
		host.Handle(t.Name(), echo)
		for range 20 {
			s, err := open(client, limited(t), peerOf(host), t.Name())
			if err != nil {
				t.Fatal(err)
			}
			ping(t, s)
			s.Close()
		}
	})

	t.Run("many at once stay apart", func(t *testing.T) {
		host.Handle(t.Name(), echo)
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				s, err := open(client, limited(t), peerOf(host), t.Name())
				if err != nil {
					t.Error(err)
					return
				}
				defer s.Close()
				s.SetDeadline(time.Now().Add(2 * time.Minute))
				want := bytes.Repeat([]byte{byte(i)}, 100_000)
				go s.Write(want)
				got := make([]byte, len(want))
				if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, want) {
					t.Errorf("stream %d: other bytes, %v", i, err)
				}
			})
		}
		wg.Wait()
	})
}
