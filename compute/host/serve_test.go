package host

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"hearth/compute/wasm"
	"hearth/compute/wire"
	"hearth/core/call"
	"hearth/core/fault"
	"hearth/core/gas"
	"hearth/core/store"
	"hearth/p2p"
)

func TestAModuleIsPutCalledAndFetched(t *testing.T) {
	h := newHouse(t, Config{})
	g := h.guest()
	module, input := bytes.Repeat([]byte("wasm"), 200<<10), bytes.Repeat([]byte("warm"), 100<<10)
	digest := sha256.Sum256(module)
	_, err := g.ask(callReq(wish(digest, 0)), nil)
	want(t, "a call before its module", err, fault.NoModule)
	for range 2 {
		if err := g.put(module); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		d, err := g.run(wish(digest, len(input)), input)
		if err != nil {
			t.Fatal(err)
		}
		output, log, err := g.fetch(1, d)
		if err != nil || !bytes.Equal(output, input) || string(log) != "a word" || sha256.Sum256(output) != [32]byte(d.Output) {
			t.Errorf("%d bytes of output, log %q, %v", len(output), log, err)
		}
	}
	got := h.till.counted()
	if want := (counted{in: uint64(2 * (len(module) + len(input))), out: uint64(2 * (len(input) + 6)), ran: 2000, holds: 2}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

func TestAFunctionThatFailsHasAnOutcomeLikeAny(t *testing.T) {
	h := newHouse(t, Config{})
	g, module := h.guest(), h.module()
	for _, r := range []wasm.Result{
		{Exit: 7, Gas: 5},
		{Fault: fault.OutOfGas, Gas: 1_000_000},
		{Fault: fault.Trapped, Reason: "unreachable", Gas: 9, Output: []byte("half")},
		{Fault: fault.TooLarge, Gas: 3},
	} {
		before := h.till.counted().ran
		h.works.run = func(context.Context, wasm.Call) (wasm.Result, error) { return r, nil }
		d, err := g.run(wish(module, 0), nil)
		if err != nil || d.Exit != r.Exit || d.Fault != string(r.Fault) || d.Reason != r.Reason {
			t.Errorf("%+v: %v, %v", r, d, err)
		}
		if ran := h.till.counted().ran - before; ran != r.Gas {
			t.Errorf("%+v: %d gas counted", r, ran)
		}
	}
}

func TestTheEngineGetsWhatTheClientSigned(t *testing.T) {
	h := newHouse(t, Config{Longest: time.Minute})
	var got wasm.Call
	h.works.run = func(_ context.Context, c wasm.Call) (wasm.Result, error) { got = c; return wasm.Result{}, nil }
	w := wish(h.module(), 3)
	g := h.guest()
	for ask, given := range map[uint32]time.Duration{0: time.Millisecond, 1: time.Millisecond, 5000: 5 * time.Second, 1<<32 - 1: time.Minute} {
		w.Deadline = ask
		if _, err := g.run(w, []byte("abc")); err != nil {
			t.Fatal(err)
		}
		if got.Deadline != given {
			t.Errorf("a deadline of %d ms becomes %v", ask, got.Deadline)
		}
	}
	if string(got.Input) != "abc" || got.Gas != w.Gas || got.Pages != w.Pages || got.MaxOutput != int(w.MaxOutput) || got.Now != w.Now ||
		fmt.Sprint(got.Args, got.Env) != fmt.Sprint(w.Args, w.Env) {
		t.Errorf("%+v", got)
	}
}

func TestWhatNoHostTakesCostsNothing(t *testing.T) {
	h := newHouse(t, Config{MaxPages: 64})
	module := h.module()
	ran := false
	h.works.run = func(context.Context, wasm.Call) (wasm.Result, error) { ran = true; return wasm.Result{}, nil }
	for name, c := range map[string]struct {
		change func(c *wire.Call)
		code   fault.Code
	}{
		"another module":           {func(c *wire.Call) { c.Module = make([]byte, 32) }, fault.NoModule},
		"half a digest":            {func(c *wire.Call) { c.Module = c.Module[:16] }, fault.BadRequest},
		"half a seed":              {func(c *wire.Call) { c.Seed = c.Seed[:16] }, fault.BadRequest},
		"too much input":           {func(c *wire.Call) { c.Input = call.MaxInput + 1 }, fault.TooLarge},
		"input without end":        {func(c *wire.Call) { c.Input = 1<<64 - 1 }, fault.TooLarge},
		"too many arguments":       {func(c *wire.Call) { c.Args = make([]string, call.MaxCount+1) }, fault.TooLarge},
		"too long arguments":       {func(c *wire.Call) { c.Args = []string{strings.Repeat("a", call.MaxWords)} }, fault.TooLarge},
		"a variable without name":  {func(c *wire.Call) { c.Env = []string{"=b"} }, fault.BadRequest},
		"a variable without value": {func(c *wire.Call) { c.Env = []string{strings.Repeat("ä", 1000)} }, fault.BadRequest},
		"a zero byte":              {func(c *wire.Call) { c.Args = []string{"\x00"} }, fault.BadRequest},
		"no output":                {func(c *wire.Call) { c.MaxOutput = 0 }, fault.BadRequest},
		"too much output":          {func(c *wire.Call) { c.MaxOutput = call.MaxOutput + 1 }, fault.BadRequest},
		"output without end":       {func(c *wire.Call) { c.MaxOutput = 1<<64 - 1 }, fault.BadRequest},
		"no gas":                   {func(c *wire.Call) { c.Gas = 0 }, fault.BadRequest},
		"gas without end":          {func(c *wire.Call) { c.Gas = 1<<62 + 1 }, fault.BadRequest},
		"no memory":                {func(c *wire.Call) { c.Pages = 0 }, fault.BadRequest},
		"more than this host has":  {func(c *wire.Call) { c.Pages = 65 }, fault.HostFull},
		"more than there can be":   {func(c *wire.Call) { c.Pages = call.MaxPages + 1 }, fault.BadRequest},
		"a clock before 1970":      {func(c *wire.Call) { c.Now = -1 }, fault.BadRequest},
		"a store without end":      {func(c *wire.Call) { c.StoreMax, c.Store = 1<<64-1, 1<<64-1 }, fault.BadRequest},
		"a store without room":     {func(c *wire.Call) { c.Store = 9 }, fault.BadRequest},
		"room without a store":     {func(c *wire.Call) { c.StoreMax = 9 }, fault.BadRequest},
		"more than the store's":    {func(c *wire.Call) { c.StoreMax, c.Store = 9, 9+store.Overhead+1 }, fault.BadRequest},
		"too large a store":        {func(c *wire.Call) { c.StoreMax, c.Store = store.MaxSize+1, 9 }, fault.BadRequest},
		"unpaid gas":               {func(c *wire.Call) { c.Gas = plenty + 1 }, fault.Unpaid},
	} {
		w := wish(module, 0)
		c.change(w)
		g := h.guest()
		r, err := g.ask(callReq(w), nil)
		want(t, name, err, c.code)
		if r != nil {
			t.Errorf("%s: %v", name, r)
		}
		if w.Input+w.Store > 0 {
			g.ends(name)
		} else {
			g.goesOn(name)
		}
	}
	if got := h.till.counted(); got != (counted{}) || ran {
		t.Errorf("counted %+v, one of them ran: %v", got, ran)
	}
}

func TestModulesThatAreNotWhatTheySay(t *testing.T) {
	h := newHouse(t, Config{})
	module := []byte("a module")
	digest := sha256.Sum256(module)
	for name, c := range map[string]struct {
		r    *wire.Request
		body []byte
		code fault.Code
	}{
		"another's digest": {putReq(make([]byte, 32), len(module)), module, fault.BadRequest},
		"half a digest":    {putReq(digest[:16], len(module)), module, fault.BadRequest},
		"no bytes":         {putReq(digest[:], 0), nil, fault.TooLarge},
		"too many bytes":   {putReq(digest[:], gas.MaxModule+1), module, fault.TooLarge},
		"bytes for ever":   {putReq(digest[:], -1), module, fault.TooLarge},
	} {
		g := h.guest()
		_, err := g.ask(c.r, c.body)
		want(t, name, err, c.code)
		g.ends(name)
	}
	if len(h.works.modules) != 0 {
		t.Error("one is kept")
	}
	h.works.refuse = fault.New(fault.BadModule, "it imports the moon")
	want(t, "what can't be measured", h.guest().put(module), fault.BadModule)
	h.works.refuse = nil
	if err := h.guest().put(module); err != nil {
		t.Error(err)
	}
}

func TestAPausedHostTakesNoCall(t *testing.T) {
	paused := true
	h := newHouse(t, Config{Paused: func() bool { return paused }})
	g, module := h.guest(), h.module()
	_, err := g.run(wish(module, 0), nil)
	want(t, "while it is paused", err, fault.HostFull)
	paused = false
	if _, err := g.run(wish(module, 0), nil); err != nil {
		t.Error(err)
	}
	if got := h.till.counted(); got.holds != 1 {
		t.Errorf("%+v", got)
	}
}

func TestWhatIsNotPaidForIsNotTaken(t *testing.T) {
	h := newHouse(t, Config{})
	module := h.module()
	input := make([]byte, 3*piece)
	h.till.bytes, h.till.gas = 2*piece, 999_999
	g := h.guest()
	_, err := g.run(wish(module, len(input)), input)
	want(t, "input", err, fault.Unpaid)
	g.ends("input")
	g = h.guest()
	_, err = g.run(wish(module, 0), nil)
	want(t, "gas", err, fault.Unpaid)
	g.goesOn("gas")
	if got := h.till.counted(); got != (counted{in: 2 * piece}) {
		t.Errorf("counted %+v", got)
	}
	want(t, "a module", h.guest().put(make([]byte, 5)), fault.Unpaid)
	h.till.pay(0, 1)
	d, err := g.run(wish(module, 0), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = g.fetch(1, d)
	want(t, "the log", err, fault.Unpaid)
	h.till.pay(d.LogBytes, 0)
	if _, _, err := g.fetch(1, d); err != nil {
		t.Errorf("what is paid for now: %v", err)
	}
	if got := h.till.counted(); got != (counted{in: 2 * piece, out: d.LogBytes, ran: 1000, holds: 1}) {
		t.Errorf("counted %+v", got)
	}
}

func TestAPaymentBesideTheBytesIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Config{Patience: 500 * time.Millisecond})
		module := h.module()
		h.till.bytes, h.till.gas = 0, 0
		input := make([]byte, 3*piece)
		for i := range 3 {
			time.AfterFunc(time.Duration(i+1)*400*time.Millisecond, func() { h.till.pay(piece, 0) })
		}
		time.AfterFunc(1600*time.Millisecond, func() { h.till.pay(0, 1_000_000) })
		if _, err := h.guest().run(wish(module, len(input)), input); err != nil {
			t.Error(err)
		}
	})
}

func TestGasGoesBackWhenACallComesToNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Config{Longest: 4 * time.Second})
		module := h.module()
		late := func(took time.Duration) func(context.Context, wasm.Call) (wasm.Result, error) {
			return func(context.Context, wasm.Call) (wasm.Result, error) {
				time.Sleep(took)
				return wasm.Result{}, fault.New(fault.Deadline, "it isn't done")
			}
		}
		fails := func(err error) func(context.Context, wasm.Call) (wasm.Result, error) {
			return func(context.Context, wasm.Call) (wasm.Result, error) { return wasm.Result{}, err }
		}
		for name, c := range map[string]struct {
			run           func(context.Context, wasm.Call) (wasm.Result, error)
			gas, deadline uint64 // of the call
			code          fault.Code
			ran           uint64
		}{
			"the engine is busy":         {fails(fault.New(fault.Busy, "others")), 5, 1000, fault.Busy, 0},
			"the sandbox fails":          {fails(fault.New(fault.SandboxFailed, "dead")), 5, 1000, fault.SandboxFailed, 0},
			"the module went":            {fails(fault.New(fault.NoModule, "gone")), 5, 1000, fault.NoModule, 0},
			"the engine is broken":       {fails(errors.New("no")), 5, 1000, fault.Internal, 0},
			"the deadline":               {late(2 * time.Second), 50 * gasSecond, 2000, fault.Deadline, 2 * gasSecond},
			"a piece of a second":        {late(time.Millisecond), 50 * gasSecond, 1, fault.Deadline, gasSecond / 1000},
			"the deadline, with waiting": {late(30 * time.Second), 50 * gasSecond, 2000, fault.Deadline, 2 * gasSecond},
			"the host's own deadline":    {late(5 * time.Second), 50 * gasSecond, 100_000, fault.Deadline, 4 * gasSecond},
			"the deadline, little gas":   {late(2 * time.Second), 7, 2000, fault.Deadline, 7},
			"more gas than there was": {func(_ context.Context, c wasm.Call) (wasm.Result, error) {
				return wasm.Result{Gas: c.Gas + 1}, nil
			}, 5, 1000, fault.Internal, 0},
			"all of it": {func(_ context.Context, c wasm.Call) (wasm.Result, error) {
				return wasm.Result{Gas: c.Gas, Fault: fault.OutOfGas}, nil
			}, 5, 1000, "", 5},
		} {
			h.works.run = c.run
			before := h.till.counted()
			w := wish(module, 0)
			w.Gas, w.Deadline = c.gas, uint32(c.deadline)
			g := h.guest()
			_, err := g.run(w, nil)
			want(t, name, err, c.code)
			if got := h.till.counted(); got.ran-before.ran != c.ran || got.held != 0 {
				t.Errorf("%s: %d gas counted, %d held", name, got.ran-before.ran, got.held)
			}
			g.goesOn(name)
		}
	})
}

func TestAStreamThatBreaksOffHoldsNothing(t *testing.T) {
	h := newHouse(t, Config{})
	module := h.module()
	g := h.guest()
	// In the middle of the input: bytes were counted, gas wasn't.
	if err := p2p.WriteFrame(g, callReq(wish(module, 2*piece))); err != nil {
		t.Fatal(err)
	}
	g.Write(make([]byte, piece+5))
	g.Close()
	<-g.done
	if got := h.till.counted(); got != (counted{in: 2 * piece}) || h.srv.budget.used.Load() != 0 {
		t.Errorf("counted %+v, %d bytes are held", got, h.srv.budget.used.Load())
	}
	// While the function runs: it is paid.
	begun, gone := make(chan struct{}), make(chan struct{})
	h.works.run = func(context.Context, wasm.Call) (wasm.Result, error) {
		close(begun)
		<-gone
		return wasm.Result{Gas: 77, Output: make([]byte, 100)}, nil
	}
	g = h.guest()
	if err := p2p.WriteFrame(g, callReq(wish(module, 0))); err != nil {
		t.Fatal(err)
	}
	<-begun
	g.Close()
	close(gone)
	<-g.done
	if got := h.till.counted(); got.ran != 77 || got.held != 0 || h.srv.budget.used.Load() != 0 {
		t.Errorf("counted %+v, %d bytes are held", got, h.srv.budget.used.Load())
	}
	// In the middle of the output: all of it was counted.
	h.works.run = echo
	g = h.guest()
	if _, err := g.run(wish(module, piece), make([]byte, piece)); err != nil {
		t.Fatal(err)
	}
	if _, err := g.ask(fetchReq(1), nil); err != nil {
		t.Fatal(err)
	}
	g.Close()
	<-g.done
	if got := h.till.counted(); got.out != piece+6 || h.srv.budget.used.Load() != 0 {
		t.Errorf("counted %+v, %d bytes are held", got, h.srv.budget.used.Load())
	}
}

func TestOutputIsFetchedOnceUnderItsOwnLease(t *testing.T) {
	h := newHouse(t, Config{})
	g, module := h.guest(), h.module()
	_, _, err := g.fetch(1, nil)
	want(t, "before a call", err, fault.BadRequest)
	d, err := g.run(wish(module, 5), []byte("input"))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = g.fetch(2, d)
	want(t, "under another lease", err, fault.BadRequest)
	other := h.guest()
	_, _, err = other.fetch(1, d)
	want(t, "on another stream", err, fault.BadRequest)
	if out, _, err := g.fetch(1, d); err != nil || string(out) != "input" {
		t.Errorf("%q, %v", out, err)
	}
	_, _, err = g.fetch(1, d)
	want(t, "twice", err, fault.BadRequest)
	if _, err := g.run(wish(module, 5), []byte("again")); err != nil {
		t.Fatal(err)
	}
	refused := wish(module, 0)
	refused.Gas = 0
	_, err = g.run(refused, nil)
	want(t, "a call that is refused", err, fault.BadRequest)
	_, _, err = g.fetch(1, d)
	want(t, "what came before it", err, fault.BadRequest)
	if got := h.till.counted(); got.out != d.OutputBytes+d.LogBytes {
		t.Errorf("%d bytes are counted out", got.out)
	}
}

func TestWhatNobodyFetchesFillsTheHostUntilItsStreamsEnd(t *testing.T) {
	const each = 64 << 10
	h := newHouse(t, Config{Memory: 20 * each, Total: 4, PerPeer: 4})
	h.works.run = fill
	module := h.module()
	w := wish(module, 0)
	w.Args, w.MaxOutput = []string{fmt.Sprint(each)}, each
	var full []*guest
	for {
		g := h.guest()
		_, err := g.run(w, nil)
		full = append(full, g)
		if err != nil {
			want(t, "too many", err, fault.Busy)
			g.goesOn("too many")
			break
		}
		if len(full) > 20 {
			t.Fatal("there is no end")
		}
	}
	if len(full) < 18 {
		t.Errorf("room for %d only", len(full)-1)
	}
	want(t, "a module", h.guest().put(make([]byte, 3*each)), fault.Busy)
	holds := h.till.counted().holds
	for _, g := range full {
		g.Close()
		<-g.done
	}
	if n := h.srv.budget.used.Load(); n != 0 {
		t.Errorf("%d bytes are held for nobody", n)
	}
	g := h.guest()
	for range 40 { // a call takes the place of the one before
		if _, err := g.run(w, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := h.till.counted(); got.holds != holds+40 || got.ran != uint64(got.holds) {
		t.Errorf("counted %+v", got)
	}
}

func TestAHostTakesAFewRequestsAtOnce(t *testing.T) {
	h := newHouse(t, Config{PerPeer: 2, Total: 9})
	module := h.module()
	begun, end := make(chan struct{}), make(chan struct{})
	h.works.run = func(context.Context, wasm.Call) (wasm.Result, error) {
		begun <- struct{}{}
		<-end
		return wasm.Result{Gas: 1}, nil
	}
	idle := h.guest()
	results := make(chan error)
	for range 2 {
		g := h.guest()
		go func() {
			_, err := g.ask(callReq(wish(module, 0)), nil)
			results <- err
		}()
		<-begun
	}
	_, err := idle.run(wish(module, 0), nil)
	want(t, "a third", err, fault.Busy)
	_, err = idle.run(wish(module, 5), make([]byte, 5))
	want(t, "a third with input", err, fault.Busy)
	idle.ends("a third with input")
	close(end)
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	h.guest().goesOn("after them")
}

func TestReasonsAreCutAndStayText(t *testing.T) {
	h := newHouse(t, Config{})
	g, module := h.guest(), h.module()
	for name, reason := range map[string]string{
		"long":                 strings.Repeat("a", 1000),
		"cut in a letter":      "a" + strings.Repeat("ä", 1000),
		"cut in a smile":       "ab" + strings.Repeat("😀", 1000),
		"no text":              strings.Repeat("a\xff", 1000),
		"half a letter at end": "end\xc3",
	} {
		h.works.run = func(context.Context, wasm.Call) (wasm.Result, error) {
			return wasm.Result{Fault: fault.Trapped, Reason: reason}, nil
		}
		d, err := g.run(wish(module, 0), nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if n := len(d.Reason); n > 300 || n < min(297, len(reason)) || !utf8.ValidString(d.Reason) {
			t.Errorf("%s: %q", name, d.Reason)
		}
		h.works.run = func(context.Context, wasm.Call) (wasm.Result, error) {
			return wasm.Result{}, fault.New(fault.Busy, "%s", reason)
		}
		_, err = g.run(wish(module, 0), nil)
		want(t, name, err, fault.Busy)
		if n := len(err.Error()); n > 300 || n < min(297, len(reason)) || !utf8.ValidString(err.Error()) {
			t.Errorf("%s: %q", name, err)
		}
	}
}

func TestWhatGoesWrongInsideStaysInside(t *testing.T) {
	h := newHouse(t, Config{})
	module := h.module()
	const secret = "/home/ada/hearth"
	for _, err := range []error{
		errors.New("open " + secret), fault.New(fault.DiskFull, "write %s", secret), fault.New(fault.DamagedFile, "read %s", secret),
		fault.New(fault.SandboxFailed, "exec %s", secret), fault.New(fault.Exists, "rename %s", secret),
	} {
		h.works.run = func(context.Context, wasm.Call) (wasm.Result, error) { return wasm.Result{}, err }
		h.works.refuse = err
		_, told := h.guest().run(wish(module, 0), nil)
		want(t, "a call", told, fault.CodeOf(err))
		put := h.guest().put([]byte("another"))
		want(t, "a module", put, fault.CodeOf(err))
		h.till.everythingFor = err
		_, asked := h.knock().ask(&wire.Request{Lease: 1, Grant: slip(1)}, nil)
		h.till.everythingFor = nil
		for _, e := range []error{told, put, asked} {
			if e == nil || strings.Contains(e.Error(), "ada") || e.Error() == "" {
				t.Errorf("%v: the peer is told %v", err, e)
			}
		}
	}
}

func TestOnlyWhoHasAGrantIsServed(t *testing.T) {
	h := newHouse(t, Config{})
	module := h.module()
	g := h.knock()
	_, err := g.run(wish(module, 0), nil)
	want(t, "no grant", err, fault.Unauthorized)
	r := callReq(wish(module, 0))
	r.Grant = slip(1)
	r.Grant.Until++
	_, err = g.ask(r, nil)
	want(t, "a changed one", err, fault.BadSignature)
	r.Grant, r.Lease = slip(1), 2
	_, err = g.ask(r, nil)
	want(t, "of another lease", err, fault.Unauthorized)
	r.Grant, r.Lease = slip(3), 3
	_, err = g.ask(r, nil)
	want(t, "of a lease that isn't", err, fault.NoLease)
	if got := h.till.counted(); got != (counted{}) {
		t.Errorf("counted %+v", got)
	}
	r.Grant, r.Lease = slip(1), 1
	if _, err := g.ask(r, nil); err != nil {
		t.Error(err)
	}
}

func TestABrokenFrameEndsItsStream(t *testing.T) {
	h := newHouse(t, Config{})
	for name, c := range map[string]struct {
		bytes string
		code  fault.Code
	}{
		"garbage": {"\x00\x00\x00\x02\xff\xff", fault.BadFrame},
		"huge":    {"\xff\xff\xff\xff", fault.TooLarge},
	} {
		g := h.guest()
		go g.Write([]byte(c.bytes))
		var a wire.Response
		if err := p2p.ReadFrame(g, &a, p2p.MaxFrame); err != nil || a.Code != string(c.code) {
			t.Errorf("%s: %v, %v", name, &a, err)
		}
		g.ends(name)
	}
}

func TestNobodyIsWaitedForWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Config{})
		module := h.module()
		ended := func(what string, g *guest, most time.Duration) {
			t.Helper()
			began := time.Now()
			<-g.done
			if took := time.Since(began); took > most {
				t.Errorf("%s: the host waits %v", what, took)
			}
		}
		ended("a silent client", h.guest(), 2*time.Minute)
		g := h.guest()
		g.Write([]byte{0, 0, 1})
		ended("half a frame", g, 2*time.Minute)
		g = h.guest()
		if err := p2p.WriteFrame(g, callReq(wish(module, 100))); err != nil {
			t.Fatal(err)
		}
		ended("input that doesn't come", g, 30*time.Second)
		g = h.guest()
		if err := p2p.WriteFrame(g, callReq(wish(module, 0))); err != nil {
			t.Fatal(err)
		}
		ended("an answer that nobody reads", g, 30*time.Second)
		g = h.guest()
		if _, err := g.run(wish(module, 5), []byte("input")); err != nil {
			t.Fatal(err)
		}
		if _, err := g.ask(fetchReq(1), nil); err != nil {
			t.Fatal(err)
		}
		ended("output that nobody reads", g, 30*time.Second)
	})
}

func TestAHostThatStopsKeepsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		h := newHouse(t, Config{Patience: time.Minute, Log: slog.New(slog.NewTextHandler(&log, nil))})
		module := h.module()
		h.works.run = func(ctx context.Context, _ wasm.Call) (wasm.Result, error) {
			<-ctx.Done()
			return wasm.Result{}, fault.New(fault.Interrupted, "run: %w", ctx.Err())
		}
		poor := wish(module, 0)
		poor.Gas = plenty + 1
		for name, r := range map[string]*wire.Request{
			"an idle stream": nil, "input on its way": callReq(wish(module, 5)), "a function that runs": callReq(wish(module, 0)),
			"a payment on its way": callReq(poor),
		} {
			g := h.guest()
			if r != nil {
				if err := p2p.WriteFrame(g, r); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			began := time.Now()
			g.stop()
			<-g.done
			if took := time.Since(began); took > 0 {
				t.Errorf("%s: it goes on for %v", name, took)
			}
		}
		if log.Len() > 0 {
			t.Errorf("%s", log.String())
		}
	})
}

func TestFiguresSayHowCallsEnded(t *testing.T) {
	all := prometheus.NewRegistry()
	h := newHouse(t, Config{Registry: all})
	g, module := h.guest(), h.module()
	for _, r := range []struct {
		out wasm.Result
		err error
	}{{wasm.Result{Gas: 5}, nil}, {wasm.Result{Exit: 1, Gas: 6}, nil}, {wasm.Result{Fault: fault.Trapped, Gas: 7}, nil}, {wasm.Result{}, fault.New(fault.Busy, "no")}} {
		h.works.run = func(context.Context, wasm.Call) (wasm.Result, error) { return r.out, r.err }
		_, err := g.run(wish(module, 0), nil)
		want(t, "a call", err, fault.CodeOf(r.err))
	}
	families, err := all.Gather()
	if err != nil {
		t.Fatal(err)
	}
	ends := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			switch f.GetName() {
			case "hearth_function_calls_total":
				ends[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
			case "hearth_function_gas_total":
				ends["gas"] = m.GetCounter().GetValue()
			}
		}
	}
	if want := (map[string]float64{"ok": 1, "exit": 1, "trapped": 1, "busy": 1, "gas": 18}); !maps.Equal(ends, want) {
		t.Errorf("%v, not %v", ends, want)
	}
}

func TestAServerIsToldWhatItNeeds(t *testing.T) {
	m := &till{}
	whole := Config{Engine: &works{}, Meter: m, Leases: m, ChainID: chainID, Key: key(hosts)}
	for name, forget := range map[string]func(c *Config){
		"engine": func(c *Config) { c.Engine = nil }, "meter": func(c *Config) { c.Meter = nil }, "leases": func(c *Config) { c.Leases = nil },
		"network": func(c *Config) { c.ChainID = "" }, "key": func(c *Config) { c.Key = c.Key[:5] },
	} {
		c := whole
		forget(&c)
		if _, err := New(c); err == nil {
			t.Errorf("no %s, and all is well", name)
		}
	}
}
