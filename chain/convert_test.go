package chain

import (
	"testing"

	"hearth/chain/pb/marketv1"
	"hearth/core/fault"
	"hearth/core/quote"
)

// A lease keeps the prices before, for statements as of an earlier time, and the
// key of its newest statement.
func TestALeaseKeepsItsPast(t *testing.T) {
	key := make([]byte, 32)
	key[0] = 7
	record := &marketv1.Lease{
		Id: 3, Kind: uint32(quote.Storage), State: 1, Units: []uint64{1, 2, 3}, Key: key, PricedAt: 100,
		Prices: &marketv1.Prices{Unit: []uint64{4, 5, 6}, In: 7}, Before: &marketv1.Prices{Unit: []uint64{1, 1, 1}, In: 2},
	}
	l, err := coreLease(record)
	if err != nil {
		t.Fatal(err)
	}
	if l.PricesAt(99).In != 2 || l.PricesAt(100).In != 7 || l.Key[0] != 7 || l.Units != (quote.Units{1, 2, 3}) {
		t.Errorf("%+v", l)
	}
	for name, spoil := range map[string]func(*marketv1.Lease){
		"a short key":        func(l *marketv1.Lease) { l.Key = key[:5] },
		"no prices before":   func(l *marketv1.Lease) { l.Before = nil },
		"two units":          func(l *marketv1.Lease) { l.Units = l.Units[:2] },
		"an unknown state":   func(l *marketv1.Lease) { l.State = 9 },
		"a root of one byte": func(l *marketv1.Lease) { l.Root = []byte{1} },
	} {
		bad := &marketv1.Lease{
			Id: 3, Kind: 1, State: 1, Units: []uint64{1, 2, 3}, Key: key, PricedAt: 100, Prices: record.Prices, Before: record.Before,
		}
		spoil(bad)
		if _, err := coreLease(bad); fault.CodeOf(err) != fault.UnknownFormat {
			t.Errorf("%s: %v", name, err)
		}
	}
}
