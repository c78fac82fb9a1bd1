package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"hearth/compute/wire"
	"hearth/core/call"
	"hearth/core/fault"
	"hearth/p2p"
)

func TestACallRunsOnAHostThatGetsItsModuleOnce(t *testing.T) {
	w := newTown(t, 1)
	x := w.client()
	h := w.hosts[0]
	for range 3 {
		res, err := x.Invoke(t.Context(), "f", Wish{Args: []string{"a", "b c"}, Input: []byte("warmth")})
		if err != nil {
			t.Fatal(err)
		}
		if string(res.Output) != "WARMTH" || string(res.Log) != "f a b c" || res.Host != h.Host() || res.Gas != 12345 || res.Cost == 0 {
			t.Errorf("%+v", res)
		}
	}
	if h.puts != 1 || h.calls != 4 || w.looked != 1 {
		t.Errorf("%d modules put, %d calls, looked for hosts %d times", h.puts, h.calls, w.looked)
	}
	input := bytes.Repeat([]byte("much"), 300<<10)
	res, err := x.Invoke(t.Context(), "f", Wish{Input: input})
	if err != nil || !bytes.Equal(res.Output, bytes.ToUpper(input)) {
		t.Errorf("%d bytes came back, %v", len(res.Output), err)
	}
	var log strings.Builder
	if err := x.Logs(t.Context(), "f", &log); err != nil || strings.Count(log.String(), "f a b c\n") != 3 {
		t.Errorf("%s, %v", log.String(), err)
	}
}

func TestAFunctionThatFailsIsAResult(t *testing.T) {
	w := newTown(t, 2)
	x := w.client()
	for _, o := range []call.Outcome{{Exit: 3}, {Fault: fault.Trapped}, {Fault: fault.OutOfGas}, {Fault: fault.TooLarge}} {
		w.hosts[0].twist = func(out *call.Outcome) { out.Exit, out.Fault = o.Exit, o.Fault }
		w.hosts[0].forge = func(d *wire.Done) { d.Reason = "a" + strings.Repeat("ä", 1000) }
		res, err := x.Invoke(t.Context(), "f", Wish{})
		if err != nil || res.Exit != o.Exit || res.Fault != o.Fault {
			t.Errorf("%+v: %+v, %v", o, res, err)
		}
		if len(res.Reason) > 300 || !utf8.ValidString(res.Reason) {
			t.Errorf("a reason of %d bytes: %q", len(res.Reason), res.Reason)
		}
	}
	if n := w.hosts[1].asked(); n != 0 {
		t.Errorf("another host was asked %d times", n)
	}
}

// refuses answers calls with a refusal.
func refuses(code, reason string) func(h *host) {
	return instead(func(s net.Conn) { p2p.WriteFrame(s, &wire.Response{Code: code, Reason: reason}) })
}

// instead does something else on a call.
func instead(f func(s net.Conn)) func(h *host) {
	return func(h *host) {
		h.instead = func(s net.Conn, r *wire.Request) bool {
			if r.GetCall() == nil {
				return false
			}
			io.CopyN(io.Discard, s, int64(r.GetCall().Input))
			f(s)
			return true
		}
	}
}

// sends writes bytes instead of an answer, and ends the stream.
func sends(b string) func(h *host) {
	return instead(func(s net.Conn) { s.Write([]byte(b)); s.Close() })
}

func twists(f func(o *call.Outcome)) func(h *host) { return func(h *host) { h.twist = f } }
func forges(f func(d *wire.Done)) func(h *host)    { return func(h *host) { h.forge = f } }

// lies are what a host does that no client believes, or that helps it with nothing,
// and what the client says of it.
var lies = map[string]struct {
	lie  func(h *host)
	code fault.Code
	says string
}{
	"more gas than was allowed":     {twists(func(o *call.Outcome) { o.Gas = DefaultGas + 1 }), fault.BadFrame, "gas"},
	"more output than was allowed":  {twists(func(o *call.Outcome) { o.Bytes = call.MaxOutput + 1 }), fault.BadFrame, "output"},
	"a fault that is the host's":    {twists(func(o *call.Outcome) { o.Fault = fault.Busy }), fault.BadFrame, "fault"},
	"a forged signature":            {forges(func(d *wire.Done) { d.Sig[3] ^= 1 }), fault.BadSignature, "signature"},
	"no signature":                  {forges(func(d *wire.Done) { d.Sig = nil }), fault.BadSignature, "signature"},
	"another exit than signed":      {forges(func(d *wire.Done) { d.Exit = 9 }), fault.BadSignature, "signature"},
	"less gas than signed":          {forges(func(d *wire.Done) { d.Gas-- }), fault.BadSignature, "signature"},
	"half a digest":                 {forges(func(d *wire.Done) { d.Output = d.Output[:16] }), fault.BadFrame, "outcome"},
	"a log without end":             {forges(func(d *wire.Done) { d.LogBytes = 1 << 60 }), fault.BadFrame, "outcome"},
	"a yes without an outcome":      {instead(func(s net.Conn) { p2p.WriteFrame(s, &wire.Response{}) }), fault.BadFrame, "outcome"},
	"another output than signed":    {func(h *host) { h.output = bytes.ToLower }, fault.BadFrame, "signed"},
	"a frame without end":           {sends("\xff\xff\xff\xff"), fault.BadFrame, "limit"},
	"a frame that is too large":     {sends("\x00\x10\x00\x01"), fault.BadFrame, "limit"},
	"garbage":                       {sends("\x00\x00\x00\x02\xff\xff"), fault.BadFrame, "frame"},
	"half a frame":                  {sends("\x00\x00\x00\x09\x0a"), fault.BadFrame, "EOF"},
	"nothing":                       {sends(""), fault.HostUnreachable, "EOF"},
	"a code that isn't":             {refuses("no such code", "hm"), fault.HostRefused, "hm"},
	"trouble of its own":            {refuses("internal", "hm"), fault.HostRefused, "hm"},
	"that the client has no money":  {refuses("no_funds", "hm"), fault.HostRefused, "hm"},
	"that the client's disk is bad": {refuses("damaged_file", "hm"), fault.HostRefused, "hm"},
	"that there is no function":     {refuses("not_found", "hm"), fault.HostRefused, "hm"},
	"that the phrase is wrong":      {refuses("wrong_passphrase", "hm"), fault.HostRefused, "hm"},
	"no module, for ever":           {refuses("no_module", "hm"), fault.NoModule, "hm"},
	"unpaid, for ever":              {refuses("unpaid", "hm"), fault.Unpaid, "hm"},
	"no room":                       {refuses("host_full", "hm"), fault.HostFull, "hm"},
	"a broken sandbox":              {refuses("sandbox_failed", "hm"), fault.SandboxFailed, "hm"},
	"words that move the cursor":    {refuses("host_full", strings.Repeat("\x1b[31m", 1000)), fault.HostFull, " [31m"},
	"a stream that doesn't open":    {func(h *host) { h.down = true }, fault.HostUnreachable, "nobody answers"},
	"shorter output than signed": {func(h *host) {
		h.instead = func(s net.Conn, r *wire.Request) bool {
			if r.GetFetch() == nil {
				return false
			}
			p2p.WriteFrame(s, &wire.Response{})
			s.Write([]byte("WAR"))
			s.Close()
			return true
		}
	}, fault.HostUnreachable, "EOF"},
	"a call and then no output": {func(h *host) {
		h.instead = func(s net.Conn, r *wire.Request) bool {
			if r.GetFetch() == nil {
				return false
			}
			p2p.WriteFrame(s, &wire.Response{Code: "busy", Reason: "hm"})
			return true
		}
	}, fault.Busy, "hm"},
}

func TestALiarIsLeftForAnotherHost(t *testing.T) {
	for name, l := range lies {
		t.Run(name, func(t *testing.T) {
			w := newTown(t, 2)
			x := w.client()
			w.hosts[1].modules[mustFind(t, x).Module] = true
			l.lie(w.hosts[0])
			for range 2 {
				res, err := x.Invoke(t.Context(), "f", Wish{Input: []byte("warmth")})
				if err != nil || res.Host != w.hosts[1].Host() || string(res.Output) != "WARMTH" {
					t.Fatalf("%+v, %v", res, err)
				}
			}
			if n := w.hosts[0].asked(); n > 4 || l.code != fault.Busy && n > 2+w.hosts[0].puts {
				t.Errorf("it was asked %d times", n)
			}
			if w.hosts[0].payments > 0 && w.hosts[0].resyncs == 0 && w.hosts[0].puts > 0 {
				t.Error("nobody asked what was used of what was paid")
			}
		})
	}
}

func TestWhenAllHostsFailTheErrorSaysWhy(t *testing.T) {
	for name, l := range lies {
		t.Run(name, func(t *testing.T) {
			w := newTown(t, 6)
			x := w.client()
			for _, h := range w.hosts {
				l.lie(h)
			}
			_, err := x.Invoke(t.Context(), "f", Wish{Input: []byte("warmth")})
			want(t, name, err, l.code)
			if err == nil || !strings.Contains(err.Error(), l.says) || !strings.Contains(err.Error(), w.hosts[3].Host()) {
				t.Errorf("%v", err)
			}
			if len(err.Error()) > 2000 || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("a host's words are repeated as they are: %q", err)
			}
			asked := 0
			for _, h := range w.hosts {
				asked += min(h.asked(), 1)
			}
			if asked > tries {
				t.Errorf("%d hosts were asked", asked)
			}
		})
	}
	w := newTown(t, 1)
	x := w.client()
	refuses("host_full", "it sleeps")(w.hosts[0])
	_, err := x.Invoke(t.Context(), "f", Wish{})
	want(t, "the only host", err, fault.NoHosts)
	if err == nil || !strings.Contains(err.Error(), "it sleeps") {
		t.Errorf("%v", err)
	}
}

func mustFind(t testing.TB, x *Client) Function {
	t.Helper()
	f, err := x.Function(t.Context(), "f")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestWhatIsTheCallsFaultIsNotTriedElsewhere(t *testing.T) {
	for _, code := range []fault.Code{fault.BadRequest, fault.BadModule, fault.TooLarge, fault.Deadline} {
		w := newTown(t, 3)
		x := w.client()
		refuses(string(code), "so it is")(w.hosts[0])
		_, err := x.Invoke(t.Context(), "f", Wish{})
		want(t, string(code), err, code)
		if w.hosts[0].asked() != 1 || w.hosts[1].asked()+w.hosts[2].asked() != 0 {
			t.Errorf("%s: others were asked", code)
		}
		// Who says so may lie: it isn't asked again while there are others.
		for range 2 {
			if _, err := x.Invoke(t.Context(), "f", Wish{}); err != nil {
				t.Error(err)
			}
		}
		if w.hosts[0].asked() != 1 || w.looked != 1 {
			t.Errorf("%s: it was asked %d times", code, w.hosts[0].asked())
		}
	}
	w := newTown(t, 3)
	x := w.client()
	for name, c := range map[string]struct {
		function string
		wish     Wish
		code     fault.Code
	}{
		"no such function": {"g", Wish{}, fault.NotFound},
		"no name":          {"../f", Wish{}, fault.NotFound},
		"too much input":   {"f", Wish{Input: make([]byte, call.MaxInput+1)}, fault.TooLarge},
		"too many words":   {"f", Wish{Args: []string{strings.Repeat("a", call.MaxWords)}}, fault.TooLarge},
		"no variable":      {"f", Wish{Env: []string{"A"}}, fault.BadRequest},
	} {
		_, err := x.Invoke(t.Context(), c.function, c.wish)
		want(t, name, err, c.code)
	}
	if w.looked != 0 {
		t.Error("hosts were looked for")
	}
}

// forgetCopy loses this machine's copy of f's module, and says where the other is.
func forgetCopy(t testing.TB, x *Client) string {
	t.Helper()
	f := mustFind(t, x)
	if err := os.Remove(x.copyOf(f.Module)); err != nil {
		t.Fatal(err)
	}
	return blob(f.Module)
}

func TestWhatIsWrongHereIsNoHostsFault(t *testing.T) {
	for name, c := range map[string]struct {
		trouble func(w *town, x *Client)
		code    fault.Code
	}{
		"no money":           {func(w *town, _ *Client) { w.hosts[0].penury = fault.New(fault.NoFunds, "the purse is empty") }, fault.NoFunds},
		"no module anywhere": {func(w *town, x *Client) { delete(w.kept, forgetCopy(t, x)) }, fault.NotFound},
		"a module out of reach": {func(w *town, x *Client) {
			w.broken[forgetCopy(t, x)] = fault.New(fault.NotEnoughShards, "2 of 4")
		}, fault.NotEnoughShards},
		"a module's store that is broken": {func(w *town, x *Client) { w.broken[forgetCopy(t, x)] = errors.New("no") }, fault.Internal},
		"another module in its place":     {func(w *town, x *Client) { w.kept[forgetCopy(t, x)] = module(9) }, fault.DamagedFile},
		"a larger module in its place":    {func(w *town, x *Client) { w.kept[forgetCopy(t, x)] = make([]byte, 5000) }, fault.TooLarge},
	} {
		w := newTown(t, 2)
		x := w.client()
		c.trouble(w, x)
		_, err := x.Invoke(t.Context(), "f", Wish{})
		want(t, name, err, c.code)
		if w.hosts[1].asked() != 0 {
			t.Errorf("%s: another host was asked", name)
		}
	}
}

func TestABusyHostIsAskedAgainLater(t *testing.T) {
	w := newTown(t, 2)
	x := w.client()
	refuses("busy", "later")(w.hosts[0])
	res, err := x.Invoke(t.Context(), "f", Wish{})
	if err != nil || res.Host != w.hosts[1].Host() {
		t.Fatalf("%+v, %v", res, err)
	}
	w.hosts[0].instead = nil
	res, err = x.Invoke(t.Context(), "f", Wish{})
	if err != nil || res.Host != w.hosts[0].Host() || w.looked != 1 {
		t.Errorf("%+v, %v", res, err)
	}
}

// A host that refuses while the input is still on its way is heard.
func TestARefusalInTheMiddleOfTheInputIsHeard(t *testing.T) {
	w := newTown(t, 2)
	x := w.client()
	f := mustFind(t, x)
	w.hosts[1].modules[f.Module] = true
	w.hosts[0].instead = func(s net.Conn, r *wire.Request) bool {
		s.Read(make([]byte, 1000))
		p2p.WriteFrame(buffered{s}, &wire.Response{Code: "too_large", Reason: "enough"})
		return true
	}
	x.c.Pause = 2 * time.Second
	_, err := x.Invoke(t.Context(), "f", Wish{Input: make([]byte, 1<<20)})
	want(t, "refused", err, fault.TooLarge)
}

// buffered writes without waiting for a reader.
type buffered struct{ net.Conn }

func (b buffered) Write(p []byte) (int, error) {
	b.Conn.SetWriteDeadline(time.Time{})
	go b.Conn.Write(p)
	return len(p), nil
}

func TestASilentHostIsLeft(t *testing.T) {
	deadline := DefaultDeadline + compiling + 5*time.Second
	for name, c := range map[string]struct {
		lie  func(h *host)
		most time.Duration
	}{
		"that says nothing": {func(h *host) { h.silent = true }, deadline},
		"that reads nothing": {func(h *host) {
			h.instead = func(net.Conn, *wire.Request) bool { time.Sleep(time.Hour); return true }
		}, 10 * time.Second},
		"that never sends output":   {silentOn(func(r *wire.Request) bool { return r.GetFetch() != nil }), 5 * time.Second},
		"that never takes a module": {silentOn(func(r *wire.Request) bool { return r.GetPut() != nil }), deadline},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newTown(t, 2)
				x := w.client()
				c.lie(w.hosts[0])
				began := time.Now()
				res, err := x.Invoke(t.Context(), "f", Wish{Input: []byte("warmth")})
				if err != nil || res.Host != w.hosts[1].Host() {
					t.Fatalf("%+v, %v", res, err)
				}
				if took := time.Since(began); took > c.most {
					t.Errorf("it took %v", took)
				}
				// Who has no time isn't kept waiting.
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("enough"))
				defer cancel()
				for _, h := range w.hosts {
					h.silent = true
				}
				began = time.Now()
				_, err = x.Invoke(ctx, "f", Wish{})
				if took := time.Since(began); took > time.Second || err == nil || err.Error() != "enough" {
					t.Errorf("it took %v: %v", took, err)
				}
			})
		})
	}
}

// silentOn takes everything and says nothing after some requests.
func silentOn(which func(r *wire.Request) bool) func(h *host) {
	return func(h *host) {
		h.instead = func(s net.Conn, r *wire.Request) bool {
			if !which(r) {
				return false
			}
			io.Copy(io.Discard, s)
			return true
		}
	}
}

func TestManyCallsAtOnceSpreadOverHosts(t *testing.T) {
	const each = 10
	w := newTown(t, 3)
	x := w.client()
	var all sync.WaitGroup
	all.Add(3 * each)
	for _, h := range w.hosts {
		h.modules[mustFind(t, x).Module] = true
		h.during = func() { all.Done(); all.Wait() } // nobody ends before all are there
	}
	var calls sync.WaitGroup
	for i := range 3 * each {
		calls.Go(func() {
			word := fmt.Sprintf("call %d", i)
			res, err := x.Invoke(t.Context(), "f", Wish{Input: []byte(word)})
			if err != nil || string(res.Output) != strings.ToUpper(word) {
				t.Errorf("%q, %v", res.Output, err)
			}
		})
	}
	calls.Wait()
	for _, h := range w.hosts {
		if h.asked() != each || h.resyncs != 0 {
			t.Errorf("%s was asked for %d calls, and %d times what was used", h.Host(), h.asked(), h.resyncs)
		}
	}
	if w.looked != 2 { // the second time for more, when all were busy
		t.Errorf("hosts were looked for %d times", w.looked)
	}
}

func TestBetterHostsAreLookedForNowAndThen(t *testing.T) {
	w := newTown(t, 1)
	now := time.Unix(1_900_000_000, 0)
	x := w.client(func(c *Config) { c.Now = func() time.Time { return now } })
	for i, passes := range []time.Duration{0, 9 * time.Minute, 2 * time.Minute, time.Minute} {
		now = now.Add(passes)
		if _, err := x.Invoke(t.Context(), "f", Wish{}); err != nil {
			t.Fatal(err)
		}
		if looked := []int{1, 1, 2, 2}[i]; w.looked != looked {
			t.Errorf("call %d: looked %d times, not %d", i, w.looked, looked)
		}
	}
}
