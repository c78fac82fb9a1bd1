package p2p

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// idle closes libp2p connections that have carried no stream for a while. The
// connection manager alone would keep them all up to its high mark.
type idle struct {
	network network.Network
	limit   time.Duration
	ignore  string // prefix of protocols whose open streams don't count as use: the DHT keeps its own for later

	mu   sync.Mutex
	used map[string]time.Time // connection -> last seen in use
}

func newIdle(n network.Network, limit time.Duration, ignore string) *idle {
	return &idle{network: n, limit: limit, ignore: ignore, used: make(map[string]time.Time)}
}

// touch notes that c is in use.
func (i *idle) touch(c network.Conn) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.used[c.ID()] = time.Now()
}

// watch looks four times in a limit.
func (i *idle) watch(ctx context.Context) {
	tick := time.NewTicker(max(i.limit/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, c := range i.stale(now) {
				c.Close()
			}
		}
	}
}

// stale finds the connections to close, and forgets those that are gone.
func (i *idle) stale(now time.Time) []network.Conn {
	i.mu.Lock()
	defer i.mu.Unlock()
	var old []network.Conn
	used := make(map[string]time.Time)
	for _, c := range i.network.Conns() {
		last, known := i.used[c.ID()]
		switch {
		case !known || i.inUse(c):
			last = now
		case now.Sub(last) >= i.limit:
			old = append(old, c)
			continue
		}
		used[c.ID()] = last
	}
	i.used = used
	return old
}

func (i *idle) inUse(c network.Conn) bool {
	return slices.ContainsFunc(c.GetStreams(), func(s network.Stream) bool {
		return !strings.HasPrefix(string(s.Protocol()), i.ignore)
	})
}
