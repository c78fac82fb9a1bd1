package sandbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"hearth/compute/sandbox/wire"
	"hearth/core/fault"
)

// A Size is that of a terminal.
type Size struct{ Rows, Cols uint16 }

// Streams are what a process in an instance is connected to. A nil stream is
// empty, or thrown away. With a terminal everything comes out of Out.
type Streams struct {
	In     io.Reader // may be read on, once, after the process has ended
	Out    io.Writer
	Err    io.Writer
	Resize <-chan Size
}

// Exec runs a further process in an instance and returns its exit status, 128
// and the signal's number when one has ended it. When ctx ends, so does the process.
func (e *Engine) Exec(ctx context.Context, id string, x Exec, s Streams) (int, error) {
	folder, err := e.folder(id)
	if err != nil {
		return 0, err
	}
	if !held(folder) {
		return 0, over(folder, "exec in", id)
	}
	c, _, err := open(ctx, folder, wire.Request{Op: wire.OpExec, Exec: &x}, answerWithin)
	if err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	defer c.Close()
	done := make(chan struct{})
	defer close(done)
	w := &frames{c: c}
	go w.input(s.In)
	go w.resize(s.Resize, done)
	exit, err := output(c, s)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return 0, fault.New(fault.SandboxFailed, "exec in %s: %w", id, err)
	}
	return exit, nil
}

// frames are sent by whoever has one; a failure shows to whoever reads.
type frames struct {
	mu sync.Mutex
	c  net.Conn
}

func (w *frames) send(kind byte, b []byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return wire.WriteFrame(w.c, kind, b) == nil
}

func (w *frames) input(in io.Reader) {
	if in != nil {
		b := make([]byte, 32<<10)
		for {
			n, err := in.Read(b)
			if n > 0 && !w.send(wire.FrameIn, b[:n]) {
				return
			}
			if err != nil {
				break
			}
		}
	}
	w.send(wire.FrameInEnd, nil)
}

func (w *frames) resize(sizes <-chan Size, done <-chan struct{}) {
	for {
		select {
		case s, more := <-sizes: // a nil channel gives nothing
			b := binary.BigEndian.AppendUint16(nil, s.Rows)
			if !more || !w.send(wire.FrameResize, binary.BigEndian.AppendUint16(b, s.Cols)) {
				return
			}
		case <-done:
			return
		}
	}
}

// output takes what comes until the exit status does.
func output(c io.Reader, s Streams) (int, error) {
	room := make([]byte, wire.MaxChunk)
	for {
		kind, body, err := wire.ReadFrame(c, room, wire.MaxChunk)
		if errors.Is(err, io.EOF) {
			return 0, errors.New("the instance has ended")
		}
		if err != nil {
			return 0, err
		}
		to := s.Out
		switch kind {
		case wire.FrameExit:
			if len(body) != 4 {
				return 0, wire.ErrFrame
			}
			return int(int32(binary.BigEndian.Uint32(body))), nil
		case wire.FrameErr:
			to = s.Err
		case wire.FrameOut:
		default:
			return 0, fmt.Errorf("%w: kind %d", wire.ErrFrame, kind)
		}
		if to == nil {
			continue
		}
		if _, err := to.Write(body); err != nil {
			return 0, err
		}
	}
}

// Dial connects to a TCP port inside an instance. The program there sees the
// instance's gateway.
func (e *Engine) Dial(ctx context.Context, id string, port uint16) (net.Conn, error) {
	folder, err := e.folder(id)
	if err != nil {
		return nil, err
	}
	if !held(folder) {
		return nil, over(folder, "dial", id)
	}
	c, _, err := open(ctx, folder, wire.Request{Op: wire.OpDial, Port: port}, dialWithin)
	return c, err
}
