package store_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hearth/core/canon"
	"hearth/core/fault"
	"hearth/core/store"
)

// keys are few and have much in common, so that laws meet the same one twice.
var keys = rapid.StringMatching(`[abü]{1,3}(/[ab]{0,2})?`)

// weighed is what a store of these keys and values takes.
func weighed(m map[string]string) (size int) {
	for k, v := range m {
		size += 8 + len(k) + len(v)
	}
	return size
}

func TestAStoreIsAMapInOrderWithinItsSize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(0, 120).Draw(t, "most")
		s, m := store.New(most), map[string]string{}
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				k, v := keys.Draw(t, "key"), rapid.StringN(0, 9, -1).Draw(t, "value")
				had, was := m[k]
				m[k] = v
				want := store.Done
				if weighed(m) > most {
					if want = store.Full; was {
						m[k] = had
					} else {
						delete(m, k)
					}
				}
				if got := s.Set(k, []byte(v)); got != want {
					t.Fatalf("set %q: %d, want %d", k, got, want)
				}
			},
			"delete": func(t *rapid.T) {
				k := keys.Draw(t, "key")
				_, was := m[k]
				delete(m, k)
				if s.Delete(k) != was {
					t.Fatalf("delete %q: it was there: %v", k, was)
				}
			},
			"": func(t *rapid.T) {
				for k, v := range m {
					if got, ok := s.Get(k); !ok || string(got) != v || !s.Has(k) {
						t.Fatalf("%q is %q, not %q", k, got, v)
					}
				}
				prefix := rapid.SampledFrom([]string{"", "a", "ab", "b/", "ü", "c"}).Draw(t, "prefix")
				after := rapid.SampledFrom([]string{"", "a", "aa", "ab/a", "b", "ü/"}).Draw(t, "after")
				var want, got []string
				for _, k := range slices.Sorted(maps.Keys(m)) {
					if strings.HasPrefix(k, prefix) && k > after {
						want = append(want, k)
					}
				}
				for k, ok := s.Next(prefix, after); ok; k, ok = s.Next(prefix, k) {
					got = append(got, k)
				}
				if !slices.Equal(got, want) {
					t.Fatalf("behind %q with %q: %q, not %q", after, prefix, got, want)
				}
				if s.Len() != len(m) || s.Size() != weighed(m) || len(s.Encode()) != s.Size()+store.Overhead {
					t.Fatalf("%d keys of %d bytes, not %d of %d", s.Len(), s.Size(), len(m), weighed(m))
				}
				again, err := store.Decode(s.Encode(), most)
				if err != nil || !bytes.Equal(again.Encode(), s.Encode()) || again.Size() != s.Size() {
					t.Fatalf("it doesn't come back: %v", err)
				}
			},
		})
	})
}

// The way to a store leaves no trace in it: its digest tells what is in it alone.
func TestTheSameContentIsTheSameBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.MapOf(keys, rapid.StringN(0, 9, -1)).Draw(t, "content")
		order := rapid.Permutation(slices.Sorted(maps.Keys(m))).Draw(t, "order")
		a, b := store.New(store.MaxSize), store.New(store.MaxSize)
		for _, k := range slices.Sorted(maps.Keys(m)) {
			a.Set(k, []byte(m[k]))
		}
		for _, k := range order {
			b.Set(k, []byte("something else, and longer"))
			b.Set(k+"x", nil)
		}
		for _, k := range order {
			b.Delete(k + "x")
			b.Set(k, []byte(m[k]))
		}
		for _, k := range order { // one may have been another's k+"x"
			b.Set(k, []byte(m[k]))
		}
		if store.Digest(a.Encode()) != store.Digest(b.Encode()) {
			t.Fatalf("%x, %x", a.Encode(), b.Encode())
		}
	})
}

func TestWhatIsNoKeyAndTooLargeIsRefused(t *testing.T) {
	s := store.New(store.MaxSize)
	for name, tt := range map[string]struct {
		key   string
		value int
		want  store.Status
	}{
		"the longest key":   {strings.Repeat("k", store.MaxKey), 0, store.Done},
		"a longer one":      {strings.Repeat("k", store.MaxKey+1), 0, store.Refused},
		"none":              {"", 0, store.Refused},
		"what is no text":   {"\xff", 0, store.Refused},
		"a zero byte":       {"a\x00b", 0, store.Done},
		"the largest value": {"v", store.MaxValue, store.Done},
		"a larger one":      {"w", store.MaxValue + 1, store.Refused},
	} {
		if got := s.Set(tt.key, make([]byte, tt.value)); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
	if s.Len() != 3 {
		t.Errorf("%d keys", s.Len())
	}
	if (&store.Store{}).Set("a", nil) != store.Full {
		t.Error("a store without room takes a key")
	}
}

// A value that a store has isn't the caller's memory, and that of a decoded one isn't the bytes.
func TestAStoreOwnsItsValues(t *testing.T) {
	s, v := store.New(100), []byte("value")
	s.Set("k", v)
	v[0] = 'V'
	b := s.Encode()
	again, err := store.Decode(b, 100)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	for _, of := range []*store.Store{s, again} {
		if got, _ := of.Get("k"); string(got) != "value" {
			t.Errorf("%q", got)
		}
	}
}

func TestAShorterValueHoldsNoMore(t *testing.T) {
	s := store.New(store.MaxValue + 100)
	for _, size := range []int{store.MaxValue, 1} {
		if s.Set("k", make([]byte, size)) != store.Done {
			t.Fatal(size)
		}
	}
	if v, _ := s.Get("k"); cap(v) > 64 {
		t.Errorf("a value of %d bytes holds %d", len(v), cap(v))
	}
}

func TestBytesThatAreNoStoreAreRefused(t *testing.T) {
	raw := func(count uint64, words ...string) []byte {
		w := canon.New(1).Uint64(count)
		for _, s := range words {
			w.String(s)
		}
		return w.Bytes()
	}
	for name, tt := range map[string]struct {
		b    []byte
		want fault.Code
	}{
		"none":                {raw(0), ""},
		"two keys":            {raw(2, "a", "", "b", "x"), ""},
		"not in order":        {raw(2, "b", "", "a", ""), fault.BadFrame},
		"a key twice":         {raw(2, "a", "", "a", ""), fault.BadFrame},
		"a key without bytes": {raw(1, "", "x"), fault.BadFrame},
		"a key without text":  {raw(1, "\xff", "x"), fault.BadFrame},
		"a key without end":   {raw(1, strings.Repeat("k", 257), "x"), fault.BadFrame},
		"fewer than it says":  {raw(2, "a", ""), fault.BadFrame},
		"more than it says":   {raw(1, "a", "", "b", ""), fault.BadFrame},
		"keys without end":    {raw(1 << 60), fault.BadFrame},
		"too many bytes":      {raw(1, "a", strings.Repeat("v", 400)), fault.TooLarge},
		"another major":       {[]byte{2, 0, 0, 0, 0, 0, 0, 0, 0}, fault.UnknownFormat},
		"nothing":             {nil, fault.BadFrame},
	} {
		if _, err := store.Decode(tt.b, 400); fault.CodeOf(err) != tt.want {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("../../docs/formats/testdata/store.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Name          string
		Keys          []struct{ Key, Value string }
		Bytes, Digest string
	}
	if err := json.Unmarshal(raw, &vectors); err != nil || len(vectors) == 0 {
		t.Fatalf("%d vectors, %v", len(vectors), err)
	}
	for _, v := range vectors {
		s := store.New(store.MaxSize)
		for _, k := range v.Keys {
			value, err := hex.DecodeString(k.Value)
			if err != nil {
				t.Fatal(err)
			}
			s.Set(k.Key, value)
		}
		d := store.Digest(s.Encode())
		if got, sum := hex.EncodeToString(s.Encode()), hex.EncodeToString(d[:]); got != v.Bytes || sum != v.Digest {
			t.Errorf("%s: bytes %s, digest %s", v.Name, got, sum)
		}
	}
}

// Whatever decodes has one form, and is within its limit.
func FuzzDecode(f *testing.F) {
	s := store.New(1000)
	f.Add(s.Encode())
	s.Set("a", []byte("value"))
	s.Set("ü/b", nil)
	f.Add(s.Encode())
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := store.Decode(b, 1000)
		if err != nil {
			return
		}
		if !bytes.Equal(s.Encode(), b) || s.Size() > 1000 || s.Size()+store.Overhead != len(b) {
			t.Fatalf("%d bytes, size %d", len(b), s.Size())
		}
	})
}
