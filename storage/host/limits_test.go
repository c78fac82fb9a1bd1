package host

import (
	"bytes"
	"testing"
	"time"

	"hearth/core/fault"
)

// A paused host serves what it has and takes nothing new.
func TestAPausedHostServesAndTakesNothing(t *testing.T) {
	d := newDoor(t, Config{}, ServerConfig{})
	d.till.pay(100 << 20)
	s := d.stream()
	data, root := shard(1, 300<<10)
	if err := send(s, root, data); err != nil {
		t.Fatal(err)
	}
	d.srv.Limit(Limits{Paused: true})
	other, otherRoot := shard(2, 300<<10)
	want(t, "paused", send(s, otherRoot, other), fault.HostFull)
	s = d.stream()
	got, err := fetch(s, root, int64(len(data)), 0, 0)
	if err != nil || !bytes.Equal(got, data) {
		t.Error("paused, it doesn't serve:", err)
	}
	d.srv.Limit(Limits{})
	if err := send(s, otherRoot, other); err != nil {
		t.Error("resumed:", err)
	}
}

// Each direction has its own limit, which holds for streams that are open already.
func TestBytesFlowNoFasterThanAllowed(t *testing.T) {
	d := newDoor(t, Config{}, ServerConfig{})
	d.till.pay(100 << 20)
	s := d.stream()
	const limit = 2 << 20
	d.srv.Limit(Limits{Down: limit})
	if l := d.srv.Limits(); l != (Limits{Down: limit}) {
		t.Errorf("the limits are %+v", l)
	}
	data, root := shard(1, 2<<20)
	least := time.Duration(float64(len(data)-burst) / limit * float64(time.Second))
	began := time.Now()
	if err := send(s, root, data); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < least {
		t.Errorf("%d bytes came in %s, %s at least are allowed", len(data), took, least)
	}
	d.srv.Limit(Limits{Up: limit})
	began = time.Now()
	if _, err := fetch(s, root, int64(len(data)), 0, 0); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < least {
		t.Errorf("%d bytes left in %s, %s at least are allowed", len(data), took, least)
	}
}
