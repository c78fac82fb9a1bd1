package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"hearth/core/fault"
	"hearth/internal/durable"
)

const (
	spentFor  = 24 * time.Hour // how long an answer is remembered
	spentMax  = 4096           // how many at most; the oldest are forgotten first
	spentLine = 256 << 10      // bytes of a line in the file
)

// spent remembers requests that spend by their Idempotency-Key, so that one
// that is sent twice is carried out once. A request is written down before it
// begins and again with its answer; one that a crash cut off is never carried
// out again, because nobody knows how far it came.
type spent struct {
	now  func() time.Time
	path string // "": memory only

	mu    sync.Mutex
	file  *os.File
	lines int
	known map[string]*answer
	order []string // keys by time
}

// An answer is what a request got. It is complete once done is closed.
type answer struct {
	Key    string    `json:"key"`
	Sum    string    `json:"sum"` // of the request
	At     time.Time `json:"at"`
	Status int       `json:"status,omitempty"` // 0: not answered
	Type   string    `json:"type,omitempty"`
	Body   []byte    `json:"body,omitempty"`
	done   chan struct{}
}

// spentHead is the file's first line. A file of before there was one begins with an
// answer; it gets the line when it is opened.
const spentHead = `{"format":"hearth spent","version":1}` + "\n"

// openSpent reads what was remembered at path.
func openSpent(path string, now func() time.Time) (*spent, error) {
	s := &spent{now: now, path: path, known: map[string]*answer{}}
	if path == "" {
		return s, nil
	}
	content, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open record of spending: %w", err)
	}
	if err := s.load(content); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s, s.compact()
}

// load reads the file's lines. A last line without an end is one that a crash
// has cut: nothing was begun after it.
func (s *spent) load(content []byte) error {
	end := bytes.LastIndexByte(content, '\n') + 1
	content, err := s.behead(content[:end])
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(bytes.NewReader(content))
	lines.Buffer(nil, spentLine)
	for lines.Scan() {
		a := answer{done: make(chan struct{})}
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil || a.Key == "" {
			return fault.New(fault.DamagedFile, "open record of spending %s: a line is damaged", s.path)
		}
		close(a.done)
		if _, again := s.known[a.Key]; !again {
			s.order = append(s.order, a.Key)
		}
		s.known[a.Key] = &a
	}
	if err := lines.Err(); err != nil {
		return fault.New(fault.DamagedFile, "open record of spending %s: %w", s.path, err)
	}
	return nil
}

// behead returns the lines after the first, if that is the head.
func (s *spent) behead(content []byte) ([]byte, error) {
	first, rest, _ := bytes.Cut(content, []byte("\n"))
	var head struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if err := json.Unmarshal(first, &head); err != nil || head.Format == "" {
		return content, nil // answers from the start, or damage that is found there
	}
	if string(first)+"\n" != spentHead {
		return nil, fault.New(fault.UnknownFormat, "open record of spending %s: its first line is %.80q", s.path, first)
	}
	return rest, nil
}

// begin says whether the request is new. One that isn't has its answer in a,
// once a.done is closed.
func (s *spent) begin(key, sum string) (a *answer, fresh bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	if a, ok := s.known[key]; ok {
		if a.Sum != sum {
			return nil, false, fault.New(fault.KeyReused, "begin request: its %d-character key belongs to another one", len(key))
		}
		return a, false, nil
	}
	if len(s.known) >= spentMax {
		return nil, false, fault.New(fault.Busy, "begin request: %d requests are remembered already", len(s.known))
	}
	a = &answer{Key: key, Sum: sum, At: s.now().UTC(), done: make(chan struct{})}
	if err := s.write(a); err != nil {
		return nil, false, err
	}
	s.known[key] = a
	s.order = append(s.order, key)
	return a, true, nil
}

// finish keeps the answer and gives it to whoever waits for it.
func (s *spent) finish(a *answer, status int, contentType string, body []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.Status, a.Type, a.Body = status, contentType, body
	close(a.done)
	return s.write(a)
}

// wait returns when the request that a belongs to is answered.
func (a *answer) wait(ctx context.Context) error {
	select {
	case <-a.done:
	case <-ctx.Done():
		return fault.New(fault.Interrupted, "wait for the same request: %w", ctx.Err())
	}
	if a.Status == 0 {
		return fault.New(fault.OutcomeUnknown, "repeat request: the node stopped while it was carried out at %s", a.At.Format(time.RFC3339))
	}
	return nil
}

// forget drops what is too old, and the oldest answers where there are too many.
func (s *spent) forget() {
	kept := s.order[:0]
	surplus := len(s.order) - spentMax + 1
	for _, key := range s.order {
		a := s.known[key]
		old := s.now().Sub(a.At) > spentFor
		if a.over() && (old || surplus > 0) {
			delete(s.known, key)
			surplus--
			continue
		}
		kept = append(kept, key)
	}
	s.order = kept
}

func (a *answer) over() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// write appends a to the file and waits for the disk. s.mu is held.
func (s *spent) write(a *answer) error {
	if s.path == "" {
		return nil
	}
	if s.lines > 4*spentMax {
		if err := s.compact(); err != nil {
			return err
		}
	}
	line, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("record spending: %w", err)
	}
	if _, err := s.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("record spending: %w", err)
	}
	s.lines++
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("record spending: %w", err)
	}
	return nil
}

// compact writes the file anew with what is remembered. s.mu is held.
func (s *spent) compact() error {
	s.forget()
	var all bytes.Buffer
	all.WriteString(spentHead)
	for _, key := range s.order {
		line, err := json.Marshal(s.known[key])
		if err != nil {
			return fmt.Errorf("record spending: %w", err)
		}
		all.Write(append(line, '\n'))
	}
	if err := durable.Write(s.path, all.Bytes(), 0o600); err != nil {
		return fmt.Errorf("record spending: %w", err)
	}
	f, err := os.OpenFile(s.path, os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("record spending: %w", err)
	}
	if s.file != nil {
		err = s.file.Close()
	}
	s.file, s.lines = f, len(s.order)
	return err
}

func (s *spent) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
