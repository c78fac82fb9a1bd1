package placement_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/core/placement"
	"hearth/core/quote"
)

var (
	prices  = quote.Prices{Unit: [quote.Dims]uint64{1000}, In: 10, Out: 100}
	ceiling = quote.Prices{Unit: [quote.Dims]uint64{5000}, In: 50, Out: 500}
)

// stranger is host number i: alone in its network, with an owner of its own.
func stranger(i int) placement.Candidate {
	return placement.Candidate{
		Host:  fmt.Sprintf("hearth1host%03d", i),
		Owner: fmt.Sprintf("owner%03d", i),
		Addrs: []netip.Addr{netip.AddrFrom4([4]byte{11, byte(i >> 8), byte(i), 7}), netip.MustParseAddr(fmt.Sprintf("2001:db8:%x::1", i))},
		// five regions
		Region: fmt.Sprintf("r%d", i%5),
		Prices: prices,
		Free:   1 << 40,
	}
}

func strangers(n int) []placement.Candidate {
	list := make([]placement.Candidate, n)
	for i := range list {
		list[i] = stranger(i)
	}
	return list
}

func wish() placement.Wish {
	return placement.Wish{Class: erasure.DefaultClass, Want: 20, Shard: 4 << 20, Ceiling: ceiling}
}

func draw(t *rapid.T) ([]placement.Candidate, placement.Wish) {
	n := rapid.IntRange(0, 60).Draw(t, "hosts")
	owners := rapid.IntRange(1, 60).Draw(t, "owners")
	nets := rapid.IntRange(1, 80).Draw(t, "nets")
	var list []placement.Candidate
	for i := range n {
		c := placement.Candidate{
			Host:     fmt.Sprintf("host%02d", i),
			Owner:    fmt.Sprint("owner", rapid.IntRange(1, owners).Draw(t, "owner")),
			Region:   rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "region"),
			Prices:   prices,
			Free:     rapid.SampledFrom([]int64{0, 1 << 40, 1 << 40, 1 << 40}).Draw(t, "free"),
			Young:    rapid.Bool().Draw(t, "young"),
			Measured: rapid.IntRange(0, 1000).Draw(t, "measured"),
		}
		c.Prices.Unit[0] = rapid.Uint64Range(0, 5500).Draw(t, "price")
		for range rapid.IntRange(0, 2).Draw(t, "addrs") {
			c.Addrs = append(c.Addrs, netip.AddrFrom4([4]byte{11, 0, byte(rapid.IntRange(1, nets).Draw(t, "net")), byte(i)}))
		}
		list = append(list, c)
	}
	size := rapid.IntRange(2, 20).Draw(t, "n")
	w := wish()
	w.Class = erasure.Class{K: rapid.IntRange(1, size-1).Draw(t, "k"), N: size}
	if n > 0 && rapid.Bool().Draw(t, "used") {
		w.Used = list[:1]
	}
	w.Want = rapid.IntRange(0, size-len(w.Used)).Draw(t, "want")
	w.Spares = rapid.IntRange(0, 5).Draw(t, "spares")
	w.Avoid = map[string]bool{"host03": true}
	w.Local = rapid.IntRange(0, 3).Draw(t, "local") == 0
	binary.BigEndian.PutUint64(w.Seed[:], rapid.Uint64().Draw(t, "seed"))
	return list, w
}

func TestRulesAreNeverBent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list, w := draw(t)
		by := map[string]placement.Candidate{}
		for _, c := range list {
			by[c.Host] = c
		}
		got, err := placement.Choose(list, w)
		if err != nil {
			var s *placement.Shortage
			if !errors.As(err, &s) || fault.CodeOf(err) != fault.NotEnoughHosts || s.Found >= w.Want {
				t.Fatal(err)
			}
			n := s.Found
			for _, k := range s.Because {
				n += k
			}
			if n != len(list) {
				t.Fatalf("%d hosts are accounted for, there are %d: %v", n, len(list), err)
			}
			return
		}
		if len(got.Hosts) != w.Want || len(got.Spares) > w.Spares {
			t.Fatalf("%d hosts and %d spares", len(got.Hosts), len(got.Spares))
		}
		taken := map[string]bool{}
		for _, c := range w.Used {
			taken[c.Host] = true
			taken[c.Owner] = !w.Local
			for _, k := range networks(c) {
				taken[k] = !w.Local
			}
		}
		for _, h := range slices.Concat(got.Hosts, got.Spares) {
			c := by[h]
			if taken[h] || w.Avoid[h] || c.Free < w.Shard || !c.Prices.Within(w.Ceiling) {
				t.Fatalf("%s may not be chosen", h)
			}
			taken[h] = true
			if w.Local {
				continue
			}
			for _, k := range append(networks(c), c.Owner) {
				if taken[k] {
					t.Fatalf("%s shares %s", h, k)
				}
				taken[k] = true
			}
		}
	})
}

// networks of a candidate of draw, spelled independently of the package.
func networks(c placement.Candidate) []string {
	if len(c.Addrs) == 0 {
		return []string{"unknown"}
	}
	var list []string
	for _, a := range c.Addrs {
		b := a.As4()
		list = append(list, fmt.Sprint(b[:3]))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func TestSameFactsGiveTheSameChoice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list, w := draw(t)
		a, errA := placement.Choose(list, w)
		b, errB := placement.Choose(rapid.Permutation(list).Draw(t, "order"), w)
		if fmt.Sprint(a, errA) != fmt.Sprint(b, errB) {
			t.Fatalf("%v %v, then %v %v", a, errA, b, errB)
		}
	})
}

func TestNewcomersHoldFewOnceThereAreOthers(t *testing.T) {
	list := strangers(60)
	for i := range list {
		list[i].Young = i >= 20
	}
	young := func(w placement.Wish) (n int) {
		got, err := placement.Choose(list, w)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range got.Hosts {
			if slices.ContainsFunc(list, func(c placement.Candidate) bool { return c.Host == h && c.Young }) {
				n++
			}
		}
		return n
	}
	if n := young(wish()); n > 5 {
		t.Errorf("20 others qualify, %d newcomers were taken", n)
	}
	list[0].Young = true
	if n := young(wish()); n <= 5 {
		t.Errorf("19 others qualify, only %d newcomers were taken", n)
	}
}

func TestRegionsShare(t *testing.T) {
	list := strangers(100)
	for i := range list {
		if i >= 30 {
			list[i].Region = "big"
		}
	}
	for seed := range 20 {
		w := wish()
		w.Seed[0] = byte(seed)
		got, err := placement.Choose(list, w)
		if err != nil {
			t.Fatal(err)
		}
		count := map[string]int{}
		for _, h := range got.Hosts {
			i := slices.IndexFunc(list, func(c placement.Candidate) bool { return c.Host == h })
			count[list[i].Region]++
		}
		for region, n := range count {
			if n > 5 {
				t.Errorf("seed %d: %d of 20 in region %s", seed, n, region)
			}
		}
	}
	w := wish()
	if _, err := placement.Choose(list[30:], w); err != nil {
		t.Errorf("with one region alone it still works: %v", err)
	}
}

func TestOneMachineIsEnoughForALocalCloudOnly(t *testing.T) {
	list := strangers(20)
	for i := range list {
		list[i].Owner, list[i].Region = "me", ""
		list[i].Addrs = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	}
	w := wish()
	if _, err := placement.Choose(list, w); fault.CodeOf(err) != fault.NotEnoughHosts {
		t.Errorf("one owner fills a slab: %v", err)
	}
	w.Local = true
	if got, err := placement.Choose(list, w); err != nil || len(got.Hosts) != 20 {
		t.Errorf("a local cloud: %v", err)
	}
}

func TestShortageSaysWhy(t *testing.T) {
	list := strangers(12)
	list[1].Owner = list[0].Owner
	list[2].Addrs[0] = netip.MustParseAddr("::ffff:11.0.3.200") // the /24 of host 3
	list[4].Addrs[1] = netip.MustParseAddr("2001:db8:5:ffff::9")
	list[6].Prices.Out = 501
	list[7].Free = 1
	w := wish()
	w.Avoid = map[string]bool{list[8].Host: true}
	w.Used, w.Want = list[9:10], 19
	_, err := placement.Choose(list, w)
	want := "choose hosts: 5 of 19 hosts found: 1 hold a shard of it already, 1 failed just now, 1 ask too much, 1 have no room, 1 share an owner, 2 share a network"
	if err == nil || err.Error() != want || fault.CodeOf(err) != fault.NotEnoughHosts {
		t.Errorf("%v", err)
	}
}

// Of four hosts two stand in the others' way; taking them first would spoil it.
func TestHostsInManyNetworksDontBlockOthers(t *testing.T) {
	list := strangers(3)
	list[2].Addrs = []netip.Addr{list[0].Addrs[0], list[1].Addrs[0]}
	for seed := range 50 {
		w := wish()
		w.Class, w.Want, w.Seed[0] = erasure.Class{K: 1, N: 2}, 2, byte(seed)
		if _, err := placement.Choose(list, w); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCheapAndGoodHostsGetMore(t *testing.T) {
	list := strangers(60)
	for i := range list {
		list[i].Measured = 500
	}
	list[0].Measured = 1000
	list[1].Prices.Unit[0], list[1].Prices.In, list[1].Prices.Out = 500, 5, 50
	list[2].Measured = 100
	list[3].Prices.Unit[0] = 3000
	count := map[string]int{}
	for seed := range 2000 {
		w := wish()
		binary.BigEndian.PutUint64(w.Seed[:], uint64(seed))
		got, err := placement.Choose(list, w)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range got.Hosts {
			count[h]++
		}
	}
	good, cheap, bad, dear, plain := count[list[0].Host], count[list[1].Host], count[list[2].Host], count[list[3].Host], count[list[9].Host]
	if good <= plain || cheap <= plain || bad >= plain || dear >= plain || bad == 0 {
		t.Errorf("good %d, cheap %d, plain %d, dear %d, bad %d", good, cheap, plain, dear, bad)
	}
}

func TestOneHostLessMovesOnlyItsOwnShare(t *testing.T) {
	list := strangers(40)
	for i := range list {
		list[i].Region = "one"
	}
	before, err := placement.Choose(list, wish())
	if err != nil {
		t.Fatal(err)
	}
	gone := before.Hosts[7]
	after, err := placement.Choose(slices.DeleteFunc(list, func(c placement.Candidate) bool { return c.Host == gone }), wish())
	if err != nil {
		t.Fatal(err)
	}
	kept := 0
	for _, h := range after.Hosts {
		if slices.Contains(before.Hosts, h) {
			kept++
		}
	}
	if kept != 19 {
		t.Errorf("%d of 19 hosts stay", kept)
	}
}

func TestChooseRefusesAWishThatMakesNoSense(t *testing.T) {
	for name, spoil := range map[string]func(*placement.Wish){
		"more than n": func(w *placement.Wish) { w.Want = 21 },
		"no class":    func(w *placement.Wish) { w.Class = erasure.Class{} },
		"less than 0": func(w *placement.Wish) { w.Want = -1 },
	} {
		w := wish()
		spoil(&w)
		if _, err := placement.Choose(strangers(30), w); fault.CodeOf(err) != fault.BadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
}
