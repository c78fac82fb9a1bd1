package p2p

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"syscall"

	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
)

// errRefused says that a peer's machine is there and its node is not.
var errRefused = errors.New("connection refused at every TCP address")

// refusals spare dials the wait for QUIC, which can't be refused: where every
// TCP address of a peer refuses, its node is down, and nothing better will come.
type refusals struct {
	net.Dialer

	mu      sync.Mutex
	waiting map[string]*refusal // by ip:port, while somebody waits
}

type refusal struct {
	refused bool
	waits   map[*wake]struct{}
}

// A wake ends one dial when all of its addresses have refused.
type wake struct {
	left int
	end  context.CancelCauseFunc
}

func newRefusals() *refusals { return &refusals{waiting: make(map[string]*refusal)} }

// dialer is what libp2p's TCP transport dials with.
func (r *refusals) dialer(ma.Multiaddr) (tcp.ContextDialer, error) { return r, nil }

func (r *refusals) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := r.Dialer.DialContext(ctx, network, addr)
	if errors.Is(err, syscall.ECONNREFUSED) {
		r.note(addr)
	}
	return c, err
}

func (r *refusals) note(addr string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.waiting[addr]
	if f == nil || f.refused {
		return
	}
	f.refused = true
	for w := range f.waits {
		w.refuse()
	}
}

func (w *wake) refuse() {
	if w.left--; w.left == 0 {
		w.end(errRefused)
	}
}

// watch returns a context that ends with errRefused when all TCP addresses among
// addrs have refused. Names may stand for more addresses: with one it waits on.
func (r *refusals) watch(ctx context.Context, addrs []ma.Multiaddr) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(ctx)
	done := func() { end(context.Canceled) }
	var watched []string
	for _, a := range addrs {
		e, err := classify(a)
		if err != nil || e.kind != kindTCP {
			continue
		}
		if e.named {
			return ctx, done
		}
		watched = append(watched, e.hostport)
	}
	if len(watched) == 0 {
		return ctx, done
	}
	slices.Sort(watched)
	watched = slices.Compact(watched)
	w := &wake{left: len(watched), end: end}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range watched {
		f := r.waiting[a]
		if f == nil {
			f = &refusal{waits: make(map[*wake]struct{})}
			r.waiting[a] = f
		}
		f.waits[w] = struct{}{}
		if f.refused {
			w.refuse()
		}
	}
	return ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, a := range watched {
			if f := r.waiting[a]; f != nil {
				delete(f.waits, w)
				if len(f.waits) == 0 {
					delete(r.waiting, a)
				}
			}
		}
		done()
	}
}
