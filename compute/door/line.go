package door

import (
	"context"
	"time"

	"hearth/compute/client"
	"hearth/core/fault"
)

// line is how long a call of a function whose calls run one after another waits to be
// among the next.
const line = 30 * time.Second

// enter takes a place in a queue, if there is one in time.
func enter(ctx context.Context, places chan struct{}, patience time.Duration) (leave func(), err error) {
	wait := time.NewTimer(patience)
	defer wait.Stop()
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-wait.C:
		return nil, fault.New(fault.Busy, "%d calls run already", cap(places))
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// stand has the calls of a function with a store stand in line, since they run one after
// another: a few have turns, or those of all others would be theirs.
func (d *Door) stand(ctx context.Context, f client.Function) (leave func(), err error) {
	if f.Store == 0 {
		return func() {}, nil
	}
	d.mu.Lock()
	places := d.lines[f.Name]
	if places == nil {
		places = make(chan struct{}, max(1, d.c.AtOnce/4))
		d.lines[f.Name] = places
	}
	d.mu.Unlock()
	return enter(ctx, places, line)
}
