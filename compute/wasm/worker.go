package wasm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"

	"hearth/core/fault"
)

// Why a worker was ended.
var (
	errIdle      = errors.New("it had nothing to do")
	errHangs     = errors.New("it didn't end a call at its deadline")
	errNeighbour = errors.New("another call in its worker hung")
	errSlowStart = fmt.Errorf("it wasn't ready within %v", startWithin)
)

// A worker is one process as the engine sees it.
type worker struct {
	digest [32]byte
	ready  chan struct{} // closed when calls may come, or failed is set
	dead   chan struct{} // closed when the process is gone
	writes sync.Mutex    // one frame at a time
	in     io.WriteCloser

	mu      sync.Mutex
	cmd     *exec.Cmd
	reaped  bool  // its number may be another process's
	failed  error // of the start
	cause   error // why it ends; nil while it runs
	next    uint32
	pending map[uint32]*pending
}

// A pending call waits for its answer.
type pending struct {
	call   *Call
	answer chan answer // room for one
}

type answer struct {
	kind byte
	body []byte
	err  error
}

func newWorker(digest [32]byte) *worker {
	return &worker{digest: digest, ready: make(chan struct{}), dead: make(chan struct{}), pending: map[uint32]*pending{}}
}

// serve starts a worker's process, takes its answers until it ends, and waits for it.
func (e *Engine) serve(w *worker) {
	defer close(w.dead)
	out, stderr, err := e.launch(w)
	if err == nil {
		slow := time.AfterFunc(startWithin, func() { w.end(errSlowStart) })
		r := bufio.NewReaderSize(out, 64<<10)
		err = e.handshake(w, r)
		slow.Stop()
		if err == nil {
			close(w.ready)
			err = w.read(r)
		}
	}
	w.end(err)
	w.mu.Lock()
	w.reaped = true
	w.mu.Unlock()
	if w.cmd != nil {
		err = w.cmd.Wait()
	}
	w.bury(err, stderr)
}

// launch starts the process.
func (e *Engine) launch(w *worker) (io.Reader, *tail, error) {
	stderr := &tail{limit: 1 << 10}
	dir, err := e.shelf.cache(w.digest)
	if err != nil {
		return nil, stderr, err
	}
	cmd := exec.Command(e.c.Program[0], e.c.Program[1:]...)
	cmd.Dir, cmd.Env, cmd.Stderr, cmd.WaitDelay = dir, []string{}, stderr, time.Second
	cmd.SysProcAttr = apart()
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, stderr, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, stderr, err
	}
	started := make(chan error, 1)
	select {
	case e.starts <- func() { started <- cmd.Start() }:
	case <-e.closed:
		return nil, stderr, errors.Join(errClosed, in.Close(), out.Close())
	}
	if err := <-started; err != nil {
		return nil, stderr, err
	}
	if e.c.Started != nil {
		e.c.Started(cmd.Process.Pid)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cmd, w.in = cmd, in
	return out, stderr, w.cause
}

// handshake hands the worker its module and waits until it is compiled.
func (e *Engine) handshake(w *worker, r io.Reader) error {
	h, code, err := e.shelf.metered(w.digest)
	if err != nil {
		return err
	}
	h.Parallel, h.MaxPages, h.Interpreted = e.c.Parallel, e.c.MaxPages, e.interpreted
	for _, b := range [][]byte{finish(h.append(newFrame(kindHello, 0, helloSize)), 0), finish(newFrame(kindModule, 0, 0), len(code)), code} {
		if _, err := w.in.Write(b); err != nil {
			return err
		}
	}
	first, err := readHeader(r)
	if err != nil {
		return err
	}
	text, err := first.body(r, maxReason)
	switch {
	case err != nil:
		return err
	case first.kind == kindRefused:
		err := fault.New(fault.BadModule, "compile %x: %s", w.digest[:4], printable(text))
		e.shelf.refuse(w.digest, err)
		return err
	case first.kind != kindReady:
		return fmt.Errorf("%w: kind %d before it was ready", errFrame, first.kind)
	}
	if len(text) > 0 {
		e.weak.Do(func() { e.c.Log.Warn("wasm workers are less isolated on this system", "missing", printable(text)) })
	}
	return e.shelf.weigh(w.digest)
}

// read takes answers until the worker ends or answers rubbish.
func (w *worker) read(r io.Reader) error {
	for {
		h, err := readHeader(r)
		if err != nil {
			return err
		}
		w.mu.Lock()
		p := w.pending[h.id]
		w.mu.Unlock()
		if p == nil {
			return fmt.Errorf("%w: an answer to call %d, which isn't there", errFrame, h.id)
		}
		limit := maxReason
		if h.kind == kindResult {
			limit = resultRoom(p.call)
		}
		body, err := h.body(r, limit)
		if err == nil && (h.kind < kindResult || h.kind > kindBroken) {
			err = fmt.Errorf("%w: kind %d", errFrame, h.kind)
		}
		if err != nil {
			return err
		}
		w.mu.Lock()
		delete(w.pending, h.id)
		w.mu.Unlock()
		p.answer <- answer{kind: h.kind, body: body}
	}
}

// end kills a worker, for the first reason that is given.
func (w *worker) end(cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cause == nil {
		w.cause = cause
	}
	if w.cmd != nil && !w.reaped {
		kill(w.cmd.Process)
	}
}

func (w *worker) ending() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cause != nil
}

// bury tells everybody who waits that the worker is gone.
func (w *worker) bury(waited error, stderr *tail) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var err error
	switch {
	case errors.Is(w.cause, errClosed):
		err = fault.New(fault.Busy, "run %x: %w", w.digest[:4], w.cause)
	case errors.Is(w.cause, errHangs):
		err = fault.New(fault.SandboxFailed, "run %x: %w", w.digest[:4], errNeighbour)
	case fault.CodeOf(w.cause) != fault.Internal:
		err = w.cause
	case errors.Is(w.cause, io.EOF):
		err = fault.New(fault.SandboxFailed, "run %x: the worker died: %v%s", w.digest[:4], waited, stderr)
	default:
		err = fault.New(fault.SandboxFailed, "run %x: the worker was ended: %w%s", w.digest[:4], w.cause, stderr)
	}
	w.failed = err
	select {
	case <-w.ready:
	default:
		close(w.ready)
	}
	for id, p := range w.pending {
		delete(w.pending, id)
		p.answer <- answer{err: err}
	}
}

// wait returns when the worker is ready.
func (w *worker) wait(ctx context.Context) error {
	select {
	case <-w.ready:
	case <-ctx.Done():
		return stopped(w.digest, ctx.Err())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

// call has the worker run a call, and returns when that has ended in it.
func (w *worker) call(ctx context.Context, c *Call) (Result, error) {
	p := &pending{call: c, answer: make(chan answer, 1)}
	w.mu.Lock()
	if w.failed != nil {
		defer w.mu.Unlock()
		return Result{}, w.failed
	}
	w.next++
	id := w.next
	w.pending[id] = p
	w.mu.Unlock()
	hung := time.AfterFunc(c.Deadline+grace, func() { w.hangs(p) })
	defer hung.Stop()
	w.send(finish(c.append(newFrame(kindCall, id, c.room())), 0))
	select {
	case a := <-p.answer:
		return w.result(c, a)
	case <-ctx.Done():
	}
	hung.Reset(grace)
	w.send(finish(newFrame(kindCancel, id, 0), 0))
	<-p.answer
	return Result{}, stopped(w.digest, ctx.Err())
}

// send writes a frame. If that fails the worker is about to end, and its reader tells.
func (w *worker) send(frame []byte) {
	w.writes.Lock()
	defer w.writes.Unlock()
	if _, err := w.in.Write(frame); err != nil {
		w.end(io.EOF)
	}
}

// hangs ends the worker for a call that doesn't.
func (w *worker) hangs(p *pending) {
	select {
	case p.answer <- answer{kind: kindLate}:
	default:
		return // it was answered just now
	}
	w.end(errHangs)
}

// result is what an answer says.
func (w *worker) result(c *Call, a answer) (Result, error) {
	switch {
	case a.err != nil:
		return Result{}, a.err
	case a.kind == kindLate:
		return Result{}, fault.New(fault.Deadline, "run %x: not done within %v", w.digest[:4], c.Deadline)
	case a.kind == kindBroken:
		return Result{}, fault.New(fault.SandboxFailed, "run %x: %s", w.digest[:4], printable(a.body))
	}
	r, err := parseResult(a.body, c)
	if err != nil {
		w.end(err)
		return Result{}, fault.New(fault.SandboxFailed, "run %x: the worker answered rubbish: %w", w.digest[:4], err)
	}
	return r, nil
}

// A tail keeps the last bytes that are written to it.
type tail struct {
	limit int
	mu    sync.Mutex
	b     []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b[max(0, len(b)-t.limit):]...)
	t.b = t.b[max(0, len(t.b)-t.limit):]
	return len(b), nil
}

// String is the first line of what is kept, as a clause.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	line, _, _ := bytes.Cut(t.b, []byte("\n"))
	if len(line) == 0 {
		return ""
	}
	return ": " + printable(line)
}

// printable is a worker's text without what would move a terminal's cursor.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return ' '
		}
		return r
	}, string(b))
}
