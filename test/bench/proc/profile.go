package proc

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

// Profile writes a CPU profile of so many seconds of the node that serves its
// API at socket.
func Profile(ctx context.Context, socket string, seconds int, file string) error {
	return save(ctx, socket, fmt.Sprintf("/debug/pprof/profile?seconds=%d", seconds), file)
}

// Heap writes a profile of what that node has in memory.
func Heap(ctx context.Context, socket, file string) error {
	return save(ctx, socket, "/debug/pprof/heap", file)
}

func save(ctx context.Context, socket, path, file string) error {
	b, err := Fetch(ctx, socket, path)
	if err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o644)
}

// Fetch gets what that node serves at a path, such as /metrics.
func Fetch(ctx context.Context, socket, path string) ([]byte, error) {
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	defer c.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://node"+path, nil)
	if err != nil {
		return nil, err
	}
	answer, err := c.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch %s: %s", path, answer.Status)
	}
	return io.ReadAll(answer.Body)
}
