package capability_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"pgregory.net/rapid"

	"hearth/core/capability"
	"hearth/core/fault"
)

const now = 1_800_000_000

var root = [32]byte(bytes.Repeat([]byte{7}, 32))

func full(caveats ...capability.Caveat) capability.Capability {
	return capability.Capability{ID: [16]byte{1, 2, 3}, Caveats: caveats}
}

func TestWhatCaveatsLeave(t *testing.T) {
	bucket := capability.Caveat{Kind: capability.InBucket, Text: "photos"}
	prefix := capability.Caveat{Kind: capability.Below, Text: "2026/"}
	reads := capability.Caveat{Kind: capability.Only, Number: int64(capability.ReadOnly)}
	until := capability.Caveat{Kind: capability.Until, Number: now}
	for _, tt := range []struct {
		name        string
		c           capability.Capability
		op          capability.Op
		bucket, key string
		at          int64
		ok          bool
	}{
		{"nothing taken away", full(), capability.Manage, "photos", "", now, true},
		{"its bucket", full(bucket), capability.Write, "photos", "a", now, true},
		{"another bucket", full(bucket), capability.Read, "letters", "a", now, false},
		{"the list of buckets", full(bucket), capability.List, "", "", now, true},
		{"below its prefix", full(bucket, prefix), capability.Write, "photos", "2026/a", now, true},
		{"beside its prefix", full(bucket, prefix), capability.Write, "photos", "2026", now, false},
		{"a listing of more than its prefix", full(prefix), capability.List, "photos", "20", now, false},
		{"a listing of its prefix", full(prefix), capability.List, "photos", "2026/", now, true},
		{"a bucket's settings with a prefix", full(prefix), capability.Manage, "photos", "", now, false},
		{"reading with a key that reads", full(reads), capability.Read, "photos", "a", now, true},
		{"writing with a key that reads", full(reads), capability.Write, "photos", "a", now, false},
		{"its last second", full(until), capability.Read, "photos", "a", now, true},
		{"a second later", full(until), capability.Read, "photos", "a", now + 1, false},
		{"two buckets at once", full(bucket, capability.Caveat{Kind: capability.InBucket, Text: "letters"}), capability.Read, "letters", "a", now, false},
		{"a wider prefix after a narrow one", full(prefix, capability.Caveat{Kind: capability.Below, Text: "20"}), capability.Read, "photos", "2025/a", now, false},
		{"prefixes that exclude each other", full(prefix, capability.Caveat{Kind: capability.Below, Text: "2025/"}), capability.Read, "photos", "2025/a", now, false},
		{"a longer time after a short one", full(until, capability.Caveat{Kind: capability.Until, Number: now + 50}), capability.Read, "photos", "a", now + 1, false},
		{"more operations after few", full(reads, capability.Caveat{Kind: capability.Only, Number: int64(capability.All)}), capability.Write, "photos", "a", now, false},
		{"a caveat that isn't known", full(capability.Caveat{Kind: 99}), capability.Read, "photos", "a", now, false},
		{"no operation at all", full(), 0, "photos", "a", now, false},
	} {
		if err := tt.c.Limits().Allow(tt.op, tt.bucket, tt.key, tt.at); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		} else if err != nil && fault.CodeOf(err) != fault.Unauthorized {
			t.Errorf("%s: code %s", tt.name, fault.CodeOf(err))
		}
	}
}

func TestTheHolderNarrowsAlone(t *testing.T) {
	c := full(capability.Caveat{Kind: capability.InBucket, Text: "photos"})
	v := capability.Caveat{Kind: capability.Quota, Number: 5}
	if got, want := c.Secret(root).Narrow(v), c.Narrow(v).Secret(root); got.Reveal() != want.Reveal() {
		t.Error("the holder's secret isn't the issuer's")
	}
	if len(c.Caveats) != 1 {
		t.Error("narrowing changed the capability")
	}
	if s := fmt.Sprintf("%v %s %+v", c.Secret(root), c.Secret(root), c.Secret(root)); s != "[secret] [secret] [secret]" {
		t.Errorf("it prints: %s", s)
	}
}

func TestASecretCoversEveryCaveat(t *testing.T) {
	gen := rapid.Custom(func(t *rapid.T) capability.Caveat {
		k := capability.Kind(rapid.IntRange(1, 5).Draw(t, "kind"))
		if k <= capability.Below {
			return capability.Caveat{Kind: k, Text: rapid.StringN(1, 20, 40).Draw(t, "text")}
		}
		return capability.Caveat{Kind: k, Number: rapid.Int64Min(0).Draw(t, "number")}
	})
	rapid.Check(t, func(t *rapid.T) {
		c := capability.Capability{Caveats: rapid.SliceOfN(gen, 1, 5).Draw(t, "caveats")}
		b, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := capability.Decode(b)
		if err != nil || back.Secret(root).Reveal() != c.Secret(root).Reveal() {
			t.Fatalf("decoded %+v, %v", back, err)
		}
		wider := capability.Capability{ID: c.ID, Caveats: c.Caveats[1:]}
		if wider.Secret(root).Reveal() == c.Secret(root).Reveal() {
			t.Fatal("a caveat left out isn't noticed")
		}
		if i := rapid.IntRange(0, len(b)-1).Draw(t, "at"); i > 0 {
			b[i] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			if forged, err := capability.Decode(b); err == nil && forged.Secret(root).Reveal() == c.Secret(root).Reveal() {
				t.Fatal("a changed bit isn't noticed")
			}
		}
	})
}

func TestGolden(t *testing.T) {
	text, err := os.ReadFile("../../docs/formats/testdata/capability.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct{ Root, Bytes, Secret, Narrowed string }
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	c := full(
		capability.Caveat{Kind: capability.InBucket, Text: "photos"}, capability.Caveat{Kind: capability.Below, Text: "2026/"},
		capability.Caveat{Kind: capability.Only, Number: int64(capability.ReadOnly)},
		capability.Caveat{Kind: capability.Until, Number: now}, capability.Caveat{Kind: capability.Quota, Number: 1 << 30},
	)
	b, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	narrow := c.Secret(root).Narrow(capability.Caveat{Kind: capability.Below, Text: "2026/11/"})
	got := struct{ Root, Bytes, Secret, Narrowed string }{hex.EncodeToString(root[:]), hex.EncodeToString(b), c.Secret(root).Word(), narrow.Word()}
	if got != want {
		t.Errorf("got %+v", got)
	}
}

func FuzzDecode(f *testing.F) {
	b, err := full(capability.Caveat{Kind: capability.InBucket, Text: "photos"}, capability.Caveat{Kind: capability.Quota, Number: 9}).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{1})
	f.Add([]byte{2, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := capability.Decode(b)
		if err != nil {
			return
		}
		again, err := c.Encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x becomes %x, %v", b, again, err)
		}
	})
}
