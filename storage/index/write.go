package index

import (
	"context"
	"errors"
	"sync"
)

// maxGroup is how many waiting writes share one commit, and so one sync.
const maxGroup = 128

var errClosed = errors.New("index: closed")

// A job is one write. It may be run twice (alone, when its group has failed), so
// it only assigns results.
type job struct {
	run  func(*tx) error
	done chan error
}

// A writer is the one connection that writes. Writes that wait at the same time
// are committed together; each is all or nothing by a savepoint of its own.
type writer struct {
	tx   *tx
	last func(*tx) error // what every commit writes in the end
	jobs chan job

	mu      sync.RWMutex // held for reading while sending to jobs
	stopped bool
	ended   chan struct{}
}

func startWriter(t *tx, last func(*tx) error) *writer {
	w := &writer{tx: t, last: last, jobs: make(chan job, maxGroup), ended: make(chan struct{})}
	go w.loop()
	return w
}

// do runs f in a transaction and returns when it is durable. Once f is queued
// its outcome is waited for: nobody learns "cancelled" about a write that happened.
func (w *writer) do(ctx context.Context, f func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := job{f, make(chan error, 1)}
	w.mu.RLock()
	if w.stopped {
		w.mu.RUnlock()
		return errClosed
	}
	w.jobs <- j
	w.mu.RUnlock()
	return <-j.done
}

func (w *writer) stop() {
	w.mu.Lock()
	w.stopped = true
	close(w.jobs)
	w.mu.Unlock()
	<-w.ended
}

func (w *writer) loop() {
	defer close(w.ended)
	defer w.tx.close()
	for j := range w.jobs {
		group := append(make([]job, 0, maxGroup), j)
	gather:
		for len(group) < maxGroup {
			select {
			case j, ok := <-w.jobs:
				if !ok {
					break gather
				}
				group = append(group, j)
			default:
				break gather
			}
		}
		w.commit(group)
	}
}

// commit runs the group in one transaction. When the file makes trouble, each
// job is tried alone, so that one that is too large doesn't fail the others.
func (w *writer) commit(group []job) {
	errs := make([]error, len(group))
	err := w.tx.exec("BEGIN IMMEDIATE")
	for i, j := range group {
		if err != nil {
			break
		}
		if len(group) == 1 {
			err = j.run(w.tx) // all of the transaction, so it needs no savepoint
			break
		}
		if errs[i] = w.tx.nested(j.run); hard(errs[i]) {
			err = errs[i]
		}
	}
	if err == nil {
		err = w.last(w.tx)
	}
	if err == nil {
		err = w.tx.exec("COMMIT")
	}
	if err != nil {
		w.tx.rollback()
		w.tx.x.kept = 0 // what was written of the clock is gone
		if len(group) > 1 {
			for _, j := range group {
				w.commit([]job{j})
			}
			return
		}
		errs[0] = err
	}
	for i, j := range group {
		j.done <- errs[i]
	}
}
