package statement_test

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"hearth/core/money"
	"hearth/core/statement"
)

type vector struct {
	Name       string
	ChainID    string `json:"chain_id"`
	Lease      uint64 `json:",string"`
	Seq        uint64 `json:",string"`
	Total      uint64 `json:",string"`
	Units      []json.Number
	Root       string
	AsOf       int64  `json:"as_of,string"`
	RunsUntil  int64  `json:"runs_until,string"`
	ClientSeed string `json:"client_seed"`
	HostSeed   string `json:"host_seed"`
	ClientKey  string `json:"client_key"`
	Bytes      string
	Digest     string
	ClientSig  string `json:"client_sig"`
	HostSig    string `json:"host_sig"`
	Wire       string
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The vectors in docs/formats were made by another implementation.
func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("../../docs/formats/testdata/statement.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		s := statement.Statement{
			ChainID: v.ChainID, Lease: v.Lease, Seq: v.Seq, Total: money.Amount(v.Total), AsOf: v.AsOf, RunsUntil: v.RunsUntil,
			Root: [32]byte(unhex(t, v.Root)),
		}
		for i, u := range v.Units {
			if err := json.Unmarshal([]byte(u), &s.Units[i]); err != nil {
				t.Fatal(err)
			}
		}
		signed := s.SignClient(ed25519.NewKeyFromSeed(unhex(t, v.ClientSeed)))
		if v.HostSig != "" {
			signed = signed.SignHost(ed25519.NewKeyFromSeed(unhex(t, v.HostSeed)))
		}
		for _, part := range []struct {
			name string
			got  []byte
			want string
		}{
			{"bytes", s.Encode(), v.Bytes},
			{"digest", s.Digest(), v.Digest},
			{"client's key", signed.ClientKey, v.ClientKey},
			{"client's signature", signed.ClientSig, v.ClientSig},
			{"host's signature", signed.HostSig, v.HostSig},
			{"wire", signed.Encode(), v.Wire},
		} {
			if hex.EncodeToString(part.got) != part.want {
				t.Errorf("%s: %s is %x, want %s", v.Name, part.name, part.got, part.want)
			}
		}
		if got, err := statement.Decode(unhex(t, v.Wire)); err != nil || got.Statement != s || got.CheckClient(v.ChainID) != nil {
			t.Errorf("%s: read as %+v, %v", v.Name, got, err)
		}
	}
}

func TestRefundVectors(t *testing.T) {
	raw, err := os.ReadFile("../../docs/formats/testdata/refund.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Name     string
		ChainID  string `json:"chain_id"`
		Lease    uint64 `json:",string"`
		Total    uint64 `json:",string"`
		HostSeed string `json:"host_seed"`
		Digest   string
		Sig      string
	}
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		digest := statement.RefundDigest(v.ChainID, v.Lease, money.Amount(v.Total))
		sig := ed25519.Sign(ed25519.NewKeyFromSeed(unhex(t, v.HostSeed)), digest)
		if hex.EncodeToString(digest) != v.Digest || hex.EncodeToString(sig) != v.Sig {
			t.Errorf("%s: %x, %x", v.Name, digest, sig)
		}
	}
}
