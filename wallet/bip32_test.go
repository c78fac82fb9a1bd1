package wallet

import (
	"encoding/hex"
	"testing"
)

// Test vector 1 of BIP32: m/0'/1/2'/2/1000000000.
func TestDeriveBIP32(t *testing.T) {
	seed, _ := hex.DecodeString("000102030405060708090a0b0c0d0e0f")
	k, err := deriveBIP32(seed, []uint32{hardened, 1, 2 | hardened, 2, 1000000000})
	if err != nil {
		t.Fatal(err)
	}
	const want = "471b76e389e528d6de6d816857e012c5455051cad6660850e58372a6c3e6e7c8"
	if got := hex.EncodeToString(k.Serialize()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzDecode(f *testing.F) {
	id := Identity{Device: 7, Network: "n"}
	p, err := ParsePhrase("abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about")
	if err != nil {
		f.Fatal(err)
	}
	id.Phrase = p
	for _, pass := range []string{"", "x"} {
		b, err := encode(id, []byte(pass), cost{1, 8, 1})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		id, err := decode(b, nil)
		if err == nil && id.Phrase.IsZero() {
			t.Error("an identity without a phrase")
		}
	})
}
