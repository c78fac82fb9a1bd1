package client

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"hearth/compute/wire"
	"hearth/core/fault"
	"hearth/p2p"
)

// A Program is what runs inside an instance.
type Program struct {
	Args       []string
	Env        []string // NAME=value
	Dir        string
	User       string
	TTY        bool
	Rows, Cols uint16
}

// A Size is that of a terminal.
type Size struct{ Rows, Cols uint16 }

// Streams are what a program reads and writes. Out and Err aren't written to at the
// same time. A nil In is empty, and a nil Resize never speaks.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	Resize   <-chan Size
}

// Exec runs a program inside an instance, and gives its exit status. In may be read
// a little further than the program did.
func (x *Client) Exec(ctx context.Context, name string, p Program, s Streams) (int, error) {
	i, pair, err := x.find(ctx, name)
	if err != nil {
		return 0, err
	}
	return x.carry(ctx, pair, &wire.Order{Ask: &wire.Order_Exec{Exec: &wire.Exec{
		Id: i.ID[:], Args: p.Args, Env: p.Env, Dir: p.Dir, User: p.User, Tty: p.TTY,
		Size: &wire.Size{Rows: uint32(p.Rows), Cols: uint32(p.Cols)},
	}}}, s)
}

// maxLog is how much of a log hosts keep.
const maxLog = 16 << 20

// enough takes what a host keeps of a log, and no more: without an end it would be paid
// for without one.
type enough struct {
	to   io.Writer
	left int
}

var errEnough = errors.New("the log is longer than hosts keep it")

func (e *enough) Write(b []byte) (int, error) {
	n, err := e.to.Write(b[:min(len(b), e.left)])
	if e.left -= n; err == nil && n < len(b) {
		err = errEnough
	}
	return n, err
}

// Logs writes what an instance has put out: the last tail lines, 0 for all that its
// host keeps; with follow also what comes, until ctx ends or it does.
func (x *Client) Logs(ctx context.Context, name string, tail int, follow bool, w io.Writer) error {
	i, pair, err := x.find(ctx, name)
	if err != nil {
		return err
	}
	if !follow {
		w = &enough{w, maxLog}
	}
	_, err = x.carry(ctx, pair, &wire.Order{Ask: &wire.Order_Logs{Logs: &wire.Logs{Id: i.ID[:], Tail: uint32(tail), Follow: follow}}}, Streams{Out: w, Err: w})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// Forward connects a TCP port inside an instance with s, until either side ends.
func (x *Client) Forward(ctx context.Context, name string, port uint16, s Streams) error {
	i, pair, err := x.find(ctx, name)
	if err != nil {
		return err
	}
	_, err = x.carry(ctx, pair, &wire.Order{Ask: &wire.Order_Dial{Dial: &wire.Dial{Id: i.ID[:], Port: uint32(port)}}}, s)
	return err
}

// SSH connects with the SSH server of an instance's host, which shows Standing.SSHKey.
func (x *Client) SSH(ctx context.Context, name string, s Streams) error {
	i, pair, err := x.find(ctx, name)
	if err != nil {
		return err
	}
	_, err = x.carry(ctx, pair, &wire.Order{Ask: &wire.Order_Ssh{Ssh: &wire.Ssh{Id: i.ID[:]}}}, s)
	return err
}

// carry gives an order whose stream then carries pieces, and moves them until the
// host says that it has ended.
func (x *Client) carry(ctx context.Context, pair Pair, o *wire.Order, s Streams) (int, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t, end, err := x.open(ctx, pair, x.c.Dialer.Open)
	if err != nil {
		return 0, err
	}
	defer end()
	if err := t.ahead(ctx); err != nil {
		return 0, err
	}
	if _, err := t.order(ctx, o, time.Minute); err != nil {
		return 0, err
	}
	up := &uplink{t: t, ctx: ctx}
	go func() { // In may block for ever: nobody waits for it
		if err := up.copy(s.In); err != nil {
			cancel(err)
		}
	}()
	go up.others(s.Resize)
	exit, err := t.receive(ctx, s)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	return exit, err
}

// uplink is what this side sends. Several goroutines may.
type uplink struct {
	t      *talk
	ctx    context.Context
	mu     sync.Mutex
	failed error // half of a piece may be on its way: nothing can follow it
}

// send waits for as long as the program takes no input, which is its own affair: that
// the host is gone shows to who listens to it.
func (u *uplink) send(p *wire.Piece) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.failed != nil {
		return u.failed
	}
	_ = u.t.s.SetWriteDeadline(time.Time{}) // a stream that is gone says so itself
	if u.ctx.Err() != nil {
		u.t.s.SetDeadline(time.Unix(1, 0))
	}
	u.failed = p2p.WriteFrame(u.t.s, p)
	return u.failed
}

// copy sends what is read, each piece once it is paid for, and its end.
func (u *uplink) copy(in io.Reader) error {
	b := make([]byte, piece)
	for in != nil {
		n, err := in.Read(b)
		if u.ctx.Err() != nil {
			return nil
		}
		if n > 0 {
			if err := u.t.pay(u.ctx, uint64(n), 0); err != nil {
				return err
			}
			if err := u.send(&wire.Piece{Of: &wire.Piece_In{In: b[:n]}}); err != nil {
				return nil // the host has gone, and the other direction says why
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	_ = u.send(&wire.Piece{Of: &wire.Piece_In{}}) // as above
	return nil
}

// others sends sizes as they change, and that this side is there.
func (u *uplink) others(resize <-chan Size) {
	t := time.NewTicker(beat)
	defer t.Stop()
	for {
		p := &wire.Piece{}
		select {
		case <-u.ctx.Done():
			return
		case <-t.C:
		case s, open := <-resize:
			if !open {
				resize = nil
				continue
			}
			p.Of = &wire.Piece_Size{Size: &wire.Size{Rows: uint32(s.Rows), Cols: uint32(s.Cols)}}
		}
		if u.send(p) != nil {
			return
		}
	}
}

// receive hands on what the host sends, until it says that it has ended or is silent for
// too long. While nobody takes what is handed on nothing is heard either, and so no
// silence counts; the connection's own end shows.
func (t *talk) receive(ctx context.Context, s Streams) (int, error) {
	for {
		t.wait(ctx, t.s.SetReadDeadline, 4*beat)
		var p wire.Piece
		if err := p2p.ReadFrame(t.s, &p, p2p.MaxFrame); err != nil {
			return 0, t.explain(ctx, err)
		}
		var to io.Writer
		var b []byte
		switch of := p.Of.(type) {
		case *wire.Piece_Out:
			to, b = s.Out, of.Out
		case *wire.Piece_Err:
			to, b = s.Err, of.Err
		case *wire.Piece_Ended:
			if e := of.Ended; e.GetCode() != "" {
				return 0, fault.New(refusal(fault.Code(e.GetCode())), "the host says: %q", fault.Brief(e.GetReason()))
			}
			return int(of.Ended.GetExit()), nil
		}
		if len(b) == 0 {
			continue
		}
		t.mu.Lock()
		t.got += uint64(len(b))
		unpaid := t.got > t.out
		t.mu.Unlock()
		if unpaid {
			return 0, fault.New(fault.BadFrame, "%s has sent more than was paid for", t.pair.Host())
		}
		if to != nil {
			if _, err := to.Write(b); err != nil {
				return 0, err
			}
		}
		if err := t.ahead(ctx); err != nil {
			return 0, err
		}
	}
}
