package proving_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"hearth/core/fault"
	"hearth/core/proof"
	"hearth/core/proving"

	"pgregory.net/rapid"
)

// Vectors are what another implementation has to come to.
type vectors struct {
	Mixed  []string `json:"mixed"` // R after blocks with hashes 00.., 01.., 02.., from a zero R
	Host   string   `json:"host"`
	Period int64    `json:"period"`
	Slots  int64    `json:"slots"`
	Slot   int64    `json:"slot"` // R being the last of mixed, at the period's start and at the slot
	Seed   string   `json:"seed"`
	Total  uint64   `json:"total"`
	Rates  []uint64 `json:"rates"`
	Leaves uint64   `json:"leaves"`
	Drawn  []uint64 `json:"drawn"`
}

func TestTheDrawsVectors(t *testing.T) {
	v := vectors{Host: "hearth1qqqsyqcyq5rqwzqfpg9scrgwpugpzysn7hzdtn", Period: 42, Slots: 512, Total: 1<<63 + 12345, Leaves: 1000}
	var r proving.Hash
	for i := range byte(3) {
		r = proving.Mix(r, bytes.Repeat([]byte{i}, 32))
		v.Mixed = append(v.Mixed, hex.EncodeToString(r[:]))
	}
	v.Slot = proving.Slot(v.Host, v.Period, r, v.Slots)
	seed := proving.SeedOf(v.Host, v.Period, r)
	v.Seed = hex.EncodeToString(seed[:])
	for i := range 5 {
		v.Rates = append(v.Rates, seed.Rate(i, v.Total))
		v.Drawn = append(v.Drawn, seed.Leaf(i, v.Leaves))
	}
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	path := filepath.Join("..", "..", "docs", "formats", "testdata", "draw.json")
	want, err := os.ReadFile(path)
	if *update && err != nil {
		err = os.WriteFile(path, got, 0o644)
		want = got
	}
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %v\n%s", path, err, got)
	}
}

func TestDrawsAreFair(t *testing.T) {
	const n, draws = 7, 7000
	var count [n]int
	for i := range draws {
		count[proving.SeedOf("host", int64(i), proving.Hash{}).Rate(0, n)]++
	}
	for i, c := range count {
		if c < draws/n-150 || c > draws/n+150 {
			t.Errorf("number %d came %d times in %d", i, c, draws)
		}
	}
	seed := proving.SeedOf("host", 1, proving.Hash{})
	if seed.Rate(0, 1<<40) == seed.Leaf(0, 1<<40) || seed.Rate(0, 1<<40) == seed.Rate(1, 1<<40) {
		t.Error("two draws are one")
	}
}

// However fast blocks come, every slot gets its R once, from the first block in
// it or after it.
func TestEverySlotIsMarkedOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := proving.Defaults(1000, rapid.Int64Range(2, 3000).Draw(t, "period"), 1)
		var b proving.Beacon
		now, marked := int64(900), int64(0)
		for i := range byte(100) {
			now += rapid.SampledFrom([]int64{0, 1, 1, 5, 40, 4000}).Draw(t, "later")
			was := b
			var from, to int64
			b, from, to = b.Block(now, []byte{i}, p)
			if b.R == was.R {
				t.Fatal("a block changed nothing")
			}
			period := p.At(now)
			if period == 0 {
				if from != to {
					t.Fatal("slots before the first period")
				}
				continue
			}
			if period != was.Period {
				marked = 0
				if b.Start != b.R {
					t.Fatal("a period's start isn't its first block's R")
				}
			}
			if from != marked || to < from || to > p.Slots() {
				t.Fatalf("slots %d to %d after %d", from, to, marked)
			}
			for slot := from; slot < to; slot++ {
				if p.SlotBegins(period, slot) > now {
					t.Fatalf("slot %d is marked before it begins", slot)
				}
			}
			if to < p.Slots() && p.SlotBegins(period, to) <= now {
				t.Fatalf("slot %d has begun and isn't marked", to)
			}
			marked = to
		}
	})
}

func TestWhichParametersMakeSense(t *testing.T) {
	good := proving.Defaults(0, day, 5)
	if good.Check() != nil || proving.Defaults(0, 10, 1).Check() != nil {
		t.Error("the defaults are refused")
	}
	for name, change := range map[string]func(*proving.Params){
		"no period": func(p *proving.Params) { p.Period = 1 }, "no slots": func(p *proving.Params) { p.MaxSlots = 0 },
		"no draws": func(p *proving.Params) { p.Draws = 0 }, "a window that is too long": func(p *proving.Params) { p.Window = 33 },
		"no misses": func(p *proving.Params) { p.Fatal = 0 }, "no pause": func(p *proving.Params) { p.VoidSeconds = 0 },
	} {
		p := good
		if change(&p); fault.CodeOf(p.Check()) != fault.BadRequest {
			t.Errorf("%s is taken", name)
		}
	}
}

// On real trees: who has the bytes answers every draw, and who hasn't can put
// nothing in their place.
func TestOnlyTheBytesAnswer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var shards [][]byte
		var slots []proof.Shard
		for i := range rapid.IntRange(1, 9).Draw(t, "shards") {
			b := bytes.Repeat([]byte{byte(i + 1), byte(i), 7}, rapid.IntRange(1, 3000).Draw(t, "thirds"))
			shards = append(shards, b)
			slots = append(slots, proof.Shard{Size: int64(len(b)), Root: proof.Sum(b)})
		}
		tree := proof.NewSumTree(slots)
		root, leavesOf := tree.Root()
		seed := proving.SeedOf("host", rapid.Int64().Draw(t, "period"), proving.Hash{1})
		show := func(n uint64) proof.Answer {
			slot, leaf := tree.Draw(n)
			shard := shards[slot]
			off := int64(leaf) * proof.LeafSize
			_, kept := proof.Build(shard)
			data, path, err := kept.Prove(shard[:min(proof.BlockSize, len(shard))], off, proof.LeafSize)
			if err != nil {
				t.Fatal(err)
			}
			return proof.Answer{Path: tree.Prove(slot), Data: data, Leaf: path}
		}
		for i := range 5 {
			a := show(seed.Leaf(i, leavesOf))
			if err := seed.Verify(i, root, a); err != nil {
				t.Fatalf("draw %d: %v", i, err)
			}
			c := proving.Challenge{Leaf: rapid.Uint64().Draw(t, "leaf")}
			if err := c.Verify(root, show(c.Leaf%leavesOf)); err != nil {
				t.Fatalf("challenge: %v", err)
			}
			bad := a
			bad.Data = append([]byte(nil), a.Data...)
			bad.Data[0] ^= 1
			if seed.Verify(i, root, bad) == nil {
				t.Fatal("other bytes are taken")
			}
			if other := (seed.Leaf(i, leavesOf) + 1) % leavesOf; leavesOf > 1 && seed.Verify(i, root, show(other)) == nil {
				t.Fatal("another leaf is taken")
			}
			if seed.Verify(i, proof.Hash{9}, a) == nil {
				t.Fatal("another root is taken")
			}
		}
	})
}

func TestAnEmptyLeaseHasNothingToShow(t *testing.T) {
	seed := proving.SeedOf("host", 1, proving.Hash{})
	if err := seed.Verify(0, proof.Hash{}, proof.Answer{}); err != nil {
		t.Error(err)
	}
	if err := seed.Verify(0, proof.EmptyRoot(), proof.Answer{}); err != nil {
		t.Error(err)
	}
	full, _ := proof.NewSumTree([]proof.Shard{{Size: 5, Root: proof.Sum([]byte("12345"))}}).Root()
	if seed.Verify(0, full, proof.Answer{}) == nil {
		t.Error("a lease that isn't empty passes for one")
	}
}
