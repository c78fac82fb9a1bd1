package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"hearth/compute/wasm"
	"hearth/core/call"
	"hearth/core/fault"
)

// capitals is an engine that does what honest hosts do.
type capitals struct {
	runs atomic.Int32
	err  error // of Call
}

func (e *capitals) Add(context.Context, []byte) (wasm.Info, error) { return wasm.Info{}, nil }
func (e *capitals) Info([32]byte) (wasm.Info, bool)                { return wasm.Info{}, true }

func (e *capitals) Call(_ context.Context, _ [32]byte, c wasm.Call) (wasm.Result, error) {
	e.runs.Add(1)
	return wasm.Result{Output: bytes.ToUpper(c.Input), Gas: 12345, Store: counted(c.Store, uint64(c.StoreMax))}, e.err
}

// checking is a client whose own machine can compute.
func (w *town) checking(e *capitals, change ...func(c *Config)) *Client {
	return w.client(append(change, func(c *Config) { c.Engine = e })...)
}

// lies has a host sign another output than comes out, the same as every liar.
func (h *host) lies() {
	h.twist = func(o *call.Outcome) { o.Output, o.Bytes = sha256.Sum256([]byte("lie")), 3 }
	h.output = func([]byte) []byte { return []byte("lie") }
}

func verified(t *testing.T, x *Client, input string, others int) Result {
	t.Helper()
	res, err := x.Invoke(t.Context(), "f", Wish{Input: []byte(input), Verify: others})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestWhatAnUntrustedHostSaysIsCheckedOnAnother(t *testing.T) {
	w := newTown(t, 4)
	x := w.checking(&capitals{})
	res := verified(t, x, "quiet", 2)
	if string(res.Output) != "QUIET" || len(res.Witnesses) != 3 && !res.Here {
		t.Errorf("%+v", res)
	}
	asked := 0
	for _, h := range w.hosts {
		if h.asked() > 2 { // once for the module, once with it
			t.Errorf("%s was asked %d times", h.Host(), h.asked())
		}
		if h.asked() > 0 {
			asked++
		}
	}
	if asked != 3 {
		t.Errorf("%d hosts were asked, not 3", asked)
	}
	one := verified(t, x, "quiet", 0)
	if len(one.Witnesses) != 1 || one.Here || res.Cost <= one.Cost {
		t.Errorf("a check costs nothing: %d with, %d without", res.Cost, one.Cost)
	}
}

// Who is right is found out here, whoever is in the majority.
func TestALiarIsNamedWhereTwoDiffer(t *testing.T) {
	for name, liars := range map[string][]int{"one of three": {0}, "another": {2}, "two of three": {0, 1}, "all": {0, 1, 2}} {
		w := newTown(t, 3)
		e := &capitals{}
		x := w.checking(e)
		var want []string
		for _, i := range liars {
			w.hosts[i].lies()
			want = append(want, w.hosts[i].Host())
		}
		if len(liars) == 3 { // they don't agree: else only chance finds them
			w.hosts[0].twist = func(o *call.Outcome) { o.Gas++ }
			w.hosts[0].output = nil
		}
		for range 3 {
			if res := verified(t, x, "quiet", 2); string(res.Output) != "QUIET" {
				t.Errorf("%s: %q", name, res.Output)
			}
			if len(x.Liars()) == len(liars) {
				break
			}
		}
		var named []string
		for _, l := range x.Liars() {
			named = append(named, l.Host)
			if l.Signed == l.Right || l.Function != "f" || len(l.Call) != 64 {
				t.Errorf("%+v", l)
			}
		}
		if !slices.Equal(named, want) {
			t.Errorf("%s: named %q, want %q", name, named, want)
		}
	}
}

// A liar is hired no more, also after a restart, also where nobody checks.
func TestALiarIsHiredNoMore(t *testing.T) {
	w := newTown(t, 3)
	dir := t.TempDir()
	x := w.checking(&capitals{}, func(c *Config) { c.Dir = dir })
	w.hosts[0].lies()
	for len(x.Liars()) == 0 {
		verified(t, x, "quiet", 1)
	}
	again := w.checking(&capitals{}, func(c *Config) { c.Dir = dir })
	if !slices.Equal(again.Liars(), x.Liars()) {
		t.Errorf("%+v, after a restart %+v", x.Liars(), again.Liars())
	}
	before := w.hosts[0].asked()
	for _, x := range []*Client{x, again} {
		for range 5 {
			verified(t, x, "quiet", 0)
		}
	}
	if n := w.hosts[0].asked() - before; n > 0 {
		t.Errorf("it was asked %d times more", n)
	}
	if err := os.WriteFile(filepath.Join(dir, "liars.json"), []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := New(Config{Dir: dir, Market: w, Blobs: w, Dialer: w, ChainID: chainID})
	want(t, "a list of liars that is none", err, fault.DamagedFile)
}

// Hosts of one owner are one witness.
func TestChecksGoToOtherOwners(t *testing.T) {
	w := newTown(t, 3)
	for _, h := range w.hosts {
		h.owner = "hearth1one"
		h.lies()
	}
	e := &capitals{}
	res := verified(t, w.checking(e), "quiet", 1)
	if string(res.Output) != "QUIET" || e.runs.Load() != 1 {
		t.Errorf("%q, run %d times here", res.Output, e.runs.Load())
	}
	asked := 0
	for _, h := range w.hosts {
		if h.asked() > 0 {
			asked++
		}
	}
	if asked != 1 {
		t.Errorf("%d hosts of one owner were asked", asked)
	}
}

// Who agrees on a lie is found by what this machine computes now and then.
func TestThoseWhoAgreeOnALieAreFound(t *testing.T) {
	w := newTown(t, 4)
	for _, h := range w.hosts {
		h.lies()
	}
	x := w.checking(&capitals{})
	for i := 0; len(x.Liars()) < 2; i++ {
		if i == 5000 {
			t.Fatal("nobody was found in 5000 calls")
		}
		_, err := x.Invoke(t.Context(), "f", Wish{Input: []byte("quiet"), Verify: 1})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Checks get rarer, and never end.
func TestTrustIsEarnedAndNeverWhole(t *testing.T) {
	tr, err := openTrust(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	rate := func() float64 {
		n := 0
		for range 20_000 {
			if tr.sample("h") {
				n++
			}
		}
		return float64(n) / 20_000
	}
	if r := rate(); r != 1 {
		t.Errorf("of a stranger %g are checked", r)
	}
	for right, most := range map[int]float64{40: 0.3, 100_000: 0.07} {
		tr.mu.Lock()
		tr.right["h"] = right
		tr.mu.Unlock()
		if r := rate(); r > most || r < 0.04 {
			t.Errorf("after %d right ones %g are checked", right, r)
		}
	}
	if err := tr.lied(Liar{Host: "h"}); err != nil {
		t.Fatal(err)
	}
	if r := rate(); r != 1 {
		t.Errorf("of a liar %g are checked", r)
	}
}

// Where this machine can't tell, nobody is called a liar and nothing is given out.
func TestNothingIsGivenOutThatNobodyCanTell(t *testing.T) {
	w := newTown(t, 2)
	w.hosts[0].lies()
	x := w.checking(&capitals{err: fault.New(fault.Deadline, "too slow")})
	_, err := x.Invoke(t.Context(), "f", Wish{Verify: 1, Input: []byte("a")})
	want(t, "two that differ", err, fault.NotVerified)
	if !strings.Contains(fmt.Sprint(err), "too slow") || len(x.Liars()) > 0 {
		t.Errorf("%v, liars %+v", err, x.Liars())
	}
	_, err = x.Invoke(t.Context(), "f", Wish{Verify: MaxVerify + 1})
	want(t, "too many", err, fault.BadRequest)
	_, err = w.client().Invoke(t.Context(), "f", Wish{Verify: 1})
	want(t, "without an engine", err, fault.BadRequest)
	w.hosts[0].twist, w.hosts[0].output = nil, nil
	if res := verified(t, x, "quiet", 1); string(res.Output) != "QUIET" {
		t.Errorf("two that agree: %q", res.Output)
	}
}
