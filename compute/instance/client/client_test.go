package client_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"hearth/compute/instance/client"
	"hearth/compute/sandbox"
	"hearth/compute/wire"
	"hearth/core/fault"
	"hearth/core/instance"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/p2p"
)

func TestAnInstanceLivesAsLongAsItIsSignedFor(t *testing.T) {
	w := newTown(t)
	i := w.create("web")
	s := w.stands("web", "running")
	if since := time.Since(s.Taken); s.CPU != time.Second || since < 0 || since > time.Minute || s.Host != "hearth1host" || s.Spec.Digest() != i.Spec.Digest() {
		t.Errorf("%+v", s)
	}
	r := instance.Roster{{ID: i.ID, Spec: i.Spec.Digest(), Units: i.Spec.Units()}}
	if w.desk.units != r.Units() || w.desk.root != r.Root() {
		t.Error("what is signed isn't what runs")
	}
	_, err := w.x.Create(t.Context(), "web", "app:1", "hearth1host", w.spec(), money.Max)
	want(t, "a second of the name", err, fault.Exists)
	w.create("db")
	want(t, "remove", w.x.Remove(t.Context(), "web", time.Second), "")
	want(t, "remove again", w.x.Remove(t.Context(), "web", 0), fault.NoInstance)
	w.stands("db", "running")
	want(t, "remove the other", w.x.Remove(t.Context(), "db", 0), "")
	if w.desk.units != (quote.Units{}) || w.desk.root != ([32]byte{}) {
		t.Errorf("%v are still signed for", w.desk.units)
	}
	until(t, "nothing is left at the host", func() bool {
		all, _ := w.engine.List(t.Context())
		return len(all) == 0 && w.images.inUse() == 0
	})
}

func TestWhatIsNotPaidRests(t *testing.T) {
	w := newTown(t)
	w.create("web")
	w.desk.pay(true)
	if s := w.stands("web", "paused"); !strings.Contains(s.Reason, "signed time") {
		t.Errorf("nobody says why: %q", s.Reason)
	}
	w.desk.pay(false)
	if s := w.stands("web", "running"); s.Reason != "" {
		t.Errorf("it runs, and yet: %q", s.Reason)
	}
}

func TestAHostWithoutRoomReservesNothing(t *testing.T) {
	w := newTown(t)
	big := w.spec()
	big.CPU = 4000
	_, err := w.x.Create(t.Context(), "big", "app:1", "hearth1host", big, money.Max)
	want(t, "more cores than there are", err, fault.HostFull)
	if all, err := w.x.List(t.Context()); err != nil || len(all) != 0 || w.desk.signed != 0 {
		t.Errorf("%v are listed, %d statements signed, %v", all, w.desk.signed, err)
	}
}

func TestNothingIsReservedThatCostsMoreThanIsAllowed(t *testing.T) {
	w := newTown(t)
	_, err := w.x.Create(t.Context(), "web", "app:1", "hearth1host", w.spec(), money.Ember-1)
	want(t, "create", err, fault.PriceTooHigh)
	if all, err := w.x.List(t.Context()); err != nil || len(all) != 0 || w.desk.signed != 0 || w.visits.Load() != 0 {
		t.Errorf("%v are listed, %d statements signed, %v", all, w.desk.signed, err)
	}
}

// What the machine took down with it runs again; what was stopped waits to be started.
func TestWhatWasLostRunsAgain(t *testing.T) {
	w := newTown(t)
	i := w.create("web")
	name := hex.EncodeToString(i.ID[:])
	if err := w.engine.with(name, func(b *box) { b.state.Phase, b.state.Reason = sandbox.Ended, sandbox.Lost }); err != nil {
		t.Fatal(err)
	}
	w.stands("web", "running")
	want(t, "stop", w.x.Stop(t.Context(), "web", 0), "")
	if s := w.stands("web", "exited"); s.Exit != 143 {
		t.Errorf("%+v", s)
	}
	want(t, "start", w.x.Start(t.Context(), "web"), "")
	w.stands("web", "running")
	if w.images.inUse() != 1 {
		t.Errorf("its image is held %d times", w.images.inUse())
	}
}

// Also where its host was brought back without it: nothing is paid for what isn't there.
func TestWhatItsHostHasLostIsSignedOff(t *testing.T) {
	w := newTown(t)
	w.create("web")
	w.create("db")
	w.open(t.TempDir())
	w.stands("web", "gone")
	want(t, "remove", w.x.Remove(t.Context(), "web", 0), "")
	if w.desk.units != (quote.Units{}) || w.desk.root != ([32]byte{}) {
		t.Errorf("%v are still signed for", w.desk.units)
	}
	want(t, "remove the other", w.x.Remove(t.Context(), "db", 0), "")
	w.create("web")
	w.stands("web", "running")
}

// While a change is being signed another device's waits: neither is lost.
func TestTwoDevicesChangeOneRosterAfterEachOther(t *testing.T) {
	w := newTown(t)
	second, ended := w.device(), make(chan error, 1)
	w.desk.signing = func() {
		before := w.visits.Load()
		go func() {
			_, err := second.Create(t.Context(), "db", "app:1", "hearth1host", w.spec(), money.Max)
			ended <- err
		}()
		until(t, "the other device asks again", func() bool { return w.visits.Load() >= before+3 })
	}
	w.create("web")
	want(t, "the other device's", <-ended, "")
	w.stands("web", "running")
	w.stands("db", "running")
}

func TestALeaseThatIsEndingIsKeptNoRoom(t *testing.T) {
	w := newTown(t)
	w.desk.closing = true
	_, err := w.x.Create(t.Context(), "web", "app:1", "hearth1host", w.spec(), money.Max)
	want(t, "create", err, fault.LeaseClosed)
	if left := w.h.Left(); left[0] != 2*quote.GiB {
		t.Errorf("%v are left", left)
	}
}

// Its client is told why what was lost doesn't run again, and can help.
func TestWhatCannotRunAgainSaysWhy(t *testing.T) {
	w := newTown(t)
	i := w.create("web")
	w.images.forget()
	if err := w.engine.with(hex.EncodeToString(i.ID[:]), func(b *box) { b.state.Phase, b.state.Reason = sandbox.Ended, sandbox.Lost }); err != nil {
		t.Fatal(err)
	}
	until(t, "the reason is told", func() bool { return strings.Contains(w.stands("web", "exited").Reason, "nobody to ask for it") })
	before, looked := w.images.asked.Load(), w.engine.looked.Load()
	until(t, "the host has looked often", func() bool { return w.engine.looked.Load() > looked+200 })
	if n := w.images.asked.Load() - before; n > 20 {
		t.Errorf("it was tried %d times more", n)
	}
	want(t, "start", w.x.Start(t.Context(), "web"), "")
	if s := w.stands("web", "running"); s.Reason != "" {
		t.Errorf("it runs, and yet: %q", s.Reason)
	}
}

// What may be paid for is never forgotten.
func TestALostAnswerLosesNoInstance(t *testing.T) {
	w := newTown(t)
	w.desk.lost = true
	_, err := w.x.Create(t.Context(), "web", "app:1", "hearth1host", w.spec(), money.Max)
	want(t, "create", err, fault.HostUnreachable)
	w.desk.mu.Lock()
	w.desk.lost = false
	w.desk.mu.Unlock()
	w.stands("web", "reserved")
	want(t, "remove", w.x.Remove(t.Context(), "web", 0), "")
	if w.desk.units != (quote.Units{}) {
		t.Errorf("%v are still signed for", w.desk.units)
	}
}

// What broke off between signature and start is shown, and can be gone on with.
func TestAnInstanceThatDidNotStartCanBeStarted(t *testing.T) {
	w := newTown(t)
	s := w.spec()
	blobs := w.images.blobs
	w.images.blobs = nil
	_, err := w.x.Create(t.Context(), "web", "app:1", "hearth1host", s, money.Max)
	want(t, "without its image", err, fault.NotFound)
	if !strings.Contains(err.Error(), "stays reserved, and paid for") {
		t.Error(err)
	}
	w.stands("web", "reserved")
	w.images.blobs = blobs
	want(t, "start", w.x.Start(t.Context(), "web"), "")
	w.stands("web", "running")
	want(t, "start again", w.x.Start(t.Context(), "web"), "")
}

// Also where the host has seen enough before it has all.
func TestWhatCanNeverRunIsNotPaidFor(t *testing.T) {
	w := newTown(t)
	s := w.spec()
	s.User = "ghost"
	_, err := w.x.Create(t.Context(), "web", "app:1", "hearth1host", s, money.Max)
	want(t, "as somebody whom the image doesn't know", err, fault.BadRequest)
	for name, size := range map[string]int{"small": 1000, "middling": 1 << 20, "large": 40 << 20} {
		w.images.refuse = fault.New(fault.TooLarge, "it is a bomb")
		s.Image = w.images.add(bytes.Repeat([]byte(name[:1]), size))
		_, err = w.x.Create(t.Context(), "web", "app:1", "hearth1host", s, money.Max)
		want(t, name+" bomb", err, fault.TooLarge)
	}
	if all, err := w.x.List(t.Context()); err != nil || len(all) != 0 || w.desk.root != [32]byte{} {
		t.Errorf("%v are listed, of %x is signed, %v", all, w.desk.root, err)
	}
}

// A roster that isn't what was asked for is never signed, nor one that has changed
// behind the account's back.
func TestOnlyWhatWasAskedForIsSigned(t *testing.T) {
	w := newTown(t)
	w.create("web")
	signed := w.desk.signed
	more := w.spec()
	more.CPU = 1500
	honest, err := instance.DecodeRoster(instance.Roster{{ID: instance.ID{1}, Spec: more.Digest(), Units: more.Units()}}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	w.nodes[1].Handle(client.Protocol, func(_ context.Context, s p2p.Stream) {
		defer s.Close()
		for {
			var o wire.Order
			if p2p.ReadFrame(s, &o, p2p.MaxFrame) != nil {
				return
			}
			answer := &wire.Told{Answer: &wire.Told_Roster{Roster: honest.Encode()}}
			if o.GetShow() != nil {
				answer = &wire.Told{Answer: &wire.Told_Shown{Shown: &wire.Shown{Roster: honest.Encode(), Standing: []*wire.Standing{{State: "running"}}}}}
			}
			if p2p.WriteFrame(s, answer) != nil {
				return
			}
		}
	})
	_, err = w.x.Create(t.Context(), "db", "app:1", "hearth1host", w.spec(), money.Max)
	want(t, "a host that shows another roster", err, fault.Stale)
	if w.desk.signed != signed {
		t.Error("it was signed")
	}
}

// An image is minutes on its way: nobody else waits for it, and who is tired of waiting
// goes.
func TestOthersDoNotWaitForAnImageOnItsWay(t *testing.T) {
	w := newTown(t)
	w.create("web")
	w.images.hold = make(chan struct{})
	spec := w.spec()
	spec.Image = w.images.add([]byte("another image"))
	slow := make(chan error, 1)
	go func() {
		_, err := w.x.Create(t.Context(), "slow", "app:2", "hearth1host", spec, money.Max)
		slow <- err
	}()
	w.stands("slow", "reserved")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	want(t, "remove another", w.x.Remove(ctx, "web", 0), "")
	close(w.images.hold)
	want(t, "the slow one", <-slow, "")
}

func TestWhoWaitsForAChangeCanGo(t *testing.T) {
	w := newTown(t)
	w.create("web")
	held, let := make(chan struct{}), make(chan struct{})
	w.nodes[1].Handle(client.Protocol, func(ctx context.Context, s p2p.Stream) {
		close(held)
		<-let
		w.h.Serve(ctx, s)
	})
	first := make(chan error, 1)
	go func() { first <- w.x.Remove(t.Context(), "web", 0) }()
	<-held
	w.nodes[1].Handle(client.Protocol, w.h.Serve)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.x.Remove(ctx, "web", 0); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := w.x.Create(ctx, "db", "app:1", "hearth1host", w.spec(), money.Max); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(let)
	want(t, "the first", <-first, "")
}

// A host may have each part of the image that it starts, once, and no other blob of the
// account.
func TestAHostGetsTheImageAndNothingElse(t *testing.T) {
	w := newTown(t)
	config, layer, own, secret := []byte("{}"), []byte("layer"), []byte("another layer"), []byte("another image's")
	part := func(b []byte) map[string]any {
		w.images.add(b)
		return map[string]any{"digest": digest.FromBytes(b), "size": len(b)}
	}
	document := func(v map[string]any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	manifest := document(map[string]any{"config": part(config), "layers": []any{part(layer), part(own), part(layer)}})
	rival := document(map[string]any{"config": part([]byte("{ }")), "layers": []any{}})
	index := document(map[string]any{"manifests": []any{part(manifest), part(rival)}})
	w.images.add(index)
	w.images.add(secret)
	for what, tt := range map[string]struct {
		image []byte
		asks  [][]byte
		given int
	}{
		"all of it":                   {manifest, [][]byte{manifest, config, layer, own, layer}, 5},
		"a part again":                {manifest, [][]byte{manifest, config, config}, 2},
		"a layer once too often":      {manifest, [][]byte{manifest, layer, layer, layer}, 3},
		"the manifest again":          {manifest, [][]byte{manifest, manifest}, 1},
		"another image's":             {manifest, [][]byte{manifest, secret}, 1},
		"a layer before its manifest": {manifest, [][]byte{layer}, 0},
		"of an index":                 {index, [][]byte{index, manifest, config, own}, 4},
		"both of an index":            {index, [][]byte{index, manifest, rival}, 2},
		"a layer of an unasked one":   {index, [][]byte{index, config}, 1},
		"what isn't a manifest":       {secret, [][]byte{secret, layer}, 1},
	} {
		given := make(chan int, 1)
		w.nodes[1].Handle(client.Protocol, w.h.Serve)
		s := w.spec()
		s.Image = sha256.Sum256(tt.image)
		w.images.mu.Lock()
		w.images.unpacked[digest.FromBytes(tt.image)] = true
		w.images.mu.Unlock()
		if _, err := w.x.Create(t.Context(), "web", "app:1", "hearth1host", s, money.Max); err != nil {
			t.Fatal(err)
		}
		w.nodes[1].Handle(client.Protocol, func(_ context.Context, s p2p.Stream) { given <- asking(s, tt.asks) })
		err := w.x.Start(t.Context(), "web")
		if n := <-given; n != tt.given || (err == nil) != (tt.given == len(tt.asks)) {
			t.Errorf("%s: %d of %d were given, %v", what, n, len(tt.asks), err)
		}
		w.nodes[1].Handle(client.Protocol, w.h.Serve)
		want(t, "remove", w.x.Remove(t.Context(), "web", 0), "")
	}
}

// asking is a host that asks for these blobs, and says how many it got.
func asking(s p2p.Stream, blobs [][]byte) (given int) {
	defer s.Close()
	var o wire.Order
	if p2p.ReadFrame(s, &o, p2p.MaxFrame) != nil {
		return -1
	}
	for _, b := range blobs {
		sum := sha256.Sum256(b)
		var have wire.Have
		if p2p.WriteFrame(s, &wire.Told{Answer: &wire.Told_Need{Need: &wire.Need{Digest: sum[:], Most: 1 << 20}}}) != nil || p2p.ReadFrame(s, &have, p2p.MaxFrame) != nil {
			return given
		}
		got := make([]byte, have.Size)
		if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, b) {
			return given
		}
		given++
	}
	if p2p.WriteFrame(s, &wire.Told{}) != nil {
		return -1
	}
	return given
}

func TestInstancesOfALeaseThatEndedAreGone(t *testing.T) {
	w := newTown(t)
	w.create("web")
	w.desk.mu.Lock()
	w.desk.ended = true
	w.desk.mu.Unlock()
	w.stands("web", "gone")
	_, err := w.x.Exec(t.Context(), "web", client.Program{Args: []string{"cat"}}, client.Streams{Out: io.Discard})
	want(t, "run a program in it", err, fault.NoInstance)
	want(t, "remove it", w.x.Remove(t.Context(), "web", 0), "")
	if all, err := w.x.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
}

// A host that keeps what is to be gone isn't paid for it for ever.
func TestAHostThatDoesNotRemoveIsNotPaidOn(t *testing.T) {
	w := newTown(t)
	w.create("web")
	w.create("db")
	w.nodes[1].Handle(client.Protocol, func(_ context.Context, s p2p.Stream) { s.Close() })
	err := w.x.Remove(t.Context(), "web", 0)
	if want(t, "remove", err, fault.HostUnreachable); !strings.Contains(err.Error(), "as long as 1 others") {
		t.Errorf("another is there, and: %v", err)
	}
	w.nodes[1].Handle(client.Protocol, w.h.Serve)
	want(t, "one of two stays", w.x.Holds(t.Context(), pair{w}, 10*time.Minute), "")
	w.nodes[1].Handle(client.Protocol, func(_ context.Context, s p2p.Stream) { s.Close() })
	err = w.device().Remove(t.Context(), "db", 0)
	if want(t, "remove", err, fault.HostUnreachable); !strings.Contains(err.Error(), "its pay ends in 10m0s") {
		t.Errorf("when its pay ends isn't said: %v", err)
	}
	w.nodes[1].Handle(client.Protocol, w.h.Serve)
	want(t, "all are to be gone", w.x.Holds(t.Context(), pair{w}, 10*time.Minute), fault.HostRefused)
	if s := w.stands("web", "running"); s.Leaving == 0 || s.Reason == "" {
		t.Errorf("%+v", s)
	}
	want(t, "start what was to be gone", w.x.Start(t.Context(), "db"), "")
	want(t, "it stays", w.x.Holds(t.Context(), pair{w}, 10*time.Minute), "")
	want(t, "remove once more", w.x.Remove(t.Context(), "web", 0), "")
	if s := w.stands("db", "running"); s.Leaving != 0 {
		t.Errorf("%+v", s)
	}
}

// Unreachable isn't gone: its record stays, and it is there when its host is.
func TestAHostThatDoesNotAnswerHasLostNothing(t *testing.T) {
	w := newTown(t)
	w.create("web")
	w.nodes[1].Handle(client.Protocol, func(_ context.Context, s p2p.Stream) { s.Close() })
	w.stands("web", "unreachable")
	want(t, "remove", w.x.Remove(t.Context(), "web", 0), fault.HostUnreachable)
	w.nodes[1].Handle(client.Protocol, w.h.Serve)
	w.stands("web", "running")
}

func TestABadNameIsRefused(t *testing.T) {
	w := newTown(t)
	for _, name := range []string{"", "A", "-a", strings.Repeat("a", 64), "../x"} {
		_, err := w.x.Create(t.Context(), name, "app:1", "hearth1host", w.spec(), money.Max)
		want(t, name, err, fault.BadName)
	}
}
