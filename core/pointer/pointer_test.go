package pointer_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"testing"

	"hearth/core/fault"
	"hearth/core/pointer"
)

const (
	net     = "hearth-0123456789abcdef0123"
	account = "hearth19rl4cm2hmr8afy4kldpxz3fka4jguq0alj703p"
	now     = 1_800_000_000
)

var (
	key    = ed25519.NewKeyFromSeed([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f"))
	public = key.Public().(ed25519.PublicKey)
)

func first() pointer.Signed {
	return pointer.Pointer{ChainID: net, Account: account, Device: 42, Seq: 1, LogRoot: pointer.Hash{1}, Time: now}.Sign(key)
}

func after(p pointer.Signed) pointer.Signed {
	next := p.Pointer
	next.Seq, next.Prev, next.LogRoot, next.Time = p.Seq+1, p.ID(), pointer.Hash{byte(p.Seq) + 1}, p.Time+10
	return next.Sign(key)
}

type vector struct {
	Name  string `json:"name"`
	Bytes string `json:"bytes"`
	ID    string `json:"id"`
}

func TestPointersHaveTheBytesThatAreWrittenDown(t *testing.T) {
	second := after(first())
	second.Snapshot = pointer.Hash{9}
	second = second.Pointer.Sign(key)
	want := []vector{}
	for name, p := range map[string]pointer.Signed{"the first": first(), "the second": second} {
		id := p.ID()
		want = append(want, vector{name, hex.EncodeToString(p.Encode()), hex.EncodeToString(id[:])})
	}
	const path = "../../docs/formats/testdata/pointer.json"
	if os.Getenv("HEARTH_WRITE_VECTORS") != "" {
		raw, _ := json.MarshalIndent(want, "", "  ")
		if err := os.WriteFile(path, append(raw, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var written []vector
	if err := json.Unmarshal(raw, &written); err != nil || len(written) != len(want) {
		t.Fatalf("%d vectors, %v", len(written), err)
	}
	for _, w := range written {
		b, err := hex.DecodeString(w.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		p, err := pointer.Decode(b)
		if err != nil {
			t.Fatalf("%s: %v", w.Name, err)
		}
		id := p.ID()
		found := false
		for _, x := range want {
			found = found || x == vector{w.Name, hex.EncodeToString(p.Encode()), hex.EncodeToString(id[:])}
		}
		if !found {
			t.Errorf("%s has other bytes", w.Name)
		}
	}
}

func TestASignatureCoversEveryByte(t *testing.T) {
	good := after(first()).Encode()
	if _, err := pointer.Decode(good); err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if _, err := pointer.Decode(bad); err == nil {
			t.Errorf("byte %d can be changed", i)
		}
	}
	bad := bytes.Clone(good)
	bad[0] = 2
	if _, err := pointer.Decode(bad); fault.CodeOf(err) != fault.UnknownFormat {
		t.Errorf("another major: %v", err)
	}
}

func TestPointersBelongToOneAccountAndKey(t *testing.T) {
	p := first()
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32)).Public().(ed25519.PublicKey)
	if err := p.Of(net, account, public); err != nil {
		t.Error(err)
	}
	for _, err := range []error{p.Of("other", account, public), p.Of(net, "other", public), p.Of(net, account, other)} {
		if fault.CodeOf(err) != fault.BadSignature {
			t.Errorf("a stranger's pointer: %v", err)
		}
	}
}

func TestWhatFollowsWhat(t *testing.T) {
	a := first()
	b := after(a)
	c := after(b)
	fork := b.Pointer
	fork.Prev[5]++
	older := b.Pointer
	older.Time++
	for _, tt := range []struct {
		name     string
		old, new pointer.Signed
		want     fault.Code
	}{
		{"the next", a, b, ""},
		{"the same once more", b, b, ""},
		{"one that skips some that this host has missed", a, c, ""},
		{"an older one", b, a, fault.Stale},
		{"another of the same number", b, older.Sign(key), fault.Stale},
		{"the next of another chain", a, fork.Sign(key), fault.Stale},
	} {
		if got := fault.CodeOf(tt.new.Follows(tt.old)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestDevicesAreBounded(t *testing.T) {
	var list []pointer.Signed
	drawn := func(device uint64, at int64) pointer.Signed {
		p := first().Pointer
		p.Device, p.Time = device, at
		return p.Sign(key)
	}
	for i := range uint64(pointer.MaxDevices) {
		var err error
		if list, err = pointer.Admit(list, drawn(i, now+int64(i))); err != nil {
			t.Fatal(err)
		}
	}
	for _, at := range []int64{now, now + pointer.Forgotten - 1, math.MinInt64} {
		if _, err := pointer.Admit(list, drawn(99, at)); fault.CodeOf(err) != fault.TooLarge {
			t.Errorf("one device too many at %d: %v", at, err)
		}
	}
	got, err := pointer.Admit(list, drawn(99, now+pointer.Forgotten))
	if err != nil || len(got) != pointer.MaxDevices || got[0].Device != 99 || list[0].Device != 0 {
		t.Errorf("the one that was silent longest doesn't make room: %v", err)
	}
	if got, err = pointer.Admit(got, after(got[3])); err != nil || got[3].Seq != 2 {
		t.Errorf("a device that is known: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(first().Encode())
	f.Add(after(first()).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := pointer.Decode(b)
		if err == nil && !bytes.Equal(p.Encode(), b) {
			t.Error("a pointer has two encodings")
		}
	})
}
