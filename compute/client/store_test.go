package client

import (
	"bytes"
	"context"
	"maps"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"hearth/compute/wire"
	"hearth/core/call"
	"hearth/core/fault"
	"hearth/core/store"
)

// counting is a client with a function "count" that counts its calls in its store.
func (w *town) counting(change ...func(c *Config)) *Client {
	w.t.Helper()
	x := w.client(append(change, func(c *Config) {
		if c.Device == 0 {
			c.Device = 7
		}
	})...)
	if _, err := x.Deploy(w.t.Context(), Function{Name: "count", Store: 1000}, module(2)); err != nil {
		w.t.Fatal(err)
	}
	return x
}

// calls is what the function has counted, as the store of x has it.
func calls(t testing.TB, x *Client) int {
	t.Helper()
	s, _, err := x.Stored(t.Context(), "count")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := s.Get("calls")
	n, _ := strconv.Atoi(string(b))
	return n
}

func TestAFunctionFindsWhatItKept(t *testing.T) {
	w := newTown(t, 2)
	dir := t.TempDir()
	x := w.counting(func(c *Config) { c.Dir = dir })
	for n := range 5 {
		res, err := x.Invoke(t.Context(), "count", Wish{Input: []byte("in")})
		if err != nil || string(res.Output) != "IN" || calls(t, x) != n+1 {
			t.Fatalf("%d calls, %q, %v", calls(t, x), res.Output, err)
		}
	}
	x = w.counting(func(c *Config) { c.Dir = dir }) // deployed anew, too
	if _, err := x.Invoke(t.Context(), "count", Wish{}); err != nil || calls(t, x) != 6 {
		t.Errorf("%d calls, %v", calls(t, x), err)
	}
	if _, err := x.Invoke(t.Context(), "f", Wish{}); err != nil {
		t.Errorf("one without a store: %v", err)
	}
	if err := x.Remove(t.Context(), "count"); err != nil {
		t.Fatal(err)
	}
	if w.kept["stores/count"] != nil {
		t.Error("the store of a removed function stays")
	}
	x = w.counting(func(c *Config) { c.Dir = dir })
	if n := calls(t, x); n != 0 {
		t.Errorf("a new function of the same name finds %d calls", n)
	}
}

// Calls at once are run one after another: each is counted.
func TestNoCallIsLost(t *testing.T) {
	w := newTown(t, 3)
	x := w.counting()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := x.Invoke(t.Context(), "count", Wish{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := calls(t, x); n != 20 {
		t.Errorf("20 calls are %d", n)
	}
}

func TestACallThatFailsChangesNothing(t *testing.T) {
	w := newTown(t, 1)
	x := w.counting()
	if err := x.Put(t.Context(), "count", "calls", []byte("41")); err != nil {
		t.Fatal(err)
	}
	for _, end := range []call.Outcome{{Exit: 1}, {Fault: fault.Trapped}} {
		w.hosts[0].twist = func(o *call.Outcome) { o.Exit, o.Fault = end.Exit, end.Fault }
		w.hosts[0].forge = func(d *wire.Done) { d.Sig = nil }
		if _, err := x.Invoke(t.Context(), "count", Wish{}); err == nil || calls(t, x) != 41 {
			t.Errorf("a change of what failed was taken: %d calls, %v", calls(t, x), err)
		}
	}
	before := w.kept["stores/count"]
	w.hosts[0].forge = nil
	w.hosts[0].stored = func([]byte) []byte { return nil }
	same := mustStored(t, x)
	w.hosts[0].twist = func(o *call.Outcome) { o.Exit, o.Store, o.StoreBytes = 1, store.Digest(same), 0 }
	if res, err := x.Invoke(t.Context(), "count", Wish{}); err != nil || res.Exit != 1 || !bytes.Equal(w.kept["stores/count"], before) {
		t.Errorf("%+v, %v", res, err)
	}
}

func mustStored(t testing.TB, x *Client) []byte {
	t.Helper()
	s, _, err := x.Stored(t.Context(), "count")
	if err != nil {
		t.Fatal(err)
	}
	return s.Encode()
}

// What a host says of a store counts only as it has signed it, and only if it is one.
func TestAHostIsBelievedNoOtherStoreThanItHasSigned(t *testing.T) {
	for name, tt := range map[string]struct {
		lie  func(h *host)
		says string
	}{
		"other bytes":            {func(h *host) { h.stored = bytes.ToUpper }, "another store"},
		"another digest":         {forges(func(d *wire.Done) { d.Store[0]++ }), "signature"},
		"half a digest":          {forges(func(d *wire.Done) { d.Store = d.Store[:16] }), "isn't an outcome"},
		"none":                   {forges(func(d *wire.Done) { d.Store = nil }), "signature"},
		"a store without end":    {forges(func(d *wire.Done) { d.StoreBytes = 1 << 60 }), "1009 were allowed"},
		"a change without bytes": {forges(func(d *wire.Done) { d.StoreBytes = 0 }), "has changed"},
		"signed nonsense": {func(h *host) {
			b := []byte("nonsense!")
			h.stored = func([]byte) []byte { return b }
			h.twist = func(o *call.Outcome) { o.Store, o.StoreBytes = store.Digest(b), uint64(len(b)) }
		}, "is no store"},
	} {
		w := newTown(t, 1)
		x := w.counting()
		tt.lie(w.hosts[0])
		_, err := x.Invoke(t.Context(), "count", Wish{})
		if err == nil || !strings.Contains(err.Error(), tt.says) || calls(t, x) != 0 {
			t.Errorf("%s: %v, %d calls", name, err, calls(t, x))
		}
	}
}

// Hosts that differ in the store alone differ.
func TestALiarIsFoundByTheStoreThatItLeaves(t *testing.T) {
	w := newTown(t, 3)
	x := w.counting(func(c *Config) { c.Engine = &capitals{} })
	s := store.New(100)
	s.Set("calls", []byte("1000"))
	for i := range 2 {
		w.hosts[i].twist = func(o *call.Outcome) { o.Store, o.StoreBytes = store.Digest(s.Encode()), uint64(len(s.Encode())) }
		w.hosts[i].stored = func([]byte) []byte { return s.Encode() }
	}
	for n := range 4 {
		if _, err := x.Invoke(t.Context(), "count", Wish{Verify: 2}); err != nil || calls(t, x) != n+1 {
			t.Fatalf("%d calls, %v", calls(t, x), err)
		}
	}
	if liars := x.Liars(); len(liars) != 2 || !strings.Contains(liars[0].Signed, "store") {
		t.Errorf("%+v", liars)
	}
}

// Somebody changes the store while a call is under way: the call is run anew on what
// is there, and what it costs adds up.
func TestACallIsRunAnewWhereItsStoreHasChangedMeanwhile(t *testing.T) {
	w := newTown(t, 1)
	x := w.counting()
	other := w.counting(func(c *Config) { c.Device = 8 })
	once, err := x.Invoke(t.Context(), "count", Wish{})
	if err != nil {
		t.Fatal(err)
	}
	left := 2
	w.hosts[0].during = func() {
		if left > 0 {
			left--
			if err := other.Put(t.Context(), "count", "calls", []byte(strconv.Itoa(100*(2-left)))); err != nil {
				t.Error(err)
			}
		}
	}
	res, err := x.Invoke(t.Context(), "count", Wish{})
	if err != nil || calls(t, x) != 201 || res.Cost < 3*once.Cost/2 {
		t.Errorf("%d calls, cost %d after %d, %v", calls(t, x), res.Cost, once.Cost, err)
	}
	n := 0
	w.hosts[0].during = func() {
		n++
		if err := other.Put(t.Context(), "count", "noise", []byte(strconv.Itoa(n))); err != nil {
			t.Error(err)
		}
	}
	_, err = x.Invoke(t.Context(), "count", Wish{})
	want(t, "a store that is changed all the time", err, fault.Conflict)
	if n != storeRetries {
		t.Errorf("it was run %d times", n)
	}
}

// Where another machine's change has won over this one's, this one says so, once.
func TestAChangeThatIsLostIsSaid(t *testing.T) {
	w := newTown(t, 1)
	x := w.counting()
	if _, err := x.Invoke(t.Context(), "count", Wish{}); err != nil {
		t.Fatal(err)
	}
	before := bytes.Clone(w.kept["stores/count"])
	for range 2 {
		if _, err := x.Invoke(t.Context(), "count", Wish{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Keep(t.Context(), "stores/count", before); err != nil {
		t.Fatal(err)
	}
	_, err := x.Invoke(t.Context(), "count", Wish{})
	want(t, "a store without two changes", err, fault.Conflict)
	if err == nil || !strings.Contains(err.Error(), "2 of the changes") {
		t.Errorf("%v", err)
	}
	if _, err := x.Invoke(t.Context(), "count", Wish{}); err != nil || calls(t, x) != 2 {
		t.Errorf("%d calls, %v", calls(t, x), err)
	}
}

func TestAStoreIsChangedByHandWithinItsSize(t *testing.T) {
	w := newTown(t, 1)
	x := w.counting()
	ctx := t.Context()
	put := func(key string, n int) error { return x.Put(ctx, "count", key, make([]byte, n)) }
	want(t, "a value", put("a", 900), "")
	want(t, "more than there is room for", put("b", 900), fault.TooLarge)
	want(t, "no key", put("", 1), fault.TooLarge)
	want(t, "a key that isn't there", x.Forget(ctx, "count", "b"), fault.NotFound)
	want(t, "a function without a store", x.Put(ctx, "f", "a", nil), fault.BadRequest)
	want(t, "no function", x.Put(ctx, "nobody", "a", nil), fault.NotFound)
	deploy := func(size int) error {
		_, err := x.Deploy(ctx, Function{Name: "count", Store: size}, module(2))
		return err
	}
	want(t, "a smaller store than what is in it", deploy(900), fault.BadRequest)
	want(t, "none, where there is something in it", deploy(-1), fault.BadRequest)
	want(t, "more than a store may be", deploy(store.MaxSize+1), fault.BadRequest)
	want(t, "a larger one", deploy(2000), "")
	want(t, "another value", put("b", 900), "")
	want(t, "the same again", deploy(0), "")
	if f, err := x.Function(ctx, "count"); err != nil || f.Store != 2000 {
		t.Errorf("%+v, %v", f, err)
	}
	for _, k := range []string{"a", "b"} {
		want(t, "a key less", x.Forget(ctx, "count", k), "")
	}
	want(t, "none, where there is nothing in it", deploy(-1), "")
	if f, err := x.Function(ctx, "count"); err != nil || f.Store != 0 {
		t.Errorf("%+v, %v", f, err)
	}
}

// A sea is two machines of one account: each has what it has kept itself, and gets
// what the other has told when it meets.
type sea struct {
	mu     sync.Mutex
	told   map[string]stamped
	broken error
	clock  int
	meets  int
}

type stamped struct {
	at int
	b  []byte
}

// shore is one of the machines: a town's Blobs of its own, and Others.
type shore struct {
	*town
	sea   *sea
	alone atomic.Bool // it doesn't know of the other yet
	own   map[string]stamped
}

func (s *shore) Any() bool { return !s.alone.Load() }

func (s *shore) Keep(ctx context.Context, name string, b []byte) error {
	s.stamp(name, b)
	return s.town.Keep(ctx, name, b)
}

func (s *shore) Swap(ctx context.Context, name string, b []byte, version string) error {
	err := s.town.Swap(ctx, name, b, version)
	if err == nil {
		s.stamp(name, b)
	}
	return err
}

func (s *shore) stamp(name string, b []byte) {
	s.sea.mu.Lock()
	defer s.sea.mu.Unlock()
	s.sea.clock++
	s.own[name] = stamped{s.sea.clock, bytes.Clone(b)}
}

func (s *shore) Tell(context.Context) error {
	s.sea.mu.Lock()
	defer s.sea.mu.Unlock()
	if s.sea.broken != nil {
		return s.sea.broken
	}
	for name, it := range s.own {
		if it.at > s.sea.told[name].at {
			s.sea.told[name] = it
		}
	}
	return nil
}

func (s *shore) Meet(ctx context.Context) error {
	if err := s.Tell(ctx); err != nil {
		return err
	}
	s.sea.mu.Lock()
	defer s.sea.mu.Unlock()
	s.sea.meets++
	for name, it := range s.sea.told {
		if it.at > s.own[name].at {
			s.own[name] = it
			if err := s.town.Keep(ctx, name, it.b); err != nil {
				return err
			}
		}
	}
	return nil
}

// machines are two of one account that call the same function.
func machines(t testing.TB, s *sea) (shores [2]*shore, clients [2]*Client) {
	s.told = map[string]stamped{}
	for i := range shores {
		shores[i] = &shore{town: newTown(t, 1), sea: s, own: map[string]stamped{}}
		clients[i] = shores[i].counting(func(c *Config) { c.Device, c.Blobs, c.Others = uint64(i+1), shores[i], shores[i] })
	}
	return shores, clients
}

// Two machines that call one function at once lose no call, though what one keeps
// reaches the other only when they meet.
func TestTwoMachinesLoseNoCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sea{}
		_, clients := machines(t, s)
		var wg sync.WaitGroup
		done, refused := 0, 0
		var mu sync.Mutex
		for i := range 8 {
			wg.Go(func() {
				for range 3 {
					_, err := clients[i%2].Invoke(t.Context(), "count", Wish{})
					mu.Lock()
					switch fault.CodeOf(err) {
					case "":
						done++
					case fault.Conflict:
						refused++
					default:
						t.Error(err)
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if _, err := clients[0].Invoke(t.Context(), "count", Wish{}); err != nil || calls(t, clients[0]) != done+1 || done == 0 {
			t.Errorf("%d calls are %d, %d were refused, %v", done+1, calls(t, clients[0]), refused, err)
		}
	})
}

// A machine that is new waits until the other must have heard of it; the other runs
// a call anew that it has begun while it believed itself alone.
func TestAMachineThatAppearsLosesNoCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sea{}
		shores, clients := machines(t, s)
		shores[0].alone.Store(true)
		for range 3 {
			if _, err := clients[0].Invoke(t.Context(), "count", Wish{}); err != nil {
				t.Fatal(err)
			}
		}
		if s.meets != 0 {
			t.Errorf("a machine that is alone meets others %d times", s.meets)
		}
		shores[0].hosts[0].during = func() {
			if shores[0].alone.Load() {
				time.Sleep(70 * time.Second)
				shores[0].alone.Store(false)
			}
		}
		var wg sync.WaitGroup
		began := time.Now()
		wg.Go(func() {
			shores[0].Tell(t.Context()) // as a node does every few seconds
			if _, err := clients[1].Invoke(t.Context(), "count", Wish{}); err != nil || time.Since(began) < 90*time.Second {
				t.Errorf("after %v: %v", time.Since(began), err)
			}
		})
		wg.Go(func() {
			if _, err := clients[0].Invoke(t.Context(), "count", Wish{}); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		shores[0].hosts[0].during = nil
		if _, err := clients[0].Invoke(t.Context(), "count", Wish{}); err != nil || calls(t, clients[0]) != 6 {
			t.Errorf("6 calls are %d, %v", calls(t, clients[0]), err)
		}
	})
}

// A machine that has died while it worked with a store keeps the other from it for a
// while, not for ever; one that can't reach the others changes nothing.
func TestAClaimEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sea{}
		shores, clients := machines(t, s)
		if err := clients[1].claims(t.Context(), "count", time.Now().Add(claimFor)); err != nil {
			t.Fatal(err)
		}
		if err := shores[1].Tell(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := clients[0].Invoke(t.Context(), "count", Wish{})
		want(t, "a store that another has claimed", err, fault.Conflict)
		time.Sleep(claimFor + claimSkew)
		if _, err := clients[0].Invoke(t.Context(), "count", Wish{}); err != nil {
			t.Error(err)
		}
		s.broken = fault.New(fault.NotEnoughHosts, "nobody answers")
		_, err = clients[0].Invoke(t.Context(), "count", Wish{})
		want(t, "others who can't be told", err, fault.NotEnoughHosts)
		if n := calls(t, clients[0]); n != 1 {
			t.Errorf("%d calls", n)
		}
		s.broken = nil
		if err := clients[0].Remove(t.Context(), "count"); err != nil {
			t.Error(err)
		}
	})
}

func TestAFunctionThatIsNotThereHasNoStoreToChange(t *testing.T) {
	w := newTown(t, 1)
	dir := t.TempDir()
	x := w.counting(func(c *Config) { c.Dir = dir })
	for _, name := range []string{"typo", ".joined", "../../x"} {
		want(t, "set "+name, x.Put(t.Context(), name, "k", []byte("v")), fault.NotFound)
		want(t, "forget "+name, x.Forget(t.Context(), name, "k"), fault.NotFound)
	}
	if calls(t, x) != 0 || len(x.turns) != 0 {
		t.Errorf("%d turns are kept", len(x.turns))
	}
}

func TestAStoreIsKeptInOneForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := store.New(store.MaxSize)
		for k, v := range rapid.MapOf(rapid.StringN(1, 5, -1), rapid.SliceOf(rapid.Byte())).Draw(t, "content") {
			s.Set(k, v)
		}
		k := kept{content: s.Encode(), changes: rapid.MapOf(rapid.Uint64(), rapid.Uint64Min(1)).Draw(t, "changes")}
		b := k.encode("name")
		got, err := decodeKept("name", b)
		if err != nil || !bytes.Equal(got.content, k.content) || !maps.Equal(got.changes, k.changes) || !bytes.Equal(got.encode("name"), b) {
			t.Fatalf("%+v, %v", got, err)
		}
		if _, err := decodeKept("other", b); err == nil {
			t.Fatal("another's store is taken for this function's")
		}
	})
}

func FuzzDecodeKept(f *testing.F) {
	f.Add(kept{content: store.New(0).Encode(), changes: map[uint64]uint64{1: 2, 3: 4}}.encode("f"))
	f.Add(kept{content: store.New(0).Encode()}.encode("f"))
	f.Add([]byte{1, 0, 0, 0, 1, 'f', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := decodeKept("f", b)
		if err == nil && !bytes.Equal(k.encode("f"), b) {
			t.Fatal("a kept store has two forms")
		}
	})
}
