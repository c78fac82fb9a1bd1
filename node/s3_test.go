package node

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"hearth/api"
)

// fallingDoor is open until it falls or is closed.
type fallingDoor struct {
	ready chan struct{}
	falls chan error
}

func (f fallingDoor) Ready() <-chan struct{} { return f.ready }

func (f fallingDoor) Serve(ctx context.Context) error {
	select {
	case err := <-f.falls:
		return err
	case <-ctx.Done():
		return nil
	}
}

// A door that ends by itself isn't shown as open; why is said, and it can be opened
// again and closed.
func TestADoorThatFellIsNotOpen(t *testing.T) {
	d := &hinge[api.S3Door]{fallen: func(was api.S3Door, err error) api.S3Door {
		return api.S3Door{Problem: was.Endpoint + ": " + err.Error()}
	}}
	serve := func(f fallingDoor) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		_, err := d.serve(f, api.S3Door{Open: true, Endpoint: "http://there"})
		return err
	}
	state := d.shown
	first := fallingDoor{make(chan struct{}), make(chan error, 1)}
	close(first.ready)
	if err := serve(first); err != nil || !state().Open {
		t.Fatalf("%+v, %v", state(), err)
	}
	first.falls <- errors.New("accept: too many open files")
	for end := time.Now().Add(2 * time.Minute); state().Open && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if got := state(); got.Open || !strings.Contains(got.Problem, "http://there: accept: too many open files") {
		t.Fatalf("it fell: %+v", got)
	}
	second := fallingDoor{first.ready, make(chan error, 1)}
	if err := serve(second); err != nil || !state().Open || state().Problem != "" {
		t.Fatalf("opened again: %+v, %v", state(), err)
	}
	d.close()
	if state() != (api.S3Door{}) {
		t.Errorf("closed: %+v", state())
	}
	never := fallingDoor{make(chan struct{}), make(chan error, 1)}
	never.falls <- errors.New("address taken")
	if err := serve(never); err == nil || state().Open || d.end != nil {
		t.Errorf("a door that never opened: %+v, %v", state(), err)
	}
}
