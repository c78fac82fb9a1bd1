package server

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"hearth/api"
	"hearth/core/fault"
)

type getInput struct {
	Bucket   string `path:"bucket" maxLength:"63"`
	Key      string `path:"key" doc:"May hold slashes, as they are or escaped"`
	Transfer string `header:"Hearth-Transfer" maxLength:"64" doc:"A name to follow this download by, under /v1/transfers: if the connection breaks, the reason is there"`
	Range    string `header:"Range" maxLength:"64" doc:"bytes=a-b, bytes=a- or bytes=-n: one range"`
}

func (s *Server) getRoutes() {
	content := map[string]*huma.MediaType{
		"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
	}
	route(s, huma.Operation{
		OperationID: "get-object", Method: http.MethodGet, Path: "/v1/objects/{bucket}/{key}", Tags: []string{"objects"},
		Summary: "Read an object, or a range of it; every byte is verified before it is sent",
		Responses: map[string]*huma.Response{
			"200": {Description: "The whole object", Content: content},
			"206": {Description: "The range", Content: content},
		},
	}, func(ctx context.Context, in *getInput) (*huma.StreamResponse, error) {
		if err := checkKey(in.Key); err != nil {
			return nil, err
		}
		return s.get(ctx, in)
	})
	route(s, huma.Operation{
		OperationID: "head-object", Method: http.MethodHead, Path: "/v1/objects/{bucket}/{key}", Tags: []string{"objects"},
		Summary: "Size, type and version of an object, as headers",
	}, func(ctx context.Context, in *objectName) (*huma.StreamResponse, error) {
		if err := checkKey(in.Key); err != nil {
			return nil, err
		}
		o, err := s.c.Roles.Storage.Stat(ctx, in.Bucket, in.Key)
		if err != nil {
			return nil, err
		}
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			_, w := humago.Unwrap(ctx)
			objectHeaders(w.Header(), o)
			w.Header().Set("Content-Length", strconv.FormatInt(o.Size, 10))
			w.WriteHeader(http.StatusOK)
		}}, nil
	})
}

// get finds the object now, so that errors still are problems, and streams it
// when huma asks for the body.
func (s *Server) get(ctx context.Context, in *getInput) (*huma.StreamResponse, error) {
	o, err := s.c.Roles.Storage.Stat(ctx, in.Bucket, in.Key)
	if err != nil {
		return nil, err
	}
	r, ranged, err := parseRange(in.Range)
	if err != nil {
		return nil, err
	}
	off, n, err := r.Within(o.Size)
	if err != nil {
		p := api.ProblemOf(err)
		p.Status = http.StatusRequestedRangeNotSatisfiable
		return nil, p
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		_, w := humago.Unwrap(hc)
		body := &lazy{w: w, to: patient{control: http.NewResponseController(w), writer: w}, start: func() {
			objectHeaders(w.Header(), o)
			w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
			status := http.StatusOK
			if ranged && n > 0 {
				w.Header().Set("Content-Range", "bytes "+strconv.FormatInt(off, 10)+"-"+strconv.FormatInt(off+n-1, 10)+"/"+strconv.FormatInt(o.Size, 10))
				status = http.StatusPartialContent
			}
			w.WriteHeader(status)
		}}
		s.stream(hc.Context(), in, o, off, n, body)
	}}, nil
}

// stream sends n bytes. An error before the first is a problem; after it the
// connection is cut, so that nobody takes a part for the whole, and the reason
// stays with the transfer.
func (s *Server) stream(ctx context.Context, in *getInput, o api.Object, off, n int64, to *lazy) {
	t, err := s.transfers.begin(in.Transfer, "get", in.Bucket, in.Key, n)
	if err != nil {
		writeProblem(to.w, err)
		return
	}
	if n > 0 {
		err = s.c.Roles.Storage.Get(ctx, in.Bucket, in.Key, o.Version, off, n, to, t.report)
	}
	if err == nil && to.sent != n {
		err = fault.New(fault.Internal, "get hearth://%s/%s: %d of %d bytes were read", in.Bucket, in.Key, to.sent, n)
	}
	t.end(s.c.Now(), err)
	switch {
	case err == nil:
		to.begin() // an empty object has headers too
	case !to.begun:
		var p *api.Problem
		if errors.As(s.problem(ctx, "get-object", err), &p) {
			writeProblem(to.w, p)
		}
	default:
		s.c.Log.WarnContext(ctx, "download cut", "bucket", in.Bucket, "key", in.Key, "sent", to.sent, "error", err)
		panic(http.ErrAbortHandler)
	}
}

// lazy sends the headers with the first byte.
type lazy struct {
	w     http.ResponseWriter
	to    patient
	start func()
	begun bool
	sent  int64
}

func (l *lazy) begin() {
	if !l.begun {
		l.begun = true
		l.start()
	}
}

func (l *lazy) Write(b []byte) (int, error) {
	l.begin()
	n, err := l.to.Write(b)
	l.sent += int64(n)
	return n, err
}

func objectHeaders(h http.Header, o api.Object) {
	contentType := o.Type
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	h.Set("Content-Type", contentType)
	h.Set("Accept-Ranges", "bytes")
	h.Set("ETag", strconv.Quote(o.Version))
	h.Set("Last-Modified", o.Modified.UTC().Format(http.TimeFormat))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'") // a stored page is no page of ours
	h.Set(api.HeaderVersion, o.Version)
	h.Set(api.HeaderModified, o.Modified.UTC().Format(time.RFC3339Nano))
	h.Set(api.HeaderPending, strconv.Itoa(o.Pending))
	if o.Class != "" {
		h.Set(api.HeaderClass, o.Class)
	}
	if o.Sum != "" {
		h.Set(api.HeaderSum, o.Sum)
	}
}

// parseRange reads a Range header of one range; an empty one is everything.
func parseRange(header string) (r api.Range, ranged bool, err error) {
	if header == "" {
		return api.Whole(), false, nil
	}
	bad := fault.New(fault.BadRequest, "read range: %q is not bytes=a-b, bytes=a- or bytes=-n", header)
	spec, ok := strings.CutPrefix(header, "bytes=")
	first, last, found := strings.Cut(spec, "-")
	if !ok || !found {
		return r, false, bad
	}
	if first == "" {
		n, err := parseCount(last)
		if err != nil || n == 0 {
			return r, false, bad
		}
		return api.Range{Offset: -n, Length: -1}, true, nil
	}
	r.Length = -1
	if r.Offset, err = parseCount(first); err != nil {
		return r, false, bad
	}
	if last != "" {
		end, err := parseCount(last)
		if err != nil || end < r.Offset {
			return r, false, bad
		}
		r.Length = end - r.Offset + 1
	}
	return r, true, nil
}

// parseCount reads digits alone: no sign, no space, and room for one more.
func parseCount(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 62)
	return int64(n), err
}
