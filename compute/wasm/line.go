package wasm

import (
	"context"
	"time"

	"hearth/core/fault"
)

// A line is the calls of one module and the worker that runs them. It is there
// while it has either; as long, its module stays on the shelf.
type line struct {
	digest [32]byte
	slots  chan struct{} // one for each call that runs
	calls  int           // that run or wait
	last   time.Time     // when the last one ended
	idle   *time.Timer   // ends the worker; nil while there are calls
	worker *worker       // nil if none runs
}

// stop keeps a line from ending its worker later.
func (l *line) stop() {
	if l.idle != nil {
		l.idle.Stop()
		l.idle = nil
	}
}

// enter puts a call in the line of its module.
func (e *Engine) enter(digest [32]byte) (*line, Info, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.isClosed() {
		return nil, Info{}, fault.New(fault.Busy, "call %x: %w", digest[:4], errClosed)
	}
	l := e.lines[digest]
	if l == nil {
		if !e.shelf.pin(digest) {
			return nil, Info{}, fault.New(fault.NoModule, "call %x: there is no such module", digest[:4])
		}
		if err := e.shelf.refusal(digest); err != nil {
			e.shelf.unpin(digest)
			return nil, Info{}, err
		}
		l = &line{digest: digest, slots: make(chan struct{}, e.c.Parallel)}
		e.lines[digest] = l
	}
	l.calls++
	l.stop()
	info, _ := e.shelf.info(digest)
	return l, info, nil
}

// leave takes a call out of its line.
func (e *Engine) leave(l *line) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l.calls--; l.calls > 0 {
		return
	}
	l.last = time.Now()
	if l.worker != nil && !e.isClosed() {
		l.idle = time.AfterFunc(e.c.Idle, func() { e.rest(l) })
	}
	e.drop(l)
	e.tell()
}

// rest ends the worker of a line without calls.
func (e *Engine) rest(l *line) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l.calls == 0 && l.worker != nil {
		l.worker.end(errIdle)
	}
}

// drop forgets a line that has neither calls nor a worker.
func (e *Engine) drop(l *line) {
	if l.calls == 0 && l.worker == nil && e.lines[l.digest] == l {
		delete(e.lines, l.digest)
		e.shelf.unpin(l.digest)
	}
}

// tell wakes those who wait for room.
func (e *Engine) tell() {
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *Engine) isClosed() bool {
	select {
	case <-e.closed:
		return true
	default:
		return false
	}
}

// worker gives the worker of a line, started if there is none. It waits for room
// as long as waiting, for the worker as long as ctx.
func (e *Engine) worker(ctx, waiting context.Context, l *line) (*worker, error) {
	for {
		e.mu.Lock()
		if e.isClosed() {
			e.mu.Unlock()
			return nil, fault.New(fault.Busy, "call %x: %w", l.digest[:4], errClosed)
		}
		w, changed := l.worker, e.changed
		switch {
		case w != nil && !w.ending():
		case w == nil && e.alive < e.c.Workers:
			w = e.hire(l)
		default:
			w = nil
			e.makeRoom()
		}
		e.mu.Unlock()
		if w != nil {
			return w, w.wait(ctx)
		}
		select {
		case <-changed:
		case <-waiting.Done():
			return nil, waited(ctx, l.digest, "other modules")
		case <-e.closed:
		}
	}
}

// makeRoom ends the worker that has been idle longest, if all of them run.
func (e *Engine) makeRoom() {
	var oldest *line
	for _, l := range e.lines {
		switch {
		case l.worker == nil:
		case l.worker.ending():
			return // there is room in a moment
		case l.calls == 0 && (oldest == nil || l.last.Before(oldest.last)):
			oldest = l
		}
	}
	if oldest != nil {
		oldest.worker.end(errIdle)
	}
}

// hire starts a worker for a line.
func (e *Engine) hire(l *line) *worker {
	w := newWorker(l.digest)
	l.worker = w
	e.alive++
	e.running.Go(func() {
		e.serve(w)
		e.mu.Lock()
		defer e.mu.Unlock()
		e.alive--
		l.worker = nil
		l.stop()
		e.drop(l)
		e.tell()
	})
	return w
}
