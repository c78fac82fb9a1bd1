package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"hearth/core/fault"
	"hearth/storage/index"
)

func TestTooFewHostsMeanPendingAndAreCompletedLater(t *testing.T) {
	f := newFleet(t, 6, gib)
	c := newClient(t, f)
	f.machines[4].dead.Store(true)
	b := random(20 << 20)
	res := put(t, c, ref, b)
	if res.Pending != 2 || res.Hosts != 5 {
		t.Fatalf("%+v", res)
	}
	wantContent(t, c, ref, b)
	// After a restart the work is still known, and done when there is a host again.
	f.machines[4].dead.Store(false)
	c2 := reopen(t, f, c)
	until(t, c2)
	_, health, err := c2.Health(t.Context(), ref)
	if err != nil || health[0].Held != 6 || health[1].Held != 6 {
		t.Errorf("health %+v, %v", health, err)
	}
	wantContent(t, c2, ref, b)
}

// reopen is what a new process on the same folder sees.
func reopen(t testing.TB, f *fleet, c *Client) *Client { return reopenWith(t, f, c, nil) }

func reopenWith(t testing.TB, f *fleet, c *Client, change func(*Config)) *Client {
	t.Helper()
	c.Close()
	if err := c.c.Index.Close(); err != nil {
		t.Fatal(err)
	}
	return f.client(t, c.c.Index.Path(), change)
}

func TestFarTooFewHostsLeaveNothing(t *testing.T) {
	f := newFleet(t, 6, gib)
	c := newClient(t, f)
	f.machines[1].dead.Store(true)
	f.machines[2].broke.Store(true)
	_, err := c.Put(t.Context(), ref, bytes.NewReader(random(20<<20)), PutOptions{})
	wantCode(t, err, fault.NotEnoughHosts)
	_, err = c.c.Index.Head(t.Context(), ref)
	wantCode(t, err, fault.NotFound)
	f.machines[1].dead.Store(false)
	until(t, c)
	if n := f.stored(); n != 0 {
		t.Errorf("%d bytes are still paid for", n)
	}
}

func TestHostsThatTakeAndDontSignAreReplaced(t *testing.T) {
	f := newFleet(t, 8, gib)
	c := newClient(t, f)
	f.machines[1].unsure.Store(true)
	b := random(20 << 20)
	res := put(t, c, ref, b)
	if res.Pending > 0 {
		t.Errorf("%d shards pending", res.Pending)
	}
	wantContent(t, c, ref, b)
	f.machines[1].unsure.Store(false)
	c.Work(t.Context())
	if w := work(t, c); w.Removals != 2 {
		t.Errorf("left to do: %+v", w) // what it took waits there for a statement
	}
	f.pass(25 * time.Hour)
	until(t, c)
}

func TestHostsDieInTheMiddle(t *testing.T) {
	f := newFleet(t, 9, gib)
	c := newClient(t, f)
	f.machines[0].dieAt.Store(3 << 20)
	f.machines[1].dieAt.Store(1 << 20)
	b := random(30 << 20)
	res := put(t, c, ref, b)
	if res.Pending > 0 {
		t.Errorf("%d shards pending", res.Pending)
	}
	f.machines[2].dieAt.Store(2 << 20)
	wantContent(t, c, ref, b)
	wantContent(t, c, ref, b)
}

func TestRemovedObjectsFreeTheirHosts(t *testing.T) {
	f := newFleet(t, 6, gib)
	c := newClient(t, f)
	keep := random(100_000)
	put(t, c, index.Ref{Bucket: "town", Key: "keep"}, keep)
	before := f.stored()
	put(t, c, ref, random(13<<20))
	put(t, c, ref, random(1<<20)) // replaces
	until(t, c)
	if _, err := c.Remove(t.Context(), ref, index.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	f.machines[3].dead.Store(true)
	c.Work(t.Context())
	if w := work(t, c); w.Removals != 1 {
		t.Errorf("left to do: %+v", w)
	}
	f.machines[3].dead.Store(false)
	f.pass(time.Minute)
	until(t, c)
	if after := f.stored(); after != before {
		t.Errorf("%d bytes are paid for, %d before", after, before)
	}
	wantContent(t, c, index.Ref{Bucket: "town", Key: "keep"}, keep)
	_, err := c.Get(t.Context(), ref, io.Discard, GetOptions{})
	wantCode(t, err, fault.NotFound)
	// What lies under a lease that has ended needs no removing.
	if _, err := c.Remove(t.Context(), index.Ref{Bucket: "town", Key: "keep"}, index.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	f.machines[0].gone.Store(true)
	c.forget(f.machines[0].lease)
	until(t, c)
}

// A process that was killed in the middle of an upload leaves nothing at hosts.
func TestKilledUploadsAreReclaimed(t *testing.T) {
	f := newFleet(t, 6, gib)
	c := newClient(t, f)
	id, err := c.c.Index.Begin(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	b := random(13 << 20)
	o := PutOptions{Class: c.c.Class}
	if _, err := c.put(t.Context(), id, ref, nil, io.MultiReader(bytes.NewReader(b), killed{}), o); !errors.Is(err, errKilled) {
		t.Fatalf("%v", err)
	}
	c2 := reopen(t, f, c)
	until(t, c2)
	if n := f.stored(); n != 0 {
		t.Errorf("%d bytes are still paid for", n)
	}
}

var errKilled = errors.New("killed")

type killed struct{}

func (killed) Read([]byte) (int, error) { return 0, errKilled }

func TestInterruptedPutsListNothing(t *testing.T) {
	f := newFleet(t, 6, gib)
	c := newClient(t, f)
	ctx, cancel := context.WithCancel(t.Context())
	src := io.MultiReader(bytes.NewReader(random(14<<20)), readerFunc(func([]byte) (int, error) {
		cancel()
		<-ctx.Done()
		return 0, ctx.Err()
	}))
	_, err := c.Put(ctx, ref, src, PutOptions{})
	wantCode(t, err, fault.Interrupted)
	_, err = c.Put(t.Context(), ref, io.MultiReader(bytes.NewReader(random(5000)), readerFunc(func([]byte) (int, error) {
		return 0, io.ErrUnexpectedEOF
	})), PutOptions{})
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a source that was cut short: %v", err)
	}
	_, err = c.c.Index.Head(t.Context(), ref)
	wantCode(t, err, fault.NotFound)
	until(t, c)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
