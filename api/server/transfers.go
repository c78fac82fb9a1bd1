package server

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/sse"

	"hearth/api"
	"hearth/core/fault"
)

const (
	transfersMax  = 1024                   // with a name; ended ones make room for new ones
	transferKept  = time.Minute            // after its end
	transferTick  = 200 * time.Millisecond // between two events of one
	transferAwait = 10 * time.Second       // for one that is asked for before it began
)

// transfers are the uploads and downloads that go on, or have just ended, whose
// caller gave them a name. It is safe for concurrent use.
type transfers struct {
	now   func() time.Time
	mu    sync.Mutex
	known map[string]*transfer
	ended []*transfer // of known, the one that ended first in front
}

type transfer struct {
	of    *transfers // nil: it has no name
	mu    sync.Mutex
	state api.Transfer
	ended time.Time
}

func newTransfers(now func() time.Time) *transfers {
	return &transfers{now: now, known: map[string]*transfer{}}
}

// begin starts to keep account of a transfer. Without a name nobody asks, and
// nothing is kept.
func (t *transfers) begin(id, kind, bucket, key string, total int64) (*transfer, error) {
	fresh := &transfer{state: api.Transfer{
		ID: id, Kind: kind, Bucket: bucket, Key: key, Started: t.now().UTC(),
		Progress: api.Progress{Total: total},
	}}
	if id == "" {
		return fresh, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	for len(t.ended) > 0 && (len(t.known) >= transfersMax || t.ended[0].over(now)) {
		old := t.ended[0]
		t.ended = t.ended[1:]
		if t.known[old.state.ID] == old {
			delete(t.known, old.state.ID)
		}
	}
	if old, taken := t.known[id]; taken && !old.look().Done {
		return nil, fault.New(fault.Exists, "begin transfer %q: the name is in use", id)
	}
	if len(t.known) >= transfersMax {
		return nil, fault.New(fault.Busy, "begin transfer %q: %d go on already", id, len(t.known))
	}
	fresh.of = t
	t.known[id] = fresh
	return fresh, nil
}

func (t *transfers) find(id string) (*transfer, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	found, ok := t.known[id]
	return found, ok
}

func (t *transfer) over(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state.Done && now.Sub(t.ended) > transferKept
}

// report takes in progress. Counts only rise, whoever reports late.
func (t *transfer) report(p api.Progress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	have := &t.state.Progress
	have.Bytes = max(have.Bytes, p.Bytes)
	have.Total = max(have.Total, p.Total)
	have.Shards = max(have.Shards, p.Shards)
	have.Hosts = max(have.Hosts, p.Hosts)
}

func (t *transfer) end(now time.Time, err error) {
	t.mu.Lock()
	t.state.Done, t.ended = true, now
	t.state.Problem = api.ProblemOf(err)
	t.mu.Unlock()
	if t.of != nil {
		t.of.mu.Lock()
		defer t.of.mu.Unlock()
		t.of.ended = append(t.of.ended, t)
	}
}

func (t *transfer) look() api.Transfer {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state
}

type transferName struct {
	ID string `path:"id" minLength:"1" maxLength:"64" doc:"Name the caller gave in the header Hearth-Transfer"`
}

func (s *Server) transferRoutes() {
	route(s, huma.Operation{
		OperationID: "transfer", Method: http.MethodGet, Path: "/v1/transfers/{id}", Tags: []string{"objects"},
		Summary: "How far an upload or download is, or how it ended within the last minute",
	}, func(_ context.Context, in *transferName) (*body[api.Transfer], error) {
		t, ok := s.transfers.find(in.ID)
		if !ok {
			return nil, fault.New(fault.NotFound, "look at transfer %q: no such transfer", in.ID)
		}
		return &body[api.Transfer]{t.look()}, nil
	})
	follow := huma.Operation{
		OperationID: "transfer-events", Method: http.MethodGet, Path: "/v1/transfers/{id}/events", Tags: []string{"objects"},
		Summary:     "Follow an upload or download until it ends",
		Description: "May be asked for before the transfer begins. The last event has done set; none comes where no such transfer begins within ten seconds.",
	}
	describeProblem(s.api, &follow)
	sse.Register(s.api, follow, map[string]any{"progress": api.Transfer{}}, func(ctx context.Context, in *transferName, send sse.Sender) {
		s.follow(ctx, in.ID, func(t api.Transfer) error { return send.Data(t) })
	})
}

// follow tells of a transfer whenever it has changed, until it has ended, its
// reader is gone, or it doesn't begin in time.
func (s *Server) follow(ctx context.Context, id string, tell func(api.Transfer) error) {
	tick := time.NewTicker(transferTick)
	defer tick.Stop()
	var last api.Transfer
	for waited := time.Duration(0); ; waited += transferTick {
		if t, ok := s.transfers.find(id); ok {
			now := t.look()
			if now != last {
				if tell(now) != nil || now.Done {
					return
				}
				last = now
			}
		} else if last.ID != "" || waited > transferAwait {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
