package node

import (
	"context"
	"sync"

	"hearth/api"
)

// news hands events to everybody who listens. Who is slow misses some: an event
// is a courtesy, what matters is in the records.
type news struct {
	mu        sync.Mutex
	listeners map[chan api.Event]bool
}

const newsBacklog = 64

func (n *news) tell(e api.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for l := range n.listeners {
		select {
		case l <- e:
		default:
		}
	}
}

func (n *news) listen(ctx context.Context, tell func(api.Event) error) error {
	ch := make(chan api.Event, newsBacklog)
	n.mu.Lock()
	if n.listeners == nil {
		n.listeners = map[chan api.Event]bool{}
	}
	n.listeners[ch] = true
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		delete(n.listeners, ch)
		n.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-ch:
			if err := tell(e); err != nil {
				return err
			}
		}
	}
}
