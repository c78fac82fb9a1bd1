package p2p

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"hearth/core/fault"
)

// A stream ends politely when both sides have said that they are done. Close
// says so at once and waits for the other side in the background, so that a
// peer that still writes gets an error instead of a full window.
const (
	endTime  = time.Second     // to say that this side is done
	restTime = 5 * time.Second // for the other side to say it
	restSize = 8 << 20         // what it may still send: a refused shard, so that the refusal arrives
)

// A pipe is what lies under a stream: a libp2p stream or a direct connection.
type pipe interface {
	io.ReadWriter // Read returns io.EOF only for the other side's end
	SetDeadline(time.Time) error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	end() error      // says that this side is done
	leave(good bool) // gives the pipe back; good: both sides are done, nothing is left in it
	cut()            // ends everything now
}

// stream makes a pipe a Stream: counted, closed in one way, safe to close while
// it is being read or written.
type stream struct {
	pipe
	key  ed25519.PublicKey
	ip   string
	open metric // one is taken off at Close
	m    pathMetrics

	rmu, wmu sync.Mutex // held while reading, writing
	closed   atomic.Bool
	broken   atomic.Bool // an error has left the pipe in an unknown state
	ended    bool        // the other side is done; under rmu
}

func newStream(p pipe, key ed25519.PublicKey, ip string, m pathMetrics, open metric) *stream {
	open.Add(1)
	return &stream{pipe: p, key: key, ip: ip, m: m, open: open}
}

func (s *stream) Remote() ed25519.PublicKey { return s.key }
func (s *stream) RemoteIP() string          { return s.ip }

func (s *stream) Read(p []byte) (int, error) {
	s.rmu.Lock()
	defer s.rmu.Unlock()
	if s.closed.Load() {
		return 0, net.ErrClosed
	}
	if s.ended {
		return 0, io.EOF
	}
	n, err := s.pipe.Read(p)
	s.m.received.Add(float64(n))
	switch {
	case err == nil:
	case err == io.EOF: //nolint:errorlint // not wrapped: libp2p wraps it where the connection was cut
		s.ended = true
	default:
		s.broken.Store(true)
		if err = peerError(err); errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: %v", errCut, err) //nolint:errorlint // to callers an io.EOF is a polite end
		}
	}
	return n, err
}

func (s *stream) Write(p []byte) (int, error) {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if s.closed.Load() {
		return 0, net.ErrClosed
	}
	n, err := s.pipe.Write(p)
	s.m.sent.Add(float64(n))
	if err != nil {
		s.broken.Store(true)
		err = peerError(err)
	}
	return n, err
}

// Close ends the stream: politely between reads and writes, and by cutting it
// off while one runs or after one failed.
func (s *stream) Close() error {
	if !s.closed.CompareAndSwap(false, true) {
		return nil
	}
	s.open.Add(-1)
	if s.broken.Load() || !s.quiet() {
		s.cut()
		return nil
	}
	s.SetDeadline(time.Time{})
	s.SetWriteDeadline(time.Now().Add(endTime))
	if err := s.end(); err != nil {
		s.cut()
		return nil
	}
	if s.ended {
		s.leave(true)
		return nil
	}
	go s.rest()
	return nil
}

// quiet reports that nobody reads or writes; from then on nobody can, since the
// stream is closed.
func (s *stream) quiet() bool {
	if !s.rmu.TryLock() {
		return false
	}
	defer s.rmu.Unlock()
	if !s.wmu.TryLock() {
		return false
	}
	s.wmu.Unlock()
	return true
}

// rest waits for the other side to be done.
func (s *stream) rest() {
	s.SetReadDeadline(time.Now().Add(restTime))
	n, err := io.Copy(io.Discard, io.LimitReader(s.pipe, restSize))
	s.leave(err == nil && n < restSize)
}

// peerError makes errors the same on every kind of pipe: refusals, which libp2p
// hides in reset codes, get their own code, and all deadlines are os's.
func peerError(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() && !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%w: %w", os.ErrDeadlineExceeded, err)
	}
	var reset *network.StreamError
	if errors.As(err, &reset) && reset.Remote {
		switch reset.ErrorCode {
		case network.StreamResourceLimitExceeded, network.StreamRateLimited:
			return fault.New(fault.Busy, "peer refused the stream: %w", err)
		case network.StreamProtocolNegotiationFailed:
			return fault.New(fault.HostRefused, "peer refused the stream: %w", err)
		}
	}
	return err
}

// control is a pipe over a libp2p stream.
type control struct{ network.Stream }

func (c control) end() error { return c.CloseWrite() }
func (c control) cut()       { _ = c.Reset() }
func (c control) leave(good bool) {
	if !good {
		c.cut()
		return
	}
	c.Stream.Close()
}
