package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"cuelabs.dev/go/oci/ociregistry"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
	"github.com/opencontainers/go-digest"

	"hearth/compute/manifest"
	"hearth/core/fault"
)

// User is the name that clients log in with.
const User = "hearth"

const (
	maxRequests    = 64
	maxHeader      = 64 << 10
	headerPatience = 10 * time.Second
	idlePatience   = 2 * time.Minute
	closePatience  = time.Second
)

// Handler speaks the protocol with whoever comes.
func (r *Registry) Handler() http.Handler { return r.handler }

// protocol puts limits and what the library leaves out before it.
func (r *Registry) protocol() http.Handler {
	slots := make(chan struct{}, maxRequests)
	speak := ociserver.New(r, &ociserver.Options{WriteError: r.writeError})
	return r.c.Metrics.watch(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		default:
			r.writeError(w, q, ociregistry.ErrTooManyRequests)
			return
		}
		c := http.NewResponseController(w)
		defer hurry(c, q, r.c.Stall)()
		w = patient{w, c, r.c.Stall}
		trouble := &trouble{}
		q = q.WithContext(context.WithValue(q.Context(), troubleKey{}, trouble)) // a copy: the server keeps its own body
		if q.Body != nil {
			q.Body = patientBody{q.Body, c, r.c.Stall, trouble}
		}
		q, err := r.prepare(q)
		if err != nil {
			r.writeError(w, q, err)
			return
		}
		if r.beside(w, q) {
			return
		}
		speak.ServeHTTP(w, q)
	}))
}

// hurry bounds how long what a request sends may take where nobody reads it: the
// server does before and after it answers, and what was announced may never come.
// The caller calls what it gives at the end. Without a body the server listens for
// the client's end already, which a deadline would feign.
func hurry(c *http.ResponseController, q *http.Request, stall time.Duration) func() {
	soon := func() { _ = c.SetReadDeadline(time.Now().Add(stall)) } // the read tells
	if q.ContentLength != 0 {
		soon()
	}
	return soon
}

// prepare bounds manifests, and has mounts that can't be become uploads.
func (r *Registry) prepare(q *http.Request) (*http.Request, error) {
	switch q.Header.Get("Content-Range") {
	case "":
	case "0-0": // is a blob's only byte, or none: the library takes it for none
		q.Header = q.Header.Clone()
		q.Header.Del("Content-Range")
		if q.ContentLength != 0 {
			q = q.WithContext(context.WithValue(q.Context(), rangedKey{}, true))
		}
	default:
		q = q.WithContext(context.WithValue(q.Context(), rangedKey{}, true))
	}
	switch {
	case q.Method == http.MethodPut && path.Base(path.Dir(q.URL.Path)) == "manifests":
		b, err := io.ReadAll(io.LimitReader(q.Body, manifest.Max+1))
		if err != nil {
			return q, fault.New(fault.Interrupted, "read manifest: %w", err)
		}
		if len(b) > manifest.Max {
			return q, manifest.TooLarge()
		}
		if _, err := manifest.Parse(q.Header.Get("Content-Type"), b); err != nil { // the library's own words for it have no code
			return q, err
		}
		q.Body = io.NopCloser(bytes.NewReader(b))
	case q.Method == http.MethodPost && strings.HasSuffix(strings.TrimSuffix(q.URL.Path, "/"), "/blobs/uploads") && q.URL.Query().Has("mount"):
		repo := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(q.URL.Path, "/"), "/v2/"), "/blobs/uploads")
		args := q.URL.Query()
		_, err := r.find(q.Context(), digest.Digest(args.Get("mount")))
		switch {
		case errors.Is(err, ociregistry.ErrBlobUnknown):
			args.Del("mount")
			args.Del("from")
		case args.Get("from") == "":
			args.Set("from", repo) // wherever it is
		}
		at := *q.URL
		at.RawQuery = args.Encode()
		q = q.WithContext(q.Context())
		q.URL = &at
	}
	return q, nil
}

// patient gives each write its time. Between them there is none to keep: the
// connection is used for others later, and storing a blob may take long.
type patient struct {
	http.ResponseWriter
	c     *http.ResponseController
	stall time.Duration
}

func (p patient) Write(b []byte) (int, error) {
	_ = p.c.SetWriteDeadline(time.Now().Add(p.stall)) // the write tells
	n, err := p.ResponseWriter.Write(b)
	_ = p.c.SetWriteDeadline(time.Time{})
	return n, err
}

// Unwrap is for whoever sets deadlines.
func (p patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// patientBody gives each read its time, and none beyond: a deadline that passes
// later would end the request.
type patientBody struct {
	io.ReadCloser
	c       *http.ResponseController
	stall   time.Duration
	trouble *trouble
}

func (p patientBody) Read(b []byte) (int, error) {
	_ = p.c.SetReadDeadline(time.Now().Add(p.stall)) // the read tells
	n, err := p.ReadCloser.Read(b)
	_ = p.c.SetReadDeadline(time.Time{})
	if err != nil && !errors.Is(err, io.EOF) { // it is the client's pause, or its end
		err = p.trouble.note(fault.New(fault.Interrupted, "read what is sent: %w", err))
	}
	return n, err
}

// A trouble is the first error of a request's body or its upload. Not everything the
// library hands on can be told from its text.
type trouble struct{ err error }

type troubleKey struct{}

// troubleOf is that of a request; nobody reads what a nil one notes.
func troubleOf(ctx context.Context) *trouble {
	t, _ := ctx.Value(troubleKey{}).(*trouble)
	return t
}

func (t *trouble) note(err error) error {
	if t != nil && t.err == nil {
		t.err = err
	}
	return err
}

// A refusal has a status that doesn't follow from its code.
type refusal struct {
	status int
	word   string
	why    string
	code   fault.Code
}

func (r refusal) Error() string { return r.why }

// A reason says what an error is in our own words.
type reason struct {
	Code fault.Code `json:"code"`
}

func detail(c fault.Code) json.RawMessage {
	b, _ := json.Marshal(reason{c}) // words
	return b
}

// writeError answers in the registry's own form. What is no fault of the client's
// is logged.
func (r *Registry) writeError(w http.ResponseWriter, q *http.Request, err error) {
	if t := troubleOf(q.Context()); t != nil && t.err != nil {
		err = t.err
	}
	var known ociregistry.Error
	var status ociregistry.HTTPError
	var refused refusal
	switch {
	case errors.As(err, &refused):
	case errors.As(err, &known) || errors.As(err, &status):
		_ = ociregistry.WriteError(w, err) // a reader that is gone needs no answer
		return
	default:
		refused = r.translate(q, err)
	}
	b, _ := json.Marshal(ociregistry.WireErrors{Errors: []ociregistry.WireError{{Code_: refused.word, Message: refused.why, Detail_: detail(refused.code)}}})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(refused.status)
	_, _ = w.Write(b) // as above
}

// translate gives a fault a code and a status that registries' clients know.
func (r *Registry) translate(q *http.Request, err error) refusal {
	if q.Context().Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) { // the client's pause
		err = fault.New(fault.Interrupted, "%w", err)
	}
	entry, _ := fault.Lookup(fault.CodeOf(err))
	out := refusal{max(entry.HTTP, http.StatusBadRequest), "DENIED", err.Error(), entry.Code}
	switch {
	case entry.Code == fault.TooLarge:
		out.word = ociregistry.ErrSizeInvalid.Code()
	case entry.Code == fault.Internal:
		r.c.Log.ErrorContext(q.Context(), "request for an image", "method", q.Method, "path", q.URL.Path, "err", err)
		out.word, out.why = "UNKNOWN", "something went wrong inside the node; its log says what"
	case entry.HTTP >= 500:
		r.c.Log.WarnContext(q.Context(), "request for an image", "method", q.Method, "path", q.URL.Path, "err", err)
		out.word = "UNAVAILABLE"
	}
	return out
}

// A Door is a Registry at an address, for whoever knows the password.
type Door struct {
	r        *Registry
	listener net.Listener
	password [sha256.Size]byte
}

// Open listens; Serve answers.
func (r *Registry) Open(listen, password string) (*Door, error) {
	if len(password) < 16 {
		return nil, errors.New("open door for images: the password is too short")
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fault.New(fault.AddressTaken, "open door for images: listen on %s: %w", listen, err)
	}
	return &Door{r, l, sha256.Sum256([]byte(password))}, nil
}

// Address is where it listens.
func (d *Door) Address() string { return d.listener.Addr().String() }

// Serve answers until ctx ends.
func (d *Door) Serve(ctx context.Context) error {
	requests, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	server := &http.Server{
		Handler:           d.guard(d.r.handler),
		ReadHeaderTimeout: headerPatience,
		IdleTimeout:       idlePatience,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ErrorLog:          slog.NewLogLogger(d.r.c.Log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(d.listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("door for images: %w", err)
	case <-ctx.Done():
	}
	quiet, cancel := context.WithTimeout(context.WithoutCancel(ctx), closePatience)
	defer cancel()
	if err := server.Shutdown(quiet); err != nil {
		end()
		if err := server.Close(); err != nil {
			d.r.c.Log.Debug("close door for images", "err", err)
		}
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		d.r.c.Log.Debug("door for images ended", "err", err)
	}
	return nil
}

// guard lets in who knows the password.
func (d *Door) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		c := http.NewResponseController(w)
		defer hurry(c, q, d.r.c.Stall)()
		_ = c.SetWriteDeadline(time.Time{})                                        // of the request before,
		defer func() { _ = c.SetWriteDeadline(time.Now().Add(2 * d.r.c.Stall)) }() // for what isn't written yet; a body has its time first
		user, word, _ := q.BasicAuth()
		got := sha256.Sum256([]byte(word))
		if user != User || subtle.ConstantTimeCompare(got[:], d.password[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="hearth"`)
			w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
			d.r.writeError(w, q, fmt.Errorf("`hearth image login` shows how: %w", ociregistry.ErrUnauthorized))
			return
		}
		next.ServeHTTP(w, q)
	})
}
