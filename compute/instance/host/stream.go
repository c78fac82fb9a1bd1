package host

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"

	"hearth/compute/sandbox"
	"hearth/compute/wire"
	"hearth/core/fault"
	"hearth/p2p"
)

const (
	// piece is how many bytes of a stream are moved and paid for at once.
	piece = 32 << 10
	// beat is how often either side says that it is there; who is silent for four
	// times as long is gone.
	beat = 30 * time.Second
	// farewell is how long a client that has been told the end may take to go.
	farewell = 2 * time.Second
	// maxBlob bounds a blob of an image.
	maxBlob = 16 << 30
)

// line is a stream that carries Pieces. Several goroutines may send.
type line struct {
	v      *visit
	ctx    context.Context // ends with the client's going
	lease  uint64
	over   atomic.Bool // what comes in is wanted no more
	mu     sync.Mutex
	failed error // half of a piece may be on its way: nothing can follow it
}

// send waits for as long as the client is there and takes nothing: whoever reads a long
// text stops at each page. Only once it is known to be gone has that an end.
func (l *line) send(p *wire.Piece) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil {
		return l.failed
	}
	_ = l.v.s.SetWriteDeadline(time.Time{}) // a stream that is gone says so itself
	if l.ctx.Err() != nil {
		l.hurry()
	}
	l.failed = p2p.WriteFrame(l.v.s, p)
	return l.failed
}

// hurry gives what is being sent, and what still is, its time.
func (l *line) hurry() { l.v.wait(l.v.s.SetWriteDeadline, l.v.c.Pause) }

// pay counts bytes that come in, and waits a moment for their payment.
func (l *line) pay(in int) error {
	return l.v.gate.Take(l.v.ctx, l.lease, uint64(in), 0)
}

// paid counts bytes that go out, and waits longer for their payment than for that of
// what comes in: a client pays on when it has handed on what came before, and whoever
// takes that may be slow. What isn't sent costs nothing meanwhile.
func (l *line) paid(out int) error {
	for end := time.Now().Add(4 * beat); ; {
		err := l.v.gate.Take(l.ctx, l.lease, 0, uint64(out))
		if fault.CodeOf(err) != fault.Unpaid || time.Now().After(end) {
			return err
		}
	}
}

// put sends bytes as pieces, each once it is paid for.
func (l *line) put(b []byte, wrap func([]byte) *wire.Piece) (n int, err error) {
	for len(b) > 0 {
		k := min(len(b), piece)
		if err := l.paid(k); err != nil {
			return n, err
		}
		if err := l.send(wrap(b[:k])); err != nil {
			return n, err
		}
		n, b = n+k, b[k:]
	}
	return n, nil
}

// writer puts what is written to it on the line.
type writer struct {
	l    *line
	wrap func([]byte) *wire.Piece
}

func (w writer) Write(b []byte) (int, error) { return w.l.put(b, w.wrap) }

func out(b []byte) *wire.Piece { return &wire.Piece{Of: &wire.Piece_Out{Out: b}} }
func err2(b []byte) *wire.Piece {
	return &wire.Piece{Of: &wire.Piece_Err{Err: b}}
}

// receive hands on what the client sends until it is gone or silent for too long. While a
// program takes no input nothing is heard, and so no silence counts. resize may be nil.
func (l *line) receive(in io.WriteCloser, resize func(*wire.Size)) error {
	defer in.Close()
	open := true
	for {
		if !l.over.Load() {
			l.v.wait(l.v.s.SetReadDeadline, 4*beat)
		}
		var p wire.Piece
		if err := p2p.ReadFrame(l.v.s, &p, p2p.MaxFrame); err != nil {
			return err
		}
		if l.over.Load() {
			continue
		}
		switch of := p.Of.(type) {
		case *wire.Piece_In:
			if len(of.In) == 0 {
				in.Close()
				open = false
				continue
			}
			if err := l.pay(len(of.In)); err != nil {
				return err
			}
			if _, err := in.Write(of.In); err != nil && open {
				open = false // nobody reads it any more: that is its own affair
			}
		case *wire.Piece_Size:
			if resize != nil {
				resize(of.Size)
			}
		}
	}
}

// beats says now and then that this side is there, until ctx ends. It gives the error
// of the other's going: whoever reads may be waiting for a program that takes no input.
func (l *line) beats(ctx context.Context) error {
	t := time.NewTicker(l.v.c.Beat)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			if err := l.send(&wire.Piece{}); err != nil {
				return err
			}
		}
	}
}

// carry runs work while the client's pieces come in, tells how it ended, and gives
// the stream up. Where the client is gone work's context ends.
func (v *visit) carry(lease uint64, in io.WriteCloser, resize func(*wire.Size), work func(ctx context.Context, l *line) (exit int, err error)) error {
	ctx, cancel := context.WithCancelCause(v.ctx)
	defer cancel(nil)
	l := &line{v: v, ctx: ctx, lease: lease}
	stop := context.AfterFunc(ctx, l.hurry)
	defer stop()
	if err := v.tell(&wire.Told{}); err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { cancel(l.receive(in, resize)) })
	wg.Go(func() {
		if err := l.beats(ctx); err != nil {
			cancel(err)
			in.Close()
		}
	})
	exit, err := work(ctx, l)
	ended := &wire.Ended{Exit: int32(exit)}
	if gone := context.Cause(ctx); gone != nil && err != nil {
		err = gone
	}
	if err != nil {
		code, reason, own := fault.Told(err)
		if own && !errors.Is(err, io.EOF) { // a client may simply go
			v.c.Log.Error("stream of an instance fails", "lease", lease, "err", err)
		}
		ended.Code, ended.Reason = string(code), reason
	}
	err = l.send(&wire.Piece{Of: &wire.Piece_Ended{Ended: ended}})
	stop()
	cancel(nil)
	// A stream that is closed with bytes unread takes its last words back.
	l.over.Store(true)
	v.wait(v.s.SetReadDeadline, farewell)
	return errors.Join(errOver, err)
}

// keptOpen hears nothing of an end.
type keptOpen struct{ io.Writer }

func (keptOpen) Close() error { return nil }

// nothing takes input that nobody wants.
type nothing struct{}

func (nothing) Write(b []byte) (int, error) { return len(b), nil }
func (nothing) Close() error                { return nil }

func (v *visit) exec(lease uint64, ask *wire.Exec) error {
	id, err := idOf(ask.GetId())
	if err != nil {
		return err
	}
	spec, err := v.book.find(lease, id)
	if err != nil {
		return err
	}
	r, err := v.program(spec, id, ask)
	if err != nil {
		return err
	}
	reader, in := io.Pipe()
	sizes := make(chan sandbox.Size, 1)
	resize := func(s *wire.Size) {
		next := sandbox.Size{Rows: uint16(s.GetRows()), Cols: uint16(s.GetCols())}
		select {
		case sizes <- next:
		case <-sizes: // the newest counts
			sizes <- next
		}
	}
	var to io.WriteCloser = in
	if r.TTY { // a terminal stays where it is when nobody types any more
		to = keptOpen{in}
	}
	return v.carry(lease, to, resize, func(ctx context.Context, l *line) (int, error) {
		defer reader.Close()
		return v.c.Engine.Exec(ctx, nameOf(id), r, sandbox.Streams{
			In: reader, Out: writer{l, out}, Err: writer{l, err2}, Resize: sizes,
		})
	})
}

func (v *visit) logs(lease uint64, ask *wire.Logs) error {
	id, err := idOf(ask.GetId())
	if err != nil {
		return err
	}
	if _, err := v.book.find(lease, id); err != nil {
		return err
	}
	r, err := v.c.Engine.Logs(v.ctx, nameOf(id), sandbox.LogOptions{Tail: int(ask.GetTail()), Follow: ask.GetFollow()})
	if err != nil {
		return err
	}
	return v.carry(lease, nothing{}, nil, func(ctx context.Context, l *line) (int, error) {
		stop := context.AfterFunc(ctx, func() { r.Close() })
		defer stop()
		defer r.Close()
		_, err := io.CopyBuffer(writer{l, out}, struct{ io.Reader }{r}, make([]byte, piece))
		return 0, err
	})
}

func (v *visit) dial(lease uint64, ask *wire.Dial) error {
	id, err := idOf(ask.GetId())
	if err != nil {
		return err
	}
	if _, err := v.book.find(lease, id); err != nil {
		return err
	}
	if ask.GetPort() == 0 || ask.GetPort() > 65535 {
		return fault.New(fault.BadRequest, "dial instance: port %d, 1 to 65535 are there", ask.GetPort())
	}
	conn, err := v.c.Engine.Dial(v.ctx, nameOf(id), uint16(ask.GetPort()))
	if fault.CodeOf(err) == fault.HostUnreachable { // as the instance's own gateway says
		return fault.New(fault.PortClosed, "dial instance %x: %w", id, err)
	}
	if err != nil {
		return err
	}
	return v.carry(lease, halfClosed{conn}, nil, func(ctx context.Context, l *line) (int, error) {
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		defer conn.Close()
		_, err := io.CopyBuffer(writer{l, out}, struct{ io.Reader }{conn}, make([]byte, piece))
		return 0, err
	})
}

// halfClosed ends what is sent, where the connection can, and leaves what comes open.
type halfClosed struct{ io.WriteCloser }

func (h halfClosed) Close() error {
	if c, ok := h.WriteCloser.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// parcels is an image's source at the far end of a stream: its client. One blob is
// on its way at a time.
type parcels struct {
	v      *visit
	lease  uint64
	mu     sync.Mutex
	broken error  // the stream is of no more use
	rest   uint64 // of a blob that was given up: it comes all the same
}

// Blob asks for a blob. Whoever reads it only in part breaks the stream.
func (p *parcels) Blob(ctx context.Context, d digest.Digest) (io.ReadCloser, error) {
	want, err := hex.DecodeString(d.Encoded())
	if err != nil || len(want) != 32 {
		return nil, fault.New(fault.BadImage, "get blob %.100q: its digest isn't one by SHA-256", string(d))
	}
	return p.get(ctx, fmt.Sprintf("blob %x", want[:8]), &wire.Need{Digest: want, Most: maxBlob})
}

func (p *parcels) get(ctx context.Context, what string, need *wire.Need) (*parcel, error) {
	p.mu.Lock()
	b, err := p.ask(what, need)
	if err != nil {
		p.mu.Unlock()
		return nil, err
	}
	b.ctx = ctx
	return b, nil
}

func (p *parcels) ask(what string, need *wire.Need) (*parcel, error) {
	if p.broken != nil {
		return nil, p.broken
	}
	if err := p.v.tell(&wire.Told{Answer: &wire.Told_Need{Need: need}}); err != nil {
		p.broken = err
		return nil, err
	}
	p.v.wait(p.v.s.SetReadDeadline, 4*beat) // the client may have to fetch it first
	var have wire.Have
	if err := p2p.ReadFrame(p.v.s, &have, p2p.MaxFrame); err != nil {
		p.broken = err
		return nil, err
	}
	if have.Code != "" {
		return nil, fault.New(fault.NotFound, "get %s: its client doesn't send it (%s)", what, fault.Brief(have.Code))
	}
	if have.Size > need.Most {
		p.broken = fault.New(fault.TooLarge, "get %s: %d bytes, at most %d are taken", what, have.Size, need.Most)
		return nil, p.broken
	}
	return &parcel{p: p, left: have.Size}, nil
}

// What of a blob is thrown away that was given up, so that its sender hears why: who closes
// before he has read all may have his last word lost on the way.
const (
	maxRest    = 16 << 20
	restWithin = 5 * time.Second
)

// skip reads what still comes of a blob that was given up.
func (p *parcels) skip() {
	p.v.wait(p.v.s.SetReadDeadline, restWithin)
	_, _ = io.CopyN(io.Discard, p.v.s, int64(min(p.rest, maxRest))) // the stream ends either way
}

// parcel is one blob on its way.
type parcel struct {
	p    *parcels
	ctx  context.Context
	left uint64
	paid uint64 // of left
	done bool
}

func (b *parcel) Read(to []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	if b.paid == 0 {
		n := min(b.left, 8*piece)
		if err := b.p.v.gate.Take(b.ctx, b.p.lease, n, 0); err != nil {
			return 0, err
		}
		b.paid = n
	}
	b.p.v.wait(b.p.v.s.SetReadDeadline, b.p.v.c.Pause)
	n, err := b.p.v.s.Read(to[:min(uint64(len(to)), b.paid)])
	b.left -= uint64(n)
	b.paid -= uint64(n)
	if err != nil && b.left > 0 {
		b.p.broken = err
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return n, err
	}
	return n, nil
}

func (b *parcel) Close() error {
	if b.done {
		return nil
	}
	b.done = true
	if b.left > 0 && b.p.broken == nil {
		b.p.broken, b.p.rest = fault.New(fault.BadRequest, "get blob: it was given up with %d bytes to come", b.left), b.left
	}
	b.p.mu.Unlock()
	return nil
}
