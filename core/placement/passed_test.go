package placement

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"hearth/core/erasure"
	"hearth/core/quote"
)

func strangers(n int) []Candidate {
	var out []Candidate
	for i := range n {
		out = append(out, Candidate{
			Host: fmt.Sprintf("h%02d", i), Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, byte(i), 0, 1})}, Region: fmt.Sprint(i % 3), Young: i%4 == 0, Free: 100,
			Prices: quote.Prices{In: uint64(i)}, Measured: 1 + i*7%1000,
		})
	}
	return out
}

// Whatever prices and measurements say, a plain choice is the same, and who checks
// it finds nobody passed over.
func TestAPlainChoiceCanBeChecked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := strangers(rapid.IntRange(2, 30).Draw(t, "hosts"))
		used := rapid.IntRange(0, min(6, len(all)-1)).Draw(t, "used")
		w := Wish{
			Seed: [32]byte{rapid.Byte().Draw(t, "seed")}, Class: erasure.Class{K: 4, N: 8}, Want: 1, Shard: 10,
			Ceiling: quote.Prices{In: 1000}, Used: all[:used], Plain: true,
		}
		chosen, err := Choose(all, w)
		if err != nil {
			t.Fatal(err)
		}
		host := chosen.Hosts[0]
		for i := range all {
			all[i].Prices.In, all[i].Measured = rapid.Uint64Range(0, 1000).Draw(t, "price"), rapid.IntRange(0, 1000).Draw(t, "measured")
		}
		passed, err := Passed(rapid.Permutation(all).Draw(t, "order"), w, host)
		if err != nil || len(passed) > 0 {
			t.Fatalf("passed over %v, %v", passed, err)
		}
		// Of anybody else it is seen that he wasn't the one.
		for _, c := range all[used:] {
			if c.Host == host {
				continue
			}
			passed, err := Passed(all, w, c.Host)
			if err != nil || !slices.Contains(passed, host) {
				t.Fatalf("%s in the place of %s: passed over %v, %v", c.Host, host, passed, err)
			}
		}
	})
}

func TestWhatAPlainChoiceMayNeverBe(t *testing.T) {
	all := strangers(10)
	all[9].Owner, all[8].Owner = "one", "one"
	all[7].Addrs = all[8].Addrs
	all[6].Prices.In = 2000
	w := Wish{Class: erasure.Class{K: 2, N: 4}, Shard: 10, Ceiling: quote.Prices{In: 1000}, Used: all[8:9], Avoid: map[string]bool{"h05": true}}
	for host, why := range map[string]string{
		"h09": "of the owner of another shard", "h07": "in the network of another shard", "h08": "holds a shard", "h06": "too dear",
		"h05": "avoided", "nobody": "unknown",
	} {
		if _, err := Passed(all, w, host); err == nil {
			t.Errorf("%s: it passes", why)
		}
	}
	if _, err := Passed(all, w, "h01"); err != nil {
		t.Error(err)
	}
}
