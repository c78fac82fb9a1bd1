// Package front is a ledger node's one public door: an HTTP server that answers
// POST /sponsor itself and hands everything else, websockets included, to
// CometBFT's RPC on a unix socket. It bounds sizes, times and numbers of
// requests; it never looks into what it hands on.
package front

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"
)

// Limits of what a stranger may ask for at a time.
const (
	maxBody     = 1 << 20
	maxRequests = 512 // at once, websockets apart
	maxSockets  = 256
	headerTime  = 10 * time.Second
	requestTime = 60 * time.Second // a broadcast waits for a block
	idleTime    = 2 * time.Minute
)

// Config is what a Front is made of.
type Config struct {
	Socket  string   // required: CometBFT's RPC
	Sponsor *Sponsor // nil: this node sponsors nobody
	Log     *slog.Logger
}

// Front serves a ledger node's public URL.
type Front struct {
	server   *http.Server
	requests chan struct{}
	sockets  chan struct{}
}

// New returns a Front; Serve starts it.
func New(c Config) (*Front, error) {
	if c.Socket == "" {
		return nil, errors.New("front: no RPC socket")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	f := &Front{requests: make(chan struct{}, maxRequests), sockets: make(chan struct{}, maxSockets)}
	mux := http.NewServeMux()
	mux.Handle("/", f.proxy(c))
	if c.Sponsor != nil {
		mux.Handle("/sponsor", c.Sponsor)
	}
	f.server = &http.Server{
		Handler:           f.limit(mux),
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       requestTime,
		WriteTimeout:      requestTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
	}
	return f, nil
}

// Serve answers on l until Close; then it returns nil.
func (f *Front) Serve(l net.Listener) error {
	if err := f.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close lets requests end for a moment, then cuts them off.
func (f *Front) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if f.server.Shutdown(ctx) == nil {
		return nil
	}
	return f.server.Close()
}

func (f *Front) proxy(c Config) http.Handler {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: "ledger"}) },
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, "unix", c.Socket)
			},
			MaxIdleConnsPerHost: 64,
			IdleConnTimeout:     idleTime,
			DisableCompression:  true,
		},
		ErrorLog: slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			status, detail := http.StatusBadGateway, "the ledger node doesn't answer"
			var tooLarge *http.MaxBytesError
			if errors.As(err, &tooLarge) {
				status, detail = http.StatusRequestEntityTooLarge, "the body is larger than 1 MiB"
			}
			http.Error(w, detail, status)
		},
	}
}

// limit bounds bodies and how many are served at once.
func (f *Front) limit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		room := f.requests
		if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			room = f.sockets
		}
		select {
		case room <- struct{}{}:
			defer func() { <-room }()
		default:
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many requests at once", http.StatusServiceUnavailable)
			return
		}
		if r.ContentLength > maxBody {
			http.Error(w, "the body is larger than 1 MiB", http.StatusRequestEntityTooLarge)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}
