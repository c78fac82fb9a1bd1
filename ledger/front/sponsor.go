package front

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"hearth/core/fault"
)

// A Granter pays first fees on the ledger.
type Granter interface {
	// Grant gives the account of address, which must be new to the ledger, an
	// allowance for fees, and returns once that stands in a block.
	Grant(ctx context.Context, address string) (Granted, error)
}

// Granted is what a newcomer has got.
type Granted struct {
	Granter string `json:"granter"` // who pays, to be named in transactions
	Tx      string `json:"tx"`      // hash of the transaction, hex
}

// Rates bound what strangers can make a sponsor spend.
type Rates struct {
	PerHour       int // of all; default 60
	PerSourceHour int // of one /24 or /48; default 5. Loopback isn't counted by source
}

// SponsorConfig is what a Sponsor is made of.
type SponsorConfig struct {
	Granter Granter          // required
	Rates   Rates            // zero fields take their defaults
	Now     func() time.Time // default: the clock
	Log     *slog.Logger
}

// Sponsor answers POST /sponsor: it pays the first fees of an account, once.
type Sponsor struct {
	c SponsorConfig

	mu      sync.Mutex
	all     bucket
	sources map[netip.Prefix]*bucket
	busy    map[string]bool // addresses being dealt with
}

// NewSponsor returns a Sponsor.
func NewSponsor(c SponsorConfig) (*Sponsor, error) {
	if c.Granter == nil {
		return nil, errors.New("sponsor: nobody to grant")
	}
	if c.Rates.PerHour <= 0 {
		c.Rates.PerHour = 60
	}
	if c.Rates.PerSourceHour <= 0 {
		c.Rates.PerSourceHour = 5
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Sponsor{c: c, all: bucket{left: float64(c.Rates.PerHour), at: c.Now()}, sources: map[netip.Prefix]*bucket{}, busy: map[string]bool{}}, nil
}

const (
	maxSponsorBody = 4 << 10
	grantTime      = 20 * time.Second
)

func (s *Sponsor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		problem(w, http.StatusMethodNotAllowed, fault.BadRequest, "sponsor: POST it")
		return
	}
	var ask struct {
		Address string `json:"address"`
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxSponsorBody))
	if err := d.Decode(&ask); err != nil || ask.Address == "" || len(ask.Address) > 128 {
		problem(w, http.StatusBadRequest, fault.SponsorRefused, `sponsor: want {"address":"hearth1..."}`)
		return
	}
	done, reason := s.admit(ask.Address, r.RemoteAddr)
	if reason != "" {
		w.Header().Set("Retry-After", "60")
		problem(w, http.StatusTooManyRequests, fault.SponsorRefused, "sponsor: "+reason)
		return
	}
	defer done()
	ctx, cancel := context.WithTimeout(r.Context(), grantTime)
	defer cancel()
	granted, err := s.c.Granter.Grant(ctx, ask.Address)
	if err != nil {
		s.c.Log.Info("sponsor refused", "address", ask.Address, "err", err)
		status := http.StatusServiceUnavailable
		switch fault.CodeOf(err) {
		case fault.SponsorRefused:
			status = http.StatusConflict
		case fault.BadRequest:
			status = http.StatusBadRequest
		}
		problem(w, status, fault.SponsorRefused, err.Error())
		return
	}
	s.c.Log.Info("sponsored", "address", ask.Address, "tx", granted.Tx)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(granted) // who has hung up doesn't read an error either
}

// admit takes a place for address, or says why not.
func (s *Sponsor) admit(address, from string) (done func(), reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.c.Now()
	if s.busy[address] {
		return nil, "a request of this account is being dealt with"
	}
	source, counted := sourceOf(from)
	b := s.sources[source]
	if counted && b == nil {
		s.forget(now)
		b = &bucket{left: float64(s.c.Rates.PerSourceHour), at: now}
		s.sources[source] = b
	}
	if counted && !b.has(now, s.c.Rates.PerSourceHour) {
		return nil, "this network has asked too often"
	}
	if !s.all.has(now, s.c.Rates.PerHour) {
		return nil, "too many newcomers at the moment"
	}
	s.all.left--
	if counted {
		b.left--
	}
	s.busy[address] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.busy, address)
	}, ""
}

// forget drops sources that are full again; there are never more than maxSources.
func (s *Sponsor) forget(now time.Time) {
	const maxSources = 10_000
	if len(s.sources) < maxSources {
		return
	}
	for source, b := range s.sources {
		if now.Sub(b.at) > time.Hour {
			delete(s.sources, source)
		}
	}
	if len(s.sources) >= maxSources {
		clear(s.sources) // the rate of all still holds
	}
}

// sourceOf is the network a request comes from; loopback isn't counted.
func sourceOf(from string) (source netip.Prefix, counted bool) {
	host, _, err := net.SplitHostPort(from)
	if err != nil {
		host = from
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{}, true
	}
	a = a.Unmap().WithZone("")
	bits := 48
	if a.Is4() {
		bits = 24
	}
	source, err = a.Prefix(bits)
	return source, err != nil || !a.IsLoopback()
}

// bucket holds grants and fills again within an hour.
type bucket struct {
	left float64
	at   time.Time
}

func (b *bucket) has(now time.Time, perHour int) bool {
	b.left = min(float64(perHour), b.left+now.Sub(b.at).Hours()*float64(perHour))
	b.at = now
	return b.left >= 1
}

// problem answers with RFC 9457's form and one of our codes.
func problem(w http.ResponseWriter, status int, code fault.Code, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct {
		Title  string     `json:"title"`
		Status int        `json:"status"`
		Code   fault.Code `json:"code"`
		Detail string     `json:"detail"`
	}{http.StatusText(status), status, code, detail})
}
