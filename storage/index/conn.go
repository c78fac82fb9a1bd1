package index

import (
	"context"
	"database/sql"
	"errors"
)

// A tx is one connection's open transaction, with the statements that the
// connection has prepared.
type tx struct {
	x     *Index
	conn  *sql.Conn
	known map[string]*sql.Stmt

	merging *merging // other devices' changes: nothing is told to others, or removed at once
}

func (x *Index) newTx(ctx context.Context, db *sql.DB) (*tx, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return &tx{x: x, conn: conn, known: make(map[string]*sql.Stmt)}, nil
}

// view runs f on one state of the file. What it does is short, so ctx counts
// only while it waits for a connection.
func (x *Index) view(ctx context.Context, f func(*tx) error) error {
	return x.glance(ctx, func(t *tx) error {
		if err := t.exec("BEGIN"); err != nil {
			return err
		}
		defer t.rollback() // it has read only
		return f(t)
	})
}

// glance is view for what reads one row, and needs no transaction for it.
func (x *Index) glance(ctx context.Context, f func(*tx) error) error {
	var t *tx
	select {
	case t = <-x.readers:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { x.readers <- t }()
	if err := ctx.Err(); err != nil {
		return err
	}
	if x.isClosed.Load() {
		return errClosed
	}
	if t == nil {
		var err error
		if t, err = x.newTx(context.Background(), x.read); err != nil {
			return err
		}
	}
	return f(t)
}

// closeReaders waits for the reads under way.
func (x *Index) closeReaders() {
	x.isClosed.Store(true)
	for range x.c.Readers {
		if t := <-x.readers; t != nil {
			t.close()
		}
	}
	for range x.c.Readers {
		x.readers <- nil
	}
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
	t.conn.Close()
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

// each calls f for every row, which scans it.
func (t *tx) each(query string, args []any, f func(scan func(...any) error) error) error {
	rows, err := t.query(query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
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
func (t *tx) rollback() { _ = t.exec("ROLLBACK") }
