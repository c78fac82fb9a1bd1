package quote_test

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"hearth/core/quote"
)

type vector struct {
	Name       string
	ChainID    string `json:"chain_id"`
	Host       string
	Kind       quote.Kind
	Unit       []json.Number
	In         uint64 `json:",string"`
	Out        uint64 `json:",string"`
	Gas        uint64 `json:",string"`
	ValidUntil int64  `json:"valid_until,string"`
	HostSeed   string `json:"host_seed"`
	HostKey    string `json:"host_key"`
	Bytes      string
	Sig        string
	Wire       string
}

// The vectors in docs/formats were made by another implementation.
func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("../../docs/formats/testdata/quote.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		q := quote.Quote{
			ChainID: v.ChainID, Host: v.Host, Kind: v.Kind, ValidUntil: v.ValidUntil,
			Prices: quote.Prices{In: v.In, Out: v.Out, Gas: v.Gas},
		}
		for i, u := range v.Unit {
			if err := json.Unmarshal([]byte(u), &q.Prices.Unit[i]); err != nil {
				t.Fatal(err)
			}
		}
		seed, err := hex.DecodeString(v.HostSeed)
		if err != nil {
			t.Fatal(err)
		}
		key := ed25519.NewKeyFromSeed(seed)
		s := q.Sign(key)
		for _, part := range []struct {
			name string
			got  []byte
			want string
		}{
			{"key", key.Public().(ed25519.PublicKey), v.HostKey},
			{"bytes", q.Encode(), v.Bytes},
			{"signature", s.Sig, v.Sig},
			{"wire", s.Encode(), v.Wire},
		} {
			if hex.EncodeToString(part.got) != part.want {
				t.Errorf("%s: %s is %x, want %s", v.Name, part.name, part.got, part.want)
			}
		}
		if got, err := quote.Decode(s.Encode()); err != nil || got.Quote != q {
			t.Errorf("%s: read as %+v, %v", v.Name, got, err)
		}
	}
}
