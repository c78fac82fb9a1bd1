package node

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hearth/api"
	"hearth/core/fault"
)

// A door that the settings want and that can't be opened says why, and can be opened
// elsewhere.
func TestADoorOfFunctionsThatIsTakenSaysSo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	n := &Node{log: slog.New(slog.DiscardHandler), metrics: prometheus.NewRegistry(), settings: Default(), buys: &buying{}}
	n.settings.Client.FunctionDoor.Listen = l.Addr().String()
	d, err := newFunctionDoor(n)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() { d.run(ctx); close(over) }()
	for end := time.Now().Add(2 * time.Minute); d.shown().Problem == "" && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if s := d.shown(); s.Open || !strings.Contains(s.Problem, l.Addr().String()) {
		t.Errorf("taken: %+v", s)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := api.FunctionListen{Listen: free.Addr().String()}
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err := d.Open(ctx, at); err != nil || !s.Open || s.Problem != "" || s.Endpoint != "http://"+at.Listen || s.Rate != 20 {
		t.Errorf("elsewhere: %+v, %v", s, err)
	}
	if _, err := d.Open(ctx, at); fault.CodeOf(err) != fault.Exists {
		t.Errorf("again: %v", err)
	}
	cancel()
	<-over
	if s := d.shown(); s != (api.FunctionDoor{}) {
		t.Errorf("the node has ended: %+v", s)
	}
}
