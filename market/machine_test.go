package market

import (
	"bytes"
	"crypto/ed25519"
	"testing"
	"time"

	"hearth/core/fault"
	"hearth/core/machine"
	"hearth/core/money"
	"hearth/core/quote"
)

// A machine's class comes with the quote for compute, and is the host's own word or none.
func TestWhatHostsTellOfTheirMachines(t *testing.T) {
	w := newWorld(t)
	w.kind, w.prices = quote.Compute, priced
	now := time.Now().Unix()
	tell := func(change func(c *machine.Class), spoil func(b []byte) []byte) func(*HostConfig) {
		return func(c *HostConfig) {
			c.Machine = func() []byte {
				k := machine.Class{ChainID: w.ChainID(), Host: c.Account.Address(), Figures: machine.Figures{
					Core: 2e9, All: 3e9, Cores: 2, GPUs: []machine.GPU{{Vendor: "AMD", Model: "x"}}, Measured: now,
				}}
				if change != nil {
					change(&k)
				}
				b := k.Sign(c.Key).Encode()
				if spoil != nil {
					b = spoil(b)
				}
				return b
			}
		}
	}
	type answer struct {
		code fault.Code
		told bool
	}
	want := map[string]answer{}
	for _, tt := range []struct {
		name   string
		change func(*HostConfig)
		want   answer
	}{
		{"a-good", tell(nil, nil), answer{told: true}},
		{"b-silent", func(*HostConfig) {}, answer{}},
		{"c-empty", func(c *HostConfig) { c.Machine = func() []byte { return []byte{} } }, answer{}},
		{"d-old", tell(func(c *machine.Class) { c.Measured = now - machine.Lasts - 100 }, nil), answer{}},
		{"e-newer-format", tell(nil, func(b []byte) []byte { b[0] = 2; return b }), answer{}},
		{"f-future", tell(func(c *machine.Class) { c.Measured = now + 3600 }, nil), answer{code: fault.BadRequest}},
		{"g-another", tell(func(c *machine.Class) { c.Host = "a-good" }, nil), answer{code: fault.BadSignature}},
		{"h-elsewhere", tell(func(c *machine.Class) { c.ChainID = "hearth-ff" }, nil), answer{code: fault.WrongNetwork}},
		{"i-forged", tell(nil, func(b []byte) []byte { b[len(b)-1] ^= 1; return b }), answer{code: fault.BadSignature}},
		{"j-stolen", func(c *HostConfig) {
			other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, ed25519.SeedSize))
			c.Machine = func() []byte {
				return machine.Class{ChainID: w.ChainID(), Host: "j-stolen", Figures: machine.Figures{Measured: now}}.Sign(other).Encode()
			}
		}, answer{code: fault.BadSignature}},
		{"k-rubbish", func(c *HostConfig) { c.Machine = func() []byte { return []byte{1, 2, 3} } }, answer{code: fault.BadFrame}},
		{"l-large", func(c *HostConfig) { c.Machine = func() []byte { return make([]byte, machine.MaxBytes+1) } }, answer{code: fault.TooLarge}},
	} {
		w.host(tt.name, tt.change)
		want[tt.name] = tt.want
	}
	b := w.client("client", money.Ember)
	offers, err := b.Offers(t.Context(), quote.Compute, false)
	must(t, err)
	if len(offers) != len(want) {
		t.Fatalf("%d offers", len(offers))
	}
	for _, o := range offers {
		got := answer{fault.CodeOf(o.Err), o.Machine != nil}
		if o.Err == nil {
			got.code = ""
		}
		if got != want[o.Host.Address] {
			t.Errorf("%s: %+v, %v", o.Host.Address, got, o.Err)
		}
		if o.Machine != nil && (o.Machine.Core != 2e9 || len(o.Machine.GPUs) != 1) {
			t.Errorf("%s: %+v", o.Host.Address, o.Machine)
		}
	}
}

// Who sells room on a disk is asked nothing about the rest of the machine.
func TestAQuoteForStorageTellsNothingOfTheMachine(t *testing.T) {
	w := newWorld(t)
	w.host("a", func(c *HostConfig) { c.Machine = func() []byte { return []byte("rubbish") } })
	offers, err := w.client("client", money.Ember).Offers(t.Context(), quote.Storage, false)
	must(t, err)
	if len(offers) != 1 || offers[0].Err != nil || offers[0].Machine != nil {
		t.Errorf("%+v", offers)
	}
}
