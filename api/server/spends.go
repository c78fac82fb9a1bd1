package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"time"

	"hearth/api"
	"hearth/core/fault"
)

const (
	maxKey   = 128             // bytes of an Idempotency-Key
	spendFor = 2 * time.Minute // how long a request that spends may take
)

// spending says whether a request at path spends.
func spending(path string) bool {
	switch path {
	case "/v1/wallet/send", "/v1/wallet/fund", "/v1/wallet/withdraw", "/v1/host/leave":
		return true
	}
	return false
}

// spends carries a request that spends out once: one with a key that was seen
// gets the answer of the first. It goes on when its caller is gone, so that
// the answer is there when the caller asks again.
func (s *Server) spends(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || !spending(r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		if err := s.once(w, r, next); err != nil {
			writeProblem(w, err)
		}
	})
}

func (s *Server) once(w http.ResponseWriter, r *http.Request, next http.Handler) error {
	key := r.Header.Get(api.HeaderKey)
	if key == "" || len(key) > maxKey {
		return fault.New(fault.BadRequest, "%s: the header %s is required, 1 to %d characters", r.URL.Path, api.HeaderKey, maxKey)
	}
	body, err := readSmall(w, r)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(append([]byte(r.URL.RequestURI()+"\n"), body...))
	a, fresh, err := s.spent.begin(key, hex.EncodeToString(sum[:]))
	if err != nil {
		return err
	}
	if !fresh {
		if err := a.wait(r.Context()); err != nil {
			return err
		}
		w.Header().Set("Idempotent-Replayed", "true")
		a.send(w)
		return nil
	}
	s.carryOut(a, r, body, next)
	a.send(w)
	return nil
}

func readSmall(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(headerPatience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, api.MaxSpend))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, fault.New(fault.TooLarge, "%s: the body is larger than %d bytes", r.URL.Path, api.MaxSpend)
	}
	if err != nil {
		return nil, fault.New(fault.BadRequest, "%s: read body: %w", r.URL.Path, err)
	}
	return body, nil
}

// carryOut runs the request and keeps its answer, a panic's too.
func (s *Server) carryOut(a *answer, r *http.Request, body []byte, next http.Handler) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), spendFor)
	defer cancel()
	request := r.Clone(ctx)
	request.Body = io.NopCloser(bytes.NewReader(body))
	rec := &recorder{header: http.Header{}}
	defer func() {
		if cause := recover(); cause != nil {
			s.c.Log.ErrorContext(ctx, "request panicked", "path", r.URL.Path, "cause", cause)
			rec = &recorder{header: http.Header{}}
			writeProblem(rec, fault.New(fault.Internal, "%s: panic: %v", r.URL.Path, cause))
		}
		if err := s.spent.finish(a, rec.code(), rec.header.Get("Content-Type"), rec.body.Bytes()); err != nil {
			// It is done all the same, and this process remembers it.
			s.c.Log.ErrorContext(ctx, "answer not recorded", "path", r.URL.Path, "error", err)
		}
	}()
	next.ServeHTTP(rec, request)
}

func (a *answer) send(w http.ResponseWriter) {
	w.Header().Set("Content-Type", a.Type)
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body) // a reader that is gone asks again
}

// A recorder keeps an answer instead of sending it.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(b)
}

func (r *recorder) code() int {
	if r.status == 0 {
		return http.StatusOK
	}
	return r.status
}

// SetReadDeadline has nothing to do: the body is read already.
func (r *recorder) SetReadDeadline(time.Time) error { return nil }
