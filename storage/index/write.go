package index

import (
	"context"
	"database/sql"
	"errors"
	"sync"
)

// maxGroup is how many waiting writes share one commit, and so one sync.
const maxGroup = 64

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
	conn *sql.Conn
	tx   *tx
	jobs chan job

	mu      sync.RWMutex // held for reading while sending to jobs
	stopped bool
	ended   chan struct{}
}

func startWriter(db *sql.DB) (*writer, error) {
	conn, err := db.Conn(context.Background())
	if err != nil {
		return nil, err
	}
	w := &writer{
		conn: conn, jobs: make(chan job, maxGroup), ended: make(chan struct{}),
		tx: &tx{conn: conn, known: make(map[string]*sql.Stmt)},
	}
	go w.loop()
	return w, nil
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
	defer w.conn.Close()
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
		if errs[i] = w.tx.nested(j.run); hard(errs[i]) {
			err = errs[i]
		}
	}
	if err == nil {
		err = w.tx.exec("COMMIT")
	}
	if err != nil {
		w.tx.rollback()
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

// A tx is the writer's open transaction, with the statements it has prepared.
type tx struct {
	conn  *sql.Conn
	known map[string]*sql.Stmt
}

func (t *tx) stmt(query string) (*sql.Stmt, error) {
	if s, ok := t.known[query]; ok {
		return s, nil
	}
	s, err := t.conn.PrepareContext(context.Background(), query)
	if err == nil {
		t.known[query] = s
	}
	return s, err
}

func (t *tx) close() {
	for _, s := range t.known {
		s.Close()
	}
}

func (t *tx) exec(query string, args ...any) error {
	_, err := t.execCount(query, args...)
	return err
}

func (t *tx) execCount(query string, args ...any) (int64, error) {
	s, err := t.stmt(query)
	if err != nil {
		return 0, err
	}
	r, err := s.Exec(args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (t *tx) insert(query string, args ...any) (id int64, err error) {
	s, err := t.stmt(query)
	if err != nil {
		return 0, err
	}
	r, err := s.Exec(args...)
	if err != nil {
		return 0, err
	}
	return r.LastInsertId()
}

// row scans the first row; found is false when there is none.
func (t *tx) row(query string, args []any, into ...any) (found bool, err error) {
	s, err := t.stmt(query)
	if err != nil {
		return false, err
	}
	switch err := s.QueryRow(args...).Scan(into...); {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	default:
		return err == nil, err
	}
}

func (t *tx) query(query string, args ...any) (*sql.Rows, error) {
	s, err := t.stmt(query)
	if err != nil {
		return nil, err
	}
	return s.Query(args...)
}

// nested runs f all or nothing inside the transaction.
func (t *tx) nested(f func(*tx) error) error {
	if err := t.exec("SAVEPOINT job"); err != nil {
		return err
	}
	err := f(t)
	if hard(err) {
		return err // SQLite may have ended the whole transaction
	}
	if err != nil {
		if e := t.exec("ROLLBACK TO job"); e != nil {
			return e
		}
	}
	if e := t.exec("RELEASE job"); e != nil {
		return e
	}
	return err
}

// rollback ends the transaction, if SQLite hasn't ended it already.
func (t *tx) rollback() { _, _ = t.conn.ExecContext(context.Background(), "ROLLBACK") }
