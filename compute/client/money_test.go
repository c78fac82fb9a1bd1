package client

import (
	"errors"
	"net"
	"testing"

	"hearth/compute/wire"
	"hearth/core/call"
	"hearth/core/fault"
	"hearth/core/quote"
	"hearth/p2p"
)

// once has the town's only host do something else for one call, that fails by it.
func once(t *testing.T, x *Client, h *host, lie func(h *host)) {
	t.Helper()
	lie(h)
	if _, err := x.Invoke(t.Context(), "f", Wish{Input: []byte("warmth")}); err == nil {
		t.Fatal("it went well")
	}
	h.instead, h.twist, h.forge, h.output, h.down = nil, nil, nil, nil, false
}

func TestACallCostsWhatItsHostSignsAndItsBytes(t *testing.T) {
	w := newTown(t, 1)
	x := w.client()
	prices := w.hosts[0].Prices()
	first, err := x.Invoke(t.Context(), "f", Wish{}) // brings the module there
	if err != nil {
		t.Fatal(err)
	}
	module := prices.Owed(quote.Use{In: uint64(len(module(1)))})
	if want := module + prices.Owed(quote.Use{Out: 1, Gas: 12345}); first.Cost != want {
		t.Errorf("the first cost %d, not %d", first.Cost, want)
	}
	res, err := x.Invoke(t.Context(), "f", Wish{Input: make([]byte, 1000)})
	if err != nil {
		t.Fatal(err)
	}
	if want := prices.Owed(quote.Use{In: 1000, Out: 1001, Gas: 12345}); res.Cost != want {
		t.Errorf("it cost %d, not %d", res.Cost, want)
	}
}

func TestWhatABrokenCallUsedIsLearnedBeforeTheNext(t *testing.T) {
	for name, l := range lies {
		w := newTown(t, 1)
		x := w.client()
		h := w.hosts[0]
		h.modules[mustFind(t, x).Module] = true
		once(t, x, h, l.lie)
		before := h.resyncs
		for range 2 {
			// The host was let go, and is hired again: it is the same lease.
			if _, err := x.Invoke(t.Context(), "f", Wish{}); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if h.resyncs != before+1 {
			t.Errorf("%s: asked %d times what was used", name, h.resyncs-before)
		}
	}
}

func TestWhoDoesNotSayWhatWasUsedIsAskedAgain(t *testing.T) {
	w := newTown(t, 1)
	x := w.client()
	h := w.hosts[0]
	h.modules[mustFind(t, x).Module] = true
	once(t, x, h, forges(func(d *wire.Done) { d.Sig = nil }))
	h.deaf = errors.New("no")
	for range 2 {
		if _, err := x.Invoke(t.Context(), "f", Wish{}); err != nil {
			t.Fatal(err)
		}
	}
	h.deaf = nil
	for range 2 {
		if _, err := x.Invoke(t.Context(), "f", Wish{}); err != nil {
			t.Fatal(err)
		}
	}
	if h.resyncs != 3 {
		t.Errorf("asked %d times", h.resyncs)
	}
}

// A host that has lost count of a payment hears of it, and the call runs there.
func TestAHostThatSaysUnpaidIsAskedOnceMore(t *testing.T) {
	w := newTown(t, 2)
	x := w.client()
	h := w.hosts[0]
	h.modules[mustFind(t, x).Module] = true
	said := false
	h.instead = func(s net.Conn, r *wire.Request) bool {
		if said || r.GetCall() == nil {
			return false
		}
		said = true
		p2p.WriteFrame(s, &wire.Response{Code: string(fault.Unpaid), Reason: "nothing came"})
		return true
	}
	res, err := x.Invoke(t.Context(), "f", Wish{})
	if err != nil || res.Host != h.Host() || h.resyncs != 1 || h.payments != 2 {
		t.Errorf("%+v, %v; asked %d times what was used, paid %d times", res, err, h.resyncs, h.payments)
	}
}

func TestAHostThatForgetsAModuleGetsItAnew(t *testing.T) {
	w := newTown(t, 1)
	x := w.client()
	h := w.hosts[0]
	for range 3 {
		clear(h.modules)
		if _, err := x.Invoke(t.Context(), "f", Wish{}); err != nil {
			t.Fatal(err)
		}
	}
	if h.puts != 3 || h.resyncs != 3 || w.looked != 1 {
		t.Errorf("%d modules put, %d times asked, looked %d times", h.puts, h.resyncs, w.looked)
	}
}

func TestAPaymentThatFailsIsNoCall(t *testing.T) {
	w := newTown(t, 2)
	x := w.client()
	w.hosts[0].penury = fault.New(fault.LeaseClosed, "it is over")
	res, err := x.Invoke(t.Context(), "f", Wish{})
	if err != nil || res.Host != w.hosts[1].Host() || w.hosts[0].asked() != 0 {
		t.Errorf("%+v, %v", res, err)
	}
	w.hosts[1].penury = fault.New(fault.CapReached, "it is spent")
	_, err = x.Invoke(t.Context(), "f", Wish{})
	want(t, "no money left", err, fault.CapReached)
}

func FuzzOutcome(f *testing.F) {
	h := newTown(f, 1).hosts[0]
	c := call.Call{Gas: 100, MaxOutput: 100}
	o := call.Outcome{Gas: 5, Bytes: 3}
	f.Add(uint32(0), uint64(5), o.Output[:], uint64(3), "", uint64(9), o.Sign(chainID, c.Digest(), h.key))
	f.Fuzz(func(t *testing.T, exit uint32, gas uint64, output []byte, n uint64, code string, log uint64, sig []byte) {
		d := &wire.Done{Exit: exit, Gas: gas, Output: output, OutputBytes: n, Fault: code, LogBytes: log, Sig: sig}
		got, err := outcome(d, c, chainID, h.Peer().Key)
		if err == nil && got != o {
			t.Errorf("%+v is believed to be signed", got)
		}
	})
}
