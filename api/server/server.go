// Package server serves the node's local HTTP API: on a unix socket for the
// owner of the folder, and on a loopback address for whoever holds the token.
// It checks who asks and how much, turns faults into problems, streams bodies
// without keeping them, and makes sure that a request that spends is carried
// out once. It knows no role: node hands over what is declared in roles.go.
package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"hearth/core/fault"
	"hearth/internal/version"
)

const (
	headerPatience = 10 * time.Second
	idlePatience   = 2 * time.Minute
	bodyPatience   = 10 * time.Minute // between two pieces of a streamed body
	closePatience  = time.Second      // requests end with the server's context; one may wait for its client's bytes
	maxHeader      = 64 << 10
)

// A Config is what a Server needs. A zero field takes its stated default.
type Config struct {
	Roles  Roles                // Node, Wallet, Market, Ledger and Storage are required
	Token  string               // for requests over TCP; required by Serve where TCP is given
	Spent  string               // file that remembers requests that spend; default: memory only
	Report *prometheus.Registry // what /metrics shows; default: the API's own figures only
	Log    *slog.Logger         // default: discard
	Now    func() time.Time     // default: time.Now
}

// A Server answers the API's requests. It is safe for concurrent use.
type Server struct {
	c         Config
	api       huma.API
	mux       *http.ServeMux
	spent     *spent
	transfers *transfers
	figures   figures
}

// New returns a Server, or says which part of c is missing.
func New(c Config) (*Server, error) {
	r := c.Roles
	if r.Node == nil || r.Wallet == nil || r.Market == nil || r.Ledger == nil || r.Storage == nil {
		return nil, errors.New("api server: node, wallet, market, ledger and storage are required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Report == nil {
		c.Report = prometheus.NewRegistry()
	}
	sp, err := openSpent(c.Spent, c.Now)
	if err != nil {
		return nil, err
	}
	s := build(c)
	s.spent = sp
	if err := s.figures.register(c.Report); err != nil {
		return nil, errors.Join(err, sp.close())
	}
	return s, nil
}

// build makes a server with its routes and nothing opened: enough to write the
// API's description.
func build(c Config) *Server {
	s := &Server{c: c, mux: http.NewServeMux(), figures: newFigures()}
	s.transfers = newTransfers(c.Now)
	s.api = newAPI(s.mux)
	s.nodeRoutes()
	s.hostRoutes()
	s.priceRoutes()
	s.stewardRoutes()
	s.walletRoutes()
	s.marketRoutes()
	s.objectRoutes()
	s.transferRoutes()
	s.s3Routes()
	s.shareRoutes()
	s.functionRoutes()
	s.instanceRoutes()
	s.imageRoutes()
	// huma describes its own error shape with each operation; ours has replaced it.
	delete(s.api.OpenAPI().Components.Schemas.Map(), "ErrorModel")
	delete(s.api.OpenAPI().Components.Schemas.Map(), "ErrorDetail")
	return s
}

// Close ends what New has opened.
func (s *Server) Close() error { return s.spent.close() }

// Serve answers on the listeners until ctx ends, and closes them. Requests over
// unix need no token: whoever can open the socket owns the folder. tcp may be nil.
func (s *Server) Serve(ctx context.Context, unix, tcp net.Listener) error {
	if tcp != nil && s.c.Token == "" {
		return errors.New("api server: a TCP listener needs a token")
	}
	group, ctx := errgroup.WithContext(ctx)
	serve := func(l net.Listener, h http.Handler) {
		server := &http.Server{
			Handler:           h,
			ReadHeaderTimeout: headerPatience,
			IdleTimeout:       idlePatience,
			MaxHeaderBytes:    maxHeader,
			BaseContext:       func(net.Listener) context.Context { return ctx },
			ErrorLog:          slog.NewLogLogger(s.c.Log.Handler(), slog.LevelDebug),
		}
		group.Go(func() error {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
		group.Go(func() error {
			<-ctx.Done()
			quiet, cancel := context.WithTimeout(context.WithoutCancel(ctx), closePatience)
			defer cancel()
			if err := server.Shutdown(quiet); err != nil {
				return server.Close()
			}
			return nil
		})
	}
	serve(unix, s.Handler(true))
	if tcp != nil {
		serve(tcp, s.guard(s.Handler(false)))
	}
	return group.Wait()
}

// Handler answers everything, without asking for a token. Profiles are served
// to the folder's owner alone.
func (s *Server) Handler(owner bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n")) // a reader that is gone needs no answer
	})
	mux.HandleFunc("GET /readyz", s.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.c.Report, promhttp.HandlerOpts{}))
	if owner {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	mux.Handle("/v1/", s.mux)
	if s.c.Roles.Images != nil {
		mux.Handle("/v2/", s.c.Roles.Images.Registry())
	}
	mux.HandleFunc("GET /openapi.yaml", s.describe)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, fault.New(fault.NotFound, "%s %s: no such path", r.Method, r.URL.Path))
	})
	return s.figures.watch(s.recoverer(s.spends(mux)))
}

// recoverer answers a panic of a handler as an internal fault and logs it. The
// panic that net/http itself asks for to cut a connection goes through.
func (s *Server) recoverer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(cause)
			}
			s.c.Log.ErrorContext(r.Context(), "request panicked", "method", r.Method, "path", r.URL.Path, "cause", cause)
			writeProblem(w, fault.New(fault.Internal, "%s %s: panic: %v", r.Method, r.URL.Path, cause))
		}()
		next.ServeHTTP(w, r)
	})
}

func (s *Server) describe(w http.ResponseWriter, _ *http.Request) {
	text, err := s.api.OpenAPI().YAML()
	if err != nil {
		writeProblem(w, fault.New(fault.Internal, "describe api: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(text) // a reader that is gone needs no answer
}

// Spec is the API's description, OpenAPI 3.1 in YAML, as it is committed.
func Spec() ([]byte, error) {
	s := build(Config{Now: time.Now})
	return s.api.OpenAPI().YAML()
}

// stamp is the API's own version: it changes with its shapes, not with builds.
const stamp = "1"

// buildInfo is shown by /metrics.
func buildInfo() prometheus.Labels {
	v := version.Get()
	return prometheus.Labels{"version": v.Version, "commit": v.Commit, "go": v.Go}
}
