package chain

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	cmtcrypto "github.com/cometbft/cometbft/proto/tendermint/crypto"
)

// recorded is an answer of a real node, and the app hash of the block after it.
type recorded struct {
	AppHash string `json:"app_hash"`
	Key     string `json:"key"`
	Value   []byte `json:"value"`
	Ops     []cmtcrypto.ProofOp
}

func load(t testing.TB, name string) (r recorded, appHash, key []byte) {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	appHash, _ = hex.DecodeString(r.AppHash)
	key, _ = hex.DecodeString(r.Key)
	return r, appHash, key
}

func TestOnlyTheTruthIsProved(t *testing.T) {
	here, hereHash, hereKey := load(t, "present.json")
	gone, goneHash, goneKey := load(t, "absent.json")
	lie := bytes.Clone(here.Value)
	lie[len(lie)-1]++

	for _, tt := range []struct {
		name    string
		ops     []cmtcrypto.ProofOp
		appHash []byte
		store   string
		key     []byte
		value   []byte
		ok      bool
	}{
		{"present", here.Ops, hereHash, "market", hereKey, here.Value, true},
		{"absent", gone.Ops, goneHash, "market", goneKey, nil, true},
		{"changed value", here.Ops, hereHash, "market", hereKey, lie, false},
		{"hidden value", here.Ops, hereHash, "market", hereKey, nil, false},
		{"another key's proof", here.Ops, hereHash, "market", goneKey, here.Value, false},
		{"invented value", gone.Ops, goneHash, "market", goneKey, here.Value, false},
		{"another store", here.Ops, hereHash, "bank", hereKey, here.Value, false},
		{"another block", here.Ops, goneHash[1:], "market", hereKey, here.Value, false},
		{"half a proof", here.Ops[:1], hereHash, "market", hereKey, here.Value, false},
		{"no proof", nil, hereHash, "market", hereKey, here.Value, false},
		{"steps exchanged", []cmtcrypto.ProofOp{here.Ops[1], here.Ops[0]}, hereHash, "market", hereKey, here.Value, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := verifyProof(tt.ops, tt.appHash, tt.store, tt.key, tt.value)
			if (err == nil) != tt.ok {
				t.Errorf("verifyProof: %v, want ok %t", err, tt.ok)
			}
		})
	}
}

func FuzzVerifyProof(f *testing.F) {
	here, hereHash, hereKey := load(f, "present.json")
	gone, _, _ := load(f, "absent.json")
	f.Add(here.Ops[0].Data, here.Ops[1].Data, here.Value)
	f.Add(gone.Ops[0].Data, gone.Ops[1].Data, []byte(nil))
	f.Fuzz(func(t *testing.T, store, ledger, value []byte) {
		ops := []cmtcrypto.ProofOp{{Type: "ics23:iavl", Data: store}, {Type: "ics23:simple", Data: ledger}}
		if verifyProof(ops, hereHash, "market", hereKey, value) == nil && !bytes.Equal(value, here.Value) {
			t.Errorf("a lie is proved: %x", value)
		}
	})
}

// DESIGN: a proof answer is verified in a millisecond.
func BenchmarkVerifyProof(b *testing.B) {
	here, hash, key := load(b, "present.json")
	for b.Loop() {
		if err := verifyProof(here.Ops, hash, "market", key, here.Value); err != nil {
			b.Fatal(err)
		}
	}
}
