package node

import (
	"context"
	"sync"
)

// served is what a door does.
type served interface {
	Serve(ctx context.Context) error
	Ready() <-chan struct{}
}

// A hinge opens and closes a door. S is what is shown of one; its zero is closed.
type hinge[S any] struct {
	// fallen is told that a door ended by itself, and gives what is shown then.
	fallen func(was S, err error) S

	mu    sync.Mutex
	state S
	end   context.CancelFunc // nil: it is closed
	ended chan struct{}
}

// serve returns when the door is open, and takes note when it ends by itself. The
// caller holds mu.
func (h *hinge[S]) serve(door served, state S) (S, error) {
	ctx, end := context.WithCancel(context.Background())
	failed, ended := make(chan error, 1), make(chan struct{})
	go func() {
		err := door.Serve(ctx)
		failed <- err
		close(ended)
		if ctx.Err() == nil {
			h.fell(ended, err)
		}
	}()
	select {
	case err := <-failed:
		end()
		return h.state, err
	case <-door.Ready():
	}
	h.state, h.end, h.ended = state, end, ended
	return state, nil
}

// fell notes that the door that ended so isn't open any more, unless it is another
// by now.
func (h *hinge[S]) fell(ended chan struct{}, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.end == nil || h.ended != ended {
		return
	}
	h.end()
	h.end, h.state = nil, h.fallen(h.state, err)
}

func (h *hinge[S]) shown() S {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state
}

// set shows s of a door that isn't open.
func (h *hinge[S]) set(s S) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.end == nil {
		h.state = s
	}
}

func (h *hinge[S]) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.end != nil {
		var closed S
		h.end()
		<-h.ended
		h.end, h.state = nil, closed
	}
}
